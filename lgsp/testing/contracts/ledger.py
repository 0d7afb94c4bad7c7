"""What every ledger promises of its log, exchanges and receipts. Deliveries on the move stand in `ledger_moves`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from lgsp.domain import merkle, statements, strictjson
from lgsp.domain.statements import BATCH_MAX, Statement
from lgsp.domain.tiles import Subtree
from lgsp.errors import Refusal
from lgsp.ports.ledger import Accept, Done, KeepCheckpoint, KeepCosigned, Note, Operation, Refuse, Result, Spend
from lgsp.ports.store import Store
from lgsp.testing import samples
from lgsp.testing.samples import LIFE, NOW, accept, note, publish, refuse, sign_receipts
from lgsp.testing.world import FISHERIES, GATEWAY, NDXP, POLICE


class Recorder:
    """Signs receipts and remembers how it was asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, int]] = []

    def __call__(self, items: Sequence[bytes], policy: int) -> list[Statement]:
        """Note the number of items and the directory version, and sign."""
        self.calls.append((len(items), policy))
        return sign_receipts(items, policy)


def never_sign(items: Sequence[bytes], policy: int) -> list[Statement]:
    """Fail as a key that is out of reach would."""
    raise Refusal("unavailable", f"no key for {len(items)} items under version {policy}")


async def commit(ledger: Store, *operations: Operation) -> list[Result]:
    """Commit operations under the sample gateway's key."""
    return list(await ledger.commit(operations, sign_receipts))


def receipt_of(result: Result) -> Statement:
    """Return the receipt of an operation that took effect."""
    assert isinstance(result, Done)
    assert result.receipt is not None
    return statements.from_text(result.receipt)


class LedgerContract:
    """Promises of `lgsp.ports.ledger`; the fixture `ledger` is an empty store."""

    async def test_an_empty_ledger_holds_nothing(self, ledger: Store) -> None:
        assert await ledger.size() == 0
        assert await ledger.entries(0, 10) == await ledger.leaves(0, 10) == []
        assert await ledger.checkpoint() == await ledger.cosigned() == ""
        assert await ledger.exchanges([(FISHERIES, samples.identity(1))]) == {}
        assert await ledger.exchange_of(samples.wire(1).hash) is None
        assert await ledger.used_since(NOW) == {}

    async def test_committing_nothing_does_nothing(self, ledger: Store) -> None:
        assert await commit(ledger) == []
        assert await ledger.size() == 0

    # The log

    async def test_entries_are_numbered_from_zero_across_commits(self, ledger: Store) -> None:
        first = await commit(ledger, note(1), accept(1), refuse(2))
        second = await commit(ledger, accept(3), note(2))
        assert [result.index for result in first + second if isinstance(result, Done)] == [0, 1, 2, 3, 4]
        assert await ledger.size() == 5

    async def test_entries_are_the_drafts_with_their_numbers(self, ledger: Store) -> None:
        operations: list[Note | Accept | Refuse] = [note(1), accept(1), refuse(2), accept(3)]
        await commit(ledger, *operations)
        numbered = [operation.entry.numbered(seq) for seq, operation in enumerate(operations)]
        assert await ledger.entries(0, 4) == numbered
        assert [strictjson.parse_object(entry)["seq"] for entry in numbered] == [0, 1, 2, 3]

    async def test_leaves_are_the_hashes_of_the_entries(self, ledger: Store) -> None:
        await commit(ledger, *(note(number) for number in range(10)))
        entries = await ledger.entries(0, 10)
        assert await ledger.leaves(0, 10) == [merkle.leaf_hash(entry) for entry in entries]
        assert await ledger.hashed(0, 10) == [(entry, merkle.leaf_hash(entry)) for entry in entries]

    @pytest.mark.parametrize(("start", "stop", "seqs"), [(0, 3, [0, 1, 2]), (2, 4, [2, 3]), (3, 3, []), (4, 9, [4])])
    async def test_a_range_of_the_log_holds_start_and_not_stop(
        self, ledger: Store, start: int, stop: int, seqs: list[int]
    ) -> None:
        await commit(ledger, *(note(number) for number in range(5)))
        found = await ledger.entries(start, stop)
        assert [strictjson.parse_object(entry)["seq"] for entry in found] == seqs
        assert await ledger.leaves(start, stop) == [merkle.leaf_hash(entry) for entry in found]
        assert [entry for entry, _ in await ledger.hashed(start, stop)] == found

    async def test_commits_that_run_at_once_leave_no_gap(self, ledger: Store) -> None:
        await asyncio.gather(*(commit(ledger, accept(number), note(number)) for number in range(1, 21)))
        entries = await ledger.entries(0, 100)
        assert [strictjson.parse_object(entry)["seq"] for entry in entries] == list(range(40))

    # Accepting

    async def test_an_accepted_envelope_is_held_under_both_keys(self, ledger: Store) -> None:
        operation = accept(1, rule="a-grant")
        [result] = await commit(ledger, operation)
        held = await ledger.exchange_of(operation.exchange.env)
        assert held is not None
        assert await ledger.exchanges([held.key, (POLICE, held.id)]) == {held.key: held}
        assert held.receipt == receipt_of(result).text()
        assert (held.compact, held.rule, held.receivers) == (
            operation.exchange.compact,
            "a-grant",
            operation.exchange.receivers,
        )
        assert (held.accepted_at, held.expires) == (NOW, NOW + LIFE)

    async def test_times_are_kept_to_the_millisecond(self, ledger: Store) -> None:
        later = timedelta(microseconds=999)
        operation = accept(1, at=NOW + later, expires=NOW + LIFE + later)
        await commit(ledger, operation)
        held = await ledger.exchange_of(operation.exchange.env)
        assert held is not None
        assert held.accepted_at == NOW
        [delivery] = await ledger.deliveries(held.env)
        assert delivery.expires == NOW + LIFE

    async def test_the_same_envelope_again_is_a_duplicate(self, ledger: Store) -> None:
        operation = accept(1)
        [first] = await commit(ledger, operation)
        assert await commit(ledger, operation) == ["duplicate"]
        assert await ledger.size() == 1
        held = await ledger.exchange_of(operation.exchange.env)
        assert held is not None
        assert held.receipt == receipt_of(first).text()

    async def test_the_same_envelope_twice_in_one_commit_is_accepted_once(self, ledger: Store) -> None:
        first, second, third = await commit(ledger, accept(1), accept(1), accept(2))
        assert second == "duplicate"
        assert receipt_of(first).item != receipt_of(third).item
        assert await ledger.size() == 2

    async def test_the_same_id_of_another_source_is_another_envelope(self, ledger: Store) -> None:
        first, second = await commit(ledger, accept(1, source=FISHERIES), accept(1, source=POLICE))
        assert receipt_of(first).item != receipt_of(second).item

    async def test_what_was_judged_by_an_older_directory_is_stale(self, ledger: Store) -> None:
        await commit(ledger, publish(1, ["a"]))
        assert await commit(ledger, accept(1, head=0)) == ["stale"]
        assert await ledger.size() == 1
        assert await ledger.exchange_of(accept(1).exchange.env) is None
        [result] = await commit(ledger, accept(1, head=1))
        assert isinstance(result, Done)

    async def test_a_duplicate_is_told_before_a_stale_judgement(self, ledger: Store) -> None:
        await commit(ledger, accept(1), publish(1, ["a"]))
        assert await commit(ledger, accept(1, head=0)) == ["duplicate"]

    # Answering

    async def test_a_reply_is_noted_with_its_request(self, ledger: Store) -> None:
        request, reply = accept(1), accept(2, source=NDXP, asked=1, to=[FISHERIES])
        await commit(ledger, request)
        await commit(ledger, reply)
        held = await ledger.exchange_of(request.exchange.env)
        assert held is not None
        assert held.reply == reply.exchange.env

    async def test_a_request_is_answered_once(self, ledger: Store) -> None:
        await commit(ledger, accept(1))
        first, second = answers(2), answers(3)
        results = await commit(ledger, first, second)
        assert results[1] == "answered"
        assert await commit(ledger, answers(4)) == ["answered"]
        held = await ledger.exchange_of(accept(1).exchange.env)
        assert held is not None
        assert held.reply == first.exchange.env
        assert await ledger.exchange_of(second.exchange.env) is None
        assert await ledger.size() == 2

    async def test_a_reply_may_stand_in_one_commit_with_its_request(self, ledger: Store) -> None:
        results = await commit(ledger, accept(1), answers(2), answers(3))
        assert results[2] == "answered"
        held = await ledger.exchange_of(accept(1).exchange.env)
        assert held is not None
        assert held.reply == answers(2).exchange.env

    async def test_a_reply_to_what_is_not_held_is_to_be_judged_again(self, ledger: Store) -> None:
        assert await commit(ledger, answers(2)) == ["stale"]
        assert await ledger.size() == 0

    async def test_a_reply_that_is_lost_answers_nothing(self, ledger: Store) -> None:
        await commit(ledger, accept(1), answers(2))
        await commit(ledger, accept(3))
        assert await commit(ledger, answers(2, asked=3)) == ["duplicate"]
        held = await ledger.exchange_of(accept(3).exchange.env)
        assert held is not None
        assert held.reply == ""

    # Receipts

    async def test_a_receipt_states_the_entry_and_verifies(self, ledger: Store) -> None:
        await commit(ledger, note(1))
        accepted, refused = await commit(ledger, accept(1), refuse(2, code="no_grant"))
        leaves = await ledger.leaves(0, 3)
        assert receipt_of(accepted).item.encode() == accept(1).item.numbered(1, leaves[1])
        item = refuse(2, code="no_grant").item
        assert item is not None
        assert receipt_of(refused).item.encode() == item.numbered(2, leaves[2])
        for result in (accepted, refused):
            receipt = receipt_of(result)
            signed = statements.verify_signature(receipt.jws, samples.key(GATEWAY).public, typ=statements.RECEIPT)
            assert statements.open_item(receipt, signed)["outcome"] in {"accepted", "rejected"}

    async def test_the_stored_receipt_is_the_one_that_was_given(self, ledger: Store) -> None:
        operations = [accept(number) for number in range(1, 6)]
        results = await commit(ledger, *operations)
        for operation, result in zip(operations, results, strict=True):
            held = await ledger.exchange_of(operation.exchange.env)
            assert held is not None
            assert held.receipt == receipt_of(result).text()

    async def test_a_refusal_without_an_item_has_no_receipt(self, ledger: Store) -> None:
        sign = Recorder()
        assert await ledger.commit([refuse(1, receipt=False)], sign) == [Done(index=0)]
        assert sign.calls == []

    async def test_receipts_are_signed_together_up_to_the_bound(self, ledger: Store) -> None:
        sign = Recorder()
        operations = [refuse(number) for number in range(1, 2 * BATCH_MAX + 11)]
        results = await ledger.commit(operations, sign)
        assert sign.calls == [(BATCH_MAX, 0), (BATCH_MAX, 0), (10, 0)]
        assert [strictjson.parse_object(receipt_of(each).item.encode())["index"] for each in results] == list(
            range(len(operations))
        )

    async def test_receipts_name_the_directory_version_of_their_moment(self, ledger: Store) -> None:
        sign = Recorder()
        operations: list[Operation] = [accept(1), accept(2), publish(1, ["a"]), accept(3, head=1)]
        results = await ledger.commit(operations, sign)
        assert sign.calls == [(2, 0), (1, 1)]
        assert all(isinstance(result, Done) for result in results)

    async def test_a_lost_operation_gets_no_receipt(self, ledger: Store) -> None:
        sign = Recorder()
        await ledger.commit([accept(1)], sign)
        await ledger.commit([accept(1), accept(2, head=7)], sign)
        assert sign.calls == [(1, 0)]

    # All or nothing

    async def test_a_commit_whose_signature_fails_leaves_nothing(self, ledger: Store) -> None:
        await commit(ledger, accept(1))
        held = await ledger.deliveries(accept(1).exchange.env)
        operations: list[Operation] = [
            Spend(jti="once", until=NOW + LIFE, now=NOW),
            note(1),
            samples.lease(held[0]),
            publish(1, ["a"], {"urn:x": b"{}"}),
            KeepCheckpoint(size=1, note="a note"),
            accept(2, head=1),
        ]
        with pytest.raises(Refusal, match="unavailable"):
            await ledger.commit(operations, never_sign)
        assert await ledger.size() == 1
        assert await ledger.deliveries(accept(1).exchange.env) == held
        assert await ledger.exchange_of(accept(2).exchange.env) is None
        assert (await ledger.head(), await ledger.documents(), await ledger.checkpoint()) == (None, {}, "")
        assert await commit(ledger, operations[0]) == [Done()]

    async def test_a_lost_operation_leaves_the_others_standing(self, ledger: Store) -> None:
        await commit(ledger, accept(1))
        results = await commit(ledger, accept(2), accept(1), accept(3, head=9), note(1))
        assert [result if isinstance(result, str) else result.index for result in results] == [
            1,
            "duplicate",
            "stale",
            2,
        ]

    async def test_what_is_held_of_exchanges_is_found_by_the_hundred(self, ledger: Store) -> None:
        assert await ledger.oldest() is None
        first = accept(1, persons=1)
        await commit(ledger, first, accept(2), refuse(3))
        envs = [accept(number).exchange.env for number in range(1, 5)]
        exchanges = {each.env: each for each in await ledger.exchanges_of(envs)}
        assert exchanges == {env: await ledger.exchange_of(env) for env in envs[:2]}
        found = {each.env: each for each in await ledger.deliveries_of(envs)}
        assert [found[env] for env in envs[:2]] == [each for env in envs[:2] for each in await ledger.deliveries(env)]
        persons = await ledger.persons_of(envs)
        assert {env: list(links) for env, links in persons.items()} == {envs[0]: list(first.subjects)}
        assert await ledger.oldest() == first.exchange.accepted_at
        assert (await ledger.exchanges_of([]), await ledger.deliveries_of([]), await ledger.persons_of([])) == (
            [],
            [],
            {},
        )

    # The tree

    async def test_nodes_are_kept_with_a_checkpoint_and_stay_as_they_are(self, ledger: Store) -> None:
        assert await ledger.subtree_count(1) == 0
        assert await ledger.subtrees(1, 0, 10) == []
        first = tuple(Subtree(level=1, number=number, root=bytes([number]) * 32) for number in range(3))
        await commit(ledger, KeepCheckpoint(size=768, note="a note", subtrees=first))
        again = Subtree(level=1, number=2, root=b"?" * 32), Subtree(level=1, number=3, root=b"3" * 32)
        above = Subtree(level=2, number=0, root=b"a" * 32)
        await commit(ledger, KeepCheckpoint(size=700, note="an older one", subtrees=(*again, above)))
        assert (await ledger.subtree_count(1), await ledger.subtree_count(2), await ledger.subtree_count(3)) == (
            4,
            1,
            0,
        )
        assert await ledger.subtrees(1, 1, 9) == [first[1].root, first[2].root, again[1].root]
        assert await ledger.subtrees(2, 0, 1) == [above.root]
        assert await ledger.checkpoint() == "a note"

    # Small promises

    async def test_a_jti_is_spent_once(self, ledger: Store) -> None:
        once = Spend(jti="once", until=NOW + timedelta(minutes=11), now=NOW)
        assert await commit(ledger, once, once) == [Done(), "spent"]
        assert await commit(ledger, once) == ["spent"]

    async def test_an_entry_that_is_noted_once_is_there_once(self, ledger: Store) -> None:
        once = Spend(jti="once", until=NOW + LIFE, now=NOW)
        first, second = (replace(samples.note(number), once=once) for number in (1, 2))
        assert await commit(ledger, first, second) == [Done(index=0), "spent"]
        assert await commit(ledger, first, samples.note(3)) == ["spent", Done(index=1)]
        assert await commit(ledger, once) == ["spent"]
        assert await ledger.size() == 2

    async def test_a_jti_is_spent_once_though_the_clock_goes_back(self, ledger: Store) -> None:
        later = Spend(jti="later", until=NOW + 2 * LIFE, now=NOW + LIFE)
        once = Spend(jti="once", until=NOW + LIFE, now=NOW)
        assert await commit(ledger, later, once, once) == [Done(), Done(), "spent"]

    @pytest.mark.parametrize(("seconds", "result"), [(659.999, "spent"), (660, Done())])
    async def test_a_jti_is_forgotten_when_its_time_is_over(
        self, ledger: Store, seconds: float, result: Result
    ) -> None:
        until = NOW + timedelta(seconds=660)
        await commit(ledger, Spend(jti="once", until=until, now=NOW))
        again = Spend(jti="once", until=until + LIFE, now=NOW + timedelta(seconds=seconds))
        assert await commit(ledger, again) == [result]

    async def test_the_checkpoint_over_the_most_entries_is_given_back(self, ledger: Store) -> None:
        for size, text in ((3, "three"), (5, "five"), (4, "four")):
            await commit(ledger, KeepCheckpoint(size=size, note=text))
        assert await ledger.checkpoint() == "five"
        await commit(ledger, KeepCheckpoint(size=5, note="five again"))
        assert await ledger.checkpoint() == "five again"

    async def test_the_cosigned_checkpoint_over_the_most_entries_is_given_back(self, ledger: Store) -> None:
        for size, text in ((3, "three"), (5, "five"), (4, "four")):
            await commit(ledger, KeepCosigned(size=size, note=text))
        assert (await ledger.cosigned(), await ledger.checkpoint()) == ("five", "")
        await commit(ledger, KeepCosigned(size=5, note="five again"), KeepCosigned(size=1, note="one"))
        assert await ledger.cosigned() == "five again"

    async def test_uses_are_counted_per_grant_since_a_moment(self, ledger: Store) -> None:
        await commit(
            ledger,
            accept(1, rule="early", at=NOW - timedelta(milliseconds=1)),
            accept(2, rule="one", at=NOW),
            accept(3, rule="one", at=NOW + LIFE),
            accept(4, rule="two", at=NOW),
            accept(5, rule="", at=NOW),
            refuse(6),
        )
        assert await ledger.used_since(NOW) == {"one": 2, "two": 1}
        assert await ledger.used_since(NOW + LIFE) == {"one": 1}
        assert await ledger.used_since(NOW, NOW + LIFE) == {"one": 1, "two": 1}
        assert await ledger.used_since(NOW, NOW) == {}


def answers(number: int, *, asked: int = 1) -> Accept:
    """Return the operation that accepts a reply."""
    return accept(number, source=NDXP, asked=asked, to=[FISHERIES])
