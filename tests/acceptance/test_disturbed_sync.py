"""The synchronisation disturbed in the middle, by programs that are killed and by two registrars who change the directory at once.

As if nothing had happened: nobody is asked about or told of twice, the counts are right, and the log verifies.
"""

import asyncio
import contextlib
import json
import random
import re
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import pytest

from adapters.vnfishbase.mapping import commune_lists, length_class, police_lists
from adapters.vnfishbase.records import vessels
from lgsp.cli.demo.province import FISHERIES, RECORDS
from lgsp.cli.demo.story import Plan, Story

VICTIMS = ("gateway", "vnfishbase", "ndxp", "ioc")
BROKER = "rabbitmq"
SEED = 20_261_122
AS_OF = date(2026, 11, 22)
NEVER_ASKED = {"number_missing", "answers_differ", "number_malformed", "birth_date_missing"}
VERIFY = "vn.lgsp.population.citizen.verify"
OWNER_LIST = "vn.lgsp.fisheries.owner-list.complete"
LINKED = "vn.lgsp.fisheries.vessel.linked.v1"
LATEST_CHANGE = 0.4
"""A change takes seconds beside a synchronisation, and the next is to begin before that is over."""
GRANT_IN_USE = re.search(r'\[\[grant\]\]\nid = "fisheries-verify"\n(?:.+\n)+', RECORDS.read_text("utf-8"))[0]
KINDS = (f"{VERIFY}.v1", f"{VERIFY}.reply.v1", f"{OWNER_LIST}.v1", f"{OWNER_LIST}.reply.v1", LINKED)


@pytest.fixture
def moments_seed():
    """Return a new seed for the moments, told when the test fails."""
    seed = random.randrange(10_000)
    sys.stdout.write(f"the moments of the disturbances are drawn from seed {seed}\n")
    return seed


def moments(seed, times, count, latest):
    """Return how many vessels are known of at each disturbance, between a twentieth and the latest part of all, and a fraction of a second more."""
    chance = random.Random(seed)
    found = sorted(chance.randrange(count // 20, int(count * latest)) for _ in range(times))
    return [(vessel, chance.random() / 4) for vessel in found]


def kill(victim):
    """Return the disturbance that kills a program and starts it again."""

    async def disturb(story):
        if victim == BROKER:
            await story.kill_broker()
            return
        assert await story.programs.kill(victim) == -9
        await story.start(victim)

    return disturb


@dataclass(slots=True, kw_only=True)
class Registrars:
    """Two who change the directory at the same moment: one the grant that the fisheries are using, the other an agency."""

    run_apart: Callable[..., tuple[int, str, str]]
    folder: Path
    officers: list[str] = field(default_factory=lambda: ["7f3a91"])
    agencies: list[str] = field(default_factory=list)

    async def disturb(self, story):
        """Both apply their files at once; one who is told that the directory has moved applies again; then the same files change nothing."""
        self.officers.append(f"7f3a{len(self.officers):02x}")
        self.agencies.append(f"H01.{60 + len(self.agencies)}")
        files = [self.folder / "grant.toml", self.folder / "agency.toml"]
        listed = json.dumps(self.officers)
        files[0].write_text(GRANT_IN_USE.replace('["7f3a91"]', listed))
        files[1].write_text(f'[[agency]]\nid = "{self.agencies[-1]}"\n')
        for file, ended in zip(files, await self._apply(story, *files), strict=True):
            await self._check_end(story, file, *ended)
        again = await self._apply(story, *files)
        assert [(code, "nothing to change" in words) for code, _, words in again] == [(0, True)] * 2, again

    async def _check_end(self, story, file, code, _, words):
        if code and "lgsp: [directory_moved]" in words:
            [(code, _, words)] = await self._apply(story, file)
        assert (code, "is in force" in words) == (0, True), words

    async def _apply(self, story, *files):
        command = ("directory", "apply", "--data", str(story.plan.data))
        return await asyncio.gather(
            *(asyncio.to_thread(self.run_apart, *command, str(file), cwd=self.folder) for file in files)
        )


async def synchronise(tmp_path, stage, disturb, *, count, times, seed, latest=0.8, engines=()):
    """Synchronise a fleet while `disturb(story)` is awaited again and again, and return the story when every program has ended."""
    plan = Plan(data=tmp_path / "data", vessels=count, seed=SEED, lookups=0, engines=frozenset(engines))
    async with Story.opened(plan, stage) as story:
        await story.start_all()
        await story.start(FISHERIES)
        for vessel, late in moments(seed, times, count, latest):
            await story.wait_for_vessels(vessel)
            await asyncio.sleep(late)  # progress is told at one place of a program; it is to be disturbed at any
            assert story.report is None
            await disturb(story)
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
    victim, tmp_path, dark, moments_seed, true_outcomes, entries_of, run_apart
):
    count = 500
    story = await synchronise(tmp_path, dark, kill(victim), count=count, times=2, seed=moments_seed)
    await check(story, await entries_of(story.plan.data), true_outcomes(SEED, count), run_apart)


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("victim", [BROKER])
async def test_on_a_broker_too_a_kill_changes_nothing(
    victim, tmp_path, dark, moments_seed, true_outcomes, entries_of, run_apart
):
    count = 500
    story = await synchronise(tmp_path, dark, kill(victim), count=count, times=2, seed=moments_seed, engines=[BROKER])
    await check(story, await entries_of(story.plan.data), true_outcomes(SEED, count), run_apart)


@pytest.mark.long
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("victim", VICTIMS)
async def test_ten_kills_of_a_program_among_all_vessels_change_nothing(
    victim, tmp_path, dark, moments_seed, true_outcomes, entries_of, run_apart
):
    count = 10_026
    story = await synchronise(tmp_path, dark, kill(victim), count=count, times=10, seed=moments_seed)
    await check(story, await entries_of(story.plan.data), true_outcomes(SEED, count), run_apart)


@pytest.mark.long
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("victim", [BROKER, "gateway"])
async def test_ten_kills_among_all_vessels_on_a_broker_change_nothing(
    victim, tmp_path, dark, moments_seed, true_outcomes, entries_of, run_apart
):
    count = 10_026
    story = await synchronise(tmp_path, dark, kill(victim), count=count, times=10, seed=moments_seed, engines=[BROKER])
    await check(story, await entries_of(story.plan.data), true_outcomes(SEED, count), run_apart)


def versions_used(log):
    """Return the versions under which envelopes were accepted; each is the version in force at that place of the log."""
    used, in_force = set(), None
    for entry in log:
        if entry["ev"] == "directory.changed":
            in_force = int(entry["obj"])
        elif entry["ev"] == "msg.accepted":
            assert entry["policy"] == in_force
            used.add(in_force)
    return used


async def change_directory(tmp_path, stage, run_apart, entries_of, *, count, times, seed):
    """Synchronise a fleet while two registrars change the directory, check their changes, and return the story and its log."""
    registrars = Registrars(run_apart=run_apart, folder=tmp_path)
    story = await synchronise(
        tmp_path, stage, registrars.disturb, count=count, times=times, seed=seed, latest=LATEST_CHANGE
    )
    log = await entries_of(story.plan.data)
    _empty, founded, *changed = [int(entry["obj"]) for entry in log if entry["ev"] == "directory.changed"]
    assert changed == list(range(founded + 1, founded + 1 + 2 * times))
    used = versions_used(log)
    assert len(used & {founded, *changed}) > times
    code, out, _ = await asyncio.to_thread(
        run_apart, "directory", "show", "--json", "--data", str(story.plan.data), cwd=tmp_path
    )
    records = {record["id"]: record for record in map(json.loads, out.splitlines()) if "id" in record}
    assert code == 0
    assert records["fisheries-verify"]["officers"] == registrars.officers
    assert {f"urn:lgsp:agency:{name}" for name in registrars.agencies} <= set(records)
    return story, log


@pytest.mark.timeout(300)
async def test_a_directory_that_two_change_at_once_in_the_middle_disturbs_nothing(
    tmp_path, dark, moments_seed, true_outcomes, entries_of, run_apart
):
    count = 500
    told = await change_directory(tmp_path, dark, run_apart, entries_of, count=count, times=1, seed=moments_seed)
    await check(*told, true_outcomes(SEED, count), run_apart)


@pytest.mark.long
@pytest.mark.timeout(1_800)
async def test_ten_changes_of_the_directory_among_all_vessels_disturb_nothing(
    tmp_path, dark, moments_seed, true_outcomes, entries_of, run_apart
):
    count = 10_026
    told = await change_directory(tmp_path, dark, run_apart, entries_of, count=count, times=10, seed=moments_seed)
    await check(*told, true_outcomes(SEED, count), run_apart)
