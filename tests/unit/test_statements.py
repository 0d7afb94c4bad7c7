from datetime import UTC, datetime, timedelta, timezone

import pytest

from lgsp.domain import base64url, jws, merkle, statements, strictjson
from lgsp.errors import Refusal
from lgsp.testing.world import BUS, FISHERIES, GATEWAY, LOG, NOW, signer_named

SIGNER = signer_named("statements")
HEAD = statements.ack_head(system=FISHERIES, at=NOW)


def items(count: int) -> list[bytes]:
    return [statements.ack_item(jws.hash_of(b"%d" % number), "accepted") for number in range(count)]


def batch(count: int) -> list[statements.Statement]:
    return statements.sign_batch(items(count), HEAD, typ=statements.ACK, signer=SIGNER)


def verified(compact: str) -> statements.Signed:
    return statements.verify_signature(compact, SIGNER.public, typ=statements.ACK)


def signed_payload(**changes: object) -> str:
    """A statement over any payload, with members changed, and those of None left out."""
    root = "sha-256:" + base64url.encode(merkle.leaf_hash(b"{}"))
    stated = {**HEAD, "size": 1, "root": root} | changes
    payload = strictjson.compact({name: value for name, value in stated.items() if value is not None})
    return jws.sign(payload, typ=statements.ACK, signer=SIGNER).decode()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8, 9, 100, 255, 256])
def test_every_item_of_a_batch_opens_under_its_one_signature(count):
    made = batch(count)
    assert len({statement.jws for statement in made}) == 1
    signed = verified(made[0].jws)
    assert (signed.iss, signed.at, signed.size, signed.kid) == (FISHERIES, NOW, count, SIGNER.kid)
    for statement, item in zip(made, items(count), strict=True):
        assert strictjson.compact(statements.open_item(statement, signed)) == item == statement.item.encode()


def test_a_batch_has_1_to_256_items():
    for count in (0, 257):
        with pytest.raises(ValueError, match="batch"):
            batch(count)


def test_a_batch_of_one_has_no_path():
    [made] = batch(1)
    assert (made.pos, made.path) == (0, ())
    assert made.leaf == "sha-256:" + base64url.encode(verified(made.jws).root)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_a_statement_travels_as_json_and_comes_back(count):
    for made in batch(count):
        assert statements.from_text(made.text()) == statements.from_wire(made.wire()) == made
        assert statements.from_text(made.text().encode()) == made
        assert list(made.wire()) == ["jws", "item", "pos", "path"]


GOOD = batch(3)[1].wire()
NO_STATEMENTS = {
    "null": None,
    "a list": [GOOD],
    "a text": "x",
    "nothing": {},
    "a member too many": GOOD | {"kid": "x"},
    "no path": {name: GOOD[name] for name in ("jws", "item", "pos")},
    "jws no text": GOOD | {"jws": 5},
    "item an object": GOOD | {"item": {}},
    "item with a lone surrogate": GOOD | {"item": "\ud800"},
    "pos a text": GOOD | {"pos": "1"},
    "pos true": GOOD | {"pos": True},
    "pos a fraction": GOOD | {"pos": 1.0},
    "pos negative": GOOD | {"pos": -1},
    "pos out of bounds": GOOD | {"pos": 256},
    "path a text": GOOD | {"path": "x"},
    "path of numbers": GOOD | {"path": [1]},
    "path too long": GOOD | {"path": ["A" * 43] * 9},
}


@pytest.mark.parametrize("name", NO_STATEMENTS)
def test_anything_else_is_no_statement(name):
    with pytest.raises(ValueError, match=r"."):
        statements.from_wire(NO_STATEMENTS[name])


@pytest.mark.parametrize("text", ["", "{", "[]", '{"jws":"a","jws":"b"}', b"\xff"])
def test_a_text_that_holds_no_statement_is_an_error_of_value(text):
    with pytest.raises(ValueError, match=r"."):
        statements.from_text(text)


STRANGE_PAYLOADS = {
    "no iss": {"iss": None},
    "iss no text": {"iss": 5},
    "no ts": {"ts": None},
    "ts without zone": {"ts": "2026-11-22T00:16:31"},
    "no size": {"size": None},
    "size 0": {"size": 0},
    "size 257": {"size": 257},
    "size a text": {"size": "1"},
    "size true": {"size": True},
    "no root": {"root": None},
    "root without its prefix": {"root": "A" * 43},
    "root too short": {"root": "sha-256:" + "A" * 42},
    "root of another hash": {"root": "sha-512:" + "A" * 43},
    "root with set tail bits": {"root": "sha-256:" + "A" * 42 + "B"},
    "root a number": {"root": 5},
}


@pytest.mark.parametrize("name", STRANGE_PAYLOADS)
def test_a_payload_of_another_form_is_refused_though_it_is_signed(name):
    with pytest.raises(Refusal) as caught:
        verified(signed_payload(**STRANGE_PAYLOADS[name]))
    assert caught.value.code == "json"


def test_the_payload_these_changes_are_made_to_is_good():
    assert verified(signed_payload()).size == 1


def test_a_payload_that_is_no_object_is_refused():
    with pytest.raises(Refusal) as caught:
        verified(jws.sign(b"[]", typ=statements.ACK, signer=SIGNER).decode())
    assert caught.value.code == "json"


def test_a_statement_by_another_key_or_of_another_typ_is_refused():
    [made] = batch(1)
    with pytest.raises(Refusal) as caught:
        statements.verify_signature(made.jws, signer_named("other").public, typ=statements.ACK)
    assert caught.value.code == "signature"
    with pytest.raises(Refusal) as caught:
        statements.verify_signature(made.jws, SIGNER.public, typ=statements.RECEIPT)
    assert caught.value.code == "typ"
    with pytest.raises(Refusal) as caught:
        statements.kid_of(made.jws, typ=statements.RECEIPT)
    assert caught.value.code == "typ"


def test_a_statement_with_letters_outside_ascii_is_refused():
    with pytest.raises(Refusal) as caught:
        verified("é" + batch(1)[0].jws)
    assert caught.value.code == "base64"


def opened(**changes: object) -> dict[str, object]:
    found = statements.from_wire(GOOD | changes)
    return statements.open_item(found, verified(found.jws))


DRESSED = {
    "another item": ({"item": '{"env":"x","outcome":"accepted"}'}, "signature"),
    "the item with a space": ({"item": GOOD["item"] + " "}, "signature"),
    "another position": ({"pos": 0}, "signature"),
    "a position beyond the batch": ({"pos": 3}, "signature"),
    "no path": ({"path": []}, "signature"),
    "a path too long": ({"path": [*GOOD["path"], "A" * 43]}, "signature"),
    "a path turned round": ({"path": GOOD["path"][::-1]}, "signature"),
    "a step too short": ({"path": [GOOD["path"][0], "AAAA"]}, "signature"),
    "a step in no base64url": ({"path": [GOOD["path"][0], "=" * 43]}, "base64"),
}


@pytest.mark.parametrize("name", DRESSED)
def test_an_item_that_is_not_under_the_signed_root_does_not_open(name):
    changes, code = DRESSED[name]
    with pytest.raises(Refusal) as caught:
        opened(**changes)
    assert caught.value.code == code


@pytest.mark.parametrize("item", [b"[]", b"x", b'{"env":"a","env":"b"}'])
def test_an_item_that_is_no_strict_object_does_not_open(item):
    [made] = statements.sign_batch([item], HEAD, typ=statements.ACK, signer=SIGNER)
    with pytest.raises(Refusal) as caught:
        statements.open_item(made, verified(made.jws))
    assert caught.value.code == "json"


def test_an_inner_node_of_the_tree_is_no_item():
    """The leaf prefix keeps a node of a batch from being shown as an item."""
    made = batch(2)
    node = b"".join(merkle.leaf_hash(item) for item in items(2))
    assert merkle.leaf_hash(node) != verified(made[0].jws).root


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (statements.ack_item("sha-256:x", "accepted"), b'{"env":"sha-256:x","outcome":"accepted"}'),
        (
            statements.ack_item("sha-256:x", "rejected", code="schema", pointer="/fullName"),
            b'{"env":"sha-256:x","outcome":"rejected","code":"schema","pointer":"/fullName"}',
        ),
    ],
)
def test_an_ack_s_item_leaves_out_what_is_empty(made, expected):
    assert made == expected


def test_heads_have_their_members_in_the_protocol_s_order():
    receipt = statements.receipt_head(gateway=GATEWAY, at=NOW, log=LOG, policy=2)
    assert list(receipt) == ["iss", "ts", "log", "policy"]
    assert list(HEAD) == ["iss", "ts"]
    assert verified(signed_payload(log=LOG, policy=2)).payload["policy"] == 2


def test_an_authorization_states_the_call_and_lives_a_minute():
    compact = statements.sign_auth(
        signer=SIGNER, iss=FISHERIES, aud=BUS, method="POST", path="/v1/acks?x=1", body=b"{}", at=NOW, jti="j-1"
    )
    parsed = jws.parse(compact.encode(), typ=statements.AUTH)
    claims = strictjson.parse_object(parsed.payload)
    assert list(claims) == ["iss", "aud", "method", "path", "hash", "iat", "exp", "jti"]
    assert claims["exp"] - claims["iat"] == 60
    assert claims["iat"] == int(NOW.timestamp())
    assert claims["hash"] == jws.hash_of(b"{}")


def test_a_directory_statement_does_not_depend_on_the_order_of_the_records():
    stated = {"signer": SIGNER, "bus": BUS, "version": 1, "prev": "", "at": NOW}
    assert statements.sign_directory([b"b", b"a"], **stated) == statements.sign_directory([b"a", b"b"], **stated)


def test_a_directory_statement_s_time_is_utc_whatever_zone_it_is_given_in():
    hanoi = datetime(2026, 11, 22, 7, 0, tzinfo=timezone(timedelta(hours=7)))
    compact = statements.sign_directory([b"a"], signer=SIGNER, bus=BUS, version=1, prev="", at=hanoi)
    payload = strictjson.parse_object(jws.parse(compact, typ=statements.DIRECTORY).payload)
    assert payload["ts"] == "2026-11-22T00:00:00Z"
    assert datetime.fromisoformat(payload["ts"]) == hanoi.astimezone(UTC)


def test_a_receipt_names_the_version_of_the_directory_it_was_given_under():
    head = statements.receipt_head(gateway=GATEWAY, at=NOW, log=LOG, policy=7)
    [receipt] = statements.sign_batch([b"{}"], head, typ=statements.RECEIPT, signer=SIGNER)
    assert statements.policy_of(receipt.jws) == 7


def compact_of(payload: bytes) -> str:
    return f"e30.{base64url.encode(payload)}.e30"


NO_VERSION = {
    "nothing": "",
    "one part": "e30",
    "no base64url": "e30.=.e30",
    "no JSON": compact_of(b"{"),
    "no object": compact_of(b"[7]"),
    "no version": compact_of(b"{}"),
    "version 0": compact_of(b'{"policy":0}'),
    "true": compact_of(b'{"policy":true}'),
    "a text": compact_of(b'{"policy":"7"}'),
}


@pytest.mark.parametrize("name", NO_VERSION)
def test_a_receipt_that_names_no_version_is_refused(name):
    with pytest.raises(Refusal) as caught:
        statements.policy_of(NO_VERSION[name])
    assert caught.value.code == "receipt_invalid"
