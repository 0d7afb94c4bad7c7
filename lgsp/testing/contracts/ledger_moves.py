"""What every ledger promises of deliveries on the move: compare-and-swap, bodies dropped when settled, outcomes told."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any, get_args

import pytest

from lgsp.domain import strictjson
from lgsp.domain.exchange import SETTLED, Delivery, State
from lgsp.ports.ledger import Accept, Done, Seen
from lgsp.ports.store import Store
from lgsp.testing import samples
from lgsp.testing.contracts.ledger import commit
from lgsp.testing.samples import NOW, accept, lease, move
from lgsp.testing.world import FISHERIES, NDXP, ONE_STOP, POLICE

STATES = get_args(State)


async def accepted(ledger: Store, operation: Accept) -> Delivery:
    """Accept an envelope and return its first delivery as the ledger holds it."""
    [result] = await commit(ledger, operation)
    assert isinstance(result, Done)
    return samples.as_held(operation, index=result.index)


class LedgerMovesContract:
    """Promises of `lgsp.ports.ledger` about moves; the fixture `ledger` is an empty store."""

    async def test_a_delivery_is_held_as_accepted_with_its_place(self, ledger: Store) -> None:
        await commit(ledger, samples.note(1))
        held = await accepted(ledger, accept(1))
        assert held.order == 1
        assert (await ledger.held(NDXP, [held.env])).get(held.env) == held
        assert await ledger.deliveries(held.env) == [held]

    async def test_each_receiver_has_a_delivery_of_its_own(self, ledger: Store) -> None:
        operation = accept(1, to=[POLICE, ONE_STOP])
        await accepted(ledger, operation)
        found = await ledger.deliveries(operation.exchange.env)
        assert [delivery.to for delivery in found] == sorted([POLICE, ONE_STOP])
        assert {delivery.order for delivery in found} == {0}

    async def test_a_move_writes_all_that_it_states(self, ledger: Store) -> None:
        held = await accepted(ledger, accept(1))
        members: dict[str, Any] = {
            "attempts": 3,
            "lease": "l",
            "lease_until": NOW + timedelta(minutes=5),
            "due_at": NOW + timedelta(minutes=1),
            "code": "failed",
            "ack": '{"jws":"x"}',
            "final": True,
        }
        [result] = await commit(ledger, move(held, "leased", event="msg.delivered", **members))
        assert result == Done(index=1)
        assert (await ledger.held(NDXP, [held.env])).get(held.env) == replace(held, state="leased", **members)
        [entry] = await ledger.entries(1, 2)
        assert strictjson.parse_object(entry)["ev"] == "msg.delivered"

    async def test_a_move_clears_what_it_does_not_state(self, ledger: Store) -> None:
        held = await accepted(ledger, accept(1))
        leased = replace(held, state="leased")
        await commit(ledger, lease(held), move(leased, "queued"))
        assert (await ledger.held(NDXP, [held.env])).get(held.env) == held

    async def test_a_move_without_an_entry_has_no_index(self, ledger: Store) -> None:
        held = await accepted(ledger, accept(1))
        assert await commit(ledger, move(held, "leased", lease="l")) == [Done(index=-1)]
        assert await ledger.size() == 1

    async def test_times_of_a_move_are_kept_to_the_millisecond(self, ledger: Store) -> None:
        held = await accepted(ledger, accept(1))
        odd = NOW + timedelta(microseconds=1999)
        await commit(ledger, move(held, "leased", lease_until=odd, due_at=odd))
        found = (await ledger.held(NDXP, [held.env])).get(held.env)
        assert found is not None
        assert found.lease_until == found.due_at == NOW + timedelta(milliseconds=1)

    @pytest.mark.parametrize("state", STATES)
    async def test_a_move_from_an_unexpected_state_is_lost(self, ledger: Store, state: State) -> None:
        held = await accepted(ledger, accept(1, state=state))
        others = frozenset(STATES) - {state}
        assert await commit(ledger, move(held, "queued", expect=others, event="msg.replayed", code="x")) == ["moved"]
        assert (await ledger.held(NDXP, [held.env])).get(held.env) == held
        assert await ledger.size() == 1

    async def test_a_move_of_what_is_not_there_is_lost(self, ledger: Store) -> None:
        held = await accepted(ledger, accept(1))
        assert await commit(ledger, lease(replace(held, to=POLICE))) == ["moved"]
        assert await commit(ledger, lease(replace(held, env="sha-256:none"))) == ["moved"]

    @pytest.mark.parametrize(
        ("given", "result"), [("lease-1", Done()), ("lease-2", "moved"), ("", "moved"), (None, Done())]
    )
    async def test_a_move_that_names_a_lease_needs_it(self, ledger: Store, given: str | None, result: object) -> None:
        held = await accepted(ledger, accept(1))
        await commit(ledger, lease(held, "lease-1"))
        assert await commit(ledger, move(replace(held, state="leased"), "queued", held=given)) == [result]

    @pytest.mark.parametrize(("late", "result"), [(0, Done()), (1, "moved"), (None, Done())])
    async def test_a_move_that_names_when_it_is_due_needs_it(
        self, ledger: Store, late: int | None, result: object
    ) -> None:
        held = await accepted(ledger, accept(1))
        odd = NOW + timedelta(microseconds=500)
        await commit(ledger, move(held, "accepted", due_at=odd))
        given = None if late is None else odd + timedelta(milliseconds=late)
        assert await commit(ledger, move(replace(held, state="accepted"), "queued", due=given)) == [result]

    @pytest.mark.parametrize(("late", "result"), [(0, Done()), (1, "moved"), (None, Done())])
    async def test_a_move_that_names_until_when_a_lease_lasts_needs_it(
        self, ledger: Store, late: int | None, result: object
    ) -> None:
        held = await accepted(ledger, accept(1))
        seen, extended = NOW + timedelta(microseconds=500), NOW + timedelta(minutes=5)
        await commit(ledger, lease(held, "lease-1", until=seen))
        until = None if late is None else seen + timedelta(milliseconds=late)
        leased = replace(held, state="leased")
        extension = move(leased, "leased", held="lease-1", lease="lease-1", lease_until=extended)
        lapse = move(leased, "queued", held="lease-1", until=until)
        assert await commit(ledger, lapse) == [result]
        if result == "moved":
            assert await commit(ledger, extension, replace(lapse, until=seen)) == [Done(), "moved"]
            assert (await ledger.held(NDXP, [held.env]))[held.env].lease_until == extended

    async def test_of_two_leases_in_one_commit_the_first_holds(self, ledger: Store) -> None:
        held = await accepted(ledger, accept(1))
        results = await commit(ledger, lease(held, "one"), lease(held, "two"))
        assert results == [Done(index=1), "moved"]
        found = (await ledger.held(NDXP, [held.env])).get(held.env)
        assert found is not None
        assert found.lease == "one"

    async def test_a_second_ack_settles_nothing(self, ledger: Store) -> None:
        held = await accepted(ledger, accept(1))
        unsettled = frozenset({"queued", "leased"})
        ack = move(held, "acked", expect=unsettled, event="msg.acked", ack="first")
        late = move(held, "rejected", expect=unsettled, event="msg.nacked", ack="second")
        assert await commit(ledger, ack, late) == [Done(index=1), "moved"]
        assert await commit(ledger, late) == ["moved"]
        found = (await ledger.held(NDXP, [held.env])).get(held.env)
        assert found is not None
        assert (found.state, found.ack) == ("acked", "first")

    async def test_an_envelope_may_move_in_the_commit_that_accepts_it(self, ledger: Store) -> None:
        operation = accept(1)
        leased = replace(operation.deliveries[0], state="leased")
        results = await commit(
            ledger, operation, lease(operation.deliveries[0]), move(leased, "acked", event="msg.acked"), accept(2)
        )
        assert [result.index for result in results if isinstance(result, Done)] == [0, 1, 2, 3]
        found = (await ledger.held(NDXP, [operation.exchange.env])).get(operation.exchange.env)
        assert found is not None
        assert (found.state, found.order) == ("acked", 0)
        assert await ledger.parcel(operation.exchange.env, NDXP) is None

    async def test_a_move_does_not_come_before_the_acceptance(self, ledger: Store) -> None:
        operation = accept(1)
        seen = Seen(env=operation.exchange.env, to=NDXP, source=FISHERIES)
        early = lease(operation.deliveries[0])
        results = await commit(ledger, early, seen, operation, replace(early, lease="lease-2"), seen)
        assert [isinstance(result, Done) for result in results] == [False, False, True, True, True]
        found = (await ledger.held(NDXP, [operation.exchange.env]))[operation.exchange.env]
        assert (found.state, found.lease, found.lease_until) == ("leased", "lease-2", early.lease_until)

    async def test_a_move_in_the_commit_that_accepts_it_needs_its_lease(self, ledger: Store) -> None:
        until = NOW + timedelta(minutes=5)
        operation = accept(1)
        held = replace(operation.deliveries[0], state="leased", lease="one", lease_until=until)
        ack = move(held, "acked", held="one", until=until)
        results = await commit(
            ledger,
            replace(operation, deliveries=(held,)),
            *(replace(ack, held="two"), replace(ack, until=until + timedelta(minutes=1)), ack),
        )
        assert results[1:] == ["moved", "moved", Done()]

    # Bodies

    async def test_a_parcel_is_the_delivery_with_its_content(self, ledger: Store) -> None:
        operation = accept(1)
        held = await accepted(ledger, operation)
        exchange = await ledger.exchange_of(held.env)
        parcel = await ledger.parcel(held.env, NDXP)
        assert parcel is not None
        assert exchange is not None
        assert (parcel.delivery, parcel.compact, parcel.receipt) == (held, exchange.compact, exchange.receipt)
        assert (parcel.sealed, parcel.day) == (operation.sealed, operation.day)
        assert await ledger.parcel(held.env, POLICE) is None

    @pytest.mark.parametrize("state", STATES)
    async def test_a_body_is_held_until_its_delivery_is_settled(self, ledger: Store, state: State) -> None:
        held = await accepted(ledger, accept(1))
        await commit(ledger, move(held, state))
        assert (await ledger.parcel(held.env, NDXP) is None) == (state in SETTLED)

    async def test_a_body_is_held_while_another_receiver_needs_it(self, ledger: Store) -> None:
        operation = accept(1, to=[POLICE, ONE_STOP])
        await accepted(ledger, operation)
        police, one_stop = operation.deliveries
        await commit(ledger, move(police, "acked"))
        assert await ledger.parcel(one_stop.env, ONE_STOP) is not None
        await commit(ledger, move(one_stop, "expired"))
        assert await ledger.parcel(one_stop.env, ONE_STOP) is None
        assert await ledger.parcel(police.env, POLICE) is None

    async def test_both_receivers_may_settle_in_one_commit(self, ledger: Store) -> None:
        operation = accept(1, to=[POLICE, ONE_STOP])
        await accepted(ledger, operation)
        await commit(ledger, *(move(delivery, "acked") for delivery in operation.deliveries))
        assert await ledger.parcel(operation.exchange.env, POLICE) is None

    async def test_a_body_that_is_settled_as_it_is_accepted_is_held_while_another_receiver_needs_it(
        self, ledger: Store
    ) -> None:
        operation, before = accept(1, to=[POLICE, ONE_STOP]), await accepted(ledger, accept(2))
        police, one_stop = operation.deliveries
        await commit(ledger, operation, move(police, "acked"), move(before, "acked"))
        assert await ledger.parcel(police.env, ONE_STOP) is not None
        assert await ledger.parcel(before.env, NDXP) is None
        await commit(ledger, move(one_stop, "acked"))
        assert await ledger.parcel(police.env, ONE_STOP) is None

    async def test_a_body_that_nobody_receives_is_not_held(self, ledger: Store) -> None:
        operation = accept(1, to=[])
        [result] = await commit(ledger, operation)
        assert isinstance(result, Done)
        assert await ledger.exchange_of(operation.exchange.env) is not None
        assert await ledger.deliveries(operation.exchange.env) == []

    async def test_the_exchange_outlives_the_body(self, ledger: Store) -> None:
        held = await accepted(ledger, accept(1))
        before = await ledger.exchange_of(held.env)
        await commit(ledger, move(held, "acked"))
        assert await ledger.exchange_of(held.env) == before

    # Outcomes

    async def test_seeing_an_outcome_needs_its_delivery_and_its_sender(self, ledger: Store) -> None:
        held = await accepted(ledger, accept(1))
        await commit(ledger, move(held, "acked"))
        wrong = [
            Seen(env=held.env, to=NDXP, source=POLICE),
            Seen(env=held.env, to=POLICE, source=FISHERIES),
            Seen(env="sha-256:none", to=NDXP, source=FISHERIES),
        ]
        assert await commit(ledger, *wrong) == ["moved"] * 3
        assert len(await ledger.outcomes(FISHERIES, 10)) == 1
        seen = Seen(env=held.env, to=NDXP, source=FISHERIES)
        assert await commit(ledger, seen, seen) == [Done(), Done()]
        assert await ledger.outcomes(FISHERIES, 10) == []

    async def test_an_outcome_may_be_seen_in_the_commit_that_makes_it(self, ledger: Store) -> None:
        held = await accepted(ledger, accept(1))
        await commit(ledger, move(held, "acked"), Seen(env=held.env, to=NDXP, source=FISHERIES))
        assert await ledger.outcomes(FISHERIES, 10) == []

    async def test_seeing_what_was_shown_hides_nothing_that_came_after_it(self, ledger: Store) -> None:
        held = await accepted(ledger, accept(1))
        await commit(ledger, move(held, "parked"))
        late = move(replace(held, state="parked"), "acked")
        stale, fresh = (Seen(env=held.env, to=NDXP, source=FISHERIES, state=state) for state in ("parked", "acked"))
        assert await commit(ledger, late, stale) == [Done(), "moved"]
        assert len(await ledger.outcomes(FISHERIES, 10)) == 1
        assert await commit(ledger, fresh) == [Done()]
        assert await ledger.outcomes(FISHERIES, 10) == []

    async def test_what_is_seen_as_it_moves_on_is_told_again(self, ledger: Store) -> None:
        held = await accepted(ledger, accept(1))
        await commit(ledger, move(held, "parked"))
        seen = Seen(env=held.env, to=NDXP, source=FISHERIES, state="parked")
        assert await commit(ledger, seen, move(replace(held, state="parked"), "expired")) == [Done(), Done()]
        assert [each.state for each in await ledger.outcomes(FISHERIES, 10)] == ["expired"]

    async def test_a_sender_is_told_again_when_what_was_parked_ends(self, ledger: Store) -> None:
        held = await accepted(ledger, accept(1))
        await commit(ledger, move(held, "parked"), Seen(env=held.env, to=NDXP, source=FISHERIES))
        await commit(ledger, move(replace(held, state="parked"), "expired"))
        [told] = await ledger.outcomes(FISHERIES, 10)
        assert told.state == "expired"

    async def test_seeing_too_early_hides_nothing(self, ledger: Store) -> None:
        held = await accepted(ledger, accept(1))
        await commit(ledger, Seen(env=held.env, to=NDXP, source=FISHERIES))
        await commit(ledger, move(held, "acked"))
        assert len(await ledger.outcomes(FISHERIES, 10)) == 1
