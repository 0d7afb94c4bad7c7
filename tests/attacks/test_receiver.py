"""Attacks on a receiver: what a gateway that errs or lies cannot make the SDK hand to a program (rows R04, R05, R16)."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import timedelta

import pytest

from lgsp.domain import base64url, merkle, statements
from lgsp.domain.envelope import Wire
from lgsp.domain.keys import ed25519_from_seed
from lgsp.errors import Refusal
from lgsp.ports.directory import SignedRecords
from lgsp.sdk import frames
from lgsp.sdk.box import Box
from lgsp.sdk.directories import Directories
from lgsp.sdk.receiver import Receiver
from lgsp.sdk.trust import Trust
from lgsp.testing.world import BUS, GATEWAY, LOG, NDXP, POLICE, World, manifest_of


@pytest.fixture(scope="module")
def world():
    return World.make()


def receipt_of(world, *wires, signer="gateway", pos=0, head=None, **changes):
    """Return the gateway's receipt for the envelope at `pos`, with members of the item or the signed head changed."""
    items = []
    for index, wire in enumerate(wires):
        manifest = manifest_of(wire)
        item = {
            "env": wire.hash, "id": manifest.id, "src": manifest.source, "aud": manifest.audience, "outcome": "accepted",
            "index": index, "leaf": "sha-256:" + base64url.encode(merkle.leaf_hash(b"entry")),
        } | changes  # fmt: skip
        items.append(json.dumps(item, separators=(",", ":")).encode())
    stated = statements.receipt_head(gateway=GATEWAY, at=world.now, log=LOG, policy=world.directory.version)
    made = statements.sign_batch(
        items,
        stated | (head or {}),
        typ=statements.RECEIPT,
        signer=world.signers[signer] if isinstance(signer, str) else signer,
    )
    return made[pos]


def handed(world, wire, receipt, *, now=None):
    return frames.Handed(wire=wire, env=wire.hash, receipt=receipt, lease="lease", attempt=1, now=now or world.now)


def judged(world, delivery, system=NDXP):
    """Return the code with which a system's SDK refuses a delivery, "" when it takes it."""
    try:
        Trust(system=system, bus=BUS, log=LOG).delivery(delivery, world.directory)
    except Refusal as refusal:
        return refusal.code
    return ""


def test_a_good_delivery_is_taken(world):
    wire = world.envelope()
    assert judged(world, handed(world, wire, receipt_of(world, wire))) == ""


def test_r04_a_message_for_one_system_handed_to_another_is_refused(world):
    wire = world.envelope()
    assert judged(world, handed(world, wire, receipt_of(world, wire)), system=POLICE) == "audience_not_me"


def test_r04_a_bridge_takes_only_what_its_delegation_speaks_of(world):
    bare = World.make(changes={"d-population": {"types": ["vn.lgsp.registry.*"]}})
    wire = bare.envelope()
    assert judged(bare, handed(bare, wire, receipt_of(bare, wire))) == "audience_not_me"


FOREIGN = ed25519_from_seed(bytes(range(32)))
RECEIPTS = {
    "by a key that nobody registered": {"signer": FOREIGN},
    "by a system's key": {"signer": "fisheries"},
    "by the registrar's key": {"signer": "registrar"},
    "that says rejected": {"outcome": "rejected", "code": "no_grant"},
    "for another id": {"id": "0199a1f2-7b1c-7000-8000-0000000000ff"},
    "for another source": {"src": POLICE},
    "for another audience": {"aud": POLICE},
    "of another log": {"head": {"log": "lgsp.example.vn/92/2026"}},
    "of another directory version": {"head": {"policy": 2}},
    "in the name of another gateway": {"head": {"iss": f"{BUS}:gw:b"}},
}


@pytest.mark.parametrize("case", RECEIPTS)
def test_r05_a_message_with_a_receipt_that_does_not_count_is_refused(world, case):
    wire = world.envelope()
    assert judged(world, handed(world, wire, receipt_of(world, wire, **RECEIPTS[case]))) == "receipt_invalid"


@pytest.mark.parametrize("change", ["item", "jws", "pos", "path"])
def test_r05_a_receipt_altered_in_any_member_is_refused(world, change):
    wires = [world.envelope(number=number) for number in (1, 2, 3)]
    good = receipt_of(world, *wires)
    altered = {
        "item": good.item.replace('"index":0', '"index":9'),
        "jws": good.jws[:-6] + ("A" if good.jws[-6] != "A" else "B") + good.jws[-5:],
        "pos": 1,
        "path": good.path[::-1],
    }
    assert judged(world, handed(world, wires[0], good)) == ""
    broken = replace(good, **{change: altered[change]})
    assert judged(world, handed(world, wires[0], broken)) == "receipt_invalid"


def test_r05_a_delivery_without_receipt_is_no_delivery(world):
    frame = {"op": "deliver", "envelope": world.envelope().structured(), "lease": "l", "attempt": 1}
    with pytest.raises(frames.BadFrame):
        frames.handed(frame | {"now": "2026-11-22T00:16:31.123Z"})


def test_r16_the_receipt_of_one_envelope_shown_for_another_is_refused(world):
    one, other = world.envelope(number=1), world.envelope(number=2)
    delivery = handed(world, one, receipt_of(world, one, other, pos=1))
    with pytest.raises(Refusal, match="another envelope's") as caught:
        Trust(system=NDXP, bus=BUS, log=LOG).delivery(delivery, world.directory)
    assert caught.value.code == "receipt_invalid"


def test_a_body_that_was_exchanged_on_the_way_is_refused(world):
    wire = world.envelope()
    swapped = Wire(compact=wire.compact, body=b"{}" + b" " * (len(wire.body) - 2))
    assert judged(world, handed(world, swapped, receipt_of(world, wire))) == "datahash"


def test_a_forged_envelope_is_refused_even_with_a_true_receipt(world):
    forged = world.envelope(signer="police")
    assert judged(world, handed(world, forged, receipt_of(world, forged))) == "source_not_owned"


def test_expiry_is_judged_by_the_clock_of_the_bus(world):
    wire = world.envelope()
    late = handed(world, wire, receipt_of(world, wire), now=world.now + timedelta(minutes=6))
    assert judged(world, late) == "expired"


class Compose:
    def letter(self, type_, stated):
        raise AssertionError

    def reply(self, request, body, *, schema, orgcat):
        raise AssertionError


@pytest.fixture
async def receiver(world, tmp_path):
    """A police system's receiving side over a real box, and the frames that it sends."""

    async def fetch(version):
        return SignedRecords(version=1, statement=world.directory.statement, records=world.directory.encoded)

    box = Box.open(tmp_path / "box.sqlite", sign=lambda items: [])
    directories = Directories(fetch=fetch, box=box, registrar=world.signers["registrar"].public, bus=BUS)
    sent = []
    made = Receiver(
        box=box,
        trust=Trust(system=POLICE, bus=BUS, log=LOG),
        compose=Compose(),
        directories=directories,
        put=lambda frame: sent.append(json.loads(frame)),
        window=4,
    )
    made.sent = sent
    yield made
    await box.close()


@pytest.mark.parametrize(
    ("attack", "code"),
    [("r04 audience", "audience_not_me"), ("r05 rejected", "receipt_invalid"), ("r16 swapped", "receipt_invalid")],
)
async def test_what_is_refused_reaches_no_program_and_goes_back_with_its_code(world, receiver, attack, code):
    one, other = world.envelope(number=1), world.envelope(number=2)
    receipt = {
        "r04 audience": lambda: receipt_of(world, one),
        "r05 rejected": lambda: receipt_of(world, one, outcome="rejected"),
        "r16 swapped": lambda: receipt_of(world, other),
    }[attack]()
    await receiver.deliver([handed(world, one, receipt)])
    await asyncio.sleep(0)
    assert receiver.arrivals.claim("") is None
    assert len(receiver.arrivals) == 0
    assert receiver.sent[0] == {"op": "nack", "env": one.hash, "lease": "lease", "code": code}
    assert receiver.sent[1]["op"] == "credit"
