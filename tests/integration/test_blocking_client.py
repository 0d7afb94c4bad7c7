"""The blocking client against a gateway that listens: what a script can rely on."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import structlog

from lgsp.backends.memory import MemoryLedger
from lgsp.domain import evidence_checks
from lgsp.domain.evidence_checks import Pins
from lgsp.domain.names import topic_urn
from lgsp.domain.notes import LOG_KEY, NoteKey
from lgsp.machine import SystemClock
from lgsp.sdk import BlockingClient, Closed, ConfigInvalid, OutcomeUnknown, Refused, Reject, Unreachable
from lgsp.sdk.background import Background
from lgsp.sdk.composition import encoded
from lgsp.testing.systems import running_town, write_settings
from lgsp.testing.world import BODY, BUS, LOG, POPULATION, VERIFICATION, VERIFY


@pytest.fixture
def town(tmp_path):
    background = Background("town", patience=20)
    yield background.open(running_town(tmp_path, MemoryLedger()))
    background.close()


@pytest.fixture
def fisheries(town):
    with BlockingClient.open(town.settings("fisheries")) as client:
        yield client


@contextmanager
def answering(town, handler):
    """Let the bridge deal with verifications by a handler on a thread of its own."""
    with ThreadPoolExecutor(1) as threads:
        with BlockingClient.open(town.settings("ndxp")) as ndxp:
            serving = threads.submit(ndxp.serve, {VERIFY: handler})
            yield ndxp
        serving.result(timeout=20)


def match(message):
    with message.effect() as effect:
        effect.reply({"result": "match"})


def until(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.01)


def threads_of_clients():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(("client of", "box"))]


def test_a_request_is_answered_and_a_rerun_under_its_key_gives_the_same_reply(town, fisheries):
    with answering(town, match):
        reply = fisheries.request(VERIFY, key="one", **VERIFICATION)
        assert (reply.body, reply.source, reply.is_settled) == ({"result": "match"}, POPULATION, True)
        assert fisheries.request(VERIFY, key="one", **VERIFICATION).env == reply.env
        sent = fisheries.send(VERIFY, **VERIFICATION)
        assert sent.receipt is not None
        assert fisheries.outcome(sent.id).state == "acked"


def test_a_party_fetches_the_evidence_of_its_exchange_and_nobody_else_does(town, fisheries):
    with answering(town, match):
        reply = fisheries.request(VERIFY, key="one", **VERIFICATION)
    sent = fisheries.send(VERIFY, **VERIFICATION)
    log = NoteKey(name=LOG, kind=LOG_KEY, public=town.world.signers["log"].public.x)
    pins = Pins(bus=BUS, registrar=town.world.signers["registrar"].public, log=log)
    answered = evidence_checks.verify(fisheries.evidence(reply.env), pins)
    assert answered.failure is None
    assert answered.proven.reply.env == reply.env
    whole = evidence_checks.verify(fisheries.evidence(sent.env, with_bodies=True), pins)
    assert whole.proven.message.body == encoded(VERIFICATION["body"])
    with BlockingClient.open(town.settings("police")) as police, pytest.raises(Refused) as refused:
        police.evidence(sent.env)
    assert refused.value.code == "forbidden"


def test_the_inbox_is_a_loop_that_ends_when_nothing_comes(town, fisheries):
    with BlockingClient.open(town.settings("ndxp")) as ndxp:
        for n in range(3):
            fisheries.send(VERIFY, key=str(n), **VERIFICATION)
        ids = []
        for message in ndxp.inbox(quiet=2):
            with message.effect() as effect:
                effect.reply({"result": "match"})
            ids.append(message.id)
        assert len(ids) == 3
    answers = list(fisheries.inbox(quiet=2))
    assert [answer.key for answer in answers] == ["0", "1", "2"]
    for answer in answers:
        fisheries.shelve(answer)


def test_what_a_handler_raises_is_answered_as_the_runner_answers_it(town, fisheries):
    tries = []

    def uneven(message):
        tries.append(message.body["fullName"])
        if message.body["fullName"] == "KHÔNG RÕ":
            raise Reject("owner_unknown", "/fullName")
        if len(tries) == 1:
            raise LookupError("words of its own")
        match(message)

    with answering(town, uneven):
        assert fisheries.request(VERIFY, timeout=20, **VERIFICATION).body == {"result": "match"}
        with pytest.raises(Refused) as caught:
            fisheries.request(VERIFY, **VERIFICATION | {"body": {**BODY, "fullName": "KHÔNG RÕ"}})
    assert (caught.value.code, caught.value.pointer) == ("owner_unknown", "/fullName")
    assert len(tries) == 3


@pytest.mark.parametrize("recovers", [True, False])
def test_what_is_uncertain_is_not_handed_to_its_handler_again(town, fisheries, recovers):
    """An effect elsewhere was cut off: whether it took place is not for the handler to try."""
    handled, codes = [], []

    def cut_off(message):
        handled.append(message.attempt)
        with message.effect(outside=True):
            raise OSError("cut off in the middle")

    with ThreadPoolExecutor(1) as threads:
        with BlockingClient.open(town.settings("ndxp")) as ndxp:
            put_back = ndxp.put_back
            ndxp.put_back = lambda message, code, after=None: (codes.append(code), put_back(message, code, after))
            serving = threads.submit(ndxp.serve, {VERIFY: cut_off}, recover=match if recovers else None)
            sent = fisheries.send(VERIFY, **VERIFICATION)
            if recovers:
                assert fisheries.outcome(sent.id, timeout=20).state == "acked"
            else:
                until(lambda: "uncertain" in codes, 20)
        serving.result(timeout=20)
    assert handled == [1]


def test_errors_are_those_of_the_asynchronous_client(town, fisheries):
    with pytest.raises(Refused, match="purpose_not_granted"):
        fisheries.send(VERIFY, **VERIFICATION | {"purpose": "dpv:Marketing"})
    with pytest.raises(OutcomeUnknown):
        fisheries.request(VERIFY, timeout=0.1, **VERIFICATION)
    away = town.settings("one-stop", url="http://127.0.0.1:9")
    with pytest.raises(Unreachable), BlockingClient.open(away, connect_within=0.2):
        pass
    assert fisheries.send(VERIFY, wait=False, **VERIFICATION | {"purpose": "dpv:Marketing"}).state == "queued"
    [failure] = fisheries.failures(quiet=2)
    assert failure.outcome.code == "purpose_not_granted"
    with failure.effect():
        pass
    assert list(fisheries.failures(quiet=0.1)) == []


def test_a_script_learns_what_it_may_know_of_its_bus(town, fisheries):
    fisheries.ready(within=5)
    assert fisheries.directory.version == 1
    assert abs(fisheries.clock.now() - SystemClock().now()) < timedelta(minutes=1)


def test_an_event_that_nobody_granted_is_refused_with_its_topic(fisheries):
    with pytest.raises(Refused):
        fisheries.publish(VERIFY, schema=VERIFICATION["schema"], body=BODY, purpose="dpv:IdentityVerification")
    assert fisheries.read("SELECT audience, state FROM lgsp_outbox") == [(topic_urn(VERIFY), "refused")]


def test_a_rejection_ends_its_block_quietly_and_reaches_the_sender(town, fisheries):
    sent = fisheries.send(VERIFY, **VERIFICATION)
    with BlockingClient.open(town.settings("ndxp")) as ndxp:
        message = next(ndxp.inbox())
        with message.effect():
            raise Reject("owner_unknown", "/fullName")
        assert message.is_settled
        assert (fisheries.outcome(sent.id).state, fisheries.outcome(sent.id).code) == ("rejected", "owner_unknown")


@pytest.mark.parametrize(
    ("handlers", "code"), [({}, "unhandled"), ({VERIFY: lambda _message: None}, "unsettled")], ids=["no", "an idle"]
)
def test_a_message_that_no_handler_deals_with_is_put_back(town, fisheries, handlers, code):
    fisheries.send(VERIFY, **VERIFICATION)
    with BlockingClient.open(town.settings("ndxp")) as ndxp, structlog.testing.capture_logs() as events:
        ndxp.serve(handlers, quiet=0.5)
    assert {event["code"] for event in events if event["event"] == "adapter.failed"} == {code}


def test_a_reply_that_nobody_handles_is_kept_for_a_rerun(town):
    kept = "SELECT count(*) FROM lgsp_inbox WHERE cause IS NOT NULL"
    with answering(town, match), ThreadPoolExecutor(1) as threads:
        with BlockingClient.open(town.settings("fisheries")) as client:
            client.send(VERIFY, key="one", wait=False, **VERIFICATION)
            serving = threads.submit(client.serve, {})
            until(lambda: client.read(kept) == [(1,)])
            assert client.request(VERIFY, key="one", **VERIFICATION).manifest.is_reply
        serving.result(timeout=20)


def test_a_setting_that_turns_out_wrong_ends_the_loop(town, fisheries):
    def wrong(_message):
        raise ConfigInvalid("settings.register: has moved")

    fisheries.send(VERIFY, **VERIFICATION)
    with (
        BlockingClient.open(town.settings("ndxp")) as ndxp,
        pytest.raises(ConfigInvalid, match=r"settings\.register"),
    ):
        ndxp.serve({VERIFY: wrong}, quiet=10)


def insert_and_fail(client):
    with client.work() as work:
        work.execute("INSERT INTO asked VALUES ('never')")
        raise LookupError


def test_tables_and_envelopes_of_a_block_become_durable_together(fisheries):
    fisheries.write(lambda tables: tables.execute("CREATE TABLE asked (id TEXT)"))
    with fisheries.work() as work:
        identifier = work.send(VERIFY, **VERIFICATION)
        work.execute("INSERT INTO asked VALUES (?)", (identifier,))
    with pytest.raises(LookupError):
        insert_and_fail(fisheries)
    assert fisheries.read("SELECT id FROM asked") == [(identifier,)]


def test_many_threads_share_one_client(town, fisheries):
    with answering(town, match), ThreadPoolExecutor(8) as threads:
        replies = list(threads.map(lambda n: fisheries.request(VERIFY, key=str(n), **VERIFICATION), range(40)))
    assert len({reply.env for reply in replies}) == 40


def test_a_thread_that_waits_while_another_closes_is_told(town):
    with BlockingClient.open(town.settings("fisheries")) as client, ThreadPoolExecutor(2) as threads:
        asking = threads.submit(client.request, VERIFY, **VERIFICATION)
        looping = threads.submit(lambda: list(client.inbox()))
        until(lambda: client.read("SELECT count(*) FROM lgsp_outbox WHERE state = 'receipted'") == [(1,)])
        client._background.close()
        with pytest.raises(Closed):
            asking.result(timeout=10)
        assert looping.result(timeout=10) == []
        with pytest.raises(Closed):
            client.send(VERIFY, **VERIFICATION)
    assert threads_of_clients() == []


def test_a_loop_ends_quietly_when_its_client_is_closed_between_two_messages(town):
    """Whoever asks for the next one just as the thread ends is turned away, and that is the end."""
    with BlockingClient.open(town.settings("fisheries")) as client:
        messages, failures = client.inbox(), client.failures()
        client._background.close()
        assert (list(messages), list(failures)) == ([], [])


async def test_inside_an_event_loop_it_is_refused_in_words(tmp_path):
    async with running_town(tmp_path, MemoryLedger()) as town:
        with pytest.raises(RuntimeError, match="use the asynchronous form"), BlockingClient.open(town.settings("ndxp")):
            pass
        with pytest.raises(RuntimeError, match="use the asynchronous form"):
            await asyncio.wait_for(_entered_elsewhere(town), 20)


async def _entered_elsewhere(town):
    """A client that another thread opened is no better inside the loop."""
    opened = BlockingClient.open(town.settings("ndxp"))
    client = await asyncio.to_thread(opened.__enter__)
    try:
        client.read("SELECT 1")
    finally:
        await asyncio.to_thread(opened.__exit__, None, None, None)


def test_a_change_of_the_tables_that_asks_the_client_is_told_instead_of_waiting_for_itself(fisheries):
    with pytest.raises(RuntimeError, match="ask before or after"):
        fisheries.write(lambda _tables: fisheries.read("SELECT 1"))


def test_an_exception_reaches_its_caller_as_it_is_and_leaves_no_thread(town):
    with pytest.raises(LookupError, match="mine"), BlockingClient.open(town.settings("fisheries")):
        raise LookupError("mine")
    assert threads_of_clients() == []


def reply_and_be_interrupted(message):
    with message.effect() as effect:
        effect.reply({"result": "match"})
        raise KeyboardInterrupt


def test_an_interruption_inside_a_block_puts_the_message_back(town, fisheries):
    fisheries.send(VERIFY, **VERIFICATION)
    with BlockingClient.open(town.settings("ndxp")) as ndxp:
        message = next(ndxp.inbox())
        with pytest.raises(KeyboardInterrupt):
            reply_and_be_interrupted(message)
        assert message.is_settled
        assert ndxp.read("SELECT count(*) FROM lgsp_outbox") == [(0,)]


SCRIPT = """
import signal
import sys
from pathlib import Path

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's job in the background has it ignored, and so have its children

from lgsp.domain import evidence_checks
from lgsp.domain.evidence_checks import Pins
from lgsp.domain.notes import LOG_KEY, NoteKey
from lgsp.sdk import BlockingClient, SystemSettings

settings = SystemSettings.load(Path(sys.argv[1]))
"""
WAITS = """
with BlockingClient.open(settings) as client:
    print("open", flush=True)
    for message in client.inbox():
        pass
"""
FORGETS = """
client = BlockingClient.open(settings).__enter__()
print("open", flush=True)
"""


OPENS = """
print("opening", flush=True)
with BlockingClient.open(settings, connect_within=60):
    pass
"""


def started(town, script, **changes):
    path = write_settings(town.settings("fisheries", **changes), town.folder / "script.toml", {})
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", SCRIPT + script, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )


def test_ctrl_c_ends_a_script_that_waits(town):
    with started(town, WAITS) as process:
        assert process.stdout.readline() == "open\n"
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=20)
    assert process.returncode == -signal.SIGINT
    assert told.strip().endswith("KeyboardInterrupt")
    until(lambda: not len(town.server.streams))


def test_ctrl_c_ends_a_script_that_still_looks_for_its_gateway(town):
    with started(town, OPENS, url="http://127.0.0.1:9") as process:
        assert process.stdout.readline() == "opening\n"
        time.sleep(0.3)  # it is to be inside the call, of which nothing tells from outside
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=20)
    assert process.returncode == -signal.SIGINT
    assert told.strip().endswith("KeyboardInterrupt")


def test_a_script_that_forgets_to_close_ends_all_the_same(town):
    with started(town, FORGETS) as process:
        printed, told = process.communicate(timeout=40)
    assert (process.returncode, printed, told) == (0, "open\n", "")
    until(lambda: not len(town.server.streams))
