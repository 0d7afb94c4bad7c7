"""What somebody changes in a database's tables is found by the check of the log, as it is in a file."""

import asyncpg
import pytest

from lgsp.backends.sql import PostgresLedger
from lgsp.cli.log_audit import audit
from tests.property.test_log_damage import CHANGES, KEPT_CHANGES, TRUST, WORLD, fill, forget

BYTES = [
    "UPDATE entry SET data = set_byte(data, 40, get_byte(data, 40) # 1) WHERE seq = 5",
    "UPDATE entry SET leaf = set_byte(leaf, 31, get_byte(leaf, 31) # 128) WHERE seq = 5",
    "UPDATE subtree SET root = set_byte(root, 0, get_byte(root, 0) # 1)",
    "UPDATE checkpoint SET note = overlay(note placing '9' from 1)",
    "UPDATE exchange SET compact = set_byte(compact, 300, get_byte(compact, 300) # 1)",
    "UPDATE exchange SET receipt = overlay(receipt placing 'x' from 30)",
    "UPDATE delivery SET ack = overlay(ack placing 'x' from 30) WHERE ack <> ''",
    "UPDATE subject SET salt = set_byte(salt, 3, get_byte(salt, 3) # 1)",
    "UPDATE directory_record SET record = set_byte(record, 20, get_byte(record, 20) # 1)",
    "UPDATE schema_document SET document = set_byte(document, 9, get_byte(document, 9) # 1)",
]


@pytest.fixture
async def ledger(database):
    store = await PostgresLedger.open(database, create=True)
    await fill(store)
    yield store
    await store.close()


async def finding_after(database, ledger, statement):
    connection = await asyncpg.connect(database)
    changed = await connection.execute(statement)
    await connection.close()
    assert not changed.endswith(" 0")
    return (await audit(ledger, **TRUST)).finding


async def test_an_unharmed_database_verifies(ledger):
    assert (await audit(ledger, **TRUST)).finding is None


@pytest.mark.parametrize(("statement", "words"), [(statement, words) for statement, _, words in CHANGES])
async def test_a_larger_change_is_found(database, ledger, statement, words):
    assert words in (await finding_after(database, ledger, statement)).words


@pytest.mark.parametrize("statement", BYTES)
async def test_one_changed_byte_is_found(database, ledger, statement):
    assert await finding_after(database, ledger, statement) is not None


@pytest.fixture
async def forgotten(ledger):
    await forget(ledger)
    return ledger


async def test_each_change_to_what_stays_of_forgotten_exchanges_is_found(database, forgotten):
    connection = await asyncpg.connect(database)
    await connection.execute("CREATE TABLE saved AS SELECT * FROM evidence")
    found = {}
    for statement, _, words in KEPT_CHANGES:
        assert not (await connection.execute(statement)).endswith(" 0")
        found[words, statement] = (await audit(forgotten, **TRUST)).finding
        await connection.execute("DELETE FROM evidence")
        await connection.execute("INSERT INTO evidence SELECT * FROM saved")
    await connection.close()
    assert [told for told, finding in found.items() if finding is None or told[0] not in finding.words] == []


async def test_an_unharmed_database_whose_exchanges_are_forgotten_verifies_and_a_year_may_be_moved_off(
    database, forgotten
):
    verdict = await audit(forgotten, **TRUST)
    assert (verdict.finding, verdict.receipts > 3) == (None, True)
    years = f"ALTER TABLE evidence DETACH PARTITION evidence_{WORLD.now.year}"
    connection = await asyncpg.connect(database)
    await connection.execute(years)
    await connection.close()
    assert (await audit(forgotten, **TRUST)).finding.words == "the envelope is not kept"
    assert (await audit(forgotten, **TRUST, moved_off={WORLD.now.year})).finding is None
