"""Who makes a call that carries no envelope: the `lgsp-auth` statement of a system or an officer (protocol section 3)."""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Literal

from lgsp.bus.registry import Registry
from lgsp.bus.sequencer import Sequencer
from lgsp.domain import jws, statements, strictjson
from lgsp.domain.limits import LIMITS, Limits
from lgsp.errors import Refusal
from lgsp.ports.clock import Clock
from lgsp.ports.ledger import Spend

CLAIMS: Final = frozenset({"iss", "aud", "method", "path", "hash", "iat", "exp", "jti"})
JTI_FORM: Final = re.compile(r"[A-Za-z0-9_-]{16,64}")
STREAM_PATH: Final = "/v1/stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A proven caller."""

    urn: str
    kid: str
    role: Literal["system", "officer"]
    roles: frozenset[str]
    """The officer's roles; empty for a system."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """A proven caller who states the hash of a body that has not been read yet."""

    caller: Caller
    claims: dict[str, Any]

    def has_one_of(self, roles: AbstractSet[str]) -> bool:
        """Tell whether it is an officer with one of these roles."""
        return self.caller.role == "officer" and bool(self.caller.roles & roles)


@dataclass(slots=True, kw_only=True)
class Authenticator:
    """Checks authorizations against the directory in force; each `jti` counts once, across restarts too."""

    registry: Registry
    sequencer: Sequencer
    clock: Clock
    limits: Limits = LIMITS

    def proven(self, authorization: str | None, *, method: str, path: str) -> Promise:
        """Return the word of a caller for a call whose body is yet to come, so that nobody else's is read; `path` carries the query as received.

        Refuses as `auth_missing|auth_invalid|auth_expired|sender_suspended`.
        """
        caller, claims = self._verified(_compact(authorization), method=method, path=path)
        return Promise(caller=caller, claims=claims)

    async def keep(self, promise: Promise, body: bytes) -> Caller:
        """Return the caller whose body this is, and let the authorization count; refuse as `auth_invalid` or `auth_replayed`."""
        _check_body(promise.claims, body)
        await self._spend(promise.claims)
        return promise.caller

    def once(self, promise: Promise) -> Spend:
        """Return what lets an authorization count once, for whoever writes an entry about it."""
        return self._spending(promise.claims)

    def _spending(self, claims: dict[str, Any]) -> Spend:
        now = self.clock.now()
        return Spend(jti=claims["jti"], until=now + self.limits.auth_memory, now=now)

    async def _spend(self, claims: dict[str, Any]) -> None:
        [result] = await self.sequencer.submit(self._spending(claims))
        if result == "spent":
            raise Refusal("auth_replayed")

    def check_hello(self, auth: str, *, nonce: str) -> Caller:
        """Return the system that opens a stream: its `jti` is the nonce that this gateway just made, so it counts once by itself."""
        caller, claims = self._verified(auth, method="GET", path=STREAM_PATH)
        _check_body(claims, b"")
        if claims["jti"] != nonce:
            raise Refusal("auth_replayed")
        if caller.role != "system":
            raise Refusal("forbidden", "streams are for systems")
        return caller

    def _verified(self, compact: str, *, method: str, path: str) -> tuple[Caller, dict[str, Any]]:
        try:
            if len(compact) > self.limits.statement_bytes:
                raise Refusal("too_large")
            parsed = jws.parse(compact.encode("ascii", "replace"), typ=statements.AUTH)
            key = self.registry.current.key(parsed.kid, statements.AUTH)
            jws.verify(parsed, key.public)
            claims = _claims(parsed.payload)
        except Refusal as refusal:
            raise Refusal("auth_invalid", f"the statement fails at {refusal.code}") from None
        expected = {
            "iss": key.owner,
            "aud": self.registry.bus,
            "method": method,
            "path": path,
        }
        for name, value in expected.items():
            if claims[name] != value:
                raise Refusal("auth_invalid", f"{name} is another", pointer=f"/{name}")
        self._check_time(claims)
        return self._caller(key.owner, parsed.kid), claims

    def _check_time(self, claims: dict[str, Any]) -> None:
        now, skew = self.clock.now().timestamp(), self.limits.auth_skew.total_seconds()
        issued, ends = claims["iat"], claims["exp"]
        if not 0 < ends - issued <= self.limits.auth_life / timedelta(seconds=1):
            raise Refusal("auth_invalid", "exp lies at most 60 s after iat", pointer="/exp")
        if issued > now + skew or ends < now - skew:
            raise Refusal("auth_expired")

    def _caller(self, owner: str, kid: str) -> Caller:
        directory = self.registry.current
        officer = directory.officers.get(owner)
        if officer is not None:
            return Caller(urn=owner, kid=kid, role="officer", roles=frozenset(officer.roles))
        system = directory.systems.get(owner)
        if system is None or system.status == "suspended":
            raise Refusal("sender_suspended")
        return Caller(urn=owner, kid=kid, role="system", roles=frozenset())


def _compact(authorization: str | None) -> str:
    scheme, _, compact = (authorization or "").partition(" ")
    if scheme != "LGSP" or not compact:
        raise Refusal("auth_missing")
    return compact


def _check_body(claims: dict[str, Any], body: bytes) -> None:
    if claims["hash"] != jws.hash_of(body):
        raise Refusal("auth_invalid", "hash is another", pointer="/hash")


def _claims(payload: bytes) -> dict[str, Any]:
    try:
        claims = strictjson.parse_object(payload)
    except strictjson.NotStrict:
        raise Refusal("json") from None
    sound = claims.keys() == CLAIMS and type(claims["iat"]) is int and type(claims["exp"]) is int
    if not sound or not isinstance(claims["jti"], str) or not JTI_FORM.fullmatch(claims["jti"]):
        raise Refusal("json")
    return claims
