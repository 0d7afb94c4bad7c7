"""The machine's clock is aware, and what it draws looks as the formats want it."""

import os
from concurrent.futures import ThreadPoolExecutor
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


def test_every_bit_of_an_id_that_is_free_is_drawn_by_chance():
    found = [int(SystemEntropy().uuid7().replace("-", ""), 16) & (1 << 80) - 1 for _ in range(200)]
    ever, always = 0, (1 << 80) - 1
    for number in found:
        ever, always = ever | number, always & number
    # RFC 9562 section 5.7: version 7 in four bits, 10 in two, and 74 bits by chance.
    fixed = 0b1111 << 76 | 0b11 << 62
    assert ever ^ always == (1 << 80) - 1 ^ fixed
    assert always == 0x7 << 76 | 0b10 << 62


def test_tokens_have_the_size_asked_for_and_differ():
    entropy = SystemEntropy()
    assert len(entropy.token(16)) == 16
    assert entropy.token(16) != entropy.token(16)


def test_no_random_byte_is_given_out_twice_to_threads_or_to_a_forked_process():
    entropy = SystemEntropy()
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: entropy.token(8), range(4_000)))
    assert len(set(found)) == 4_000

    first, second = os.pipe()
    if (child := os.fork()) == 0:
        os.write(second, entropy.token(8))
        os._exit(0)
    own = entropy.token(8)
    os.waitpid(child, 0)
    assert os.read(first, 8) not in {own, *found}
    for descriptor in (first, second):
        os.close(descriptor)
