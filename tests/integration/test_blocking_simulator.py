"""The simulated bus without an event loop in sight: what a department's plain tests can rely on."""

from __future__ import annotations

import pytest

from lgsp.sdk import OutcomeUnknown, Refused, Unreachable
from lgsp.testing import BlockingBusSimulator
from lgsp.testing.world import BODY, VERIFY, VERIFY_SCHEMA

OFFICE = "H01.12/office"
REGISTER = "G01.02/population"
ASKED = {"audience": "urn:lgsp:agency:G01.02:sys:population", "schema": VERIFY_SCHEMA, "body": dict(BODY)} | {
    "purpose": "dpv:IdentityVerification",
    "legalbasis": "dpv:LegalObligation",
    "procedure": "1.004359",
    "authid": "7f3a91",
}

GRANTED = {
    "purposes": ["dpv:IdentityVerification"],
    "legalbases": ["dpv:LegalObligation"],
    "procedures": ["1.004359"],
    "officers": ["7f3a91"],
}


@pytest.fixture
def bus():
    with BlockingBusSimulator() as simulator:
        simulator.grant(OFFICE, VERIFY, to=REGISTER, **GRANTED)
        simulator.answer(VERIFY, lambda _message: {"result": "match"})
        yield simulator


def test_a_request_is_answered(bus):
    with bus.client(OFFICE) as client:
        assert client.request(VERIFY, **ASKED).body == {"result": "match"}
        bus.settled()
    [asked] = bus.assert_sent(VERIFY, by=OFFICE, to=REGISTER)
    assert [each.state for each in bus.deliveries(asked)] == ["acked"]


def test_faults_reach_a_blocking_client(bus):
    with bus.client(OFFICE) as client:
        with bus.away(), pytest.raises(Unreachable):
            client.send(VERIFY, key="k", timeout=0.2, **ASKED)
        assert client.send(VERIFY, key="k", **ASKED).receipt is not None
        bus.refuse("purpose_not_granted", type=VERIFY, by=OFFICE)
        with pytest.raises(Refused):
            client.send(VERIFY, **ASKED)
        with bus.delay(OFFICE), pytest.raises(OutcomeUnknown):
            client.request(VERIFY, key="late", timeout=0.3, **ASKED)
        assert client.request(VERIFY, key="late", **ASKED).body == {"result": "match"}
        bus.restart()
        bus.deliver_twice(OFFICE)
        assert client.request(VERIFY, **ASKED).body == {"result": "match"}


def test_time_passes_when_the_test_says_so(bus):
    with bus.client(OFFICE) as client, bus.delay(REGISTER):
        sent = client.send(VERIFY, **ASKED)
        bus.advance(2 * 86_400)
        assert client.outcome(sent.id).state == "expired"


def test_a_mistake_in_an_answer_is_noted_beside_the_failure_that_it_caused():
    def ask():
        with BlockingBusSimulator() as bus:
            bus.grant(OFFICE, VERIFY, to=REGISTER, **GRANTED)
            bus.answer(VERIFY, lambda message: message.body["no such member"])
            with bus.client(OFFICE) as client:
                client.request(VERIFY, timeout=0.5, **ASKED)

    with pytest.raises(OutcomeUnknown) as caught:
        ask()
    assert "no such member" in caught.value.__notes__[0]


async def test_inside_an_event_loop_it_is_refused_in_words():
    with pytest.raises(RuntimeError, match="use the asynchronous form"), BlockingBusSimulator():
        pass
