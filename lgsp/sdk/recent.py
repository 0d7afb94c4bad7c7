"""What this process posted a short while ago and has heard no outcome of: known without asking the box, which costs more than all else about it.

Whatever is not here, or is here no more, is asked of the box.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from lgsp.sdk.box import Outgoing
from lgsp.sdk.outbox import Posted

KEPT: Final = 2_048
"""Envelopes that are remembered, the newest."""


class Recent:
    """The youngest envelopes of the outbox, by env hash and by id."""

    def __init__(self, *, kept: int = KEPT) -> None:
        self._kept = kept
        self._posted: OrderedDict[str, Posted] = OrderedDict()
        self._ids: set[str] = set()

    def add(self, queued: Sequence[Outgoing]) -> None:
        """Remember envelopes that have just become durable, and forget the oldest for them."""
        for each in queued:
            self._posted[each.env] = Posted(id=each.id, key=each.key, type=each.type, audience=each.audience)
            self._ids.add(each.id)
        while len(self._posted) > self._kept:
            _, oldest = self._posted.popitem(last=False)
            self._ids.discard(oldest.id)

    def posted(self, env: str) -> Posted | None:
        """Return what was said about an envelope when it was posted."""
        return self._posted.get(env)

    def has(self, identifier: str) -> bool:
        """Tell whether the envelope of an id is in the outbox, with no outcome yet."""
        return identifier in self._ids

    def heard_of(self, env: str) -> None:
        """Take note that an outcome of an envelope is stored."""
        posted = self._posted.pop(env, None)
        if posted is not None:
            self._ids.discard(posted.id)
