"""Private keys and secrets in files: PKCS#8 PEM for signing keys, 32 raw bytes for the others (protocol section 8).

A file is read only when nobody else can read or replace it, and written once: it never takes the place of another. What a key may do is
`domain.keys`'; which file holds which key is `config`'s.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from lgsp.domain.keys import PrivateKey, private_key
from lgsp.errors import Refusal, Unusable

MODE: Final = 0o600
OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
LARGEST: Final = 16 * 1024
"""Bytes of a key file; a PEM of the keys that the bus takes has about 250."""
SECRET_BYTES: Final = 32


def read_private(path: Path) -> PrivateKey:
    """Return the signing key of a PKCS#8 PEM file; refuse as `key_file_unsafe` or `key_file_broken`."""
    data = _read(path)
    try:
        handle = load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _broken(path, "holds no unencrypted PKCS#8 key in PEM form") from None
    if not isinstance(handle, ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey):
        raise _broken(path, "holds a key of another kind than Ed25519 or P-256")
    try:
        return private_key(handle)
    except (Refusal, KeyError):
        raise _broken(path, "holds a key on another curve than Ed25519 or P-256") from None


def write_private(path: Path, key: PrivateKey) -> None:
    """Write a signing key as PKCS#8 PEM with mode 0600; refuse (`file_exists`) when something stands there."""
    _write(path, key.handle.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def read_secret(path: Path) -> bytes:
    """Return the 32 bytes of a secret key file; refuse as `key_file_unsafe` or `key_file_broken`."""
    data = _read(path)
    if len(data) != SECRET_BYTES:
        raise _broken(path, "does not hold 32 bytes")
    return data


def write_secret(path: Path, secret: bytes) -> None:
    """Write 32 secret bytes with mode 0600; refuse (`file_exists`) when something stands there."""
    if len(secret) != SECRET_BYTES:
        raise ValueError("a secret key has 32 bytes")
    _write(path, secret)


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
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _broken(path: Path, reason: str) -> Unusable:
    return Unusable("key_file_broken", f"{path}: {reason}")
