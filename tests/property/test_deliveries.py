"""Whatever happens in whatever order, memory and SQLite agree, nothing is lost, and nothing is settled twice."""

import asyncio
import tempfile
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lgsp.backends.memory import MemoryLedger
from lgsp.backends.sql import SqliteLedger
from lgsp.domain import merkle, strictjson
from lgsp.domain.exchange import MOVES, OPEN, SETTLED
from lgsp.ports.ledger import Done, Seen, Spend
from lgsp.testing import samples
from lgsp.testing.samples import NOW, accept, move
from lgsp.testing.world import FISHERIES, NDXP, ONE_STOP, POLICE

INBOXES = [NDXP, POLICE, ONE_STOP]
LANES = ["request", "event", "bulk"]
EVENTS = {"acked": "msg.acked", "rejected": "msg.nacked", "expired": "msg.expired"}
"""The entries that settle a delivery."""

chosen = st.integers(0, 1000)


class Deliveries(RuleBasedStateMachine):
    """Random operations on two backends side by side; the model is what the operations said they would do."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.loop = asyncio.new_event_loop()
        self.path = Path(self.folder.name) / "bus.sqlite"
        self.stores = [MemoryLedger(), SqliteLedger.open(self.path, create=True)]
        self.waiting = []
        self.model = {}
        self.accepted = {}
        self.leases = 0
        self.changed = True

    def teardown(self):
        self.run(self.stores[1].close())
        self.loop.close()
        self.folder.cleanup()

    def run(self, work):
        return self.loop.run_until_complete(work)

    def ask(self, question):
        """Put a question to both and return the one answer."""
        first, second = (self.run(question(store)) for store in self.stores)
        assert first == second
        return first

    def pick(self, number, state=None):
        """Return one of the deliveries, where there is one in this state mostly one of those."""
        fitting = [place for place, held in self.model.items() if number % 8 and held.state == state]
        places = sorted(fitting or self.model)
        return self.model[places[number % len(places)]]

    def later(self, operation, effect=None):
        """Keep an operation for the next commit, with what it does to the model if it takes effect."""
        self.waiting.append((operation, effect))

    def put(self, delivery):
        self.model[delivery.env, delivery.to] = delivery

    def moved(self, held, state, /, **members):
        """Return what a move makes of a delivery, and the move."""
        plain = {"lease": "", "lease_until": None, "due_at": None, "code": "", "ack": "", "final": False}
        written = {name: value for name, value in members.items() if name in plain}
        after = replace(held, state=state, **(plain | written))
        operation = move(held, state, event=EVENTS.get(state, ""), **members)
        self.later(operation, lambda result: self.put(replace(after, order=self.model[held.env, held.to].order)))

    # What may happen

    @rule(
        number=st.integers(1, 12),
        to=st.lists(st.sampled_from(INBOXES), unique=True, max_size=3),
        lane=st.sampled_from(LANES),
        asked=st.sampled_from([0, 0, 0, 1, 2]),
        persons=st.integers(0, 2),
    )
    def accept(self, number, to, lane, asked, persons):
        operation = accept(
            number, source=POLICE if asked else FISHERIES, to=to, lane=lane, asked=asked, persons=persons
        )

        def effect(result):
            assert operation.exchange.key not in self.accepted
            self.accepted[operation.exchange.key] = result.receipt
            for place in range(len(operation.deliveries)):
                self.put(samples.as_held(operation, index=result.index, place=place))

        self.later(operation, effect)

    @precondition(lambda self: self.model)
    @rule(number=chosen, minutes=st.integers(1, 10))
    def lease(self, number, minutes):
        self.leases += 1
        until = NOW + timedelta(minutes=minutes)
        held = self.pick(number, "queued")
        self.moved(replace(held, state="queued"), "leased", lease=f"lease-{self.leases}", lease_until=until)

    @precondition(lambda self: self.model)
    @rule(number=chosen, outcome=st.sampled_from(["acked", "rejected"]))
    def ack(self, number, outcome):
        self.moved(self.pick(number), outcome, expect=OPEN, ack=f"ack {number}")

    @precondition(lambda self: self.model)
    @rule(number=chosen, right_lease=st.booleans(), parked=st.booleans())
    def nack(self, number, right_lease, parked):
        held = self.pick(number, "leased")
        lease = held.lease if right_lease else "another"
        state = "parked" if parked else "waiting"
        members = {} if parked else {"due_at": NOW + timedelta(minutes=number % 7)}
        counted = replace(held, state="leased", attempts=held.attempts + 1)
        self.moved(counted, state, held=lease, code="failed", **members)

    @precondition(lambda self: self.model)
    @rule(number=chosen)
    def expire(self, number):
        self.moved(self.pick(number), "expired", expect=OPEN, code="expired")

    @precondition(lambda self: self.model)
    @rule(
        number=chosen,
        state=st.sampled_from(["accepted", "leased", "waiting", "parked"]),
        to=st.sampled_from(["accepted", "queued"]),
    )
    def requeue(self, number, state, to):
        due = NOW + timedelta(minutes=number % 7) if to == "accepted" else None
        self.moved(replace(self.pick(number, state), state=state), to, due_at=due)

    @precondition(lambda self: self.model)
    @rule(number=chosen, state=st.sampled_from(["accepted", "queued"]))
    def set_aside(self, number, state):
        self.moved(replace(self.pick(number, state), state=state), "parked", code="carrier_mismatch")

    @precondition(lambda self: self.model)
    @rule(number=chosen, source=st.sampled_from([FISHERIES, POLICE]))
    def see(self, number, source):
        held = self.pick(number)
        self.later(Seen(env=held.env, to=held.to, source=source))

    @rule(number=st.integers(0, 3), seconds=st.integers(0, 20))
    def spend(self, number, seconds):
        now = NOW + timedelta(seconds=seconds)
        self.later(Spend(jti=f"jti-{number}", until=now + timedelta(seconds=10), now=now))

    @rule()
    def refuse(self):
        self.later(samples.refuse(1))

    @rule()
    def commit(self):
        operations = [operation for operation, _ in self.waiting]
        results = self.ask(lambda store: store.commit(operations, samples.sign_receipts))
        for (_, effect), result in zip(self.waiting, results, strict=True):
            if isinstance(result, Done) and effect is not None:
                effect(result)
        self.waiting.clear()
        self.changed = True

    @rule()
    def restart(self):
        """End the process that writes: what was not committed is gone."""
        self.waiting.clear()
        self.run(self.stores[1].close())
        self.stores[1] = SqliteLedger.open(self.path)
        self.changed = True

    # What always holds

    @invariant()
    def promises_are_kept(self):
        if self.changed:  # an operation that only waits changes nothing
            self.nothing_is_lost()
            self.receipts_stay()
            self.bodies_are_held_while_anyone_needs_them()
            self.both_read_the_same()
            self.the_log_settles_nothing_twice()
            self.changed = False

    def nothing_is_lost(self):
        for place, expected in self.model.items():
            assert self.ask(lambda store, place=place: store.held(place[1], [place[0]])) == {place[0]: expected}
        depths = Counter(
            (held.to, held.source, held.lane, held.state) for held in self.model.values() if held.state not in SETTLED
        )
        found = self.ask(lambda store: store.depths())
        assert {(depth.inbox, depth.source, depth.lane, depth.state): depth.count for depth in found} == depths
        assert sum(depth.size for depth in found) == sum(
            held.size for held in self.model.values() if held.state not in SETTLED
        )

    def receipts_stay(self):
        held = self.ask(lambda store: store.exchanges(list(self.accepted)))
        assert {key: exchange.receipt for key, exchange in held.items()} == self.accepted

    def bodies_are_held_while_anyone_needs_them(self):
        open_envs = {held.env for held in self.model.values() if held.state not in SETTLED}
        for env, to in self.model:
            found = self.ask(lambda store, env=env, to=to: store.parcel(env, to))
            assert (found is not None) == (env in open_envs)

    def both_read_the_same(self):
        for inbox in INBOXES:
            for lane in LANES:
                found = self.ask(lambda store, inbox=inbox, lane=lane: store.queued(inbox, lane, 5))
                orders = [parcel.delivery.order for parcel in found]
                assert orders == sorted(orders)
        for minutes in (0, 3, 8, 100):
            self.ask(lambda store, minutes=minutes: store.due(NOW + timedelta(minutes=minutes), 5))
        self.ask(lambda store: store.in_state("leased", 100))
        self.ask(lambda store: store.outcomes(FISHERIES, 3))
        self.ask(lambda store: store.used_since(NOW))
        self.ask(self.persons)

    async def persons(self, store):
        found = await store.persons_of(sorted({env for env, _ in self.model}))
        return {env: sorted(links, key=repr) for env, links in found.items()}

    def the_log_settles_nothing_twice(self):
        size = self.ask(lambda store: store.size())
        entries = self.ask(lambda store: store.entries(0, size))
        leaves = self.ask(lambda store: store.leaves(0, size))
        assert leaves == [merkle.leaf_hash(entry) for entry in entries]
        parsed = [strictjson.parse_object(entry) for entry in entries]
        assert [entry["seq"] for entry in parsed] == list(range(size))
        settled = Counter((entry["env"], entry["to"]) for entry in parsed if entry["ev"] in EVENTS.values())
        assert settled == Counter(place for place, held in self.model.items() if held.state in SETTLED)


def test_the_moves_tried_are_the_legal_ones():
    assert {"accepted", "leased", "acked", "rejected", "parked", "expired"} == MOVES["queued"]


TestDeliveries = Deliveries.TestCase
TestDeliveries.settings = settings(
    max_examples=30,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
)
