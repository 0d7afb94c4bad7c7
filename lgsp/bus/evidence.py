"""Bringing the evidence of one exchange together: what was signed, what the log says of it, and the records that made it valid.

A bundle is made under a checkpoint and says how things stood then: entries after it are left out, and with them the acks and the reply that they
tell of. Only reading is done here; whether the bundle proves what it should is `domain.evidence_checks`', who may have it is `bundles`'.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from lgsp.bus.logtree import LogTree, NodesMissing
from lgsp.domain import checkpoint, directory, envelope, names, policy, sealing, statements, strictjson
from lgsp.domain.directory import Directory
from lgsp.domain.envelope import Manifest
from lgsp.domain.evidence import Acked, Bundle, Excerpt, Logged, Part
from lgsp.domain.evidence_checks import JUDGED_BEFORE
from lgsp.domain.keys import PublicKey
from lgsp.domain.policy import Target
from lgsp.domain.sealing import SealBroken
from lgsp.domain.statements import Statement
from lgsp.errors import Ending, Refusal, Unusable
from lgsp.ports.store import Store

READ_AT_ONCE: Final = 4_096
LOOKED_THROUGH: Final = 2_000_000
"""Entries read that are not catalogued yet: several days of a province."""

TOLD: Final = frozenset({"not_found", "body_lost", "unavailable"})
"""Refusals that say nothing of damage."""

RecordName = tuple[str, str]
"""(kind, id): one record of the directory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """What the ledger has of an envelope, whether its exchange is forgotten or not."""

    env: str
    compact: bytes
    receipt: Statement
    acks: tuple[Statement, ...]
    reply: str
    """The env hash of the accepted reply, or ""."""

    @property
    def index(self) -> int:
        """The number of the entry that accepted it."""
        return int(strictjson.parse_object(self.receipt.item.encode())["index"])

    @property
    def policy(self) -> int:
        """The version of the directory that it was judged by."""
        return statements.policy_of(self.receipt.jws)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """An entry and its members."""

    index: int
    data: bytes
    members: Mapping[str, Any]

    def text(self, name: str) -> str:
        return str(self.members.get(name, ""))


@dataclass(slots=True, kw_only=True)
class Prover:
    """Makes bundles from a store; `wrap` opens the bodies that are still held, without it none is shown."""

    store: Store
    bus: str
    registrar: PublicKey
    wrap: bytes | None = field(default=None, repr=False)
    senders: AbstractSet[str] | None = None
    """Whose bodies are shown; None for everybody's."""
    note: str | None = None
    """The checkpoint to prove under; None for the kept one."""
    looked_through: int = LOOKED_THROUGH
    versions: dict[int, Directory] = field(default_factory=dict)
    """Versions of the directory that are open already; others are opened when they are needed."""
    _wanted: defaultdict[int, set[RecordName]] = field(default_factory=lambda: defaultdict(set))

    async def bundle(self, env: str) -> Bundle:
        """Return the evidence of the exchange that an accepted envelope, request or reply, is part of.

        Refuses as `not_found` what there is none of, as `body_lost` a body that does not open, as `log_broken` what does not read any more.
        """
        try:
            return await self._bundle(env)
        except (NodesMissing, ValueError, LookupError) as error:
            raise _broken(str(error)) from None
        except Refusal as refusal:
            if refusal.code in TOLD:
                raise
            raise _broken(f"{refusal.code} {refusal.detail}".strip()) from None

    async def _bundle(self, env: str) -> Bundle:
        note = await self.store.checkpoint() if self.note is None else self.note
        covered = checkpoint.stated_size(note) if note else 0
        asked = await self._kept(env)
        cause = (await self._accepting(asked, covered)).text("cause")
        if cause:
            asked = await self._kept(cause)
        replied = await self._kept(asked.reply) if asked.reply else None
        reply = replied if replied is not None and replied.index < covered else None
        told = await self._entries([part for part in (asked, reply) if part is not None], covered)
        message = await self._part(asked, told, covered)
        answered = None if reply is None else await self._part(reply, told, covered)
        note = await self._cosigned(note, told[-1].index)
        return Bundle(
            bus=self.bus,
            checkpoint=note,
            directories=tuple([await self._excerpt(version) for version in sorted(self._wanted)]),
            entries=await self._logged(told, checkpoint.stated_size(note)),
            message=message,
            reply=answered,
        )

    async def _cosigned(self, note: str, last: int) -> str:
        """Return the co-signed checkpoint where it is of the same log and covers the last entry that is told, else the kept one."""
        cosigned = await self.store.cosigned()
        is_same_log = cosigned.partition("\n")[0] == note.partition("\n")[0]
        return cosigned if is_same_log and last < checkpoint.stated_size(cosigned) else note

    async def _kept(self, env: str) -> _Kept:
        # In this order: what is forgotten meanwhile is missing from both, and then read as what stays of it.
        acks = [delivery.ack for delivery in await self.store.deliveries(env) if delivery.ack]
        exchange = await self.store.exchange_of(env)
        if exchange is not None:
            return _kept(env, exchange.compact, exchange.receipt, acks, exchange.reply)
        evidence = await self.store.evidence(env)
        if evidence is None:
            raise Refusal("not_found", "no accepted envelope has this hash")
        if not evidence.receipt:
            raise Refusal("not_found", "its exchange was forgotten by a program that did not keep the receipt")
        return _kept(env, evidence.compact, evidence.receipt, evidence.acks, evidence.reply)

    async def _accepting(self, kept: _Kept, covered: int) -> _Entry:
        """Return the entry that accepted an envelope."""
        if kept.index >= covered:
            words = f"the kept checkpoint covers {covered} entries, and this is entry {kept.index}"
            raise Refusal("not_found", f"{words}: a gateway that runs keeps the next one within a minute")
        [data] = await self.store.entries(kept.index, kept.index + 1)
        return _Entry(index=kept.index, data=data, members=strictjson.parse_object(data))

    async def _entries(self, parts: Sequence[_Kept], covered: int) -> list[_Entry]:
        """Return the entries that are about these envelopes, up to the checkpoint: those that are catalogued, and what is not yet from the log."""
        envs = [part.env for part in parts]
        first, catalogued = min(part.index for part in parts), await self.store.catalogued()
        named = {number for env in envs for number in await self.store.entries_of(env)}
        numbers = sorted(number for number in named if first <= number < covered)
        rows = dict(zip(numbers, await self.store.entries_at(numbers), strict=True))
        start = max(catalogued, first)
        if covered - start > self.looked_through:
            raise Refusal("unavailable", "the log is not catalogued so far yet; a gateway that runs does it")
        for low in range(start, covered, READ_AT_ONCE):
            entries = await self.store.entries(low, min(covered, low + READ_AT_ONCE))
            rows |= {low + at: data for at, data in enumerate(entries) if any(env.encode() in data for env in envs)}
        found = (
            _Entry(index=index, data=data, members=strictjson.parse_object(data))
            for index, data in sorted(rows.items())
        )
        return [entry for entry in found if entry.text("env") in envs]

    async def _part(self, kept: _Kept, told: Sequence[_Entry], covered: int) -> Part:
        entry = await self._accepting(kept, covered)
        held = await self._directory(kept.policy)
        manifest = envelope.manifest_of(kept.compact)
        targets = _targets(held, manifest, envelope.parse_time(entry.text("ts")))
        stated = {each.text("stmt") for each in told if each.text("env") == kept.env}
        acks = [await self._acked(ack, held) for ack in kept.acks if ack.leaf in stated]
        takers = {target.inbox for target in targets} | {self._signer(each.ack, each.version) for each in acks}
        kid = entry.text("kid")
        self._wanted[held.version] |= {
            ("bus", self.bus),
            ("key", kid),
            ("key", statements.kid_of(kept.receipt.jws, typ=statements.RECEIPT)),
            *(("key", key.public.kid) for key in held.keys_of(self.bus) if key.role == "log"),
            ("service", names.request_type(manifest.type)),
            ("schema", manifest.schema),
            ("grant", entry.text("rule")),
            *(("subscription", target.subscription) for target in targets),
            *_of_systems(held, manifest, held.keys[kid].owner, targets, takers),
        }
        body = await self._body(kept.env, manifest.source)
        return Part(compact=kept.compact, receipt=kept.receipt, acks=tuple(acks), body=body)

    async def _acked(self, ack: Statement, held: Directory) -> Acked:
        """Return an ack with the version in which its key holds: that of the acceptance, or the first one after it."""
        kid = statements.kid_of(ack.jws, typ=statements.ACK)
        head = await self.store.head_version()
        for version in range(held.version, head + 1):
            found = await self._directory(version)
            if kid in found.keys and found.keys[kid].record.holds_at(version):
                owner = found.keys[kid].owner
                self._wanted[version] |= {("key", kid), ("system", owner), ("agency", names.agency_of(owner))}
                return Acked(version=version, ack=ack)
        raise Refusal("not_found", "no version of the directory holds the key of an ack")

    def _signer(self, ack: Statement, version: int) -> str:
        return self.versions[version].keys[statements.kid_of(ack.jws, typ=statements.ACK)].owner

    async def _directory(self, version: int) -> Directory:
        if version not in self.versions:
            kept = await self.store.at(version)
            if kept is None:
                raise Refusal("not_found", f"version {version} of the directory is not kept")
            # In another thread: a gateway goes on while thousands of records are read.
            self.versions[version] = await asyncio.to_thread(
                directory.open_directory, kept.statement, kept.records, self.registrar, bus=self.bus
            )
        return self.versions[version]

    async def _excerpt(self, version: int) -> Excerpt:
        held = await self._directory(version)
        return Excerpt(statement=held.statement, records=directory.place(held, self._wanted[version]))

    async def _logged(self, told: Sequence[_Entry], covered: int) -> tuple[Logged, ...]:
        tree = LogTree(ledger=self.store, nodes=self.store)
        await tree.begin(covered)
        paths = [await tree.inclusion(entry.index, covered) for entry in told]
        return tuple(
            Logged(index=entry.index, entry=entry.data, path=tuple(path))
            for entry, path in zip(told, paths, strict=True)
        )

    async def _body(self, env: str, sender: str) -> bytes | None:
        """Return a body that is still held; None when it is not, was erased with its day, or is not to be shown."""
        if self.wrap is None or not (self.senders is None or sender in self.senders):
            return None
        held = await self.store.body_of(env)
        wrapped = None if held is None else (await self.store.body_keys()).get(held.day)
        if held is None or wrapped is None:
            return None
        try:
            return sealing.open_sealed(sealing.open_sealed(self.wrap, held.day, wrapped), env, held.sealed)
        except SealBroken:
            raise Refusal("body_lost") from None


def _broken(words: str) -> Unusable:
    return Unusable("log_broken", f"what is kept of the exchange: {words}", exit_code=Ending.BROKEN)


def _kept(env: str, compact: bytes, receipt: str, acks: Iterable[str], reply: str) -> _Kept:
    return _Kept(
        env=env,
        compact=compact,
        receipt=statements.from_text(receipt),
        acks=tuple(map(statements.from_text, acks)),
        reply=reply,
    )


def _targets(held: Directory, manifest: Manifest, at: datetime) -> tuple[Target, ...]:
    """Return where an accepted envelope went; it was judged a moment before `at`."""
    if manifest.is_reply:
        inbox = held.bridge_for(manifest.audience, manifest.type) or manifest.audience
        return (Target(receiver=manifest.audience, inbox=inbox),)
    earlier = at - JUDGED_BEFORE
    try:
        found = policy.route(held, manifest.audience, manifest.type, at)
    except Refusal:
        return policy.route(held, manifest.audience, manifest.type, earlier)
    if names.is_topic(manifest.audience):  # its day may have been the one before, with subscribers that are no more
        found += policy.route(held, manifest.audience, manifest.type, earlier)
    return found


def _of_systems(
    held: Directory, manifest: Manifest, signer: str, targets: Sequence[Target], takers: Iterable[str]
) -> Iterable[RecordName]:
    """Yield the records of who sent, who receives and who stands for either: systems, their agencies, delegations in force."""
    receivers = {target.receiver for target in targets}
    systems = {manifest.source, signer, *receivers, *takers}
    for urn in {*systems, manifest.audience}:
        yield "system", urn
        yield "agency", names.agency_of(urn)
    standing = {(signer, manifest.source)} | {(taker, receiver) for taker in takers for receiver in receivers}
    for each in held.delegations:
        is_used = (each.bridge, each.principal) in standing and each.covers(manifest.type)
        if is_used and each.holds_at(held.version):
            yield "delegation", each.id
