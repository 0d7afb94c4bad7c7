import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from adapters.ndxp import mapping as ndxp
from adapters.ndxp.mock.registry import registry
from adapters.ndxp.mock.service import Rules, answered
from adapters.one_stop.adapter import OneStop
from adapters.police.adapter import Police
from adapters.vnfishbase import mapping, standings
from adapters.vnfishbase.adapter import LINKED, OWNER_LIST, VERIFY, VNFishbase
from adapters.vnfishbase.records import vessels
from lgsp.domain import strictjson
from lgsp.sdk import ConfigInvalid

SEED, COUNT, WINDOW = 3, 120, 12
SETTINGS = {"seed": SEED, "count": COUNT, "window": WINDOW, "list_every": 0.001}
RULES = Rules(procedures=frozenset({"1.004359"}), officers=frozenset({"7f3a91"}))


class Crash(Exception):
    """The process is killed before a commit."""


class Province:
    """The fisheries on a bench, and everybody who answers them; `silent` names the keys that nobody answers."""

    def __init__(self, fisheries: Any, others: dict[str, tuple[Any, Any]], bridge: Any, remake: Any) -> None:
        self.bench, self.others, self.bridge, self.remake = fisheries, others, bridge, remake
        self.held = registry(SEED, COUNT)
        self.answered: set[str] = set()
        self.most_open = 0
        self.events: list[Any] = []
        self.silent: Callable[[str], bool] = lambda _key: False

    async def start(self, **settings: Any) -> Any:
        adapter = self.remake(self.bench, **(SETTINGS | settings))
        await adapter.check()
        return adapter

    async def synchronise(self, adapter: Any) -> dict[str, Any]:
        """Run the adapter against the province until it reports, and return the report."""
        with capture_logs() as self.events:
            async with asyncio.TaskGroup() as group:
                answering = group.create_task(self.answer(adapter))
                await adapter.pull()
                answering.cancel()
        return next(event for event in self.events if event["event"] == "adapter.report")

    async def answer(self, adapter: Any) -> None:
        while True:
            waiting = {key: self.bench.outbox[key] for key in self.bench.outbox if key not in self.answered}
            for key in [key for key in waiting if key.startswith("linked:")]:  # nobody answers an event
                self.answered.add(key)
                del waiting[key]
            self.most_open = max(self.most_open, sum(key.startswith("verify:") for key in waiting))
            for key, letter in waiting.items():
                if not self.silent(key):
                    await self.deliver(adapter, await self.reply_to(letter), key)
                self.answered.add(key)
            self.bench.moved.clear()
            if self.answered == self.bench.outbox.keys():
                await self.bench.moved.wait()

    async def deliver(self, adapter: Any, reply: Any, key: str) -> Any:
        message = self.bench.message(reply, key=key)
        await (adapter.settle if "verify.reply" in reply.type else adapter.record)(message)
        return message

    async def reply_to(self, letter: Any) -> Any:
        if letter.type == OWNER_LIST:
            other, bench = self.others[letter.audience]
            message = bench.message(letter)
            await other.complete(message)
            return bench.outbox.popitem()[1]
        message = self.bridge.message(letter)
        asker = ndxp.Asker(
            request_id="1",
            procedure=message.manifest.text("procedure"),
            officer=message.manifest.text("authid"),
            unit="H01.12",
        )
        body = ndxp.answer(answered(ndxp.question(message.body, asker), self.held, RULES))
        return self.bridge.reply(message.manifest, body, schema=None, orgcat=None)

    def told(self) -> list[dict[str, Any]]:
        """Return the bodies of the events in the outbox."""
        return [strictjson.parse(letter.body) for letter in self.bench.outbox.values() if letter.type == LINKED]

    def outcomes(self) -> dict[str, str]:
        rows = self.bench.read("SELECT registration, iif(step = 'linked', step, reason) FROM vessel")
        return dict(rows)


@pytest.fixture
async def province(bench: Any, adapter_on: Any) -> Province:
    others = {}
    for kind, name, signer in ((Police, "police", "police"), (OneStop, "one_stop", "one-stop")):
        own = bench(signer)
        other = adapter_on(kind, name, own, seed=SEED, count=COUNT)
        await other.check()
        others[own.composer.system] = (other, own)
    remake = lambda own, **settings: adapter_on(VNFishbase, "vnfishbase", own, **settings)  # noqa: E731
    return Province(bench("fisheries"), others, bench("ndxp"), remake)


@asynccontextmanager
async def under_way(province: Province, adapter: Any) -> AsyncIterator[None]:
    """Have the synchronisation send what it sends at first, and nobody answer."""
    with capture_logs():
        pulling = asyncio.create_task(adapter.pull())
        while not province.bench.outbox:
            province.bench.moved.clear()
            await province.bench.moved.wait()
        yield
        pulling.cancel()
        await asyncio.wait([pulling])


def questions_by_vessel(province: Province) -> Counter[str]:
    return Counter(key.split(":")[1] for key in province.bench.outbox if key.startswith("verify:"))


async def test_every_vessel_comes_to_what_was_made_up(province: Province, true_outcomes: Any) -> None:
    report = await province.synchronise(await province.start())
    outcomes, expected = province.outcomes(), true_outcomes(SEED, COUNT)
    assert outcomes == expected
    counts = report["counts"]
    reasons = Counter(expected.values())
    linked = reasons.pop("linked")
    fleet = [row for row in vessels(SEED, COUNT) if expected[row.registration] == "linked"]
    assert counts == {
        "vessels": COUNT,
        "linked": linked,
        "linked_by_commune": Counter(row.commune_code for row in fleet),
        "linked_by_class": Counter(mapping.length_class(row.hull.length_m) for row in fleet),
        "quarantined": COUNT - linked,
        "by_reason": dict(sorted(reasons.items())),
        "verifications": sum(questions_by_vessel(province).values()),
        "lists": sum(key.startswith("list:") for key in province.bench.outbox),
    }
    assert set(questions_by_vessel(province).values()) == {1}
    assert 0 < province.most_open <= WINDOW


async def test_a_question_says_who_asks_in_which_case_and_why(province: Province) -> None:
    await province.synchronise(await province.start())
    manifests = [
        province.bench.message(letter).manifest for letter in province.bench.outbox.values() if letter.type != LINKED
    ]
    verifications = [manifest for manifest in manifests if manifest.type == VERIFY]
    stated = {
        tuple(manifest.text(name) for name in ("purpose", "legalbasis", "procedure", "authid", "orgcat"))
        for manifest in manifests
    }
    assert stated == {("dpv:IdentityVerification", "dpv:LegalObligation", "1.004359", "7f3a91", "2025-07")}
    case_files = {manifest.text("casefile") for manifest in verifications}
    assert len(case_files) == len(verifications)
    assert min(case_files).startswith("H01.12-20261122-0000")


async def test_the_bus_accepts_whatever_is_sent(province: Province, accepted: Any) -> None:
    await province.synchronise(await province.start())
    rules = Counter(accepted(letter) for letter in province.bench.outbox.values())
    assert set(rules) == {
        "fisheries-verify",
        "fisheries-lists-police",
        "fisheries-lists-commune",
        "fisheries-vessels-linked",
    }


async def test_a_rerun_loads_nothing_asks_nothing_and_reports_the_same(province: Province) -> None:
    first = await province.synchronise(await province.start())
    sent = set(province.bench.outbox)
    again = await province.synchronise(await province.start())
    assert again == first
    assert set(province.bench.outbox) == sent


async def test_every_linked_vessel_is_told_once_and_no_other(province: Province) -> None:
    await province.synchronise(await province.start())
    linked = [registration for registration, outcome in province.outcomes().items() if outcome == "linked"]
    rows = {row.registration: row for row in vessels(SEED, COUNT)}
    assert sorted(event["registration"] for event in province.told()) == sorted(linked)
    for event in province.told():
        row = rows[event["registration"]]
        assert event == {
            "registration": row.registration,
            "communeCode": row.commune_code,
            "orgcat": "2025-07",
            "linkedOn": "2026-11-22",
            "lengthClass": mapping.length_class(row.hull.length_m),
        }


async def test_an_answer_that_comes_too_late_to_link_a_vessel_tells_nobody(province: Province) -> None:
    adapter = await province.start()
    async with under_way(province, adapter):
        key, letter = next(pair for pair in province.bench.outbox.items() if pair[1].type == VERIFY)
        reply = await province.reply_to(letter)
        body = {"result": "match"}
        match = province.bridge.reply(province.bridge.message(letter).manifest, body, schema=None, orgcat=None)
        await adapter.failed(province.bench.failure(letter, "refused"))
        await province.deliver(adapter, match, key)
    assert reply.audience == match.audience
    assert province.outcomes()[key.split(":")[1]] == "refused"
    assert province.told() == []


async def test_a_match_that_comes_twice_is_told_once(province: Province) -> None:
    adapter = await province.start()
    async with under_way(province, adapter):
        key, letter = next(pair for pair in province.bench.outbox.items() if pair[1].type == VERIFY)
        for _ in range(2):
            match = province.bridge.reply(
                province.bridge.message(letter).manifest, {"result": "match"}, schema=None, orgcat=None
            )
            await province.deliver(adapter, match, key)
    assert [event["registration"] for event in province.told()] == [key.split(":")[1]]


async def test_an_event_that_came_to_a_bad_end_changes_no_vessel(province: Province) -> None:
    adapter = await province.start()
    await province.synchronise(adapter)
    outcomes, sent = province.outcomes(), set(province.bench.outbox)
    event = next(letter for letter in province.bench.outbox.values() if letter.type == LINKED)
    for state in ("refused", "rejected", "parked", "expired"):
        await adapter.failed(province.bench.failure(event, state))
    assert (province.outcomes(), set(province.bench.outbox)) == (outcomes, sent)


async def test_one_process_reports_once(province: Province) -> None:
    adapter = await province.start()
    await province.synchronise(adapter)
    with capture_logs() as events:
        await adapter.pull()
    assert events == []


@pytest.mark.parametrize("commits", [*range(1, 8), 15, 40, 90])
async def test_a_run_after_a_crash_comes_to_the_same_counts(
    province: Province, true_outcomes: Any, commits: int
) -> None:
    adapter, left = await province.start(), commits

    def crash() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise Crash

    province.bench.before_commit = crash
    with pytest.raises(ExceptionGroup) as crashed:
        await province.synchronise(adapter)
    assert crashed.group_contains(Crash)
    province.bench.before_commit = lambda: None
    report = await province.synchronise(await province.start())
    assert province.outcomes() == true_outcomes(SEED, COUNT)
    assert report["counts"]["linked"] == Counter(province.outcomes().values())["linked"]
    assert set(questions_by_vessel(province).values()) == {1}, "a vessel was asked about under another key"
    assert len(province.told()) == report["counts"]["linked"]


async def test_the_seconds_count_from_the_first_beginning(province: Province, clock: Any) -> None:
    await province.start()
    clock.advance(100)
    report = await province.synchronise(await province.start())
    assert report["seconds"] == 100


async def test_a_second_reply_changes_nothing(province: Province) -> None:
    adapter = await province.start()
    replies: dict[str, Any] = {}
    direct = province.reply_to

    async def kept(letter: Any) -> Any:
        replies[letter.key] = await direct(letter)
        return replies[letter.key]

    province.reply_to = kept  # type: ignore[method-assign]
    await province.synchronise(adapter)
    outcomes = province.outcomes()
    for key, reply in replies.items():
        await province.deliver(adapter, reply, key)
    assert province.outcomes() == outcomes
    assert standings.standing(province.bench.read).complete


async def late_pull(province: Province, adapter: Any, clock: Any, pause: float) -> dict[str, Any]:
    """Let the time for answers pass whenever the adapter waits for any."""

    async def wait() -> None:
        clock.advance(pause)
        await asyncio.sleep(0)

    adapter._sync._clock = clock.seconds
    adapter._sync._pause = wait
    return await province.synchronise(adapter)


@pytest.mark.parametrize("attempts_in_silence", [1, 2])
async def test_an_unanswered_question_is_asked_anew(
    province: Province, true_outcomes: Any, clock: Any, attempts_in_silence: int
) -> None:
    province.silent = lambda key: key.startswith("verify:") and int(key[-1]) <= attempts_in_silence
    report = await late_pull(province, await province.start(reply_within=30.0), clock, 10)
    assert province.outcomes() == true_outcomes(SEED, COUNT)
    assert set(questions_by_vessel(province).values()) == {attempts_in_silence + 1}
    assert report["counts"]["verifications"] == sum(questions_by_vessel(province).values())


async def test_a_vessel_that_nobody_answers_for_is_quarantined(province: Province, clock: Any) -> None:
    province.silent = lambda key: key.startswith("verify:")
    report = await late_pull(province, await province.start(reply_within=30.0), clock, 10)
    assert set(questions_by_vessel(province).values()) == {3}
    assert report["counts"]["linked"] == 0
    assert report["counts"]["by_reason"]["no_answer"] == len(questions_by_vessel(province))


async def test_vessels_of_a_list_that_nobody_answers_are_quarantined(province: Province, clock: Any) -> None:
    province.silent = lambda key: "police" in key
    adapter = await province.start(list_reply_within=30.0)
    await late_pull(province, adapter, clock, 10)
    listed = {
        row["registration"] for row in json.loads(province.bench.outbox["list:20261122-police-001:1"].body)["rows"]
    }
    assert {key for key in province.bench.outbox if "police" in key} == {
        f"list:20261122-police-001:{attempt}" for attempt in (1, 2, 3)
    }
    assert {province.outcomes()[registration] for registration in listed} == {"no_answer"}


@pytest.mark.parametrize(("state", "attempts", "reason"), [("parked", 3, "no_answer"), ("expired", 3, "no_answer")])
async def test_a_question_that_was_not_delivered_is_asked_anew_a_few_times(
    province: Province, state: str, attempts: int, reason: str
) -> None:
    adapter = await province.start()
    await failing(province, adapter, state)
    assert set(questions_by_vessel(province).values()) == {attempts}
    assert {province.outcomes()[registration] for registration in questions_by_vessel(province)} == {reason}


@pytest.mark.parametrize("state", ["refused", "rejected"])
async def test_a_question_that_was_refused_is_not_repeated(province: Province, state: str) -> None:
    await failing(province, await province.start(), state)
    assert set(questions_by_vessel(province).values()) == {1}
    assert {province.outcomes()[registration] for registration in questions_by_vessel(province)} == {"refused"}


async def test_a_question_that_the_bus_was_given_too_late_is_put_again(province: Province) -> None:
    """The gateway was away for longer than the question may live: its refusal is no "no"."""
    adapter = await province.start()
    await failing(province, adapter, "refused", code="expired")
    assert min(questions_by_vessel(province).values()) > 1


async def failing(province: Province, adapter: Any, state: str, code: str = "") -> None:
    """Synchronise while every question comes to a bad end."""

    async def answer(adapter: Any, reply: Any, key: str) -> Any:
        letter = province.bench.outbox[key]
        if letter.type == VERIFY:
            await adapter.failed(province.bench.failure(letter, state, code))
            return None
        return await Province.deliver(province, adapter, reply, key)

    province.deliver = answer  # type: ignore[method-assign]
    await province.synchronise(adapter)


async def test_an_answer_that_comes_after_the_question_was_put_again_counts(province: Province) -> None:
    adapter = await province.start()
    async with under_way(province, adapter):
        key, letter = next(pair for pair in province.bench.outbox.items() if pair[1].type == VERIFY)
        await adapter.failed(province.bench.failure(letter, "expired"))
        await province.deliver(adapter, await province.reply_to(letter), key)
    step = province.bench.read("SELECT step FROM vessel WHERE registration = ?", (key.split(":")[1],))
    assert step in ([("linked",)], [("quarantined",)])


@pytest.mark.parametrize(
    ("change", "code", "pointer"),
    [
        (lambda body: body | {"listId": "20261122-police-009"}, "list_unknown", "/listId"),
        (lambda body: body | {"rows": body["rows"][1:]}, "vessels_differ", "/rows"),
        (
            lambda body: body | {"rows": [*body["rows"], {"registration": "AG-99999-TS", "status": "not_found"}]},
            "vessels_differ",
            "/rows",
        ),
    ],
)
async def test_an_answer_to_another_list_is_rejected(province: Province, change: Any, code: str, pointer: str) -> None:
    adapter = await province.start()
    async with under_way(province, adapter):
        while "list:20261122-police-001:1" not in province.bench.outbox:  # they go out a few at a time
            province.bench.moved.clear()
            await province.bench.moved.wait()
        letter = province.bench.outbox["list:20261122-police-001:1"]
        other, own = province.others[letter.audience]
        message = own.message(letter)
        await other.complete(message)
        body = own.message(own.outbox.popitem()[1]).body
        reply = own.reply(message.manifest, change(body), schema=None, orgcat=None)
        answer = await province.deliver(adapter, reply, letter.key)
        while "list:20261122-police-001:2" not in province.bench.outbox:  # nobody will send another answer to the first
            province.bench.moved.clear()
            await province.bench.moved.wait()
    effect = province.bench.done[answer.env]
    assert (effect.outcome, effect.code, effect.pointer) == ("rejected", code, pointer)
    assert province.bench.read("SELECT count(*) FROM answer") == [(0,)]


async def test_a_list_that_is_answered_wrongly_again_and_again_is_given_up(province: Province) -> None:
    adapter = await province.start()
    answered = province.reply_to

    async def wrongly(letter: Any) -> Any:
        reply = await answered(letter)
        if letter.key is None or not letter.key.startswith("list:20261122-police"):
            return reply
        _, own = province.others[letter.audience]
        body = own.message(reply).body | {"listId": "20261122-police-009"}
        return own.reply(own.message(letter).manifest, body, schema=None, orgcat=None)

    province.reply_to = wrongly  # type: ignore[method-assign]
    async with asyncio.timeout(30):
        await province.synchronise(adapter)
    sent = [key for key in province.bench.outbox if key.startswith("list:20261122-police-001")]
    assert sent == [f"list:20261122-police-001:{attempt}" for attempt in (1, 2, 3)]
    assert "no_answer" in province.outcomes().values()


async def test_an_answer_to_nothing_is_rejected(province: Province) -> None:
    adapter = await province.start()
    async with under_way(province, adapter):
        letter = next(letter for letter in province.bench.outbox.values() if letter.type == VERIFY)
        for key in (None, "verify:", "list:AG-00001-TS:1", "verify:AG-00001-TS:x"):
            answer = await province.deliver(adapter, await province.reply_to(letter), key)
            assert province.bench.done[answer.env].code == "not_asked"


async def test_a_box_with_another_fleet_is_a_wrong_setting(province: Province) -> None:
    await province.start()
    for other in ({"seed": SEED + 1}, {"count": COUNT + 1}, {"as_of": "2026-11-23"}):
        with pytest.raises(ConfigInvalid, match="another seed, count or day"):
            await province.start(**other)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("as_of", "22/11/2026"),
        ("count", 0),
        ("count", 50_001),
        ("window", 0),
        ("queueing", 0.0),
        ("tries", 0),
        ("reply_within", -1.0),
        ("list_every", 0.0),
    ],
)
async def test_a_wrong_setting_is_named(province: Province, setting: str, value: Any) -> None:
    with pytest.raises(ConfigInvalid, match=setting):
        await province.start(**{setting: value})


async def test_work_lists_go_out_one_by_one_and_not_faster_than_stated(province: Province) -> None:
    every, seen, most = 0.05, 0, 0

    def count() -> None:
        nonlocal seen, most
        ((tried,),) = province.bench.read("SELECT count(*) FROM work_list WHERE tries > 0")
        seen, most = tried, max(most, tried - seen)

    province.bench.before_commit = count
    adapter = await province.start(list_every=every)
    started = asyncio.get_running_loop().time()
    report = await province.synchronise(adapter)
    lists = report["counts"]["lists"]
    assert (most, lists > 5) == (1, True)
    assert asyncio.get_running_loop().time() - started >= (lists - 1) * every


async def test_progress_is_shown_at_most_four_times_a_second(province: Province, clock: Any) -> None:
    adapter = await province.start()
    adapter._sync._clock = clock.seconds
    await province.synchronise(adapter)
    shown = [event for event in province.events if event["event"] == "adapter.progress"]
    assert [(event["step"], event["done"] == event["total"]) for event in shown] == [
        ("verify", False),
        ("lists", False),
        ("verify", True),
        ("lists", True),
    ]
    assert {event["system"] for event in shown} == {"H01.12/vnfishbase"}
