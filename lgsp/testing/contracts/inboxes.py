"""What every backend promises of the rows of deliveries as they are read: order, lanes, what is due, what became of what was sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from lgsp.domain.exchange import OUTCOMES, Delivery, State
from lgsp.domain.leases import lease_name
from lgsp.domain.records import Lane
from lgsp.ports.inboxes import Parcel
from lgsp.ports.store import Store
from lgsp.testing import samples
from lgsp.testing.contracts.ledger import commit
from lgsp.testing.contracts.ledger_moves import STATES
from lgsp.testing.entropy import uuid7
from lgsp.testing.samples import LIFE, NOW, accept, lease, move
from lgsp.testing.world import FISHERIES, NDXP, ONE_STOP, POLICE

SOON = NOW + timedelta(seconds=10)
EARLIER = SOON - timedelta(milliseconds=1)
HOLDERS = ("0000000a", "0000000b", "0000000c", "0000000b")


def numbers(found: Sequence[Parcel | Delivery]) -> list[int]:
    """Return the numbers of the sample envelopes in what was found."""
    known = {samples.identity(number): number for number in range(200)}
    return [known[(each.delivery if isinstance(each, Parcel) else each).id] for each in found]


async def fill(ledger: Store, count: int, *, lane: Lane = "request", state: State = "queued") -> list[Delivery]:
    """Accept envelopes 1 to `count` in one commit and return their deliveries as held."""
    operations = [accept(number, lane=lane, state=state) for number in range(1, count + 1)]
    await commit(ledger, *operations)
    return [samples.as_held(operation, index=index) for index, operation in enumerate(operations)]


class InboxesContract:
    """Promises of `lgsp.ports.inboxes`; the fixture `ledger` is an empty store."""

    async def test_an_empty_inbox_holds_nothing(self, ledger: Store) -> None:
        assert await ledger.queued(NDXP, "request", 10) == []
        assert await ledger.parcel("sha-256:none", NDXP) is None
        assert (await ledger.held(NDXP, ["sha-256:none"])).get("sha-256:none") is None
        assert await ledger.deliveries("sha-256:none") == []
        assert (
            await ledger.due(NOW, 10)
            == await ledger.in_state("leased", 10)
            == await ledger.outcomes(FISHERIES, 10)
            == []
        )
        assert await ledger.depths() == []

    # Queued

    async def test_queued_deliveries_come_in_the_order_of_acceptance(self, ledger: Store) -> None:
        for number in (5, 3, 9, 1):
            await commit(ledger, accept(number))
        assert numbers(await ledger.queued(NDXP, "request", 10)) == [5, 3, 9, 1]

    async def test_what_is_put_back_keeps_its_place(self, ledger: Store) -> None:
        first, *_ = await fill(ledger, 3)
        await commit(ledger, lease(first))
        assert numbers(await ledger.queued(NDXP, "request", 10)) == [2, 3]
        await commit(ledger, move(replace(first, state="leased"), "queued"))
        assert numbers(await ledger.queued(NDXP, "request", 10)) == [1, 2, 3]

    async def test_a_queued_parcel_is_complete(self, ledger: Store) -> None:
        [held] = await fill(ledger, 1)
        [found] = await ledger.queued(NDXP, "request", 1)
        assert found == await ledger.parcel(held.env, NDXP)
        assert found.delivery == held

    @pytest.mark.parametrize(("limit", "found"), [(0, []), (1, [1]), (2, [1, 2]), (9, [1, 2, 3])])
    async def test_no_more_come_than_asked_for(self, ledger: Store, limit: int, found: list[int]) -> None:
        await fill(ledger, 3)
        assert numbers(await ledger.queued(NDXP, "request", limit)) == found

    async def test_skipped_ones_do_not_count(self, ledger: Store) -> None:
        held = await fill(ledger, 5)
        skip = [held[0].env, held[2].env, "sha-256:none"]
        assert numbers(await ledger.queued(NDXP, "request", 2, skip)) == [2, 4]
        assert await ledger.queued(NDXP, "request", 2, [delivery.env for delivery in held]) == []

    async def test_inboxes_and_lanes_are_kept_apart(self, ledger: Store) -> None:
        await commit(
            ledger,
            accept(1, to=[POLICE]),
            accept(2, lane="bulk"),
            accept(3, to=[POLICE, NDXP]),
            accept(4, lane="event"),
        )
        assert numbers(await ledger.queued(POLICE, "request", 10)) == [1, 3]
        assert numbers(await ledger.queued(NDXP, "request", 10)) == [3]
        assert numbers(await ledger.queued(NDXP, "bulk", 10)) == [2]
        assert numbers(await ledger.queued(NDXP, "event", 10)) == [4]

    @pytest.mark.parametrize("state", STATES)
    async def test_only_what_is_queued_is_queued(self, ledger: Store, state: State) -> None:
        [held] = await fill(ledger, 1)
        await commit(ledger, move(held, state))
        assert numbers(await ledger.queued(NDXP, "request", 10)) == ([1] if state == "queued" else [])

    # Due

    @pytest.mark.parametrize(
        ("state", "members", "at", "is_due"),
        [
            ("accepted", {}, NOW, True),
            ("queued", {}, NOW + LIFE - timedelta(milliseconds=1), False),
            ("queued", {}, NOW + LIFE, True),
            ("leased", {"lease_until": SOON}, EARLIER, False),
            ("leased", {"lease_until": SOON}, SOON, True),
            ("leased", {"lease_until": NOW + 2 * LIFE}, NOW + LIFE, False),
            ("waiting", {"due_at": SOON}, EARLIER, False),
            ("waiting", {"due_at": SOON}, SOON, True),
            ("waiting", {"due_at": NOW + 2 * LIFE}, NOW + LIFE, True),
            ("parked", {}, NOW + LIFE - timedelta(milliseconds=1), False),
            ("parked", {"due_at": SOON}, SOON, False),
            ("parked", {}, NOW + LIFE, True),
            ("acked", {"lease_until": SOON}, NOW + LIFE, False),
            ("rejected", {"due_at": SOON}, NOW + LIFE, False),
            ("expired", {}, NOW + LIFE, False),
        ],
    )
    async def test_a_delivery_is_due_when_its_time_is_over(
        self, ledger: Store, state: State, members: dict[str, Any], at: datetime, *, is_due: bool
    ) -> None:
        [held] = await fill(ledger, 1)
        await commit(ledger, move(held, state, **members))
        found = await ledger.due(at, 10)
        assert found == ([replace(held, state=state, **members)] if is_due else [])

    async def test_what_is_due_for_longest_comes_first_then_what_was_accepted_first(self, ledger: Store) -> None:
        held = await fill(ledger, 5)
        times = (SOON, NOW, SOON + LIFE, EARLIER, NOW)
        await commit(ledger, *(move(each, "waiting", due_at=at) for each, at in zip(held, times, strict=True)))
        assert numbers(await ledger.due(SOON, 10)) == [2, 5, 4, 1]
        assert numbers(await ledger.due(SOON, 2)) == [2, 5]
        assert await ledger.due(SOON, 0) == []

    async def test_leased_deliveries_are_all_found(self, ledger: Store) -> None:
        held = await fill(ledger, 4)
        await commit(ledger, lease(held[2]), lease(held[0]), move(held[1], "waiting", due_at=SOON))
        found = await ledger.in_state("leased", 10)
        assert numbers(found) == [1, 3]
        assert [delivery.lease for delivery in found] == ["lease-1", "lease-1"]

    async def test_leases_are_told_apart_by_their_holders(self, ledger: Store) -> None:
        held = await fill(ledger, 4)
        names = [lease_name(uuid7(number, number), holder) for number, holder in enumerate(HOLDERS)]
        await commit(ledger, *(lease(each, name) for each, name in zip(held, names, strict=True)))
        assert numbers(await ledger.in_state("leased", 10, but=["0000000a", "0000000b"])) == [3]
        assert numbers(await ledger.in_state("leased", 10, but=["0000000c"])) == [1, 2, 4]
        assert numbers(await ledger.in_state("leased", 1, but=["0000000a"])) == [2]
        assert numbers(await ledger.in_state("leased", 10, but=[])) == [1, 2, 3, 4]

    # Outcomes

    @pytest.mark.parametrize("state", STATES)
    async def test_a_sender_is_told_of_outcomes_alone(self, ledger: Store, state: State) -> None:
        [held] = await fill(ledger, 1)
        await commit(ledger, move(held, state, ack="an ack", code="a code"))
        moved = replace(held, state=state, ack="an ack", code="a code")
        assert await ledger.outcomes(FISHERIES, 10) == ([moved] if state in OUTCOMES else [])
        assert await ledger.outcomes(POLICE, 10) == []

    async def test_outcomes_come_in_the_order_of_acceptance(self, ledger: Store) -> None:
        held = await fill(ledger, 4)
        await commit(ledger, move(held[3], "acked"), move(held[0], "parked"), move(held[1], "rejected"))
        assert numbers(await ledger.outcomes(FISHERIES, 10)) == [1, 2, 4]
        assert numbers(await ledger.outcomes(FISHERIES, 2)) == [1, 2]
        assert await ledger.outcomes(FISHERIES, 0) == []

    async def test_each_receiver_has_its_own_outcome(self, ledger: Store) -> None:
        operation = accept(1, to=[POLICE, ONE_STOP])
        await commit(ledger, operation)
        await commit(ledger, move(operation.deliveries[1], "rejected"))
        assert [delivery.to for delivery in await ledger.outcomes(FISHERIES, 10)] == [ONE_STOP]

    # Depths

    async def test_open_deliveries_are_counted_per_inbox_and_state(self, ledger: Store) -> None:
        held = await fill(ledger, 5)
        await commit(ledger, accept(6, to=[POLICE, ONE_STOP]))
        await commit(ledger, lease(held[0]), move(held[1], "acked"), move(held[2], "parked"))
        found = await ledger.depths()
        assert {(depth.inbox, depth.state): depth.count for depth in found} == {
            (NDXP, "queued"): 2,
            (NDXP, "leased"): 1,
            (NDXP, "parked"): 1,
            (POLICE, "queued"): 1,
            (ONE_STOP, "queued"): 1,
        }
        [queued] = [depth for depth in found if (depth.inbox, depth.state) == (NDXP, "queued")]
        assert (queued.source, queued.lane, queued.size) == (FISHERIES, "request", held[3].size + held[4].size)
        assert queued.first == held[3].order
