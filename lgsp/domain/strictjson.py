"""Strict JSON (RFC 8259, with what it leaves open closed): UTF-8, no duplicate names, no NaN or infinity, no lone surrogates, bounded depth."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, Final

import jiter
from pydantic_core import to_json

MAX_DEPTH: Final = 32
"""Levels of a JSON text."""
_SHORT: Final = 4_096
"""Bytes up to which looking at each value takes less time than looking at each byte; beyond, it may hold thousands of values."""
_SHAPE_OF: Final = dict.fromkeys(b"0123456789", b"0") | dict.fromkeys(b"eE", b"e") | {ord("+"): b"+"}
_SHAPES: Final = b"".join(_SHAPE_OF.get(byte, b" ") for byte in range(256))
"""Digits as 0, both signs of an exponent as e, plus, and all else as a space."""
_LARGE_POWER: Final = b"0e000"
_LARGE_SIGNED_POWER: Final = b"0e+000"
_MANY_DIGITS: Final = b"0" * 200
"""What a number out of the range of a double has in it, by its shape; texts may have it too."""
_PLACE: Final = re.compile(r" at line (\d+) column (\d+)$", re.ASCII)
"""How the parser's text ends; all before it may quote the input."""
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
_LOOKED_INTO: Final = frozenset({dict, list, float})
_TEXT: Final = frozenset({str})
_PLAIN: Final = frozenset({str, int, bool})


class NotStrict(ValueError):
    """The bytes are not strict JSON; the text is one of our own and carries nothing of the input."""


def parse(data: bytes, *, depth: int = MAX_DEPTH) -> Any:  # noqa: ANN401 - any JSON value
    """Return the one JSON value in `data`, nested at most `depth` levels; raise `NotStrict` otherwise."""
    try:
        value = _parsed(data)
    except ValueError:
        # The parser's text may quote member names, so it goes no further.
        raise NotStrict("not strict JSON") from None
    # What is short is looked through at once; nearly all that is long shows by its bytes that nothing is nested too deeply or out of range.
    if len(data) <= _SHORT or data.count(b"{") + data.count(b"[") > depth or _may_be_huge(data):
        _check(value, depth)
    return value


def _may_be_huge(data: bytes) -> bool:
    shape = data.translate(_SHAPES)
    return _LARGE_POWER in shape or _LARGE_SIGNED_POWER in shape or _MANY_DIGITS in shape


def parse_object(data: bytes, *, depth: int = MAX_DEPTH) -> dict[str, Any]:
    """Return the one JSON object in `data`; raise `NotStrict` for anything else."""
    value = parse(data, depth=depth)
    if not isinstance(value, dict):
        raise NotStrict("not a JSON object")
    return value


def breaks_at(data: bytes) -> int | None:
    """Return the byte, counted from 0, at which bytes are seen to be no JSON or to say a name twice; None where the parser finds nothing wrong."""
    try:
        _parsed(data)
    except ValueError as error:
        place = _PLACE.search(str(error))
        assert place is not None, "the parser names the place of every fault"
        line, column = int(place[1]), int(place[2])
        return sum(len(before) + 1 for before in data.split(b"\n")[: line - 1]) + max(column - 1, 0)
    return None


def _parsed(data: bytes) -> Any:  # noqa: ANN401 - any JSON value
    return jiter.from_json(data, allow_inf_nan=False, cache_mode="keys", catch_duplicate_keys=True)


def _check(value: Any, room: int) -> None:  # noqa: ANN401 - any JSON value
    # The parser makes these types and none that derive from them.
    kind = type(value)
    if kind is dict or kind is list:
        if room == 0:
            raise NotStrict("nested too deeply")
        for inner in value.values() if kind is dict else value:
            if type(inner) in _LOOKED_INTO:
                _check(inner, room - 1)
    elif kind is float and not math.isfinite(value):
        raise NotStrict("a number is out of range")


def is_nfc(data: bytes, value: object) -> bool:
    """Tell whether every text and member name of a value is in Unicode NFC; `data` is the JSON it was parsed from, or was made into.

    JSON that is in NFC as a whole and spells no character by its number holds texts in NFC alone: the quotes around a text take part in no
    composition, so what is whole is whole in its parts.
    """
    if b"\\u" not in data and (data.isascii() or unicodedata.is_normalized("NFC", data.decode())):
        return True
    return first_not_nfc(value) is None


def first_not_nfc(value: object) -> str | None:
    """Return the JSON pointer of the first text or member name that is not in Unicode NFC, or None."""
    if isinstance(value, str):
        return None if unicodedata.is_normalized("NFC", value) else ""
    if isinstance(value, dict):
        for name, inner in value.items():
            if not unicodedata.is_normalized("NFC", name):
                return ""
            found = first_not_nfc(inner)
            if found is not None:
                return f"/{escape_pointer(name)}{found}"
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            found = first_not_nfc(inner)
            if found is not None:
                return f"/{position}{found}"
    return None


def escape_pointer(name: str) -> str:
    """Return a member name as one token of a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


def compact(value: object) -> bytes:
    """Return a value as compact UTF-8 JSON, members in the order given: the form of everything the bus writes."""
    return _ENCODER.encode(value).encode()


def compact_members(members: Mapping[str, str | int | Sequence[str]]) -> bytes:
    """Return what `compact` returns, in a fraction of the time for members that are texts, integers, booleans or lists of texts.

    The quick way would write NaN, and bytes as if they were a text: whatever it is not meant for goes the other way, and is refused there.
    """
    values = members.values()
    is_plain = _PLAIN.issuperset(map(type, values)) or all(map(_is_plain, values))
    return to_json(members) if is_plain else compact(members)


def _is_plain(value: object) -> bool:
    return type(value) in _PLAIN or (type(value) is list and _TEXT.issuperset(map(type, value)))
