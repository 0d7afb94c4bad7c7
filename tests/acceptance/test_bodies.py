"""`lgsp bodies` and an archived body, by command: what the registrar's file says stays, is evidence, and is erased with its day."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing

import pytest

from lgsp import app
from lgsp.config import Settings
from lgsp.datafolder import DataFolder, hold
from lgsp.domain import sealing, statements
from lgsp.keyfiles import read_private, read_secret
from lgsp.machine import SystemClock

ANSWERER = "urn:lgsp:agency:H01.99:sys:answerer"
OLD = "2026-01-02"
NONCE = bytes(sealing.NONCE_BYTES)


async def exchange(data, wire):
    """Have the bus of a data folder accept an envelope, and its receiver take it over."""
    async with app.open_bus(Settings.load(data)) as bus:
        await bus.ingress.submit(wire, peer="test")
        head = statements.ack_head(system=ANSWERER, at=SystemClock().now())
        signer = read_private(data / "systems/H01.99-answerer/key.pem")
        [ack] = statements.sign_batch(
            [statements.ack_item(wire.hash, "accepted")], head, typ=statements.ACK, signer=signer
        )
        await bus.settlement.acknowledge(ANSWERER, ack)


def grow_old(data):
    """Let the body, and the key that sealed it, be those of a day long past; return the wrapped key."""
    with closing(sqlite3.connect(data / "bus.sqlite")) as ledger, ledger:
        [[today, wrapped]] = ledger.execute("SELECT day, wrapped FROM body_key").fetchall()
        wrap = read_secret(data / "keys/body.key")
        old = sealing.seal(wrap, OLD, sealing.open_sealed(wrap, today, wrapped), NONCE)
        ledger.execute("UPDATE body_key SET day = ?, wrapped = ?", (OLD, old))
        assert ledger.execute("UPDATE body SET day = ?", (OLD,)).rowcount == 1
    return old


@pytest.fixture
def archived(province, question, lgsp):
    """A data folder with one archived body of a day long past, its envelope, and the day's wrapped key."""
    directory = province.parent / "directory.toml"
    directory.write_text(directory.read_text().replace("[[service]]\n", "[[service]]\narchive_days = 400\n"))
    applied = lgsp("directory", "apply", directory, "--data", province)
    assert (applied.code, "archive_days" in applied.out + applied.err) == (0, True), applied.err
    wire = question()
    with hold(DataFolder(root=province)):
        asyncio.run(exchange(province, wire))
    return province, wire, grow_old(province)


def shown(lgsp, data, wire, file):
    ended = lgsp(
        "audit", "prove", wire.hash, "-o", data.parent / file, "--data", data, "--with-body", "--reason", "case 7"
    )
    assert ended.code == 0, ended.err
    return json.loads((data.parent / file).read_text())["message"].get("body")


def days(lgsp, data):
    return json.loads(lgsp("bodies", "list", "--data", data, "--json").out)["days"]


def test_an_archived_body_is_listed_is_evidence_and_is_erased_with_its_day(archived, lgsp):
    data, wire, wrapped = archived
    assert days(lgsp, data) == [{"day": OLD, "in_flight": 0, "parked": 0, "archived": 1, "key": True}]
    assert [OLD in (table := lgsp("bodies", "list", "--data", data)).out, "kept" in table.out] == [True, True]
    assert shown(lgsp, data, wire, "before.json")
    ended = lgsp("bodies", "destroy", OLD, "--data", data, "--reason", "asked for by the agency")
    assert (ended.code, f"destroyed the key of {OLD}" in ended.err) == (0, True), ended.err
    assert shown(lgsp, data, wire, "after.json") is None
    assert not any(wrapped in left.read_bytes() for left in data.glob("bus.sqlite*"))
    assert OLD not in {each["day"] for each in days(lgsp, data)}
    assert lgsp("audit", "verify", "--data", data).code == 0
    found = lgsp("audit", "search", "--data", data, "--event", "admin.body.key.destroyed", "--format", "jsonl").out
    entry = json.loads(found)
    assert (entry["obj"], entry["by"], entry["reason"]) == (OLD, "local", "asked for by the agency")


@pytest.mark.parametrize(
    ("day", "code"), [("2026-01-03", "not_found"), ("2999-01-01", "day_not_over"), ("yesterday", "bad_request")]
)
def test_a_day_that_cannot_be_erased_is_refused_and_nothing_changes(archived, lgsp, day, code):
    data, *_ = archived
    ended = lgsp("bodies", "destroy", day, "--data", data, "--reason", "asked for")
    assert (ended.code != 0, f"[{code}]" in ended.err) == (True, True), ended.err
    assert [each["day"] for each in days(lgsp, data)] == [OLD]
