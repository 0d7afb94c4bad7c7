"""What the bus says no to, shown on the running gateway: five envelopes that must not pass, each with the code that must come back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import aiohttp

from lgsp.domain import base64url, envelope, strictjson
from lgsp.domain.envelope import Wire
from lgsp.domain.keys import PrivateKey
from lgsp.machine import SystemEntropy

POPULATION: Final = "urn:lgsp:agency:G01.02:sys:population"
VERIFY: Final = "vn.lgsp.population.citizen.verify.v1"
VERIFY_SCHEMA: Final = "urn:lgsp:schema:population:citizen-verify-request:1.0.0"
SOMEBODY: Final[Mapping[str, str]] = {
    "personalNumber": "099185999998",
    "fullName": "VÕ THỊ MINH HOẠ",
    "birthDate": "1985",
}
SECONDS: Final = 10
"""How long the one good question waits for its reply; an answer takes a few seconds more at most."""
ANSWERED: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One refusal as it was shown: what was tried, what had to come back, what came."""

    tried: str
    tried_vi: str
    expected: str
    status: int
    code: str
    title: str
    hint: str

    @property
    def as_expected(self) -> bool:
        """Whether the bus refused, and for the right reason."""
        return self.code == self.expected


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """A system with its key and what it may state."""

    urn: str
    key: PrivateKey
    procedure: str
    officer: str

    def envelope(self, body: Mapping[str, Any], **changes: str) -> Wire:
        """Return a signed question about a person, with some attributes changed."""
        now = datetime.now(UTC)
        stamp = envelope.format_time(now)
        attributes = {
            "specversion": "1.0",
            "id": SystemEntropy().uuid7(),
            "source": self.urn,
            "type": VERIFY,
            "time": stamp,
            "recordedtime": stamp,
            "expirytime": envelope.format_time(now + timedelta(seconds=60)),
            "audience": POPULATION,
            "datacontenttype": "application/json",
            "dataschema": VERIFY_SCHEMA,
            "dataclassification": "restricted",
            "purpose": "dpv:IdentityVerification",
            "legalbasis": "dpv:LegalObligation",
            "procedure": self.procedure,
            "casefile": "H01.31-20261122-9999999",
            "authid": self.officer,
        }
        return envelope.sign(attributes | changes, strictjson.compact(body), self.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offender:
    """Sends what must be refused to a gateway."""

    session: aiohttp.ClientSession
    url: str
    language: str

    async def show(self, *, granted: Sender, stranger: Sender) -> list[Shown]:
        """Try the five and return what came back."""
        wire = granted.envelope(SOMEBODY)
        # Its reply is awaited, so that every run of the same seed has as many exchanges.
        first = await self.post(wire, prefer=f"wait={SECONDS}")
        twin = granted.envelope({**SOMEBODY, "birthDate": "1986"}, id=_id_of(wire))
        tries = [
            ("no grant", "không có quyền", "no_grant", stranger.envelope(SOMEBODY)),
            (
                "a grant for another purpose",
                "quyền cho mục đích khác",
                "purpose_not_granted",
                granted.envelope(SOMEBODY, purpose="dpv:Marketing"),
            ),
            ("a forged signature", "chữ ký giả", "signature", _forged(granted.envelope(SOMEBODY))),
            ("a used id with another body", "mã đã dùng với nội dung khác", "id_conflict", twin),
            (
                "a body that breaks its schema",
                "nội dung sai lược đồ",
                "schema",
                granted.envelope({**SOMEBODY, "birthDate": "22/11/1985"}),
            ),
        ]
        found = [await self._refused(*each) for each in tries]
        if first[0] != ANSWERED:
            found.append(_shown("the envelope that the others are twins of", "phong bì gốc", "accepted", *first))
        return found

    async def _refused(self, tried: str, tried_vi: str, expected: str, wire: Wire) -> Shown:
        return _shown(tried, tried_vi, expected, *await self.post(wire))

    async def post(self, wire: Wire, **preferred: str) -> tuple[int, dict[str, Any]]:
        """Submit an envelope and return status and answer; `preferred` goes out as headers."""
        headers = {
            "lgsp-env": wire.compact.decode(),
            "Content-Type": "application/json",
            "Accept-Language": self.language,
            **preferred,
        }
        timeout = aiohttp.ClientTimeout(total=2 * SECONDS)
        async with self.session.post(
            f"{self.url}/v1/envelopes", data=wire.body, headers=headers, timeout=timeout
        ) as answer:
            return answer.status, await answer.json(content_type=None)


def _shown(tried: str, tried_vi: str, expected: str, status: int, problem: dict[str, Any]) -> Shown:
    return Shown(
        tried=tried,
        tried_vi=tried_vi,
        expected=expected,
        status=status,
        code=str(problem.get("code", "accepted")),
        title=str(problem.get("title", "")),
        hint=str(problem.get("hint", "")),
    )


def _id_of(wire: Wire) -> str:
    payload = strictjson.parse_object(base64url.decode(wire.compact.split(b".")[1]))
    return str(payload["id"])


def _forged(wire: Wire) -> Wire:
    """Return the envelope with one bit of its signature changed."""
    head, payload, signature = wire.compact.split(b".")
    raw = bytearray(base64url.decode(signature))
    raw[0] ^= 1
    return replace(wire, compact=b".".join((head, payload, base64url.encode(bytes(raw)).encode())))
