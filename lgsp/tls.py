"""To which addresses a program speaks without TLS, whom it believes on the other end of TLS, and which certificate it shows there.

Name and certificate of the other end are checked in every case: nothing turns it off.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from lgsp.errors import Unusable

LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
OLDEST: Final = ssl.TLSVersion.TLSv1_2
"""Of the other end; two that both speak 1.3 speak that."""


def check_url(text: str) -> str:
    """Return the address of a gateway without its last slash; raise `ValueError` for http beyond this machine, or what is no address."""
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ValueError("is not an address like https://bus.example.vn")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise ValueError("takes http only to this machine itself; use https")
    return text.rstrip("/")


def trusting(ca: Path | None, *, certificate: Path | None = None, key: Path | None = None) -> ssl.SSLContext | bool:
    """Return what aiohttp takes as `ssl`: a context that believes the authorities of a PEM file alone and shows a certificate, where they are given.

    Without either it is True, which means the authorities of this machine. Refuse (`config_invalid`) files that hold something else.
    """
    if ca is None and certificate is None:
        return True
    context = _believing(ca)
    context.minimum_version = OLDEST
    if certificate is not None:
        _show(context, certificate, key or certificate)
    return context


def _believing(ca: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as error:  # ssl.SSLError is one
        raise Unusable("config_invalid", f"ca: {ca}: {error.strerror or error}") from None


def _show(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    try:
        context.load_cert_chain(certificate, key, password=_no_passphrase)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise Unusable("config_invalid", f"certificate: {certificate}, {key}: {reason}") from None


def _no_passphrase() -> str:
    """Raise, for the library would ask at the terminal."""
    raise ValueError("the key is encrypted; TLS takes one that is not")
