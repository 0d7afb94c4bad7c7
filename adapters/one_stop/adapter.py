"""The one-stop office on the bus: verifies applicants one after another, and completes lists of vessel owners for communes."""

import asyncio
import time
from collections.abc import Iterator
from typing import Final

from adapters.one_stop.mapping import owner_list_reply, verify_request
from adapters.one_stop.records import Applicant, applicants, known_numbers
from lgsp.sdk import (
    Adapter,
    AdapterManifest,
    AdapterSettings,
    Client,
    ClientError,
    ConfigInvalid,
    Message,
    get_logger,
    handles,
)

VERIFY: Final = "vn.lgsp.population.citizen.verify.v1"
VERIFY_SCHEMA: Final = "urn:lgsp:schema:population:citizen-verify-request:1.0.0"
OWNER_LIST: Final = "vn.lgsp.fisheries.owner-list.complete.v1"
POPULATION: Final = "urn:lgsp:agency:G01.02:sys:population"
SECONDS_AT_THE_COUNTER: Final = 30.0
"""How long an officer waits for an answer."""
MOST_LOOKUPS: Final = 100_000


class OneStop(Adapter):
    """The applicants of a day, and owners' numbers by registration, in memory."""

    def __init__(self, *, client: Client, manifest: AdapterManifest, settings: AdapterSettings) -> None:
        super().__init__(client=client, manifest=manifest, settings=settings)
        self._name = f"{manifest.system.agency}/{manifest.system.name}"
        self._waiting: Iterator[Applicant] = iter(())

    async def check(self) -> None:
        """Bring the records into memory."""
        settings = self.settings
        seed, lookups = settings.integer("seed"), settings.integer("lookups")
        self._pause = settings.integer("every_ms") / 1000
        if self._pause < 0 or not 0 <= lookups <= MOST_LOOKUPS:
            raise ConfigInvalid(f"every_ms: must not be below 0; lookups: 0 to {MOST_LOOKUPS}")
        self._known = await asyncio.to_thread(known_numbers, seed, settings.integer("count"))
        self._waiting = iter(await asyncio.to_thread(_applicants, seed, lookups, settings.text("procedure")))

    async def pull(self) -> None:
        """Serve the applicants who wait, one after another, a pause between two of them."""
        for applicant in self._waiting:
            await self._look_up(applicant)
            await asyncio.sleep(self._pause)

    @handles(OWNER_LIST)
    async def complete(self, message: Message) -> None:
        """Answer a list."""
        async with message.effect() as effect:
            effect.reply(owner_list_reply(message.body, self._known))

    async def _look_up(self, applicant: Applicant) -> None:
        began = time.monotonic()
        is_answered = await self._asked(applicant)
        elapsed = round((time.monotonic() - began) * 1000, 1)
        get_logger().info("adapter.lookup", system=self._name, ms=elapsed, ok=is_answered)

    async def _asked(self, applicant: Applicant) -> bool:
        """Ask about one applicant and tell whether an answer came; without one the officer asks again some other time."""
        try:
            await self.client.request(
                VERIFY,
                audience=POPULATION,
                schema=VERIFY_SCHEMA,
                body=verify_request(applicant),
                timeout=SECONDS_AT_THE_COUNTER,
                purpose="dpv:IdentityVerification",
                legalbasis="dpv:LegalObligation",
                procedure=self.settings.text("procedure"),
                casefile=applicant.dossier,
                authid=self.settings.text("officer"),
            )
        except ClientError:
            return False
        return True


def _applicants(seed: int, count: int, procedure: str) -> list[Applicant]:
    """Return the first applicants in one procedure, given in its short or long form; ConfigInvalid when they are too few."""
    # A third of a day's applicants come for each procedure; this many are never too few.
    everybody = applicants(seed, 6 * count + 60)
    found = [each for each in everybody if f"{each.procedure}.".startswith(f"{procedure}.")][:count]
    if len(found) < count:
        raise ConfigInvalid("procedure: too few people apply in it")
    return found
