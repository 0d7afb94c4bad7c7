"""Names on the bus: agencies, systems, officers, topics, gateways, message types, schemas (protocol section 1).

Agency codes follow Decision 20/2020/QĐ-TTg (level 1 on the left); the legacy layout of QCVN 102:2016 (level 1 on the right) is converted.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Final, TypeVar

from lgsp.errors import Refusal

REMEMBERED: Final = 4_096
"""Answers about texts that are remembered; the one asked for longest ago is forgotten first."""
REMEMBERED_LENGTH: Final = 256
"""Characters of a text beyond which nothing is remembered of it: it is no name, and whoever signs can send any number of long ones."""

T = TypeVar("T")


def remembered(asked: Callable[[str], T]) -> Callable[[str], T]:
    """Remember what a pure function of a text answers."""
    cached = lru_cache(maxsize=REMEMBERED)(asked)

    @wraps(asked)
    def answer(text: str) -> T:
        return cached(text) if len(text) <= REMEMBERED_LENGTH else asked(text)

    return answer


# Digits are written [0-9]: \d also takes those of other scripts, and two spellings of one name are two names.
AGENCY_CODE = r"[A-Z][0-9]{2}(?:\.[0-9]{1,3}){0,4}"
LABEL = r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?"
SEGMENT = r"[a-z][a-z0-9-]{0,31}"
TYPE = rf"vn\.lgsp\.{SEGMENT}\.{SEGMENT}\.{SEGMENT}(?:\.reply)?\.v[1-9][0-9]{{0,3}}"

AGENCY_CODE_FORM = re.compile(AGENCY_CODE)
LEGACY_CODE_FORM = re.compile(r"[0-9]{3}\.[0-9]{2}\.[0-9]{2}\.[A-Z][0-9]{2}")
AGENCY_FORM = re.compile(rf"urn:lgsp:agency:({AGENCY_CODE})")
SYSTEM_FORM = re.compile(rf"urn:lgsp:agency:({AGENCY_CODE}):sys:({LABEL})")
OFFICER_FORM = re.compile(rf"urn:lgsp:agency:({AGENCY_CODE}):officer:([a-z0-9]{{4,32}})")
TOPIC_FORM = re.compile(rf"urn:lgsp:topic:({TYPE})")
BUS_FORM = re.compile(r"urn:lgsp:bus:([0-9]{2})")
GATEWAY_FORM = re.compile(rf"urn:lgsp:bus:([0-9]{{2}}):gw:({LABEL})")
TYPE_FORM = re.compile(TYPE)
SCHEMA_FORM = re.compile(rf"urn:lgsp:schema:({SEGMENT}):({SEGMENT}):([0-9]{{1,4}}\.[0-9]{{1,4}}\.[0-9]{{1,4}})")
SHORT_SYSTEM_FORM = re.compile(rf"({AGENCY_CODE})/({LABEL})")
SHORT_OFFICER_FORM = re.compile(rf"({AGENCY_CODE})/([a-z0-9]{{4,32}})")


def agency_code(text: str) -> str:
    """Return the canonical agency code (level 1 on the left) of either spelling; refuse anything else as `bad_request`."""
    if AGENCY_CODE_FORM.fullmatch(text):
        return text
    if LEGACY_CODE_FORM.fullmatch(text):
        parts = text.split(".")[::-1]
        while len(parts) > 1 and set(parts[-1]) == {"0"}:
            parts.pop()
        return ".".join(parts)
    raise Refusal("bad_request", "an agency code looks like H01.12, or 000.00.12.H01 in the legacy layout")


def legacy_agency_code(code: str) -> str:
    """Return the legacy spelling (`000.00.12.H01`) of a canonical code.

    Refuses as `bad_request` a code that this spelling cannot hold: more than four levels, or numbers that are not of its widths, which would
    come back as another agency's.
    """
    canonical = agency_code(code)
    first, *others = canonical.split(".")
    padded = [*others, *("00", "00", "000")[len(others) :]]
    legacy = ".".join([*padded[::-1], first])
    if LEGACY_CODE_FORM.fullmatch(legacy) is None or agency_code(legacy) != canonical:
        raise Refusal("bad_request", "this agency code has no legacy spelling")
    return legacy


def agency_urn(code: str) -> str:
    """Return the URN of an agency given in either spelling."""
    return f"urn:lgsp:agency:{agency_code(code)}"


def system_urn(text: str) -> str:
    """Return the URN of a system given as URN or in the short form `H01.12/vnfishbase`; refuse anything else as `bad_request`."""
    if SYSTEM_FORM.fullmatch(text):
        return text
    short = SHORT_SYSTEM_FORM.fullmatch(text)
    if short is None:
        raise Refusal("bad_request", "a system looks like H01.12/vnfishbase")
    return f"urn:lgsp:agency:{short[1]}:sys:{short[2]}"


def officer_urn(text: str) -> str:
    """Return the URN of an officer given as URN or in the short form `H01.12/7f3a91`; refuse anything else as `bad_request`."""
    if OFFICER_FORM.fullmatch(text):
        return text
    short = SHORT_OFFICER_FORM.fullmatch(text)
    if short is None:
        raise Refusal("bad_request", "an officer looks like H01.12/7f3a91: agency and pseudonym")
    return f"urn:lgsp:agency:{short[1]}:officer:{short[2]}"


@remembered
def short_system(urn: str) -> str:
    """Return the short form `H01.12/vnfishbase` of a system's URN, or the URN itself when it names something else."""
    found = SYSTEM_FORM.fullmatch(urn)
    return f"{found[1]}/{found[2]}" if found else urn


@remembered
def agency_of(urn: str) -> str:
    """Return the URN of the agency that a system, officer or agency URN belongs to, or "" for anything else."""
    for form in (SYSTEM_FORM, OFFICER_FORM, AGENCY_FORM):
        found = form.fullmatch(urn)
        if found:
            return f"urn:lgsp:agency:{found[1]}"
    return ""


def topic_urn(message_type: str) -> str:
    """Return the URN of the topic on which events of a type are published."""
    return f"urn:lgsp:topic:{message_type}"


@remembered
def is_topic(urn: str) -> bool:
    """Tell whether the URN names a topic."""
    return TOPIC_FORM.fullmatch(urn) is not None


@remembered
def is_system(urn: str) -> bool:
    """Tell whether the URN names a system."""
    return SYSTEM_FORM.fullmatch(urn) is not None


def is_agency(urn: str) -> bool:
    """Tell whether the URN names an agency."""
    return AGENCY_FORM.fullmatch(urn) is not None


@remembered
def is_audience(urn: str) -> bool:
    """Tell whether the URN may be the audience of an envelope: a system, an agency or a topic."""
    return any(form.fullmatch(urn) for form in (SYSTEM_FORM, AGENCY_FORM, TOPIC_FORM))


@remembered
def is_reply_type(message_type: str) -> bool:
    """Tell whether the type is that of a reply (`….reply.v1`)."""
    stem, _, version = message_type.rpartition(".v")
    return stem.endswith(".reply") and version.isdecimal()


@remembered
def reply_type(message_type: str) -> str:
    """Return the type of the reply to a request of this type."""
    stem, _, version = message_type.rpartition(".v")
    return f"{stem}.reply.v{version}"


@remembered
def request_type(message_type: str) -> str:
    """Return the type of the request that a reply of this type answers; any other type is its own."""
    if not is_reply_type(message_type):
        return message_type
    stem, _, version = message_type.rpartition(".v")
    return f"{stem.removesuffix('.reply')}.v{version}"


def type_matches(message_type: str, pattern: str) -> bool:
    """Tell whether a type equals the pattern, or starts with it where the pattern ends in `.*`."""
    if pattern.endswith(".*"):
        return message_type.startswith(pattern[:-1])
    return message_type == pattern
