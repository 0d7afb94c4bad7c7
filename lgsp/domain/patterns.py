"""Regular expressions of schemas: one engine for both validators, in time that grows with the text alone.

The dialect is ECMA-262 as JSON Schema asks, without what needs backtracking (look-around, back references) and without what languages read
differently (inline flags, word boundaries, the anchors of single languages). `$` is the very end of the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

import jsonschema_rs

OPTIONS: Final = jsonschema_rs.RegexOptions()
"""The linear engine, with its own bound on what an expression may compile to (10 MiB)."""
SMALL: Final = 256 * 1024
"""Bytes that nearly all expressions compile to; classes of letters repeated many times take more."""
SMALL_OPTIONS: Final = jsonschema_rs.RegexOptions(size_limit=SMALL)
STRICT_END: Final = r"$(?!\n)"
"""How a schema says "the very end" to Python as well, where a bare `$` lets a last line feed pass."""
_ODD: Final = re.compile(r"\\[A-Za-z]|\(\?.", re.DOTALL)
_USUAL: Final = {*(f"\\{letter}" for letter in "dDwWsSpPnrtfvuxc"), "(?:", "(?<"}


class NotLinear(ValueError):
    """The expression is outside the dialect."""


def plain(pattern: str) -> str:
    """Return the pattern as this engine takes it: `STRICT_END` is its bare `$`."""
    cut = pattern.removesuffix(STRICT_END)
    return pattern if cut == pattern or cut.endswith("\\") else f"{cut}$"


@lru_cache(maxsize=1024)
def matcher(pattern: str) -> Callable[[str], bool]:
    """Return what tells whether a text holds a match anywhere; raise `NotLinear`."""
    text = plain(pattern)
    if not _USUAL.issuperset(_ODD.findall(text)):
        raise NotLinear(pattern)
    try:
        return _compiled(text, OPTIONS)
    except ValueError:
        raise NotLinear(pattern) from None


@lru_cache(maxsize=1024)
def is_large(pattern: str) -> bool:
    """Tell whether an expression that `matcher` takes compiles to more than `SMALL` bytes."""
    try:
        _compiled(plain(pattern), SMALL_OPTIONS)
    except ValueError:
        return True
    return False


def _compiled(text: str, options: jsonschema_rs.RegexOptions) -> Callable[[str], bool]:
    return jsonschema_rs.Draft202012Validator({"pattern": text}, pattern_options=options, offline=True).is_valid
