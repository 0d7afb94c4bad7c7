"""The gateway's disk is full for a while: senders are told to come again, nothing that was accepted is lost, and it goes on by itself."""

import asyncio
import json
import resource

import aiohttp
import pytest

from lgsp.cli.demo.province import FISHERIES
from lgsp.cli.demo.refusals import SOMEBODY, Offender
from lgsp.cli.demo.story import Plan, Story

pytestmark = pytest.mark.timeout(300)

SEED, COUNT = 20_261_122, 600
ROOM = 64 * 1024
"""Bytes that the gateway's files may still grow by."""


def fill(program, data):
    """Let the files of a program grow by a little and no more, as on a disk that is nearly full; return what gives the room back.

    The limit is the operating system's own, on that process alone: a write beyond it fails.
    """
    size = max(path.stat().st_size for path in data.glob("bus.sqlite*"))
    before = resource.prlimit(program.process.pid, resource.RLIMIT_FSIZE, (size + ROOM, resource.RLIM_INFINITY))
    return lambda: resource.prlimit(program.process.pid, resource.RLIMIT_FSIZE, before)


async def answers_until(code, story):
    """Send envelopes until one is answered with this code, and return the last answer and the receipts before it."""
    receipts = []
    async with aiohttp.ClientSession() as session:
        offender = Offender(session=session, url=story.province.url, language="en")
        async with asyncio.timeout(60):
            while True:
                status, answer = await offender.post(story.province.one_stop.envelope(SOMEBODY))
                if answer.get("code") == code:
                    return status, answer, receipts
                assert status == 202, answer
                receipts.append(json.loads(answer["receipt"]["item"]))


async def test_a_full_disk_holds_the_synchronisation_up_and_loses_nothing(
    tmp_path, true_outcomes, run_apart, dark, entries_of
):
    data = tmp_path / "data"
    async with Story.opened(Plan(data=data, vessels=COUNT, seed=SEED, lookups=0), dark) as story:
        await story.start_all()
        await story.start(FISHERIES)
        await story.wait_for_vessels(COUNT // 10)
        make_room = fill(story.programs.running["gateway"], data)
        status, answer, accepted = await answers_until("unavailable", story)
        assert (status, answer["retryable"]) == (503, True)
        assert answer["hint"]
        assert story.report is None
        make_room()
        report = await story.wait_for_report()
        await story.programs.stop_all(but={"gateway"})
    truth = true_outcomes(SEED, COUNT)
    assert report["vessels"] == COUNT
    assert report["linked"] == sum(outcome == "linked" for outcome in truth.values())
    assert "no_answer" not in report["by_reason"]
    log = await entries_of(data)
    held = {entry["env"]: entry["seq"] for entry in log if entry["ev"] == "msg.accepted"}
    assert {item["env"]: item["index"] for item in accepted}.items() <= held.items()
    settled = [entry["env"] for entry in log if entry["ev"] == "msg.acked"]
    assert len(settled) == len(set(settled))
    assert held.keys() == set(settled)
    code, _, err = run_apart("audit", "verify", "--data", str(data), cwd=tmp_path)
    assert (code, err) == (0, "")
