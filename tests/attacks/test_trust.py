"""Attacks on what a receiver believes: deliveries and receipts that are another's, foreign, refused or altered (protocol section 4)."""

from datetime import timedelta

import pytest

from lgsp.domain import statements, strictjson
from lgsp.domain.statements import Statement
from lgsp.errors import Refusal
from lgsp.sdk import frames
from lgsp.sdk.box import Outgoing
from lgsp.sdk.frames import BadFrame, Became, Handed
from lgsp.sdk.trust import Trust
from lgsp.testing.bus import ack_of
from lgsp.testing.world import BUS, GATEWAY, LOG, NDXP, POLICE, POPULATION, World, key_record, manifest_of, signer_named


@pytest.fixture
def world():
    return World.make()


def receipt_for(world, *wires, signer="gateway", iss=GATEWAY, log=LOG, policy=1, **changes):
    """The gateway's receipts for these envelopes under one signature, members changed at will."""
    items = []
    for index, wire in enumerate(wires):
        manifest = manifest_of(wire)
        item = {"env": wire.hash, "id": manifest.id, "src": manifest.source, "aud": manifest.audience}
        item |= {"outcome": "accepted", "index": index, "leaf": "sha-256:" + "A" * 43} | changes
        items.append(strictjson.compact(item))
    head = statements.receipt_head(gateway=iss, at=world.now, log=log, policy=policy)
    signing = world.signers.get(signer) or signer_named(signer)
    return statements.sign_batch(items, head, typ=statements.RECEIPT, signer=signing)


def handed(world, wire, receipt, now=None):
    return Handed(wire=wire, env=wire.hash, receipt=receipt, lease="lease", attempt=1, now=now or world.now)


def trust_of(system):
    return Trust(system=system, bus=BUS, log=LOG)


def code_of(world, wire, receipt, *, system=NDXP, now=None):
    try:
        trust_of(system).delivery(handed(world, wire, receipt, now), world.directory)
    except Refusal as refusal:
        return refusal.code
    return ""


def test_a_delivery_with_its_own_receipt_is_believed(world):
    wire = world.envelope()
    [receipt] = receipt_for(world, wire)
    believed = trust_of(NDXP).delivery(handed(world, wire, receipt), world.directory)
    assert believed.manifest == manifest_of(wire)
    assert believed.manifest.audience == POPULATION


def test_r04_a_message_for_another_system_is_not_believed(world):
    wire = world.envelope()
    [receipt] = receipt_for(world, wire)
    assert code_of(world, wire, receipt, system=POLICE) == "audience_not_me"


def test_r05_a_delivery_without_a_receipt_is_no_delivery(world):
    wire = world.envelope()
    [receipt] = receipt_for(world, wire)
    frame = {
        "op": "deliver",
        "envelope": wire.structured(),
        "receipt": receipt.wire(),
        "lease": "lease",
        "attempt": 1,
        "now": "2026-11-22T00:16:31.123Z",
    }
    assert frames.handed(frame).wire == wire
    for missing in ({}, {"receipt": None}, {"receipt": ""}):
        rest = {name: value for name, value in frame.items() if name != "receipt"} | missing
        with pytest.raises(BadFrame):
            frames.handed(rest)


FOREIGN = {
    "by a key that nobody registered": {"signer": "stranger"},
    "by another system's key": {"signer": "police"},
    "by the registrar's key": {"signer": "registrar"},
    "in another gateway's name": {"iss": "urn:lgsp:bus:91:gw:b"},
    "of another bus": {"iss": "urn:lgsp:bus:92:gw:a"},
    "of another log": {"log": "lgsp.example.vn/92/2026"},
    "of another directory version": {"policy": 2},
}


@pytest.mark.parametrize("name", FOREIGN)
def test_r05_a_foreign_receipt_is_not_believed(world, name):
    wire = world.envelope()
    [receipt] = receipt_for(world, wire, **FOREIGN[name])
    assert code_of(world, wire, receipt) == "receipt_invalid"


def test_r05_a_receipt_that_says_rejected_is_not_believed(world):
    wire = world.envelope()
    [receipt] = receipt_for(world, wire, outcome="rejected", code="no_grant")
    assert code_of(world, wire, receipt) == "receipt_invalid"


def test_r16_the_receipt_of_another_envelope_is_not_believed(world):
    mine, other = world.envelope(number=1), world.envelope(number=2)
    own, foreign = receipt_for(world, mine, other)
    assert code_of(world, mine, own) == ""
    assert code_of(world, mine, foreign) == "receipt_invalid"


def test_r16_an_item_put_under_another_signature_is_not_believed(world):
    mine, other = world.envelope(number=1), world.envelope(number=2)
    [own] = receipt_for(world, mine)
    [foreign] = receipt_for(world, other)
    mixed = Statement(jws=foreign.jws, item=own.item, pos=own.pos, path=own.path)
    assert code_of(world, mine, mixed) == "receipt_invalid"


@pytest.mark.parametrize("member", ["id", "src", "aud"])
def test_r16_a_receipt_with_the_right_hash_and_another_name_is_not_believed(world, member):
    wire = world.envelope()
    value = manifest_of(world.envelope(number=2)).id if member == "id" else POLICE
    [receipt] = receipt_for(world, wire, **{member: value})
    assert code_of(world, wire, receipt) == "receipt_invalid"


def test_the_age_of_a_delivery_is_judged_by_the_bus(world):
    wire = world.envelope()
    [receipt] = receipt_for(world, wire)
    assert code_of(world, wire, receipt, now=world.now + timedelta(minutes=6)) == "expired"


def test_every_receipt_of_a_batch_is_believed_and_none_in_another_place(world):
    wires = [world.envelope(number=number) for number in range(1, 8)]
    receipts = receipt_for(world, *wires)
    assert {code_of(world, wire, receipt) for wire, receipt in zip(wires, receipts, strict=True)} == {""}
    moved = Statement(jws=receipts[0].jws, item=receipts[0].item, pos=1, path=receipts[0].path)
    assert code_of(world, wires[0], moved) == "receipt_invalid"


def test_r05_the_receipt_of_a_neighbouring_bus_is_not_believed_though_its_gateway_is_registered(world):
    theirs = "urn:lgsp:bus:92:gw:a"
    met = World.make(added=[key_record(signer_named("neighbour"), theirs, "gateway")])
    wire = met.envelope()
    [receipt] = receipt_for(met, wire, signer="neighbour", iss=theirs)
    assert code_of(met, wire, receipt) == "receipt_invalid"


def test_what_was_verified_long_ago_is_verified_again(world, monkeypatch):
    monkeypatch.setattr("lgsp.sdk.trust.SIGNATURES_KEPT", 1)
    wires, trust = [world.envelope(number=number) for number in (1, 2)], trust_of(NDXP)
    receipts = [receipt for wire in wires for receipt in receipt_for(world, wire)]
    for wire, receipt in [*zip(wires, receipts, strict=True)] * 2:
        assert trust.delivery(handed(world, wire, receipt), world.directory).manifest == manifest_of(wire)
        assert len(trust._signatures) == 1


def test_a_body_that_two_programs_may_read_differently_is_not_believed_whoever_let_it_in(world):
    wire = world.envelope(body=b'{"fullName":"A","fullName":"B"}')
    [receipt] = receipt_for(world, wire)
    assert code_of(world, wire, receipt) == "body_json"


# --- what a sender believes --------------------------------------------------------------------------------------------------------


def outgoing(wire):
    manifest = manifest_of(wire)
    names = {"id": manifest.id, "source": manifest.source, "type": manifest.type, "audience": manifest.audience}
    return Outgoing(seq=1, env=wire.hash, compact=wire.compact, body=wire.body, **names)


def test_r16_the_receipt_of_another_envelope_is_none_for_its_sender(world):
    mine, other = world.envelope(number=1), world.envelope(number=2)
    own, foreign = receipt_for(world, mine, other)
    assert trust_of(POLICE).receipt(own, outgoing(mine), world.directory) == world.now
    with pytest.raises(Refusal, match="another envelope's") as caught:
        trust_of(POLICE).receipt(foreign, outgoing(mine), world.directory)
    assert caught.value.code == "receipt_invalid"


MINE, OTHER = World.make().envelope(number=1).hash, World.make().envelope(number=2).hash
ACKS = {
    "that is missing": (NDXP, None),
    "of another envelope": (NDXP, ("ndxp", NDXP, OTHER, "accepted")),
    "by another system": (NDXP, ("police", POLICE, MINE, "accepted")),
    "by another system in the receiver's name": (NDXP, ("police", NDXP, MINE, "accepted")),
    "by one who was never to receive it": (POLICE, ("police", POLICE, MINE, "accepted")),
    "that says neither yes nor no": (NDXP, ("ndxp", NDXP, MINE, "later")),
}


@pytest.mark.parametrize("name", ACKS)
def test_an_ack_that_does_not_count_is_not_believed(world, name):
    to, made = ACKS[name]
    ack = ack_of(world, made[0], made[1], made[2], outcome=made[3])[0] if made else None
    became = Became(env=MINE, to=to, state="acked", code="", ack=ack)
    stated = {"audience": POPULATION, "type_": manifest_of(world.envelope()).type}
    with pytest.raises(Refusal) as caught:
        trust_of(POLICE).ack(became, world.directory, **stated)
    assert caught.value.code == "ack_invalid"


def test_the_ack_of_the_bridge_that_stands_for_the_audience_is_believed(world):
    [ack] = ack_of(world, "ndxp", NDXP, MINE)
    became = Became(env=MINE, to=NDXP, state="acked", code="", ack=ack)
    stated = {"audience": POPULATION, "type_": manifest_of(world.envelope()).type}
    assert trust_of(POLICE).ack(became, world.directory, **stated)["env"] == MINE
