"""Log entries: the JSON whose bytes are the leaves of the log, members in the one order of protocol section 7."""

from __future__ import annotations

import re
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from lgsp.domain import strictjson
from lgsp.domain.envelope import format_time
from lgsp.domain.values import fixed
from lgsp.errors import Refusal

MEMBERS: Final = (
    "env", "id", "src", "aud", "to", "type", "schema", "policy", "rule", "kid", "purpose", "cause", "stmt", "code", "attempt", "sc",
    "by", "obj", "hash", "reason",
    "n", "peer", "from",
)  # fmt: skip
PLACES: Final = {name: place for place, name in enumerate(MEMBERS)}
EVENTS: Final = frozenset(
    {
        "msg.accepted", "msg.rejected", "msg.delivered", "msg.acked", "msg.nacked", "msg.waiting", "msg.expired", "msg.parked", "msg.replayed",
        "edge.refused", "key.added", "key.rotated", "key.revoked", "directory.changed", "schema.published", "admin.parked.read",
        "admin.log.restored", "admin.withholding.made", "admin.withholding.ended", "admin.persons.asked", "admin.persons.named",
        "admin.subject.key.retired", "admin.body.key.destroyed", "audit.read", "subject.erased", "log.opened", "log.closed",
    }
)  # fmt: skip

NUMBERED: Final = b'{"v":1,"seq":%d,'
"""How the bytes of every entry begin, with its number."""

REASON_MAX: Final = 200
REASON_FORM: Final = re.compile(r"(?!.*[0-9]{9})(?=.*\S)[^\x00-\x1f\x7f-\x9f]{1,200}")
"""Why a person did something, in one line. Nine digits in a row may be a person's number, and the log keeps what it is told."""


def check_reason(reason: str) -> str:
    """Return a person's reason as it is; refuse (`bad_request`) one that the log may not hold."""
    if REASON_FORM.fullmatch(reason) is None:
        raise Refusal(
            "bad_request",
            f"a reason is a line of 1 to {REASON_MAX} characters without anyone's number",
            pointer="/reason",
        )
    return reason


@fixed
class Draft:
    """An entry before the ledger gives it its number."""

    rest: bytes

    def numbered(self, seq: int) -> bytes:
        """Return the leaf bytes of this entry at index `seq`."""
        return b'{"v":1,"seq":%d,%b' % (seq, self.rest)


@lru_cache(maxsize=256)
def _ordered(event: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of an entry's members in their order; raise `ValueError` for an event or a member that there is not."""
    if event not in EVENTS or not PLACES.keys() >= set(names):
        raise ValueError(f"no such event or member: {event} {sorted(set(names) - PLACES.keys())}")
    return tuple(sorted(names, key=PLACES.__getitem__))


def draft(event: str, *, at: datetime, bus: str, **members: Any) -> Draft:  # noqa: ANN401 - texts, integers, list of texts
    """Return an entry without its number; empty members are left out, `from_` is written `from`."""
    if "from_" in members:
        members["from"] = members.pop("from_")
    body: dict[str, Any] = {"ts": format_time(at), "ev": event, "bus": bus}
    for name in _ordered(event, tuple(members)):
        value = members[name]
        if value or value == 0:  # a number is said whatever it is; what else is empty is left out
            body[name] = value
    return Draft(rest=strictjson.compact_members(body)[1:])
