"""The story of the demo: one province on one machine, told act by act with real programs."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, Self

import aiohttp

from lgsp.cli.backup.taking import take
from lgsp.cli.demo.engines import Engine, broker_of, database_of
from lgsp.cli.demo.latency import Latency, measure
from lgsp.cli.demo.programs import Event, Program, Programs
from lgsp.cli.demo.province import ADAPTERS, CENTRE, FISHERIES, Province
from lgsp.cli.demo.refusals import Offender, Shown
from lgsp.cli.demo.tally import Tally, compare
from lgsp.cli.demo.verdict import Verdict, verify
from lgsp.config import Settings
from lgsp.errors import Unusable
from lgsp.privatebroker import PrivateServer

ONE_STOP_PROCEDURES: Final = ("1.001612.000.00.00.H01", "2.002492.000.00.00.H01", "1.005129.000.00.00.H01")
"""Procedures in which the one-stop system looks up its applicants."""
READY_SECONDS: Final = 60.0
SYNC_SECONDS: Final = 900.0
LOOKUP_SECONDS: Final = 180.0
FEWEST_LOOKUPS: Final = 160
VESSELS_PER_LOOKUP: Final = 12
"""By it the look-ups reach well into the synchronisation, and the slowest hundredth of them is more than one or two."""
COUNT_SECONDS: Final = 60.0
"""How long after the synchronisation the centre may still be counting before its figures are taken as they are."""
POLL_SECONDS: Final = 0.05
PLATFORM: Final = "ndxp_mock"
WITNESS: Final = "witness"
"""The folder beside the others in which the platform keeps its key as a witness and what it has seen."""
BACKUP: Final = "backup"
"""The folder beside the others in which a ledger is kept whose database is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is told; the same seed and sizes give the same counts."""

    data: Path
    vessels: int = 10_026
    seed: int = 20_261_122
    lookups: int = 0
    every_ms: int = 60
    language: str = "en"
    engines: frozenset[Engine] = frozenset()
    """What runs beside the gateway; nothing is the embedded default."""
    kept: bool = False
    """Whether somebody wants the files afterwards."""

    @property
    def idle_lookups(self) -> int:
        """How many of the lookups are made before the synchronisation begins."""
        return self.lookups // 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of it."""

    report: dict[str, Any]
    tally: Tally
    sync_seconds: float
    idle: Latency
    busy: Latency
    refusals: Sequence[Shown]
    verdict: Verdict
    gateway_peak_mb: float
    seconds: float

    @property
    def sound(self) -> bool:
        """Whether everything that was to be shown was seen."""
        return self.verdict.verified and self.tally.agrees and all(shown.as_expected for shown in self.refusals)


class Screen(Protocol):
    """Where the audience looks."""

    def act(self, name: str) -> None:
        """Announce what happens next."""

    def stay(self, url: str) -> None:
        """Say where the gateway is, and how to end it."""

    def progress(self, step: str, done: int, total: int) -> None:
        """Show how far a step is."""


@dataclass(slots=True, kw_only=True)
class Story:
    """One telling: a province, its programs, and what they have said so far."""

    plan: Plan
    screen: Screen
    province: Province
    broker: PrivateServer | None = None
    programs: Programs = field(init=False)
    lookups: list[tuple[float, float]] = field(default_factory=list)
    """(when it came, milliseconds) of each lookup of the one-stop system."""
    done: dict[str, int] = field(default_factory=dict)
    """How far each step of the synchronisation is."""
    report: dict[str, Any] | None = None
    """The counts of the synchronisation, once it is over."""
    figures: dict[str, Any] | None = None
    """What the operations centre has counted so far."""
    _national: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.programs = Programs(logs=self.plan.data / "logs", on_event=self.take)

    @classmethod
    @asynccontextmanager
    async def opened(cls, plan: Plan, screen: Screen) -> AsyncIterator[Self]:
        """Make the province; when the block ends no program is left."""
        async with database_of(plan, screen) as database:
            screen.act("province")
            province = await Province.make(
                plan.data,
                seed=plan.seed,
                vessels=plan.vessels,
                lookups=plan.lookups,
                every_ms=plan.every_ms,
                database=database.url() if database else "",
            )
            async with broker_of(plan, screen) as broker:
                story = cls(plan=plan, screen=screen, province=province, broker=broker)
                async with story.programs:
                    yield story

    def take(self, program: str, event: Event) -> None:
        """Learn from an event of a program."""
        match event["event"]:
            case "adapter.progress":
                self.done[str(event["step"])] = int(event["done"])
                self.screen.progress(str(event["step"]), int(event["done"]), int(event["total"]))
            case "adapter.report" if program == FISHERIES:
                self.report = dict(event["counts"])
            case "adapter.report" if program == CENTRE:
                self.figures = dict(event["counts"])
            case "adapter.lookup" if program == "one_stop":
                self.lookups.append((time.monotonic(), float(event["ms"])))

    # --- programs ---------------------------------------------------------------------------------------------------------------

    async def start_all(self) -> None:
        """Start everything but the fisheries, which begin to synchronise as soon as they run.

        First the national platform: it is the log's witness, whom the gateway asks before it listens.
        """
        await self._start_platform()
        await self.start("gateway")
        async with asyncio.TaskGroup() as tasks:
            for name in ADAPTERS:
                tasks.create_task(self.start(name))

    async def kill_broker(self) -> None:
        """End the broker without a word of warning and start it again."""
        assert self.broker is not None
        await asyncio.to_thread(self.broker.kill)
        await asyncio.to_thread(self.broker.start)

    async def start(self, name: str) -> Program:
        """Start the gateway or a department's system, for the first time or after it was killed, and wait until it is ready."""
        if name == "gateway":
            command, sign = _lgsp("serve", "--data", str(self.plan.data)), "gateway.started"
        else:
            settings = str(self.province.settings_file(name))
            command, sign = _lgsp("adapter", "run", name, "--system", settings), "adapter.started"
        program = await self.programs.start(name, *command, environment=self._environment(name))
        await program.event(sign, seconds=READY_SECONDS)
        return program

    def _environment(self, name: str) -> Mapping[str, str]:
        """Return the variables that a program gets beside the demo's own."""
        if name == "ndxp":
            return self._national
        if name == "gateway" and self.broker is not None:
            return {"LGSP_TRANSPORT__KIND": "rabbitmq", "LGSP_TRANSPORT__URL": self.broker.url}
        return {}

    async def _start_platform(self) -> None:
        """Start the mock national platform; the bridge is told its address and the account, the gateway that it is the log's witness."""
        port_file, witness = self.plan.data / "ndxp.port", self.plan.data / WITNESS
        account = {"NDXP_CONSUMER_KEY": "an-giang", "NDXP_CONSUMER_SECRET": secrets.token_urlsafe(24)}
        options = ["--seed", str(self.plan.seed), "--count", str(self.plan.vessels), "--port-file", str(port_file)]
        options += ["--witness", str(witness), "--witness-log", self.province.log_key]
        for procedure in ONE_STOP_PROCEDURES:
            options += ["--allow-procedure", procedure]
        for sender in (self.province.fisheries, self.province.one_stop):
            options += ["--allow-procedure", sender.procedure, "--allow-officer", sender.officer]
        command = (sys.executable, "-m", "adapters.ndxp.mock", *options)
        await self.programs.start(PLATFORM, *command, environment=account)
        await self._until(port_file.exists, "the mock platform listens", seconds=READY_SECONDS)
        address = f"http://127.0.0.1:{port_file.read_text(encoding='ascii').strip()}"
        self._national = {**account, "LGSP_SETTING_ADDRESS": address}
        self.province.name_witness(f"{address}/witness", (witness / "vkey").read_text(encoding="ascii").strip())

    # --- acts -------------------------------------------------------------------------------------------------------------------

    async def wait_for_lookups(self, count: int) -> None:
        """Wait until the one-stop system has made so many lookups."""
        await self._until(lambda: len(self.lookups) >= count, f"{count} lookups are made", seconds=LOOKUP_SECONDS)

    async def wait_for_report(self) -> dict[str, Any]:
        """Wait until the fisheries have synchronised all vessels and return their counts."""
        await self._until(lambda: self.report is not None, "all vessels are synchronised", seconds=SYNC_SECONDS)
        return self.report or {}

    async def wait_for_figures(self) -> Tally:
        """Wait until the centre has counted as many vessels as were linked, or can be expected to no more, and compare the figures."""
        fisheries = self.report or {}
        with contextlib.suppress(Unusable):  # the comparison says what is missing
            await self._until(
                lambda: self._counted() >= fisheries["linked"], "all links are counted", seconds=COUNT_SECONDS
            )
        self.programs.check()
        return compare(fisheries, self.figures or {"linked": 0, "linked_by_commune": {}, "linked_by_class": {}})

    def _counted(self) -> int:
        return int(self.figures["linked"]) if self.figures else 0

    async def wait_for_vessels(self, count: int) -> None:
        """Wait until it is known of so many vessels what became of them."""
        await self._until(
            lambda: self.done.get("verify", 0) >= count, f"{count} vessels are verified", seconds=SYNC_SECONDS
        )

    async def show_refusals(self) -> list[Shown]:
        """Try what must be refused."""
        async with aiohttp.ClientSession() as session:
            offender = Offender(session=session, url=self.province.url, language=self.plan.language)
            return await offender.show(granted=self.province.one_stop, stranger=self.province.stranger)

    async def _until(self, reached: Callable[[], bool], what: str, *, seconds: float) -> None:
        """Wait until something is so; refuse as `unavailable` when a program ends meanwhile or time runs out."""
        try:
            async with asyncio.timeout(seconds):
                while not reached():
                    self.programs.check()
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            raise Unusable("unavailable", f"not within {seconds:.0f} s: {what}") from None


def _lgsp(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "lgsp.cli", *arguments)


async def tell(plan: Plan, screen: Screen, *, stay: Callable[[], Awaitable[None]] | None = None) -> Outcome:
    """Tell the whole story and return what came of it; with `stay`, the programs run on until that returns."""
    begun = time.monotonic()
    async with Story.opened(plan, screen) as story:
        screen.act("programs")
        await story.start_all()
        screen.act("idle")
        await story.wait_for_lookups(plan.idle_lookups)
        screen.act("sync")
        sync_from = time.monotonic()
        await story.start(FISHERIES)
        report = await story.wait_for_report()
        sync_until = time.monotonic()
        tally = await story.wait_for_figures()
        await story.wait_for_lookups(plan.lookups)
        screen.act("refusals")
        refusals = await story.show_refusals()
        told = time.monotonic() - begun
        if stay is not None:
            screen.stay(story.province.url)
            await stay()
        stopping_from = time.monotonic()
        screen.act("verify")
        await story.programs.stop_all(
            but={"gateway", PLATFORM}
        )  # a gateway that stops shows its witness the last checkpoint
        peak = story.programs.running["gateway"].peak_mb
        await story.programs.stop_all()
        verdict = await verify(plan.data)
        if plan.kept and "postgresql" in plan.engines:  # the database ends with the story
            screen.act("backup")
            await take(Settings.load(plan.data), plan.data / BACKUP, with_keys=False)
    return Outcome(
        report=report,
        tally=tally,
        sync_seconds=sync_until - sync_from,
        idle=measure([ms for at, ms in story.lookups if at < sync_from]),
        busy=measure([ms for at, ms in story.lookups if sync_from <= at <= sync_until]),
        refusals=refusals,
        verdict=verdict,
        gateway_peak_mb=peak,
        seconds=told + time.monotonic() - stopping_from,
    )


def lookups_beside(vessels: int) -> int:
    """Return how many look-ups go with a synchronisation of so many vessels when nobody says."""
    return max(FEWEST_LOOKUPS, vessels // VESSELS_PER_LOOKUP)


def clear(data: Path) -> None:
    """Remove the files of a telling that nobody asked to keep."""
    shutil.rmtree(data)
