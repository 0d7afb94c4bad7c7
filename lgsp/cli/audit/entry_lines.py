"""Entries of the log as lines on standard output: for people, for programs, for spreadsheets. Each is written by itself: any number takes no room."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from lgsp.cli.voice import Voice
from lgsp.domain import strictjson
from lgsp.domain.entries import MEMBERS
from lgsp.domain.names import short_system

COLUMNS: Final = ("seq", "ts", "ev", "bus", *MEMBERS)
PARTICULARS: Final = ("type", "code", "attempt", "by", "obj", "reason")
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet would take for the beginning of something to be carried out."""


class Form(Protocol):
    """A way of writing entries."""

    def begin(self) -> None:
        """Write what stands above them."""

    def write(self, entry: bytes) -> None:
        """Write one."""


class Table:
    """A line for each entry, in columns, shortened to what a person looks for."""

    def __init__(self, voice: Voice) -> None:
        self._voice = voice

    def begin(self) -> None:
        """Write the titles of the columns."""
        choose = self._voice.choose
        self._line(
            choose("index", "số"),
            choose("time", "thời gian"),
            choose("event", "sự kiện"),
            choose("from", "bên gửi"),
            choose("to", "bên nhận"),
            choose("particulars", "chi tiết"),
        )

    def write(self, entry: bytes) -> None:
        """Write an entry: who, to whom, and what else it says."""
        members = strictjson.parse_object(entry)
        told = [f"{name} {members[name]}" for name in PARTICULARS if name in members]
        to = str(members.get("to", members.get("aud", "")))
        told += [str(members["env"])] if "env" in members else []
        source = short_system(str(members.get("src", "")))
        self._line(str(members["seq"]), members["ts"], members["ev"], source, short_system(to), ", ".join(told))

    def _line(self, seq: str, moment: str, event: str, source: str, to: str, told: str) -> None:
        sys.stdout.write(f"{seq:>9}  {moment:<24}  {event:<17}  {source:<24}  {to:<24}  {told}\n")


class JsonLines:
    """Each entry as the text whose hash is the leaf."""

    def __init__(self, _voice: Voice) -> None:
        pass

    def begin(self) -> None:
        """Write nothing: there is no head."""

    def write(self, entry: bytes) -> None:
        """Write an entry as it stands in the log."""
        sys.stdout.write(entry.decode() + "\n")


class Csv:
    """A row for each entry with a column for each member that entries have."""

    def __init__(self, _voice: Voice) -> None:
        self._rows = csv.writer(sys.stdout, lineterminator="\n")

    def begin(self) -> None:
        """Write the names of the members."""
        self._rows.writerow(COLUMNS)

    def write(self, entry: bytes) -> None:
        """Write an entry; what it does not say stays empty."""
        members = strictjson.parse_object(entry)
        self._rows.writerow([_cell(members.get(name, "")) for name in COLUMNS])


def _cell(value: Any) -> str:  # noqa: ANN401 - what an entry holds
    text = " ".join(value) if isinstance(value, list) else str(value)
    return f"'{text}" if text.startswith(FORMULA) else text


FORMS: Final[Mapping[str, Callable[[Voice], Form]]] = {"table": Table, "jsonl": JsonLines, "csv": Csv}
