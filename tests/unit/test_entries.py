from datetime import datetime

import pytest

from lgsp.domain import entries, strictjson
from lgsp.errors import Refusal

AT = datetime.fromisoformat("2026-11-22T07:16:31.207+07:00")


def test_an_entry_starts_with_the_five_members_that_all_have():
    made = entries.draft("log.opened", at=AT, bus="urn:lgsp:bus:91:gw:a").numbered(0)
    assert made == b'{"v":1,"seq":0,"ts":"2026-11-22T00:16:31.207Z","ev":"log.opened","bus":"urn:lgsp:bus:91:gw:a"}'


def test_the_members_stand_in_the_order_of_the_log_whatever_order_they_are_given_in():
    members = {("from_" if name == "from" else name): f"x{name}" for name in reversed(entries.MEMBERS)}
    made = strictjson.parse_object(entries.draft("msg.accepted", at=AT, bus="b", **members).numbered(7))
    assert list(made) == ["v", "seq", "ts", "ev", "bus", *entries.MEMBERS]
    assert (made["seq"], made["from"]) == (7, "xfrom")


@pytest.mark.parametrize("empty", [None, "", [], ()])
def test_an_empty_member_is_left_out(empty):
    made = entries.draft("msg.accepted", at=AT, bus="b", sc=empty, purpose=empty).numbered(1)
    assert b"sc" not in made
    assert b"purpose" not in made


def test_zero_is_not_empty():
    assert b'"attempt":0' in entries.draft("msg.delivered", at=AT, bus="b", attempt=0).numbered(1)


@pytest.mark.parametrize(
    ("event", "member"),
    [("msg.lost", "env"), ("msg.accepted", "number"), ("msg.accepted", "seq"), ("msg.accepted", "v")],
)
def test_an_unknown_event_or_member_is_a_fault_of_ours(event, member):
    with pytest.raises(ValueError, match="no such event or member"):
        entries.draft(event, at=AT, bus="b", **{member: "x"})


def test_a_draft_can_be_numbered_again():
    made = entries.draft("msg.accepted", at=AT, bus="b", env="x")
    assert made.numbered(5).replace(b'"seq":5', b'"seq":1000000') == made.numbered(1_000_000)


def test_vietnamese_texts_stand_as_they_are():
    made = entries.draft("directory.changed", at=AT, bus="b", reason="kết nạp Sở").numbered(1)
    assert "kết nạp Sở".encode() in made


@pytest.mark.parametrize("reason", ["kết nạp Sở", "case 7", "x" * 200, "12345678 and 12345678"])
def test_a_reason_is_a_line_of_words(reason):
    assert entries.check_reason(reason) == reason


@pytest.mark.parametrize(
    "reason", ["", " ", "x" * 201, "two\nlines", "a\ttab", "about 099185000017", "099185000", "\x85"]
)
def test_a_reason_that_the_log_may_not_hold_is_refused_and_not_repeated(reason):
    with pytest.raises(Refusal) as caught:
        entries.check_reason(reason)
    assert (caught.value.code, caught.value.pointer) == ("bad_request", "/reason")
    assert "0991850" not in caught.value.detail
