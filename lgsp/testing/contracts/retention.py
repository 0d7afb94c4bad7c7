"""What every ledger promises of forgetting: what is over and settled goes, its envelope, receipt and acks stay, all else is untouched."""

from __future__ import annotations

from datetime import timedelta

from lgsp.ports.ledger import Forget
from lgsp.ports.store import Store
from lgsp.testing import samples
from lgsp.testing.contracts.inboxes import fill
from lgsp.testing.contracts.ledger import commit
from lgsp.testing.samples import LIFE, NOW, accept, move
from lgsp.testing.world import FISHERIES, NDXP, POLICE

REPLY_TIME = timedelta(minutes=1)
"""How long after its acceptance a sample's reply is awaited."""
TERM = NOW + LIFE + REPLY_TIME
TICK = timedelta(milliseconds=1)


class RetentionContract:
    """Promises of `lgsp.ports.retention`; the fixture `ledger` is an empty store."""

    async def test_an_exchange_is_over_when_its_life_and_the_time_for_its_reply_have_passed(
        self, ledger: Store
    ) -> None:
        [held] = await fill(ledger, 1)
        await commit(ledger, move(held, "acked"))
        assert await ledger.over(TERM, 10) == []
        assert await ledger.over(TERM + TICK, 10) == [held.env]

    async def test_what_is_open_or_parked_is_not_over(self, ledger: Store) -> None:
        queued, parked, settled = await fill(ledger, 3)
        await commit(ledger, move(parked, "parked"), move(settled, "expired"))
        assert await ledger.over(TERM + TICK, 10) == [settled.env]
        await commit(ledger, Forget(envs=(queued.env, parked.env)))
        assert await ledger.exchange_of(parked.env) is not None
        assert len(await ledger.deliveries(queued.env)) == 1

    async def test_the_oldest_are_found_first_and_no_more_than_asked_for(self, ledger: Store) -> None:
        later = timedelta(seconds=1)
        numbers = (3, 1, 2)
        held = {number: accept(number, to=(), at=NOW + later * number) for number in numbers}
        await commit(ledger, *held.values())
        # Accepted later, a reply is awaited for as long: all have one term but for their lives, which are one too.
        found = await ledger.over(TERM + timedelta(hours=1), 10)
        assert sorted(found) == sorted(operation.exchange.env for operation in held.values())
        assert len(await ledger.over(TERM + timedelta(hours=1), 2)) == 2

    async def test_what_is_forgotten_leaves_its_envelope_its_receipt_its_acks_and_the_name_of_its_reply(
        self, ledger: Store
    ) -> None:
        operation, reply = accept(1, to=(NDXP, POLICE)), accept(2, to=(), asked=1)
        await commit(ledger, operation)
        await commit(ledger, reply)
        env = operation.exchange.env
        assert await ledger.evidence(env) is None
        for held in await ledger.deliveries(env):
            await commit(ledger, move(held, "acked", ack=f'{{"by":"{held.to}"}}'))
        size = await ledger.size()
        exchange = await ledger.exchange_of(env)
        assert exchange is not None
        receipt = exchange.receipt
        assert receipt
        await commit(ledger, Forget(envs=(env,)))
        assert await ledger.exchange_of(env) is None
        assert await ledger.exchanges([(FISHERIES, samples.identity(1))]) == {}
        assert await ledger.deliveries(env) == []
        assert await ledger.outcomes(FISHERIES, 10) == []
        assert await ledger.over(TERM + TICK, 10) == [reply.exchange.env]
        assert await ledger.size() == size
        kept = await ledger.evidence(env)
        assert kept is not None
        assert kept.compact == operation.exchange.compact
        assert (kept.receipt, kept.reply) == (receipt, reply.exchange.env)
        assert sorted(kept.acks) == sorted(f'{{"by":"{to}"}}' for to in (NDXP, POLICE))
        assert await ledger.evidence_of([env, reply.exchange.env, "sha-256:nobody"]) == [kept]
        assert await ledger.evidence_of([]) == []

    async def test_an_event_without_receivers_is_forgotten_too(self, ledger: Store) -> None:
        operation = accept(1, to=())
        await commit(ledger, operation)
        [env] = await ledger.over(TERM + TICK, 10)
        await commit(ledger, Forget(envs=(env,)))
        kept = await ledger.evidence(env)
        assert kept is not None
        assert kept.acks == ()

    async def test_forgetting_what_is_not_there_does_nothing(self, ledger: Store) -> None:
        [held] = await fill(ledger, 1)
        await commit(ledger, Forget(envs=("sha-256:nobody",)))
        assert await ledger.exchange_of(held.env) is not None
