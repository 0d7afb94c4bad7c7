"""Temporary: replaced by the embedded transport."""

from __future__ import annotations

from collections import defaultdict

LANES = (("request", 8), ("event", 3), ("bulk", 1))


class EmbeddedTransport:
    """The ledger's own rows as queue."""

    embedded = True

    def __init__(self, inboxes):
        self.inboxes = inboxes
        self.held = defaultdict(set)
        self.watchers = defaultdict(list)

    async def publish(self, parcels):
        self.wake([p.delivery for p in parcels])

    async def take(self, inbox, limit):
        out = []
        for lane, weight in LANES:
            if len(out) >= limit: break
            room = limit - len(out)
            got = await self.inboxes.queued(inbox, lane, room, tuple(self.held[inbox]))
            out += got
        for p in out:
            self.held[inbox].add(p.delivery.env)
        return out

    async def release(self, env, inbox):
        self.held[inbox].discard(env)

    def wake(self, deliveries):
        for inbox in {d.to for d in deliveries}:
            for call in list(self.watchers[inbox]):
                call()

    def watch(self, inbox, call):
        self.watchers[inbox].append(call)
        return lambda: self.watchers[inbox].remove(call)
