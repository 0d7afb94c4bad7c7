"""The memory backend's ports: ledger, inboxes and directory store over one set of tables, for one event loop."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from operator import itemgetter

from lgsp.backends.memory.tables import Body, Place, Tables
from lgsp.backends.memory.transaction import Transaction, cut
from lgsp.domain.exchange import Delivery, Exchange, ExchangeKey, State, next_due
from lgsp.domain.leases import holder_of
from lgsp.domain.mentions import By
from lgsp.domain.records import Lane
from lgsp.domain.withholding import Withholding
from lgsp.ports.bodies import DayHeld, SealedBody
from lgsp.ports.directory import SignedRecords
from lgsp.ports.inboxes import Depth, Parcel
from lgsp.ports.ledger import Operation, Result, SignReceipts, SubjectLink
from lgsp.ports.persons import Place as UsePlace
from lgsp.ports.persons import Use
from lgsp.ports.retention import Evidence
from lgsp.ports.search import Kept


class MemoryLedger:
    """Ledger, inboxes and directory store in one object."""

    def __init__(self) -> None:
        self._tables = Tables()

    async def commit(self, operations: Sequence[Operation], sign: SignReceipts) -> Sequence[Result]:
        """Apply the operations in order in one transaction; what `sign` raises leaves nothing behind."""
        tables = self._tables
        staged = tables.rows.staged()
        transaction = Transaction(staged, len(tables.entries), sign)
        for operation in operations:
            transaction.run(operation)
        transaction.sign()
        tables.rows.take_over(staged)
        tables.entries.extend(transaction.entries)
        tables.leaves.extend(transaction.leaves)
        for place in transaction.touched:
            tables.sort(place)
        for env in transaction.forgotten:
            tables.forget(env)
        return transaction.results

    async def exchanges(self, keys: Sequence[ExchangeKey]) -> dict[ExchangeKey, Exchange]:
        """Return the exchanges among these keys that are held."""
        held = self._tables.rows.exchanges
        return {key: held[key] for key in keys if key in held}

    async def exchange_of(self, env: str) -> Exchange | None:
        """Return the exchange of an env hash."""
        key = self._tables.rows.keys.get(env)
        return None if key is None else self._tables.rows.exchanges[key]

    async def over(self, before: datetime, limit: int) -> list[str]:
        """Return env hashes of settled exchanges whose time ended before a moment, the oldest first."""
        found = [
            held
            for held in self._tables.rows.exchanges.values()
            if held.term < cut(before) and not self._tables.is_open(held.env)
        ]
        return [held.env for held in sorted(found, key=lambda held: held.term)][:limit]

    async def evidence(self, env: str) -> Evidence | None:
        """Return what is kept of a forgotten exchange."""
        return self._tables.evidence.get(env)

    async def exchanges_of(self, envs: Sequence[str]) -> list[Exchange]:
        """Return the exchanges of those among these env hashes that are held, in no order."""
        return [found for env in envs if (found := await self.exchange_of(env)) is not None]

    async def deliveries_of(self, envs: Sequence[str]) -> list[Delivery]:
        """Return all deliveries of these envelopes that are held, in no order."""
        return [delivery for env in envs for delivery in await self.deliveries(env)]

    async def evidence_of(self, envs: Sequence[str]) -> list[Evidence]:
        """Return what stays of those among these env hashes whose exchanges are forgotten, in no order."""
        return [self._tables.evidence[env] for env in envs if env in self._tables.evidence]

    async def persons_of(self, envs: Sequence[str]) -> dict[str, Sequence[SubjectLink]]:
        """Return the persons that these envelopes name, as pseudonyms, by env hash."""
        held = self._tables.rows.subjects
        return {env: held[env] for env in envs if held.get(env)}

    async def oldest(self) -> datetime | None:
        """Return when the oldest exchange that is held was accepted."""
        return min((each.accepted_at for each in self._tables.rows.exchanges.values()), default=None)

    async def size(self) -> int:
        """Return the number of committed entries."""
        return len(self._tables.entries)

    async def leaves(self, start: int, stop: int) -> list[bytes]:
        """Return the leaf hashes of entries start..stop-1."""
        return self._tables.leaves[start:stop]

    async def entries(self, start: int, stop: int) -> list[bytes]:
        """Return the bytes of entries start..stop-1."""
        return self._tables.entries[start:stop]

    async def hashed(self, start: int, stop: int) -> list[tuple[bytes, bytes]]:
        """Return the bytes of entries start..stop-1, each with its leaf hash."""
        tables = self._tables
        return list(zip(tables.entries[start:stop], tables.leaves[start:stop], strict=True))

    async def checkpoint(self) -> str:
        """Return the last kept checkpoint, or ""."""
        kept = self._tables.rows.checkpoints
        return kept[max(kept)] if kept else ""

    async def cosigned(self) -> str:
        """Return the last kept checkpoint that a witness has co-signed, or ""."""
        kept = self._tables.rows.cosigned
        return kept[max(kept)] if kept else ""

    async def subtree_count(self, level: int) -> int:
        """Return how many hashes of a level are stored."""
        return max((number for at, number in self._tables.rows.subtrees if at == level), default=-1) + 1

    async def subtrees(self, level: int, start: int, stop: int) -> list[bytes]:
        """Return the stored hashes start..stop-1 of a level."""
        held = self._tables.rows.subtrees
        return [held[level, number] for number in range(start, stop) if (level, number) in held]

    async def used_since(self, moment: datetime, until: datetime | None = None) -> dict[str, int]:
        """Return how many exchanges were accepted under each grant since a moment, and before `until`."""
        found = (each for each in self._tables.rows.exchanges.values() if each.rule and each.accepted_at >= cut(moment))
        return dict(Counter(each.rule for each in found if until is None or each.accepted_at < cut(until)))

    async def queued(self, inbox: str, lane: Lane, limit: int, skip: Sequence[str] = ()) -> list[Parcel]:
        """Return the first `limit` queued deliveries of one lane in the order of acceptance."""
        held = set(skip)
        found = self._in_order(place for place in self._tables.queues[inbox, lane] if place[0] not in held)
        return [self._parcel(delivery) for delivery in found[: max(limit, 0)]]

    async def parcel(self, env: str, to: str) -> Parcel | None:
        """Return one delivery with its content, while the body is held."""
        delivery = self._tables.rows.deliveries.get((env, to))
        return self._parcel(delivery) if delivery is not None and env in self._tables.rows.bodies else None

    async def deliveries(self, env: str) -> list[Delivery]:
        """Return all deliveries of an envelope, by receiver."""
        return [self._tables.rows.deliveries[place] for place in sorted(self._tables.rows.places.get(env, ()))]

    async def held(self, to: str, envs: Sequence[str]) -> dict[str, Delivery]:
        """Return the deliveries of these envelopes to one inbox, by env hash."""
        rows = self._tables.rows.deliveries
        return {env: rows[env, to] for env in envs if (env, to) in rows}

    async def due(self, now: datetime, limit: int) -> list[Delivery]:
        """Return open deliveries that somebody must look at again at `now`, those that are due for longest first."""
        times = ((_due_at(delivery), delivery) for delivery in self._in_order(self._tables.open))
        found = [(due, delivery) for due, delivery in times if due is not None and due <= now]
        return [delivery for _, delivery in sorted(found, key=itemgetter(0))][: max(limit, 0)]

    async def in_state(self, state: State, limit: int, *, but: Sequence[str] = ()) -> list[Delivery]:
        """Return the first `limit` deliveries in one open state, in the order of acceptance; without those that one of `but` holds."""
        found = (delivery for delivery in self._in_order(self._tables.open) if delivery.state == state)
        return [delivery for delivery in found if holder_of(delivery.lease) not in but][: max(limit, 0)]

    async def outcomes(self, source: str, limit: int) -> list[Delivery]:
        """Return what `source` sent, has an outcome, and was not yet seen by it, in the order of acceptance."""
        return self._in_order(self._tables.news[source])[: max(limit, 0)]

    async def depths(self) -> list[Depth]:
        """Return what is open, by inbox, sender, lane and state in this order."""
        groups: defaultdict[tuple[str, str, Lane, State], list[Delivery]] = defaultdict(list)
        for held in map(self._tables.rows.deliveries.__getitem__, self._tables.open):
            groups[held.to, held.source, held.lane, held.state].append(held)
        return [
            Depth(
                inbox=inbox,
                source=source,
                lane=lane,
                state=state,
                count=len(found),
                size=sum(each.size for each in found),
                first=min(each.order for each in found),
            )
            for (inbox, source, lane, state), found in sorted(groups.items())
        ]

    async def head_version(self) -> int:
        """Return the number of the latest version of the directory, 0 before the first."""
        return max(self._tables.rows.versions, default=0)

    async def head(self) -> SignedRecords | None:
        """Return the latest version of the directory, or None before the first."""
        return self._tables.rows.versions.get(await self.head_version())

    async def at(self, version: int) -> SignedRecords | None:
        """Return one version of the directory."""
        return self._tables.rows.versions.get(version)

    async def documents(self) -> dict[str, bytes]:
        """Return every schema document by URN."""
        return dict(self._tables.rows.documents)

    async def body_keys(self) -> dict[str, bytes]:
        """Return the wrapped body key of each day."""
        return {day: wrapped for day, wrapped in self._tables.rows.body_keys.items() if wrapped is not None}

    async def body_of(self, env: str) -> SealedBody | None:
        """Return the body of an envelope while it is held, after its exchange is forgotten too."""
        body = self._tables.rows.bodies.get(env)
        return None if body is None else SealedBody(day=body.day, sealed=body.sealed)

    async def bodies_by_day(self) -> list[DayHeld]:
        """Return how many bodies are held of each day of which there are any, the oldest day first."""
        found = Counter((body.day, self._standing(env)) for env, body in self._bodies())
        return [
            DayHeld(
                day=day,
                in_flight=found[day, "in_flight"],
                parked=found[day, "parked"],
                archived=found[day, "archived"],
            )
            for day in sorted({day for day, _ in found})
        ]

    async def undelivered(self, day: str, limit: int) -> list[Delivery]:
        """Return the first `limit` open deliveries of bodies of a day that nobody has leased, in the order of acceptance."""
        envs = {env for env, body in self._bodies() if body.day == day}
        found = self._in_order(place for place in self._tables.open if place[0] in envs)
        return [delivery for delivery in found if delivery.state != "leased"][: max(limit, 0)]

    async def archived(self, day: str, limit: int) -> list[str]:
        """Return the env hashes of up to `limit` bodies of a day that are archived and of which nothing is open, in no order."""
        found = (env for env, body in self._bodies() if body.day == day)
        return [env for env in found if self._standing(env) == "archived"][: max(limit, 0)]

    async def archive_over(self, now: datetime, limit: int) -> list[str]:
        """Return the env hashes of up to `limit` bodies whose time in the archive is over, the oldest first."""
        times = ((body.kept_until, env) for env, body in self._bodies() if self._standing(env) == "archived")
        found = sorted((until, env) for until, env in times if until is not None and until <= cut(now))
        return [env for _, env in found][: max(limit, 0)]

    def _bodies(self) -> list[tuple[str, Body]]:
        return [(env, body) for env, body in self._tables.rows.bodies.items() if body is not None]

    def _standing(self, env: str) -> str:
        """Return why a body is held: some receiver is still to have it, or a person to decide, or it is archived."""
        held = [place for place in self._tables.rows.places.get(env, ()) if place in self._tables.open]
        if not held:
            return "archived"
        is_parked = all(self._tables.rows.deliveries[place].state == "parked" for place in held)
        return "parked" if is_parked else "in_flight"

    async def uses(self, pseudonym: bytes, after: UsePlace, limit: int) -> list[Use]:
        """Return the first `limit` uses of one person behind a place, in the order of their places."""
        rows = self._tables.rows
        found = [
            (rows.indexes[env], env, min(each.commitment for each in links if each.pseudonym == pseudonym))
            for env, links in rows.subjects.items()
            if any(each.pseudonym == pseudonym for each in links)
        ]
        chosen = sorted(each for each in found if each[:2] > after)[: max(limit, 0)]
        return [
            Use(env=env, index=index, commitment=sc, entry=self._tables.entries[index], compact=self._compact(env))
            for index, env, sc in chosen
        ]

    async def subject_keys(self) -> dict[str, bool]:
        """Return the names of all keys that pseudonyms were made with, and of each whether it was retired."""
        return dict(self._tables.rows.subject_keys)

    async def withholdings(self) -> list[Withholding]:
        """Return every withholding rule, in the order in which they were made."""
        return sorted(self._tables.rows.withholdings.values(), key=lambda rule: (rule.since, rule.id))

    def _compact(self, env: str) -> bytes:
        key, kept = self._tables.rows.keys.get(env), self._tables.evidence.get(env)
        if key is not None:
            return self._tables.rows.exchanges[key].compact
        return b"" if kept is None else kept.compact

    async def catalogued(self) -> int:
        """Return how many entries the catalogue covers, from the first on."""
        return max(self._tables.rows.mentions, default=-1) + 1

    async def kept(self, envs: Sequence[str]) -> dict[str, Kept]:
        """Return what is kept of accepted envelopes by env hash, those of forgotten exchanges too."""
        rows, evidence = self._tables.rows, self._tables.evidence
        held = [rows.exchanges[rows.keys[env]] for env in envs if env in rows.keys]
        found = {each.env: Kept(compact=each.compact, cause=each.cause) for each in held}
        return found | {env: Kept(compact=evidence[env].compact) for env in envs if env in evidence}

    async def entries_of(self, env: str) -> list[int]:
        """Return the numbers of all catalogued entries that name an env hash."""
        return sorted(each.seq for each in self._tables.rows.mentions.values() if env and each.env == env)

    async def mentioning(self, by: By, value: str, start: int, stop: int, limit: int) -> list[int]:
        """Return the numbers of the first `limit` catalogued entries in start..stop-1 that mention this."""
        rows = self._tables.rows.mentions.values()
        found = (each.seq for each in rows if value and getattr(each, by) == value)
        return sorted(seq for seq in found if start <= seq < stop)[: max(limit, 0)]

    async def mentioning_person(self, pseudonym: bytes, start: int, stop: int, limit: int) -> list[int]:
        """Return the numbers of the first `limit` catalogued entries in start..stop-1 of exchanges that name a person."""
        envs = set(await self.envs_of_person(pseudonym))
        found = (each.seq for each in self._tables.rows.mentions.values() if each.env in envs)
        return sorted(seq for seq in found if start <= seq < stop)[: max(limit, 0)]

    async def envs_of_person(self, pseudonym: bytes) -> list[str]:
        """Return the env hashes of all exchanges that name a person, in no order."""
        subjects = self._tables.rows.subjects.items()
        return [env for env, links in subjects if any(link.pseudonym == pseudonym for link in links)]

    async def entries_at(self, numbers: Sequence[int]) -> list[bytes]:
        """Return the bytes of these entries in the order of their numbers, each once."""
        entries = self._tables.entries
        return [entries[number] for number in sorted(set(numbers)) if 0 <= number < len(entries)]

    def _in_order(self, places: Iterable[Place]) -> list[Delivery]:
        rows = self._tables.rows.deliveries
        return sorted((rows[place] for place in places), key=_position)

    def _parcel(self, delivery: Delivery) -> Parcel:
        rows = self._tables.rows
        exchange, body = rows.exchanges[rows.keys[delivery.env]], rows.bodies[delivery.env]
        assert body is not None, "dropped bodies leave the rows when a commit is taken over"
        return Parcel(
            delivery=delivery, compact=exchange.compact, receipt=exchange.receipt, sealed=body.sealed, day=body.day
        )


def _position(delivery: Delivery) -> tuple[int, str]:
    return delivery.order, delivery.to


def _due_at(delivery: Delivery) -> datetime | None:
    return next_due(delivery.state, lease_until=delivery.lease_until, due_at=delivery.due_at, expires=delivery.expires)
