"""How the bridge connects to the platform: by https, whose other end is checked always, with the certificate that the platform knows us by.

No setting leaves the check out. http goes to this machine itself alone, where the mock listens.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import aiohttp

from lgsp.sdk import AdapterSettings, check_url, trusting
from lgsp.sdk.errors import ConfigInvalid


@dataclass(frozen=True, slots=True, kw_only=True)
class Connecting:
    """Where the platform is, whom we believe there, and what we show; files are PEM."""

    address: str
    ca: Path | None
    certificate: Path | None
    certificate_key: Path | None

    @classmethod
    def of(cls, settings: AdapterSettings) -> Self:
        """Return what the settings say; raise `ConfigInvalid` for http beyond this machine and for half of a certificate."""
        certificate, key = _path(settings, "certificate"), _path(settings, "certificate_key")
        if (certificate is None) != (key is None):
            raise ConfigInvalid("certificate and certificate_key are given together or not at all")
        try:
            address = check_url(settings.text("address"))
        except ValueError as error:
            raise ConfigInvalid(f"address: {error}") from None
        return cls(address=address, ca=_path(settings, "ca"), certificate=certificate, certificate_key=key)

    def session(self, limit: int) -> aiohttp.ClientSession:
        """Return a session of at most `limit` connections; refuse (`config_invalid`) files that hold something else."""
        tls = trusting(self.ca, certificate=self.certificate, key=self.certificate_key)
        connections = aiohttp.TCPConnector(limit=limit, ssl=tls)
        return aiohttp.ClientSession(connector=connections, cookie_jar=aiohttp.DummyCookieJar())


def _path(settings: AdapterSettings, name: str) -> Path | None:
    stated = settings.text(name)
    return Path(stated) if stated else None
