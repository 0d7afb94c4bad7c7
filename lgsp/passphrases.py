"""Where the passphrase of encrypted key files comes from: a file, a variable of the environment, or a person at the terminal; never an argument.

One passphrase opens all key files of a program. Arguments stand in the list of processes and in the shell's history, so no command takes it there.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from getpass import getpass
from pathlib import Path
from typing import Final

from lgsp.errors import Unusable

FILE: Final = "LGSP_KEY_PASSPHRASE_FILE"
PLAIN: Final = "LGSP_KEY_PASSPHRASE"
LEAST: Final = 12
"""Characters of a new one: whoever has the file may guess for as long as they like."""

Read = Callable[[Path], bytes]
"""Returns what a file holds that nobody else can read."""


def given(key_file: Path, read: Read) -> bytes:
    """Return the passphrase that is to open a key file; refuse (`passphrase_missing`) when nobody gives one."""
    found = _stated(read) or _asked(f"Passphrase | cụm mật khẩu — {key_file}: ")
    if not found:
        raise Unusable("passphrase_missing", f"{key_file}; neither {FILE} nor {PLAIN} is set, and there is no terminal")
    return found


def chosen(key_file: Path, read: Read) -> bytes:
    """Return the passphrase for a new key file, asked for twice at a terminal; refuse (`passphrase_missing`) none, a short one, two that differ."""
    found = given(key_file, read)
    if len(found.decode("utf-8", "replace")) < LEAST:
        raise Unusable("passphrase_missing", f"{key_file}; a new one has {LEAST} characters or more")
    if not _stated(read) and _asked("Again | nhập lại: ") != found:
        raise Unusable("passphrase_missing", f"{key_file}; the two are not the same")
    return found


def _stated(read: Read) -> bytes:
    path = os.environ.get(FILE, "")
    if path:
        return read(Path(path)).rstrip(b"\r\n")
    return os.environ.get(PLAIN, "").encode("utf-8", "surrogateescape")


def _asked(question: str) -> bytes:
    """Return what a person types unseen, nothing where there is no terminal."""
    if sys.stdin is None or not sys.stdin.isatty():
        return b""
    with suppress(EOFError):  # Ctrl+D: they know none
        return getpass(question).encode()
    return b""
