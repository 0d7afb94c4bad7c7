"""Bundles of evidence: one exchange in one file, with all that an outsider needs to check it (protocol section 7, *Bundles of evidence*).

Reading and writing the form, within its bounds. What a bundle proves is judged by `evidence_checks`; bringing one together is the bus's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from lgsp.domain import base64url, statements, strictjson
from lgsp.domain.checkpoint import MAX_PATH, MAX_SIZE
from lgsp.domain.directory import Placed
from lgsp.domain.limits import LIMITS
from lgsp.domain.merkle import HASH_BYTES
from lgsp.domain.notes import MAX_NOTE_CHARS
from lgsp.domain.statements import Statement

FORM: Final = "lgsp-evidence.v1"
BUNDLE_MAX: Final = 64 * 1024 * 1024
"""Bytes of a bundle: two bodies of the largest size in base64url, with room."""
ENTRIES_MAX: Final = 65_536
RECORDS_MAX: Final = 16_384
"""Records of one version of the directory."""
VERSIONS_MAX: Final = 256
ACKS_MAX: Final = 8_192
ENTRY_BYTES: Final = 65_535
"""An entry, as entry bundles of the log can hold it."""
DEPTH: Final = 6

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """An entry's exact bytes with its number and its path to the checkpoint's root."""

    index: int
    entry: bytes
    path: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Excerpt:
    """A directory statement with some of its records."""

    statement: bytes
    records: tuple[Placed, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Acked:
    """A receiver's ack, and the version of the directory in which its key stands."""

    version: int
    ack: Statement


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One envelope with what was said of it; `body` is None when it was erased or is not shown."""

    compact: bytes
    receipt: Statement
    acks: tuple[Acked, ...]
    body: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """The evidence of one exchange: a request or event as `message`, and the reply where there is one."""

    bus: str
    checkpoint: str
    directories: tuple[Excerpt, ...]
    entries: tuple[Logged, ...]
    message: Part
    reply: Part | None = None


def encode(bundle: Bundle) -> bytes:
    """Return the bytes of a bundle's file."""
    members: dict[str, Any] = {
        "form": FORM,
        "bus": bundle.bus,
        "checkpoint": bundle.checkpoint,
        "directories": [_excerpt_members(each) for each in bundle.directories],
        "entries": [
            {"index": each.index, "entry": each.entry.decode(), "path": _written(each.path)} for each in bundle.entries
        ],
        "message": _part_members(bundle.message),
    }
    if bundle.reply is not None:
        members["reply"] = _part_members(bundle.reply)
    return strictjson.compact(members) + b"\n"


def _excerpt_members(excerpt: Excerpt) -> dict[str, Any]:
    placed = [
        {"pos": each.pos, "record": each.record.decode(), "path": _written(each.path)} for each in excerpt.records
    ]
    return {"statement": excerpt.statement.decode("ascii"), "records": placed}


def _part_members(part: Part) -> dict[str, Any]:
    members: dict[str, Any] = {
        "envelope": part.compact.decode("ascii"),
        "receipt": part.receipt.wire(),
        "acks": [{"version": each.version, "ack": each.ack.wire()} for each in part.acks],
    }
    return members if part.body is None else members | {"body": base64url.encode(part.body)}


def _written(path: tuple[bytes, ...]) -> list[str]:
    return [base64url.encode(step) for step in path]


def parse(data: bytes) -> Bundle:
    """Return the bundle in a file's bytes, nothing of it proven; raise `ValueError` in plain words for what is not of the form."""
    if len(data) > BUNDLE_MAX:
        raise ValueError(f"larger than {BUNDLE_MAX} bytes")
    members = _members(
        strictjson.parse(data, depth=DEPTH),
        {"form", "bus", "checkpoint", "directories", "entries", "message"},
        optional="reply",
    )
    if members["form"] != FORM:
        raise ValueError(f"the form is not {FORM}")
    return Bundle(
        bus=_text(members["bus"], 64),
        checkpoint=_text(members["checkpoint"], MAX_NOTE_CHARS),
        directories=_list(members["directories"], VERSIONS_MAX, _excerpt),
        entries=_list(members["entries"], ENTRIES_MAX, _logged),
        message=_part(members["message"]),
        reply=_part(members["reply"]) if "reply" in members else None,
    )


def _members(value: object, names: set[str], *, optional: str | None = None) -> Mapping[str, Any]:
    if not isinstance(value, dict) or value.keys() - {optional} != names:
        raise ValueError(f"an object has other members than {', '.join(sorted(names))}")
    return value


def _text(value: object, most: int) -> str:
    if not isinstance(value, str) or len(value) > most:
        raise ValueError(f"a member is no text of at most {most} characters")
    return value


def _ascii(value: object, most: int) -> bytes:
    return _text(value, most).encode("ascii")


def _number(value: object) -> int:
    if type(value) is not int or not 0 <= value <= MAX_SIZE:
        raise ValueError("a member is no number from 0 on")
    return value


def _list(value: object, most: int, read: Callable[[object], T]) -> tuple[T, ...]:
    if not isinstance(value, list) or len(value) > most:
        raise ValueError(f"a member is no list of at most {most}")
    return tuple(map(read, value))


def _hash(value: object) -> bytes:
    found = base64url.decode(_text(value, 64))
    if len(found) != HASH_BYTES:
        raise ValueError("a step of a path has 32 bytes")
    return found


def _excerpt(value: object) -> Excerpt:
    members = _members(value, {"statement", "records"})
    return Excerpt(
        statement=_ascii(members["statement"], LIMITS.statement_bytes),
        records=_list(members["records"], RECORDS_MAX, _placed),
    )


def _placed(value: object) -> Placed:
    members = _members(value, {"pos", "record", "path"})
    record = _text(members["record"], ENTRY_BYTES).encode()
    return Placed(record=record, pos=_number(members["pos"]), path=_list(members["path"], MAX_PATH, _hash))


def _logged(value: object) -> Logged:
    members = _members(value, {"index", "entry", "path"})
    entry = _text(members["entry"], ENTRY_BYTES).encode()
    return Logged(index=_number(members["index"]), entry=entry, path=_list(members["path"], MAX_PATH, _hash))


def _part(value: object) -> Part:
    members = _members(value, {"envelope", "receipt", "acks"}, optional="body")
    return Part(
        compact=_ascii(members["envelope"], LIMITS.envelope_bytes),
        receipt=_statement(members["receipt"]),
        acks=_list(members["acks"], ACKS_MAX, _acked),
        body=base64url.decode(_text(members["body"], BUNDLE_MAX)) if "body" in members else None,
    )


def _acked(value: object) -> Acked:
    members = _members(value, {"version", "ack"})
    return Acked(version=_number(members["version"]), ack=_statement(members["ack"]))


def _statement(value: object) -> Statement:
    found = statements.from_wire(value)
    if len(found.jws) > LIMITS.statement_bytes or len(found.item) > ENTRY_BYTES:
        raise ValueError("a statement is too large")
    return found
