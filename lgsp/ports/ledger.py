"""The ledger: the log, the exchanges and their deliveries. All changes of state go through `commit`, one transaction each call.

Times are kept to the millisecond, the rest is cut.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from lgsp.domain import base64url, strictjson
from lgsp.domain.entries import Draft
from lgsp.domain.exchange import Delivery, Exchange, ExchangeKey, State
from lgsp.domain.mentions import Mention
from lgsp.domain.statements import Statement
from lgsp.domain.tiles import Subtree
from lgsp.domain.values import fixed
from lgsp.domain.withholding import Withholding


@fixed
class ReceiptItem:
    """A receipt's item before the entry has its index; `code` only for a rejected envelope."""

    env: str
    id: str
    src: str
    aud: str
    outcome: Literal["accepted", "rejected"]
    code: str = ""

    def numbered(self, index: int, leaf: bytes) -> bytes:
        """Return the item's exact bytes (protocol section 3) for the entry at `index` whose leaf hash this is."""
        item: dict[str, str | int] = {
            "env": self.env,
            "id": self.id,
            "src": self.src,
            "aud": self.aud,
            "outcome": self.outcome,
            "index": index,
            "leaf": "sha-256:" + base64url.encode(leaf),
        }
        if self.code:
            item["code"] = self.code
        return strictjson.compact_members(item)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectLink:
    """One person named by an exchange: the pseudonym's row in the mutable index, never in the log."""

    pseudonym: bytes
    salt: bytes
    commitment: str


@fixed
class Accept:
    """Accept an envelope: entry, exchange, deliveries and sealed body; `handed` are entries that follow its own at once.

    Lost as `duplicate` when (`source`, `id`) is there already, as `stale` when the directory's head is not `head` or the request `answers` is
    not there, as `answered` when that request has a reply already. `exchange.receipt` is empty and `delivery.order` is 0: the ledger fills
    them in. A body that nobody is to receive is not kept, unless it is archived.
    """

    exchange: Exchange
    deliveries: tuple[Delivery, ...]
    sealed: bytes
    day: str
    """The day whose body key sealed the body, `YYYY-MM-DD`."""
    entry: Draft
    item: ReceiptItem
    subjects: tuple[SubjectLink, ...]
    answers: ExchangeKey | None
    head: int
    kept_until: datetime | None = None
    """Until when the body is archived, and so held whoever receives it; None for a body that goes when the exchange is settled."""
    handed: tuple[Draft, ...] = ()
    """Of deliveries that are accepted as leased: that they are handed over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse:
    """Record a refusal; without `item` no receipt is made."""

    entry: Draft
    item: ReceiptItem | None


@fixed
class Move:
    """Move a delivery by compare-and-swap; lost as `moved` unless its state is in `expect` and, where `held` is given, its lease equals it.

    So too where `due` is given and it is due at another moment: it has been let out again since. And where `until` is given and its lease lasts
    until another: it was extended.

    All members from `state` on are written as given, and the sender is told anew if it is an outcome. A settled state drops the sealed body
    once no delivery of the envelope is open, unless it is archived.
    """

    env: str
    to: str
    expect: frozenset[State]
    held: str | None = None
    due: datetime | None = None
    until: datetime | None = None
    state: State
    attempts: int
    lease: str = ""
    lease_until: datetime | None = None
    due_at: datetime | None = None
    code: str = ""
    ack: str = ""
    final: bool = False
    entry: Draft | None = None


@fixed
class Seen:
    """The sender has seen what became of a delivery; lost as `moved` when there is no such delivery of `source`, or none in `state`."""

    env: str
    to: str
    source: str
    state: State | Literal[""] = ""
    """The state that the sender was shown; "" for whatever it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend:
    """Remember a `jti` until a moment; lost as `spent` when it is remembered already. Those whose time is over at `now` are forgotten."""

    jti: str
    until: datetime
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Append an entry that changes nothing else.

    Lost as `spent` when `once` is: then the entry is there. So whoever got no answer may repeat it, for as long as that is remembered.
    """

    entry: Draft
    once: Spend | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """Put a new version of the directory in place, with new schema documents; lost as `stale` when the head is not `version` - 1."""

    version: int
    statement: bytes
    records: tuple[bytes, ...]
    documents: Mapping[str, bytes]
    """New documents by URN; one that is there already keeps its bytes."""
    entries: tuple[Draft, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepCheckpoint:
    """Keep a signed checkpoint over `size` entries; the last one over the most entries is given back by `checkpoint`.

    With it the subtrees that are whole by then and were not kept before; one that is there already stays.
    """

    size: int
    note: str
    subtrees: tuple[Subtree, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepCosigned:
    """Keep a checkpoint over `size` entries with a witness's signature; the last one over the most entries is given back by `cosigned`."""

    size: int
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepBodyKey:
    """Keep a day's wrapped body key; one that is there already stays."""

    day: str
    wrapped: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class DestroyBodyKey:
    """Destroy a day's wrapped body key, in the ledger's own files too as far as the engine can; lost as `moved` when none is kept of that day.

    The bodies of the day stay where they are; nothing opens them any more.
    """

    day: str
    entry: Draft


@dataclass(frozen=True, slots=True, kw_only=True)
class DropArchived:
    """Drop archived bodies; one of which a delivery is open stays."""

    envs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Forget:
    """Drop the rows of exchanges, but for their envelopes, receipts and acks (`Retention.evidence`); one of which something is open stays.

    So does a body that is archived.
    """

    envs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasePerson:
    """Drop every row of the index of persons with one of these pseudonyms; the log gains an entry and is otherwise as it was."""

    pseudonyms: tuple[bytes, ...]
    entry: Draft


@dataclass(frozen=True, slots=True, kw_only=True)
class Withhold:
    """Keep a new withholding rule."""

    rule: Withholding
    entry: Draft


@dataclass(frozen=True, slots=True, kw_only=True)
class EndWithholding:
    """End a withholding rule before its time; lost as `moved` when there is none of this id that has not been ended."""

    id: str
    at: datetime
    entry: Draft


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepSubjectKey:
    """Keep the name of a key that makes pseudonyms; one that is there already, retired or not, stays as it is."""

    name: str
    at: datetime
    entry: Draft | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RetireSubjectKey:
    """Note that a key's pseudonyms are to be found by nobody any more; lost as `moved` unless its name is kept and it was not retired."""

    name: str
    at: datetime
    entry: Draft


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """Add to the catalogue what the entries from `start` on mention, up to the last of `mentions`; what is there already stays.

    Lost as `stale` when the catalogue does not reach `start`: it never has a gap.
    """

    start: int
    mentions: tuple[Mention, ...]
    """At least one, by the numbers of their entries."""


Operation = (
    Accept
    | Refuse
    | Move
    | Seen
    | Note
    | Spend
    | Publish
    | KeepCheckpoint
    | KeepCosigned
    | KeepBodyKey
    | DestroyBodyKey
    | DropArchived
    | Forget
    | ErasePerson
    | Withhold
    | EndWithholding
    | KeepSubjectKey
    | RetireSubjectKey
    | Catalogue
)

Lost = Literal["duplicate", "stale", "answered", "moved", "spent"]


@fixed
class Done:
    """An operation took effect; `index` is that of its (last) entry, of the first where it accepted an envelope, -1 when it made none."""

    index: int = -1
    receipt: str | None = None
    """JSON text."""


Result = Done | Lost

SignReceipts = Callable[[Sequence[bytes], int], Sequence[Statement]]
"""Sign the items' bytes, at most 256 a call, under the directory version given. Called inside the transaction, released after it."""


class Ledger(Protocol):
    """The log and the exchanges."""

    async def commit(self, operations: Sequence[Operation], sign: SignReceipts) -> Sequence[Result]:
        """Apply the operations in order in one transaction and return one result each.

        A lost operation leaves nothing behind; the others stand. When this raises (`Refusal("unavailable")`) nothing was applied.
        """

    async def exchanges(self, keys: Sequence[ExchangeKey]) -> dict[ExchangeKey, Exchange]:
        """Return the exchanges among these keys that are held."""

    async def exchange_of(self, env: str) -> Exchange | None:
        """Return the exchange of an env hash."""

    async def size(self) -> int:
        """Return the number of committed entries."""

    async def leaves(self, start: int, stop: int) -> list[bytes]:
        """Return the leaf hashes of entries start..stop-1."""

    async def entries(self, start: int, stop: int) -> list[bytes]:
        """Return the bytes of entries start..stop-1."""

    async def checkpoint(self) -> str:
        """Return the last kept checkpoint, or ""."""

    async def used_since(self, moment: datetime, until: datetime | None = None) -> dict[str, int]:
        """Return how many exchanges were accepted under each grant since a moment, and before `until`; replies are under none."""
