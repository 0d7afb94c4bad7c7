"""Key files are opened only when nobody else can read or replace them, and are never overwritten."""

import errno
import os
import stat

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from lgsp import keyfiles
from lgsp.domain import keys
from lgsp.errors import Unusable

ED25519 = keys.ed25519_from_seed(bytes(range(32)))
P256 = keys.p256_from_scalar(12345)


def pkcs8(handle, encryption=None):
    return handle.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())


@pytest.fixture
def key_file(tmp_path):
    path = tmp_path / "key.pem"
    keyfiles.write_private(path, ED25519)
    return path


@pytest.mark.parametrize("key", [ED25519, P256], ids=["Ed25519", "P-256"])
def test_a_written_key_is_read_back(tmp_path, key):
    path = tmp_path / "key.pem"
    keyfiles.write_private(path, key)
    found = keyfiles.read_private(path)
    assert found.public == key.public
    assert found.public.verifies(found.sign(b"x"), b"x")


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_a_key_file_has_mode_0600_whatever_the_umask(tmp_path, mask):
    before = os.umask(mask)
    try:
        keyfiles.write_private(tmp_path / "key.pem", ED25519)
        keyfiles.write_secret(tmp_path / "body.key", bytes(32))
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o610, 0o644, 0o777])
def test_a_key_file_that_others_can_get_at_is_refused(key_file, mode):
    key_file.chmod(mode)
    with pytest.raises(Unusable) as caught:
        keyfiles.read_private(key_file)
    assert caught.value.code == "key_file_unsafe"
    assert f"{mode:04o}" in caught.value.detail


def test_a_symbolic_link_to_a_key_file_is_refused(key_file, tmp_path):
    link = tmp_path / "link.pem"
    link.symlink_to(key_file)
    with pytest.raises(Unusable, match="symbolic link") as caught:
        keyfiles.read_private(link)
    assert caught.value.code == "key_file_unsafe"


def test_a_folder_and_a_pipe_are_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe", mode=0o600)
    (tmp_path / "folder").mkdir(mode=0o700)
    for name in ("pipe", "folder"):
        with pytest.raises(Unusable, match="not a regular file") as caught:
            keyfiles.read_private(tmp_path / name)
        assert caught.value.code == "key_file_unsafe"


def test_a_key_file_of_another_user_is_refused(key_file, monkeypatch):
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
    with pytest.raises(Unusable, match="belongs to another user"):
        keyfiles.check_safe(key_file)


BROKEN = {
    "nothing": b"",
    "words": b"not a key",
    "public": ED25519.public.handle.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    "encrypted": pkcs8(ED25519.handle, BestAvailableEncryption(b"secret")),
    "rsa": pkcs8(rsa.generate_private_key(65537, 2048)),
    "another curve": pkcs8(ec.generate_private_key(ec.SECP384R1())),
    "too large": b"x" * (keyfiles.LARGEST + 1),
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
def test_what_is_no_key_of_ours_is_refused_by_name(tmp_path, content):
    path = tmp_path / "key.pem"
    path.touch(mode=0o600)
    path.write_bytes(content)
    with pytest.raises(Unusable) as caught:
        keyfiles.read_private(path)
    assert caught.value.code == "key_file_broken"
    assert str(path) in caught.value.detail


def test_a_missing_key_file_is_named(tmp_path):
    with pytest.raises(Unusable, match="does not exist"):
        keyfiles.read_private(tmp_path / "key.pem")


def test_a_key_file_is_never_overwritten(key_file):
    before = key_file.read_bytes()
    with pytest.raises(Unusable) as caught:
        keyfiles.write_private(key_file, P256)
    assert caught.value.code == "file_exists"
    assert key_file.read_bytes() == before


def test_a_link_is_not_written_through(tmp_path):
    (tmp_path / "link.key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Unusable):
        keyfiles.write_secret(tmp_path / "link.key", bytes(32))
    assert not (tmp_path / "elsewhere").exists()


def test_a_secret_has_32_bytes(tmp_path):
    path = tmp_path / "body.key"
    keyfiles.write_secret(path, bytes(range(32)))
    assert keyfiles.read_secret(path) == bytes(range(32))
    path.write_bytes(bytes(31))
    with pytest.raises(Unusable, match="32 bytes"):
        keyfiles.read_secret(path)
    with pytest.raises(ValueError, match="32 bytes"):
        keyfiles.write_secret(tmp_path / "short.key", bytes(31))


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def fail(_descriptor):
        raise OSError(errno.ENOSPC, "disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(Unusable, match="No space left on device"):
        keyfiles.write_private(tmp_path / "key.pem", ED25519)
    assert list(tmp_path.iterdir()) == []
