"""The accountant finds whatever is lost, doubled, left over or untold: each way of cheating shows, in books that balance and in real ones."""

import asyncio
import shutil
import sqlite3
from contextlib import asynccontextmanager, closing
from dataclasses import replace

import pytest

from lgsp.sdk import SystemSettings
from tests.bench.made_up import ASKED
from tests.chaos import notes
from tests.chaos.account import Books, Box, Exchange, Ledger, Letter, findings
from tests.chaos.bus import chaotic_bus
from tests.chaos.storm import calm

ASKER, KEEPER = "asker", "keeper"
TOLD, ANSWERED, REJECTED, REFUSED = (8, 1, 7, 3)
"""Numbers of notes, by what must become of them; the second is a request."""


def balanced():
    """Return books in which four notes came to the four ends that there are."""
    books = Books(boxes={name: Box(system=name) for name in (ASKER, KEEPER)}, ledger=Ledger())
    for number in (TOLD, ANSWERED, REJECTED):
        accepted(books, ASKER, KEEPER, f"e{number}", number=number, state="rejected" if number == REJECTED else "acked")
    for number in (TOLD, ANSWERED):
        books.boxes[KEEPER].effects.append((number, ASKER, f"e{number}"))
    accepted(books, KEEPER, ASKER, "r1", cause=f"e{ANSWERED}")
    books.boxes[ASKER].replies.append((ANSWERED, "r1"))
    asker = books.boxes[ASKER]
    asker.notes[REFUSED] = "id-e3"
    asker.letters["id-e3"] = letter("e3", "refused", None)
    asker.outcomes["e3", ""] = "refused"
    books.ledger.verified = books.ledger.entries
    return books


def letter(env, state, index, to=KEEPER):
    return Letter(id=f"id-{env}", env=env, state=state, type="", audience=to, index=index)


def accepted(books, sender, receiver, env, *, number=None, state="acked", cause=""):
    """Write an accepted envelope into all books."""
    ledger, index = books.ledger, books.ledger.entries
    if number is not None:
        books.boxes[sender].notes[number] = f"id-{env}"
    books.boxes[sender].letters[f"id-{env}"] = letter(env, "receipted", index, receiver)
    books.boxes[sender].outcomes[env, receiver] = state
    books.boxes[receiver].marks[env] = "done"
    ledger.exchanges[env] = Exchange(env=env, source=sender, id=f"id-{env}", type="", cause=cause)
    ledger.deliveries[env, receiver] = state
    ledger.accepted[env] = [index]
    ledger.settled[env] = 1
    ledger.entries += 2


def lose(books, env):
    del books.ledger.exchanges[env], books.ledger.deliveries[env, KEEPER]


def relabel(books, env, state):
    asker = books.boxes[ASKER]
    asker.letters[f"id-{env}"] = replace(asker.letters[f"id-{env}"], state=state)


def test_books_that_balance_have_no_findings():
    assert [str(finding) for finding in findings(balanced())] == []
    kinds = {notes.fate(number) for number in (TOLD, ANSWERED, REJECTED, REFUSED)}
    assert (kinds, notes.kind(TOLD) == ASKED, notes.kind(ANSWERED) == ASKED) == (
        {"taken", "rejected", "refused"}, False, True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("cheat", "found"),
    [
        (lambda books: lose(books, "e8"), "a receipted envelope is not in the ledger"),
        (lambda books: books.ledger.deliveries.pop(("e8", KEEPER)), "an accepted envelope has no delivery"),
        (lambda books: books.ledger.accepted.pop("e8"), "the log does not have it once, where the receipt says"),
        (lambda books: books.ledger.accepted.update(e8=[0, 9]), "the log does not have it once, where the receipt says"),
        (lambda books: books.ledger.accepted.update(x=[9]), "the log has an acceptance without an exchange"),
        (lambda books: books.ledger.settled.update(e8=1), "the log does not have an ack once"),
        (lambda books: books.ledger.deliveries.update({("e8", KEEPER): "leased"}), "a delivery is still leased"),
        (lambda books: books.ledger.deliveries.update({("e8", KEEPER): "parked"}), "a delivery was parked"),
        (lambda books: books.boxes[ASKER].letters.pop("id-e8"), "a note has no letter"),
        (lambda books: books.boxes[ASKER].letters.pop("id-e8"), "the ledger has what nobody sent"),
        (lambda books: relabel(books, "e8", "queued"), "a letter is still in the outbox"),
        (lambda books: relabel(books, "e8", "queued"), "an accepted envelope has no receipt"),
        (lambda books: relabel(books, "e8", "refused"), "the bus did not judge a note as it should"),
        (lambda books: books.boxes[ASKER].outcomes.pop(("e3", "")), "a sender was not told of a refusal"),
        (lambda books: books.boxes[ASKER].outcomes.pop(("e8", KEEPER)), "a sender was not told what became of it"),
        (lambda books: books.boxes[KEEPER].marks.pop("e8"), "the receiver's mark and the ledger differ"),
        (lambda books: books.boxes[KEEPER].effects.append((TOLD, ASKER, "e8")), "it took effect more than once"),
        (lambda books: books.boxes[KEEPER].effects.remove((TOLD, ASKER, "e8")), "it was acked and took no effect"),
        (lambda books: books.boxes[KEEPER].effects.append((7, ASKER, "e7")), "it took effect and was not acked"),
        (lambda books: books.boxes[KEEPER].effects.__setitem__(0, (9, ASKER, "e8")), "what took effect is not what was sent"),
        (lambda books: books.boxes[ASKER].replies.append((ANSWERED, "r1")), "2 replies were acted on in place of 1"),
        (lambda books: books.boxes[ASKER].replies.clear(), "0 replies were acted on in place of 1"),
        (lambda books: accepted(books, KEEPER, ASKER, "r2", cause="e1"), "a note has 2 replies in place of 1"),
        (lambda books: setattr(books.ledger, "bodies", 1), "a body is kept that nobody waits for"),
        (lambda books: setattr(books.ledger, "verified", 1), "the log does not verify as a whole"),
        (lambda books: books.queues.update(inbox=2), "the broker still holds 2 messages"),
    ],
)  # fmt: skip
def test_the_accountant_finds(cheat, found):
    books = balanced()
    cheat(books)
    assert found in {finding.words for finding in findings(books)}


# --- real books: a quiet run, and then somebody writes into its files -----------------------------------------------------------------------


@asynccontextmanager
async def quiet_run(folder):
    """Give an embedded bus that was under load for a moment and has ended."""
    async with chaotic_bus(folder, rate=60) as bus:
        async with asyncio.timeout(60):
            while bus.progress() < 60:
                await asyncio.sleep(0.05)
        await calm(bus)
        await bus.end()
        yield bus


FORGETFUL = {
    "a dropped delivery": ("ledger", "DELETE FROM delivery WHERE env = :env", "an accepted envelope has no delivery"),
    "a dropped exchange": ("ledger", "DELETE FROM exchange WHERE env = :env", "a receipted envelope is not in the ledger"),
    "a lease that nobody ends": ("ledger", "UPDATE delivery SET state = 'leased' WHERE env = :env", "a delivery is still leased"),
    "a forgotten mark": ("receiver", "DELETE FROM lgsp_inbox WHERE env = :env", "the receiver's mark and the ledger differ"),
    "an effect that is gone": ("receiver", "DELETE FROM chaos_effect WHERE env = :env", "it was acked and took no effect"),
    "an effect that came twice": (
        "receiver", "INSERT INTO chaos_effect SELECT * FROM chaos_effect WHERE env = :env", "it took effect more than once",
    ),
    "an outbox that is not empty": ("sender", "UPDATE lgsp_outbox SET state = 'queued' WHERE env = :env", "a letter is still in the outbox"),
}  # fmt: skip


async def test_whoever_writes_into_the_files_of_a_run_is_found_out(tmp_path):
    async with quiet_run(tmp_path) as bus:
        assert [str(finding) for finding in findings(await bus.books())] == []
        files = {
            "ledger": bus.made.gateways[0].data / "bus.sqlite",
            "receiver": SystemSettings.load(bus.made.receivers[0], {}).box,
            "sender": SystemSettings.load(bus.made.senders[0], {}).box,
        }
        with closing(sqlite3.connect(files["receiver"])) as box:
            (env,) = box.execute("SELECT env FROM chaos_effect ORDER BY env LIMIT 1").fetchone()
        found = {
            what: await after(bus, files[whose], statement, env) for what, (whose, statement, _) in FORGETFUL.items()
        }
    assert {what for what, (_, _, words) in FORGETFUL.items() if words not in found[what]} == set()


async def after(bus, file, statement, env):
    """Return what the accountant finds after a statement on one of the files, which is as before afterwards."""
    kept = shutil.copy(file, file.with_suffix(".kept"))
    with closing(sqlite3.connect(file)) as database, database:
        assert database.execute(statement, {"env": env}).rowcount == 1
    try:
        return {finding.words for finding in findings(await bus.books(audited=False))}
    finally:
        shutil.move(kept, file)
