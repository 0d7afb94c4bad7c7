"""Which certificate of a gateway is believed: one of the authorities that the settings name, else one that this machine trusts."""

from __future__ import annotations

import ssl
from pathlib import Path

from lgsp.errors import Unusable


def trusting(ca: Path | None) -> ssl.SSLContext | bool:
    """Return what aiohttp takes as `ssl`: a context that believes the authorities of a PEM file alone, or True for the machine's own.

    Name and certificate of the gateway are checked in either case. Refuse (`config_invalid`) what is no such file.
    """
    if ca is None:
        return True
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as error:  # ssl.SSLError is one
        raise Unusable("config_invalid", f"ca: {ca}: {error.strerror or error}") from None
