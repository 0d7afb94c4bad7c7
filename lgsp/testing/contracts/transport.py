"""What every carrier promises: the order of acceptance, lanes by weight, no parcel in two hands, a call when something is new."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from lgsp.domain.exchange import State
from lgsp.ports.inboxes import Parcel
from lgsp.ports.ledger import Accept
from lgsp.ports.store import Store
from lgsp.ports.transport import Transport
from lgsp.testing.contracts.inboxes import numbers
from lgsp.testing.contracts.ledger import commit
from lgsp.testing.samples import accept, lease, move
from lgsp.testing.world import NDXP, ONE_STOP, POLICE

LIMIT = 100


async def queue(ledger: Store, transport: Transport, *operations: Accept) -> None:
    """Accept envelopes and put them into their inboxes, as ingress does with this transport."""
    state: State = "queued" if transport.embedded else "accepted"
    stated = [
        replace(each, deliveries=tuple(replace(delivery, state=state) for delivery in each.deliveries))
        for each in operations
    ]
    await commit(ledger, *stated)
    found = [await ledger.parcel(part.env, part.to) for each in stated for part in each.deliveries]
    await transport.publish([parcel for parcel in found if parcel is not None])
    if not transport.embedded:
        await commit(ledger, *(move(part, "queued") for each in stated for part in each.deliveries))


async def waiting(transport: Transport, inbox: str = NDXP) -> int | None:
    """Return how many parcels all lanes of an inbox hold, None while that cannot be told."""
    held = await transport.carried(inbox)
    return None if held is None else sum(held.values())


async def take_all(transport: Transport, inbox: str = NDXP, limit: int = LIMIT) -> list[Parcel]:
    """Take until nothing comes any more, at most `limit`."""
    taken: list[Parcel] = []
    while len(taken) < limit and (found := await transport.take(inbox, limit - len(taken))):
        taken += found
    return taken


class TransportContract:
    """Promises of `lgsp.ports.transport`; the fixture `transport` carries for the fixture `ledger`, an empty store."""

    async def test_an_empty_inbox_gives_nothing(self, transport: Transport) -> None:
        assert await transport.take(NDXP, 10) == []

    async def test_parcels_come_complete_and_in_the_order_of_acceptance(
        self, ledger: Store, transport: Transport
    ) -> None:
        await queue(ledger, transport, *(accept(number) for number in (4, 2, 7)))
        taken = await take_all(transport)
        assert numbers(taken) == [4, 2, 7]
        [held] = await ledger.deliveries(accept(4).exchange.env)
        found = await ledger.parcel(held.env, NDXP)
        assert found is not None
        assert (taken[0].compact, taken[0].receipt, taken[0].sealed, taken[0].day) == (
            found.compact,
            found.receipt,
            found.sealed,
            found.day,
        )

    @pytest.mark.parametrize(("limit", "found"), [(-1, []), (0, []), (1, [1]), (2, [1, 2]), (9, [1, 2, 3])])
    async def test_no_more_come_than_asked_for(
        self, ledger: Store, transport: Transport, limit: int, found: list[int]
    ) -> None:
        await queue(ledger, transport, accept(1), accept(2), accept(3))
        assert numbers(await transport.take(NDXP, limit)) == found

    async def test_each_inbox_has_its_own(self, ledger: Store, transport: Transport) -> None:
        await queue(ledger, transport, accept(1, to=[POLICE, ONE_STOP]), accept(2, to=[POLICE]))
        assert numbers(await take_all(transport, ONE_STOP)) == [1]
        assert numbers(await take_all(transport, POLICE)) == [1, 2]

    async def test_a_taken_parcel_is_in_one_hand(self, ledger: Store, transport: Transport) -> None:
        await queue(ledger, transport, accept(1), accept(2))
        assert numbers(await transport.take(NDXP, 1)) == [1]
        assert numbers(await take_all(transport)) == [2]
        assert await transport.take(NDXP, 10) == []

    async def test_two_that_take_at_once_get_different_parcels(self, ledger: Store, transport: Transport) -> None:
        await queue(ledger, transport, *(accept(number) for number in range(1, 41)))
        hands = await asyncio.gather(*(take_all(transport, limit=10) for _ in range(4)))
        taken = [number for hand in hands for number in numbers(hand)]
        assert sorted(taken + numbers(await take_all(transport))) == list(range(1, 41))

    async def test_a_parcel_that_is_put_back_comes_again_before_what_came_later(
        self, ledger: Store, transport: Transport
    ) -> None:
        await queue(ledger, transport, accept(1), accept(2), accept(3))
        first, second = await take_all(transport, limit=2)
        await transport.put_back(NDXP, [first.delivery.env, second.delivery.env])
        assert numbers(await take_all(transport)) == [1, 2, 3]

    async def test_a_dropped_parcel_is_forgotten(self, ledger: Store, transport: Transport) -> None:
        await queue(ledger, transport, accept(1))
        [taken] = await take_all(transport)
        await commit(ledger, lease(replace(taken.delivery, state="queued")))
        await transport.drop(NDXP, [taken.delivery.env])
        assert await transport.take(NDXP, 10) == []

    async def test_dropping_or_putting_back_what_was_not_taken_is_harmless(
        self, ledger: Store, transport: Transport
    ) -> None:
        await queue(ledger, transport, accept(1))
        for let_go in (transport.drop, transport.put_back):
            await let_go(NDXP, ["sha-256:none"])
            await let_go(POLICE, [accept(1).exchange.env])
            await let_go(NDXP, [])
        assert numbers(await take_all(transport)) == [1]

    async def test_what_was_leased_elsewhere_does_not_come(self, ledger: Store, transport: Transport) -> None:
        await queue(ledger, transport, accept(1), accept(2))
        [held] = await ledger.deliveries(accept(1).exchange.env)
        await commit(ledger, lease(held))
        assert numbers(await take_all(transport)) == [2]

    async def test_what_is_published_again_comes_once_for_each_lease(self, ledger: Store, transport: Transport) -> None:
        await queue(ledger, transport, accept(1))
        [taken] = await take_all(transport)
        await transport.publish([taken])
        await commit(ledger, lease(replace(taken.delivery, state="queued")))
        await transport.drop(NDXP, [taken.delivery.env])
        assert await transport.take(NDXP, 10) == []

    async def test_the_carrier_tells_how_much_it_carries_in_each_lane(
        self, ledger: Store, transport: Transport
    ) -> None:
        assert await transport.carried(NDXP) == {"request": 0, "event": 0, "bulk": 0}
        await queue(ledger, transport, accept(1), accept(2), accept(3), accept(4, lane="bulk"))
        assert await transport.carried(NDXP) == {"request": 3, "event": 0, "bulk": 1}
        await transport.take(NDXP, 2)
        assert await transport.carried(NDXP) == {"request": 1, "event": 0, "bulk": 1}

    # Lanes

    async def test_lanes_are_drawn_by_weight(self, ledger: Store, transport: Transport) -> None:
        await queue(ledger, transport, *_lanes(request=24, event=24, bulk=24))
        drawn = Counter(parcel.delivery.lane for parcel in await take_all(transport, limit=24))
        assert drawn == {"request": 16, "event": 6, "bulk": 2}

    async def test_lanes_are_drawn_by_weight_one_by_one_too(self, ledger: Store, transport: Transport) -> None:
        await queue(ledger, transport, *_lanes(request=24, event=24, bulk=24))
        drawn = Counter[str]()
        for _ in range(24):
            drawn.update(parcel.delivery.lane for parcel in await transport.take(NDXP, 1))
        assert drawn == {"request": 16, "event": 6, "bulk": 2}

    async def test_what_a_lane_leaves_unused_goes_to_the_others(self, ledger: Store, transport: Transport) -> None:
        await queue(ledger, transport, *_lanes(request=2, event=0, bulk=30))
        drawn = Counter(parcel.delivery.lane for parcel in await take_all(transport, limit=24))
        assert drawn == {"request": 2, "bulk": 22}

    @pytest.mark.parametrize(
        ("bulk", "drawn"), [(0, {"request": 5}), (3, {"request": 5, "bulk": 3}), (40, {"request": 5, "bulk": 30})]
    )
    async def test_bulk_can_be_bounded(
        self, ledger: Store, transport: Transport, bulk: int, drawn: dict[str, int]
    ) -> None:
        await queue(ledger, transport, *_lanes(request=5, event=0, bulk=30))
        taken = await transport.take(NDXP, LIMIT, bulk=bulk)
        assert Counter(parcel.delivery.lane for parcel in taken) == drawn

    async def test_each_lane_keeps_its_order(self, ledger: Store, transport: Transport) -> None:
        await queue(ledger, transport, *_lanes(request=10, event=10, bulk=10))
        taken = await take_all(transport)
        for lane in ("request", "event", "bulk"):
            found = numbers([parcel for parcel in taken if parcel.delivery.lane == lane])
            assert found == sorted(found)

    # Calls

    async def test_those_who_watch_an_inbox_are_called_when_it_is_published_to(
        self, ledger: Store, transport: Transport
    ) -> None:
        calls: list[str] = []
        transport.watch(NDXP, lambda: calls.append("ndxp"))
        transport.watch(NDXP, lambda: calls.append("ndxp too"))
        transport.watch(POLICE, lambda: calls.append("police"))
        await queue(ledger, transport, accept(1))
        assert await _eventually(lambda: sorted(set(calls)) == ["ndxp", "ndxp too"])

    async def test_those_who_watch_are_woken(self, transport: Transport) -> None:
        calls: list[str] = []
        transport.watch(POLICE, lambda: calls.append("police"))
        transport.wake(accept(1, to=[NDXP]).deliveries)
        transport.wake(accept(2, to=[POLICE, ONE_STOP]).deliveries)
        assert await _eventually(lambda: calls == ["police"])

    async def test_a_watch_ends(self, transport: Transport) -> None:
        calls: list[str] = []
        end = transport.watch(POLICE, lambda: calls.append("ended"))
        transport.watch(POLICE, lambda: calls.append("going on"))
        end()
        end()
        transport.wake(accept(1, to=[POLICE]).deliveries)
        assert await _eventually(lambda: calls == ["going on"])

    async def test_a_watch_may_be_ended_by_its_own_call(self, transport: Transport) -> None:
        ends: list[Callable[[], None]] = []
        calls: list[int] = []

        def call(number: int) -> None:
            calls.append(number)
            for end in ends:
                end()

        ends.append(transport.watch(POLICE, lambda: call(0)))
        ends.append(transport.watch(POLICE, lambda: call(1)))
        transport.wake(accept(1, to=[POLICE]).deliveries)
        assert await _eventually(lambda: bool(calls))
        transport.wake(accept(1, to=[POLICE]).deliveries)
        assert len(calls) == len(set(calls))

    async def test_those_who_watch_are_called_when_something_is_put_back(
        self, ledger: Store, transport: Transport
    ) -> None:
        await queue(ledger, transport, accept(1))
        [taken] = await take_all(transport)
        calls: list[str] = []
        transport.watch(NDXP, lambda: calls.append("called"))
        calls.clear()
        await transport.put_back(NDXP, [taken.delivery.env])
        assert await _eventually(lambda: bool(calls))


def _lanes(*, request: int, event: int, bulk: int) -> list[Accept]:
    lanes = ["request"] * request + ["event"] * event + ["bulk"] * bulk
    return [accept(number, lane=lane) for number, lane in enumerate(lanes, start=1)]  # type: ignore[arg-type] # they are lanes


async def _eventually(condition: Callable[[], bool]) -> bool:
    """Return once a condition comes true while other tasks run; fail after a second."""
    async with asyncio.timeout(1):
        while not condition():  # noqa: ASYNC110 - a carrier may call from anywhere; there is no event to wait for
            await asyncio.sleep(0)
    return True
