"""`lgsp audit impact`, `ask-names` and `name`: what a suspect system, officer or key did and received, and whom of a list it reached.

Exchanges go out page by page as they come in. What has to be counted once is noted in a file that the system's own database keeps beside memory
and drops at the end, so a year takes as much memory as a day.
"""

from __future__ import annotations

import asyncio
import csv
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from lgsp.cli.files import read_bytes, read_text, write_secretly
from lgsp.cli.gateway_door import ask
from lgsp.cli.moments import moment_of
from lgsp.cli.reach import Reach, reaching
from lgsp.cli.subject_commands import Scheme, SchemeOption, Why
from lgsp.cli.voice import Voice, voice_of
from lgsp.domain import base64url, names, strictjson, subjects
from lgsp.domain.impact import READ_BY_PERSONS
from lgsp.errors import Refusal, Unusable
from lgsp.machine import SystemEntropy

COLUMNS: Final = (
    "index", "time", "event", "env", "sender", "receiver", "to", "action", "purpose", "procedure", "casefile", "officer", "persons",
)  # fmt: skip
SHOWN: Final = ("index", "time", "event", "sender", "receiver", "action", "casefile", "officer", "persons")
NONCE_BYTES: Final = 32


class Form(StrEnum):
    """How rows are written."""

    table = "table"
    jsonl = "jsonl"
    csv = "csv"


System = Annotated[
    str | None, typer.Option("--system", envvar="LGSP_SUSPECT_SYSTEM", metavar="SYSTEM", help="The system | hệ thống")
]
Officer = Annotated[
    str | None, typer.Option("--officer", envvar="LGSP_SUSPECT_OFFICER", metavar="OFFICER", help="The officer | cán bộ")
]
Kid = Annotated[
    str | None,
    typer.Option("--kid", envvar="LGSP_SUSPECT_KEY", metavar="KID", help="The key, by thumbprint | khóa (kid)"),
]
From = Annotated[str, typer.Option("--from", envvar="LGSP_FROM", metavar="TIME", help="A day or time | từ ngày, giờ")]
To = Annotated[str, typer.Option("--to", envvar="LGSP_TO", metavar="TIME", help="Up to then, not included | đến trước")]
Rows = Annotated[Form, typer.Option("--format", envvar="LGSP_FORMAT", help="How rows are written | dạng kết quả")]


@reaching
def impact(
    context: typer.Context,
    system: System = None,
    officer: Officer = None,
    kid: Kid = None,
    *,
    since: From,
    until: To,
    form: Rows = Form.table,
    reach: Reach,
) -> None:
    """List what a suspect did and received, and count the persons; the log notes it | phạm vi ảnh hưởng của sự cố."""
    voice = voice_of(context)
    asked = _suspicion(system, officer, kid, since, until)
    asked |= {"nonce": base64url.encode(SystemEntropy().token(NONCE_BYTES))}
    write = _writer(voice, form)
    with closing(sqlite3.connect("")) as noted:  # a file of its own that spills out of memory and is gone at the end
        count = Count(noted)
        for item in _items(reach, asked):
            if count.is_new(item["event"], item["env"]):
                write(item | {"persons": count.persons(item["persons"])})
        voice.tell(
            f"{count.exchanges} exchanges and readings, {count.reached} persons",
            f"{count.exchanges} trao đổi và lần đọc, {count.reached} người",
        )


class Count:
    """Counts exchanges and persons once each, in a database that may be larger than memory."""

    def __init__(self, noted: sqlite3.Connection) -> None:
        self.exchanges = 0
        self.reached = 0
        self._noted = noted
        noted.execute("CREATE TABLE seen (what TEXT PRIMARY KEY) WITHOUT ROWID")

    def is_new(self, event: str, env: str) -> bool:
        """Tell whether an exchange comes for the first time: one that was accepted and handed over is one."""
        kind = "read" if event in READ_BY_PERSONS else "exchange"
        is_new = self._note(f"{kind} {env}")
        self.exchanges += is_new
        return is_new

    def persons(self, marks: list[str]) -> int:
        """Return how many persons an exchange names, and count those that are new."""
        self.reached += sum(self._note(f"person {mark}") for mark in marks)
        return len(marks)

    def _note(self, what: str) -> bool:
        return self._noted.execute("INSERT OR IGNORE INTO seen VALUES (?)", (what,)).rowcount == 1


def _items(reach: Reach, asked: dict[str, Any]) -> Iterator[dict[str, Any]]:
    after: int | None = None
    while True:
        members = asked | ({} if after is None else {"after": after})
        answer = asyncio.run(ask(reach, "POST", "/admin/impact", members, command="lgsp audit impact"))
        page = strictjson.parse_object(answer)
        yield from page["items"]
        after = page["next"]
        if after is None:
            return


def _writer(voice: Voice, form: Form) -> Callable[[dict[str, Any]], None]:
    if form is Form.jsonl:
        return lambda item: voice.give(strictjson.compact({name: item[name] for name in COLUMNS}).decode())
    if form is Form.csv:
        rows = csv.DictWriter(sys.stdout, COLUMNS, extrasaction="ignore", lineterminator="\n")
        rows.writeheader()
        return rows.writerow
    voice.give("  ".join(SHOWN))
    return lambda item: voice.give("  ".join(_short(item[name]) for name in SHOWN))


def _short(value: object) -> str:
    text = str(value)
    return names.short_system(text) if text.startswith("urn:") else text or "-"


def _suspicion(system: str | None, officer: str | None, kid: str | None, since: str, until: str) -> dict[str, Any]:
    given = {
        "system": names.system_urn(system) if system else None,
        "officer": names.officer_urn(officer) if officer else None,
        "key": kid,
    }
    named = [(kind, name) for kind, name in given.items() if name]
    if len(named) != 1:
        raise Unusable("bad_request", "one of --system, --officer and --kid")
    [(kind, name)] = named
    return {"suspect": kind, "name": name, "since": moment_of(since), "until": moment_of(until)}


# Whom it reached: two officers


@reaching
def ask_names(  # noqa: PLR0913 - one parameter for each thing that a person says
    context: typer.Context,
    system: System = None,
    officer: Officer = None,
    kid: Kid = None,
    scheme: SchemeOption = Scheme.CCCD,
    *,
    since: From,
    until: To,
    numbers: Annotated[
        Path, typer.Option(envvar="LGSP_NUMBERS", metavar="FILE", help="A number a line | mỗi dòng một số định danh")
    ],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", envvar="LGSP_OUTPUT", metavar="FILE", help="For the other | gửi người thứ hai"),
    ],
    reason: Why,
    reach: Reach,
) -> None:
    """Ask, as the first of two officers, whom of a list a breach reached | yêu cầu nêu tên, người thứ nhất."""
    persons = [subjects.person(scheme.value, line.strip()) for line in read_text(numbers).splitlines() if line.strip()]
    request = {
        "suspicion": _suspicion(system, officer, kid, since, until),
        "persons": [{"scheme": each.scheme, "number": each.number} for each in persons],
        "nonce": base64url.encode(SystemEntropy().token(NONCE_BYTES)),
    }
    members = {"request": request, "reason": reason}
    answer = asyncio.run(ask(reach, "POST", "/admin/impact/ask-names", members, command="lgsp audit ask-names"))
    asked = int(strictjson.parse_object(answer)["asked"])
    write_secretly(output, strictjson.compact({"request": request, "asked": asked}) + b"\n")
    voice_of(context).tell(
        f"entry {asked}; another officer countersigns {output} within 72 hours with lgsp audit name",
        f"mục {asked}; cán bộ khác ký tiếp {output} trong 72 giờ bằng lgsp audit name",
    )


@reaching
def name(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What ask-names wrote | tệp của người thứ nhất")],
    *,
    output: Annotated[
        Path, typer.Option("-o", "--output", envvar="LGSP_OUTPUT", metavar="FILE", help="The persons | danh sách")
    ],
    reach: Reach,
) -> None:
    """Countersign as the second officer, and write the persons reached | ký tiếp và ghi danh sách người bị ảnh hưởng."""
    request, asked = _request_in(file)
    found: set[int] = set()
    after: int | None = None
    while True:
        members = {"request": request, "asked": asked} | ({} if after is None else {"after": after})
        answer = asyncio.run(ask(reach, "POST", "/admin/impact/name", members, command="lgsp audit name"))
        page = strictjson.parse_object(answer)
        found.update(page["places"])
        after = page["next"]
        if after is None:
            break
    reached = [request["persons"][place]["number"] for place in sorted(found)]
    write_secretly(output, "".join(f"{number}\n" for number in reached).encode())
    voice_of(context).tell(
        f"{len(reached)} of {len(request['persons'])} persons, in {output}: keep it to yourself",
        f"{len(reached)} trên {len(request['persons'])} người, trong {output}: hãy giữ kín",
    )


def _request_in(file: Path) -> tuple[dict[str, Any], int]:
    try:
        members = strictjson.parse_object(read_bytes(file))
        return dict(members["request"]), int(members["asked"])
    except (strictjson.NotStrict, KeyError, TypeError, ValueError):
        raise Refusal("not_agreed", f"{file} is not what lgsp audit ask-names wrote") from None
