"""The glue's receiver: verifies, validates, answers signed. FastStream acknowledges a message after its answer is published."""

from __future__ import annotations

from typing import Any

from faststream.rabbit import Channel, QueueType, RabbitBroker, RabbitQueue
from joserfc.jwk import OKPKey
from jsonschema import Draft202012Validator

from tests.bench import program
from tests.bench.glue.signing import QUEUE, signed, verified
from tests.bench.made_up import DOCUMENT

PREFETCH = 256


async def main(plan: dict[str, Any], orders: program.Orders) -> None:
    """Receive until the end; any order is answered with the number of messages taken."""
    own, other = OKPKey.import_key(plan["receiver"]), OKPKey.import_key(plan["sender"])
    validator = Draft202012Validator(DOCUMENT)
    broker = RabbitBroker(plan["broker"], logger=None, default_channel=Channel(prefetch_count=PREFETCH))
    taken = 0

    @broker.subscriber(RabbitQueue(QUEUE, queue_type=QueueType.QUORUM, durable=True))
    async def take(message: str) -> str:
        nonlocal taken
        note = verified(message, other)
        validator.validate(note)
        taken += 1
        return signed({"number": note["number"], "outcome": "accepted"}, own)

    async with broker:
        await broker.start()
        async for _ in orders:
            orders.answer({"taken": taken})


if __name__ == "__main__":
    program.run(main)
