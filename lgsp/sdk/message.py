"""A delivered message, and the effect under which a program deals with it.

    async with message.effect() as effect:
        effect.execute("INSERT INTO …", (…))
        effect.reply({…})

What is asked of the effect is done when the block ends without an exception: the program's own statements, the processed mark, the signed
reply and the ack become durable in one transaction of the box, and only then is anything sent. Otherwise nothing of it is kept and the bus is
asked to deliver again. How that is done is `receiver`'s.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol, Unpack

from lgsp.domain.envelope import Manifest, Wire
from lgsp.errors import Defect
from lgsp.sdk import outbox
from lgsp.sdk.box import Writing
from lgsp.sdk.composition import Stated, Told, published
from lgsp.sdk.errors import Reject
from lgsp.sdk.outbox import Letter, Outcome

OWN_TRANSACTION: Final = frozenset(
    {"BEGIN", "COMMIT", "END", "ROLLBACK", "SAVEPOINT", "RELEASE", "ATTACH", "DETACH", "PRAGMA", "VACUUM"}
)

Value = str | bytes | int | float | None


class Tables:
    """The box's database as a program may use it inside a transaction that is not its own to end."""

    __slots__ = ("_connection",)

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, params: Sequence[Value] = ()) -> sqlite3.Cursor:
        """Run one statement; its cursor is of use inside the transaction only."""
        _refuse_own_transaction(sql)
        return self._connection.execute(sql, params)

    def executemany(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        """Run one statement for many rows."""
        _refuse_own_transaction(sql)
        self._connection.executemany(sql, rows)


def _refuse_own_transaction(sql: str) -> None:
    first = sql.split(None, 1)[0].rstrip(";").upper() if sql.strip() else ""
    if first in OWN_TRANSACTION:
        raise ValueError(f"{first} has no place here: the box begins and ends the transaction")


Step = Callable[[Tables], object]
Condition = Callable[[Tables], bool]


class Compose(Protocol):
    """Signs what an effect sends."""

    def letter(self, type_: str, stated: Stated) -> Letter:
        """Return the signed letter or raise `Refused`."""

    def reply(self, request: Manifest, body: object, *, schema: str | None, orgcat: str | None) -> Letter:
        """Return the signed reply or raise `Refused`."""


@dataclass(slots=True, kw_only=True)
class Work:
    """Statements and envelopes that become durable together."""

    compose: Compose
    steps: list[Step] = field(default_factory=list)
    letters: list[Letter] = field(default_factory=list)

    def execute(self, sql: str, params: Sequence[Value] = ()) -> None:
        """Add a statement, run in order when the block ends."""
        _refuse_own_transaction(sql)
        self.steps.append(lambda tables: tables.execute(sql, params))

    def run(self, step: Step) -> None:
        """Add a function of the tables, for what reads before it writes; it runs on the box's thread and may run only once."""
        self.steps.append(step)

    def send(self, type: str, **stated: Unpack[Stated]) -> str:  # noqa: A002 - the envelope's attribute has this name
        """Sign a further envelope, sent when the block ends well, and return its id; raise `Refused` for what is malformed."""
        letter = self.compose.letter(type, stated)
        self.letters.append(letter)
        return letter.id

    def publish(self, type: str, *, when: Condition | None = None, **told: Unpack[Told]) -> str:  # noqa: A002 - as above
        """Sign an event for all who subscribe to its type, sent when the block ends well, and return its id; raise `Refused` if malformed.

        With `when`, a change of the tables that is run in its place among the others, the event is sent only if that returns true.
        """
        letter = self.compose.letter(type, published(type, told))
        if when is None:
            self.letters.append(letter)
        else:
            self.steps.append(lambda tables: self.letters.append(letter) if when(tables) else None)
        return letter.id


@dataclass(slots=True, kw_only=True)
class Effect(Work):
    """What follows from a message: besides statements and envelopes, a reply, or a rejection in place of everything."""

    request: Manifest
    outcome: Literal["accepted", "rejected"] = "accepted"
    code: str = ""
    pointer: str = ""

    def reply(self, body: object, *, schema: str | None = None, orgcat: str | None = None) -> str:
        """Sign the reply to this request and return its id; `schema` is the service's newest unless given. Raise `Refused` if malformed."""
        letter = self.compose.reply(self.request, body, schema=schema, orgcat=orgcat)
        self.letters.append(letter)
        return letter.id

    def reject(self, code: str, pointer: str = "") -> None:
        """Tell the sender, signed, that this message is wrong for good; nothing else of the effect is done."""
        self.refuse(Reject(code, pointer))

    def refuse(self, rejection: Reject) -> None:
        """Turn the effect into a rejection."""
        self.steps.clear()
        self.letters.clear()
        self.outcome, self.code, self.pointer = "rejected", rejection.code, rejection.pointer


def carry_out(writing: Writing, work: Work) -> None:
    """Run the statements and put the envelopes into the outbox, inside a transaction of the box."""
    tables = Tables(writing.connection)
    for step in work.steps:
        step(tables)
    for letter in work.letters:
        outbox.add(writing, letter)


class Settles(Protocol):
    """Carries out what follows from a message."""

    def effect(self, message: Message, *, outside: bool) -> AbstractAsyncContextManager[Effect]:
        """Open the block in which the message is dealt with."""


@dataclass(slots=True, kw_only=True, eq=False)
class Message:
    """A message whose sender, receipt, audience and bytes were verified."""

    manifest: Manifest
    body: Any = field(repr=False)
    """The parsed body."""
    env: str
    attempt: int
    """1 for the first time that counts."""
    key: str | None
    """The program's key of the request that this answers, where it gave one."""
    uncertain: bool
    """An effect outside of the box had begun when a program last dealt with this: whether it took place is for the adapter to find out."""
    wire: Wire = field(repr=False)
    settles: Settles = field(repr=False)
    lease: str = ""
    held_since: float = 0.0
    has_credit: bool = True
    is_settled: bool = False

    @property
    def id(self) -> str:
        """The envelope's id."""
        return self.manifest.id

    @property
    def type(self) -> str:
        """The message type."""
        return self.manifest.type

    @property
    def source(self) -> str:
        """The sending system."""
        return self.manifest.source

    @property
    def size(self) -> int:
        """Bytes that the delivery took of the credit."""
        return len(self.wire.compact) + len(self.wire.body)

    def effect(self, *, outside: bool = False) -> AbstractAsyncContextManager[Effect]:
        """Deal with the message in a block; with `outside` a mark says beforehand that an effect elsewhere is about to begin.

        Inside the block `Reject` answers the sender for good, `Retry` and `NotReady` put the message back; all three end the block quietly.
        Any other exception puts the message back and goes on its way.
        """
        if self.is_settled:
            raise Defect("the message has been dealt with")
        return self.settles.effect(self, outside=outside)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Something sent that the bus or a receiver refused, or that was parked or expired: no answer will come."""

    outcome: Outcome
    act: Callable[[Outcome], AbstractAsyncContextManager[Work]] = field(repr=False)

    def effect(self) -> AbstractAsyncContextManager[Work]:
        """Act on it in a block; when that ends well, the failure is not shown again."""
        return self.act(self.outcome)
