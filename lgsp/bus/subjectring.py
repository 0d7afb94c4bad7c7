"""The keys by which persons are found, when they are all there."""

from __future__ import annotations

from collections.abc import Sequence

from lgsp.domain import subjects
from lgsp.errors import Refusal
from lgsp.ports.persons import Persons, SubjectKeys


async def whole_ring(keys: SubjectKeys, index: Persons) -> Sequence[bytes]:
    """Return every key of the ring; refuse (`subject_keys_differ`) one that lacks a key of the bus: an answer would be short without saying so."""
    held = keys.all()
    names = {subjects.key_name(key) for key in held}
    missing = [
        name for name, is_retired in (await index.subject_keys()).items() if not is_retired and name not in names
    ]
    if missing:
        raise Refusal("subject_keys_differ", f"{missing[0]} is not in this gateway's file")
    return held
