"""What goes wrong on a simulated bus because a test wants it: deliveries that come twice or late, envelopes that are refused; and what went by.

Everything else is the real bus and the real client: the faults lie between the edge and the bus, and between the stream and the client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from lgsp.bus.ingress import Answer, Ingress, Receipted, Tell
from lgsp.bus.refusing import EnvelopeRefused
from lgsp.domain import names, statements, strictjson
from lgsp.domain.envelope import Manifest, Wire
from lgsp.domain.statements import Statement
from lgsp.errors import Refusal
from lgsp.sdk import frames
from lgsp.sdk.client import Client
from lgsp.testing.world import manifest_of

Frame = dict[str, Any]
PassOn = Callable[[Frame], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """An envelope that reached the bus, and the first answer that it got."""

    env: str
    manifest: Manifest
    body: Any = field(repr=False)
    receipt: Statement | None
    """None for what was refused."""
    code: str = ""
    """The refusal's code."""
    pointer: str = ""

    @property
    def type(self) -> str:
        """The message type."""
        return self.manifest.type

    @property
    def by(self) -> str:
        """The sending system in short form, like `H01.12/x`."""
        return names.short_system(self.manifest.source)

    @property
    def to(self) -> str:
        """The audience: a system in short form, or the URN of an agency or topic."""
        return names.short_system(self.manifest.audience)

    def fits(self, *, type: str, by: str, to: str, code: str) -> bool:  # noqa: A002 - the envelope's attribute has this name
        """Tell whether it is what these words ask for; an empty word asks for nothing."""
        pairs = ((type, self.type), (_short(by), self.by), (_short(to), self.to), (code, self.code))
        return all(wanted in {"", found} for wanted, found in pairs)

    def __str__(self) -> str:
        return f"{self.type} by {self.by} to {self.to}{': refused as ' + self.code if self.code else ''}"


@dataclass(slots=True, kw_only=True)
class Planned:
    """A refusal that is to come."""

    code: str
    type: str
    by: str
    times: int


class Gate:
    """Stands before the bus's intake: refuses what a test planned, and writes down what went by."""

    def __init__(self) -> None:
        self.went_by: list[Sending] = []
        self.planned: list[Planned] = []
        self.ingress: Ingress

    async def submit_all(self, wires: Sequence[Wire], *, peer: str, system: str = "", tell: Tell) -> None:
        """Hand each envelope to the bus, unless its refusal is planned."""
        for place, wire in enumerate(wires):
            try:
                answer: Answer = await self.submit(wire, peer=peer, system=system)
            except Exception as error:  # noqa: BLE001 - it is the answer
                answer = error
            tell(place, answer)

    async def submit(self, wire: Wire, *, peer: str, system: str = "") -> Receipted:
        """Hand the envelope to the bus, unless its refusal is planned."""
        try:
            if code := self._planned_code(wire):
                raise Refusal(code)
            receipted = await self.ingress.submit(wire, peer=peer, system=system)
        except EnvelopeRefused as refused:
            self._note_refusal(wire, refused.refusal)
            raise
        except Refusal as refusal:
            self._note_refusal(wire, refusal)
            raise
        if not receipted.duplicate:
            self._note(wire, receipt=statements.from_text(receipted.receipt))
        return receipted

    def _planned_code(self, wire: Wire) -> str:
        with suppress(Refusal):  # what is no envelope is refused by the bus itself
            manifest = manifest_of(wire)
            for planned in self.planned:
                if planned.times > 0 and planned.type in {"", manifest.type} and planned.by in {"", manifest.source}:
                    planned.times -= 1
                    return planned.code
        return ""

    def _note_refusal(self, wire: Wire, refusal: Refusal) -> None:
        self._note(wire, code=refusal.code, pointer=refusal.pointer)

    def _note(self, wire: Wire, *, receipt: Statement | None = None, code: str = "", pointer: str = "") -> None:
        """Write down an envelope that can be read; of anything else only the bus's log tells."""
        with suppress(Refusal, strictjson.NotStrict):
            self.went_by.append(
                Sending(
                    env=wire.hash,
                    manifest=manifest_of(wire),
                    body=strictjson.parse(wire.body),
                    receipt=receipt,
                    code=code,
                    pointer=pointer,
                )
            )


def _short(system: str) -> str:
    return names.short_system(system)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """A delivery that waits for its release, and the loop on which it came."""

    frame: Frame
    pass_on: PassOn
    loop: asyncio.AbstractEventLoop

    async def release(self) -> None:
        done = asyncio.run_coroutine_threadsafe(_run(self.pass_on, self.frame), self.loop)
        await asyncio.wrap_future(done)


async def _run(pass_on: PassOn, frame: Frame) -> None:
    await pass_on(frame)


@dataclass(slots=True, kw_only=True)
class Line:
    """The way of deliveries to one system, good or bad as a test wants it."""

    is_doubled: bool = False
    is_held: bool = False
    _held: list[_Held] = field(default_factory=list)
    _copies: dict[str, Frame] = field(default_factory=dict)

    async def frame(self, frame: Frame, pass_on: PassOn) -> None:
        """Hand a frame to the client, later or more than once where that is wanted."""
        if frame["op"] == "deliver" and self.is_held:
            self._held.append(_Held(frame=frame, pass_on=pass_on, loop=asyncio.get_running_loop()))
            return
        await pass_on(frame)
        if frame["op"] == "deliver" and self.is_doubled:
            self._copies[frames.handed(frame).env] = frame
            await pass_on(frame)
        elif frame["op"] == "settled" and (copy := self._copies.pop(str(frame["env"]), None)) is not None:
            await pass_on(copy)

    async def release(self) -> None:
        """Hand over what was held back, in order."""
        self.is_held, held = False, list(self._held)
        self._held.clear()
        for each in held:
            await each.release()

    def broken(self) -> None:
        """Forget what came over a stream that is gone: the bus delivers it again."""
        self._held.clear()
        self._copies.clear()

    def client_kind(self) -> type[Client]:
        """Return the class of clients whose deliveries come this way."""
        line = self

        class Lined(Client):
            async def hear(self, found: Sequence[Frame]) -> None:
                hear = super().hear
                for frame in found:
                    await line.frame(frame, lambda each: hear([each]))

            def closed(self) -> None:
                line.broken()
                super().closed()

        return Lined
