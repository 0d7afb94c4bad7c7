"""`lgsp serve` is told to stop while others call: what it accepted it answered, it says that it stops, and it ends in time."""

import asyncio
import itertools
import signal
import time
from contextlib import suppress

import aiohttp
import pytest

from lgsp.domain import strictjson

pytestmark = pytest.mark.timeout(120)

SENDERS = 8
ENOUGH = 150
"""Receipts after which the gateway is told to stop."""


async def send_until_stopped(url, question, told, headers):
    """Post one envelope after the other, each on a connection that may be kept, until the gateway says no or is gone."""
    limit = aiohttp.ClientTimeout(total=40)
    with suppress(aiohttp.ClientConnectionError):
        async with aiohttp.ClientSession(timeout=limit) as http:
            for _ in itertools.count():
                made = question()
                sent = {"lgsp-env": made.compact.decode(), "Content-Type": "application/json", **headers}
                async with http.post(f"{url}/v1/envelopes", data=made.body, headers=sent) as answer:
                    said = strictjson.parse_object(await answer.read())
                told.append((made.hash, answer.status, said.get("code", "")))
                if answer.status != 202:
                    return


async def test_a_gateway_that_is_told_to_stop_has_answered_whatever_it_accepted(province, start, entries_of, question):
    address = province.parent / "address"
    run = start("serve", "--data", str(province), "--port", "0", "--port-file", str(address), cwd=province.parent)
    await asyncio.to_thread(run.hear, "gateway.started")
    async with asyncio.timeout(10):
        while not address.exists():
            await asyncio.sleep(0.01)
    url = address.read_text().strip()
    told = []
    async with asyncio.timeout(60), asyncio.TaskGroup() as senders:
        for number in range(SENDERS):
            waits = {"Prefer": "wait=50"} if number == 0 else {}  # nobody answers: it is let go with its receipt
            senders.create_task(send_until_stopped(url, question, told, waits))
        while len(told) < ENOUGH:
            await asyncio.sleep(0.005)
        began = time.monotonic()
        run.process.send_signal(signal.SIGTERM)
    code, _, said = await asyncio.to_thread(run.end)
    assert (code, time.monotonic() - began < 20) == (0, True), said
    assert {(status, why) for _, status, why in told} <= {(202, ""), (503, "draining")}
    accepted = {entry["env"] for entry in await entries_of(province) if entry["ev"] == "msg.accepted"}
    assert accepted == {env for env, status, _ in told if status == 202}
    assert len(accepted) >= ENOUGH
