"""Whatever one byte of a ledger's file somebody changes, of what the log, the signatures or the directory tell, the check of the log finds it."""

import asyncio
import shutil
import sqlite3
from contextlib import closing
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lgsp.backends.sql import SqliteCopy, SqliteLedger
from lgsp.cli.log_checks.log import audit
from lgsp.cli.log_checks.states import StateAudit
from lgsp.domain.envelope import format_time
from lgsp.domain.notes import LOG_KEY, NoteKey
from lgsp.domain.tiles import WIDTH
from lgsp.testing.bus import ack_of, running_bus
from lgsp.testing.clock import ManualClock
from lgsp.testing.entropy import SeededEntropy
from lgsp.testing.samples import note
from lgsp.testing.world import BUS, FISHERIES, LOG, NDXP, World

COLUMNS = {
    "entry": ("data", "leaf", "seq"),
    "subtree": ("root", "number"),
    "checkpoint": ("note",),
    "exchange": (
        *("env", "source", "id", "type", "audience", "accepted_at", "expires", "policy", "rule", "cause", "reply"),
        *("compact", "receipt"),
    ),
    "delivery": ("env", "inbox", "source", "id", "state", "ack", "expires", "position"),
    "subject": ("pseudonym", "salt", "commitment"),
    "evidence": ("env", "compact", "acks", "receipt", "reply"),
    "directory_version": ("statement",),
    "directory_record": ("record",),
    "schema_document": ("document",),
}
"""What is evidence, by table. What only steers the work, can be erased by right, or is made anew from the log, is not."""
SWAP = """
UPDATE entry SET data = other.data, leaf = other.leaf FROM (SELECT seq, data, leaf FROM entry WHERE seq IN ({0}, {1})) AS other
WHERE entry.seq IN ({0}, {1}) AND other.seq = {2} - entry.seq
"""
LIVES = {"time": 0, "recordedtime": 0, "expirytime": 300}
WORLD = World.make()
TRUST = {
    "bus": BUS,
    "registrar": WORLD.signers["registrar"].public,
    "log": NoteKey(name=LOG, kind=LOG_KEY, public=WORLD.signers["log"].public.x),
}


async def fill(store):
    """Fill a ledger: a request that was answered, one that was rejected, one that expired, one that waits, and a tile's worth of entries."""
    clock = ManualClock(WORLD.now)
    async with running_bus(WORLD, store, clock=clock, entropy=SeededEntropy(1)) as bus:
        requests = [WORLD.envelope(number=number) for number in range(1, 4)]
        for each in requests:
            await bus.ingress.submit(each, peer="")
        await bus.courier.pull(NDXP, limit=2, wait=1.0)
        reply = WORLD.reply(requests[0], number=11)
        await bus.ingress.submit(reply, peer="")
        await bus.settlement.acknowledge(NDXP, ack_of(WORLD, "ndxp", NDXP, requests[0].hash)[0])
        rejected = ack_of(WORLD, "ndxp", NDXP, requests[1].hash, outcome="rejected", code="unknown_person")
        await bus.settlement.acknowledge(NDXP, rejected[0])
        await bus.courier.pull(FISHERIES, limit=1, wait=1.0)
        await bus.settlement.acknowledge(FISHERIES, ack_of(WORLD, "fisheries", FISHERIES, reply.hash)[0])
        await bus.sequencer.submit(*(note(number) for number in range(300)))
        clock.advance(400)
        await bus.sweep.once()
        late = {name: format_time(clock.now() + timedelta(seconds=life)) for name, life in LIVES.items()}
        await bus.ingress.submit(WORLD.envelope(number=4, **late), peer="")
        await bus.auditor.keep()


async def forget(store):
    """Run a bus on what `fill` has filled until all of it is forgotten."""
    clock = ManualClock(WORLD.now + timedelta(days=60))
    async with running_bus(WORLD, store, clock=clock, entropy=SeededEntropy(2)) as bus:
        while await store.oldest() is not None:
            await bus.sweep.once()
            clock.advance(61)
        await bus.auditor.keep()


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    """The file of a bus that has stopped."""
    path = tmp_path_factory.mktemp("damage") / "bus.sqlite"
    store = SqliteLedger.open(path, create=True)
    asyncio.run(fill(store))
    asyncio.run(store.close())
    return path


@pytest.fixture(scope="module")
def forgotten(ledger):
    """The same, when everything in it is forgotten."""
    path = ledger.with_name("forgotten.sqlite")
    shutil.copy(ledger, path)
    store = SqliteLedger.open(path)
    asyncio.run(forget(store))
    asyncio.run(store.close())
    return path


def verdict_on(path, **years):
    copy = SqliteCopy.open(path)
    try:
        return asyncio.run(audit(copy, **TRUST, **years))
    finally:
        copy.close()


def finding_in(path, **years):
    return verdict_on(path, **years).finding


def cells_of(path):
    """Return (table, condition, key, column) of every cell that has something in it."""
    found = []
    with closing(sqlite3.connect(path)) as connection:
        for table, columns in COLUMNS.items():
            key = ", ".join(row[1] for row in connection.execute(f"PRAGMA table_info({table})") if row[5]) or "rowid"
            for *identity, _ in connection.execute(f"SELECT {key}, 1 FROM {table}"):
                where = " AND ".join(f"{name} = ?" for name in key.split(", "))
                for column in columns:
                    [[value]] = connection.execute(f"SELECT {column} FROM {table} WHERE {where}", identity)
                    if value not in (None, "", b""):
                        found.append((table, where, tuple(identity), column))
    return found


def named_by(table, column, key):
    """Return the one index that a check has to name for a changed cell of the log or its tree, None where several may be; `key` is its row's."""
    if table == "entry" and column in {"data", "leaf"}:
        return key["seq"]
    if table == "subtree" and column == "root":
        return key["number"] * WIDTH ** key["level"]
    return None


def is_named(cell, finding):
    """Tell whether a finding is one, and of the entry that is concerned where that is known."""
    table, where, identity, column = cell
    key = dict(zip(where.replace(" = ?", "").split(" AND "), identity, strict=True))
    return finding is not None and named_by(table, column, key) in {None, finding.index}


def changed(value, place, to):
    """Return a value with one byte, character or digit of it another."""
    if isinstance(value, int):
        return value ^ (1 << to % 41)
    if isinstance(value, bytes):
        at = place % len(value)
        return value[:at] + bytes([value[at] ^ (1 + to % 255)]) + value[at + 1 :]
    at = place % len(value)
    other = chr(0x21 + to % 94)
    return value[:at] + (other if other != value[at] else "~" if value[at] != "~" else "!") + value[at + 1 :]


def damage(path, cell, place, to):
    table, where, identity, column = cell
    with closing(sqlite3.connect(path)) as connection:
        [[value]] = connection.execute(f"SELECT {column} FROM {table} WHERE {where}", identity)
        connection.execute(
            f"UPDATE OR REPLACE {table} SET {column} = ? WHERE {where}", (changed(value, place, to), *identity)
        )
        connection.commit()


def test_an_unharmed_ledger_verifies(ledger):
    assert finding_in(ledger) is None


def test_it_verifies_with_as_many_receipts_and_acks_when_all_of_it_is_forgotten(ledger, forgotten):
    held, kept = verdict_on(ledger), verdict_on(forgotten)
    assert kept.finding is None
    assert (kept.receipts, kept.acks, kept.bare) == (held.receipts, held.acks, 0)
    assert held.receipts > 3


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), place=st.integers(0, 2_000), to=st.integers(0, 254))
def test_one_changed_byte_is_found(ledger, data, place, to):
    table = data.draw(st.sampled_from(sorted(COLUMNS.keys() - {"evidence"})))
    cell = data.draw(st.sampled_from([each for each in cells_of(ledger) if each[0] == table]))
    harmed = ledger.with_name("harmed.sqlite")
    shutil.copy(ledger, harmed)
    damage(harmed, cell, place, to)
    assert is_named(cell, finding_in(harmed))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), place=st.integers(0, 2_000), to=st.integers(0, 254))
def test_one_changed_byte_is_found_in_what_stays_of_forgotten_exchanges(forgotten, data, place, to):
    tables = ("evidence", "evidence", "subject", "entry")
    table = data.draw(st.sampled_from(tables))
    cell = data.draw(st.sampled_from([each for each in cells_of(forgotten) if each[0] == table]))
    harmed = forgotten.with_name("harmed.sqlite")
    shutil.copy(forgotten, harmed)
    damage(harmed, cell, place, to)
    assert is_named(cell, finding_in(harmed))


def index_of(ledger, event):
    with closing(sqlite3.connect(ledger)) as connection:
        [[index]] = connection.execute(
            "SELECT seq FROM entry WHERE instr(CAST(data AS TEXT), ?) ORDER BY seq LIMIT 1", (event,)
        )
    return index


CHANGES = [
    ("UPDATE delivery SET state = 'queued' WHERE state = 'acked'", '"ev":"msg.acked"', "held as ended otherwise"),
    ("UPDATE delivery SET state = 'acked' WHERE state = 'expired'", '"ev":"msg.expired"', "held as not expired"),
    ("DELETE FROM delivery", '"ev":"msg.accepted"', "a delivery is gone"),
    ("DELETE FROM exchange", '"ev":"msg.accepted"', "the exchange is gone"),
    ("UPDATE exchange SET rule = 'g-other'", '"ev":"msg.accepted"', "otherwise than the entry says"),
    ("DELETE FROM entry WHERE seq = 7", '"seq":7,', "the entry has another number"),
    ("DELETE FROM entry WHERE seq = (SELECT max(seq) FROM entry)", "", "entries are missing"),
    (SWAP.format(6, 7, 13), '"seq":6,', "the entry has another number"),
]
"""What somebody did to the tables, what stands in the first entry that it concerns, and how the finding begins."""


ANSWERED = "(SELECT env FROM evidence WHERE reply <> '')"
REPLY = "(SELECT reply FROM evidence WHERE reply <> '')"
OTHER_RECEIPT = f"(SELECT other.receipt FROM evidence AS other WHERE other.env = {ANSWERED})"
OTHER_ACK = f"(SELECT other.acks FROM evidence AS other WHERE other.env = {REPLY})"
OTHER_ENVELOPE = f"(SELECT other.compact FROM evidence AS other WHERE other.env = {REPLY})"
KEPT_CHANGES = [
    ("DELETE FROM evidence", '"ev":"msg.accepted"', "the envelope is not kept"),
    (f"DELETE FROM evidence WHERE env = {REPLY}", '"cause":', "the envelope is not kept"),
    (f"UPDATE evidence SET env = env || '-' WHERE env = {REPLY}", '"cause":', "the envelope is not kept"),
    (f"UPDATE evidence SET compact = {OTHER_ENVELOPE}", '"ev":"msg.accepted"', "another envelope is kept"),
    (f"UPDATE evidence SET receipt = {OTHER_RECEIPT} WHERE env = {REPLY}", '"cause":', "states another entry"),
    (f"UPDATE evidence SET receipt = '' WHERE env = {ANSWERED}", '"ev":"msg.accepted"', "receipt does not verify"),
    ("UPDATE evidence SET acks = ''", '"ev":"msg.acked"', "the ack that was given is not kept"),
    (
        f"UPDATE evidence SET acks = acks || chr(10) || {OTHER_ACK} WHERE env = {ANSWERED}",
        '"ev":"msg.accepted"',
        "an ack is kept, and no entry tells so",
    ),
    (f"UPDATE evidence SET reply = '' WHERE env = {ANSWERED}", '"cause":', "held with another reply"),
    (f"UPDATE evidence SET reply = env WHERE env = {REPLY}", '"cause":', "with a reply, and no entry tells so"),
]
"""The same for what stays when everything is forgotten."""


@pytest.mark.parametrize(("statement", "event", "words"), KEPT_CHANGES)
def test_a_larger_change_to_what_stays_is_named_by_the_first_index_that_it_concerns(forgotten, statement, event, words):
    harmed = forgotten.with_name("harmed.sqlite")
    shutil.copy(forgotten, harmed)
    with closing(sqlite3.connect(harmed)) as connection:
        connection.create_function("chr", 1, chr)
        assert connection.execute(statement).rowcount > 0
        connection.commit()
    finding = finding_in(harmed)
    assert words in finding.words
    assert finding.index == index_of(forgotten, event)


def test_what_was_moved_off_with_its_year_is_not_missed_by_whoever_says_so(forgotten):
    harmed = forgotten.with_name("harmed.sqlite")
    shutil.copy(forgotten, harmed)
    year = WORLD.now.year
    with closing(sqlite3.connect(harmed)) as connection:
        connection.execute(f"DELETE FROM evidence WHERE env = {REPLY}")
        connection.commit()
    assert finding_in(harmed, moved_off={year - 1}).words == "the envelope is not kept"
    assert finding_in(harmed, moved_off={year}) is None
    assert finding_in(harmed, moved_off=None) is None
    damage(harmed, ("evidence", "env = ?", (_an_env(harmed),), "receipt"), 40, 1)
    assert finding_in(harmed, moved_off={year}) is not None


async def test_exchanges_of_which_nothing_is_there_any_more_are_not_looked_for():
    entry = b'{"v":1,"seq":7,"ts":"2026-11-22T00:16:31.207Z","ev":"msg.accepted","env":"sha-256:%b"}' % (b"A" * 43)
    elsewhere = StateAudit(store=None, item=None, moved_off={2026, 2027})
    assert await elsewhere.check(7, [entry], held=False) is None
    assert await StateAudit(store=None, item=None, moved_off={2026}).check(7, [entry], held=False) is not None


def _an_env(path):
    with closing(sqlite3.connect(path)) as connection:
        [[env]] = connection.execute("SELECT env FROM evidence LIMIT 1")
    return env


def test_what_an_older_program_forgot_has_no_receipt_and_is_counted(forgotten):
    harmed = forgotten.with_name("harmed.sqlite")
    shutil.copy(forgotten, harmed)
    with closing(sqlite3.connect(harmed)) as connection:
        changed = connection.execute(f"UPDATE evidence SET receipt = '', reply = '' WHERE env = {ANSWERED}")
        assert changed.rowcount == 1
        connection.commit()
    verdict = verdict_on(harmed)
    assert (verdict.finding, verdict.bare) == (None, 1)


@pytest.mark.parametrize(("statement", "event", "words"), CHANGES)
def test_a_larger_change_is_named_by_the_first_index_that_it_concerns(ledger, statement, event, words):
    harmed = ledger.with_name("harmed.sqlite")
    shutil.copy(ledger, harmed)
    with closing(sqlite3.connect(harmed)) as connection:
        connection.execute(statement)
        connection.commit()
    finding = finding_in(harmed)
    assert words in finding.words
    if event:
        assert finding.index == index_of(ledger, event)


@pytest.mark.parametrize(
    "place",
    [
        *("exchange.accepted_at", "exchange.expires", "exchange.compact", "delivery.expires", "subject.salt"),
        *("subject.pseudonym", "directory_version.statement", "directory_record.record", "schema_document.document"),
    ],
)
@pytest.mark.parametrize("value", ["'text'", "x'00'", "1.5"])
def test_a_cell_of_another_kind_is_found(ledger, place, value):
    harmed = ledger.with_name("harmed.sqlite")
    shutil.copy(ledger, harmed)
    table, _, column = place.partition(".")
    with closing(sqlite3.connect(harmed)) as connection:
        connection.execute(f"UPDATE {table} SET {column} = {value}")
        connection.commit()
    finding = finding_in(harmed)
    assert finding is not None
    assert (finding.index is None) == table.startswith(("directory", "schema"))


def test_a_number_beyond_all_others_is_found_at_once(ledger):
    harmed = ledger.with_name("harmed.sqlite")
    shutil.copy(ledger, harmed)
    with closing(sqlite3.connect(harmed)) as connection:
        [[last]] = connection.execute("SELECT max(seq) FROM entry")
        connection.execute("UPDATE entry SET seq = seq + (1 << 40) WHERE seq = ?", (last,))
        connection.commit()
    assert finding_in(harmed).index == last


def test_a_log_without_a_kept_checkpoint_is_found(ledger):
    harmed = ledger.with_name("harmed.sqlite")
    shutil.copy(ledger, harmed)
    with closing(sqlite3.connect(harmed)) as connection:
        connection.execute("DELETE FROM checkpoint")
        connection.commit()
    assert "no checkpoint is kept" in finding_in(harmed).words


@pytest.mark.parametrize("statement", ["DELETE FROM entry WHERE seq = {0}", SWAP], ids=["gap", "swapped"])
async def test_no_gateway_signs_a_tail_that_is_not_what_was_written(tmp_path, statement):
    path = tmp_path / "bus.sqlite"
    store = SqliteLedger.open(path, create=True)
    async with running_bus(WORLD, store, clock=ManualClock(WORLD.now), entropy=SeededEntropy(1)) as bus:
        await bus.auditor.keep()
        early = await store.checkpoint()
        await bus.sequencer.submit(*(note(number) for number in range(9)))
    with closing(sqlite3.connect(path)) as connection:  # as if it had been killed before it kept another one
        connection.execute("DELETE FROM checkpoint")
        size = int(early.split("\n")[1])
        connection.execute("INSERT INTO checkpoint (size, note) VALUES (?, ?)", (size, early))
        bad = size + 4
        connection.execute(statement.format(bad, bad + 1, 2 * bad + 1))
        connection.commit()
    with pytest.raises(BaseExceptionGroup) as refused:
        async with running_bus(WORLD, store, clock=ManualClock(WORLD.now), entropy=SeededEntropy(2)):
            raise AssertionError
    await store.close()
    [reason] = refused.value.exceptions
    assert (reason.code, f"entry {bad} " in reason.detail) == ("log_broken", True)


def test_an_outcome_that_no_entry_tells_of_is_found(ledger):
    harmed = ledger.with_name("harmed.sqlite")
    shutil.copy(ledger, harmed)
    with closing(sqlite3.connect(harmed)) as connection:
        changed = connection.execute("UPDATE delivery SET state = 'acked', wakes_at = NULL WHERE wakes_at IS NOT NULL")
        assert changed.rowcount == 1
        connection.commit()
    assert finding_in(harmed).words == "a delivery is held as settled, and no entry tells so"
