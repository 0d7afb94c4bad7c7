"""Strict JSON as the standard library reads it: slow, and written apart from ours, so that the two can be held against each other."""

import json
import math

DEPTH = 32


def read(data):
    """Return the one value in the bytes; raise `ValueError` for what is not strict JSON of at most 32 levels."""
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_once, parse_constant=_none)
    except RecursionError:
        raise ValueError("too deep") from None
    _check(value, DEPTH)
    return value


def _once(pairs):
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice")
    return found


def _none(word):
    raise ValueError(word)


def _check(value, room):
    if isinstance(value, str):
        value.encode("utf-8")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError("out of range")
    elif isinstance(value, dict | list):
        if room == 0:
            raise ValueError("too deep")
        for inner in value.values() if isinstance(value, dict) else value:
            _check(inner, room - 1)
        for name in value if isinstance(value, dict) else ():
            name.encode("utf-8")
