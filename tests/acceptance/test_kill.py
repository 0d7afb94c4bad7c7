"""The synchronisation with programs killed in the middle: as if nothing had happened, nobody asked about or told of twice, and the log verifies."""

import asyncio
import contextlib
import random
import sqlite3
import sys
from collections import Counter
from datetime import date

import pytest

from adapters.vnfishbase.mapping import commune_lists, length_class, police_lists
from adapters.vnfishbase.records import vessels
from lgsp.cli.demo.province import FISHERIES
from lgsp.cli.demo.story import Plan, Story

VICTIMS = ("gateway", "vnfishbase", "ndxp", "ioc")
BROKER = "rabbitmq"
SEED = 20_261_122
AS_OF = date(2026, 11, 22)
NEVER_ASKED = {"number_missing", "answers_differ", "number_malformed", "birth_date_missing"}
VERIFY = "vn.lgsp.population.citizen.verify"
OWNER_LIST = "vn.lgsp.fisheries.owner-list.complete"
LINKED = "vn.lgsp.fisheries.vessel.linked.v1"
KINDS = (f"{VERIFY}.v1", f"{VERIFY}.reply.v1", f"{OWNER_LIST}.v1", f"{OWNER_LIST}.reply.v1", LINKED)


@pytest.fixture
def kill_seed():
    """Return a new seed for the moments, told when the test fails."""
    seed = random.randrange(10_000)
    sys.stdout.write(f"the moments of the kills are drawn from seed {seed}\n")
    return seed


def moments(seed, kills, count):
    """Return how many vessels are known of at each kill, between a twentieth and four fifths of all, and a fraction of a second more."""
    chance = random.Random(seed)
    found = sorted(chance.randrange(count // 20, count * 4 // 5) for _ in range(kills))
    return [(vessel, chance.random() / 4) for vessel in found]


async def kill(story, victim):
    """Kill a program and start it again."""
    if victim == BROKER:
        await story.kill_broker()
        return
    assert await story.programs.kill(victim) == -9
    await story.start(victim)


async def synchronise(tmp_path, stage, victim, *, count, kills, seed, engines=()):
    """Synchronise a fleet while a program is killed again and again, and return the story when every program has ended."""
    plan = Plan(data=tmp_path / "data", vessels=count, seed=SEED, lookups=0, engines=frozenset(engines))
    async with Story.opened(plan, stage) as story:
        await story.start_all()
        await story.start(FISHERIES)
        for vessel, late in moments(seed, kills, count):
            await story.wait_for_vessels(vessel)
            await asyncio.sleep(late)  # progress is told at one place of a program; it is to die at any
            assert story.report is None
            await kill(story, victim)
        await story.wait_for_report()
        assert (await story.wait_for_figures()).agrees
        await story.programs.stop_all(but={"gateway"})
    return story


def expected(truth):
    """Return the counts of an undisturbed run."""
    reasons = Counter(outcome for outcome in truth.values() if outcome != "linked")
    fleet = vessels(SEED, len(truth))
    return {
        "vessels": len(truth),
        "linked": len(truth) - reasons.total(),
        "linked_by_commune": Counter(row.commune_code for row in fleet if truth[row.registration] == "linked"),
        "linked_by_class": Counter(
            length_class(row.hull.length_m) for row in fleet if truth[row.registration] == "linked"
        ),
        "quarantined": reasons.total(),
        "by_reason": dict(reasons),
        "verifications": sum(outcome not in NEVER_ASKED for outcome in truth.values()),
        "lists": len(list(police_lists(fleet, AS_OF))) + len(list(commune_lists(fleet, AS_OF))),
    }


def rows(data, system, query):
    with contextlib.closing(sqlite3.connect(data / "systems" / system / "box.sqlite")) as box:
        return box.execute(query).fetchall()


async def check(story, log, truth, run_apart):
    """Check that all is as in an undisturbed run: counts, outcomes, one question each, one ack each, and the log."""
    data, wanted = story.plan.data, expected(truth)
    assert story.report == wanted
    assert dict(rows(data, "H01.12-vnfishbase", "SELECT registration, coalesce(reason, step) FROM vessel")) == truth
    accepted = Counter(entry["type"] for entry in log if entry["ev"] == "msg.accepted")
    asked, lists, linked = wanted["verifications"], wanted["lists"], wanted["linked"]
    assert accepted == dict(zip(KINDS, (asked, asked, lists, lists, linked), strict=True))
    keys = [key for (key,) in rows(data, "H01.12-vnfishbase", "SELECT key FROM lgsp_outbox")]
    told = {key.removeprefix("linked:") for key in keys if key.startswith("linked:")}
    assert told == {registration for registration, outcome in truth.items() if outcome == "linked"}
    assert {name for (name,) in rows(data, "H01.02-ioc", "SELECT registration FROM vessel")} == told
    counted = rows(data, "H01.02-ioc", "SELECT commune, sum(vessels) FROM figure GROUP BY commune")
    assert dict(counted) == wanted["linked_by_commune"]
    attempts = [key.rpartition(":")[::2] for key in keys if not key.startswith("linked:")]
    assert len({name for name, _ in attempts}) == len(attempts) == asked + lists
    assert {attempt for _, attempt in attempts} == {"1"}
    assert (
        Counter(entry["ev"] for entry in log)["msg.parked"] == Counter(entry["ev"] for entry in log)["msg.expired"] == 0
    )
    settled = Counter(entry["env"] for entry in log if entry["ev"] == "msg.acked")
    assert settled == {entry["env"]: 1 for entry in log if entry["ev"] == "msg.accepted"}
    code, out, err = await asyncio.to_thread(run_apart, "audit", "verify", "--data", str(data), cwd=data)
    assert (code, err) == (0, "")
    assert f"{len(log)} entries" in out


@pytest.mark.timeout(300)
@pytest.mark.parametrize("victim", ["gateway"])  # all of them, ten times each, in the long run
async def test_a_program_that_is_killed_and_started_again_changes_nothing(
    victim, tmp_path, dark, kill_seed, true_outcomes, entries_of, run_apart
):
    count = 500
    story = await synchronise(tmp_path, dark, victim, count=count, kills=2, seed=kill_seed)
    await check(story, await entries_of(story.plan.data), true_outcomes(SEED, count), run_apart)


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("victim", [BROKER])
async def test_on_a_broker_too_a_kill_changes_nothing(
    victim, tmp_path, dark, kill_seed, true_outcomes, entries_of, run_apart
):
    count = 500
    story = await synchronise(tmp_path, dark, victim, count=count, kills=2, seed=kill_seed, engines=[BROKER])
    await check(story, await entries_of(story.plan.data), true_outcomes(SEED, count), run_apart)


@pytest.mark.long
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("victim", VICTIMS)
async def test_ten_kills_of_a_program_among_all_vessels_change_nothing(
    victim, tmp_path, dark, kill_seed, true_outcomes, entries_of, run_apart
):
    count = 10_026
    story = await synchronise(tmp_path, dark, victim, count=count, kills=10, seed=kill_seed)
    await check(story, await entries_of(story.plan.data), true_outcomes(SEED, count), run_apart)


@pytest.mark.long
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("victim", [BROKER, "gateway"])
async def test_ten_kills_among_all_vessels_on_a_broker_change_nothing(
    victim, tmp_path, dark, kill_seed, true_outcomes, entries_of, run_apart
):
    count = 10_026
    story = await synchronise(tmp_path, dark, victim, count=count, kills=10, seed=kill_seed, engines=[BROKER])
    await check(story, await entries_of(story.plan.data), true_outcomes(SEED, count), run_apart)
