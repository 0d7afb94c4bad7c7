"""Every check on arrival, in the order of protocol section 4, as a sender meets it: an envelope that fails there alone, posted to a running gateway."""

from dataclasses import replace
from datetime import timedelta

import pytest
import pytest_asyncio

from lgsp.backends.memory import MemoryLedger
from lgsp.domain import base64url, envelope
from lgsp.domain.contracts import Contracts
from lgsp.domain.envelope import Wire, format_time
from lgsp.testing.clock import ManualClock
from lgsp.testing.edge import running_edge
from lgsp.testing.entropy import SeededEntropy
from lgsp.testing.world import (
    BODY,
    FISHERIES,
    NOW,
    ONE_STOP,
    OWNER_LIST_SCHEMA,
    POLICE,
    VERIFY,
    World,
    key_record,
    signer_named,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")
OLD = signer_named("old")
WORLD = World.make(
    added=[key_record(OLD, FISHERIES, since=2)],
    changes={VERIFY: {"max_life": 600}, "g-verify": {"quota_per_day": 1}},
    signers={"old": OLD, "foreign": signer_named("foreign")},
)
ELSEWHERE = "vn.lgsp.population.citizen.bury.v1"


def forged(*, body=BODY, signer="fisheries", **changes):
    return WORLD.forged(WORLD.manifest(body=body, **changes), body=body, signer=signer)


def headed(header, signature="A" * 86):
    payload = WORLD.envelope().compact.split(b".")[1].decode()
    return Wire(compact=f"{base64url.encode(header.encode())}.{payload}.{signature}".encode(), body=b"{}")


def header(alg="Ed25519", signer="fisheries", typ=envelope.TYP):
    return f'{{"alg":"{alg}","kid":"{WORLD.signers[signer].kid}","typ":"{typ}"}}'


def sent_with(body):
    return replace(WORLD.envelope(), body=body)


def in_minutes(count):
    return format_time(NOW + timedelta(minutes=count))


CHECKS = {
    "too_large": lambda: headed(header(), "A" * 7_168),
    "compact": lambda: replace(WORLD.envelope(), compact=b"e30.e30"),
    "base64": lambda: replace(WORLD.envelope(), compact=WORLD.envelope().compact + b"="),
    "header_template": lambda: headed(header(alg="none")),
    "typ": lambda: headed(header(typ="lgsp-ack.v1+jws")),
    "kid_unknown": lambda: forged(signer="foreign"),
    "key_role": lambda: forged(signer="officer"),
    "key_not_valid": lambda: forged(signer="old"),
    "alg_mismatch": lambda: headed(header(alg="ES256")),
    "signature": lambda: headed(header()),
    "json": lambda: WORLD.forged(b"{"),
    "manifest": lambda: forged(expirytime=None),
    "unsupported": lambda: forged(dataref="https://files.example.vn/1"),
    "source_not_owned": lambda: forged(source=POLICE),
    "datahash": lambda: sent_with(b"{}"),
    "clock_ahead": lambda: forged(recordedtime=in_minutes(10), expirytime=in_minutes(15)),
    "expired": lambda: forged(recordedtime=in_minutes(-9), expirytime=in_minutes(0)),
    "life_too_long": lambda: forged(expirytime=in_minutes(11)),
    "type_unknown": lambda: forged(type=ELSEWHERE),
    "reply_unasked": lambda: WORLD.reply(WORLD.envelope()),
    "route": lambda: forged(audience=POLICE),
    "no_grant": lambda: forged(source=POLICE, signer="police"),
    "purpose_not_granted": lambda: forged(purpose="dpv:Marketing"),
    "legalbasis_not_granted": lambda: forged(legalbasis="dpv:Consent"),
    "procedure_not_granted": lambda: forged(procedure="1.009999"),
    "officer_not_granted": lambda: forged(authid="ffffff"),
    "schema_unknown": lambda: forged(dataschema=OWNER_LIST_SCHEMA),
    "body_json": lambda: forged(body=b'{"fullName":"A","fullName":"B"}'),
    "body_nfc": lambda: forged(body={**BODY, "fullName": "A\u0301"}),
    "schema": lambda: forged(body={}),
}
"""An envelope for each code; those that need something to have happened before are below."""
WITH_RECEIPT = list(CHECKS)[list(CHECKS).index("datahash") :]
"""Whose source is proven when they are refused."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge():
    async with running_edge(WORLD, MemoryLedger(), clock=ManualClock(NOW), entropy=SeededEntropy(1)) as edge:
        yield edge


@pytest.mark.parametrize("code", CHECKS)
async def test_an_envelope_that_fails_one_check_alone_is_refused_by_its_code(edge, code):
    answer = await edge.post(CHECKS[code]())
    assert (answer.code, answer.members.get("receipt") is not None) == (code, code in WITH_RECEIPT)


async def test_what_is_no_structured_form_is_told(edge):
    answer = await edge.call("POST", "/v1/envelopes", body=b"{}", headers={"Content-Type": envelope.MEDIA_TYPE})
    assert (answer.status, answer.code) == (400, "structured")


async def test_the_envelope_that_the_others_start_from_is_good_until_its_quota_is_used_up(edge):
    assert (await edge.post(forged())).status == 202
    assert (await edge.post(WORLD.envelope(number=2))).code == "quota_exceeded"


async def test_a_reply_after_its_time_is_told(edge):
    await edge.post(forged())
    edge.bus.clock.advance(61)
    assert (await edge.post(WORLD.reply(forged()))).code == "reply_late"


async def test_a_schema_whose_document_the_gateway_lost_is_told_as_trouble_of_the_bus(edge, monkeypatch):
    monkeypatch.setattr(edge.bus.registry, "contracts", Contracts({}))
    asked = forged(source=ONE_STOP, signer="one-stop", procedure="1.001193", authid="5e12c0")
    answer = await edge.post(asked)
    assert (answer.status, answer.code) == (503, "schema_unusable")
