"""A client that floods: envelopes signed before the window, sent over one stream as fast as answers come, without a box or a disk in their way.

So what it costs is what it costs the bus, as with a client on another machine. Replies stay in its inbox: it gives no credit.
What it sends is of one kind or of several in turns: valid, refused by its schema, or without a good signature.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import aiohttp

from lgsp.domain.directory import empty_directory
from lgsp.domain.envelope import parse_time
from lgsp.keyfiles import read_private
from lgsp.machine import SystemClock, SystemEntropy
from lgsp.sdk import SystemSettings, frames
from lgsp.sdk.composition import Composer, Stated
from tests.bench import program
from tests.bench.made_up import SCHEMA, Notes

MOST_A_SECOND: Final = 1_500
"""Frames signed for each second: more than a gateway on two cores answers. The run fails when they do not last."""
LIFE: Final = timedelta(hours=1)
ANSWERS: Final = {"valid": "receipt", "refused": "schema", "unsigned": "signature"}
"""What each kind is answered with: a receipt, or the code of a refusal. `refused` has an empty title, which the schema forbids."""

Socket = aiohttp.ClientWebSocketResponse[bool]


async def main(plan: dict[str, Any], orders: program.Orders) -> None:
    """Serve orders `{"type", "receiver", "kinds", "in_flight", "size"}` with `{"warm", "seconds"}` or `{"count"}`; `{"signed": true}` comes before the flood begins."""
    settings = SystemSettings.load(Path(plan["settings"]))
    composer = Composer(
        system=settings.system, signer=read_private(settings.key), clock=SystemClock(), entropy=SystemEntropy()
    )
    async for order in orders:
        signed = _signed(composer, settings, order)
        orders.answer({"signed": True})
        async with aiohttp.ClientSession() as http:
            ws = await _opened(http, settings, composer)
            orders.answer(await Flood(ws=ws, signed=signed).run(order))
            await ws.close()


def _signed(composer: Composer, settings: SystemSettings, order: dict[str, Any]) -> list[bytes]:
    """Return the frames to be sent, the references counted from 0, the kinds in turns."""
    notes, directory = Notes(order["size"]), empty_directory(settings.bus)
    count = order.get("count") or int(MOST_A_SECOND * (order["warm"] + order["seconds"]))
    found = []
    for number, kind in zip(range(count), itertools.cycle(order["kinds"])):
        wrong = {"title": ""} if kind == "refused" else {}
        stated = Stated(audience=order["receiver"], schema=SCHEMA, body={**notes.next(), **wrong}, expires_in=LIFE)
        letter = composer.letter(order["type"], stated, directory)
        compact = _unsigned(letter.compact) if kind == "unsigned" else letter.compact
        found.append(frames.send(number, compact, letter.body))
    return found


def _unsigned(compact: bytes) -> bytes:
    """Return the envelope with a signature of the right form that nobody made."""
    return compact.rpartition(b".")[0] + b"." + b"A" * 86


async def _opened(http: aiohttp.ClientSession, settings: SystemSettings, composer: Composer) -> Socket:
    ws = await http.ws_connect(f"{settings.url}/v1/stream", protocols=["lgsp.v1"], max_msg_size=0)
    welcome = json.loads(await ws.receive_str())
    auth = composer.authorization(settings.bus, nonce=welcome["nonce"], at=parse_time(welcome["now"]))
    await ws.send_str(frames.hello(auth).decode())
    return ws


@dataclass(slots=True, kw_only=True)
class Flood:
    """One flood over one stream."""

    ws: Socket
    signed: list[bytes]
    _answers: Counter[str] = field(default_factory=Counter)

    async def run(self, order: dict[str, Any]) -> dict[str, Any]:
        """Flood as ordered and return how many were answered, and how; raise when another answer comes than was ordered."""
        going = iter(self.signed)
        for frame in itertools.islice(going, order["in_flight"]):
            await self._send(frame)
        seen = await (
            self._run_out(going) if "count" in order else self._run_for(going, order["warm"], order["seconds"])
        )
        if set(self._answers) - {ANSWERS[kind] for kind in order["kinds"]}:
            raise RuntimeError(f"other answers than were ordered: {dict(self._answers)}")
        return seen | {"answers": dict(self._answers)}

    async def _run_out(self, going: Iterator[bytes]) -> dict[str, Any]:
        """Flood until everything is answered."""
        began = time.monotonic()
        while self._answers.total() < len(self.signed):
            if await self._hear() and (frame := next(going, None)) is not None:
                await self._send(frame)
        return {"exchanges": self._answers.total(), "seconds": time.monotonic() - began}

    async def _run_for(self, going: Iterator[bytes], warm: float, seconds: float) -> dict[str, Any]:
        """Flood until the time is over, and count in the window."""
        await self._until(going, time.monotonic() + warm)
        before, began = self._answers.total(), time.monotonic()
        await self._until(going, began + seconds)
        return {"exchanges": self._answers.total() - before, "seconds": time.monotonic() - began}

    async def _until(self, going: Iterator[bytes], end: float) -> None:
        """Send a frame for each answer until a moment."""
        try:
            async with asyncio.timeout(end - time.monotonic()):
                while True:
                    if await self._hear():
                        await self._send(next(going))
        except TimeoutError:
            return

    async def _hear(self) -> bool:
        """Receive a frame and tell whether it answers one of ours."""
        answer = json.loads(await self.ws.receive_str())
        if answer["op"] == "closing":
            raise RuntimeError(f"the gateway closed: {answer['reason']}")
        if "ref" not in answer:
            return False
        self._answers[answer["problem"]["code"] if answer["op"] == "refused" else answer["op"]] += 1
        return True

    async def _send(self, frame: bytes) -> None:
        await self.ws.send_str(frame.decode())


if __name__ == "__main__":
    program.run(main)
