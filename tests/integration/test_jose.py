"""What Node's `jose` signs the running gateway takes, and what is signed here it verifies: envelopes, calls, receipts, acks, under both algorithms."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from lgsp.backends.memory import MemoryLedger
from lgsp.domain import base64url, envelope, keys, statements
from lgsp.domain.envelope import Wire
from lgsp.testing.bus import ack_of
from lgsp.testing.clock import ManualClock
from lgsp.testing.edge import running_edge
from lgsp.testing.entropy import SeededEntropy
from lgsp.testing.world import BODY, BUS, FISHERIES, GATEWAY, NDXP, World, made_up_id, signer_named

PROGRAM = Path(__file__).parent / "jose" / "party.mjs"
BODY_TEXT = json.dumps(BODY, ensure_ascii=False, indent=1)
KEYS = {
    "Ed25519": {name: signer_named(name) for name in ("fisheries", "ndxp", "gateway")},
    "ES256": {name: keys.p256_from_scalar(number) for number, name in enumerate(("fisheries", "ndxp", "gateway"), 5)},
}


async def asked(*tasks):
    """Return what the other implementation answers to each task."""
    pipe = asyncio.subprocess.PIPE
    running = await asyncio.create_subprocess_exec("node", PROGRAM, stdin=pipe, stdout=pipe, stderr=pipe)
    out, err = await asyncio.wait_for(running.communicate(json.dumps(tasks).encode()), 30)
    assert running.returncode == 0, err.decode()
    answers = json.loads(out)
    assert len(answers) == len(tasks)
    return answers


def private_jwk(key):
    if isinstance(key.handle, ed25519.Ed25519PrivateKey):
        secret = key.handle.private_bytes_raw()
    else:
        secret = key.handle.private_numbers().private_value.to_bytes(32, "big")
    return key.public.jwk | {"d": base64url.encode(secret)}


def signing(key, typ):
    return {"typ": typ, "alg": key.alg, "key": private_jwk(key)}


def checking(key, typ):
    return {"typ": typ, "alg": key.alg, "key": key.public.jwk}


@pytest.fixture(params=KEYS)
def world(request):
    return World.make(signers=KEYS[request.param])


@pytest.fixture
async def edge(world):
    clock, entropy = ManualClock(world.now), SeededEntropy(1)
    async with running_edge(world, MemoryLedger(), clock=clock, entropy=entropy) as running:
        yield running


def envelope_task(world, **changes):
    signer = signing(world.signers["fisheries"], envelope.TYP)
    return {"task": "envelope", "signer": signer, "attributes": world.attributes(**changes), "body": BODY_TEXT}


def inbox_task(world, path):
    issued = int(world.now.timestamp())
    claims = {
        "iss": NDXP,
        "aud": BUS,
        "method": "GET",
        "path": path,
        "iat": issued,
        "exp": issued + 60,
        "jti": made_up_id(9),
    }
    return {"task": "auth", "signer": signing(world.signers["ndxp"], statements.AUTH), "claims": claims, "body": ""}


def ack_task(world, env):
    head = {"iss": NDXP, "ts": envelope.format_time(world.now)}
    item = statements.ack_item(env, "accepted").decode()
    return {"task": "ack", "signer": signing(world.signers["ndxp"], statements.ACK), "head": head, "item": item}


async def test_a_system_that_signs_with_jose_sends_receives_and_acknowledges(edge, world):
    path = "/v1/inbox?max=5"
    signed, auth = await asked(envelope_task(world), inbox_task(world, path))
    wire = Wire(compact=signed["compact"].encode(), body=BODY_TEXT.encode())
    sent = await edge.post(wire)
    assert sent.status == 202, sent.body
    inbox = await edge.call("GET", path, headers={"Authorization": f"LGSP {auth['compact']}"})
    assert inbox.status == 200, inbox.body
    [handed] = inbox.members["items"]
    assert envelope.from_structured(handed["envelope"]) == wire
    [ack, receipt, manifest] = await asked(
        ack_task(world, wire.hash),
        {"task": "item", "signer": checking(world.signers["gateway"], statements.RECEIPT), "statement": handed["receipt"]},
        {
            "task": "manifest", "signer": checking(world.signers["fisheries"], envelope.TYP), "compact": wire.compact.decode(),
            "body": wire.body.decode(),
        },
    )  # fmt: skip
    assert (receipt["iss"], receipt["env"], receipt["outcome"]) == (GATEWAY, wire.hash, "accepted")
    assert manifest["id"] == world.attributes()["id"]
    settled = await edge.post_acks("ndxp", acks=[ack])
    assert settled.members == {"acks": [{"env": wire.hash}]}
    told = await edge.call("GET", "/v1/outcomes", signer="fisheries")
    [outcome] = told.members["items"]
    assert (outcome["env"], outcome["state"], outcome["ack"]) == (wire.hash, "acked", ack)


async def test_jose_verifies_envelopes_receipts_and_acks_of_a_batch(edge, world):
    wires = [world.envelope(number=number) for number in range(1, 6)]
    answers = await asyncio.gather(*map(edge.post, wires))
    receipts = [answer.members["receipt"] for answer in answers]
    acks = [ack.wire() for ack in ack_of(world, "ndxp", NDXP, *(wire.hash for wire in wires))]
    gateway = checking(world.signers["gateway"], statements.RECEIPT)
    receiver = checking(world.signers["ndxp"], statements.ACK)
    sender = checking(world.signers["fisheries"], envelope.TYP)
    found = await asked(
        *({"task": "item", "signer": gateway, "statement": receipt} for receipt in receipts),
        *({"task": "item", "signer": receiver, "statement": ack} for ack in acks),
        *({"task": "manifest", "signer": sender, "compact": wire.compact.decode(), "body": wire.body.decode()} for wire in wires),
    )  # fmt: skip
    hashes = [wire.hash for wire in wires]
    assert [each.get("env") for each in found[:10]] == hashes * 2, found[:10]
    assert {each["iss"] for each in found[:5]} == {GATEWAY}
    assert [(each["iss"], each["size"]) for each in found[5:10]] == [(NDXP, 5)] * 5
    assert [each.get("source") for each in found[10:]] == [FISHERIES] * 5, found[10:]


async def test_jose_refuses_what_was_changed_and_so_does_the_gateway(edge, world):
    [signed] = await asked(envelope_task(world))
    compact = signed["compact"]
    place = compact.rindex(".") + 5
    changed = compact[:place] + ("A" if compact[place] != "A" else "B") + compact[place + 1 :]
    answer = await edge.post(Wire(compact=changed.encode(), body=BODY_TEXT.encode()))
    assert (answer.status, answer.code) == (401, "signature")
    [first, second] = [ack.wire() for ack in ack_of(world, "ndxp", NDXP, "sha-256:" + "A" * 43, "sha-256:" + "B" * 43)]
    receiver = checking(world.signers["ndxp"], statements.ACK)
    other = checking(signer_named("somebody else"), statements.ACK)
    found = await asked(
        {"task": "manifest", "signer": checking(world.signers["fisheries"], envelope.TYP), "compact": changed, "body": BODY_TEXT},
        {"task": "manifest", "signer": checking(world.signers["fisheries"], envelope.TYP), "compact": compact, "body": "{}"},
        {"task": "item", "signer": receiver, "statement": first | {"item": second["item"]}},
        {"task": "item", "signer": receiver, "statement": first | {"pos": 1}},
        {"task": "item", "signer": receiver | {"typ": statements.RECEIPT}, "statement": first},
        {"task": "item", "signer": other, "statement": first},
    )  # fmt: skip
    assert [sorted(each) for each in found] == [["error"]] * 6


async def test_an_envelope_of_jose_that_is_not_granted_is_refused_with_a_receipt_that_jose_verifies(edge, world):
    expired = envelope.format_time(world.now - timedelta(seconds=1))
    [signed] = await asked(envelope_task(world, expirytime=expired))
    answer = await edge.post(Wire(compact=signed["compact"].encode(), body=BODY_TEXT.encode()))
    assert answer.status >= 400
    gateway = checking(world.signers["gateway"], statements.RECEIPT)
    [item] = await asked({"task": "item", "signer": gateway, "statement": answer.members["receipt"]})
    assert (item["outcome"], item["code"]) == ("rejected", answer.code)
