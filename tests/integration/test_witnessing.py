"""A witness co-signs the log of a bus, shows when the log was rolled back or changed, and may be away for a while."""

import asyncio
import shutil
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from lgsp.backends.memory import MemoryLedger, MemoryWitness
from lgsp.backends.sql import SqliteLedger, postgresql
from lgsp.bus import witnessing
from lgsp.domain.checkpoint import open_checkpoint, verify_proof
from lgsp.domain.limits import LIMITS
from lgsp.domain.notes import LOG_KEY, NoteKey
from lgsp.errors import Refusal, Unusable
from lgsp.machine import SystemClock
from lgsp.ports.anchor import AnchorAway, Cosigned
from lgsp.testing.bus import running_bus
from lgsp.testing.edge import running_edge
from lgsp.testing.entropy import SeededEntropy
from lgsp.testing.gateways import running_gateway, world_of_gateways
from lgsp.testing.samples import note
from lgsp.testing.world import LOG, signer_named


class Witness(MemoryWitness):
    """A memory witness that counts what it is asked, and may lose its answers or sign with a key that is not its own."""

    def __init__(self, clock):
        log = NoteKey(name=LOG, kind=LOG_KEY, public=signer_named("log").public.x)
        super().__init__(name="witness.example.vn/w", signer=signer_named("witness"), logs={LOG: log}, clock=clock)
        self.asked = []
        self.loses_answers = False
        self.stands_in = None

    async def add_checkpoint(self, old, path, note):
        self.asked.append(old)
        answer = await super().add_checkpoint(old, path, note)
        if self.loses_answers:
            raise AnchorAway("the answer was lost")
        if self.stands_in is not None and isinstance(answer, Cosigned):
            return Cosigned(lines=answer.lines.replace(answer.lines[-60:-20], "A" * 40))
        return answer


@pytest.fixture
def witness(clock):
    return Witness(clock)


@pytest.fixture
def store():
    return MemoryLedger()


def run(world, store, clock, witness, **options):
    return running_bus(world, store, clock=clock, entropy=SeededEntropy(1, clock), anchor=witness, **options)


async def grow(bus, count=3, first=0):
    """Add entries, those of another `first` are others, and keep a checkpoint over them."""
    await bus.sequencer.submit(*(note(first + number) for number in range(count)))
    await bus.auditor.keep()


async def cosigned_size(bus, witness):
    return open_checkpoint(await bus.auditor.cosigned(), bus.auditor.log_key, [witness.key]).size


async def until(found, limit=10):
    async with asyncio.timeout(limit):
        while not found():
            await asyncio.sleep(0.005)


async def test_what_is_kept_is_cosigned_and_stays_so(world, store, clock, witness):
    async with run(world, store, clock, witness) as bus:
        for _ in range(3):
            await grow(bus, 50)
            await bus.witnessing.once()
            assert await cosigned_size(bus, witness) == witness.seen[LOG].size == await bus.ledger.size()
    size = await store.size()
    async with run(world, store, clock, witness) as bus:
        assert await cosigned_size(bus, witness) == witness.seen[LOG].size == size


async def test_a_log_that_does_not_grow_is_shown_again_after_a_minute_alone(world, store, clock, witness):
    async with run(world, store, clock, witness) as bus:
        await grow(bus)
        moment = bus.witnessing.monotonic()
        bus.witnessing.monotonic = lambda: moment
        await bus.witnessing.once()
        asked = len(witness.asked)
        await bus.witnessing.once()
        assert len(witness.asked) == asked
        moment += witnessing.AGAIN
        await bus.witnessing.once()
        assert len(witness.asked) == asked + 1
        assert bus.witnessing.seconds_ago() == 0


async def test_outsiders_get_the_newest_checkpoint_and_the_newest_that_is_cosigned(world, store, clock, witness):
    async with running_edge(world, store, clock=clock, entropy=SeededEntropy(1, clock), anchor=witness) as edge:
        await grow(edge.bus)
        await edge.bus.witnessing.once()
        both = await edge.call("GET", "/v1/audit/checkpoint")
        assert both.body == (await edge.call("GET", "/v1/audit/checkpoint?witnessed=true")).body
        size = open_checkpoint(both.body.decode(), edge.bus.auditor.log_key, [witness.key]).size
        await grow(edge.bus)
        newest = (await edge.call("GET", "/v1/audit/checkpoint")).body.decode()
        assert open_checkpoint(newest, edge.bus.auditor.log_key).size == size + 3
        assert witness.name not in newest
        assert (await edge.call("GET", "/v1/audit/checkpoint?witnessed=true")).body == both.body
        assert (await edge.call("GET", "/v1/audit/checkpoint?witnessed=1")).code == "bad_request"
        [entry] = await edge.bus.ledger.entries(0, 1)
        proof = (await edge.call("GET", "/v1/audit/proof?index=0&witnessed=true")).body.decode()
        assert verify_proof(proof, entry, edge.bus.auditor.log_key, [witness.key]).size == size
        assert (await edge.call("GET", f"/v1/audit/proof?index={size}&witnessed=true")).code == "not_found"
        assert (await edge.call("GET", f"/v1/audit/proof?index={size}")).status == 200


async def test_without_a_witness_nothing_is_cosigned_and_nothing_is_said_of_it(world, store, clock):
    async with running_edge(world, store, clock=clock, entropy=SeededEntropy(1, clock)) as edge:
        assert (await edge.call("GET", "/v1/audit/checkpoint?witnessed=true")).code == "not_found"
        assert "witness" not in (await edge.call("GET", "/readyz")).members["parts"]
        assert b"lgsp_witness" not in (await edge.call("GET", "/metrics")).body


async def test_an_answer_that_was_lost_does_no_harm(world, store, clock, witness):
    async with run(world, store, clock, witness) as bus:
        await grow(bus)
        await bus.witnessing.once()
        await grow(bus)
        witness.loses_answers = True
        with pytest.raises(AnchorAway):
            await bus.witnessing.once()
        witness.loses_answers = False
        await grow(bus)
        await bus.witnessing.once()
        assert await cosigned_size(bus, witness) == await bus.ledger.size()


async def test_a_signature_that_is_not_the_witnesss_is_not_believed(world, store, clock, witness):
    async with run(world, store, clock, witness) as bus:
        before = await bus.auditor.cosigned()
        await grow(bus)
        witness.stands_in = True
        with pytest.raises(AnchorAway, match="signature"):
            await bus.witnessing.once()
        assert await bus.auditor.cosigned() == before


async def test_a_witness_that_is_another_one_learns_the_log_from_the_start(world, store, clock, witness):
    async with run(world, store, clock, witness) as bus:
        await grow(bus)
        await bus.witnessing.once()
    second = Witness(clock)
    second.signer = signer_named("a second witness")
    async with run(world, store, clock, second) as bus:
        assert await cosigned_size(bus, second) == second.seen[LOG].size


async def test_a_gateway_that_stops_in_order_leaves_nothing_that_its_witness_has_not_seen(world, store, clock, witness):
    async with run(world, store, clock, witness) as bus:
        await bus.ingress.submit(world.envelope(), peer="test")
    assert open_checkpoint(await store.cosigned(), bus.auditor.log_key, [witness.key]).size == await store.size()
    assert witness.seen[LOG].size == await store.size() > 1
    witness.away = True
    async with run(world, store, clock, witness) as bus:
        await grow(bus)
    assert witness.seen[LOG].size == await store.size() - 3


# Rolled back, changed


@asynccontextmanager
async def running_file(world, path, clock, witness):
    store = SqliteLedger.open(path, create=True)
    try:
        async with run(world, store, clock, witness) as bus:
            yield bus
    finally:
        await store.close()


async def old_copy_of(world, path, clock, witness):
    """Make a ledger of which an older copy stands beside it, and return the copy."""
    old = path.with_name("old.sqlite")
    async with running_file(world, path, clock, witness) as bus:
        await grow(bus)
        await bus.witnessing.once()
    shutil.copy(path, old)
    async with running_file(world, path, clock, witness) as bus:
        await grow(bus)
        await bus.witnessing.once()
    return old


async def refused_at_start(world, path, clock, witness, words):
    with pytest.raises(BaseExceptionGroup) as refused:
        async with running_file(world, path, clock, witness):
            pytest.fail("it started")
    assert refused.group_contains(Unusable, match=f"log_broken.*{words}")
    [error] = refused.value.exceptions
    assert error.exit_code == 3


async def test_a_ledger_restored_from_an_old_copy_is_refused_at_the_start(world, tmp_path, clock, witness):
    old = await old_copy_of(world, tmp_path / "bus.sqlite", clock, witness)
    await refused_at_start(world, old, clock, witness, "rolled back")


async def test_a_ledger_made_anew_under_the_same_name_is_refused_at_the_start(world, tmp_path, clock, witness):
    await old_copy_of(world, tmp_path / "bus.sqlite", clock, witness)
    await refused_at_start(world, tmp_path / "new.sqlite", clock, witness, "rolled back")


async def test_an_old_copy_that_grew_again_behind_the_witnesss_back_is_refused(world, tmp_path, clock, witness):
    old = await old_copy_of(world, tmp_path / "bus.sqlite", clock, witness)
    witness.away = True
    async with running_file(world, old, clock, witness) as bus:
        await grow(bus, 200, first=1000)
    witness.away = False
    await refused_at_start(world, old, clock, witness, "another log")


async def test_a_log_that_is_as_long_but_another_is_refused(world, tmp_path, clock, witness):
    old = await old_copy_of(world, tmp_path / "bus.sqlite", clock, witness)
    witness.away = True
    async with running_file(world, old, clock, witness) as bus:
        await bus.auditor.keep()
        await grow(bus, witness.seen[LOG].size - await bus.ledger.size(), first=1000)
    witness.away = False
    await refused_at_start(world, old, clock, witness, "another log")


async def test_a_witness_that_comes_back_ends_a_gateway_on_a_log_rolled_back_and_nothing_more_is_signed(
    world, tmp_path, clock, witness, monkeypatch
):
    old = await old_copy_of(world, tmp_path / "bus.sqlite", clock, witness)
    monkeypatch.setattr(witnessing, "EVERY", 0.01)
    witness.away = True
    running = running_file(world, old, clock, witness)
    bus = await running.__aenter__()
    kept = await bus.auditor.checkpoint()
    witness.away = False
    with pytest.raises(BaseExceptionGroup) as ended:
        await until_it_ends(running)
    assert ended.group_contains(Unusable, match="log_broken.*rolled back")
    with pytest.raises(Unusable, match="log_broken"):
        await bus.auditor.checkpoint()
    store = SqliteLedger.open(old)
    assert await store.checkpoint() == kept
    await store.close()


async def test_a_contradiction_that_is_learnt_while_it_stops_is_told(world, tmp_path, clock, witness):
    old = await old_copy_of(world, tmp_path / "bus.sqlite", clock, witness)
    witness.away = True
    with pytest.raises(BaseExceptionGroup) as ended:
        async with running_file(world, old, clock, witness):
            witness.away = False
    assert ended.group_contains(Unusable, match="log_broken.*rolled back")
    [error] = ended.value.exceptions
    assert error.exit_code == 3


async def until_it_ends(running):
    try:
        async with asyncio.timeout(10):
            await asyncio.Event().wait()
    except BaseException as error:
        if not await running.__aexit__(type(error), error, error.__traceback__):
            raise


# Away


async def test_a_witness_that_is_away_at_the_start_stops_nobody_and_is_asked_when_it_is_back(
    world, store, clock, witness, monkeypatch
):
    monkeypatch.setattr(witnessing, "EVERY", 0.01)
    witness.away = True
    with capture_logs() as logs:
        async with run(world, store, clock, witness) as bus:
            await bus.ingress.submit(world.envelope(), peer="test")
            await bus.auditor.keep()
            witness.away = False
            await until(lambda: LOG in witness.seen and bus.witnessing.size == witness.seen[LOG].size > 0)
    told = [each["event"] for each in logs if each["event"].startswith("witness.")]
    assert told == ["witness.away", "witness.back"]


@pytest.fixture
def patience():
    return replace(LIMITS, unwitnessed=timedelta(hours=1))


async def test_after_ten_minutes_alone_somebody_is_told_and_after_the_stated_time_nothing_is_taken_in(
    world, store, clock, witness, patience
):
    async with running_edge(
        world, store, clock=clock, entropy=SeededEntropy(1, clock), anchor=witness, limits=patience
    ) as edge:
        bus, moment = edge.bus, 0.0
        bus.witnessing.monotonic = lambda: moment
        await grow(bus)
        await bus.witnessing.once()
        witness.away = True
        moment = 599.0
        await grow(bus)
        await bus.witnessing._round(5.0)
        assert await parts_of(edge) == (200, {"witness": "ok", "intake": "ok"})
        with capture_logs() as logs:
            for moment in (600.0, 605.0):  # noqa: B007 - read by the clock
                await bus.witnessing._round(5.0)
        assert [each["event"] for each in logs] == ["witness.overdue"]
        assert await parts_of(edge) == (200, {"witness": "away", "intake": "ok"})
        assert (await edge.post(world.envelope())).status == 202
        metrics = (await edge.call("GET", "/metrics")).body.decode()
        assert "lgsp_witness_age_seconds 605.0" in metrics
        assert 'lgsp_part_ok{part="witness"} 0.0' in metrics
        moment = 3600.0
        await bus.witnessing._round(5.0)
        refused = await edge.post(world.envelope(number=3))
        assert (refused.status, refused.code) == (503, "witness_away")
        ready = await edge.call("GET", "/readyz")
        assert (ready.status, "intake: witness_away" in ready.members["degraded"]) == (503, True)
        witness.away = False
        await bus.witnessing._round(5.0)
        assert (await edge.post(world.envelope(number=3))).status == 202
        assert await parts_of(edge) == (200, {"witness": "ok", "intake": "ok"})


async def parts_of(edge):
    answer = await edge.call("GET", "/readyz")
    return answer.status, {name: answer.members["parts"][name] for name in ("witness", "intake")}


async def test_a_restart_does_not_forget_how_long_the_log_was_alone(world, store, clock, witness):
    async with run(world, store, clock, witness) as bus:
        await grow(bus)
        await bus.witnessing.once()
    witness.away = True
    clock.advance(3600)
    with capture_logs() as logs:
        async with run(world, store, clock, witness) as bus:
            assert bus.witnessing.state() == "away"
            assert 3600 <= bus.witnessing.seconds_ago() < 3700
    assert [each["event"] for each in logs if each["event"].startswith("witness.")] == [
        "witness.away",
        "witness.overdue",
    ]


async def test_a_ledger_that_is_away_ends_nothing(world, store, clock, witness, monkeypatch):
    async with run(world, store, clock, witness) as bus:
        await grow(bus)

        async def away():
            raise Refusal("unavailable")

        with monkeypatch.context() as patch:
            patch.setattr(store, "cosigned", away)
            await bus.witnessing._round(5.0)
        await bus.witnessing._round(5.0)
        assert await cosigned_size(bus, witness) == witness.seen[LOG].size


# Several gateways


async def test_a_gateway_that_cannot_reach_the_witness_lives_by_what_another_was_told_and_says_so_once(
    world, store, clock, witness
):
    async with run(world, store, clock, witness) as bus:
        await grow(bus)
        blind = replace_anchor(bus.witnessing, Witness(clock))
        blind.anchor.away = True
        with capture_logs() as logs:
            for _ in range(3):
                await grow(bus)
                await blind._round(5.0)
                await bus.witnessing.once()
                await blind._round(5.0)
                assert (blind.size, blind.state()) == (bus.witnessing.size, "ok")
        assert [each["event"] for each in logs if each["event"].startswith("witness.")] == ["witness.away"]


def replace_anchor(found, anchor):
    """Return what asks another anchor on behalf of the same bus."""
    anchor.signer = found.anchor.signer
    return witnessing.Witnessing(anchor=anchor, auditor=found.auditor, ingress=found.ingress, limits=found.limits)


async def test_two_gateways_on_one_database_have_one_log_cosigned(database):
    clock = SystemClock()
    witness, world = Witness(clock), world_of_gateways(clock.now(), "b")
    async with AsyncExitStack() as stack:
        buses = []
        for name in "ab":
            gateway = running_gateway(world, database, name, clock=clock, anchor=witness)
            buses.append((await stack.enter_async_context(gateway)).bus)
        assert await postgresql.count_gateways(database) == 2
        for number in range(20):
            await grow(buses[number % 2], number)
            await asyncio.gather(*(bus.witnessing.once() for bus in buses))
        await asyncio.gather(*(grow(bus) for bus in buses))
        for bus in buses:
            await bus.auditor.keep()
            await bus.witnessing.once()
        size = await buses[0].ledger.size()
        assert [await cosigned_size(bus, witness) for bus in buses] == [size, size]
        assert [bus.witnessing.size for bus in buses] == [size, size]
        assert witness.seen[LOG].size == size
