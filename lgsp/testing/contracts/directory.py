"""What every backend promises of the directory: each version as it was published, each schema as it was first published."""

from __future__ import annotations

from dataclasses import replace

from lgsp.ports.directory import SignedRecords
from lgsp.ports.ledger import Done, KeepBodyKey
from lgsp.ports.store import Store
from lgsp.testing.contracts.ledger import commit
from lgsp.testing.samples import publish


class DirectoryStoreContract:
    """Promises of `lgsp.ports.directory`; the fixture `ledger` is an empty store."""

    async def test_there_is_no_version_before_the_first(self, ledger: Store) -> None:
        assert await ledger.head() is None
        assert await ledger.head_version() == 0
        assert await ledger.at(0) is None
        assert await ledger.at(1) is None
        assert await ledger.documents() == await ledger.body_keys() == {}

    async def test_every_version_is_kept_as_published(self, ledger: Store) -> None:
        published = [
            publish(1, ["a", "b", "c"]),
            publish(2, ["a", "d", "c"]),
            publish(3, ["b"]),
            publish(4, ["b", "a"]),
        ]
        for each in published:
            await commit(ledger, each)
        for each in published:
            assert await ledger.at(each.version) == SignedRecords(
                version=each.version, statement=each.statement, records=tuple(sorted(each.records))
            )
        assert await ledger.head() == await ledger.at(4)
        assert await ledger.head_version() == 4
        assert await ledger.at(5) is None

    async def test_several_versions_may_stand_in_one_commit(self, ledger: Store) -> None:
        results = await commit(ledger, publish(1, ["a"]), publish(2, ["b"]), publish(2, ["c"]))
        assert results == [Done(index=0), Done(index=1), "stale"]
        first, second = await ledger.at(1), await ledger.at(2)
        assert first is not None
        assert second is not None
        assert (first.records, second.records) == (publish(1, ["a"]).records, publish(2, ["b"]).records)

    async def test_a_version_that_does_not_follow_is_stale(self, ledger: Store) -> None:
        await commit(ledger, publish(1, ["a"]))
        lost = await commit(ledger, publish(1, ["b"]), publish(3, ["b"], {"urn:x": b"{}"}))
        assert lost == ["stale", "stale"]
        assert await ledger.size() == 1
        assert await ledger.documents() == {}
        assert await ledger.head() == await ledger.at(1)

    async def test_publishing_gives_the_index_of_its_last_entry(self, ledger: Store) -> None:
        first = publish(1, ["a"])
        assert await commit(ledger, replace(first, entries=first.entries * 2)) == [Done(index=1)]
        assert await commit(ledger, replace(publish(2, ["a"]), entries=())) == [Done(index=-1)]

    async def test_a_document_keeps_its_first_bytes(self, ledger: Store) -> None:
        await commit(ledger, publish(1, ["a"], {"urn:one": b"1"}))
        await commit(ledger, publish(2, ["a"], {"urn:one": b"changed", "urn:two": b"2"}))
        assert await ledger.documents() == {"urn:one": b"1", "urn:two": b"2"}

    async def test_a_body_key_keeps_its_first_bytes(self, ledger: Store) -> None:
        first = KeepBodyKey(day="2026-11-22", wrapped=b"first")
        second = KeepBodyKey(day="2026-11-22", wrapped=b"second")
        assert await commit(ledger, first, second, KeepBodyKey(day="2026-11-23", wrapped=b"next")) == [Done()] * 3
        await commit(ledger, second)
        assert await ledger.body_keys() == {"2026-11-22": b"first", "2026-11-23": b"next"}
