"""Which entries of the log a breach of a system, an officer or a key is counted by."""

from datetime import timedelta

import pytest

from lgsp.domain.envelope import format_time
from lgsp.domain.impact import Breach, officer_of
from lgsp.testing.world import FISHERIES, NDXP, NOW, OFFICER, POLICE, POPULATION, World, manifest_of

WORLD = World.make()
ASKED = WORLD.envelope()
REPLY = WORLD.reply(ASKED)
UNSAID = WORLD.envelope(number=3, authid=None, purpose=None)
ANOTHER = "urn:lgsp:agency:H01.12:officer:0a1b2c"
KID = WORLD.signers["fisheries"].kid


def breach(suspect, name):
    return Breach(suspect=suspect, name=name, since=NOW, until=NOW + timedelta(hours=1))


def entry(event, *, at=NOW, **members):
    return {"ev": event, "ts": format_time(at), **members}


ACCEPTED = entry("msg.accepted", src=FISHERIES, aud=POPULATION, env=ASKED.hash)
SITUATIONS = {
    "sent by the system": ("system", FISHERIES, ACCEPTED, True),
    "sent to the system": ("system", POPULATION, ACCEPTED, True),
    "between others": ("system", POLICE, ACCEPTED, False),
    "delivered to the system": ("system", NDXP, entry("msg.delivered", to=NDXP), True),
    "delivered to another": ("system", NDXP, entry("msg.delivered", to=POLICE), False),
    "acked by the system": ("system", NDXP, entry("msg.acked", to=NDXP, src=NDXP), False),
    "accepted, for an officer": ("officer", OFFICER, ACCEPTED, True),
    "delivered, for an officer": ("officer", OFFICER, entry("msg.delivered", to=NDXP), False),
    "read where it was parked": ("officer", OFFICER, entry("admin.parked.read", by=OFFICER, env=ASKED.hash), True),
    "read for evidence": ("officer", OFFICER, entry("audit.read", by=OFFICER, env=ASKED.hash), True),
    "read for evidence without a body": ("officer", OFFICER, entry("audit.read", by=OFFICER), False),
    "done by the officer otherwise": (
        "officer",
        OFFICER,
        entry("directory.changed", by=OFFICER, env=ASKED.hash),
        False,
    ),
    "read by another officer": ("officer", OFFICER, entry("audit.read", by=ANOTHER, env=ASKED.hash), False),
    "accepted, for a key": ("key", KID, ACCEPTED, True),
    "delivered, for a key": ("key", KID, entry("msg.delivered", to=NDXP), False),
}


@pytest.mark.parametrize("name", SITUATIONS)
def test_an_entry_is_looked_at_further_when_it_may_be_the_suspects(name):
    suspect, who, told, expected = SITUATIONS[name]
    assert breach(suspect, who).may_concern(told) is expected


def test_what_was_before_the_time_or_after_it_concerns_nobody():
    moments = [NOW - timedelta(milliseconds=1), NOW, NOW + timedelta(minutes=59), NOW + timedelta(hours=1)]
    looked_at = [breach("key", KID).may_concern(entry("msg.accepted", at=at)) for at in moments]
    assert looked_at == [False, True, True, False]


@pytest.mark.parametrize(
    ("suspect", "who", "compact", "asked", "expected"),
    [
        ("system", FISHERIES, b"", b"", True),
        ("key", KID, ASKED.compact, b"", True),
        ("key", KID, REPLY.compact, ASKED.compact, True),
        ("key", KID, REPLY.compact, b"", False),
        ("key", WORLD.signers["ndxp"].kid, REPLY.compact, ASKED.compact, True),
        ("officer", OFFICER, ASKED.compact, b"", True),
        ("officer", OFFICER, REPLY.compact, ASKED.compact, True),
        ("officer", OFFICER, REPLY.compact, b"", False),
        ("officer", OFFICER, UNSAID.compact, b"", False),
        ("officer", ANOTHER, ASKED.compact, b"", False),
        ("officer", OFFICER, b"", b"", False),
    ],
)
def test_the_envelope_or_the_request_that_it_answers_decides_for_officers_and_keys(
    suspect, who, compact, asked, expected
):
    assert breach(suspect, who).concerns(ACCEPTED, compact, asked) is expected


def test_what_an_officer_read_counts_whoever_sent_it():
    read = entry("admin.parked.read", by=OFFICER, env=REPLY.hash)
    assert breach("officer", OFFICER).concerns(read, REPLY.compact, b"")


def test_an_officer_is_of_the_agency_of_the_system_that_names_them():
    assert officer_of(manifest_of(ASKED)) == OFFICER
    assert officer_of(manifest_of(UNSAID)) == ""


def test_a_breach_is_stated_by_what_is_suspected_and_its_time():
    assert breach("key", KID).stated() == {
        "from": format_time(NOW),
        "key": KID,
        "to": format_time(NOW + timedelta(hours=1)),
    }
