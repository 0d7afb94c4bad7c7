"""Whom a client's certificate names, and that nobody else speaks over its connection (docs/adr/0035).

A certificate names systems and officers by URIs of its subject alternative name. It proves no call by itself: calls are signed as ever, and
here the signer is compared with it. Which authorities are believed, and that the certificate holds, is settled by the handshake.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aiohttp import web

from lgsp.bus.authentication import Caller
from lgsp.domain import jws
from lgsp.domain.directory import Directory
from lgsp.domain.envelope import TYP, Wire
from lgsp.errors import Refusal

OURS: Final = "urn:lgsp:"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientRule:
    """What is asked of those who connect."""

    demand: bool
    """Whether a system has to show a certificate; officers, probes and readers of public proofs need none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Presented:
    """What one connection showed: the URNs that its certificate names, None when it showed no certificate."""

    names: frozenset[str] | None
    demand: bool

    def check(self, caller: Caller) -> None:
        """Refuse (`certificate_missing`, `certificate_mismatch`) a proven caller whom the connection is not for."""
        self._check(caller.urn, is_system=caller.role == "system")

    def check_envelope(self, wire: Wire, directory: Directory) -> None:
        """Refuse likewise an envelope by the owner of the key that it names; one without such a key is left to its own checks."""
        try:
            owner = directory.key(jws.parse(wire.compact, typ=TYP).kid, TYP).owner
        except Refusal:
            return
        self._check(owner, is_system=True)

    def _check(self, urn: str, *, is_system: bool) -> None:
        if self.names is None:
            if self.demand and is_system:
                raise Refusal("certificate_missing")
        elif urn not in self.names:
            raise Refusal("certificate_mismatch", f"it does not name {urn}")


def presented(request: web.BaseRequest, rule: ClientRule | None) -> Presented | None:
    """Return what a connection showed, None where nobody looks at it."""
    if rule is None:
        return None
    found = None if request.transport is None else request.transport.get_extra_info("peercert")
    if not found:
        return Presented(names=None, demand=rule.demand)
    uris = (value for kind, value in found.get("subjectAltName", ()) if kind == "URI")
    return Presented(names=frozenset(uri for uri in uris if uri.startswith(OURS)), demand=rule.demand)
