"""The bridge on the bus: answers verifications in the name of the population service, out of the national platform.

A verification changes nothing on the platform, so that one repeated after a crash does no harm; the platform sees both, under one request id.
"""

import time
from typing import Final

from adapters.ndxp.client import Credentials, NdxpError, PopulationClient, Refused
from adapters.ndxp.connection import Connecting
from adapters.ndxp.mapping import Asker
from lgsp.sdk import (
    Adapter,
    AdapterManifest,
    AdapterSettings,
    AuthFailed,
    Client,
    Message,
    NotReady,
    Reject,
    Retry,
    get_logger,
    handles,
)

VERIFY: Final = "vn.lgsp.population.citizen.verify.v1"
LOCKED_OUT: Final = frozenset({"invalid_client", "http-401", "http-403"})
LOCKED_OUT_SECONDS: Final = 30.0
"""When to try again after the platform did not accept our credentials: somebody has to mend them."""
REJECTIONS: Final = {
    "PROCEDURE_NOT_ALLOWED": "procedure_not_allowed",
    "OFFICER_NOT_ALLOWED": "officer_not_allowed",
    "RECORD_UNCOMPLETE": "record_incomplete",
    "DATA_INCORRECT": "data_incorrect",
    "DATA_TYPE_INVALID": "data_type_invalid",
}
"""The platform's word for why, and ours. Any other word of it is not passed on: nobody knows what stands in it."""


class Ndxp(Adapter):
    """One session with the platform, for all questions."""

    def __init__(self, *, client: Client, manifest: AdapterManifest, settings: AdapterSettings) -> None:
        super().__init__(client=client, manifest=manifest, settings=settings)
        connecting = Connecting.of(settings)
        self._session = connecting.session(manifest.concurrency)
        self._population = PopulationClient(
            self._session,
            address=connecting.address,
            credentials=Credentials(key=settings.text("consumer_key"), secret=settings.text("consumer_secret")),
            clock=time.monotonic,
            seconds=settings.number("seconds"),
        )

    async def check(self) -> None:
        """Get a token: the platform answers and lets the bridge in."""
        try:
            await self._population.ready()
        except Refused:
            raise AuthFailed from None
        except NdxpError:
            raise NotReady from None

    async def close(self) -> None:
        """End the session."""
        await self._session.close()

    @handles(VERIFY)
    async def verify(self, message: Message) -> None:
        """Put a question to the platform and pass its answer on."""
        began = time.monotonic()
        async with message.effect() as effect:
            try:
                reply = await self._population.verify(message.body, _asker(message))
            except NdxpError as error:
                meant = _meant(error)
                get_logger().warning("national.called", ms=round((time.monotonic() - began) * 1000), code=meant.code)
                raise meant from None
            effect.reply(reply)


def _asker(message: Message) -> Asker:
    manifest = message.manifest
    agency, _, _system = manifest.source.removeprefix("urn:lgsp:agency:").partition(":sys:")
    return Asker(
        request_id=manifest.id, procedure=manifest.text("procedure"), officer=manifest.text("authid"), unit=agency
    )


def _meant(error: NdxpError) -> Retry | Reject | NotReady:
    """Return what follows for the message: nothing of the platform's answer but a word that we know."""
    if not isinstance(error, Refused):
        return Retry(code="platform_unavailable")
    if error.code in LOCKED_OUT:
        return AuthFailed(after=LOCKED_OUT_SECONDS)
    return Reject(REJECTIONS.get(error.code, "platform_refused"))
