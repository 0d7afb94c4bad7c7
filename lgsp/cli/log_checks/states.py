"""Compare what a ledger holds of exchanges with its log and with what was signed: a row that somebody changed says something else than they do.

Covered are the envelope and what it says, receipts and acks, how deliveries ended, replies, links to persons, and whether any of it is gone; of
forgotten exchanges what stays of them. Not covered is what only steers the work: lanes, attempts, leases, pauses, and until when it was kept.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from lgsp.cli.log_checks.findings import UNREADABLE
from lgsp.domain import base64url, jws, merkle, statements, strictjson, subjects
from lgsp.domain.envelope import format_time, parse_time
from lgsp.domain.exchange import MOVES, SETTLED, Delivery, Exchange
from lgsp.domain.mentions import cause_in, env_in, manifest_in
from lgsp.ports.holdings import Holdings
from lgsp.ports.ledger import SubjectLink
from lgsp.ports.retention import Evidence

HEAD_BYTES: Final = 120
"""Bytes of an entry in which its event stands: after number and time."""
EVENTS: Final = (b'"ev":"msg.accepted"', b'"ev":"msg.acked"', b'"ev":"msg.expired"')

Claim = tuple[str, str, str]
"""What a row says that an entry has to tell: of which kind (`CLAIMS`), of which envelope, and the inbox, leaf or reply."""
CLAIMS: Final = {
    "settled": "a delivery is held as settled",
    "acked": "an ack is kept",
    "answered": "a request is held with a reply",
}
Item = Callable[[str, str], dict[str, Any] | None]
"""Returns the item of a receipt or an ack, given as JSON text with its `typ`; None of one that does not verify."""


UNREAD: Final = "the rows of its exchange do not read"


class Misfit(NamedTuple):
    """What does not fit an entry."""

    at: int
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Forgotten:
    """What stays of a forgotten exchange, its acks by the leaves that entries state."""

    evidence: Evidence
    acks: Mapping[str, str]

    @property
    def has_receipt(self) -> bool:
        """Whether receipt and reply were kept: a program of form 3 kept neither."""
        return bool(self.evidence.receipt or self.evidence.reply)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """What is held of the envelopes of some entries, and what stays of those that are forgotten."""

    exchanges: Mapping[str, Exchange]
    deliveries: Mapping[str, Mapping[str, Delivery]]
    """By env hash and inbox."""
    forgotten: Mapping[str, _Forgotten]
    persons: Mapping[str, Sequence[SubjectLink]]

    def of(self, env: str) -> Iterator[Delivery]:
        return iter(self.deliveries.get(env, {}).values())

    def reply_to(self, cause: str) -> str | None:
        """Return the reply that a request is held or kept with, None where nothing tells it."""
        if cause in self.exchanges:
            return self.exchanges[cause].reply
        asked = self.forgotten.get(cause)
        return None if asked is None or not asked.has_receipt else asked.evidence.reply


@dataclass(slots=True, kw_only=True)
class StateAudit:
    """Goes through entries that follow each other, and counts what fits."""

    store: Holdings
    item: Item
    moved_off: AbstractSet[int] | None = frozenset()
    """The years of which what stays of forgotten exchanges is kept elsewhere; None when nobody says of which: then nothing is missed."""
    systems: set[str] = field(default_factory=set)
    """All that any version of the directory names."""
    fresh_since: str = ""
    """Of entries since this time, as they write it, nothing has been forgotten for long."""
    receipts: int = 0
    acks: int = 0
    bare: int = 0
    """Forgotten exchanges of which an older program kept no receipt."""
    claims: dict[Claim, int] = field(default_factory=dict)
    """What is held as settled or answered, or kept with an ack, and no entry has told of yet, with the entry that accepted it."""
    told: list[Claim] = field(default_factory=list)
    """What an entry tells of, and no entry before it of the acceptance."""

    async def check(self, start: int, entries: Sequence[bytes], *, held: bool) -> Misfit | None:
        """Return what does not fit the first of these entries of which something does not; `start` is the number of the first.

        `held` says whether exchanges of some of them may not be forgotten yet.
        """
        if not entries or (not held and self._is_elsewhere(entries)):
            return None
        told = [
            (index, entry)
            for index, entry in enumerate(entries, start)
            if any(entry.find(event, 0, HEAD_BYTES) >= 0 for event in EVENTS)
        ]
        return await self._check_rows(told, held=held)

    async def _check_rows(self, told: Sequence[tuple[int, bytes]], *, held: bool) -> Misfit | None:
        try:
            rows = await self._rows([entry for _, entry in told], held=held)
        except UNREADABLE:
            if len(told) == 1:
                return Misfit(told[0][0], UNREAD)
            misfits = [await self._check_rows([each], held=held) for each in told]
            return next(filter(None, misfits), None)
        for index, entry in told:
            try:
                words = self._misfit(index, entry, rows)
            except UNREADABLE:
                words = UNREAD
            if words:
                return Misfit(index, words)
        return None

    def _is_elsewhere(self, entries: Sequence[bytes]) -> bool:
        """Tell whether of all exchanges that began in these entries nothing is here any more: what stays of one is kept by the year of its end."""
        moved = self.moved_off or frozenset()
        return all({year, year + 1} <= moved for year in (_year_of(entries[0]), _year_of(entries[-1])))

    async def _rows(self, entries: Sequence[bytes], *, held: bool) -> _Rows:
        envs = list(dict.fromkeys(env for entry in entries for env in (env_in(entry), cause_in(entry)) if env))
        # In this order: an exchange that is forgotten meanwhile is found either whole or among what stays.
        deliveries = defaultdict[str, dict[str, Delivery]](dict)
        for each in await self.store.deliveries_of(envs) if held else ():
            deliveries[each.env][each.to] = each
        exchanges = {each.env: each for each in await self.store.exchanges_of(envs)} if held else {}
        stays = await self.store.evidence_of([env for env in envs if env not in exchanges])
        return _Rows(
            exchanges=exchanges,
            deliveries=deliveries,
            forgotten={
                each.env: _Forgotten(evidence=each, acks={_leaf_of(ack): ack for ack in each.acks}) for each in stays
            },
            persons=await self.store.persons_of(envs),
        )

    def _misfit(self, index: int, entry: bytes, rows: _Rows) -> str:
        exchange = rows.exchanges.get(env_in(entry))
        if exchange is None:
            return self._of_forgotten(index, entry, rows)
        try:
            members = strictjson.parse_object(entry)
        except strictjson.NotStrict:
            return "the entry is not strict JSON"
        if members["ev"] == "msg.accepted":
            return self._accepted(index, entry, members, exchange, rows)
        to = str(members.get("to"))
        self._tell("settled", exchange.env, to)
        return self._settled(members, rows.deliveries.get(exchange.env, {}).get(to))

    def _tell(self, what: str, env: str, which: str) -> None:
        """Take note that an entry tells of something."""
        if self.claims.pop((what, env, which), None) is None:
            self.told.append((what, env, which))

    # --- what is forgotten ----------------------------------------------------------------------------------------------------------

    def _of_forgotten(self, index: int, entry: bytes, rows: _Rows) -> str:
        env = env_in(entry)
        kept = rows.forgotten.get(env)
        if entry.find(EVENTS[0], 0, HEAD_BYTES) >= 0:
            return self._missing(env, entry, rows) if kept is None else self._kept_misfit(index, entry, kept, rows)
        self._tell("settled", env, text_in(entry, "to"))
        leaf = text_in(entry, "stmt")
        return self._kept_ack_misfit(env, leaf, kept) if leaf and kept is not None else ""

    def _missing(self, env: str, entry: bytes, rows: _Rows) -> str:
        """What stays of a forgotten exchange is kept as long as the log, unless it is of a year that was moved off."""
        self._tell_of_reply(entry, env)
        if env in rows.deliveries:
            return "the exchange is gone, and its deliveries are not"
        year = _year_of(entry)
        is_elsewhere = self.moved_off is None or not self.moved_off.isdisjoint({year, year + 1})
        is_old = text_in(entry, "ts") < self.fresh_since
        return "" if is_elsewhere and is_old else "the envelope is not kept"

    def _kept_misfit(self, index: int, entry: bytes, kept: _Forgotten, rows: _Rows) -> str:
        env, evidence = kept.evidence.env, kept.evidence
        self.claims |= {("acked", env, leaf): index for leaf in kept.acks}
        self.bare += not kept.has_receipt
        return (
            ("" if jws.hash_of(evidence.compact) == env else "another envelope is kept")
            or (self._receipt_misfit(index, entry, env, evidence.receipt) if kept.has_receipt else "")
            or _persons_misfit(entry, rows.persons.get(env, ()))
            or self._replies_misfit(index, entry, env, evidence.reply, rows)
        )

    def _kept_ack_misfit(self, env: str, leaf: str, kept: _Forgotten) -> str:
        self._tell("acked", env, leaf)
        if leaf not in kept.acks:
            return "the ack that was given is not kept"
        return self._ack_misfit(env, leaf, kept.acks[leaf])

    # --- what was accepted ----------------------------------------------------------------------------------------------------------

    def _accepted(self, index: int, entry: bytes, members: dict[str, Any], exchange: Exchange, rows: _Rows) -> str:
        deliveries = list(rows.of(exchange.env))
        self.claims |= {("settled", each.env, each.to): index for each in deliveries if each.state in SETTLED}
        return (
            _envelope_misfit(members, exchange)
            or self._receipt_misfit(index, entry, exchange.env, exchange.receipt)
            or self._deliveries_misfit(index, exchange, deliveries)
            or _persons_misfit(entry, rows.persons.get(exchange.env, ()))
            or self._replies_misfit(index, entry, exchange.env, exchange.reply, rows)
        )

    def _deliveries_misfit(self, index: int, exchange: Exchange, deliveries: Sequence[Delivery]) -> str:
        wanted = exchange.source, exchange.id, exchange.expires, index
        for each in deliveries:
            if (each.source, each.id, each.expires, each.order) != wanted:
                return "a delivery is held otherwise than its exchange"
            if each.state not in MOVES or each.to not in self.systems:
                return "a delivery is held in a state, or for a system, that there is not"
        return "a delivery is gone" if exchange.receivers and not deliveries else ""

    def _receipt_misfit(self, index: int, entry: bytes, env: str, receipt: str) -> str:
        item = self.item(receipt, statements.RECEIPT)
        if item is None:
            return "the kept receipt does not verify"
        stated = "sha-256:" + base64url.encode(merkle.leaf_hash(entry))
        if (item.get("env"), item.get("index"), item.get("leaf")) != (env, index, stated):
            return "the receipt that was given states another entry"
        self.receipts += 1
        return ""

    def _replies_misfit(self, index: int, entry: bytes, env: str, reply: str, rows: _Rows) -> str:
        """Compare what an envelope answers with what its request is held with, and remember what answers it in turn."""
        if reply:
            self.claims["answered", env, reply] = index
        cause = self._tell_of_reply(entry, env)
        told = rows.reply_to(cause) if cause else env
        return "the request is held with another reply" if told not in {None, env} else ""

    def _tell_of_reply(self, entry: bytes, env: str) -> str:
        """Return the request that an accepted envelope answers, or ""."""
        cause = cause_in(entry)
        if cause:
            self._tell("answered", cause, env)
        return cause

    # --- how it ended ---------------------------------------------------------------------------------------------------------------

    def _settled(self, members: dict[str, Any], delivery: Delivery | None) -> str:
        if delivery is None:
            return "the delivery is gone"
        code = members.get("code", "")
        if members["ev"] == "msg.expired":
            return "" if (delivery.state, delivery.code) == ("expired", code) else "the delivery is held as not expired"
        if delivery.state != ("rejected" if code else "acked"):
            return "the delivery is held as ended otherwise"
        return self._ack_misfit(delivery.env, members["stmt"], delivery.ack) if "stmt" in members else ""

    def _ack_misfit(self, env: str, leaf: str, ack: str) -> str:
        item = self.item(ack, statements.ACK)
        if item is None:
            return "the kept ack does not verify"
        if item.get("env") != env or statements.from_text(ack).leaf != leaf:
            return "the ack that was given is another"
        self.acks += 1
        return ""


def told_by(entry: bytes) -> Sequence[Claim]:
    """Return what an entry may tell of."""
    env = env_in(entry)
    if entry.find(EVENTS[0], 0, HEAD_BYTES) >= 0:
        return [("answered", cause_in(entry), env)]
    return [("settled", env, text_in(entry, "to")), ("acked", env, text_in(entry, "stmt"))] if env else []


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


def _persons_misfit(entry: bytes, links: Sequence[SubjectLink]) -> str:
    """A person may have been erased since; who is there must be one of those whom the entry states."""
    stated = strictjson.parse_object(entry).get("sc", ()) if links else ()
    for each in links:
        try:
            commitment = subjects.commitment(each.salt, each.pseudonym)
        except ValueError:
            commitment = ""
        if commitment != each.commitment or commitment not in stated:
            return "a person is held whom the entry does not state"
    return ""


def _leaf_of(ack: str) -> str:
    """Return the leaf that an entry states of an ack; of what is none its own text, which no entry states."""
    try:
        return statements.from_text(ack).leaf
    except (ValueError, KeyError):
        return ack


def _year_of(entry: bytes) -> int:
    """Return the year in which an entry was written, 0 of one that does not say."""
    year = text_in(entry, "ts")[:4]
    return int(year) if year.isdecimal() else 0
