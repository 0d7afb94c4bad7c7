import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from adapters.ndxp.adapter import Ndxp
from adapters.ndxp.client import Credentials
from adapters.ndxp.mock.faults import Faults, Rates
from adapters.ndxp.mock.registry import Entry
from adapters.ndxp.mock.server import Platform, started
from adapters.ndxp.mock.service import Rules
from adapters.ndxp.mock.tokens import Tokens
from adapters.one_stop.adapter import OneStop
from adapters.one_stop.records import applicants
from adapters.police.adapter import Police
from lgsp.domain import strictjson
from lgsp.sdk import AuthFailed, ConfigInvalid, NotReady, OutcomeUnknown, Refused, Retry, Unreachable
from lgsp.sdk.adapter import handlers_of

SEED, COUNT = 3, 200
VERIFY = "vn.lgsp.population.citizen.verify.v1"
OWNER_LIST = "vn.lgsp.fisheries.owner-list.complete.v1"
POPULATION = "urn:lgsp:agency:G01.02:sys:population"
NAME, NUMBER = "NGUYỄN THỊ NGỌC ÁNH", "099165000123"
QUESTION = {"personalNumber": NUMBER, "fullName": NAME, "birthDate": "1965-05-12"}
CREDENTIALS = Credentials(key="bridge", secret="made up")


def asked(bench: Any, type_: str, audience: str, schema: str, body: Any, **stated: str) -> Any:
    """Return a request of the fisheries."""
    return bench("fisheries").letter(type_, {"audience": audience, "schema": schema, "body": body, **stated})


def verification(bench: Any, **stated: str) -> Any:
    grounds = {"procedure": "1.004359", "authid": "7f3a91"}
    schema = "urn:lgsp:schema:population:citizen-verify-request:1.0.0"
    return asked(bench, VERIFY, POPULATION, schema, QUESTION, **(grounds | stated))


def owner_list(bench: Any, audience: str, registrations: list[str]) -> Any:
    rows = [{"registration": each, "ownerName": NAME, "communeCode": "30742"} for each in registrations]
    body = {"listId": "20261122-30742-001", "asOf": "2026-11-22", "orgcat": "2025-07", "rows": rows}
    return asked(bench, OWNER_LIST, audience, "urn:lgsp:schema:fisheries:owner-list-request:1.0.0", body)


async def handed(adapter: Any, bench: Any, letter: Any) -> Any:
    message = bench.message(letter)
    await handlers_of(adapter)[letter.type](message)
    return message


@pytest.mark.parametrize(("kind", "name", "signer"), [(Police, "police", "police"), (OneStop, "one_stop", "one-stop")])
async def test_a_list_is_answered_from_the_records(
    bench: Any, adapter_on: Any, kind: Any, name: str, signer: str
) -> None:
    own = bench(signer)
    adapter = adapter_on(kind, name, own, seed=SEED, count=COUNT)
    await adapter.check()
    known = dict(list(adapter._known.items())[:2])
    letter = owner_list(bench, own.composer.system, [*known, "AG-00000-TS"])
    message = await handed(adapter, own, letter)
    (reply,) = own.outbox.values()
    assert strictjson.parse(reply.body)["rows"] == [
        *({"registration": each, "personalNumber": number, "status": "found"} for each, number in known.items()),
        {"registration": "AG-00000-TS", "status": "not_found"},
    ]
    assert (reply.source, reply.audience) == (own.composer.system, message.source)


# --- the counter ----------------------------------------------------------------------------------------------------------------


class Counter:
    """The bus as the officer at the counter sees it; `answers` raises or lets time pass."""

    def __init__(self, bench: Any, answers: Callable[[], Any]) -> None:
        self.bench, self.answers, self.letters, self.open = bench, answers, [], 0

    async def request(self, type_: str, *, timeout: float, **stated: Any) -> None:  # noqa: ASYNC109 - the client's own
        self.open += 1
        assert self.open == 1, "one applicant after another"
        self.letters.append(self.bench.letter(type_, stated))
        try:
            self.answers()
            await asyncio.sleep(0)
        finally:
            self.open -= 1


@pytest.fixture
def office(bench: Any, adapter_on: Any) -> Callable[..., Any]:
    def opened(answers: Callable[[], Any] = lambda: None, **settings: Any) -> Any:
        own = bench("one-stop")
        adapter = adapter_on(OneStop, "one_stop", own, seed=SEED, count=1, every_ms=0, **settings)
        counter = Counter(own, answers)
        adapter.client.request = counter.request
        return adapter, counter

    return opened


async def test_applicants_are_verified_one_after_another(office: Any, accepted: Any) -> None:
    adapter, counter = office(lookups=5)
    await adapter.check()
    with capture_logs() as events:
        await adapter.pull()
        await adapter.pull()
    assert [accepted(letter) for letter in counter.letters] == ["one-stop-verify"] * 5
    assert [(event["event"], event["system"], event["ok"]) for event in events] == [
        ("adapter.lookup", "H01.31/one-stop", True)
    ] * 5
    assert all(event.keys() == {"event", "log_level", "system", "ms", "ok"} for event in events)


async def test_a_lookup_states_the_applicant_s_own_dossier_and_procedure(office: Any) -> None:
    adapter, counter = office(lookups=5)
    await adapter.check()
    with capture_logs():
        await adapter.pull()
    manifests = [counter.bench.message(letter).manifest for letter in counter.letters]
    expected = [each.dossier for each in applicants(SEED, 90) if each.procedure.startswith("1.001612.")][:5]
    assert [manifest.text("casefile") for manifest in manifests] == expected
    assert {manifest.text("procedure") for manifest in manifests} == {"1.001612"}


@pytest.mark.parametrize("error", [Refused("no_grant"), Unreachable(), OutcomeUnknown("1")])
async def test_a_lookup_without_an_answer_is_told_and_the_next_follows(office: Any, error: Exception) -> None:
    def fail() -> None:
        raise error

    adapter, counter = office(fail, lookups=3)
    await adapter.check()
    with capture_logs() as events:
        await adapter.pull()
    assert [event["ok"] for event in events] == [False] * 3
    assert len(counter.letters) == 3


async def test_nobody_is_looked_up_unless_a_setting_says_so(office: Any) -> None:
    adapter, counter = office()
    await adapter.check()
    await adapter.pull()
    assert counter.letters == []


@pytest.mark.parametrize("settings", [{"lookups": -1}, {"lookups": 100_001}, {"procedure": "9.999999", "lookups": 1}])
async def test_a_counter_with_a_wrong_setting_does_not_open(office: Any, settings: dict[str, Any]) -> None:
    adapter, _ = office(**settings)
    with pytest.raises(ConfigInvalid):
        await adapter.check()


# --- the bridge -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def bridge(bench: Any, adapter_on: Any) -> Callable[..., Any]:
    """Return the function that opens a bridge to a mock of the platform on loopback."""

    @asynccontextmanager
    async def opened(
        *, rates: Rates | None = None, secret: str = "made up", officers: str = "7f3a91"
    ) -> AsyncIterator[Any]:
        platform = Platform(
            registry={NUMBER: (Entry(name="NGUYENTHINGOCANH", birth="1965-05-12", deceased=False),)},
            rules=Rules(procedures=frozenset({"1.004359"}), officers=frozenset({officers})),
            credentials=CREDENTIALS,
            tokens=Tokens(lifetime=60, clock=time.monotonic),
            faults=Faults(rates or Rates(), seed=1),
        )
        runner, port = await started(platform, 0)
        own = bench("ndxp")
        settings = {"address": f"http://127.0.0.1:{port}", "consumer_key": "bridge", "consumer_secret": secret}
        adapter = adapter_on(Ndxp, "ndxp", own, **settings)
        try:
            yield adapter, own, runner
        finally:
            await adapter.close()
            await runner.cleanup()

    return opened


async def test_the_bridge_answers_in_the_name_of_the_population_service(bridge: Any, bench: Any) -> None:
    async with bridge() as (adapter, own, _):
        await adapter.check()
        message = await handed(adapter, own, verification(bench))
    (reply,) = own.outbox.values()
    manifest = own.message(reply).manifest
    assert strictjson.parse(reply.body) == {"result": "match"}
    assert (manifest.source, manifest.audience) == (POPULATION, message.source)
    assert manifest.text("causationid") == message.id
    assert message.is_settled


async def test_many_questions_are_on_their_way_at_the_same_time(bridge: Any, bench: Any) -> None:
    async with bridge(rates=Rates(delay=0.2)) as (adapter, own, _):
        async with asyncio.timeout(2):  # one after another they would take eight seconds
            await asyncio.gather(*(handed(adapter, own, verification(bench)) for _ in range(40)))
    assert len(own.outbox) == 40


@pytest.mark.parametrize("rates", [Rates(bad_gateway=1.0), Rates(empty=1.0)])
async def test_a_platform_that_fails_is_asked_again_later(bridge: Any, bench: Any, rates: Rates) -> None:
    async with bridge(rates=rates) as (adapter, own, _):
        with capture_logs() as events:
            message = await handed(adapter, own, verification(bench))
    (pause,) = own.put_back
    assert isinstance(pause, Retry)
    assert (pause.code, pause.after) == ("platform_unavailable", None)
    assert [(event["event"], event["code"]) for event in events] == [("national.called", "platform_unavailable")]
    assert own.outbox == {}
    assert not message.is_settled


async def test_what_the_platform_refuses_is_rejected_with_a_code_of_ours(bridge: Any, bench: Any) -> None:
    async with bridge(officers="somebody") as (adapter, own, _):
        with capture_logs() as events:
            message = await handed(adapter, own, verification(bench))
    effect = own.done[message.env]
    assert (effect.outcome, effect.code) == ("rejected", "officer_not_allowed")
    assert [event["code"] for event in events] == ["officer_not_allowed"]


async def test_a_word_of_the_platform_that_nobody_knows_is_not_passed_on(bridge: Any, bench: Any) -> None:
    async with bridge() as (adapter, own, _):

        async def refuse(*_: Any) -> None:
            raise adapter_refusal(NUMBER)

        adapter._population.verify = refuse
        with capture_logs() as events:
            message = await handed(adapter, own, verification(bench))
    assert own.done[message.env].code == "platform_refused"
    assert NUMBER not in repr(events)


def adapter_refusal(code: str) -> Exception:
    from adapters.ndxp.client import Refused as PlatformRefused

    return PlatformRefused(code)


async def test_without_credentials_the_bridge_is_not_ready(bridge: Any, bench: Any) -> None:
    async with bridge(secret="wrong") as (adapter, own, _):
        with pytest.raises(AuthFailed):
            await adapter.check()
        with capture_logs():
            await handed(adapter, own, verification(bench))
    (pause,) = own.put_back
    assert isinstance(pause, AuthFailed)
    assert pause.after == 30.0


async def test_without_a_platform_the_bridge_is_not_ready(bridge: Any) -> None:
    async with bridge() as (adapter, _, runner):
        await runner.cleanup()
        with pytest.raises(NotReady) as caught:
            await adapter.check()
    assert not isinstance(caught.value, AuthFailed)
