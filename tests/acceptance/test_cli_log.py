"""`lgsp audit` and `lgsp check`: a sound log verifies, a changed one is found and its first bad index named, proofs hold for outsiders."""

import asyncio
import json
import sqlite3
from datetime import timedelta

import pytest

from lgsp import app, keyfiles
from lgsp.config import Settings
from lgsp.datafolder import DataFolder, hold
from lgsp.domain import base64url, envelope, merkle
from lgsp.machine import SystemClock, SystemEntropy

ASKER, ANSWERER = "urn:lgsp:agency:H01.99:sys:asker", "urn:lgsp:agency:H01.99:sys:answerer"


def sign(province, body=b'{"a":1}', **changes):
    """An envelope of the asking system."""
    now = SystemClock().now()
    attributes = {
        "specversion": "1.0",
        "id": SystemEntropy().uuid7(),
        "source": ASKER,
        "type": "vn.lgsp.examples.record.ask.v1",
        "time": envelope.format_time(now),
        "recordedtime": envelope.format_time(now),
        "expirytime": envelope.format_time(now + timedelta(hours=1)),
        "audience": ANSWERER,
        "dataschema": "urn:lgsp:schema:examples:record:1.0.0",
        "purpose": "example",
    }
    key = keyfiles.read_private(province / "systems/H01.99-asker/key.pem")
    return envelope.sign(attributes | changes, body, key)


async def _submit(province, wires):
    async with app.open_bus(Settings.load(province)) as bus:
        return [await bus.ingress.submit(wire, peer="test") for wire in wires]


@pytest.fixture
def exchanged(province):
    """A folder whose log ends in three accepted envelopes."""
    with hold(DataFolder(root=province)):
        asyncio.run(_submit(province, [sign(province) for _ in range(3)]))
    return province


def rows(data, sql, *values):
    ledger = sqlite3.connect(data / "bus.sqlite")
    try:
        with ledger:
            return ledger.execute(sql, values).fetchall()
    finally:
        ledger.close()


def accepted(data):
    """Index and bytes of the accepting entries."""
    found = rows(data, "SELECT seq, data FROM entry ORDER BY seq")
    return [(seq, entry) for seq, entry in found if json.loads(entry)["ev"] == "msg.accepted"]


def replace(data, seq, entry, *, with_leaf):
    rows(data, "UPDATE entry SET data = ? WHERE seq = ?", entry, seq)
    if with_leaf:
        rows(data, "UPDATE entry SET leaf = ? WHERE seq = ?", merkle.leaf_hash(entry), seq)


def test_a_sound_log_verifies(exchanged, lgsp):
    ended = lgsp("audit", "verify", "--data", exchanged)
    assert ended.code == 0, ended.err
    assert "3 receipts" in ended.out


@pytest.mark.parametrize("with_leaf", [False, True], ids=["entry alone", "entry and its hash"])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_changed_entry_is_found_and_its_index_named(exchanged, lgsp, which, with_leaf):
    index, entry = accepted(exchanged)[which]
    replace(exchanged, index, entry.replace(b"example", b"examplf"), with_leaf=with_leaf)
    ended = lgsp("audit", "verify", "--data", exchanged)
    assert ended.code == 3
    assert f"index {index}:" in ended.err
    assert ended.err.startswith("lgsp: [log_broken]")


def test_processes_beside_each_other_find_the_same(exchanged, lgsp):
    alone, together = (lgsp("audit", "verify", "--data", exchanged, "--processes", count) for count in (1, 2))
    assert (together.code, together.out) == (0, alone.out)
    index, entry = accepted(exchanged)[1]
    replace(exchanged, index, entry.replace(b"example", b"examplf"), with_leaf=True)
    alone, together = (lgsp("audit", "verify", "--data", exchanged, "--processes", count) for count in (1, 2))
    assert f"index {index}:" in alone.err
    assert (together.code, together.err) == (3, alone.err)


def test_a_changed_entry_without_receipt_is_found_by_the_signed_root(exchanged, lgsp):
    [(index, entry)] = rows(exchanged, "SELECT seq, data FROM entry WHERE seq = 0")
    replace(exchanged, index, entry.replace(b"2026", b"2027"), with_leaf=True)
    ended = lgsp("audit", "verify", "--data", exchanged)
    assert (ended.code, "root" in ended.err) == (3, True)


def test_a_log_that_was_cut_short_is_found_at_its_end(exchanged, lgsp):
    [(size,)] = rows(exchanged, "SELECT max(seq) FROM entry")
    rows(exchanged, "DELETE FROM entry WHERE seq = ?", size)
    ended = lgsp("audit", "verify", "--data", exchanged)
    assert (ended.code, f"index {size}:" in ended.err) == (3, True)


def test_a_checkpoint_of_another_key_is_found(exchanged, lgsp, tmp_path):
    lgsp("init", "--data", tmp_path / "other", "--origin", "lgsp.example.vn/91/2026")
    [(foreign,)] = rows(tmp_path / "other", "SELECT note FROM checkpoint ORDER BY size DESC LIMIT 1")
    rows(exchanged, "UPDATE checkpoint SET note = ?", foreign)
    ended = lgsp("audit", "verify", "--data", exchanged)
    assert (ended.code, "no known key" in ended.err) == (3, True)


def test_a_changed_directory_version_is_found(exchanged, lgsp):
    statement = rows(exchanged, "SELECT statement FROM directory_version WHERE version = 1")[0][0]
    rows(exchanged, "UPDATE directory_version SET statement = ? WHERE version = 1", statement[:-4] + b"AAAA")
    ended = lgsp("audit", "verify", "--data", exchanged)
    assert (ended.code, "version 1 of the directory" in ended.err) == (3, True)


def test_an_exported_proof_holds_for_an_outsider(exchanged, lgsp, tmp_path):
    index, entry = accepted(exchanged)[1]
    assert lgsp("audit", "prove", index, "-o", tmp_path / "p", "--data", exchanged).code == 0
    ended = lgsp("audit", "check", tmp_path / "p", "--trust", exchanged / "trust.json")
    assert (ended.code, ended.out.encode().rstrip(b"\n")) == (0, entry)
    assert f"number {index} of" in ended.err
    (tmp_path / "entry").write_bytes(entry)
    check = ("audit", "check", tmp_path / "p", "--trust", exchanged / "trust.json", "--entry", tmp_path / "entry")
    assert lgsp(*check).code == 0
    (tmp_path / "entry").write_bytes(entry + b" ")
    assert lgsp(*check).code == 3


def test_a_changed_proof_fails_with_its_own_exit_code(exchanged, lgsp, tmp_path):
    lgsp("audit", "prove", "1", "-o", tmp_path / "p", "--data", exchanged)
    text = (tmp_path / "p").read_text()
    for number, changed in enumerate(
        (text.replace("index 1", "index 2"), text[:-10], "", text.replace("extra e", "extra f"))
    ):
        path = tmp_path / f"p{number}"
        path.write_text(changed)
        ended = lgsp("audit", "check", path, "--trust", exchanged / "trust.json")
        assert (ended.code, ended.err.startswith("lgsp: [log_broken]")) == (3, True)


@pytest.mark.parametrize(
    ("name", "code"),
    [("99999", "not_found"), ("sha-256:" + "A" * 43, "not_found"), ("one", "bad_request"), ("٣", "bad_request")],
)
def test_a_proof_of_what_is_not_there_is_refused(exchanged, lgsp, tmp_path, name, code):
    ended = lgsp("audit", "prove", name, "-o", tmp_path / "p", "--data", exchanged)
    assert f"[{code}]" in ended.err
    assert not (tmp_path / "p").exists()


def test_a_proof_overwrites_nothing(exchanged, lgsp, tmp_path):
    (tmp_path / "p").write_text("mine")
    ended = lgsp("audit", "prove", "0", "-o", tmp_path / "p", "--data", exchanged)
    assert "[file_exists]" in ended.err
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


# --- check --------------------------------------------------------------------------------------------------------------------------


def write(folder, wire):
    path = folder / "envelope.json"
    path.write_text(json.dumps(wire.structured()))
    return path


def forged(province):
    wire = sign(province)
    return envelope.Wire(compact=wire.compact[:-8] + b"AAAAAAAA"[:8], body=wire.body)


CHECKED = {
    "sound": (sign, 14, None),
    "forged": (forged, 7, "signature"),
    "other body": (lambda p: envelope.Wire(compact=sign(p).compact, body=b"{}"), 10, "datahash"),
    "another's name": (lambda p: sign(p, source=ANSWERER), 9, "source_not_owned"),
    "expired": (lambda p: sign(p, expirytime="2026-01-01T00:00:00Z"), 12, "expired"),
    "long life": (lambda p: sign(p, expirytime="2099-01-01T00:00:00Z"), 12, "life_too_long"),
    "purpose": (lambda p: sign(p, purpose="marketing"), 13, "purpose_not_granted"),
    "schema": (lambda p: sign(p, body=b"[]"), 14, "schema"),
    "body": (lambda p: sign(p, body=b"{"), 14, "body_json"),
}


@pytest.mark.parametrize(("make", "last", "code"), CHECKED.values(), ids=CHECKED.keys())
def test_check_gives_the_bus_s_verdict_step_by_step(province, lgsp, make, last, code):
    wire = make(province)
    ended = lgsp("check", write(province.parent, wire), "--data", province)
    steps = [line for line in ended.out.splitlines() if line[:1] in "✓✗"]
    assert len(steps) == last
    assert steps[-1].startswith("✓" if code is None else "✗")
    assert ended.code == (0 if code is None else 1)
    assert (f"[{code}]" in ended.err) == (code is not None)
    assert wire.hash in ended.out


def test_check_knows_what_was_accepted_before(province, lgsp):
    wire = sign(province)
    other = sign(province, b'{"a":2}', id=json.loads(base64url.decode(wire.compact.split(b".")[1]))["id"])
    with hold(DataFolder(root=province)):
        asyncio.run(_submit(province, [wire]))
    again = lgsp("check", write(province.parent, wire), "--data", province)
    assert (again.code, "accepted before" in again.out) == (0, True)
    assert "[id_conflict]" in lgsp("check", write(province.parent, other), "--data", province).err


def test_check_judges_by_another_time(province, lgsp):
    path = write(province.parent, sign(province))
    ended = lgsp("check", path, "--data", province, "--at", "2036-01-01T00:00:00+0700")
    assert (ended.code, "[expired]" in ended.err) == (1, True)


@pytest.mark.parametrize("content", ["", "[]", '{"protected":"a"}', "not json"])
def test_check_refuses_what_is_no_envelope(province, lgsp, content):
    (province.parent / "envelope.json").write_text(content)
    ended = lgsp("check", province.parent / "envelope.json", "--data", province)
    assert (ended.code, "[structured]" in ended.err) == (1, True)


SPOILT = {
    "a line break after hashing": (
        lambda p: envelope.Wire(compact=sign(p).compact, body=sign(p).body + b"\n"),
        ["what was hashed: the body without its last line break"],
    ),
    "a space in the header": (
        lambda p: with_header(sign(p), lambda header: header.replace(b'","', b'", "', 1)),
        ["header: differs at byte 17", "received {", "expected {"],
    ),
    "a signature that is cut": (
        lambda p: with_signature(sign(p), lambda signature: signature[:-3]),
        ["signed bytes", "signature: 61 bytes instead of 64", "key: ", ASKER],
    ),
    "another's name": (lambda p: sign(p, source=ANSWERER), [f"Ed25519, {ASKER}"]),
    "padding": (
        lambda p: envelope.Wire(compact=sign(p).compact + b"=", body=b""),
        ["signature: no base64url at byte 86"],
    ),
}


def with_signature(wire, change):
    signed, _, signature = wire.compact.rpartition(b".")
    spoilt = base64url.encode(change(base64url.decode(signature))).encode()
    return envelope.Wire(compact=signed + b"." + spoilt, body=wire.body)


def with_header(wire, change):
    protected, rest = wire.compact.split(b".", 1)
    spoilt = base64url.encode(change(base64url.decode(protected))).encode()
    return envelope.Wire(compact=spoilt + b"." + rest, body=wire.body)


@pytest.mark.parametrize(("make", "said"), SPOILT.values(), ids=SPOILT.keys())
def test_check_says_where_an_envelope_parts_from_what_was_expected(province, lgsp, make, said):
    ended = lgsp("check", write(province.parent, make(province)), "--data", province)
    assert ended.code == 1
    assert [words for words in said if words not in ended.out] == []


def test_check_asks_a_gateway_and_says_the_same(province, gateway, lgsp, tmp_path):
    sound = write(province.parent, sign(province))
    near = lgsp("check", sound, "--data", province)
    far = lgsp("check", sound, "--url", gateway, "--data", tmp_path / "none")
    assert (far.code, far.out) == (near.code, near.out) == (0, near.out)
    spoilt = write(province.parent, SPOILT["a line break after hashing"][0](province))
    ended = lgsp("check", spoilt, "--url", gateway + "/")
    assert (ended.code, "[datahash]" in ended.err) == (1, True)
    assert "the body without its last line break" in ended.out


def test_check_at_another_time_asks_no_gateway(province, lgsp):
    path = write(province.parent, sign(province))
    ended = lgsp("check", path, "--url", "http://127.0.0.1:1", "--at", "2036-01-01T00:00:00+0700")
    assert (ended.code, "[bad_request]" in ended.err) == (2, True)


def test_check_without_a_gateway_at_the_address_is_told(province, lgsp):
    ended = lgsp("check", write(province.parent, sign(province)), "--url", "http://127.0.0.1:1")
    assert (ended.code, "[unavailable]" in ended.err) == (2, True)


def test_check_of_a_missing_file_is_told(province, lgsp):
    ended = lgsp("check", province.parent / "none.json", "--data", province)
    assert (ended.code, "[data_missing]" in ended.err) == (2, True)
