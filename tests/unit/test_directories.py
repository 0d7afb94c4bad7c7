"""The directories a client believes: by the pinned registrar, never older than one seen, one line of versions."""

from __future__ import annotations

import asyncio

import pytest

from lgsp.errors import Refusal
from lgsp.ports.directory import SignedRecords
from lgsp.sdk.box import Box
from lgsp.sdk.directories import Directories
from lgsp.testing.world import BUS, World, signer_named

FIRST = World.make()
SECOND = World.make(version=2, prev=FIRST.directory.hash)
FORKED = World.make(version=2, prev=FIRST.directory.hash, changes={"g-verify": {"quota_per_day": 5}})
STRAY = World.make(version=2, prev="sha-256:" + "A" * 43)


def signed(world):
    found = world.directory
    return SignedRecords(version=found.version, statement=found.statement, records=found.encoded)


@pytest.fixture
async def box(tmp_path):
    found = Box.open(tmp_path / "box.sqlite", sign=lambda items: [])
    yield found
    await found.close()


def directories(box, *answers, registrar="registrar"):
    """Return directories over a gateway that gives these answers, and the versions that were asked for."""
    asked, left = [], [signed(world) for world in answers]

    async def fetch(version):
        asked.append(version)
        return left.pop(0)

    made = Directories(fetch=fetch, box=box, registrar=signer_named(registrar).public, bus=BUS)
    return made, asked


async def test_the_newest_version_is_the_head(box):
    found, _ = directories(box, FIRST, SECOND)
    assert found.head.version == 0
    assert (await found.refresh()).version == 1
    assert (await found.refresh()).version == found.head.version == 2


async def test_a_version_is_fetched_once_and_kept_over_a_restart(box):
    found, asked = directories(box, FIRST)
    await found.at(1)
    await found.at(1)
    again, asked_again = directories(box)
    assert again.head.hash == FIRST.directory.hash
    assert (await again.at(1)).version == 1
    assert (asked, asked_again) == ([1], [])


async def test_an_older_version_is_no_head_but_still_serves_its_receipts(box):
    found, _ = directories(box, SECOND, FIRST)
    await found.refresh()
    assert (await found.at(1)).version == 1
    assert found.head.version == 2


async def test_those_who_ask_for_one_version_at_the_same_time_share_one_fetch(box):
    found, asked = directories(box, FIRST)
    first, second = await asyncio.gather(found.at(1), found.at(1))
    assert first is second
    assert asked == [1]


async def test_a_version_that_is_at_hand_already_is_not_kept_again(box):
    found, _ = directories(box, FIRST, FIRST)
    first = await found.refresh()
    assert await found.refresh() is first


async def test_few_versions_are_held_in_memory_and_an_older_one_is_read_from_the_box(box, monkeypatch):
    monkeypatch.setattr("lgsp.sdk.directories.KEPT_IN_MEMORY", 1)
    found, asked = directories(box, FIRST, SECOND)
    first = await found.refresh()
    await found.refresh()
    again = await found.at(1)
    assert (again.hash, again is first) == (first.hash, False)
    assert asked == [None, None]


async def test_the_box_keeps_the_newest_versions_alone(box, monkeypatch):
    monkeypatch.setattr("lgsp.sdk.directories.KEPT_IN_BOX", 1)
    found, asked = directories(box, FIRST, SECOND)
    for _ in range(2):
        await found.refresh()
    assert box.reader.execute("SELECT version FROM lgsp_directories").fetchall() == [(2,)]
    again, asked = directories(box, FIRST)
    assert (again.head.version, (await again.at(1)).version, asked) == (2, 1, [1])


async def refused(awaitable):
    with pytest.raises(Refusal) as caught:
        await awaitable
    assert caught.value.code == "directory_invalid"
    return caught.value.detail


async def test_the_head_never_goes_back_not_even_after_a_restart(box):
    found, _ = directories(box, SECOND)
    await found.refresh()
    again, _ = directories(box, FIRST)
    assert "older than one that was seen" in await refused(again.refresh())


async def test_one_version_with_two_contents_is_refused(box):
    found, _ = directories(box, FIRST, SECOND, FORKED)
    await found.refresh()
    await found.refresh()
    assert "two contents" in await refused(found.refresh())


async def test_a_version_that_does_not_follow_the_one_seen_is_refused(box):
    found, _ = directories(box, FIRST, STRAY)
    await found.refresh()
    assert "does not follow" in await refused(found.refresh())


async def test_another_version_than_was_asked_for_is_refused(box):
    found, _ = directories(box, SECOND)
    assert "another version" in await refused(found.at(1))


async def test_a_directory_of_another_registrar_is_refused(box):
    found, _ = directories(box, FIRST, registrar="another")
    await refused(found.refresh())
    assert found.head.version == 0
