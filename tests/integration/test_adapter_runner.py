"""An adapter under the runner: from its manifest to its end."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
from contextlib import asynccontextmanager

import pytest
import structlog

from lgsp.backends.memory import MemoryLedger
from lgsp.domain.retry import RetryPolicy
from lgsp.errors import Unusable
from lgsp.keyfiles import write_private
from lgsp.sdk import (
    Adapter,
    AuthFailed,
    Client,
    ConfigInvalid,
    NotReady,
    Refused,
    Reject,
    Retry,
    Surroundings,
    handles,
    run_adapter,
)
from lgsp.sdk.stream import Pace
from lgsp.testing.systems import running_town, write_settings
from lgsp.testing.world import BODY, POPULATION, VERIFY, VERIFY_REPLY, VERIFY_SCHEMA, signer_named

QUICK = Surroundings(pace=Pace(first=0.01, longest=0.05))
VERIFICATION = {
    "audience": POPULATION,
    "schema": VERIFY_SCHEMA,
    "body": dict(BODY),
    "purpose": "dpv:IdentityVerification",
    "legalbasis": "dpv:LegalObligation",
    "procedure": "1.004359",
    "authid": "7f3a91",
}
HEAD = """
[adapter]
name = "{name}"
version = "1.2.3"
class = "{code}"
title = {{ en = "Test", vi = "Thử" }}
[system]
name = "{system}"
[settings.answer]
type = "text"
default = "match"
description = "What is answered"
"""
ASK = f"""
[[asks]]
type = "{VERIFY}"
audience = "{POPULATION}"
purposes = ["dpv:IdentityVerification"]
legalbases = ["dpv:LegalObligation"]
procedures = ["1.004359"]
officers = ["7f3a91"]
basis = "Decree 278/2025"
"""
DOORS = []
"""The adapters made during a test; a class is imported by name, so that it cannot be handed its test."""


class Population(Adapter):
    """Answers as its settings say, or does what a test tells it to."""

    def __init__(self, **given):
        super().__init__(**given)
        self.calls = []
        self.checks = []
        self.deal = None
        DOORS.append(self)
        for prepare in PREPARE:
            prepare(self)

    async def check(self):
        self.calls.append("check")
        if self.checks:
            raise self.checks.pop(0)

    @handles(VERIFY)
    async def verify(self, message):
        self.calls.append(message.attempt)
        if self.deal is not None:
            await self.deal(message)
            return
        async with message.effect() as effect:
            effect.reply({"result": self.settings.text("answer")})

    async def recover(self, message):
        self.calls.append("recover")
        async with message.effect() as effect:
            effect.reply({"result": "not_found"})

    async def close(self):
        self.calls.append("close")


class Fisheries(Adapter):
    """Asks once, and keeps the answer."""

    def __init__(self, **given):
        super().__init__(**given)
        self.failures = []
        DOORS.append(self)
        for prepare in PREPARE:
            prepare(self)

    async def check(self):
        await self.client.write(
            lambda tables: tables.execute("CREATE TABLE IF NOT EXISTS answers (key TEXT, result TEXT)")
        )

    async def pull(self):
        await self.client.send(VERIFY, wait=False, key="vessel 1", **VERIFICATION)

    @handles(VERIFY_REPLY)
    async def answered(self, message):
        async with message.effect() as effect:
            effect.execute("INSERT INTO answers VALUES (?, ?)", (message.key, message.body["result"]))

    async def failed(self, failure):
        self.failures.append(failure.outcome)
        await super().failed(failure)


class Silent(Adapter):
    """Has no handler at all."""


class Asking(Adapter):
    """Asks once, and leaves the answer to whoever asks again under the key."""

    async def pull(self):
        DOORS.append(self)
        await self.client.send(VERIFY, wait=False, key="vessel 1", **VERIFICATION)


PREPARE = []


@pytest.fixture(autouse=True)
def _no_doors():
    DOORS.clear()
    PREPARE.clear()
    yield
    PREPARE.clear()


@pytest.fixture
async def town(tmp_path):
    async with running_town(tmp_path, MemoryLedger(), retry=RetryPolicy(attempts=3)) as running:
        yield running


def manifest(town, kind, name, top="", tail=""):
    path = town.folder / f"{name}.adapter.toml"
    system = {"ndxp": "ndxp", "fisheries": "vnfishbase"}.get(name, name)
    head = HEAD.format(name=name, code=f"{kind.__module__}:{kind.__name__}", system=system)
    path.write_text(top + head + tail, encoding="utf-8")
    return path


def asking_manifest(town, kind, pull_every=0.05):
    top = f'consumes = ["{VERIFY_REPLY}"]\nsends = ["{VERIFY}"]\npull_every = {pull_every}\n'
    return manifest(town, kind, "fisheries", top, ASK)


def codes(events, name):
    return [event["code"] for event in events if event["event"] == name]


def population_manifest(town, **changes):
    return manifest(town, Population, "ndxp", f'provides = ["{VERIFY}"]\n', **changes)


@asynccontextmanager
async def running(path, settings):
    stop = asyncio.Event()
    task = asyncio.create_task(run_adapter(path, settings, stop=stop, around=QUICK, drain=5.0))
    try:
        yield task
    finally:
        stop.set()
        async with asyncio.timeout(20):
            await task


async def until(condition, seconds=10.0):
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


async def ask(town, **changes):
    async with Client.open(town.settings("fisheries"), around=QUICK) as client:
        return await client.request(VERIFY, **VERIFICATION | changes)


async def test_an_adapter_answers_and_is_closed_in_the_end(town):
    async with running(population_manifest(town), town.settings_file("ndxp", answer="deceased")):
        assert (await ask(town)).body == {"result": "deceased"}
    assert DOORS[0].calls == ["check", 1, "close"]


async def test_two_adapters_talk_over_the_bus_and_the_answer_comes_with_its_key(town):
    tail = ASK
    top = f'consumes = ["{VERIFY_REPLY}"]\nsends = ["{VERIFY}"]\npull_every = 0.05\n'
    path = manifest(town, Fisheries, "fisheries", top, tail)
    async with (
        running(population_manifest(town), town.settings_file("ndxp")),
        running(path, town.settings_file("fisheries")),
    ):
        await until(lambda: DOORS and len(DOORS) == 2)
        client = next(door.client for door in DOORS if isinstance(door, Fisheries))
        await until(lambda: answers(client))
        assert answers(client) == [("vessel 1", "match")]


def answers(client):
    tables = client.read("SELECT name FROM sqlite_master WHERE name = 'answers'")
    return client.read("SELECT key, result FROM answers") if tables else []


async def test_the_runner_waits_until_the_system_behind_is_ready(town):
    PREPARE.append(lambda door: door.checks.extend([NotReady(0.01), AuthFailed(0.01)]))
    with structlog.testing.capture_logs() as events:
        async with running(population_manifest(town), town.settings_file("ndxp")):
            assert (await ask(town)).body == {"result": "match"}
    assert [event["code"] for event in events if event["event"] == "adapter.waiting"] == ["not_ready", "auth_failed"]


async def test_settings_that_no_waiting_mends_end_it(town):
    PREPARE.append(lambda door: door.checks.append(ConfigInvalid("settings.answer: unknown")))
    with pytest.raises(Unusable, match=r"settings\.answer") as caught:
        await run_adapter(population_manifest(town), town.settings_file("ndxp"), around=QUICK)
    assert caught.value.code == "config_invalid"
    assert DOORS[0].calls == ["check", "close"]


async def test_asking_for_more_than_was_granted_stops_the_start(town):
    top = f'consumes = ["{VERIFY_REPLY}"]\nsends = ["{VERIFY}"]\n'
    greedy = ASK.replace("dpv:IdentityVerification", "dpv:Marketing")
    path = manifest(town, Fisheries, "fisheries", top, greedy)
    with pytest.raises(Unusable) as caught:
        await run_adapter(path, town.settings_file("fisheries"), around=QUICK)
    assert caught.value.code == "adapter_overreaches"


@pytest.mark.parametrize(
    ("kind", "name", "code", "told"),
    [
        (Silent, "ndxp", "adapter_invalid", "no handler for"),
        (Population, "police", "config_invalid", "does not serve"),
    ],
)
async def test_an_adapter_that_does_not_fit_is_refused_at_once(town, kind, name, code, told):
    path = manifest(town, kind, name, f'provides = ["{VERIFY}"]\n')
    with pytest.raises(Unusable, match=told) as caught:
        await run_adapter(path, town.settings_file("ndxp"), around=QUICK)
    assert caught.value.code == code


@pytest.mark.parametrize("code", ["nowhere.at.all:Thing", "json:dumps"])
async def test_a_class_that_is_not_there_is_named(town, code):
    path = population_manifest(town)
    path.write_text(path.read_text(encoding="utf-8").replace(f"{__name__}:Population", code), encoding="utf-8")
    with pytest.raises(Unusable, match="class: ") as caught:
        await run_adapter(path, town.settings_file("ndxp"), around=QUICK)
    assert caught.value.code == "adapter_invalid"


async def raise_reject(message):
    raise Reject("owner_unknown", "/fullName")


async def raise_inside(message):
    async with message.effect():
        raise Reject("owner_unknown", "/fullName")


@pytest.mark.parametrize("deal", [raise_reject, raise_inside])
async def test_a_rejection_inside_or_outside_of_an_effect_answers_the_sender(town, deal):
    PREPARE.append(lambda door: setattr(door, "deal", deal))
    async with running(population_manifest(town), town.settings_file("ndxp")):
        with pytest.raises(Refused, match="owner_unknown"):
            await ask(town)


async def raise_odd(message):
    raise LookupError(message.body["fullName"])


async def raise_retry(message):
    raise Retry(0.0)


async def do_nothing(message):
    """Forget to deal with the message."""


@pytest.mark.parametrize(("deal", "code"), [(raise_odd, "failed"), (raise_retry, "retry"), (do_nothing, "unsettled")])
async def test_what_a_handler_did_not_deal_with_comes_again_and_no_word_of_it_is_logged(town, deal, code):
    def once(door):
        async def first(message):
            door.deal = None
            await deal(message)

        door.deal = first

    PREPARE.append(once)
    with structlog.testing.capture_logs() as events:
        async with running(population_manifest(town), town.settings_file("ndxp")):
            assert (await ask(town)).body == {"result": "match"}
    [failed] = [event for event in events if event["event"] == "adapter.failed"]
    assert failed["code"] == code
    assert BODY["fullName"] not in repr(failed)
    assert failed["exc_info"].__traceback__ is not None
    assert DOORS[0].calls == ["check", 1, 2, "close"]


async def test_a_message_that_fails_every_time_is_parked_and_its_neighbours_are_answered(town):
    async def poison(message):
        if message.body["birthDate"] == "1900":
            raise Retry(0.0)
        async with message.effect() as effect:
            effect.reply({"result": "match"})

    PREPARE.append(lambda door: setattr(door, "deal", poison))
    async with (
        running(population_manifest(town), town.settings_file("ndxp")),
        Client.open(town.settings("fisheries"), around=QUICK) as client,
    ):
        bad = await client.send(VERIFY, **VERIFICATION | {"body": dict(BODY) | {"birthDate": "1900"}})
        good = await asyncio.gather(*(client.request(VERIFY, **VERIFICATION) for _ in range(5)))
        assert (await client.outcome(bad.id)).state == "parked"
    assert [reply.body for reply in good] == [{"result": "match"}] * 5


async def test_a_stop_lets_the_message_in_work_end(town):
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(message):
        async with message.effect() as effect:
            begun.set()
            await go_on.wait()
            effect.reply({"result": "match"})

    PREPARE.append(lambda door: setattr(door, "deal", slow))
    stop = asyncio.Event()
    task = asyncio.create_task(
        run_adapter(population_manifest(town), town.settings_file("ndxp"), stop=stop, around=QUICK)
    )
    asking = asyncio.create_task(ask(town))
    async with asyncio.timeout(20):
        await begun.wait()
        stop.set()
        await asyncio.sleep(0)
        go_on.set()
        assert (await asking).body == {"result": "match"}
        await task


async def test_sigterm_ends_it_in_order(town):
    with structlog.testing.capture_logs() as events:
        task = asyncio.create_task(run_adapter(population_manifest(town), town.settings_file("ndxp"), around=QUICK))
        await until(lambda: any(event["event"] == "adapter.started" for event in events))
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(20):
            await task
    assert [event["event"] for event in events][-1] == "adapter.stopped"
    assert DOORS[0].calls == ["check", "close"]


async def test_a_failure_of_what_was_sent_is_shown_to_the_adapter_once(town):
    async def reject(message):
        raise Reject("owner_unknown")

    def odd(door):
        if isinstance(door, Population):
            door.deal = reject

    PREPARE.append(odd)
    top = f'consumes = ["{VERIFY_REPLY}"]\nsends = ["{VERIFY}"]\npull_every = 0.05\n'
    path = manifest(town, Fisheries, "fisheries", top, ASK)
    async with (
        running(population_manifest(town), town.settings_file("ndxp")),
        running(path, town.settings_file("fisheries")),
    ):
        await until(lambda: any(isinstance(door, Fisheries) and door.failures for door in DOORS))
    [outcome] = next(door.failures for door in DOORS if isinstance(door, Fisheries))
    assert (outcome.key, outcome.state, outcome.code) == ("vessel 1", "rejected", "owner_unknown")


async def test_a_rejection_that_cannot_be_written_down_ends_no_adapter(town):
    """The disk is full for a moment."""

    def prepare(adapter):
        write = adapter.client._box.write

        async def full(_operation, **_named):
            adapter.client._box.write = write
            raise sqlite3.OperationalError("database or disk is full")

        async def reject(message):
            if message.attempt == 1:
                adapter.client._box.write = full
            raise Reject("owner_unknown", "/fullName")

        adapter.deal = reject

    PREPARE.append(prepare)
    async with running(population_manifest(town), town.settings_file("ndxp")):
        with pytest.raises(Refused) as caught:
            await ask(town)
        assert caught.value.code == "owner_unknown"


# --- getting ready -----------------------------------------------------------------------------------------------------------------


async def test_settings_that_the_class_does_not_take_end_it(town):
    def refuse(_door):
        raise ConfigInvalid("settings.answer: unknown")

    PREPARE.append(refuse)
    with pytest.raises(Unusable, match=r"settings\.answer") as caught:
        await run_adapter(population_manifest(town), town.settings_file("ndxp"), around=QUICK)
    assert caught.value.code == "config_invalid"


@pytest.mark.parametrize("code", ["unavailable", "auth_invalid"])
async def test_a_bus_that_is_away_or_says_no_is_waited_for(town, monkeypatch, code):
    monkeypatch.setattr("lgsp.sdk.runner.LONGEST_PAUSE", 0.05)
    monkeypatch.setattr("lgsp.sdk.runner.FIRST_PAUSE", 0.01)
    changes = {"url": "http://127.0.0.1:9"}
    if code == "auth_invalid":
        changes = {"key": town.folder / "stranger.pem"}
        write_private(changes["key"], signer_named("a stranger"))
    path = write_settings(town.settings("ndxp", **changes), town.folder / "away.toml", {})
    with structlog.testing.capture_logs() as events:
        async with running(population_manifest(town), path):
            await until(lambda: codes(events, "adapter.waiting").count(code) > 1)
    assert DOORS[0].calls == ["close"]


# --- messages ----------------------------------------------------------------------------------------------------------------------


async def test_a_message_of_a_type_that_nobody_foresaw_is_put_back(town):
    with structlog.testing.capture_logs() as events:
        async with (
            running(manifest(town, Silent, "ndxp"), town.settings_file("ndxp")),
            Client.open(town.settings("fisheries"), around=QUICK) as client,
        ):
            await client.send(VERIFY, **VERIFICATION)
            await until(lambda: codes(events, "adapter.failed"))
    assert codes(events, "adapter.failed") == ["unhandled"]


async def test_a_reply_without_a_handler_is_kept_for_whoever_asks_again(town):
    kept = "SELECT count(*) FROM lgsp_inbox WHERE cause IS NOT NULL"
    async with (
        running(population_manifest(town), town.settings_file("ndxp")),
        running(asking_manifest(town, Asking), town.settings_file("fisheries")),
    ):
        await until(lambda: any(isinstance(door, Asking) and door.client.read(kept) == [(1,)] for door in DOORS))
        asking = next(door for door in DOORS if isinstance(door, Asking))
        reply = await asking.client.request(VERIFY, key="vessel 1", **VERIFICATION)
    assert reply.body == {"result": "match"}


async def test_a_setting_that_turns_out_wrong_while_a_message_is_dealt_with_ends_it(town):
    async def deal(_message):
        raise ConfigInvalid("settings.answer: the register has moved")

    PREPARE.append(lambda door: setattr(door, "deal", deal))
    async with Client.open(town.settings("fisheries"), around=QUICK) as client:
        await client.send(VERIFY, **VERIFICATION)
        with pytest.raises(Unusable, match="the register has moved") as caught:
            async with asyncio.timeout(20):
                await run_adapter(population_manifest(town), town.settings_file("ndxp"), around=QUICK)
    assert caught.value.code == "config_invalid"


async def test_what_goes_wrong_after_a_message_was_dealt_with_is_told_and_changes_nothing(town):
    async def answer_and_fail(message):
        async with message.effect() as effect:
            effect.reply({"result": "match"})
        raise LookupError("afterwards")

    PREPARE.append(lambda door: setattr(door, "deal", answer_and_fail))
    with structlog.testing.capture_logs() as events:
        async with running(population_manifest(town), town.settings_file("ndxp")):
            assert (await ask(town)).body == {"result": "match"}
            await until(lambda: codes(events, "adapter.failed"))
    assert codes(events, "adapter.failed") == ["failed"]
    assert DOORS[0].calls == ["check", 1, "close"]


async def test_a_message_that_outlasts_the_stop_is_cut_off_and_what_it_began_outside_is_uncertain(town):
    begun = asyncio.Event()

    async def endless(message):
        async with message.effect(outside=True):
            begun.set()
            await asyncio.Event().wait()

    PREPARE.append(lambda door: setattr(door, "deal", endless))
    stop = asyncio.Event()
    cut = asyncio.create_task(
        run_adapter(population_manifest(town), town.settings_file("ndxp"), stop=stop, around=QUICK, drain=0.05)
    )
    async with Client.open(town.settings("fisheries"), around=QUICK) as client, asyncio.timeout(20):
        await client.send(VERIFY, **VERIFICATION)
        await begun.wait()
        stop.set()
        await cut
    PREPARE[:] = [lambda door: setattr(door, "recover", lambda message: Adapter.recover(door, message))]
    with structlog.testing.capture_logs() as events:
        async with running(population_manifest(town), town.settings_file("ndxp")):
            await until(lambda: codes(events, "adapter.failed"))
    assert codes(events, "adapter.failed") == ["uncertain"]
    assert DOORS[1].calls == ["check", "close"]


# --- failures and work of its own --------------------------------------------------------------------------------------------------


async def test_a_pull_that_fails_is_tried_again_until_a_setting_is_found_wrong(town):
    troubles = [NotReady(0.01), NotReady(), LookupError("odd"), ConfigInvalid("settings.answer: unknown")]

    def prepare(door):
        async def pull():
            raise troubles.pop(0)

        door.pull = pull

    PREPARE.append(prepare)
    path = asking_manifest(town, Fisheries, pull_every=0.01)
    with structlog.testing.capture_logs() as events, pytest.raises(Unusable, match=r"settings\.answer"):
        async with asyncio.timeout(20):
            await run_adapter(path, town.settings_file("fisheries"), around=QUICK)
    assert codes(events, "adapter.waiting") == ["not_ready", "not_ready"]
    assert codes(events, "adapter.failed") == ["failed"]
    assert troubles == []


@pytest.mark.parametrize("trouble", [LookupError("odd"), ConfigInvalid("settings.answer: unknown")])
async def test_a_failure_that_could_not_be_acted_on_is_shown_again_at_the_next_start(town, trouble):
    shown = []

    def prepare(door):
        async def failed(failure):
            shown.append(failure.outcome.code)
            if len(shown) == 1:
                raise trouble
            await Adapter.failed(door, failure)

        async def pull():
            """Ask nothing further."""

        door.failed, door.pull = failed, pull

    async with Client.open(town.settings("fisheries"), around=QUICK) as client:
        await client.send(VERIFY, wait=False, **VERIFICATION | {"purpose": "dpv:Marketing"})
        await until(lambda: client.read("SELECT state FROM lgsp_outbox") == [("refused",)])
    PREPARE.append(prepare)
    path, settings = asking_manifest(town, Fisheries), town.settings_file("fisheries")
    if isinstance(trouble, ConfigInvalid):
        with pytest.raises(Unusable, match=r"settings\.answer"):
            await run_adapter(path, settings, around=QUICK)
    else:
        async with running(path, settings):
            await until(lambda: shown)
    async with running(path, settings):
        await until(lambda: len(DOORS) == 2 and DOORS[1].client.read("SELECT noticed FROM lgsp_outcomes") == [(1,)])
    assert shown == ["purpose_not_granted"] * 2
