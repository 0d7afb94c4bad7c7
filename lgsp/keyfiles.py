"""Private keys and secrets in files: PKCS#8 PEM for signing keys, encrypted or not, 32 raw bytes for the others (protocol section 8).

A file is read only when nobody else can read or replace it, and written once: it never takes the place of another. The one exception is the
ring of keys for persons' pseudonyms, in which keys come and go. What a key may do is
`domain.keys`'; which file holds which key is `config`'s.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self, TypeVar

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from lgsp import passphrases
from lgsp.domain import encryption
from lgsp.domain.keys import PrivateKey, private_key
from lgsp.errors import Refusal, Unusable, not_usable, together

T = TypeVar("T")

MODE: Final = 0o600
OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
LARGEST: Final = 16 * 1024
"""Bytes of a key file; a PEM of the keys that the bus takes has about 250."""
ENCRYPTED: Final = f"-----BEGIN {encryption.LABEL}-----".encode()
SECRET_BYTES: Final = 32
SECRETS_MAX: Final = 8
"""Secrets in one file."""


def read_private(path: Path) -> PrivateKey:
    """Return the signing key of a PKCS#8 PEM file, whose passphrase is asked for where it is encrypted (`passphrases`).

    Refuse as `key_file_unsafe`, `key_file_broken`, `passphrase_missing` or `passphrase_wrong`.
    """
    data = _read(path)
    passphrase = passphrases.given(path, _read) if ENCRYPTED in data else None
    try:
        handle = load_pem_private_key(data, password=passphrase)
    except ValueError:
        if passphrase is not None:
            raise Unusable("passphrase_wrong", f"{path}") from None
        raise _broken(path, "holds no PKCS#8 key in PEM form") from None
    except (TypeError, UnsupportedAlgorithm):
        raise _broken(path, "holds no PKCS#8 key in PEM form, or one encrypted in a way that is not known") from None
    if not isinstance(handle, ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey):
        raise _broken(path, "holds a key of another kind than Ed25519 or P-256")
    try:
        return private_key(handle)
    except (Refusal, KeyError):
        raise _broken(path, "holds a key on another curve than Ed25519 or P-256") from None


def write_private(path: Path, key: PrivateKey, *, passphrase: bytes | None = None) -> None:
    """Write a signing key as PKCS#8 PEM with mode 0600, encrypted where a passphrase is given; refuse (`file_exists`) when something is there."""
    if passphrase is None:
        _write(path, key.handle.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return
    plain = key.handle.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    salt, iv = os.urandom(encryption.SALT_BYTES), os.urandom(encryption.IV_BYTES)
    _write(path, encryption.encrypt_key(plain, passphrase, salt=salt, iv=iv))


def new_passphrase(path: Path) -> bytes:
    """Return the passphrase for a key file that is to be encrypted; refuse as `passphrases.chosen`."""
    return passphrases.chosen(path, _read)


def passphrase_of(path: Path) -> bytes | None:
    """Return the passphrase of a key file that is encrypted, None of one that is not; refuse as `read_private`."""
    return passphrases.given(path, _read) if ENCRYPTED in _read(path) else None


def encrypt_private(path: Path) -> bool:
    """Put a signing key's encrypted form in the place of its file, whole or not at all; return False when it is encrypted already."""
    if ENCRYPTED in _read(path):
        return False
    key, passphrase = read_private(path), new_passphrase(path)
    _replace(path, lambda beside: write_private(beside, key, passphrase=passphrase))
    return True


def read_secret(path: Path) -> bytes:
    """Return the 32 bytes of a secret key file; refuse as `key_file_unsafe` or `key_file_broken`."""
    data = _read(path)
    if len(data) != SECRET_BYTES:
        raise _broken(path, "does not hold 32 bytes")
    return data


def read_secrets(path: Path) -> tuple[bytes, ...]:
    """Return the secrets of a key file that holds one or several of 32 bytes, in their order; refuse as `read_secret`."""
    data = _read(path)
    if not data or len(data) % SECRET_BYTES or len(data) > SECRETS_MAX * SECRET_BYTES:
        raise _broken(path, f"does not hold 1 to {SECRETS_MAX} times 32 bytes")
    return tuple(data[start : start + SECRET_BYTES] for start in range(0, len(data), SECRET_BYTES))


def replace_secrets(path: Path, secrets: Sequence[bytes]) -> None:
    """Put secrets of 32 bytes in the place of a key file's present ones, whole or not at all, durable when this returns."""
    _replace(path, lambda beside: write_secrets(beside, secrets))


def _replace(path: Path, write: Callable[[Path], None]) -> None:
    check_safe(path)
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)  # of a process that was killed
    write(beside)
    try:
        beside.replace(path)
        _sync_names(path.parent)
    except OSError as error:
        raise _broken(path, os.strerror(error.errno or 0)) from None


def _sync_names(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_secret(path: Path, secret: bytes) -> None:
    """Write 32 secret bytes with mode 0600; refuse (`file_exists`) when something stands there."""
    write_secrets(path, (secret,))


def write_secrets(path: Path, secrets: Sequence[bytes]) -> None:
    """Write secrets of 32 bytes each, one after the other, as `write_secret` does."""
    if not 0 < len(secrets) <= SECRETS_MAX or any(len(secret) != SECRET_BYTES for secret in secrets):
        raise ValueError(f"a file holds 1 to {SECRETS_MAX} secret keys of 32 bytes")
    _write(path, b"".join(secrets))


class SubjectRing:
    """The keys of persons' pseudonyms in a file, the newest first (`ports.persons.SubjectKeys`)."""

    def __init__(self, path: Path) -> None:
        """Read the file; refuse as `read_secrets`."""
        self._path = path
        self._held = self.all()

    @property
    def newest(self) -> bytes:
        """The key that makes new pseudonyms. A file that was changed counts from when it can be read: it may have been copied half."""
        if self._state() != self._seen:
            with suppress(Unusable):
                self.all()
        return self._held[0]

    def all(self) -> tuple[bytes, ...]:
        """Return every key, read anew, for another process may have changed the file; refuse as `read_secrets`."""
        self._seen = self._state()
        self._held = read_secrets(self._path)
        return self._held

    def _state(self) -> tuple[int, ...]:
        """Return what is another when the file is."""
        with suppress(OSError):
            found = self._path.stat(follow_symlinks=False)
            return found.st_ino, found.st_size, found.st_mtime_ns
        return ()

    def add(self, key: bytes) -> None:
        """Put a key before the others; refuse as `keys_too_many`."""
        held = self.all()
        if len(held) == SECRETS_MAX:
            raise Refusal("keys_too_many", f"the ring holds {SECRETS_MAX} keys")
        self._keep((key, *held))

    def retire(self) -> bytes:
        """Drop the oldest key and return it; refuse (`last_key`) when it is the only one."""
        *held, oldest = self.all()
        if not held:
            raise Refusal("last_key")
        self._keep(tuple(held))
        return oldest

    def _keep(self, keys: tuple[bytes, ...]) -> None:
        replace_secrets(self._path, keys)
        self.all()


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayKeys:
    """All keys of a gateway."""

    gateway: PrivateKey
    log: PrivateKey
    body: bytes
    subject: SubjectRing

    @classmethod
    def read(cls, *, gateway: Path, log: Path, body: Path, subject: Path) -> Self:
        """Return what the four files hold; refuse as `read_private` and `read_secrets` do, with every file that will not do."""
        problems: list[Unusable] = []
        found_gateway, found_log = _tried(read_private, gateway, problems), _tried(read_private, log, problems)
        found_body, found_subject = _tried(read_secret, body, problems), _tried(SubjectRing, subject, problems)
        if found_gateway is None or found_log is None or found_body is None or found_subject is None:
            raise together(problems)
        return cls(gateway=found_gateway, log=found_log, body=found_body, subject=found_subject)


def _tried(read: Callable[[Path], T], path: Path, problems: list[Unusable]) -> T | None:
    """Return what a file holds, once: a passphrase is asked for and tried at each reading. None is told by a problem more."""
    try:
        return read(path)
    except Unusable as problem:
        problems.append(problem)
        return None


def check_safe(path: Path) -> None:
    """Refuse as `key_file_unsafe` or `key_file_broken` what `read_private` would not open; nothing is read."""
    os.close(_open(path))


def _read(path: Path) -> bytes:
    descriptor = _open(path)
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise _broken(path, "is too large for a key file")
    return data


def _open(path: Path) -> int:
    # Without O_NONBLOCK opening a pipe would wait for its other end before anything could be checked.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        raise _not_opened(path, error) from None
    reason = _unsafe(os.fstat(descriptor))
    if reason:
        os.close(descriptor)
        raise Unusable("key_file_unsafe", f"{path}: {reason}")
    return descriptor


def _not_opened(path: Path, error: OSError) -> Unusable:
    if error.errno == errno.ELOOP:
        return Unusable("key_file_unsafe", f"{path}: is a symbolic link")
    return _broken(path, "does not exist" if error.errno == errno.ENOENT else os.strerror(error.errno or 0))


def _unsafe(found: os.stat_result) -> str:
    if not stat.S_ISREG(found.st_mode):
        return "is not a regular file"
    if found.st_uid != os.geteuid():
        return "belongs to another user"
    if found.st_mode & OTHERS:
        return f"has mode {stat.S_IMODE(found.st_mode):04o}, which lets others at it"
    return ""


def _write(path: Path, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, MODE)
    except FileExistsError:
        raise Unusable("file_exists", f"{path}: a key file is never overwritten") from None
    except OSError as error:
        raise _broken(path, os.strerror(error.errno or 0)) from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        path.unlink(missing_ok=True)
        raise not_usable(path, error) from None
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _broken(path: Path, reason: str) -> Unusable:
    return Unusable("key_file_broken", f"{path}: {reason}")
