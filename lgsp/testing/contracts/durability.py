"""What a ledger that outlives its process promises of a restart: everything is there, in the same order, and goes on from there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from lgsp.domain import merkle, strictjson
from lgsp.ports.ledger import KeepBodyKey, KeepCheckpoint, Seen, Spend
from lgsp.ports.store import Store
from lgsp.testing.contracts.inboxes import fill, numbers
from lgsp.testing.contracts.ledger import commit
from lgsp.testing.samples import LIFE, NOW, accept, lease, move, note, publish
from lgsp.testing.world import FISHERIES, NDXP

Reopen = Callable[[], Awaitable[Store]]
"""Close the store that is open, if any, and open it again."""


class DurabilityContract:
    """Promises of `lgsp.ports.ledger` across restarts; the fixture `reopen` opens the same store again, empty at first."""

    async def test_the_log_goes_on_where_it_stood(self, reopen: Reopen) -> None:
        ledger = await reopen()
        await commit(ledger, accept(1), note(1))
        before = await ledger.entries(0, 10)
        ledger = await reopen()
        assert await ledger.entries(0, 10) == before
        await commit(ledger, note(2))
        entries = await ledger.entries(0, 10)
        assert [strictjson.parse_object(entry)["seq"] for entry in entries] == [0, 1, 2]
        assert await ledger.leaves(0, 10) == [merkle.leaf_hash(entry) for entry in entries]

    async def test_an_exchange_comes_back_byte_for_byte(self, reopen: Reopen) -> None:
        ledger = await reopen()
        await commit(ledger, accept(1))
        before = await ledger.exchange_of(accept(1).exchange.env)
        ledger = await reopen()
        assert before is not None
        assert await ledger.exchange_of(before.env) == before
        assert await commit(ledger, accept(1)) == ["duplicate"]

    async def test_inboxes_keep_order_and_content(self, reopen: Reopen) -> None:
        ledger = await reopen()
        held = await fill(ledger, 4)
        await commit(ledger, lease(held[0]), move(held[1], "acked"), lease(held[3]))
        await commit(ledger, move(replace(held[0], state="leased"), "queued"))
        before = await ledger.queued(NDXP, "request", 10)
        ledger = await reopen()
        assert numbers(before) == [1, 3]
        assert await ledger.queued(NDXP, "request", 10) == before
        assert numbers(await ledger.in_state("leased", 10)) == [4]
        assert numbers(await ledger.outcomes(FISHERIES, 10)) == [2]
        await commit(ledger, Seen(env=held[1].env, to=NDXP, source=FISHERIES))
        ledger = await reopen()
        assert await ledger.outcomes(FISHERIES, 10) == []

    async def test_the_rest_is_kept_too(self, reopen: Reopen) -> None:
        ledger = await reopen()
        once = Spend(jti="once", until=NOW + LIFE, now=NOW)
        await commit(ledger, once, publish(1, ["b", "a"], {"urn:x": b"{}"}), KeepCheckpoint(size=1, note="a note"))
        await commit(ledger, KeepBodyKey(day="2026-11-22", wrapped=b"key"))
        before = await ledger.head()
        ledger = await reopen()
        assert await ledger.head() == before
        assert await ledger.documents() == {"urn:x": b"{}"}
        assert await ledger.body_keys() == {"2026-11-22": b"key"}
        assert await ledger.checkpoint() == "a note"
        assert await commit(ledger, once) == ["spent"]
