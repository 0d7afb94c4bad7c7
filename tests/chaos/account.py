"""The accountant: compares, envelope by envelope, what was sent, receipted, logged, delivered, acted on, acked and answered.

It is told what the books say (`books` reads them) and says what does not fit. It knows nothing of the bus but what it promises: nothing that has
a receipt is lost, nothing takes effect twice, every request has one reply, and in the end nothing is under way any more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from tests.bench.made_up import ASKED
from tests.chaos import notes

OPEN: Final = frozenset({"accepted", "queued", "leased", "waiting"})
SHOWN: Final = 3
"""Envelopes that a finding names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """An envelope in an outbox; `index` is where its receipt says that it stands in the log."""

    id: str
    env: str
    state: str
    type: str
    audience: str
    index: int | None


@dataclass(slots=True, kw_only=True)
class Box:
    """What a system's box says."""

    system: str
    notes: dict[int, str] = field(default_factory=dict)
    """Number of a note -> id of its envelope: what the program meant to send."""
    letters: dict[str, Letter] = field(default_factory=dict)
    """By id."""
    outcomes: dict[tuple[str, str], str] = field(default_factory=dict)
    """(Env hash, receiver or "") -> state."""
    marks: dict[str, str] = field(default_factory=dict)
    """Env hash -> state."""
    effects: list[tuple[int, str, str]] = field(default_factory=list)
    """(Number, source, env hash) of what took effect, in this order."""
    replies: list[tuple[int, str]] = field(default_factory=list)
    """(Number, env hash) of replies that were acted on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """An accepted envelope."""

    env: str
    source: str
    id: str
    type: str
    cause: str


@dataclass(slots=True, kw_only=True)
class Ledger:
    """What the ledger says."""

    exchanges: dict[str, Exchange] = field(default_factory=dict)
    """By env hash."""
    deliveries: dict[tuple[str, str], str] = field(default_factory=dict)
    """(Env hash, inbox) -> state."""
    bodies: int = 0
    accepted: dict[str, list[int]] = field(default_factory=dict)
    """Env hash -> positions of its entries `msg.accepted`."""
    settled: Counter[str] = field(default_factory=Counter)
    """Env hash -> number of its entries `msg.acked` (of rejections too), `msg.expired`, `msg.parked`."""
    entries: int = 0
    verified: int = 0
    """Entries of which `lgsp audit verify` says that they verify."""


@dataclass(slots=True, kw_only=True)
class Books:
    """All that was written down, and what the broker still holds by queue."""

    boxes: dict[str, Box]
    ledger: Ledger
    queues: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that does not fit, and for whom."""

    words: str
    envs: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.words}: {len(self.envs)}, as {', '.join(self.envs[:SHOWN])}"


def findings(books: Books) -> list[Finding]:
    """Return what does not fit; nothing when the account is exact."""
    found: dict[str, list[str]] = {}
    for words, env in _all(books):
        found.setdefault(words, []).append(env)
    return [Finding(words=words, envs=tuple(envs)) for words, envs in found.items()]


Found = Iterator[tuple[str, str]]


def _all(books: Books) -> Found:
    yield from _sent(books)
    yield from _accepted(books)
    yield from _delivered(books)
    yield from _took_effect(books)
    yield from _answered(books)
    yield from _at_rest(books)


def _letters(books: Books) -> Iterator[tuple[Box, Letter]]:
    return ((box, letter) for box in books.boxes.values() for letter in box.letters.values())


def _sent(books: Books) -> Found:
    """Every note has its letter; every letter a receipt whose envelope is in the log where it says, or a refusal that its sender knows of."""
    for box in books.boxes.values():
        yield from (
            ("a note has no letter", f"{box.system} {number}")
            for number, id_ in box.notes.items()
            if id_ not in box.letters
        )
    for box, letter in _letters(books):
        if letter.state == "queued":
            yield "a letter is still in the outbox", letter.env
        if letter.state == "refused" and box.outcomes.get((letter.env, "")) != "refused":
            yield "a sender was not told of a refusal", letter.env
        if letter.state == "receipted":
            if letter.env not in books.ledger.exchanges:
                yield "a receipted envelope is not in the ledger", letter.env
            if [letter.index] != books.ledger.accepted.get(letter.env):
                yield "the log does not have it once, where the receipt says", letter.env
    for box in books.boxes.values():
        for number, id_ in box.notes.items():
            letter = box.letters.get(id_)
            if letter is not None and (letter.state == "refused") != (notes.fate(number) == "refused"):
                yield "the bus did not judge a note as it should", letter.env


def _accepted(books: Books) -> Found:
    """Whatever the ledger has was sent, and its sender has the receipt."""
    for exchange in books.ledger.exchanges.values():
        box = books.boxes.get(exchange.source)
        letter = box.letters.get(exchange.id) if box else None
        if letter is None or letter.env != exchange.env:
            yield "the ledger has what nobody sent", exchange.env
        elif letter.state != "receipted":
            yield "an accepted envelope has no receipt", exchange.env
    for env in books.ledger.accepted.keys() - books.ledger.exchanges.keys():
        yield "the log has an acceptance without an exchange", env


def _delivered(books: Books) -> Found:
    """Every accepted envelope has its delivery, settled once, and its sender knows how."""
    ledger = books.ledger
    delivered = {env for env, _ in ledger.deliveries}
    yield from (("an accepted envelope has no delivery", env) for env in ledger.exchanges.keys() - delivered)
    for (env, inbox), state in ledger.deliveries.items():
        exchange = ledger.exchanges.get(env)
        if state in OPEN:
            yield f"a delivery is still {state}", env
        elif state not in {"acked", "rejected"}:
            yield f"a delivery was {state}", env
        elif ledger.settled[env] != 1:
            yield "the log does not have an ack once", env
        if exchange is None:
            yield "a delivery has no exchange", env
        elif (sender := books.boxes.get(exchange.source)) and sender.outcomes.get((env, inbox)) != state:
            yield "a sender was not told what became of it", env
        receiver = books.boxes.get(inbox)
        if receiver is not None and (state in {"acked", "rejected"}) != (receiver.marks.get(env) == "done"):
            yield "the receiver's mark and the ledger differ", env


def _took_effect(books: Books) -> Found:
    """What was taken over took effect once, and nothing else did."""
    states = books.ledger.deliveries
    sent_as = _numbers(books)
    for box in books.boxes.values():
        acted = Counter(env for _, env in (*((number, env) for number, _, env in box.effects), *box.replies))
        yield from (("it took effect more than once", env) for env, times in acted.items() if times > 1)
        acked = {env for (env, inbox), state in states.items() if inbox == box.system and state == "acked"}
        yield from (("it was acked and took no effect", env) for env in acked - acted.keys())
        yield from (("it took effect and was not acked", env) for env in acted.keys() - acked)
        for number, source, env in box.effects:
            if sent_as.get(env) != (source, number):
                yield "what took effect is not what was sent", env


def _numbers(books: Books) -> dict[str, tuple[str, int]]:
    """Return sender and number of each note by env hash."""
    return {
        box.letters[id_].env: (box.system, number)
        for box in books.boxes.values()
        for number, id_ in box.notes.items()
        if id_ in box.letters
    }


def _answered(books: Books) -> Found:
    """Every request that was taken over has one reply, and its asker acted on it once."""
    ledger = books.ledger
    states = {env: state for (env, _), state in ledger.deliveries.items()}
    answers = Counter(exchange.cause for exchange in ledger.exchanges.values() if exchange.cause)
    acted = Counter((box.system, number) for box in books.boxes.values() for number, _ in box.replies)
    for env, (source, number) in _numbers(books).items():
        is_taken = states.get(env) == "acked"
        if (states.get(env) == "rejected") != (notes.fate(number) == "rejected"):
            yield "the receiver's word is not what it should be", env
        due = 1 if is_taken and notes.kind(number) == ASKED else 0
        if answers[env] != due:
            yield f"a note has {answers[env]} replies in place of {due}", env
        if acted[source, number] != due:
            yield f"{acted[source, number]} replies were acted on in place of {due}", env


def _at_rest(books: Books) -> Found:
    """Nothing is left over."""
    if books.ledger.bodies:
        yield "a body is kept that nobody waits for", str(books.ledger.bodies)
    if books.ledger.verified != books.ledger.entries:
        yield "the log does not verify as a whole", f"{books.ledger.verified} of {books.ledger.entries}"
    yield from ((f"the broker still holds {held} messages", name) for name, held in books.queues.items() if held)


def table(books: Books) -> str:
    """Return the account as a table: each line an identity, with its figures."""
    return "\n".join(f"{name:<44}{value:>10,}" for name, value in _rows(books))


def _rows(books: Books) -> Iterable[tuple[str, int]]:
    states = Counter(letter.state for _, letter in _letters(books))
    moved = Counter(books.ledger.deliveries.values())
    replies = sum(1 for exchange in books.ledger.exchanges.values() if exchange.cause)
    return [
        ("notes that were meant to be sent", sum(len(box.notes) for box in books.boxes.values())),
        ("letters in outboxes, replies with them", states.total()),
        ("= receipted", states["receipted"]),
        ("+ refused by the bus, and told", states["refused"]),
        ("+ still in an outbox", states["queued"]),
        ("accepted in the ledger", len(books.ledger.exchanges)),
        ("of these replies", replies),
        ("deliveries", moved.total()),
        ("= acked", moved["acked"]),
        ("+ rejected by the receiver", moved["rejected"]),
        ("+ expired or parked", moved["expired"] + moved["parked"]),
        ("+ open", sum(moved[state] for state in OPEN)),
        ("effects at receivers", sum(len(box.effects) for box in books.boxes.values())),
        ("replies acted on by those who asked", sum(len(box.replies) for box in books.boxes.values())),
        ("entries of the log", books.ledger.entries),
        ("of these verified", books.ledger.verified),
        ("messages on the broker", sum(books.queues.values())),
    ]
