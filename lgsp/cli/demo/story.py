"""The story of the demo: one province on one machine, told act by act with real programs."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import aiohttp

from lgsp.cli.demo.latency import Latency, measure
from lgsp.cli.demo.programs import Event, Program, Programs
from lgsp.cli.demo.province import ADAPTERS, FISHERIES, Province
from lgsp.cli.demo.refusals import Offender, Shown
from lgsp.cli.demo.verdict import Verdict, verify
from lgsp.errors import Unusable

ONE_STOP_PROCEDURES: Final = ("1.001612.000.00.00.H01", "2.002492.000.00.00.H01", "1.005129.000.00.00.H01")
"""Procedures in which the one-stop system looks up its applicants."""
READY_SECONDS: Final = 60.0
SYNC_SECONDS: Final = 900.0
LOOKUP_SECONDS: Final = 120.0
POLL_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is told; the same seed and sizes give the same counts."""

    data: Path
    vessels: int = 10_026
    seed: int = 20_261_122
    idle_lookups: int = 40
    lookups: int = 160
    every_ms: int = 60
    language: str = "en"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of it."""

    report: dict[str, Any]
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
        return self.verdict.verified and all(shown.as_expected for shown in self.refusals)


class Screen(Protocol):
    """Where the audience looks."""

    def act(self, name: str) -> None:
        """Announce what happens next."""

    def progress(self, step: str, done: int, total: int) -> None:
        """Show how far a step is."""


@dataclass(slots=True, kw_only=True)
class Story:
    """One telling."""

    plan: Plan
    screen: Screen
    province: Province
    lookups: list[tuple[float, float]] = field(default_factory=list)
    """(when it came, milliseconds) of each lookup of the one-stop system."""

    def take(self, program: str, event: Event) -> None:
        """Learn from an event of a program."""
        if event["event"] == "adapter.progress":
            self.screen.progress(str(event["step"]), int(event["done"]), int(event["total"]))
        elif event["event"] == "adapter.lookup" and program == "one_stop":
            self.lookups.append((time.monotonic(), float(event["ms"])))

    async def start_gateway(self, programs: Programs) -> Program:
        """Start the gateway and wait until it takes envelopes."""
        gateway = await programs.start("gateway", *_lgsp("serve", "--data", str(self.plan.data)))
        await gateway.event("gateway.started", seconds=READY_SECONDS)
        return gateway

    async def start_platform(self, programs: Programs) -> Mapping[str, str]:
        """Start the mock national platform and return what the bridge must know of it."""
        port_file = self.plan.data / "ndxp.port"
        port_file.unlink(missing_ok=True)
        account = {"NDXP_CONSUMER_KEY": "an-giang", "NDXP_CONSUMER_SECRET": secrets.token_urlsafe(24)}
        options = ["--seed", str(self.plan.seed), "--count", str(self.plan.vessels), "--port-file", str(port_file)]
        for procedure in ONE_STOP_PROCEDURES:
            options += ["--allow-procedure", procedure]
        for sender in (self.province.fisheries, self.province.one_stop):
            options += ["--allow-procedure", sender.procedure, "--allow-officer", sender.officer]
        program = await programs.start(
            "ndxp_mock", sys.executable, "-m", "adapters.ndxp.mock", *options, environment=account
        )
        async with asyncio.timeout(READY_SECONDS):
            while not port_file.exists() or not port_file.read_text(encoding="ascii").strip():
                if program.process.returncode is not None:
                    raise Unusable("unavailable", f"ndxp_mock ended: {program.output}")
                await asyncio.sleep(POLL_SECONDS)
        return {**account, "LGSP_SETTING_ADDRESS": f"http://127.0.0.1:{port_file.read_text(encoding='ascii').strip()}"}

    async def start_adapter(self, programs: Programs, name: str, environment: Mapping[str, str]) -> Program:
        """Start one department's system and wait until it is connected."""
        settings = str(self.province.settings_file(name))
        program = await programs.start(
            name, *_lgsp("adapter", "run", name, "--system", settings), environment=environment
        )
        await program.event("adapter.started", seconds=READY_SECONDS)
        return program

    async def wait_for_lookups(self, programs: Programs, count: int) -> None:
        """Wait until the one-stop system has made so many lookups."""
        async with asyncio.timeout(LOOKUP_SECONDS):
            while len(self.lookups) < count:
                _refuse_dead(programs)
                await asyncio.sleep(POLL_SECONDS)

    async def sync(self, programs: Programs) -> dict[str, Any]:
        """Let the fisheries system synchronise its vessels and return its report."""
        fisheries = await self.start_adapter(programs, FISHERIES, {})
        report = await fisheries.event("adapter.report", seconds=SYNC_SECONDS)
        return dict(report["counts"])

    async def show_refusals(self) -> list[Shown]:
        """Try what must be refused."""
        async with aiohttp.ClientSession() as session:
            offender = Offender(session=session, url=self.province.url, language=self.plan.language)
            return await offender.show(granted=self.province.one_stop, stranger=self.province.stranger)


def _lgsp(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "lgsp.cli", *arguments)


def _refuse_dead(programs: Programs) -> None:
    for name in programs.dead():
        raise Unusable("unavailable", f"{name} ended: {programs.running[name].output}")


async def tell(plan: Plan, screen: Screen, *, stay: asyncio.Event | None = None) -> Outcome:
    """Tell the whole story and return what came of it; with `stay`, the programs run on until it is set."""
    begun = time.monotonic()
    screen.act("province")
    province = await Province.make(
        plan.data, seed=plan.seed, vessels=plan.vessels, lookups=plan.lookups, every_ms=plan.every_ms
    )
    story = Story(plan=plan, screen=screen, province=province)
    async with Programs(logs=plan.data / "logs", on_event=story.take) as programs:
        screen.act("programs")
        gateway = await story.start_gateway(programs)
        national = await story.start_platform(programs)
        for name in ADAPTERS:
            await story.start_adapter(programs, name, national if name == "ndxp" else {})
        screen.act("idle")
        await story.wait_for_lookups(programs, plan.idle_lookups)
        screen.act("sync")
        sync_from = time.monotonic()
        report = await story.sync(programs)
        sync_until = time.monotonic()
        await story.wait_for_lookups(programs, plan.lookups)
        screen.act("refusals")
        refusals = await story.show_refusals()
        screen.act("stay" if stay else "verify")
        if stay is not None:
            await stay.wait()
        for name in [name for name in programs.running if name != "gateway"][::-1]:
            await programs.stop(name)
        peak = gateway.peak_mb
        await programs.stop("gateway")
    verdict = await verify(plan.data)
    return Outcome(
        report=report,
        sync_seconds=sync_until - sync_from,
        idle=measure([ms for at, ms in story.lookups if at < sync_from]),
        busy=measure([ms for at, ms in story.lookups if sync_from <= at <= sync_until]),
        refusals=refusals,
        verdict=verdict,
        gateway_peak_mb=peak,
        seconds=time.monotonic() - begun,
    )


def clear(data: Path) -> None:
    """Remove the files of a telling that nobody asked to keep."""
    shutil.rmtree(data)
