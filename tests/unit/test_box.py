"""The box: grouped transactions, what is in them together, what survives, and who may hold it."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import threading
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from lgsp.domain import statements
from lgsp.errors import Defect, Refusal, Unusable
from lgsp.sdk import box as box_module
from lgsp.sdk import box_schema, marks, outbox, rollback
from lgsp.sdk.box import Box
from lgsp.sdk.message import Tables
from lgsp.testing.world import FISHERIES, NDXP, NOW, VERIFY, World, manifest_of

UNTIL = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.fixture(scope="module")
def world():
    return World.make()


@pytest.fixture
def sign(world):
    def signed(items):
        head = statements.ack_head(system=NDXP, at=world.now)
        return statements.sign_batch(items, head, typ=statements.ACK, signer=world.signers["ndxp"])

    return signed


@pytest.fixture
async def box(tmp_path, sign):
    found = Box.open(tmp_path / "box.sqlite", sign=sign)
    yield found
    await found.close()


def letter(world, number, key=None):
    wire = world.envelope(number=number)
    manifest = manifest_of(wire)
    return outbox.Letter(
        id=manifest.id, key=key, env=wire.hash, source=FISHERIES, type=manifest.type, audience=manifest.audience,
        compact=wire.compact, body=wire.body, until=UNTIL,
    )  # fmt: skip


def add(world, number, key=None):
    made = letter(world, number, key)
    return lambda writing: outbox.add(writing, made)


def bodies(box):
    return [body for (body,) in box.reader.execute("SELECT body FROM lgsp_outbox ORDER BY seq")]


def outcome_of(sent, state):
    return outbox.Outcome(id=sent.id, key=sent.key, type=VERIFY, env=sent.env, to=NDXP, state=state)


def settle(wire):
    item = statements.ack_item(wire.hash, "accepted")
    return lambda writing: marks.settle(writing, manifest_of(wire), wire.hash, item)


async def test_a_box_is_readable_by_its_user_alone(box):
    assert stat.S_IMODE(box.path.stat().st_mode) == 0o600


async def test_a_second_process_may_not_hold_the_box(box, sign):
    with pytest.raises(Unusable) as caught:
        Box.open(box.path, sign=sign)
    assert caught.value.code == "data_locked"


async def test_a_file_that_is_no_database_is_named(tmp_path, sign):
    (tmp_path / "odd.sqlite").write_bytes(b"this is no database, and long enough to be looked at" * 40)
    with pytest.raises(Unusable, match=r"odd\.sqlite"):
        Box.open(tmp_path / "odd.sqlite", sign=sign)


@pytest.mark.parametrize("file", ["box.sqlite", "box.sqlite.lock"])
async def test_a_place_that_something_else_takes_is_named(tmp_path, sign, file):
    (tmp_path / file).mkdir()
    with pytest.raises(Unusable, match="Is a directory") as caught:
        Box.open(tmp_path / "box.sqlite", sign=sign)
    assert caught.value.code == "data_unusable"


async def test_whoever_only_looks_may_do_so_while_the_box_is_held_and_makes_none(box, world, tmp_path):
    sent = await box.write(add(world, 1))
    with closing(box_schema.open_to_look(box.path)) as looking:
        assert [row.id for row in outbox.queued_after(looking, 0, 10)] == [sent.id]
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            looking.execute("DELETE FROM lgsp_outbox")
    with pytest.raises(Unusable) as caught:
        box_schema.open_to_look(tmp_path / "nowhere.sqlite")
    assert caught.value.code == "data_missing"


async def test_a_box_of_a_newer_version_is_left_alone(tmp_path, sign):
    with sqlite3.connect(tmp_path / "box.sqlite") as newer:
        newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(Unusable) as caught:
        Box.open(tmp_path / "box.sqlite", sign=sign)
    assert caught.value.code == "data_newer"


async def test_what_was_written_is_there_after_opening_again(tmp_path, world, sign):
    box = Box.open(tmp_path / "box.sqlite", sign=sign)
    sent = await box.write(add(world, 1, "one"))
    await box.close()
    box = Box.open(tmp_path / "box.sqlite", sign=sign)
    assert outbox.by_key(box.reader, "one") == sent
    assert [outgoing.compact for outgoing in outbox.queued_after(box.reader, 0, 10)] == [letter(world, 1).compact]
    await box.close()


async def test_one_key_goes_into_the_outbox_once_whoever_comes_first(box, world):
    first, second = await asyncio.gather(box.write(add(world, 1, "same")), box.write(add(world, 2, "same")))
    assert first == second
    assert len(outbox.queued_after(box.reader, 0, 10)) == 1


async def test_an_envelope_is_found_by_its_key_without_reading_those_that_have_none(box):
    plan = box.reader.execute(
        "EXPLAIN QUERY PLAN SELECT id FROM lgsp_outbox WHERE key = ? AND state <> 'refused'", ("k",)
    )
    assert [row[3] for row in plan] == ["SEARCH lgsp_outbox USING INDEX lgsp_outbox_key (key=?)"]


async def test_a_refusal_frees_the_key_and_is_shown_until_noticed(box, world):
    sent = await box.write(add(world, 1, "again"))
    outcome = outbox.Outcome(id=sent.id, key=None, type="t", env=sent.env, to="", state="refused", code="no_grant")
    await box.write(lambda writing: outbox.refused(writing, 1, outcome))
    assert outbox.by_key(box.reader, "again") is None
    assert [found.code for found in outbox.unnoticed(box.reader)] == ["no_grant"]
    await box.write(lambda writing: outbox.notice(writing, outcome))
    assert outbox.unnoticed(box.reader) == []


async def test_a_receipt_ends_the_sending_and_an_outcome_drops_the_body(box, world, sign):
    sent = await box.write(add(world, 1))
    receipt = sign([b'{"env":"x","index":7}'])[0]
    await box.write(lambda writing: outbox.receipted(writing, [(1, receipt.text())]))
    assert outbox.queued_after(box.reader, 0, 10) == []
    assert outbox.by_id(box.reader, sent.id).receipt == receipt
    assert bodies(box) == [letter(world, 1).body]
    await box.write(lambda writing: outbox.settled(writing, [outcome_of(sent, "parked")]))
    assert bodies(box) == [letter(world, 1).body]
    await box.write(lambda writing: outbox.settled(writing, [outcome_of(sent, "acked")]))
    assert bodies(box) == [None]


@pytest.mark.parametrize(
    ("keeps", "acked", "rejected", "answered"),
    [("outcome", True, True, True), ("reply", False, True, True), ("expiry", False, False, True)],
)
async def test_a_body_is_kept_for_as_long_as_the_bus_may_have_to_be_told_again(
    keeps, acked, rejected, answered, box, world, sign
):
    for number, (state, is_dropped) in enumerate([("acked", acked), ("rejected", rejected), ("answered", answered)], 1):
        made = replace(letter(world, number), keeps=keeps)
        sent = await box.write(lambda writing, made=made: outbox.add(writing, made))
        receipt = sign([b'{"env":"x","index":7}'])[0].text()
        await box.write(lambda writing, seq=number, text=receipt: outbox.receipted(writing, [(seq, text)]))
        if state == "answered":
            await box.write(lambda writing, sent=sent: outbox.answered(writing, sent.id))
        else:
            found = outcome_of(sent, state)
            await box.write(lambda writing, found=found: outbox.settled(writing, [found]))
        assert (bodies(box)[-1] is None) is is_dropped


async def test_what_has_no_end_goes_out_again_when_the_bus_has_lost_it(box, world, sign):
    ended, again, late = [await box.write(add(world, number)) for number in (1, 2, 3)]
    for seq in (1, 2, 3):
        receipt = sign([b'{"env":"%b","index":%d}' % (again.env.encode(), seq)])[0].text()
        await box.write(lambda writing, seq=seq, text=receipt: outbox.receipted(writing, [(seq, text)]))
    await box.write(lambda writing: outbox.settled(writing, [outcome_of(ended, "acked")]))
    assert outbox.newest(box.reader, NOW) == again.env
    before = outbox.by_id(box.reader, again.id).receipt
    found = await box.write(lambda writing: rollback.repeat(writing, NOW))
    assert (found.again, len(found.over)) == (2, 0)
    waiting = outbox.queued_after(box.reader, 0, 10)
    assert [(each.id, each.body) for each in waiting] == [
        (sent.id, letter(world, number).body) for sent, number in ((again, 2), (late, 3))
    ]
    assert [each.receipt for each in outbox.receipts(box.reader) if each.id == again.id] == [before.text()]
    assert outbox.newest(box.reader, NOW) is None


async def test_the_bus_is_asked_of_its_last_receipt_though_that_envelope_is_over(box, world, sign):
    sent = await box.write(add(world, 1))
    receipt = sign([b'{"env":"%b","index":1}' % sent.env.encode()])[0].text()
    await box.write(lambda writing: outbox.receipted(writing, [(1, receipt)]))
    until = letter(world, 1).until
    assert outbox.newest(box.reader, until + timedelta(days=28)) == sent.env
    assert outbox.newest(box.reader, until + timedelta(days=30)) is None  # the bus may have forgotten it in good order


async def test_what_has_expired_is_told_of_instead_of_repeated(box, world, sign):
    sent = await box.write(add(world, 1, key="k"))
    receipt = sign([b'{"env":"x","index":1}'])[0].text()
    await box.write(lambda writing: outbox.receipted(writing, [(1, receipt)]))
    found = await box.write(lambda writing: rollback.repeat(writing, NOW + timedelta(minutes=10)))
    assert (found.again, len(found.over)) == (0, 1)
    [told] = outbox.unnoticed(box.reader)
    assert (told.id, told.state, told.code) == (sent.id, "expired", "log_rolled_back")
    assert outbox.by_key(box.reader, "k").id == sent.id


OUTCOMES_BY_ENV = """\
CREATE TABLE lgsp_outcomes (env TEXT NOT NULL, receiver TEXT NOT NULL, state TEXT NOT NULL, code TEXT NOT NULL,
  pointer TEXT NOT NULL, ack TEXT, noticed INTEGER NOT NULL, PRIMARY KEY (env, receiver)) STRICT, WITHOUT ROWID;
CREATE INDEX lgsp_outcomes_unnoticed ON lgsp_outcomes (env) WHERE noticed = 0;
"""
KEEPS = ",\n  keeps TEXT NOT NULL DEFAULT 'outcome' CHECK (keeps IN ('outcome', 'reply', 'expiry'))"


def make_old_box(path, version):
    tables = box_schema.TABLES.replace(box_schema.OUTCOMES, OUTCOMES_BY_ENV)
    if version == 1:
        tables = tables.replace(KEEPS, "").replace(box_schema.OF_LOST_RECEIPTS, "")
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(tables)
        connection.execute(
            "INSERT INTO lgsp_outbox (id, env, source, type, audience, compact, state, until)"
            " VALUES ('i', 'e', 's', 't', 'a', x'', 'receipted', 0)"
        )
        connection.execute("INSERT INTO lgsp_outcomes VALUES ('e', 'r', 'rejected', 'c', '/p', NULL, 0)")
        connection.execute(f"PRAGMA user_version = {version}")
        connection.commit()


def shape_of(box):
    tables = [name for (name,) in box.reader.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1")]
    indexes = box.reader.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' ORDER BY 1").fetchall()
    return {name: box.reader.execute(f"PRAGMA table_info({name})").fetchall() for name in tables}, indexes


@pytest.mark.parametrize("version", [1, 2])
async def test_a_box_of_a_version_before_is_brought_up_to_the_same_tables_and_keeps_what_is_in_it(
    tmp_path, sign, box, version
):
    make_old_box(tmp_path / "old.sqlite", version)
    old = Box.open(tmp_path / "old.sqlite", sign=sign)
    try:
        assert shape_of(old) == shape_of(box)
        kept = outbox.Outcome(id="i", key=None, type="t", env="e", to="r", state="rejected", code="c", pointer="/p")
        assert outbox.unnoticed(old.reader) == [kept]
    finally:
        await old.close()


async def test_an_outcome_of_what_is_not_in_the_outbox_is_not_kept(box, world):
    sent = await box.write(add(world, 1))
    stranger = replace(outcome_of(sent, "acked"), env="sha-256:stranger")
    await box.write(lambda writing: outbox.settled(writing, [stranger, outcome_of(sent, "acked")]))
    assert box.reader.execute("SELECT seq, receiver, state FROM lgsp_outcomes").fetchall() == [(1, NDXP, "acked")]


async def test_an_operation_that_fails_leaves_nothing_and_the_others_stand(box, world):
    def failing(writing):
        outbox.add(writing, letter(world, 2))
        raise LookupError("no")

    found = await asyncio.gather(
        box.write(add(world, 1)), box.write(failing), box.write(add(world, 3)), return_exceptions=True
    )
    assert isinstance(found[1], LookupError)
    assert [row.id for row in outbox.queued_after(box.reader, 0, 10)] == [found[0].id, found[2].id]


async def test_a_sure_operation_that_refuses_before_it_writes_leaves_the_others_standing(box, world):
    def refusing(_):
        raise Refusal("id_conflict")

    first, refused, third = await asyncio.gather(
        box.write(add(world, 1), sure=True),
        box.write(refusing, sure=True),
        box.write(add(world, 3), sure=True),
        return_exceptions=True,
    )
    assert (first.state, refused.code, third.state) == ("queued", "id_conflict", "queued")
    assert box.reader.execute("SELECT count(*) FROM lgsp_outbox").fetchone() == (2,)


async def test_a_sure_operation_that_fails_takes_along_what_goes_with_it_and_nothing_of_it_is_kept(box, world):
    told = []
    box.on_commit = told.append

    def failing(writing):
        outbox.add(writing, letter(world, 2))
        raise sqlite3.OperationalError("disk I/O error")

    with_it = await asyncio.gather(
        box.write(add(world, 1), sure=True), box.write(failing, sure=True), box.write(add(world, 3)),
        return_exceptions=True,
    )  # fmt: skip
    assert [type(each) for each in with_it] == [sqlite3.OperationalError] * 3
    assert (bodies(box), told) == ([], [])
    after = await box.write(add(world, 1), sure=True)
    assert [row.id for row in outbox.queued_after(box.reader, 0, 10)] == [after.id]


async def test_what_a_failed_operation_queued_is_not_sent(box, world):
    told = []
    box.on_commit = told.append

    def failing(writing):
        outbox.add(writing, letter(world, 2))
        writing.acks.append(("nobody", b"{}"))
        raise LookupError("no")

    with pytest.raises(LookupError):
        await box.write(failing)
    assert told == []


async def test_acks_of_one_transaction_share_a_signature_and_are_stored_with_their_marks(box, world):
    told = []
    box.on_commit = told.append
    wires = [world.envelope(number=number) for number in range(1, 301)]
    gate = asyncio.gather(*(box.write(settle(wire)) for wire in wires))
    await gate
    stored = [statements.from_text(marks.find(box.reader, [wire.hash])[wire.hash].statement) for wire in wires]
    assert len({statement.jws for statement in stored}) < 30
    for statement, wire in zip(stored, wires, strict=True):
        signed = statements.verify_signature(statement.jws, world.signers["ndxp"].public, typ=statements.ACK)
        assert statements.open_item(statement, signed) == {"env": wire.hash, "outcome": "accepted"}
    sent = [ack for committed in told for ack in committed.acks]
    assert sent == [(wire.hash, statement.text()) for wire, statement in zip(wires, stored, strict=True)]


async def test_an_envelope_is_settled_once(box, world):
    wire = world.envelope()
    await box.write(settle(wire))
    with pytest.raises(Exception, match="id_conflict"):
        await box.write(settle(wire))


async def test_another_envelope_of_the_same_id_is_refused(box, world):
    await box.write(settle(world.envelope(number=7)))
    with pytest.raises(Exception, match="id_conflict"):
        await box.write(settle(world.envelope(number=7, casefile="another")))


async def test_an_uncertain_mark_becomes_done_or_is_withdrawn(box, world):
    done, withdrawn = world.envelope(number=1), world.envelope(number=2)
    for wire in (done, withdrawn):
        await box.write(lambda writing, wire=wire: marks.begin(writing, manifest_of(wire), wire.hash))
    assert marks.find(box.reader, [done.hash])[done.hash].state == "uncertain"
    await box.write(settle(done))
    await box.write(lambda writing: marks.withdraw(writing, withdrawn.hash))
    assert marks.find(box.reader, [done.hash])[done.hash].state == "done"
    assert marks.find(box.reader, [withdrawn.hash]) == {}


async def test_marks_and_sent_envelopes_are_forgotten_after_their_time_but_never_what_is_still_to_go(box, world, sign):
    receipt = sign([b'{"env":"x","index":7}'])[0].text()
    wire = world.envelope(number=3)
    await box.write(settle(wire))
    sent, waiting = await box.write(add(world, 1)), await box.write(add(world, 2))
    await box.write(lambda writing: outbox.receipted(writing, [(1, receipt)]))
    late = datetime(2027, 1, 1, tzinfo=UTC)
    await box.write(lambda writing: (outbox.forget(writing, late, late), marks.forget(writing, late)))
    assert marks.find(box.reader, [wire.hash]) == {}
    assert outbox.by_id(box.reader, sent.id) is None
    assert outbox.by_id(box.reader, waiting.id) is not None


@pytest.mark.parametrize("sql", ["COMMIT", " begin immediate", "Rollback;", "SAVEPOINT x", "PRAGMA user_version = 9"])
async def test_a_program_cannot_end_the_transaction_of_the_box(box, sql):
    with pytest.raises(ValueError, match="has no place here"):
        await box.write(lambda writing: Tables(writing.connection).execute(sql))


async def test_a_transaction_that_was_ended_all_the_same_fails_as_a_whole(box, world):
    found = await asyncio.gather(
        box.write(lambda writing: writing.connection.execute("COMMIT")), return_exceptions=True
    )
    assert isinstance(found[0], Defect)
    assert (await box.write(add(world, 1))).state == "queued"


async def test_a_full_disk_is_told_to_whoever_waits_and_the_box_goes_on(box, world):
    await box.write(lambda writing: writing.connection.execute("CREATE TABLE own (data BLOB)"))
    await box.write(lambda writing: writing.connection.execute("PRAGMA max_page_count = 60"))
    with pytest.raises(sqlite3.OperationalError):
        await box.write(lambda writing: writing.connection.execute("INSERT INTO own VALUES (?)", (os.urandom(10**6),)))
    assert (await box.write(add(world, 1))).state == "queued"


async def test_a_fault_of_one_who_is_told_keeps_nobody_else_waiting(box, world):
    def fault(_):
        raise LookupError

    box.on_commit = fault
    box.post(add(world, 1), done=fault)
    assert (await box.write(add(world, 2))).state == "queued"


def ids(box):
    return [row.id for row in outbox.queued_after(box.reader, 0, 10)]


async def until(true):
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.001)


async def test_a_lazy_operation_goes_along_with_the_next_one_in_one_transaction(box, world, monkeypatch):
    monkeypatch.setattr(box_module, "LAZY_SECONDS", 3600.0)
    told, stored = [], []
    box.on_commit = told.append
    box.post(add(world, 1), done=stored.append, lazy=True)
    await asyncio.sleep(0)
    assert ids(box) == stored == []
    sent = await box.write(add(world, 2))
    assert [row.id for row in told[0].queued] == ids(box) == [letter(world, 1).id, sent.id]
    assert [found.id for found in stored] == [letter(world, 1).id]
    assert len(told) == 1


async def test_a_lazy_operation_that_nothing_follows_is_durable_a_moment_later(box, world):
    box.post(add(world, 1), lazy=True)
    await until(lambda: ids(box) == [letter(world, 1).id])


async def test_a_lazy_operation_that_fails_leaves_the_one_it_goes_along_with(box, world, monkeypatch):
    monkeypatch.setattr(box_module, "LAZY_SECONDS", 3600.0)
    failures = []

    def failing(writing):
        outbox.add(writing, letter(world, 1))
        raise LookupError("no")

    box.post(failing, failed=failures.append, lazy=True)
    sent = await box.write(add(world, 2))
    assert ids(box) == [sent.id]
    assert [type(failure) for failure in failures] == [LookupError]


@pytest.mark.parametrize("ends", ["hurry", "close"])
async def test_nothing_lazy_is_left_behind_by_who_is_in_a_hurry_or_closes(tmp_path, world, sign, monkeypatch, ends):
    monkeypatch.setattr(box_module, "LAZY_SECONDS", 3600.0)
    box = Box.open(tmp_path / "box.sqlite", sign=sign)
    box.post(add(world, 1), lazy=True)
    if ends == "hurry":
        box.hurry()
        await until(lambda: ids(box) == [letter(world, 1).id])
    await box.close()
    with sqlite3.connect(tmp_path / "box.sqlite") as kept:
        assert kept.execute("SELECT id FROM lgsp_outbox").fetchall() == [(letter(world, 1).id,)]
    kept.close()


async def test_a_transaction_takes_no_more_operations_than_its_bound(box, world, monkeypatch):
    monkeypatch.setattr(box_module, "GROUP", 2)
    told, begun, go_on = [], threading.Event(), threading.Event()
    box.on_commit = told.append
    box.post(lambda _: (begun.set(), go_on.wait(10)))
    await until(begun.is_set)
    for number in range(1, 5):
        box.post(add(world, number))
        await asyncio.sleep(0)
    go_on.set()
    await until(lambda: len(ids(box)) == 4)
    await box.write(ids_within)
    assert [len(committed.queued) for committed in told] == [2, 2]


def ids_within(writing):
    """Be told after all that was posted before."""
    return writing.connection.execute("SELECT id FROM lgsp_outbox").fetchall()


async def test_what_is_posted_in_one_turn_of_the_loop_is_one_transaction(box, world):
    told = []
    box.on_commit = told.append
    await asyncio.gather(*(box.write(add(world, number)) for number in range(1, 9)))
    assert [len(committed.queued) for committed in told] == [8]
