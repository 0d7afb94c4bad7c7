import random
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import date, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from adapters.ioc import figures
from adapters.ioc.adapter import LINKED, OperationsCentre
from adapters.ioc.mapping import linked_vessel
from adapters.vnfishbase import mapping
from adapters.vnfishbase.records import VesselRow, vessels
from lgsp.sdk import Tables

SEED, COUNT = 3, 80
DAY = date(2026, 11, 22)
Post = Callable[..., Awaitable[Any]]


class Crash(Exception):
    """The process is killed before a commit."""


@pytest.fixture
def fleet() -> list[VesselRow]:
    return vessels(SEED, COUNT)


@pytest.fixture
def own(bench: Any) -> Any:
    return bench("ioc")


@pytest.fixture
async def centre(own: Any, adapter_on: Any) -> Any:
    adapter = adapter_on(OperationsCentre, "ioc", own)
    await adapter.check()
    return adapter


@pytest.fixture
def letter(bench: Any) -> Callable[..., Any]:
    """Return the function that signs the fisheries' event about a vessel, in an envelope of its own each time."""
    fisheries = bench("fisheries")

    def signed(row: VesselRow, day: date = DAY) -> Any:
        stated = {
            "audience": f"urn:lgsp:topic:{LINKED}",
            "schema": "urn:lgsp:schema:fisheries:vessel-linked:1.0.0",
            "body": mapping.linked_event(row, day),
        }
        return fisheries.letter(LINKED, stated)

    return signed


def by_class(own: Any) -> dict[tuple[str, str, str], int]:
    rows = own.read("SELECT catalogue, commune, length_class, vessels FROM figure")
    return {(catalogue, commune, length): count for catalogue, commune, length, count in rows}


def expected(rows: list[VesselRow]) -> dict[tuple[str, str, str], int]:
    return Counter(("2025-07", row.commune_code, mapping.length_class(row.hull.length_m)) for row in rows)


async def test_every_vessel_is_counted_in_its_commune_and_class(
    centre: Any, own: Any, fleet: Any, letter: Any, handle: Any
) -> None:
    for row in fleet:
        await handle(centre, own, letter(row))
    assert by_class(own) == expected(fleet)
    assert figures.counts(own.read)["linked"] == COUNT
    assert {effect.outcome for effect in own.done.values()} == {"accepted"}
    assert own.outbox == {}


async def test_order_and_repetition_change_no_figure(
    centre: Any, own: Any, fleet: Any, letter: Any, handle: Any
) -> None:
    told = [letter(row) for row in fleet] + [letter(row, DAY + timedelta(days=1)) for row in fleet[::2]]
    random.Random(1).shuffle(told)
    for each in (*told, *told[:20]):
        await handle(centre, own, each)
    assert by_class(own) == expected(fleet)


@pytest.mark.parametrize("commit", [1, 2, 17, COUNT])
async def test_a_crash_before_a_commit_counts_nothing_of_it(
    centre: Any, own: Any, fleet: Any, letter: Any, handle: Any, commit: int
) -> None:
    left = commit

    def crash() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise Crash

    own.before_commit = crash
    told, waiting = [letter(row) for row in fleet], []
    for each in told:
        try:
            await handle(centre, own, each)
        except Crash:
            waiting.append(each)
            assert figures.counts(own.read)["linked"] == commit - 1
    assert len(waiting) == 1
    await handle(centre, own, waiting[0])
    assert by_class(own) == expected(fleet)


async def test_figures_are_told_when_they_have_changed_and_after_a_restart(
    centre: Any, own: Any, fleet: Any, letter: Any, handle: Any, adapter_on: Any
) -> None:
    with capture_logs() as events:
        await centre.pull()
        await handle(centre, own, letter(fleet[0]))
        await centre.pull()
        await centre.pull()
        again = adapter_on(OperationsCentre, "ioc", own)
        await again.check()
        await again.pull()
    assert [event["event"] for event in events] == ["adapter.report"] * 3
    row, [none, one, same] = fleet[0], [event["counts"] for event in events]
    assert none == {"linked": 0, "linked_by_commune": {}, "linked_by_class": {}}
    assert one == same == {
        "linked": 1,
        "linked_by_commune": {row.commune_code: 1},
        "linked_by_class": {mapping.length_class(row.hull.length_m): 1},
    }  # fmt: skip


async def test_figures_add_up_though_vessels_are_counted_while_they_are_read(
    centre: Any, own: Any, fleet: Any, letter: Any, handle: Any
) -> None:
    await handle(centre, own, letter(fleet[0]))
    left = iter(fleet[1:])

    def read(sql: str, params: Any = ()) -> list[tuple[Any, ...]]:
        rows = own.read(sql, params)
        row = next(left)
        figures.count(Tables(own.connection), linked_vessel(mapping.linked_event(row, DAY)))
        return rows

    found = figures.counts(read)
    assert found["linked"] == sum(found["linked_by_commune"].values()) == sum(found["linked_by_class"].values())


@pytest.mark.parametrize(
    ("metres", "expected"),
    [
        (6.0, "under12"),
        (11.9, "under12"),
        (12.0, "from12"),
        (14.9, "from12"),
        (15.0, "from15"),
        (23.9, "from15"),
        (24.0, "from24"),
    ],
)
def test_a_class_begins_with_its_lower_bound(metres: float, expected: str) -> None:
    assert mapping.length_class(metres) == expected
