"""What one group of the floor's gateway writes: entries, exchanges with their receipts, deliveries, bodies, settlements. Where to is the store's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from lgsp.domain import entries, merkle, statements
from lgsp.domain.envelope import Manifest, Wire
from lgsp.domain.keys import Signer
from lgsp.domain.statements import BATCH_MAX, Statement
from lgsp.machine import SystemClock
from lgsp.ports.ledger import ReceiptItem
from tests.bench.floor.names import GATEWAY, LOG

POLICY = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Accept:
    """An envelope that was read and judged, with its body sealed."""

    env: str
    wire: Wire
    manifest: Manifest
    kid: str
    sealed: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Settle:
    """A verified ack."""

    env: str
    ack: Statement


Operation = Accept | Settle


@dataclass(slots=True, kw_only=True)
class Rows:
    """The rows of a group; accepted ones with their receipts, in order."""

    size: int
    """Of the log afterwards."""
    entries: list[tuple[int, bytes, bytes]] = field(default_factory=list)
    accepted: list[tuple[Accept, Statement]] = field(default_factory=list)
    settled: list[Settle] = field(default_factory=list)


class Store(Protocol):
    """Makes groups durable."""

    async def commit(self, group: Sequence[Operation], ledger: Ledger) -> Rows:
        """Write what `ledger.rows` gives in one transaction and return it."""

    async def counts(self) -> dict[str, int]:
        """Return how many exchanges, settled deliveries, bodies and entries there are."""

    async def close(self) -> None:
        """Let go of it."""


class Ledger:
    """Numbers entries and signs receipts, one signature for up to 256."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer
        self._clock = SystemClock()

    def rows(self, group: Sequence[Operation], size: int) -> Rows:
        """Return the rows of a group that follows on a log of this size."""
        found = Rows(size=size)
        accepts: list[Accept] = []
        items: list[bytes] = []
        for operation in group:
            if isinstance(operation, Accept):
                index, leaf = self._append(found, _accepted(operation, self._clock))
                accepts.append(operation)
                items.append(_item(operation).numbered(index, leaf))
            else:
                self._append(found, _settled(operation, self._clock))
                found.settled.append(operation)
        found.accepted = list(zip(accepts, self._signed(items), strict=True))
        return found

    def _append(self, rows: Rows, entry: entries.Draft) -> tuple[int, bytes]:
        index = rows.size
        data = entry.numbered(index)
        leaf = merkle.leaf_hash(data)
        rows.entries.append((index, leaf, data))
        rows.size += 1
        return index, leaf

    def _signed(self, items: list[bytes]) -> list[Statement]:
        head = statements.receipt_head(gateway=GATEWAY, at=self._clock.now(), log=LOG, policy=POLICY)
        return [
            statement
            for start in range(0, len(items), BATCH_MAX)
            for statement in statements.sign_batch(
                items[start : start + BATCH_MAX], head, typ=statements.RECEIPT, signer=self._signer
            )
        ]


def _item(accept: Accept) -> ReceiptItem:
    manifest = accept.manifest
    return ReceiptItem(
        env=accept.env, id=manifest.id, src=manifest.source, aud=manifest.audience, outcome="accepted", code=""
    )


def _accepted(accept: Accept, clock: SystemClock) -> entries.Draft:
    manifest = accept.manifest
    members: dict[str, Any] = {
        "env": accept.env,
        "id": manifest.id,
        "src": manifest.source,
        "aud": manifest.audience,
        "type": manifest.type,
        "schema": manifest.schema,
        "policy": POLICY,
        "kid": accept.kid,
    }
    return entries.draft("msg.accepted", at=clock.now(), bus=GATEWAY, **members)


def _settled(settle: Settle, clock: SystemClock) -> entries.Draft:
    return entries.draft("msg.acked", at=clock.now(), bus=GATEWAY, env=settle.env, stmt=settle.ack.leaf)
