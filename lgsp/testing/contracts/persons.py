"""What every ledger promises of persons: who used whose data is found by pseudonym, one can be erased, uses can be withheld for a time."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from lgsp.domain import entries
from lgsp.domain.withholding import Withholding
from lgsp.ports.ledger import Done, EndWithholding, ErasePerson, Forget, KeepSubjectKey, RetireSubjectKey, Withhold
from lgsp.ports.persons import BEFORE_ALL, Use
from lgsp.ports.store import Store
from lgsp.testing.contracts.ledger import commit
from lgsp.testing.samples import LIFE, NOW, accept, link, note
from lgsp.testing.world import GATEWAY, POLICE

RULE = Withholding(
    id="01990000-0000-7000-8000-000000000001",
    system=POLICE,
    casefile="VA-1",
    basis="made-up law",
    since=NOW,
    until=NOW + LIFE,
)


def entry(event: str) -> entries.Draft:
    """Return an entry that goes with an operation."""
    return entries.draft(event, at=NOW, bus=GATEWAY, by="local", reason="a test")


def erase(*numbers: int) -> ErasePerson:
    """Return the operation that erases made-up persons."""
    return ErasePerson(pseudonyms=tuple(link(number).pseudonym for number in numbers), entry=entry("subject.erased"))


class PersonsContract:
    """Promises of `lgsp.ports.persons`; the fixture `ledger` is an empty store."""

    async def test_uses_are_those_of_one_person_in_the_order_of_the_log(self, ledger: Store) -> None:
        first, second, third = accept(1, persons=2), accept(2, persons=1), accept(3)
        await commit(ledger, note(1), first, third, second)
        found = await ledger.uses(link(2).pseudonym, BEFORE_ALL, 10)
        assert [(use.env, use.index) for use in found] == [(first.exchange.env, 1), (second.exchange.env, 3)]
        assert [use.entry for use in found] == [*await ledger.entries(1, 2), *await ledger.entries(3, 4)]
        assert [use.compact for use in found] == [first.exchange.compact, second.exchange.compact]
        assert {use.commitment for use in found} == {link(2).commitment}
        assert await ledger.uses(link(9).pseudonym, BEFORE_ALL, 10) == []

    async def test_pages_of_uses_follow_one_another_without_gap_or_repetition(self, ledger: Store) -> None:
        await commit(ledger, *(replace(accept(number), subjects=(link(7),)) for number in range(1, 8)))
        whole = await ledger.uses(link(7).pseudonym, BEFORE_ALL, 100)
        paged: list[Use] = []
        after = BEFORE_ALL
        while page := await ledger.uses(link(7).pseudonym, after, 3):
            assert len(page) <= 3
            paged, after = paged + page, page[-1].place
        assert paged == whole
        assert len(whole) == 7

    async def test_a_person_whom_an_exchange_names_twice_has_one_use_of_it(self, ledger: Store) -> None:
        await commit(ledger, replace(accept(1), subjects=(link(1), replace(link(1), commitment="another"))))
        assert len(await ledger.uses(link(1).pseudonym, BEFORE_ALL, 10)) == 1

    async def test_a_forgotten_exchange_is_a_use_still(self, ledger: Store) -> None:
        operation = accept(1, to=(), persons=1)
        await commit(ledger, operation)
        before = await ledger.uses(link(1).pseudonym, BEFORE_ALL, 10)
        await commit(ledger, Forget(envs=(operation.exchange.env,)))
        assert await ledger.exchange_of(operation.exchange.env) is None
        assert await ledger.uses(link(1).pseudonym, BEFORE_ALL, 10) == before

    async def test_one_person_is_erased_and_all_else_stays(self, ledger: Store) -> None:
        await commit(ledger, accept(1, persons=3), accept(2, persons=1))
        before = await ledger.entries(0, 2)
        others = {number: await ledger.uses(link(number).pseudonym, BEFORE_ALL, 10) for number in (1, 3)}
        [done] = await commit(ledger, erase(2))
        assert await ledger.uses(link(2).pseudonym, BEFORE_ALL, 10) == []
        assert {n: await ledger.uses(link(n).pseudonym, BEFORE_ALL, 10) for n in (1, 3)} == others
        assert await ledger.entries(0, 2) == before
        assert await ledger.size() == 3
        assert done == Done(index=2)

    async def test_all_pseudonyms_of_a_person_are_erased_at_once_and_again_without_harm(self, ledger: Store) -> None:
        await commit(ledger, accept(1, persons=1), accept(2, persons=1))
        await commit(ledger, erase(1, 2), erase(1, 2))
        assert await ledger.uses(link(1).pseudonym, BEFORE_ALL, 10) == []
        assert await ledger.uses(link(2).pseudonym, BEFORE_ALL, 10) == []

    async def test_erasing_takes_what_came_before_it_in_one_commit_and_not_what_comes_after(
        self, ledger: Store
    ) -> None:
        before, after = [replace(accept(number), subjects=(link(7),)) for number in (1, 2)]
        await commit(ledger, before, erase(7), after)
        found = await ledger.uses(link(7).pseudonym, BEFORE_ALL, 10)
        assert [use.env for use in found] == [after.exchange.env]

    async def test_names_of_subject_keys_are_kept_once_and_retired_once(self, ledger: Store) -> None:
        assert await ledger.subject_keys() == {}
        keep = [KeepSubjectKey(name=name, at=NOW) for name in ("a", "b", "a")]
        assert await commit(ledger, *keep) == [Done(), Done(), Done()]
        retire = RetireSubjectKey(name="a", at=NOW, entry=entry("admin.subject.key.retired"))
        assert await commit(ledger, retire, retire) == [Done(index=0), "moved"]
        assert await commit(ledger, replace(retire, name="c"), retire) == ["moved", "moved"]
        rotated = KeepSubjectKey(name="a", at=NOW, entry=entry("key.rotated"))
        assert await commit(ledger, rotated) == [Done(index=1)]
        assert await ledger.subject_keys() == {"a": True, "b": False}

    async def test_a_subject_key_may_be_kept_and_retired_in_one_commit(self, ledger: Store) -> None:
        retire = RetireSubjectKey(name="a", at=NOW, entry=entry("admin.subject.key.retired"))
        assert await commit(ledger, KeepSubjectKey(name="a", at=NOW), retire) == [Done(), Done(index=0)]
        assert await ledger.subject_keys() == {"a": True}

    async def test_withholding_rules_are_kept_until_and_after_they_end(self, ledger: Store) -> None:
        later = replace(RULE, id="01990000-0000-7000-8000-000000000002", since=NOW + timedelta(minutes=1))
        assert await ledger.withholdings() == []
        await commit(ledger, Withhold(rule=later, entry=entry("admin.withholding.made")))
        await commit(ledger, Withhold(rule=RULE, entry=entry("admin.withholding.made")))
        assert await ledger.withholdings() == [RULE, later]
        end = EndWithholding(id=RULE.id, at=NOW, entry=entry("admin.withholding.ended"))
        await commit(ledger, end)
        assert await ledger.withholdings() == [replace(RULE, ended=NOW), later]
        assert await ledger.size() == 3

    async def test_a_rule_is_ended_once_and_only_if_it_is_there(self, ledger: Store) -> None:
        end = EndWithholding(id=RULE.id, at=NOW, entry=entry("admin.withholding.ended"))
        assert await commit(ledger, end) == ["moved"]
        made = Withhold(rule=RULE, entry=entry("admin.withholding.made"))
        results = await commit(ledger, made, end, end)
        assert results[2] == "moved"
        assert await commit(ledger, end) == ["moved"]
        assert await ledger.size() == 2
