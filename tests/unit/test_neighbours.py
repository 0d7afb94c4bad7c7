"""Who lives, by what is seen of locks; news as texts; what a lease tells; figures of several workers as one."""

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from lgsp.backends.sql.postgresql import newsletter
from lgsp.backends.sql.postgresql.neighbours import GONE, Presence
from lgsp.domain.leases import begun_at, holder_of, lease_name
from lgsp.http.siblings import merged
from lgsp.ports.neighbours import News, gathered
from lgsp.testing.contracts.neighbours import ALL_KINDS
from lgsp.testing.entropy import uuid7
from lgsp.testing.world import NOW

OWN, OTHER, THIRD = "00000001", "00000002", "00000003"
BOTH = frozenset({OWN, OTHER})


def seen(*looks):
    presence = Presence(OWN)
    for at, found in looks:
        if found is None:
            presence.lose_sight()
        else:
            presence.see(frozenset(found), at)
    return presence


@pytest.mark.parametrize(
    ("looks", "living"),
    [
        ([], None),
        ([(0, BOTH)], None),
        ([(0, BOTH), (GONE - 0.1, BOTH)], None),
        ([(0, BOTH), (GONE, BOTH)], BOTH),
        ([(0, BOTH), (GONE, BOTH), (GONE + 1, {OWN})], BOTH),
        ([(0, BOTH), (GONE, BOTH), (GONE + 1, {OWN}), (2 * GONE + 0.9, {OWN})], BOTH),
        ([(0, BOTH), (GONE, BOTH), (GONE + 1, {OWN}), (2 * GONE + 1, {OWN})], {OWN}),
        ([(0, BOTH), (GONE, BOTH), (GONE + 1, {OWN}), (GONE + 2, BOTH), (2 * GONE + 1, {OWN})], BOTH),
        ([(0, BOTH), (GONE, BOTH), (100, {OWN})], BOTH),  # a loop that stood still has not seen it leave
        ([(0, BOTH), (GONE, BOTH), (4, None)], None),
        ([(0, BOTH), (GONE, BOTH), (4, None), (5, {OWN}), (5 + GONE - 0.1, {OWN})], None),
        ([(0, BOTH), (GONE, BOTH), (4, None), (5, {OWN}), (5 + GONE, {OWN})], {OWN}),
        ([(0, BOTH), (GONE, {*BOTH, THIRD})], {*BOTH, THIRD}),
    ],
)
def test_who_lives_is_told_by_locks_that_stay_away(looks, living):
    assert seen(*looks).living() == living


@pytest.mark.parametrize(("found", "alone"), [({OWN}, True), (BOTH, False)])
def test_who_sees_itself_only_is_alone(found, alone):
    assert seen((0, found)).alone is alone


def test_news_goes_through_texts_whole_and_each_is_small_enough():
    texts = newsletter.write(ALL_KINDS, OWN)
    assert len(texts) > 1
    assert max(len(text.encode()) for text in texts) < 8_000
    found = [newsletter.read(text) for text in texts]
    assert {teller for teller, _ in found} == {OWN}
    assert gathered([news for _, news in found]) == ALL_KINDS


def test_of_too_much_news_only_that_it_was_missed_is_told():
    many = News(moved=frozenset(("a", "b", f"sha-256:{number}") for number in range(newsletter.LINES_MAX + 1)))
    [text] = newsletter.write(many, OWN)
    assert newsletter.read(text) == (OWN, News(missed=True))


@pytest.mark.parametrize("line", ["z what later programs say", "q", "m a b", "d x", ""])
def test_a_line_that_is_not_understood_is_news_that_was_missed(line):
    assert newsletter.read(f"{OWN}\n{line}") == (OWN, News(missed=True))


def test_a_lease_tells_its_holder_and_its_beginning():
    milliseconds = int(NOW.timestamp() * 1000)
    lease = lease_name(uuid7(milliseconds, 2**74 - 1), "0123abcd")
    assert holder_of(lease) == "0123abcd"
    assert begun_at(lease) == NOW
    assert len(lease) == 36


def figures_of(number: int) -> str:
    """What a worker tells of itself, in the forms that figures have."""
    registry = CollectorRegistry()
    Counter("lgsp_http_requests", "Requests.", ["method"], registry=registry).labels("GET").inc()
    Gauge("lgsp_streams_open", "Streams.", registry=registry).set(number)
    Histogram("lgsp_stage_seconds", "Stages.", ["stage"], registry=registry).labels("submit").observe(
        0.003 * (number + 1)
    )
    return generate_latest(registry).decode()


def test_figures_of_several_workers_are_one_text_that_prometheus_reads():
    workers = {number: figures_of(number) for number in range(2)}
    workers[2] = ""  # it is being started again
    families = {family.name: family for family in text_string_to_metric_families(merged(workers))}
    requests = {
        (each.labels["worker"], each.value)
        for each in families["lgsp_http_requests"].samples
        if each.name.endswith("_total")
    }
    assert requests == {("0", 1.0), ("1", 1.0)}
    assert {each.labels["worker"] for each in families["lgsp_streams_open"].samples} == {"0", "1"}
    sums = [
        each
        for each in families["lgsp_stage_seconds"].samples
        if each.name.endswith("_sum") and each.labels["stage"] == "submit"
    ]
    assert sorted(each.value for each in sums) == [0.003, 0.006]
    single = {family.name for family in text_string_to_metric_families(workers[0])}
    assert families.keys() == single
