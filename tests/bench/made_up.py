"""What is sent: made-up notes of a given size, under a schema of their own, one-way and as a request."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any, Final

from lgsp.domain import strictjson

SCHEMA: Final = "urn:lgsp:schema:bench:note:1.0.0"
DOCUMENT: Final[dict[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": SCHEMA,
    "type": "object",
    "required": ["number", "title", "day", "rows"],
    "properties": {
        "number": {"type": "integer", "minimum": 0},
        "title": {"type": "string", "minLength": 1, "maxLength": 200},
        "day": {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"},
        "rows": {"type": "array", "maxItems": 1000, "items": {"$ref": "#/$defs/row"}},
    },
    "additionalProperties": False,
    "$defs": {
        "row": {
            "type": "object",
            "required": ["vessel", "owner", "length", "active"],
            "properties": {
                "vessel": {"type": "string", "pattern": "^AG-[0-9]{5}-TS$"},
                "owner": {"type": "string", "minLength": 1, "maxLength": 100},
                "length": {"type": "number", "minimum": 0, "maximum": 200},
                "active": {"type": "boolean"},
            },
            "additionalProperties": False,
        }
    },
}
ONE_WAY: Final = "vn.lgsp.bench.note.tell.v1"
IN_BULK: Final = "vn.lgsp.bench.note.gather.v1"
ASKED: Final = "vn.lgsp.bench.note.ask.v1"
LOOKED_UP: Final = "vn.lgsp.bench.note.look-up.v1"
LANE_OF: Final = {ONE_WAY: "event", IN_BULK: "bulk", ASKED: "event", LOOKED_UP: "request"}
"""What programs send by the hundred is no look-up: the request lane is for people, of whom each asks a few questions at once."""
REQUESTS: Final = frozenset({ASKED, LOOKED_UP})
ROW: Final = {"vessel": "AG-90001-TS", "owner": "Nguyễn Văn Mẫu", "length": 17.5, "active": True}


@dataclass(slots=True)
class Notes:
    """Notes of about so many bytes, each with a number of its own."""

    size: int
    _rest: dict[str, Any] = field(init=False)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self._rest = {"title": "Báo cáo tàu cá", "day": "2026-01-05", "rows": []}
        row = len(strictjson.compact(ROW)) + 1
        rows = max((self.size - len(strictjson.compact({"number": 100_000, **self._rest}))) // row, 1)
        self._rest["rows"] = [ROW] * rows

    def next(self) -> dict[str, Any]:
        """Return the next note."""
        return {"number": next(self._numbers), **self._rest}
