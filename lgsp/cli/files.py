"""Files that a person names on the command line: read and written whole, refused in plain words."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

from lgsp.errors import Unusable, not_usable

LARGEST: Final = 16 * 1024 * 1024
"""Bytes of a file that is named on the command line."""
STANDARD: Final = Path("-")


def read_bytes(path: Path, *, most: int = LARGEST) -> bytes:
    """Return the bytes of a file of at most `most` (16 MiB), of standard input for `-`; refuse (`data_missing`, `data_unusable`, `bad_request`)."""
    try:
        if path == STANDARD:
            data = sys.stdin.buffer.read(most + 1)
        else:
            with path.open("rb") as file:
                data = file.read(most + 1)
    except OSError as error:
        raise not_usable(path, error) from None
    if len(data) > most:
        raise Unusable("bad_request", f"{path}: larger than {most // 1024**2} MiB")
    return data


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file; refuse as `data_missing`, `data_unusable` or `bad_request`."""
    try:
        return read_bytes(path).decode("utf-8")
    except UnicodeDecodeError:
        raise Unusable("bad_request", f"{path}: not UTF-8 text") from None


def write_text(path: Path, text: str) -> None:
    """Write a new file whole or not at all; refuse (`file_exists`) when something stands there."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Write a new file whole or not at all; refuse as `file_exists`, `data_missing` or `data_unusable`."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(data)
        os.link(beside, path)
    except FileExistsError:
        raise Unusable("file_exists", f"{path}") from None
    except OSError as error:
        raise not_usable(path, error) from None
    finally:
        beside.unlink(missing_ok=True)


def write_secretly(path: Path, data: bytes) -> None:
    """Write a new file that nobody else may read (mode 0600); refuse as `file_exists`, `data_missing` or `data_unusable`."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o600)
    except FileExistsError:
        raise Unusable("file_exists", f"{path}") from None
    except OSError as error:
        raise not_usable(path, error) from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise not_usable(path, error) from None
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def replace_text(path: Path, text: str) -> None:
    """Write a file that may be there already, whole or not at all; refuse as `data_missing` or `data_unusable`."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise not_usable(path, error) from None
