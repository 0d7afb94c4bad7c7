"""The form of a bundle of evidence: what is written is read again, and what is outside the form or its bounds is named in words."""

import copy
import json

import pytest

from lgsp.domain import base64url, directory, evidence, statements, strictjson
from lgsp.domain.limits import LIMITS
from lgsp.testing.world import BUS, FISHERIES, GATEWAY, LOG, NDXP, NOW, World

WORLD = World.make()


def stated(typ, head, signer, item=b"{}"):
    [made] = statements.sign_batch([item], head, typ=typ, signer=WORLD.signers[signer])
    return made


def part(wire, body=None):
    receipt = stated(statements.RECEIPT, statements.receipt_head(gateway=GATEWAY, at=NOW, log=LOG, policy=1), "gateway")
    ack = stated(
        statements.ACK, statements.ack_head(system=NDXP, at=NOW), "ndxp", statements.ack_item(wire.hash, "accepted")
    )
    return evidence.Part(compact=wire.compact, receipt=receipt, acks=(evidence.Acked(version=1, ack=ack),), body=body)


ASKED = WORLD.envelope()
BUNDLE = evidence.Bundle(
    bus=BUS,
    checkpoint="a note\n",
    directories=(
        evidence.Excerpt(
            statement=WORLD.directory.statement, records=directory.place(WORLD.directory, [("system", FISHERIES)])
        ),
    ),
    entries=(evidence.Logged(index=7, entry=b'{"v":1,"seq":7}', path=(b"\x01" * 32, b"\x02" * 32)),),
    message=part(ASKED, body=ASKED.body),
    reply=part(WORLD.reply(ASKED)),
)


@pytest.mark.parametrize("reply", [BUNDLE.reply, None], ids=["with a reply", "without one"])
def test_a_bundle_that_was_written_is_read_as_it_was(reply):
    bundle = evidence.Bundle(
        bus=BUNDLE.bus, checkpoint=BUNDLE.checkpoint, directories=BUNDLE.directories, entries=BUNDLE.entries,
        message=BUNDLE.message, reply=reply,
    )  # fmt: skip
    assert evidence.parse(evidence.encode(bundle)) == bundle


NO_HASH = base64url.encode(bytes(31))
OUTSIDE = {
    "another form": (("form",), "lgsp-evidence.v2", "the form is not lgsp-evidence.v1"),
    "a member more": (("note",), "x", "other members than bus, checkpoint"),
    "a part that is a list": (("message",), [], "other members than acks, envelope, receipt"),
    "a bus that is a number": (("bus",), 91, "no text of at most 64"),
    "a long bus": (("bus",), "u" * 65, "no text of at most 64"),
    "entries in an object": (("entries",), {}, "no list of at most 65536"),
    "a long path": (("entries", 0, "path"), [base64url.encode(bytes(32))] * 64, "no list of at most 63"),
    "a short step": (("entries", 0, "path", 0), NO_HASH, "a step of a path has 32 bytes"),
    "a step that is no base64url": (("entries", 0, "path", 0), "=" * 43, "base64url"),
    "a negative index": (("entries", 0, "index"), -1, "no number from 0 on"),
    "an index that is true": (("entries", 0, "index"), True, "no number from 0 on"),
    "an index beyond any log": (("entries", 0, "index"), 2**63, "no number from 0 on"),
    "a place that is a text": (("directories", 0, "records", 0, "pos"), "0", "no number from 0 on"),
    "a record that is too long": (("directories", 0, "records", 0, "record"), "x" * 65_536, "no text of at most 65535"),
    "an envelope of other letters": (("message", "envelope"), "Ễ", "ascii"),
    "a body that is no base64url": (("message", "body"), "e30=", "base64url"),
    "a version of an ack that is none": (("message", "acks", 0, "version"), 1.0, "no number from 0 on"),
    "a receipt without a path": (("message", "receipt"), {"jws": "", "item": "", "pos": 0}, "a statement has the members"),
    "a receipt that is too large": (("message", "receipt", "jws"), "x" * (LIMITS.statement_bytes + 1), "too large"),
    "an item that is too large": (("message", "acks", 0, "ack", "item"), "x" * 65_536, "too large"),
}  # fmt: skip


@pytest.mark.parametrize("name", OUTSIDE)
def test_what_is_outside_the_form_is_named(name):
    (*steps, last), value, words = OUTSIDE[name]
    members = copy.deepcopy(json.loads(evidence.encode(BUNDLE)))
    holder = members
    for step in steps:
        holder = holder[step]
    holder[last] = value
    with pytest.raises(ValueError, match=words):
        evidence.parse(strictjson.compact(members))


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"\xff", b'{"form":1,"form":1}'])
def test_what_is_no_object_in_strict_json_is_no_bundle(data):
    with pytest.raises(ValueError):  # noqa: PT011 - the words are those of strict JSON
        evidence.parse(data)


def test_a_file_larger_than_the_bound_is_not_read():
    with pytest.raises(ValueError, match=f"larger than {evidence.BUNDLE_MAX} bytes"):
        evidence.parse(b" " * (evidence.BUNDLE_MAX + 1))
