"""VNFishbase on the bus: asks the population service who owns each vessel, others where the owner's number is missing, and tells who was linked.

What is said is `mapping`'s, the course of it `sync`'s; here both meet the SDK.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import date, timedelta
from typing import Any, Final, TypeVar

from adapters.made_up.fleet import MOST_VESSELS
from adapters.vnfishbase import mapping, standings, steps, tables
from adapters.vnfishbase.records import vessels
from adapters.vnfishbase.standings import Question, Standing, WorkList
from adapters.vnfishbase.sync import Key, Kind, Pace, Sync
from lgsp.sdk import (
    Adapter,
    AdapterManifest,
    AdapterSettings,
    Client,
    ConfigInvalid,
    Effect,
    Failure,
    Message,
    Reject,
    Stated,
    Tables,
    get_logger,
    handles,
)

T = TypeVar("T")
VERIFY: Final = "vn.lgsp.population.citizen.verify.v1"
VERIFY_REPLY: Final = "vn.lgsp.population.citizen.verify.reply.v1"
VERIFY_SCHEMA: Final = "urn:lgsp:schema:population:citizen-verify-request:1.0.0"
OWNER_LIST: Final = "vn.lgsp.fisheries.owner-list.complete.v1"
OWNER_LIST_REPLY: Final = "vn.lgsp.fisheries.owner-list.complete.reply.v1"
OWNER_LIST_SCHEMA: Final = "urn:lgsp:schema:fisheries:owner-list-request:1.0.0"
LINKED: Final = "vn.lgsp.fisheries.vessel.linked.v1"
LINKED_SCHEMA: Final = "urn:lgsp:schema:fisheries:vessel-linked:1.0.0"
LINKED_LIFE: Final = timedelta(days=7)
"""As long as the service allows: whoever subscribes may have been away."""
POPULATION: Final = "urn:lgsp:agency:G01.02:sys:population"
ADDRESSEES: Final = {
    "police": "urn:lgsp:agency:H01.21:sys:police",
    "commune": "urn:lgsp:agency:H01.31:sys:one-stop",
}
AGENCY: Final = "H01.12"
PURPOSE: Final = "dpv:IdentityVerification"
LEGAL_BASIS: Final = "dpv:LegalObligation"


class VNFishbase(Adapter):
    """One fishing fleet and its synchronisation."""

    def __init__(self, *, client: Client, manifest: AdapterManifest, settings: AdapterSettings) -> None:
        super().__init__(client=client, manifest=manifest, settings=settings)
        self._name = f"{manifest.system.agency}/{manifest.system.name}"
        self._is_reported = False

    async def check(self) -> None:
        """Load the file of vessels, once; a box that holds another fleet is a wrong setting."""
        self._fleet = fleet = _fleet(self.settings)
        self._pace = _pace(self.settings)
        self._sync = Sync(self, self._pace, now=self._now)
        try:
            held = await self.client.write(lambda own: tables.holds(own, fleet))
        except tables.OtherFleet as error:
            raise ConfigInvalid(str(error)) from None
        if not held:
            rows = await asyncio.to_thread(vessels, fleet.seed, fleet.count)
            began = self._now()
            await self.client.write(lambda own: tables.load(own, fleet, rows, began))

    async def pull(self) -> None:
        """Synchronise, once in the life of the process."""
        if not self._is_reported:
            await self._sync.run()
            self._is_reported = True

    @handles(VERIFY_REPLY)
    async def settle(self, message: Message) -> None:
        """Take the population service's answer about one vessel."""
        async with message.effect() as effect:
            key = _asked(message, "verify")
            self._settle(effect, key.name, mapping.verdict(message.body))
        await self._take_note(message, effect, "verify")

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
        await self._take_note(message, effect, "list")

    def _settle(self, effect: Effect, registration: str, result: mapping.Linked | mapping.Quarantined) -> None:
        """Write down what becomes of a vessel; if that links it, now and not before, all who subscribe are told in the same transaction."""

        def settled(own: Tables) -> bool:
            return steps.settle(own, registration, result)

        if isinstance(result, mapping.Quarantined):
            effect.run(settled)
            return
        row = standings.vessel(self.client.read, registration)
        effect.publish(
            LINKED,
            when=settled,
            key=f"linked:{registration}",
            schema=LINKED_SCHEMA,
            body=mapping.linked_event(row, self.client.clock.now().astimezone(mapping.ZONE).date()),
            orgcat=mapping.CATALOGUE,
            expires_in=LINKED_LIFE,
        )

    async def failed(self, failure: Failure) -> None:
        """Ask anew where the bus could not deliver, or give up where somebody said no."""
        key = Key.parse(failure.outcome.key)
        # What reached the bus too late was refused by nobody who knows the question: it is put again like any that was not delivered.
        state = "expired" if failure.outcome.code == "expired" else failure.outcome.state
        async with failure.effect() as work:
            if key is not None:
                work.run(lambda own: self._sync.fail(own, key, state))
        if key is not None:
            self._sync.settled(key)

    # --- what the synchronisation needs ---------------------------------------------------------------------------------------------

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
                work.send(VERIFY, **self._question(question))
            for work_list in lists:
                work.send(OWNER_LIST, **self._work_list(work_list))
            work.run(note)

    def progressed(self, standing: Standing) -> None:
        """Tell how far it is."""
        logger, system = get_logger(), self._name
        done = standing.linked + standing.quarantined
        logger.info("adapter.progress", system=system, step="verify", done=done, total=standing.vessels)
        logger.info("adapter.progress", system=system, step="lists", done=standing.lists_done, total=standing.lists)

    def reported(self, counts: Mapping[str, Any], seconds: float) -> None:
        """Tell the result."""
        get_logger().info("adapter.report", system=self._name, counts=counts, seconds=seconds)

    def _now(self) -> float:
        return self.client.clock.now().timestamp()

    def _question(self, question: Question) -> Stated:
        stated = self._stated(POPULATION, VERIFY_SCHEMA, question, within=self._pace.reply_within)
        stated["casefile"] = f"{AGENCY}-{self._fleet.as_of:%Y%m%d}-{question.ordinal:07d}"
        return stated

    def _work_list(self, work_list: WorkList) -> Stated:
        return self._stated(
            ADDRESSEES[work_list.who], OWNER_LIST_SCHEMA, work_list, within=self._pace.list_reply_within
        )

    def _stated(self, audience: str, schema: str, sent: Question | WorkList, *, within: float) -> Stated:
        return {
            "audience": audience,
            "schema": schema,
            "body": sent.body,
            "key": str(Key.of(sent)),
            "expires_in": timedelta(seconds=within),
            "purpose": PURPOSE,
            "legalbasis": LEGAL_BASIS,
            "procedure": self.settings.text("procedure"),
            "authid": self.settings.text("officer"),
            "orgcat": mapping.CATALOGUE,
        }

    async def _take_note(self, message: Message, effect: Effect, kind: Kind) -> None:
        """Have the next question sent; one whose answer was rejected is put again, for whoever answered it sends no other."""
        key = Key.parse(message.key)
        if key is None or key.kind != kind:
            return
        if effect.outcome == "rejected":
            await self.client.write(lambda own: self._sync.fail(own, key, "answer_rejected"))
        self._sync.settled(key)


def _asked(message: Message, kind: Kind) -> Key:
    """Return the key of the question or list that a message answers; no other answer is taken."""
    key = Key.parse(message.key)
    if key is None or key.kind != kind:
        raise Reject("not_asked")
    return key


def _fleet(settings: AdapterSettings) -> tables.Fleet:
    try:
        as_of = date.fromisoformat(settings.text("as_of"))
    except ValueError:
        raise ConfigInvalid("as_of: is no day like 2026-11-22") from None
    count = settings.integer("count")
    if not 1 <= count <= MOST_VESSELS:
        raise ConfigInvalid(f"count: is not 1 to {MOST_VESSELS}")
    return tables.Fleet(seed=settings.integer("seed"), count=count, as_of=as_of)


def _pace(settings: AdapterSettings) -> Pace:
    """Return the pace; ConfigInvalid names every setting that is not above 0."""
    pace = Pace(
        window=settings.integer("window"),
        queueing=settings.number("queueing"),
        tries=settings.integer("tries"),
        reply_within=settings.number("reply_within"),
        list_reply_within=settings.number("list_reply_within"),
        list_every=settings.number("list_every"),
    )
    if wrong := [name for name, value in asdict(pace).items() if value <= 0]:
        raise ConfigInvalid(f"{', '.join(wrong)}: must be above 0")
    return pace
