"""Erasing one person never changes what another is answered, nor the log: for any history, on memory and in a file, under any number of keys."""

import asyncio
import tempfile
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from lgsp.backends.memory import MemoryLedger
from lgsp.backends.sql import SqliteLedger
from lgsp.domain import entries, merkle, subjects
from lgsp.ports.ledger import ErasePerson, Forget, SubjectLink
from lgsp.ports.persons import BEFORE_ALL
from lgsp.testing.samples import NOW, accept, sign_receipts
from lgsp.testing.world import GATEWAY

PERSONS = [subjects.person("CCCD", f"099{number:09d}") for number in range(4)]
KEYS = [bytes([number]) * 32 for number in range(3)]
HISTORIES = st.lists(
    st.tuples(st.sets(st.sampled_from(range(len(PERSONS))), max_size=3), st.sampled_from(KEYS), st.booleans()),
    min_size=1,
    max_size=12,
)


def link(person, key, number):
    pseudonym = person.pseudonym(key)
    salt = number.to_bytes(16)
    return SubjectLink(pseudonym=pseudonym, salt=salt, commitment=subjects.commitment(salt, pseudonym))


async def fill(store, history):
    """Accept an exchange for each step of a history, and forget some; return the env hashes of each person's."""
    expected = defaultdict(list)
    for number, (named, key, forgotten) in enumerate(history, start=1):
        links = tuple(link(PERSONS[each], key, number) for each in sorted(named))
        operation = replace(accept(number, to=()), subjects=links)
        await store.commit([operation], sign_receipts)
        for each in named:
            expected[each].append(operation.exchange.env)
        if forgotten:
            await store.commit([Forget(envs=(operation.exchange.env,))], sign_receipts)
    return expected


async def uses(store, person):
    found = [use for key in KEYS for use in await store.uses(person.pseudonym(key), BEFORE_ALL, 100)]
    return sorted(found, key=lambda use: use.place)


async def erasing_leaves_all_else(store, history, erased):
    expected = await fill(store, history)
    before = {number: await uses(store, person) for number, person in enumerate(PERSONS)}
    assert {number: [use.env for use in found] for number, found in before.items() if found} == expected
    size = await store.size()
    root = merkle.root(await store.leaves(0, size))
    pseudonyms = tuple(PERSONS[erased].pseudonym(key) for key in KEYS)
    entry = entries.draft("subject.erased", at=NOW, bus=GATEWAY, by="local", reason="asked for")
    await store.commit([ErasePerson(pseudonyms=pseudonyms, entry=entry)], sign_receipts)
    after = {number: await uses(store, person) for number, person in enumerate(PERSONS)}
    assert after == before | {erased: []}
    assert await store.size() == size + 1
    assert merkle.root(await store.leaves(0, size)) == root
    named = await store.persons_of([env for envs in expected.values() for env in envs])
    assert not {link.pseudonym for links in named.values() for link in links} & set(pseudonyms)


@settings(deadline=None)
@given(HISTORIES, st.sampled_from(range(len(PERSONS))))
def test_erasing_one_person_changes_nothing_else_in_memory(history, erased):
    asyncio.run(erasing_leaves_all_else(MemoryLedger(), history, erased))


@settings(deadline=None, max_examples=25)  # a file of its own each time
@given(HISTORIES, st.sampled_from(range(len(PERSONS))))
def test_erasing_one_person_changes_nothing_else_in_a_file(history, erased):
    async def tried(folder):
        store = SqliteLedger.open(Path(folder) / "bus.sqlite", create=True)
        try:
            await erasing_leaves_all_else(store, history, erased)
        finally:
            await store.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(tried(folder))
