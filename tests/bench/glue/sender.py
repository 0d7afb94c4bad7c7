"""The glue's sender: signs, publishes as a request, verifies the signed answer."""

from __future__ import annotations

from typing import Any

from faststream.rabbit import RabbitBroker
from joserfc.jwk import OKPKey

from tests.bench import load, program
from tests.bench.glue.signing import QUEUE, signed, verified
from tests.bench.machine import Watched
from tests.bench.made_up import Notes

ANSWER_SECONDS = 60.0


async def main(plan: dict[str, Any], orders: program.Orders) -> None:
    """Serve orders: loads, and `{"counts": true}`."""
    own, other = OKPKey.import_key(plan["sender"]), OKPKey.import_key(plan["receiver"])
    verified_answers = 0

    async with RabbitBroker(plan["broker"], logger=None) as broker:

        async def exchange(note: dict[str, Any]) -> None:
            nonlocal verified_answers
            answer = await broker.request(signed(note, own), QUEUE, persist=True, timeout=ANSWER_SECONDS)
            if verified(answer.body, other) != {"number": note["number"], "outcome": "accepted"}:
                raise RuntimeError("the answer is another message's")
            verified_answers += 1

        async for order in orders:
            if "counts" in order:
                orders.answer({"answered": verified_answers})
            else:
                notes = Notes(order["size"])
                watched = Watched(order["watched"])
                orders.answer(await load.carry_out(order, lambda notes=notes: exchange(notes.next()), watched))


if __name__ == "__main__":
    program.run(main)
