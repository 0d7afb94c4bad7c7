"""Attacks with keys and authorizations on a gateway that listens, over its real store: R08, R10 to R11c, across restarts and versions of the directory."""

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import pytest

from lgsp.backends.sql.sqlite import SqliteLedger
from lgsp.domain import base64url, keys, statements, strictjson
from lgsp.domain.algorithms import ED25519_PRIME
from lgsp.errors import Refusal
from lgsp.machine import SystemClock
from lgsp.sdk import Client
from lgsp.testing.bus import publish
from lgsp.testing.clock import ManualClock
from lgsp.testing.edge import running_edge
from lgsp.testing.entropy import SeededEntropy
from lgsp.testing.systems import running_town
from lgsp.testing.world import (
    BODY,
    BUS,
    FISHERIES,
    GATEWAY,
    NDXP,
    OFFICER,
    OWNER_LIST,
    OWNER_LIST_SCHEMA,
    POLICE,
    POPULATION,
    World,
    key_record,
    made_up_id,
)

INBOX = "/v1/inbox"
LIST = {
    "listId": "20261122-30742-001",
    "asOf": "2026-11-22",
    "orgcat": "2025-07",
    "rows": [{"registration": "AG-00012-TS", "ownerName": "DANH SÀ RƯƠL", "communeCode": "30742"}],
}


@asynccontextmanager
async def gateway(world, folder, clock, seed=1):
    """Run a gateway on the file in a folder; the one before it has ended."""
    path = folder / "bus.sqlite"
    store = SqliteLedger.open(path, create=not path.exists())
    try:
        async with running_edge(world, store, clock=clock, entropy=SeededEntropy(seed)) as edge:
            yield edge
    finally:
        await store.close()


@pytest.fixture
def world():
    return World.make()


@pytest.fixture
async def edge(world, tmp_path):
    async with gateway(world, tmp_path, ManualClock(world.now)) as running:
        yield running


async def events_of(edge):
    ledger = edge.bus.ledger
    return [json.loads(entry)["ev"] for entry in await ledger.entries(0, await ledger.size())]


# --- R08 ---------------------------------------------------------------------------------------------------------------------------


def revoked(world, version, prev):
    """Return the world after this version of the directory ended the key of fisheries."""
    ended = {world.signers["fisheries"].kid: {"until": version}}
    return World.make(version=version, now=world.now, changes=ended, prev=prev)


async def test_r08_a_key_revoked_between_signing_and_acceptance_is_refused(edge, world):
    signed_before = world.envelope(number=2)
    assert (await edge.post(world.envelope(number=1))).status == 202
    assert await publish(edge.bus, revoked(world, 2, edge.bus.registry.current.hash)) == 2
    answer = await edge.post(signed_before)
    assert (answer.status, answer.code) == (401, "key_not_valid")
    assert (await edge.post(world.envelope(number=1))).code == "key_not_valid", "its first receipt is no leave to speak"
    assert (await events_of(edge)).count("msg.accepted") == 1


async def test_r08_what_was_accepted_before_its_key_was_revoked_is_delivered_and_believed(tmp_path):
    world = World.make(now=SystemClock().now())
    store = SqliteLedger.open(tmp_path / "bus.sqlite", create=True)
    async with running_town(tmp_path, store, world=world) as town:
        accepted = await town.bus.ingress.submit(world.envelope(), peer="test")
        await publish(town.bus, revoked(world, 2, town.bus.registry.current.hash))
        async with Client.open(town.settings("ndxp")) as receiver:
            assert receiver.directory.version == 2
            messages = receiver.inbox(quiet=10)
            message = await anext(messages)
            assert (message.id, message.source) == (accepted.manifest.id, FISHERIES)
            async with message.effect() as effect:
                effect.reply({"result": "match"})
    await store.close()


# --- R11b --------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """What an authorization states that is otherwise good for a pull of the bridge."""

    signer: str = "ndxp"
    iss: str = NDXP
    aud: str = BUS
    method: str = "GET"
    path: str = INBOX
    body: bytes = b""
    seconds: int = 0
    """When it was signed, from now."""
    life: int = 60

    def header(self, world, jti):
        made = statements.sign_auth(
            signer=world.signers[self.signer],
            iss=self.iss,
            aud=self.aud,
            method=self.method,
            path=self.path,
            body=self.body,
            at=world.now + timedelta(seconds=self.seconds),
            jti=jti,
            life=timedelta(seconds=self.life),
        )
        return {"Authorization": f"LGSP {made}"}


WRONG = {
    "another path": (Stated(path="/v1/outcomes"), "auth_invalid"),
    "another query": (Stated(path=INBOX + "?max=100"), "auth_invalid"),
    "another method": (Stated(method="POST"), "auth_invalid"),
    "another body": (Stated(body=b"{}"), "auth_invalid"),
    "another bus": (Stated(aud="urn:lgsp:bus:92"), "auth_invalid"),
    "one of its gateways": (Stated(aud=GATEWAY), "auth_invalid"),
    "expired": (Stated(seconds=-361), "auth_expired"),
    "not signed yet": (Stated(seconds=301), "auth_expired"),
    "a longer life": (Stated(life=61), "auth_invalid"),
    "no life": (Stated(life=0), "auth_invalid"),
    "another caller": (Stated(iss=FISHERIES), "auth_invalid"),
    "the key of a gateway": (Stated(signer="gateway", iss=GATEWAY), "auth_invalid"),
    "the key of the registrar": (Stated(signer="registrar", iss=BUS), "auth_invalid"),
    "the key of the log": (Stated(signer="log", iss=BUS), "auth_invalid"),
    "the key of an officer": (Stated(signer="officer", iss=OFFICER), "forbidden"),
}


async def test_r11b_an_authorization_for_something_else_is_refused(edge, world):
    found = {}
    for number, (name, (stated, _)) in enumerate(WRONG.items()):
        answer = await edge.call("GET", INBOX, headers=stated.header(world, made_up_id(number)))
        found[name] = answer.code
        assert answer.status == (403 if answer.code == "forbidden" else 401)
    assert found == {name: code for name, (_, code) in WRONG.items()}
    assert edge.bus.refusals.total["auth_invalid"] == list(found.values()).count("auth_invalid")


async def test_r11b_within_its_bounds_an_authorization_is_taken(edge, world):
    for number, seconds in enumerate((0, 300, -359)):
        header = Stated(seconds=seconds).header(world, made_up_id(number))
        assert (await edge.call("GET", INBOX, headers=header)).status == 200


async def test_r11b_another_body_than_was_signed_is_refused(edge):
    signed = edge.authorization("ndxp", "POST", "/v1/acks", b'{"acks":[]}')
    other = await edge.call("POST", "/v1/acks", body=b'{"nacks":[]}', headers={"Authorization": signed})
    assert (other.status, other.code, other.members["pointer"]) == (401, "auth_invalid", "/hash")


async def test_r11b_an_authorization_counts_once_across_restarts_for_as_long_as_it_is_good(world, tmp_path):
    clock = ManualClock(world.now)
    header = Stated().header(world, made_up_id(7))
    async with gateway(world, tmp_path, clock) as edge:
        assert (await edge.call("GET", INBOX, headers=header)).status == 200
        assert (await edge.call("GET", INBOX, headers=header)).code == "auth_replayed"
    for seconds, seed in ((0, 2), (359, 3)):
        clock.advance(seconds)
        async with gateway(world, tmp_path, clock, seed) as edge:
            again = await edge.call("GET", INBOX, headers=header)
            assert (again.status, again.code) == (401, "auth_replayed")
    clock.advance(2)
    async with gateway(world, tmp_path, clock, seed=4) as edge:
        assert (await edge.call("GET", INBOX, headers=header)).code == "auth_expired"


async def test_r11b_a_hello_of_one_stream_opens_no_other(edge):
    async with edge.silent_stream() as first, edge.silent_stream() as second:
        auth = edge.authorization("ndxp", "GET", "/v1/stream", jti=first.welcome["nonce"]).removeprefix("LGSP ")
        await second.put(op="hello", auth=auth)
        assert (await second.closing())["reason"] == "auth_replayed"


# --- R11c --------------------------------------------------------------------------------------------------------------------------


AGENCY = "urn:lgsp:agency:H01.12"
OF_ANOTHER_TYPE = {"source": POPULATION, "type": OWNER_LIST, "dataschema": OWNER_LIST_SCHEMA}
ENVELOPES = {
    "an officer's key for a system": ("officer", {}, BODY, "key_role"),
    "the registrar's key for a system": ("registrar", {}, BODY, "key_role"),
    "a gateway's key for a system": ("gateway", {}, BODY, "key_role"),
    "the log's key for a system": ("log", {}, BODY, "key_role"),
    "a system's key for its officer": ("fisheries", {"source": OFFICER}, BODY, "manifest"),
    "a system's key for its agency": ("fisheries", {"source": AGENCY}, BODY, "manifest"),
    "a system's key for another system": ("police", {}, BODY, "source_not_owned"),
    "a bridge for another principal": ("ndxp", {"source": POLICE}, BODY, "source_not_owned"),
    "a bridge for another type": ("ndxp", OF_ANOTHER_TYPE, LIST, "source_not_owned"),
}


async def test_r11c_an_envelope_by_a_key_that_may_not_sign_it_is_refused(edge, world):
    found = {}
    for name, (signer, stated, body, _) in ENVELOPES.items():
        answer = await edge.post(world.forged(world.manifest(body=body, **stated), body=body, signer=signer))
        found[name] = answer.code
    assert found == {name: code for name, (*_, code) in ENVELOPES.items()}
    assert "msg.accepted" not in await events_of(edge)


async def test_r11c_a_bridge_after_its_delegation_is_refused(edge, world):
    request = world.envelope()
    assert (await edge.post(request)).status == 202
    over = World.make(version=2, changes={"d-population": {"until": 2}}, prev=edge.bus.registry.current.hash)
    await publish(edge.bus, over)
    answer = await edge.post(world.reply(request))
    assert answer.code == "source_not_owned"
    assert (await events_of(edge)).count("msg.accepted") == 1


CALLS = {
    "a system's key for its officer": ("fisheries", OFFICER),
    "a system's key for its agency": ("fisheries", AGENCY),
    "an officer's key for a system of the agency": ("officer", FISHERIES),
    "the registrar's key for a gateway": ("registrar", GATEWAY),
    "a gateway's key for the bus": ("gateway", BUS),
    "a bridge's key for its principal": ("ndxp", POPULATION),
}


async def test_r11c_a_call_by_a_key_for_another_owner_is_refused(edge, world):
    for name, (signer, iss) in CALLS.items():
        for path in (INBOX, "/admin/status"):
            header = Stated(signer=signer, iss=iss, path=path).header(world, made_up_id(7))
            answer = await edge.call("GET", path, headers=header)
            assert (answer.status, answer.code) == (401, "auth_invalid"), name


async def test_r11c_an_ack_by_another_key_than_its_receivers_settles_nothing(edge, world):
    request = world.envelope()
    await edge.post(request)
    assert len((await edge.call("GET", INBOX, signer="ndxp")).members["items"]) == 1
    for signer in ("fisheries", "officer", "gateway", "registrar"):
        head = statements.ack_head(system=NDXP, at=world.now)
        items = [statements.ack_item(request.hash, "accepted")]
        [ack] = statements.sign_batch(items, head, typ=statements.ACK, signer=world.signers[signer])
        answer = await edge.post_acks("ndxp", acks=[ack.wire()])
        assert answer.members["acks"][0]["problem"]["code"] in {"ack_invalid", "key_role"}
    assert "msg.acked" not in await events_of(edge)


async def test_r11c_a_directory_by_another_key_than_the_registrars_is_not_put_in_place(edge, world):
    for signer in ("gateway", "fisheries", "officer", "log"):
        assert await code_of_directory(edge, world, world.directory.encoded, signer) == "directory_invalid"
    assert edge.bus.registry.current.version == 1


async def code_of_directory(edge, world, encoded, signer="registrar"):
    """Offer a version of these records to the gateway, however it came about, and return why it is not put in place."""
    prev = edge.bus.registry.current.hash
    signed = statements.sign_directory(
        encoded, signer=world.signers[signer], bus=BUS, version=2, prev=prev, at=world.now
    )
    with pytest.raises(Refusal) as refused:
        await edge.bus.steward.publish_directory(
            statement=signed, records=encoded, documents=world.documents, reason="an attack"
        )
    return refused.value.code


LOW_ORDER = {"kty": "OKP", "crv": "Ed25519", "x": base64url.encode(bytes(32))}
NOT_CANONICAL = LOW_ORDER | {"x": base64url.encode((ED25519_PRIME + 3).to_bytes(32, "little"))}


async def test_r10_a_gateway_takes_no_directory_with_such_a_key_though_its_registrar_signed_it(edge, world):
    for jwk in (LOW_ORDER, NOT_CANONICAL):
        record = {
            "kind": "key",
            "id": keys.thumbprint(jwk),
            "owner": FISHERIES,
            "role": "system",
            "jwk": jwk,
            "since": 2,
        }
        encoded = [*world.directory.encoded, strictjson.compact(record)]
        assert await code_of_directory(edge, world, encoded) == "directory_invalid"
    assert edge.bus.registry.current.version == 1


async def test_r11_a_gateway_takes_no_directory_that_gives_a_key_to_a_second_owner(edge, world):
    for owner in (POLICE, AGENCY, OFFICER):
        record = key_record(world.signers["fisheries"], owner)
        encoded = [*world.directory.encoded, strictjson.compact(record)]
        assert await code_of_directory(edge, world, encoded) == "directory_invalid"
    assert (await edge.post(world.envelope())).status == 202, "its first owner goes on"
