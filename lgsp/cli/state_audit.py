"""Compare what a ledger holds of exchanges with its log and with what was signed: a row that somebody changed says something else than they do.

Covered are the envelope and what it says, receipts and acks, how deliveries ended, replies, links to persons, and whether any of it is gone. Not
covered is what only steers the work: lanes, attempts, leases, pauses.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

from lgsp.domain import base64url, jws, merkle, statements, strictjson, subjects
from lgsp.domain.envelope import format_time, parse_time
from lgsp.domain.exchange import MOVES, SETTLED, Delivery, Exchange
from lgsp.domain.mentions import cause_in, env_in, manifest_in
from lgsp.ports.holdings import Holdings
from lgsp.ports.ledger import SubjectLink
from lgsp.ports.search import Kept

HEAD_BYTES: Final = 120
"""Bytes of an entry in which its event stands: after number and time."""
EVENTS: Final = (b'"ev":"msg.accepted"', b'"ev":"msg.acked"', b'"ev":"msg.expired"')

Place = tuple[str, str]
Item = Callable[[str, str], dict[str, Any] | None]
"""Returns the item of a receipt or an ack, given as JSON text with its `typ`; None of one that does not verify."""


class Misfit(NamedTuple):
    """What does not fit an entry."""

    at: int
    words: str


class Held(Holdings, Protocol):
    """What is asked of a ledger, or of a copy of one."""

    async def kept(self, envs: Sequence[str]) -> dict[str, Kept]:
        """Return what is kept of accepted envelopes by env hash, those of forgotten exchanges too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """What is held of the envelopes of some entries."""

    kept: Mapping[str, Kept]
    exchanges: Mapping[str, Exchange]
    deliveries: Mapping[str, Mapping[str, Delivery]]
    """By env hash and inbox."""
    persons: Mapping[str, Sequence[SubjectLink]]

    def of(self, env: str) -> Iterator[Delivery]:
        return iter(self.deliveries.get(env, {}).values())


@dataclass(slots=True, kw_only=True)
class StateAudit:
    """Goes through entries that follow each other, and counts what fits."""

    store: Held
    item: Item
    systems: set[str] = field(default_factory=set)
    """All that any version of the directory names."""
    fresh_since: str = ""
    """Of entries since this time, as they write it, nothing has been forgotten for long."""
    receipts: int = 0
    acks: int = 0
    ended: dict[Place, int] = field(default_factory=dict)
    """Deliveries that are held as settled and of whose end no entry has told yet, with the entry that accepted them."""
    told: list[Place] = field(default_factory=list)
    """Deliveries of whose end an entry tells, and no entry before it of their acceptance."""

    async def check(self, start: int, entries: Sequence[bytes]) -> Misfit | None:
        """Return what does not fit the first of these entries of which something does not; `start` is the number of the first."""
        told = [
            (index, entry)
            for index, entry in enumerate(entries, start)
            if any(entry.find(event, 0, HEAD_BYTES) >= 0 for event in EVENTS)
        ]
        rows = await self._rows([entry for _, entry in told])
        for index, entry in told:
            words = self._misfit(index, entry, rows)
            if words:
                return Misfit(index, words)
        return None

    async def _rows(self, entries: Sequence[bytes]) -> _Rows:
        envs = list(dict.fromkeys(env for entry in entries for env in (env_in(entry), cause_in(entry)) if env))
        deliveries = defaultdict[str, dict[str, Delivery]](dict)
        for each in await self.store.deliveries_of(envs):
            deliveries[each.env][each.to] = each
        return _Rows(
            kept=await self.store.kept(envs),
            exchanges={each.env: each for each in await self.store.exchanges_of(envs)},
            deliveries=deliveries,
            persons=await self.store.persons_of(envs),
        )

    def _misfit(self, index: int, entry: bytes, rows: _Rows) -> str:
        env = env_in(entry)
        exchange = rows.exchanges.get(env)
        if exchange is None:
            return self._of_forgotten(env, text_in(entry, "ts"), rows)
        try:
            members = strictjson.parse_object(entry)
        except strictjson.NotStrict:
            return "the entry is not strict JSON"
        if members["ev"] == "msg.accepted":
            return self._accepted(index, entry, members, exchange, rows)
        place = env, str(members.get("to"))
        if self.ended.pop(place, None) is None:
            self.told.append(place)
        return self._settled(members, rows.deliveries.get(env, {}).get(place[1]))

    def _of_forgotten(self, env: str, ts: str, rows: _Rows) -> str:
        """Of a forgotten exchange the envelope is kept, unless it is of a year that was moved off; its deliveries went with it."""
        if any(True for _ in rows.of(env)):
            return "the exchange is gone, and its deliveries are not"
        kept = rows.kept.get(env)
        if kept is None:
            return "the envelope is not kept" if ts >= self.fresh_since else ""
        return "" if jws.hash_of(kept.compact) == env else "another envelope is kept"

    # --- what was accepted ----------------------------------------------------------------------------------------------------------

    def _accepted(self, index: int, entry: bytes, members: dict[str, Any], exchange: Exchange, rows: _Rows) -> str:
        deliveries = list(rows.of(exchange.env))
        self.ended |= {(each.env, each.to): index for each in deliveries if each.state in SETTLED}
        return (
            _envelope_misfit(members, exchange)
            or self._receipt_misfit(index, entry, exchange)
            or self._deliveries_misfit(index, exchange, deliveries)
            or _persons_misfit(members, rows.persons.get(exchange.env, ()))
            or _reply_misfit(exchange, rows.exchanges.get(exchange.cause))
        )

    def _deliveries_misfit(self, index: int, exchange: Exchange, deliveries: Sequence[Delivery]) -> str:
        wanted = exchange.source, exchange.id, exchange.expires, index
        for each in deliveries:
            if (each.source, each.id, each.expires, each.order) != wanted:
                return "a delivery is held otherwise than its exchange"
            if each.state not in MOVES or each.to not in self.systems:
                return "a delivery is held in a state, or for a system, that there is not"
        return "a delivery is gone" if exchange.receivers and not deliveries else ""

    def _receipt_misfit(self, index: int, entry: bytes, exchange: Exchange) -> str:
        item = self.item(exchange.receipt, statements.RECEIPT)
        if item is None:
            return "the kept receipt does not verify"
        stated = "sha-256:" + base64url.encode(merkle.leaf_hash(entry))
        if (item.get("env"), item.get("index"), item.get("leaf")) != (exchange.env, index, stated):
            return "the receipt that was given states another entry"
        self.receipts += 1
        return ""

    # --- how it ended ---------------------------------------------------------------------------------------------------------------

    def _settled(self, members: dict[str, Any], delivery: Delivery | None) -> str:
        if delivery is None:
            return "the delivery is gone"
        code = members.get("code", "")
        if members["ev"] == "msg.expired":
            return "" if (delivery.state, delivery.code) == ("expired", code) else "the delivery is held as not expired"
        if delivery.state != ("rejected" if code else "acked"):
            return "the delivery is held as ended otherwise"
        return self._ack_misfit(members, delivery.ack) if "stmt" in members else ""

    def _ack_misfit(self, members: dict[str, Any], ack: str) -> str:
        item = self.item(ack, statements.ACK)
        if item is None:
            return "the kept ack does not verify"
        if item.get("env") != members.get("env") or statements.from_text(ack).leaf != members["stmt"]:
            return "the ack that was given is another"
        self.acks += 1
        return ""


def told_by(entry: bytes) -> Place | None:
    """Return the delivery of whose end an entry may tell."""
    if entry.find(EVENTS[0], 0, HEAD_BYTES) >= 0 or not env_in(entry):
        return None
    return env_in(entry), str(strictjson.parse_object(entry).get("to"))


def text_in(entry: bytes, name: str) -> str:
    """Return a text member of an entry, "" for none: cheaper than parsing all of them."""
    _, _, rest = entry.partition(b'"%b":"' % name.encode())
    return rest.partition(b'"')[0].decode("ascii", "replace")


def _envelope_misfit(members: dict[str, Any], exchange: Exchange) -> str:
    if jws.hash_of(exchange.compact) != exchange.env:
        return "another envelope is kept"
    manifest = manifest_in(exchange.compact)
    signed = manifest["source"], manifest["id"], manifest["type"], manifest["audience"]
    if (exchange.source, exchange.id, exchange.type, exchange.audience) != signed:
        return "the exchange is held otherwise than its envelope says"
    if format_time(exchange.expires) != format_time(parse_time(manifest["expirytime"])):
        return "the exchange is held with another end than its envelope says"
    logged = (members.get("ts"), members.get("policy"), members.get("rule", ""), members.get("cause", ""))
    if logged != (format_time(exchange.accepted_at), exchange.policy, exchange.rule, exchange.cause):
        return "the exchange is held otherwise than the entry says"
    return ""


def _persons_misfit(members: dict[str, Any], links: Sequence[SubjectLink]) -> str:
    """A person may have been erased since; who is there must be one of those whom the entry states."""
    for each in links:
        try:
            commitment = subjects.commitment(each.salt, each.pseudonym)
        except ValueError:
            commitment = ""
        if commitment != each.commitment or commitment not in members.get("sc", ()):
            return "a person is held whom the entry does not state"
    return ""


def _reply_misfit(exchange: Exchange, asked: Exchange | None) -> str:
    return "the request is held with another reply" if asked is not None and asked.reply != exchange.env else ""
