"""Whose an envelope is: of its sender and its receivers, whether its exchange is held or forgotten."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Final

from lgsp.bus.cataloguer import about
from lgsp.domain.selection import PARTIES, member
from lgsp.ports.store import Store

REFUSED: Final = b'"ev":"msg.rejected"'


async def is_party(store: Store, systems: AbstractSet[str], env: str) -> bool:
    """Tell whether one of these systems has sent an envelope, or was to receive it."""
    exchange = await store.exchange_of(env)
    if exchange is not None:
        inboxes = [delivery.to for delivery in await store.deliveries(env)]
        return not systems.isdisjoint({exchange.source, *exchange.receivers, *inboxes})
    # Forgotten, or refused: the log itself says who had it.
    entries = await store.entries_at(await store.entries_of(env))
    [(_, manifest, _)] = await about(store, entries[:1]) or [("", {}, {})]
    named = {member(name, entry) for entry in entries if REFUSED not in entry for name in PARTIES}
    return not systems.isdisjoint({str(manifest.get("source")), str(manifest.get("audience")), *named})
