"""Key files are opened only when nobody else can read or replace them, and are never overwritten."""

import base64
import errno
import os
import stat
import subprocess

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from lgsp import keyfiles, passphrases
from lgsp.domain import encryption, keys
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


# --- encrypted ------------------------------------------------------------------------------------------------------------------

ASKED = passphrases._asked
PASSPHRASE = "m\u1eadt kh\u1ea9u d\u00e0i"


@pytest.fixture(autouse=True)
def _no_passphrase(monkeypatch):
    monkeypatch.delenv(passphrases.FILE, raising=False)
    monkeypatch.delenv(passphrases.PLAIN, raising=False)
    monkeypatch.setattr(passphrases, "_asked", lambda _question: b"")


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory):
    path = tmp_path_factory.mktemp("encrypted") / "key.pem"
    keyfiles.write_private(path, ED25519, passphrase=PASSPHRASE.encode())
    return path


def test_an_encrypted_key_holds_nothing_of_the_key_and_opens_by_a_variable(encrypted, monkeypatch):
    text = encrypted.read_bytes()
    assert text.startswith(keyfiles.ENCRYPTED + b"\n")
    der = base64.b64decode(b"".join(text.splitlines()[1:-1]))
    assert bytes(range(32)) not in der
    assert bytes.fromhex("2b06010401da47040b") in der  # scrypt: RFC 7914, section 7
    assert stat.S_IMODE(encrypted.stat().st_mode) == 0o600
    monkeypatch.setenv(passphrases.PLAIN, PASSPHRASE)
    assert keyfiles.read_private(encrypted).public == ED25519.public


def test_another_program_reads_an_encrypted_key(encrypted):
    openssl = subprocess.run(
        ("openssl", "pkey", "-in", encrypted, "-passin", "env:SECRET", "-pubout"),
        env={**os.environ, "SECRET": PASSPHRASE},
        capture_output=True,
        check=True,
        timeout=30,
    )
    assert openssl.stdout == ED25519.public.handle.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def test_the_same_key_is_never_written_twice_alike(tmp_path):
    for name in ("one", "two"):
        keyfiles.write_private(tmp_path / name, P256, passphrase=b"a passphrase")
    assert (tmp_path / "one").read_bytes() != (tmp_path / "two").read_bytes()


def test_a_key_that_another_program_encrypted_is_read(tmp_path, monkeypatch):
    path = tmp_path / "key.pem"
    path.touch(mode=0o600)
    path.write_bytes(pkcs8(P256.handle, BestAvailableEncryption(b"of another program")))
    monkeypatch.setenv(passphrases.PLAIN, "of another program")
    assert keyfiles.read_private(path).public == P256.public


def test_a_file_holds_the_passphrase_and_is_kept_like_a_key(encrypted, tmp_path, monkeypatch):
    held = tmp_path / "passphrase"
    held.write_text(PASSPHRASE + "\n")
    monkeypatch.setenv(passphrases.FILE, str(held))
    with pytest.raises(Unusable) as caught:
        keyfiles.read_private(encrypted)
    assert caught.value.code == "key_file_unsafe"
    held.chmod(0o600)
    assert keyfiles.read_private(encrypted).public == ED25519.public


def test_of_a_gateways_keys_each_encrypted_one_is_opened_once(encrypted, key_file, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(passphrases, "_asked", lambda question: asked.append(question) or PASSPHRASE.encode())
    for name in ("body", "subject"):
        keyfiles.write_secret(tmp_path / name, bytes(32))
    held = keyfiles.GatewayKeys.read(
        gateway=encrypted, log=key_file, body=tmp_path / "body", subject=tmp_path / "subject"
    )
    assert held.gateway.kid == ED25519.kid
    assert len(asked) == 1


def test_who_ends_the_question_at_the_terminal_gives_no_passphrase(encrypted, monkeypatch):
    def end(_question):
        raise EOFError

    monkeypatch.setattr(passphrases, "_asked", ASKED)
    monkeypatch.setattr(passphrases, "getpass", end)
    monkeypatch.setattr("sys.stdin", type("Terminal", (), {"isatty": lambda _: True})())
    with pytest.raises(Unusable, match="passphrase_missing"):
        keyfiles.read_private(encrypted)


def test_a_person_at_a_terminal_is_asked(encrypted, monkeypatch):
    monkeypatch.setattr(passphrases, "_asked", lambda question: PASSPHRASE.encode() if "key.pem" in question else b"")
    assert keyfiles.read_private(encrypted).public == ED25519.public


@pytest.mark.parametrize(("stated", "code"), [(None, "passphrase_missing"), ("another one", "passphrase_wrong")])
def test_without_the_passphrase_a_key_is_not_read_and_none_is_told(encrypted, monkeypatch, stated, code):
    if stated:
        monkeypatch.setenv(passphrases.PLAIN, stated)
    with pytest.raises(Unusable, match=r"key\.pem") as caught:
        keyfiles.read_private(encrypted)
    assert caught.value.code == code
    assert (stated or PASSPHRASE) not in str(caught.value)


def test_a_key_file_is_encrypted_in_its_place_once(key_file, monkeypatch):
    monkeypatch.setenv(passphrases.PLAIN, "twelve signs")
    assert keyfiles.encrypt_private(key_file)
    written = key_file.read_bytes()
    assert written.startswith(keyfiles.ENCRYPTED)
    assert not keyfiles.encrypt_private(key_file)
    assert key_file.read_bytes() == written
    assert [path.name for path in key_file.parent.iterdir()] == ["key.pem"]
    assert keyfiles.read_private(key_file).public == ED25519.public


@pytest.mark.parametrize("typed", [[b""], [b"eleven sign"], [b"twelve signs", b"twelve sings"]])
def test_a_new_passphrase_is_long_and_typed_alike_twice(key_file, monkeypatch, typed):
    answers = iter(typed)
    monkeypatch.setattr(passphrases, "_asked", lambda _question: next(answers))
    with pytest.raises(Unusable) as caught:
        keyfiles.encrypt_private(key_file)
    assert caught.value.code == "passphrase_missing"
    assert keyfiles.read_private(key_file).public == ED25519.public


def test_a_length_of_every_size_is_written_as_der_wants_it():
    for size, head in ((0, "0400"), (127, "047f"), (128, "048180"), (255, "0481ff"), (256, "04820100")):
        assert encryption._tlv(encryption.OCTETS, bytes(size))[: len(head) // 2].hex() == head
    with pytest.raises(ValueError, match="16 bytes"):
        encryption.encrypt_key(b"", b"", salt=bytes(15), iv=bytes(16))
