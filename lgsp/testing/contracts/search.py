"""What every ledger promises of its catalogue: entries are found by what they mention, in order and bounds; it never has a gap."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lgsp.domain.mentions import By, Mention
from lgsp.ports.ledger import Catalogue, Done, Forget
from lgsp.ports.search import Kept
from lgsp.ports.store import Store
from lgsp.testing.contracts.ledger import commit
from lgsp.testing.samples import accept, link, move, note
from lgsp.testing.world import FISHERIES, NDXP

ENV = "sha-256:" + "A" * 43
OTHER = "sha-256:" + "B" * 43
ROWS = (
    Mention(seq=0, env=ENV, casefile="case-1", procedure="1.004359", officer="7f3a91"),
    Mention(seq=2, env=OTHER, casefile="case-2", procedure="1.004359"),
    Mention(seq=3, env=ENV, casefile="case-1", procedure="1.004359", officer="7f3a91"),
    Mention(seq=5),
)


def catalogue(*rows: Mention, start: int = 0) -> Catalogue:
    """Return the operation that adds these rows."""
    return Catalogue(start=start, mentions=rows)


class SearchContract:
    """Promises of `lgsp.ports.search`; the fixture `ledger` is an empty store."""

    async def test_an_empty_catalogue_covers_nothing(self, ledger: Store) -> None:
        await commit(ledger, note(1))
        assert await ledger.catalogued() == 0
        assert await ledger.entries_of(ENV) == []
        assert await ledger.mentioning("casefile", "case-1", 0, 100, 10) == []

    async def test_the_catalogue_goes_as_far_as_its_last_row_and_makes_no_entry(self, ledger: Store) -> None:
        [result] = await commit(ledger, catalogue(*ROWS))
        assert result == Done()
        assert await ledger.catalogued() == 6
        assert await ledger.size() == 0

    @pytest.mark.parametrize(
        ("by", "value", "found"),
        [
            ("env", ENV, [0, 3]),
            ("env", OTHER, [2]),
            ("casefile", "case-1", [0, 3]),
            ("procedure", "1.004359", [0, 2, 3]),
            ("officer", "7f3a91", [0, 3]),
            ("officer", "nobody", []),
            ("casefile", "", []),
        ],
    )
    async def test_entries_are_found_by_what_they_mention_in_their_order(
        self, ledger: Store, by: By, value: str, found: list[int]
    ) -> None:
        await commit(ledger, catalogue(*ROWS))
        assert await ledger.mentioning(by, value, 0, 100, 10) == found

    async def test_all_entries_of_an_envelope_are_given(self, ledger: Store) -> None:
        await commit(ledger, catalogue(*ROWS))
        assert await ledger.entries_of(ENV) == [0, 3]
        assert await ledger.entries_of("") == []

    @pytest.mark.parametrize(
        ("start", "stop", "limit", "found"),
        [(1, 100, 10, [2, 3]), (0, 3, 10, [0, 2]), (0, 100, 2, [0, 2]), (3, 3, 10, []), (0, 100, 0, [])],
    )
    async def test_a_search_keeps_to_its_bounds(
        self, ledger: Store, start: int, stop: int, limit: int, found: list[int]
    ) -> None:
        await commit(ledger, catalogue(*ROWS))
        assert await ledger.mentioning("procedure", "1.004359", start, stop, limit) == found

    async def test_what_is_catalogued_twice_stays_as_it_was_first(self, ledger: Store) -> None:
        await commit(ledger, catalogue(*ROWS))
        again = Mention(seq=3, env=OTHER)
        assert await commit(ledger, catalogue(again, Mention(seq=6, env=OTHER), start=3)) == [Done()]
        assert await ledger.entries_of(ENV) == [0, 3]
        assert await ledger.entries_of(OTHER) == [2, 6]

    async def test_a_gap_is_never_left(self, ledger: Store) -> None:
        assert await commit(ledger, catalogue(Mention(seq=1), start=1)) == ["stale"]
        results = await commit(
            ledger, catalogue(*ROWS), catalogue(Mention(seq=6), start=6), catalogue(Mention(seq=9), start=8)
        )
        assert results == [Done(), Done(), "stale"]
        assert await ledger.catalogued() == 7

    async def test_envelopes_are_given_whether_their_exchanges_are_held_or_forgotten(self, ledger: Store) -> None:
        held, gone = accept(1), accept(2)
        await commit(ledger, held, gone)
        [delivery] = await ledger.deliveries(gone.exchange.env)
        await commit(ledger, move(delivery, "acked"), Forget(envs=(gone.exchange.env,)))
        assert await ledger.exchange_of(gone.exchange.env) is None
        envs = [held.exchange.env, gone.exchange.env, "sha-256:nobody"]
        assert await ledger.kept(envs) == {
            each.exchange.env: Kept(compact=each.exchange.compact) for each in (held, gone)
        }
        assert await ledger.kept([]) == {}

    async def test_of_a_reply_is_told_which_request_it_answers(self, ledger: Store) -> None:
        asked, reply = accept(1), accept(2, source=NDXP, asked=1, to=(FISHERIES,))
        caused = replace(reply, exchange=replace(reply.exchange, cause=asked.exchange.env))
        await commit(ledger, asked, caused)
        assert (await ledger.kept([reply.exchange.env]))[reply.exchange.env].cause == asked.exchange.env

    async def test_the_entries_of_exchanges_that_name_a_person_are_found(self, ledger: Store) -> None:
        first, second, other = accept(1, persons=1), accept(2), accept(3, persons=1, to=(NDXP,))
        await commit(ledger, first, second, other)
        envs = [each.exchange.env for each in (first, second, other)]
        rows = [Mention(seq=place, env=env) for place, env in enumerate([*envs, envs[0]])]
        await commit(ledger, catalogue(*rows))
        asked = link(1).pseudonym
        assert await ledger.envs_of_person(asked) == [envs[0]]
        assert await ledger.mentioning_person(asked, 0, 100, 10) == [0, 3]
        assert await ledger.mentioning_person(asked, 1, 100, 10) == [3]
        assert await ledger.mentioning_person(asked, 0, 100, 1) == [0]
        assert await ledger.mentioning_person(link(99).pseudonym, 0, 100, 10) == []

    async def test_single_entries_are_given_in_the_order_of_their_numbers(self, ledger: Store) -> None:
        await commit(ledger, *(note(number) for number in range(5)))
        log = await ledger.entries(0, 5)
        assert await ledger.entries_at([4, 1, 1, 9]) == [log[1], log[4]]
        assert await ledger.entries_at([]) == []
