"""VNFishbase on the bus: asks the population service who owns each vessel, and others where the owner's number is missing.

What is said is `mapping`'s, the course of it `sync`'s; here both meet the SDK.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from functools import partial
from typing import Any, Final, TypeVar

from adapters.vnfishbase import mapping, standings, steps, tables
from adapters.vnfishbase.records import vessels
from adapters.vnfishbase.standings import Question, Standing, WorkList
from adapters.vnfishbase.sync import Key, Pace, Sync
from lgsp.sdk import Adapter, ConfigInvalid, Failure, Message, Reject, Tables, Work, get_logger, handles

T = TypeVar("T")
VERIFY: Final = "vn.lgsp.population.citizen.verify.v1"
VERIFY_REPLY: Final = "vn.lgsp.population.citizen.verify.reply.v1"
VERIFY_SCHEMA: Final = "urn:lgsp:schema:population:citizen-verify-request:1.0.0"
OWNER_LIST: Final = "vn.lgsp.fisheries.owner-list.complete.v1"
OWNER_LIST_REPLY: Final = "vn.lgsp.fisheries.owner-list.complete.reply.v1"
OWNER_LIST_SCHEMA: Final = "urn:lgsp:schema:fisheries:owner-list-request:1.0.0"
POPULATION: Final = "urn:lgsp:agency:G01.02:sys:population"
ADDRESSEES: Final = {
    "police": "urn:lgsp:agency:H01.21:sys:police",
    "commune": "urn:lgsp:agency:H01.31:sys:one-stop",
}
AGENCY: Final = "H01.12"


class VNFishbase(Adapter):
    """One fishing fleet and its synchronisation."""

    async def check(self) -> None:
        """Load the file of vessels, once; a box that holds another fleet is a wrong setting."""
        fleet = self._fleet()
        try:
            held = await self.client.write(lambda own: tables.holds(own, fleet))
        except tables.OtherFleet as error:
            raise ConfigInvalid(str(error)) from None
        if not held:
            rows = await asyncio.to_thread(vessels, fleet.seed, fleet.count)
            began = self.client.now().timestamp()
            await self.client.write(lambda own: tables.load(own, fleet, rows, began))
        self._sync = Sync(self, self._pace(), now=lambda: self.client.now().timestamp())
        self._reported = False

    async def pull(self) -> None:
        """Synchronise, once in the life of the process."""
        if not self._reported:
            await self._sync.run()
            self._reported = True

    @handles(VERIFY_REPLY)
    async def settle(self, message: Message) -> None:
        """Take the population service's answer about one vessel."""
        async with message.effect() as effect:
            key = _asked(message, "verify")
            result = mapping.verdict(message.body)
            effect.run(lambda own: steps.settle(own, key.name, result))
        self._take_note(message)

    @handles(OWNER_LIST_REPLY)
    async def record(self, message: Message) -> None:
        """Take the police's or a commune's answers to one list."""
        async with message.effect() as effect:
            key = _asked(message, "list")
            numbers = mapping.answers(message.body)
            if message.body["listId"] != key.name:
                raise Reject("list_unknown", "/listId")
            if numbers.keys() != standings.registrations(self.client.read, key.name):
                raise Reject("vessels_differ", "/rows")
            effect.run(lambda own: steps.record(own, key.name, numbers))
        self._take_note(message)

    async def failed(self, failure: Failure) -> None:
        """Ask anew where the bus could not deliver, or give up where somebody said no."""
        key, state = Key.parse(failure.outcome.key), failure.outcome.state
        async with failure.effect() as work:
            if key is not None:
                work.run(partial(self._sync.fail, key=key, state=state))
        if key is not None:
            self._sync.settled(key)

    # --- what the synchronisation needs ---

    def read(self, sql: str, params: Sequence[str | int] = (), /) -> list[tuple[Any, ...]]:
        """Return the rows of a short query."""
        return self.client.read(sql, params)

    async def write(self, change: Callable[[Tables], T]) -> T:
        """Run a change of the tables."""
        return await self.client.write(change)

    async def send(
        self, questions: Sequence[Question], lists: Sequence[WorkList], note: Callable[[Tables], object]
    ) -> None:
        """Make questions, lists and the note about them durable together."""
        async with self.client.work() as work:
            for question in questions:
                self._ask(work, question)
            for work_list in lists:
                self._post(work, work_list)
            work.run(note)

    def progressed(self, standing: Standing) -> None:
        """Tell how far it is."""
        logger, system = get_logger(), self.client.settings.system
        done = standing.linked + standing.quarantined
        logger.info("adapter.progress", system=system, step="verify", done=done, total=standing.vessels)
        logger.info("adapter.progress", system=system, step="lists", done=standing.lists_done, total=standing.lists)

    def reported(self, counts: Mapping[str, Any], seconds: float) -> None:
        """Tell the result."""
        get_logger().info("adapter.report", system=self.client.settings.system, counts=counts, seconds=seconds)
