"""Frames between the three processes: JSON text, many envelopes or statements in one, a batch's signature once.

{"op": "send", "envelopes": [structured, …]}
{"op": "receipt" | "ack" | "outcome", "jws": …, "items": [[item, pos, path], …]}
{"op": "deliver", "jws": …, "items": [[item, pos, path, structured], …]}
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, Final

from lgsp.domain import strictjson
from lgsp.domain.envelope import Wire
from lgsp.domain.statements import Statement

FRAME_MAX: Final = 64 * 1024 * 1024
HEARTBEAT: Final = None
"""Nothing is measured over a connection that could break without its process noticing."""

Frame = dict[str, Any]


def text(frame: Frame) -> str:
    """Return a frame as it travels."""
    return strictjson.compact(frame).decode()


def parse(data: str) -> Frame:
    """Return a frame that came."""
    return strictjson.parse_object(data.encode())


def sending(wires: Iterable[Wire]) -> str:
    return text({"op": "send", "envelopes": [wire.structured() for wire in wires]})


def stating(op: str, statements: Sequence[Statement]) -> list[str]:
    """Return a frame for each signature among the statements, in order."""
    return [
        text({"op": op, "jws": jws, "items": [[each.item, each.pos, each.path] for each in group]})
        for jws, group in groupby(statements, key=lambda each: each.jws)
    ]


def delivering(parcels: Sequence[tuple[Statement, Wire]]) -> list[str]:
    """Return a frame for each receipt signature among (receipt, envelope), in order."""
    return [
        text(
            {
                "op": "deliver",
                "jws": jws,
                "items": [[each.item, each.pos, each.path, wire.structured()] for each, wire in group],
            }
        )
        for jws, group in groupby(parcels, key=lambda parcel: parcel[0].jws)
    ]


def stated(frame: Frame) -> list[Statement]:
    """Return the statements of a frame."""
    return [Statement(jws=frame["jws"], item=row[0], pos=row[1], path=tuple(row[2])) for row in frame["items"]]
