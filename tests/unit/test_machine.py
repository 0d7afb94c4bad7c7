"""The machine's clock is aware, and what it draws looks as the formats want it."""

from datetime import UTC, datetime

from lgsp.domain.envelope import UUID7_FORM
from lgsp.machine import SystemClock, SystemEntropy


def test_the_clock_gives_aware_utc_time():
    before, now = datetime.now(UTC), SystemClock().now()
    assert before <= now <= datetime.now(UTC)
    assert now.utcoffset().total_seconds() == 0


def test_ids_are_uuids_of_the_present_millisecond_and_differ():
    before = int(datetime.now(UTC).timestamp() * 1000)
    found = {SystemEntropy().uuid7() for _ in range(200)}
    after = int(datetime.now(UTC).timestamp() * 1000)
    assert len(found) == 200
    assert all(UUID7_FORM.fullmatch(text) for text in found)
    assert all(before <= int(text.replace("-", "")[:12], 16) <= after for text in found)


def test_tokens_have_the_size_asked_for_and_differ():
    entropy = SystemEntropy()
    assert len(entropy.token(16)) == 16
    assert entropy.token(16) != entropy.token(16)
