"""The ring of keys for persons' pseudonyms in its file: what comes, what goes, and what is never opened."""

import stat

import pytest

from lgsp import keyfiles
from lgsp.errors import Refusal, Unusable
from lgsp.keyfiles import SECRETS_MAX, SubjectRing


def key(number):
    return bytes([number]) * 32


@pytest.fixture
def path(tmp_path):
    found = tmp_path / "subject.key"
    keyfiles.write_secret(found, key(0))
    return found


def test_a_file_of_one_key_is_a_ring_of_one(path):
    ring = SubjectRing(path)
    assert (ring.newest, ring.all()) == (key(0), (key(0),))


def test_a_new_key_comes_first_and_is_in_the_file_at_once(path):
    ring = SubjectRing(path)
    ring.add(key(1))
    assert ring.newest == key(1)
    assert path.read_bytes() == key(1) + key(0)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["subject.key"]


def test_the_oldest_goes_first_and_the_last_one_stays(path):
    ring = SubjectRing(path)
    ring.add(key(1))
    assert ring.retire() == key(0)
    assert path.read_bytes() == key(1)
    with pytest.raises(Refusal) as refused:
        ring.retire()
    assert refused.value.code == "last_key"
    assert SubjectRing(path).all() == (key(1),)


def test_what_another_process_added_is_found(path):
    here, there = SubjectRing(path), SubjectRing(path)
    there.add(key(1))
    assert here.all() == (key(1), key(0))
    here.add(key(2))
    assert there.all() == (key(2), key(1), key(0))


def test_a_ring_holds_so_many_keys_and_no_more(path):
    ring = SubjectRing(path)
    for number in range(1, SECRETS_MAX):
        ring.add(key(number))
    with pytest.raises(Refusal) as refused:
        ring.add(key(99))
    assert refused.value.code == "keys_too_many"
    assert len(ring.all()) == SECRETS_MAX


def test_what_a_killed_process_left_beside_the_file_is_no_hindrance(path):
    path.with_name(".subject.key.new").write_bytes(b"half a key")
    SubjectRing(path).add(key(1))
    assert path.read_bytes() == key(1) + key(0)


@pytest.mark.parametrize("size", [0, 31, 33, 32 * (SECRETS_MAX + 1)])
def test_a_file_of_another_size_is_broken(path, size):
    path.write_bytes(b"\x01" * size)
    with pytest.raises(Unusable) as refused:
        SubjectRing(path)
    assert refused.value.code == "key_file_broken"


def test_a_file_that_others_may_read_or_a_link_is_neither_read_nor_replaced(path, tmp_path):
    ring = SubjectRing(path)
    path.chmod(0o640)
    link = tmp_path / "link.key"
    link.symlink_to(path)
    for refusing in (lambda: ring.add(key(1)), lambda: SubjectRing(path), lambda: SubjectRing(link)):
        with pytest.raises(Unusable) as refused:
            refusing()
        assert refused.value.code == "key_file_unsafe"
    assert path.read_bytes() == key(0)


def test_a_file_that_was_brought_from_elsewhere_counts_at_once_for_new_pseudonyms(path):
    ring = SubjectRing(path)
    path.write_bytes(key(9) + key(0))
    assert ring.newest == key(9)


def test_while_a_file_is_copied_half_the_keys_before_go_on(path):
    ring = SubjectRing(path)
    path.write_bytes(key(9)[:20])
    assert ring.newest == key(0)
    path.write_bytes(key(9) + key(0))
    assert ring.newest == key(9)
    path.unlink()
    assert ring.newest == key(9)
