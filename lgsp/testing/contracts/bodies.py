"""What every ledger promises of sealed bodies: how many are held of each day and why, the archive's end, and the end of a day's key."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from lgsp.domain import entries
from lgsp.domain.exchange import Delivery
from lgsp.ports.bodies import DayHeld, SealedBody
from lgsp.ports.ledger import Accept, DestroyBodyKey, Done, DropArchived, Forget, KeepBodyKey
from lgsp.ports.store import Store
from lgsp.testing.contracts.ledger import commit
from lgsp.testing.samples import DAY, NOW, accept, as_held, lease, move
from lgsp.testing.world import GATEWAY, NDXP, ONE_STOP, POLICE

NEXT: Final = "2026-11-23"
END = NOW + timedelta(days=30)
TICK = timedelta(milliseconds=1)


def destroy(day: str) -> DestroyBodyKey:
    """Return the operation that destroys a day's key."""
    event = "admin.body.key.destroyed"
    return DestroyBodyKey(day=day, entry=entries.draft(event, at=NOW, bus=GATEWAY, obj=day, by="local", reason="asked"))


def keep(day: str) -> KeepBodyKey:
    """Return the operation that keeps a day's key."""
    return KeepBodyKey(day=day, wrapped=f"the wrapped key of {day}".encode())


async def held(ledger: Store, *operations: Accept) -> list[Delivery]:
    """Accept these envelopes in an empty store and return their first deliveries as they are held."""
    await commit(ledger, *operations)
    return [as_held(each, index=index) for index, each in enumerate(operations)]


class BodiesContract:
    """Promises of `lgsp.ports.bodies`, and of the operations that change what it reads; the fixture `ledger` is an empty store."""

    async def test_nothing_is_held_of_an_empty_store(self, ledger: Store) -> None:
        assert await ledger.body_of("sha-256:none") is None
        assert await ledger.bodies_by_day() == []
        assert await ledger.undelivered(DAY, 10) == []
        assert await ledger.archived(DAY, 10) == await ledger.archive_over(END, 10) == []

    async def test_an_archived_body_outlives_its_delivery_and_its_exchange(self, ledger: Store) -> None:
        operation = accept(1, kept_until=END)
        [delivery] = await held(ledger, operation)
        await commit(ledger, move(delivery, "acked"))
        await commit(ledger, Forget(envs=(delivery.env,)))
        assert await ledger.exchange_of(delivery.env) is None
        assert await ledger.body_of(delivery.env) == SealedBody(day=DAY, sealed=operation.sealed)

    async def test_a_body_that_is_not_archived_goes_with_its_delivery(self, ledger: Store) -> None:
        operation = accept(1)
        [delivery] = await held(ledger, operation)
        assert await ledger.body_of(delivery.env) == SealedBody(day=DAY, sealed=operation.sealed)
        await commit(ledger, move(delivery, "acked"))
        assert await ledger.body_of(delivery.env) is None
        assert await ledger.bodies_by_day() == []

    async def test_what_nobody_receives_is_held_where_it_is_archived(self, ledger: Store) -> None:
        archived, other = accept(1, to=(), kept_until=END), accept(2, to=())
        await commit(ledger, archived, other)
        assert await ledger.body_of(archived.exchange.env) is not None
        assert await ledger.body_of(other.exchange.env) is None

    async def test_days_tell_how_many_are_in_flight_parked_and_archived(self, ledger: Store) -> None:
        flying, parked, archived, *_ = await held(
            ledger,
            accept(1, to=(POLICE, ONE_STOP)),
            accept(2, kept_until=END),
            accept(3, kept_until=END),
            accept(4, day=NEXT, kept_until=END),
            accept(5, day=NEXT),
        )
        await commit(ledger, move(flying, "parked"), move(parked, "parked"), move(archived, "acked"))
        assert await ledger.bodies_by_day() == [
            DayHeld(day=DAY, in_flight=1, parked=1, archived=1),
            DayHeld(day=NEXT, in_flight=2, parked=0, archived=0),
        ]

    async def test_what_is_undelivered_of_a_day_comes_in_order_without_what_is_leased(self, ledger: Store) -> None:
        first, leased, parked, acked, *_ = await held(
            ledger, accept(1), accept(2), accept(3), accept(4), accept(5, day=NEXT), accept(6)
        )
        await commit(ledger, lease(leased), move(parked, "parked"), move(acked, "acked"))
        found = await ledger.undelivered(DAY, 10)
        assert [(each.order, each.state) for each in found] == [(0, "queued"), (2, "parked"), (5, "queued")]
        assert await ledger.undelivered(DAY, 1) == [first]

    async def test_the_archive_gives_up_what_is_over_the_oldest_first_and_nothing_that_is_open(
        self, ledger: Store
    ) -> None:
        later = END + timedelta(days=1)
        young, old, waiting = await held(
            ledger, accept(1, kept_until=later), accept(2, kept_until=END), accept(3, kept_until=END)
        )
        await commit(ledger, move(young, "acked"), move(old, "acked"))
        assert await ledger.archive_over(END - TICK, 10) == []
        assert await ledger.archive_over(END, 10) == [old.env]
        assert await ledger.archive_over(later, 10) == [old.env, young.env]
        assert await ledger.archive_over(later, 1) == [old.env]
        assert sorted(await ledger.archived(DAY, 10)) == sorted([old.env, young.env])
        assert len(await ledger.archived(DAY, 1)) == 1
        assert await ledger.archived(NEXT, 10) == []
        assert await commit(ledger, DropArchived(envs=(old.env, waiting.env, "sha-256:none"))) == [Done()]
        assert await ledger.body_of(old.env) is None
        assert await ledger.body_of(waiting.env) is not None
        assert await ledger.parcel(waiting.env, NDXP) is not None

    async def test_only_what_is_archived_is_dropped_as_such(self, ledger: Store) -> None:
        [delivery] = await held(ledger, accept(1))
        await commit(ledger, DropArchived(envs=(delivery.env,)))
        assert await ledger.body_of(delivery.env) is not None

    async def test_a_key_that_is_destroyed_is_gone_and_the_log_says_so_once(self, ledger: Store) -> None:
        await commit(ledger, keep(DAY), keep(NEXT))
        assert await commit(ledger, destroy(DAY), destroy(DAY)) == [Done(index=0), "moved"]
        assert await ledger.body_keys() == {NEXT: keep(NEXT).wrapped}
        assert await commit(ledger, destroy(DAY), destroy("2026-11-01")) == ["moved", "moved"]
        assert await ledger.size() == 1

    async def test_destroying_a_key_leaves_the_bodies_of_its_day_to_be_dropped(self, ledger: Store) -> None:
        [delivery, _] = await held(ledger, accept(1, kept_until=END), accept(2, day=NEXT))
        await commit(ledger, keep(DAY), move(delivery, "acked"), destroy(DAY))
        assert await ledger.archived(DAY, 10) == [delivery.env]

    async def test_a_key_may_be_kept_and_destroyed_in_one_commit(self, ledger: Store) -> None:
        assert await commit(ledger, keep(DAY), destroy(DAY), keep(NEXT)) == [Done(), Done(index=0), Done()]
        assert list(await ledger.body_keys()) == [NEXT]
