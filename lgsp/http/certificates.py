"""The certificate by which the port is believed: read from its files, and read again when they change, without ending a connection.

A handshake takes the newest certificate that could be read whole; connections that stand keep what they began with. Files that cannot be used
leave the one before in its place, and the figures and the diary say so. Whom a client's certificate names is `clients`'.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Literal

from cryptography import x509

from lgsp.errors import Unusable
from lgsp.http.clients import ClientRule
from lgsp.logs import get_logger
from lgsp.ports.clock import Clock

LOOK_SECONDS: Final = 10.0
"""Between two looks whether the files have changed: three `stat` calls."""
Version = Literal["1.2", "1.3"]
VERSIONS: Final[dict[Version, ssl.TLSVersion]] = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """What TLS is spoken with: certificate (with its chain) and key as PEM, the authorities of clients where there are any, the oldest version."""

    cert: Path
    key: Path
    client_ca: Path | None = None
    oldest: Version = "1.3"
    demand: bool = False
    """Whether systems have to show a certificate."""

    def load(self) -> tuple[ssl.SSLContext, datetime]:
        """Return a context and the end of its certificate; refuse (`config_invalid`) what cannot be used."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = VERSIONS[self.oldest]
        # A resumed session would bring back a client that a newer list of authorities no longer knows.
        context.num_tickets = 0
        context.options |= ssl.OP_NO_TICKET
        try:
            context.load_cert_chain(self.cert, self.key, password=_no_passphrase)
            first, *_ = x509.load_pem_x509_certificates(self.cert.read_bytes())
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise Unusable("config_invalid", f"http.tls_cert, http.tls_key: {_reason(error)}") from None
        if self.client_ca is not None:
            _trust_clients(context, self.client_ca)
        return context, first.not_valid_after_utc

    def states(self) -> list[tuple[int, ...]]:
        """Return what is another when one of the files is."""
        return [_state(path) for path in (self.cert, self.key, self.client_ca) if path is not None]


def _no_passphrase() -> str:
    raise ValueError("the key is encrypted; TLS takes one that is not")


def _trust_clients(context: ssl.SSLContext, authorities: Path) -> None:
    try:
        context.load_verify_locations(authorities)
    except OSError as error:
        raise Unusable("config_invalid", f"http.client_ca: {_reason(error)}") from None
    # Probes, figures and public proofs need none; who has to show one is told at each call (`clients`).
    context.verify_mode = ssl.CERT_OPTIONAL


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _state(path: Path) -> tuple[int, ...]:
    with suppress(OSError):
        found = path.stat()
        return found.st_ino, found.st_size, found.st_mtime_ns
    return ()


class Certificates:
    """The certificate in use, and what takes its place."""

    def __init__(self, files: TlsFiles) -> None:
        """Read the files; refuse as `TlsFiles.load`."""
        self._files = files
        self._seen = files.states()
        self.context, self.until = files.load()
        """What the listener is given: its handshakes take the newest. Until when the one in use is good."""
        self._newest = self.context
        self.is_stale = False
        """Whether the files hold something that could not be taken."""
        self._asked = asyncio.Event()
        self.context.sni_callback = self._choose  # called at every handshake, with or without a name

    @property
    def rule(self) -> ClientRule | None:
        """What is demanded of clients, None where no certificate of theirs is looked at."""
        return None if self._files.client_ca is None else ClientRule(demand=self._files.demand)

    def days(self, now: datetime) -> float:
        """Return how many days the certificate in use is good for; below zero once it has expired."""
        return (self.until - now) / timedelta(days=1)

    def ask(self) -> None:
        """Have the files read now, whether they seem to have changed or not."""
        self._asked.set()

    async def keep_fresh(self, clock: Clock, every: float = LOOK_SECONDS) -> None:
        """Take over what changes in the files, within `every` seconds, until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(every):
                    await self._asked.wait()
            is_asked = self._asked.is_set()
            self._asked.clear()
            await asyncio.to_thread(self.refresh, clock.now(), asked=is_asked)

    def refresh(self, now: datetime, *, asked: bool = False) -> None:
        """Take the files' certificate when they have changed or it is `asked`; keep the one in use when theirs cannot be used."""
        seen = self._files.states()
        if seen == self._seen and not asked:
            return
        self._seen = seen  # taken before reading: what changes meanwhile is read at the next look
        try:
            context, until = self._files.load()
            if until <= now.astimezone(UTC):
                raise Unusable("config_invalid", f"http.tls_cert: has expired at {until:%Y-%m-%d %H:%M}Z")
        except Unusable as refusal:
            self.is_stale = True
            get_logger().warning("tls.kept", reason=refusal.detail, until=f"{self.until:%Y-%m-%d}")
        else:
            self._newest, self.until, self.is_stale = context, until, False
            get_logger().info("tls.renewed", until=f"{until:%Y-%m-%d}")

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self._newest
