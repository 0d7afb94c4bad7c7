"""A bus in a department's own tests: real keys, grants, schemas, receipts and queues, over memory, on this machine, with a clock moved by hand.

    async with BusSimulator() as bus:
        bus.grant("H01.12/x", TYPE, to="G01.02/population", purposes=["dpv:IdentityVerification"])
        bus.answer(TYPE, lambda message: {"result": "match"})
        async with bus.client("H01.12/x") as client:
            reply = await client.request(TYPE, …)
        bus.assert_sent(TYPE, by="H01.12/x", to="G01.02/population")

What is declared (`system`, `service`, `schema`, `grant`, …) is put in place when the next client opens, or by `publish`. Systems are named in short
form or by URN. A standing clock means that nothing expires and no pause ends until `advance`. What goes wrong on purpose is `faults`'.
"""

from __future__ import annotations

import asyncio
import inspect
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from lgsp.backends.memory import MemoryLedger
from lgsp.domain import names
from lgsp.domain.exchange import SETTLED, Delivery
from lgsp.domain.limits import LIMITS, Limits
from lgsp.domain.retry import RetryPolicy
from lgsp.errors import Defect, Unusable, catalogue
from lgsp.keyfiles import write_private
from lgsp.machine import SystemClock
from lgsp.sdk import Adapter, AdapterManifest, Client, Surroundings, SystemSettings
from lgsp.sdk.adapter import handled_types
from lgsp.sdk.runner import Runner
from lgsp.sdk.stream import Pace
from lgsp.testing.answers import Answer, Answers
from lgsp.testing.bus import publish
from lgsp.testing.clock import ManualClock
from lgsp.testing.entropy import SeededEntropy
from lgsp.testing.faults import Gate, Line, Planned, Sending
from lgsp.testing.gateway import Gateway
from lgsp.testing.registrar import Registrar
from lgsp.testing.systems import write_settings
from lgsp.testing.world import BUS, LOG

A = TypeVar("A", bound=Adapter)
AT_ONCE: Final = RetryPolicy(attempts=3, first=timedelta(0), longest=timedelta(0))
"""Retries without pauses, three and no more: a test waits for none, and what nobody can handle is parked soon."""
PACE: Final = Pace(first=0.01, longest=0.1)
LOOK: Final = 0.02
"""Seconds between two looks at a condition."""
MOST: Final = 10_000
"""Deliveries that are looked at."""


class BusSimulator:
    """One bus for one test; a context manager. Files of its systems go into `folder`, or into one that is removed at the end.

    The clock stands at `now`, or at the machine's moment: then a program with a clock of its own is on time, for the minute that clocks may differ.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        now: datetime | None = None,
        retry: RetryPolicy = AT_ONCE,
        limits: Limits = LIMITS,
    ) -> None:
        self._clock = ManualClock(now or SystemClock().now())
        self._folder = folder
        self._retry = retry
        self._limits = limits
        self._entropy = SeededEntropy(clock=self._clock)
        self._store = MemoryLedger()
        self._gate = Gate()
        self._gateway = Gateway(
            store=self._store, clock=self._clock, entropy=self._entropy, retry=retry, limits=limits, gate=self._gate
        )
        self._registrar = Registrar()
        self._lines: dict[str, Line] = {}
        self._answers = Answers()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        if self._folder is None:
            self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="lgsp-")))
        await self._stack.enter_async_context(self._gateway.running(self._registrar.sign(self.clock.now(), "")))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()
        for mishap in self._answers.mishaps[:1]:
            if error is None:
                raise mishap
            error.add_note(f"an answer of the simulated bus raised {mishap!r}")

    # --- what the registrar writes down ---------------------------------------------------------------------------------------------

    def system(self, name: str, *, consumes: Sequence[str] = ()) -> str:
        """Declare a system, which takes these message types, and return its URN; one that is there takes them as well."""
        return self._registrar.system(name, consumes=consumes)

    def schema(self, document: Mapping[str, Any]) -> str:
        """Declare a JSON Schema 2020-12 document and return its URN, which is its `$id`."""
        return self._registrar.schema(document)

    def service(self, type: str, *, schemas: Sequence[str], **members: Any) -> None:  # noqa: A002, ANN401 - as in the record
        """Declare a message type with its schemas, by URN; `members` are the others of a service record (`reply_schemas`, `requires`, …)."""
        self._registrar.record(kind="service", id=type, schemas=list(schemas), **members)

    def grant(
        self,
        grantee: str,
        type: str,  # noqa: A002 - the envelope's attribute has this name
        *,
        to: str,
        **members: Any,  # noqa: ANN401 - any JSON value may stand in a record
    ) -> str:
        """Grant a system to send a type to a system, or to the URN of an agency or topic, and return the grant's id.

        `members` are the others of a grant record (`purposes`, `legalbases`, `procedures`, `officers`, `quota_per_day`, …). Systems are declared
        by being named.
        """
        return self._registrar.grant(grantee, type, to, members)

    def revoke(self, grant: str) -> None:
        """End a grant by its id."""
        self._registrar.revoke(grant)

    def subscribe(self, subscriber: str, type: str) -> str:  # noqa: A002 - the envelope's attribute has this name
        """Have a system receive the events of a topic, and return the subscription's id."""
        return self._registrar.subscribe(subscriber, type)

    def record(self, **members: Any) -> None:  # noqa: ANN401 - any JSON value may stand in a record
        """Declare any other record of the directory, in place of the one of its kind and id."""
        self._registrar.record(**members)

    async def publish(self) -> None:
        """Put in place what was declared, and let those answer who were given an answer."""
        if self._registrar.is_changed:
            bus = self._gateway.bus
            await publish(bus, self._registrar.sign(self.clock.now(), bus.registry.current.hash))
        for system in self._answers.missing(self._answerer):
            await self._stack.enter_async_context(self._answers.running(system, self._client(system)))

    # --- programs on the bus --------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def client(self, system: str, *, window: int = 256) -> AsyncIterator[Client]:
        """Open the client of a system for the length of a block; its box stays for the next time."""
        await self.publish()
        async with self._client(system, window=window) as client:
            yield client

    def _client(self, system: str, *, window: int = 256) -> AbstractAsyncContextManager[Client]:
        kind = self.client_kind(system)
        return kind.open(self.settings(system), window=window, around=self.surroundings)

    @asynccontextmanager
    async def adapter(
        self,
        kind: type[A],
        *,
        manifest: Path | None = None,
        settings: Mapping[str, Any] | None = None,
        granted: bool = True,
    ) -> AsyncIterator[A]:
        """Run an adapter for the length of a block, as `lgsp adapter run` does.

        Its manifest is `adapter.toml` beside its module unless `manifest` names another. What the manifest asks for is granted unless `granted` is
        false. What ends the adapter early is raised at the end of the block.
        """
        found = AdapterManifest.load(manifest or Path(inspect.getfile(kind)).with_name("adapter.toml"))
        if problems := found.handler_problems(handled_types(kind)):
            raise Unusable("adapter_invalid", "; ".join(problems))
        system = self.system(f"{found.system.agency or 'H01.99'}/{found.system.name}", consumes=found.provides)
        if granted:
            self._grant_asked(system, found)
        async with self.client(system, window=found.concurrency) as client:
            adapter = kind(client=client, manifest=found, settings=found.values(settings or {}, {}))
            stop = asyncio.Event()
            runs = asyncio.create_task(Runner(adapter, stop, drain=5.0).run())
            try:
                yield adapter
            finally:
                stop.set()
                await runs

    def answer(self, type: str, answer: Answer, *, by: str = "") -> None:  # noqa: A002 - the envelope's attribute has this name
        """Answer requests of a type with what `answer(message)` returns: the reply's body, or None for no reply.

        Answers the system `by`, or the one that grants of this type name. `Reject` and `Retry` are sent as what they are; anything else that `answer`
        raises puts the message back and is raised at the end of the simulation. Given anew, the new answer counts.
        """
        self._answers.give(type, answer, by=self.system(by, consumes=[type]) if by else "")

    def settings(self, system: str) -> SystemSettings:
        """Return the settings of a declared system; its key is written at the first time."""
        urn = names.system_urn(system)
        name = names.short_system(urn).replace("/", ".")
        key = self._place / f"{name}.pem"
        if not key.exists():
            write_private(key, self._registrar.key_of(urn))
        return SystemSettings.model_validate(
            {
                "url": self._gateway.url,
                "bus": BUS,
                "system": urn,
                "key": key,
                "box": self._place / f"{name}.sqlite",
                "registrar": self._registrar.public.jwk,
                "log": LOG,
            }
        )

    def settings_file(self, system: str, **settings: str | float) -> Path:
        """Write the settings of a declared system, with a program's own table, for a program that loads a file; return its path."""
        found = self.settings(system)
        return write_settings(found, found.box.with_suffix(".toml"), settings)

    def client_kind(self, system: str) -> type[Client]:
        """Return the class of clients to which this simulation's faults apply."""
        return self._line(system).client_kind()

    @property
    def surroundings(self) -> Surroundings:
        """Clock and pace for a client that a test opens by itself."""
        return Surroundings(clock=self.clock, entropy=self._entropy, pace=PACE)

    # --- time and faults ------------------------------------------------------------------------------------------------------------

    @property
    def clock(self) -> ManualClock:
        """The clock by which bus and clients go."""
        return self._clock

    async def advance(self, seconds: float) -> None:
        """Move the clock on, and have the bus do at once what is due by then."""
        self.clock.advance(seconds)
        await self._gateway.bus.sweep.once()

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        """Let no gateway be reached for the length of a block."""
        async with self._gateway.away():
            yield

    async def restart(self) -> None:
        """End the bus in order and start it on what it had written: what was in hand is delivered again."""
        await self._gateway.restart()

    def deliver_twice(self, system: str) -> None:
        """Deliver each message to a system again, both while it is in hand and after it was acknowledged."""
        self._line(system).is_doubled = True

    @asynccontextmanager
    async def delay(self, system: str) -> AsyncIterator[None]:
        """Hold back what is delivered to a system until the block ends."""
        line = self._line(system)
        line.is_held = True
        try:
            yield
        finally:
            await line.release()

    def refuse(self, code: str, *, type: str = "", by: str = "", times: int = 1) -> None:  # noqa: A002 - as above
        """Refuse the next envelopes, of a type and by a system where they are given, with a code of the catalogue."""
        if code not in catalogue():
            raise ValueError(f"{code} is no code of the catalogue")
        sender = names.system_urn(by) if by else ""
        self._gate.planned.append(Planned(code=code, type=type, by=sender, times=times))

    # --- what happened --------------------------------------------------------------------------------------------------------------

    def sent(self, type: str = "", *, by: str = "", to: str = "") -> list[Sending]:  # noqa: A002 - as above
        """Return the envelopes that the bus accepted, in order; each once, however often it came."""
        return [each for each in self._gate.went_by if each.receipt and each.fits(type=type, by=by, to=to, code="")]

    def refused(self, code: str = "", *, type: str = "", by: str = "", to: str = "") -> list[Sending]:  # noqa: A002 - as above
        """Return the envelopes that the bus refused, in order, and again when they came again."""
        return [each for each in self._gate.went_by if each.code and each.fits(type=type, by=by, to=to, code=code)]

    async def deliveries(self, sending: Sending) -> list[Delivery]:
        """Return where an accepted envelope stands at each of its receivers."""
        return await self._store.deliveries(sending.env)

    async def parked(self, to: str = "") -> list[Delivery]:
        """Return the deliveries that are parked, of one inbox where it is given."""
        found = await self._store.in_state("parked", MOST)
        return [each for each in found if not to or each.to == names.system_urn(to)]

    async def settled(self, seconds: float = 10.0) -> None:
        """Wait until every accepted envelope is settled or parked; raise `AssertionError`, with what is open, after so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                while await self._open():
                    await self._gateway.bus.sweep.once()
                    await asyncio.sleep(LOOK)
        except TimeoutError:
            found = [f"{each} ({state})" for each, state in await self._open()]
            raise AssertionError("\n  ".join(["still open:", *found])) from None

    def assert_sent(
        self,
        type: str,  # noqa: A002 - the envelope's attribute has this name
        *,
        by: str = "",
        to: str = "",
        times: int = 1,
    ) -> list[Sending]:
        """Hold that envelopes like this were accepted so many times, and return them."""
        return self._expected(self.sent(type, by=by, to=to), times, f"{type} by {by or 'anybody'} to {to or 'anybody'}")

    def assert_refused(self, code: str, *, type: str = "", by: str = "", times: int = 1) -> list[Sending]:  # noqa: A002 - as above
        """Hold that envelopes like this were refused with a code so many times, and return them."""
        return self._expected(self.refused(code, type=type, by=by), times, f"{type or 'anything'} refused as {code}")

    async def assert_parked(self, to: str, *, times: int = 1) -> list[Delivery]:
        """Hold that so many deliveries to a system are parked, and return them."""
        return self._expected(await self.parked(to), times, f"parked for {to}")

    def _expected(self, found: list[Any], times: int, words: str) -> list[Any]:
        if len(found) != times:
            went_by = [str(each) for each in self._gate.went_by] or ["nothing"]
            raise AssertionError("\n  ".join([f"{times} of {words} expected, {len(found)} found; went by:", *went_by]))
        return found

    async def _open(self) -> list[tuple[Sending, str]]:
        return [
            (each, delivery.state)
            for each in self.sent()
            for delivery in await self._store.deliveries(each.env)
            if delivery.state not in SETTLED | {"parked"}
        ]

    # --- what it rests on -----------------------------------------------------------------------------------------------------------

    @property
    def _place(self) -> Path:
        if self._folder is None:
            raise Defect("the simulated bus does not run")
        return self._folder

    def _line(self, system: str) -> Line:
        return self._lines.setdefault(names.system_urn(system), Line())

    def _answerer(self, type_: str) -> str:
        """Return the one system that grants of a type name."""
        found = sorted(filter(names.is_system, self._registrar.answerers.get(type_, ())))
        if len(found) != 1:
            raise ValueError(f"who answers {type_}? Grants name {len(found)} systems; say which with by=")
        return found[0]

    def _grant_asked(self, system: str, manifest: AdapterManifest) -> None:
        for ask in manifest.asks:
            lists = ask.model_dump(include={"purposes", "legalbases", "procedures", "officers", "basis"})
            self.grant(system, ask.type, to=ask.audience, **lists)
        for type_ in manifest.consumes:
            if not names.is_reply_type(type_):
                self.subscribe(system, type_)
