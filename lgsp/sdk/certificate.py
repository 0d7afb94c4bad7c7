"""The certificate that a client shows, read again when its files change: a program that runs for years outlives many.

Handshakes take the newest that could be read whole, connections that stand keep what they began with. Files that cannot be used leave the one
before in its place, and the diary says so. The first is read by `tls`.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Final, NoReturn

from lgsp.errors import Unusable
from lgsp.logs import get_logger
from lgsp.sdk.settings import SystemSettings
from lgsp.tls import show

LOOK_SECONDS: Final = 10.0
"""Between two looks whether the files have changed: two `stat` calls."""


class OwnCertificate:
    """What a context shows: certificate (with its chain) and key, PEM."""

    def __init__(self, context: ssl.SSLContext, certificate: Path, key: Path) -> None:
        self._context = context
        self._files = (certificate, key)
        self._seen = self._states()

    async def keep_fresh(self) -> NoReturn:
        """Take over what changes in the files, within `LOOK_SECONDS`, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            seen = self._states()
            if seen != self._seen:
                self._seen = seen  # taken before reading: what changes meanwhile is read at the next look
                self._take_over()

    def _take_over(self) -> None:
        try:
            show(
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), *self._files
            )  # a pair that does not fit is not to reach the one in use
            show(self._context, *self._files)
        except Unusable as refusal:
            get_logger().warning("client.certificate_kept", reason=refusal.detail)
        else:
            get_logger().info("client.certificate_renewed", file=self._files[0].name)

    def _states(self) -> list[tuple[int, ...]]:
        return [_state(path) for path in self._files]


def own_certificate(settings: SystemSettings, *, tls: ssl.SSLContext | bool) -> OwnCertificate | None:
    """Return what keeps the certificate of a context (`tls.trusting`) fresh; None where the settings name no certificate."""
    if isinstance(tls, bool) or settings.certificate is None or settings.certificate_key is None:
        return None
    return OwnCertificate(tls, settings.certificate, settings.certificate_key)


def _state(path: Path) -> tuple[int, ...]:
    """Return what is another when the file is; nothing for one that is not there."""
    with suppress(OSError):
        found = path.stat()
        return found.st_ino, found.st_size, found.st_mtime_ns
    return ()
