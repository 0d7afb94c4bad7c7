"""Several gateways on one PostgreSQL database: one log without gaps, one winner each, nothing lost when the server dies, hangs or is away."""

import asyncio
from dataclasses import replace
from hashlib import sha256

import asyncpg
import pytest

from lgsp.backends.sql import PostgresLedger
from lgsp.backends.sql.postgresql.pool import close_pool
from lgsp.backends.sql.schema import VERSION
from lgsp.domain import merkle, strictjson
from lgsp.errors import Refusal, Unusable
from lgsp.ports.ledger import Done, KeepBodyKey, KeepCheckpoint, Seen, Spend
from lgsp.testing import samples
from lgsp.testing.postgresql import private_database
from lgsp.testing.samples import LIFE, NOW, accept, lease, move, note
from lgsp.testing.world import FISHERIES, NDXP, ONE_STOP, POLICE


@pytest.fixture
async def gateways(database):
    opened = [await PostgresLedger.open(database, create=True) for _ in range(2)]
    yield opened
    for each in opened:
        await each.close()


async def committed(ledger, *operations):
    return list(await ledger.commit(operations, samples.sign_receipts))


async def numbers_in(ledger):
    entries = await ledger.entries(0, 10_000)
    leaves = await ledger.leaves(0, len(entries))
    assert leaves == [merkle.leaf_hash(entry) for entry in entries]
    return [strictjson.parse_object(entry)["seq"] for entry in entries]


def shuffled(numbers, seed):
    return sorted(numbers, key=lambda number: sha256(f"{seed} {number}".encode()).digest())


async def test_of_two_gateways_that_accept_the_same_one_wins_each_and_the_log_has_no_gap(gateways):
    numbers = range(1, 121)

    async def run(ledger, seed):
        order = shuffled(numbers, seed)
        groups = [order[start : start + 8] for start in range(0, len(order), 8)]
        return [
            (number, result)
            for group in groups
            for number, result in zip(group, await committed(ledger, *map(accept, group)), strict=True)
        ]

    both = await asyncio.gather(*(run(ledger, seed) for seed, ledger in enumerate(gateways)))
    results = [pair for each in both for pair in each]
    won = [(number, result.index) for number, result in results if isinstance(result, Done)]
    assert sorted(number for number, _ in won) == list(numbers)
    assert sorted(index for _, index in won) == list(range(len(numbers)))
    assert [result for _, result in results if not isinstance(result, Done)] == ["duplicate"] * len(numbers)
    assert await numbers_in(gateways[0]) == list(range(len(numbers)))


async def test_what_is_committed_later_has_the_higher_numbers(gateways):
    seen = []

    async def watch():
        while len(seen) < 40:
            seen.append(await numbers_in(gateways[0]))

    async def write(ledger, first):
        for number in range(first, first + 30):
            await committed(ledger, note(number), note(number))

    await asyncio.gather(watch(), write(gateways[0], 1), write(gateways[1], 100))
    # Whatever was to be seen at any moment was a log without a hole.
    assert all(numbers == list(range(len(numbers))) for numbers in seen)
    assert await numbers_in(gateways[1]) == list(range(120))


async def test_of_two_gateways_that_lease_the_same_one_holds_it(gateways):
    operations = [accept(number) for number in range(1, 41)]
    await committed(gateways[0], *operations)
    held = [samples.as_held(operation, index=index) for index, operation in enumerate(operations)]

    async def run(ledger, seed):
        name = f"gateway-{seed}"
        return await committed(ledger, *(lease(held[place], name) for place in shuffled(range(40), seed)))

    both = await asyncio.gather(*(run(ledger, seed) for seed, ledger in enumerate(gateways)))
    assert sum(isinstance(result, Done) for each in both for result in each) == 40
    assert await numbers_in(gateways[0]) == list(range(80))
    found = await gateways[1].held(NDXP, [each.env for each in held])
    assert {each.state for each in found.values()} == {"leased"}


async def test_moves_without_entries_and_moves_with_them_wait_for_each_other_and_never_in_a_ring(gateways):
    operations = [accept(number, state="accepted") for number in range(1, 61)]
    await committed(gateways[0], *operations)
    held = [operation.deliveries[0] for operation in operations]

    async def mark(ledger, seed):
        return await committed(
            ledger,
            *(move(held[place], "queued", expect=frozenset({"accepted"})) for place in shuffled(range(60), seed)),
        )

    async def settle(ledger, seed):
        expect = frozenset({"accepted", "queued"})
        return await committed(
            ledger,
            *(move(held[place], "acked", expect=expect, event="msg.acked") for place in shuffled(range(60), seed)),
        )

    marked, settled, again = await asyncio.gather(mark(gateways[0], 1), settle(gateways[1], 2), mark(gateways[0], 3))
    assert all(isinstance(result, Done) for result in settled)
    assert len([result for result in marked + again if isinstance(result, Done)]) in {0, 60}
    assert {each.state for each in (await gateways[0].held(NDXP, [each.env for each in held])).values()} == {"acked"}


async def test_the_last_of_two_receivers_drops_the_body_whichever_gateway_it_is_on(gateways):
    for number in range(1, 16):
        operation = accept(number, to=[POLICE, ONE_STOP])
        await committed(gateways[0], operation)
        first, second = operation.deliveries
        await asyncio.gather(
            committed(gateways[0], move(first, "acked")), committed(gateways[1], move(second, "acked"))
        )
        assert await gateways[0].parcel(first.env, POLICE) is None
        assert await gateways[0].parcel(second.env, ONE_STOP) is None
    connection = await gateways[0]._readers.acquire()
    assert await connection.fetchval("SELECT count(*) FROM body") == 0
    await gateways[0]._readers.release(connection)


async def test_a_request_is_answered_once_and_a_jti_spent_once_on_all_gateways(gateways):
    await committed(gateways[0], accept(1))
    replies = [accept(number, source=NDXP, asked=1, to=[FISHERIES]) for number in (2, 3)]
    once = Spend(jti="once", until=NOW + LIFE, now=NOW)
    both = await asyncio.gather(
        *(committed(ledger, reply, once) for ledger, reply in zip(gateways, replies, strict=True))
    )
    kinds = sorted(("done", "done") if isinstance(each[0], Done) else tuple(each) for each in both)
    assert kinds == [("answered", "spent"), ("done", "done")]


async def test_small_things_are_kept_once_too(gateways):
    day = "2026-11-22"
    await asyncio.gather(
        committed(gateways[0], KeepBodyKey(day=day, wrapped=b"one"), KeepCheckpoint(size=3, note="three")),
        committed(gateways[1], KeepBodyKey(day=day, wrapped=b"two"), KeepCheckpoint(size=2, note="two")),
    )
    assert len(await gateways[0].body_keys()) == 1
    assert await gateways[0].checkpoint() == "three"


# Trouble


@pytest.fixture
def server(tmp_path):
    with private_database(tmp_path / "server") as running:
        yield running


async def eventually(call):
    async with asyncio.timeout(30):
        while True:
            try:
                return await call()
            except Refusal:
                await asyncio.sleep(0.05)


async def test_what_was_answered_is_there_after_the_server_was_killed(server):
    ledger = await PostgresLedger.open(server.url(), create=True)
    answered = {}

    async def write(first):
        number = first
        while True:
            try:
                [result] = await committed(ledger, accept(number))
            except Refusal:
                return
            if isinstance(result, Done):
                answered[number] = result
            number += 2

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        group.create_task(write(1))
        group.create_task(write(2))
        while len(answered) < 40:
            await asyncio.sleep(0.01)
        server.kill()
    server.start()
    await eventually(ledger.size)
    numbers = await numbers_in(ledger)
    assert numbers == list(range(len(numbers)))
    # The last one may have been applied though its answer was lost.
    assert len(answered) <= len(numbers) <= len(answered) + 2
    for number, result in answered.items():
        held = await ledger.exchange_of(accept(number).exchange.env)
        assert held is not None
        assert held.receipt == result.receipt
    assert await committed(ledger, accept(1)) == ["duplicate"]
    await ledger.close()


async def test_a_server_that_is_away_is_told_and_one_that_is_back_is_used(server):
    ledger = await PostgresLedger.open(server.url(), create=True)
    await committed(ledger, note(1))
    server.kill()
    with pytest.raises(Refusal, match="unavailable"):
        await committed(ledger, note(2))
    with pytest.raises(Refusal, match="unavailable"):
        await ledger.size()
    with pytest.raises(Unusable) as raised:
        await PostgresLedger.open(server.url())
    assert raised.value.code == "database_away"
    server.start()
    assert await eventually(ledger.size) == 1
    await committed(ledger, note(3))
    await ledger.close()


async def test_a_server_that_hangs_does_not_hold_a_gateway_up_for_ever(server, monkeypatch):
    monkeypatch.setattr("lgsp.backends.sql.postgresql.ledger.COMMIT_SECONDS", 0.5)
    ledger = await PostgresLedger.open(server.url(), create=True)
    with server.paused(), pytest.raises(Refusal, match="unavailable"):
        await committed(ledger, note(1))
    await eventually(lambda: committed(ledger, note(2)))
    assert await numbers_in(ledger) == list(range(await ledger.size()))
    await ledger.close()


async def test_a_gateway_that_hangs_within_a_commit_gives_the_log_up(gateways, database, monkeypatch):
    hanging = await asyncpg.connect(database, server_settings={"idle_in_transaction_session_timeout": "200ms"})
    await hanging.execute("BEGIN; SELECT pg_advisory_xact_lock(7107211)")
    assert await committed(gateways[0], note(1)) == [Done(index=0)]
    hanging.terminate()


async def test_a_commit_that_met_a_deadlock_is_tried_again(gateways, monkeypatch):
    calls = []
    real = gateways[0]._commit

    async def unlucky(operations, sign):
        calls.append(len(operations))
        if len(calls) < 3:
            raise asyncpg.DeadlockDetectedError("unlucky")
        return await real(operations, sign)

    monkeypatch.setattr(gateways[0], "_commit", unlucky)
    assert await committed(gateways[0], note(1)) == [Done(index=0)]
    assert calls == [1, 1, 1]


async def test_a_commit_that_always_meets_a_deadlock_is_refused(gateways, monkeypatch):
    async def unlucky(operations, sign):
        raise asyncpg.DeadlockDetectedError("unlucky")

    monkeypatch.setattr(gateways[0], "_commit", unlucky)
    with pytest.raises(Refusal, match="unavailable"):
        await committed(gateways[0], note(1))
    assert await gateways[1].size() == 0


async def test_a_commit_that_is_given_up_leaves_nothing_and_no_lock(gateways):
    def never(items, policy):
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await gateways[0].commit([accept(1)], never)
    assert await committed(gateways[1], note(1)) == [Done(index=0)]
    assert await committed(gateways[0], note(2)) == [Done(index=1)]


async def test_a_closed_ledger_refuses(database):
    ledger = await PostgresLedger.open(database, create=True)
    await ledger.close()
    with pytest.raises(Refusal, match="unavailable"):
        await committed(ledger, note(1))
    with pytest.raises(Refusal, match="unavailable"):
        await ledger.size()


async def test_a_large_commit_is_a_handful_of_statements(gateways):
    told = []
    await committed(gateways[0], accept(1000))  # the driver asks once for the types that it does not know
    pool = gateways[0]._writer
    connection = await pool.acquire()
    driver = connection._con
    await pool.release(connection)
    driver.add_query_logger(lambda record: told.append(record.query))
    first = [accept(number) for number in range(1, 129)]
    await committed(gateways[0], *first)
    assert len(told) == 4, told
    told.clear()
    moves = [lease(operation.deliveries[0]) for operation in first]
    settles = [replace_state(operation) for operation in first]
    seen = [Seen(env=each.exchange.env, to=NDXP, source=FISHERIES) for each in first]
    await committed(gateways[0], *moves, *settles, *seen, *(accept(number) for number in range(129, 199)))
    assert len(told) == 5, told


def replace_state(operation):
    return move(replace(operation.deliveries[0], state="leased"), "acked", event="msg.acked")


# Opening


async def test_a_database_without_tables_is_told(database):
    with pytest.raises(Unusable) as raised:
        await PostgresLedger.open(database)
    assert raised.value.code == "data_missing"


async def test_a_database_of_somebody_else_is_left_alone(database):
    connection = await asyncpg.connect(database)
    await connection.execute("CREATE TABLE theirs (id int)")
    await connection.close()
    with pytest.raises(Unusable) as raised:
        await PostgresLedger.open(database, create=True)
    assert raised.value.code == "data_unusable"


@pytest.mark.parametrize(
    ("schema", "compatible", "code"),
    [
        ("1", None, "schema_old"),
        (str(VERSION + 1), str(VERSION + 1), "data_newer"),
        (str(VERSION + 1), str(VERSION), ""),
        (str(VERSION + 2), str(VERSION), "data_newer"),
        ("x", None, "data_unusable"),
    ],
)
async def test_tables_of_another_version_are_refused_unless_they_say_that_we_may_go_on(
    database, schema, compatible, code
):
    await (await PostgresLedger.open(database, create=True)).close()
    connection = await asyncpg.connect(database)
    await connection.execute("UPDATE meta SET value = $1 WHERE name = 'schema'", schema)
    if compatible is None:
        await connection.execute("DELETE FROM meta WHERE name = 'compatible'")
    else:
        await connection.execute("UPDATE meta SET value = $1 WHERE name = 'compatible'", compatible)
    await connection.close()
    if not code:
        await (await PostgresLedger.open(database)).close()
        return
    with pytest.raises(Unusable) as raised:
        await PostgresLedger.open(database)
    assert raised.value.code == code
    assert code != "schema_old" or "lgsp db upgrade" in raised.value.detail


@pytest.mark.parametrize("change", [("lgsp:", "nobody:"), ("/postgres", "/none")])
async def test_a_wrong_address_is_told_without_its_password(database, postgresql, change):
    with pytest.raises(Unusable) as raised:
        await PostgresLedger.open(database.replace(*change))
    assert raised.value.code == "database_away"
    assert postgresql._password not in str(raised.value)


async def test_what_is_no_address_is_told(database):
    with pytest.raises(Unusable) as raised:
        await PostgresLedger.open("postgresql://host:port/x")
    assert raised.value.code == "config_invalid"


@pytest.mark.parametrize("trouble", [BrokenPipeError, TimeoutError, asyncpg.InterfaceError])
async def test_connections_that_do_not_end_in_peace_are_cut_off_and_the_end_is_an_end(trouble):
    cut = []

    class Broken:
        async def close(self):
            raise trouble("gone")

        def terminate(self):
            cut.append(self)

    pool = Broken()
    await close_pool(pool)
    assert cut == [pool]
