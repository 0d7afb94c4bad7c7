"""`lgsp audit search`: entries of the log by what they are about, written as they come, however many they are."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from lgsp.cli.audit.entry_lines import FORMS, Form
from lgsp.cli.files import read_text
from lgsp.cli.gateway_door import ask
from lgsp.cli.moments import moment_of
from lgsp.cli.reach import Reach, reaching
from lgsp.cli.voice import voice_of
from lgsp.domain import names, strictjson
from lgsp.domain.subjects import SCHEMES
from lgsp.errors import Unusable
from lgsp.http.settings import HTTP_LIMITS

PATH: Final = "/v1/audit/entries"


class As(StrEnum):
    """How entries are written."""

    table = "table"
    jsonl = "jsonl"
    csv = "csv"


def _option(name: str, metavar: str, about: str) -> Any:  # noqa: ANN401 - what typer reads
    variable = f"LGSP_{name.removeprefix('--').upper()}"
    return typer.Option(name, envvar=variable, metavar=metavar, help=about)


Since = Annotated[str | None, _option("--from", "TIME", "Written at this time or later: 2026-11-22, or with a time, of this machine's zone unless it says | từ thời điểm")]  # fmt: skip # noqa: E501
Until = Annotated[str | None, _option("--until", "TIME", "Written before this time | trước thời điểm")]
Agency = Annotated[str | None, _option("--agency", "CODE", "An agency is party to it (H01.12) | cơ quan liên quan")]
Inbox = Annotated[
    str | None,
    typer.Option(
        "--system", envvar="LGSP_INBOX", metavar="SYSTEM", help="A system is party to it (H01.21/police) | hệ thống"
    ),
]
Type = Annotated[str | None, _option("--type", "TYPE", "Of this message type | loại thông điệp")]
Event = Annotated[str | None, _option("--event", "EVENT", "This happened (msg.acked) | sự kiện")]
Code = Annotated[str | None, _option("--code", "CODE", "With this code | mã lý do")]
Env = Annotated[
    str | None,
    typer.Option(
        "--env", envvar="LGSP_ENVELOPE", metavar="ENV", help="Of this envelope (sha-256:…) | mã băm của phong bì"
    ),
]
CaseFile = Annotated[str | None, _option("--casefile", "CODE", "Of this case file | mã hồ sơ")]
Procedure = Annotated[str | None, _option("--procedure", "CODE", "Of this procedure | mã thủ tục")]
Officer = Annotated[
    str | None,
    typer.Option(
        "--officer",
        envvar="LGSP_AUTHID",
        metavar="PSEUDONYM",
        help="Asked by this officer, as the agency calls them | bí danh cán bộ",
    ),
]
Person = Annotated[
    Path | None,
    _option("--person", "FILE", "About the person whose number is in FILE, - for standard input: CCCD 099… | tệp chứa số định danh"),
]  # fmt: skip
Written = Annotated[As, typer.Option("--format", envvar="LGSP_FORMAT", help="How to write them | dạng kết quả")]
Most = Annotated[int | None, typer.Option("--limit", envvar="LGSP_LIMIT", min=1, help="At most so many | tối đa")]


@reaching
def search(  # noqa: PLR0913 - one parameter for each thing that may be asked for
    context: typer.Context,
    *,
    since: Since = None,
    until: Until = None,
    agency: Agency = None,
    system: Inbox = None,
    type_: Type = None,
    event: Event = None,
    code: Code = None,
    env: Env = None,
    casefile: CaseFile = None,
    procedure: Procedure = None,
    officer: Officer = None,
    person: Person = None,
    written: Written = As.table,
    limit: Most = None,
    reach: Reach,
) -> None:
    """Find entries of the log; the search is an entry itself | tra cứu nhật ký, việc tra cứu cũng được ghi lại."""
    voice = voice_of(context)
    asked = {
        "from": moment_of(since) if since else None,
        "until": moment_of(until) if until else None,
        "agency": names.agency_urn(agency) if agency else None,
        "system": names.system_urn(system) if system else None,
        "type": type_,
        "event": event,
        "code": code,
        "env": env,
        "casefile": casefile,
        "procedure": procedure,
        "officer": officer,
        "person": _person(person) if person else None,
    }
    query = {name: value for name, value in asked.items() if value}
    form = FORMS[written.value](voice)
    found = _write(form, _pages(reach, query, limit))
    voice.tell(f"{found} entries", f"{found} mục")


def _person(path: Path) -> dict[str, str]:
    """Return the kind and the number that stand in a file: on the command line everybody on the machine could read them."""
    kind, _, number = read_text(path).strip().rpartition(" ")
    scheme = kind or SCHEMES[0]
    if scheme not in SCHEMES:
        raise Unusable("bad_request", f"{path}: a line with a number, or a kind ({', '.join(SCHEMES)}) and a number")
    return {"scheme": scheme, "number": number}


def _pages(reach: Reach, query: dict[str, Any], limit: int | None) -> Iterator[list[bytes]]:
    """Yield the entries page by page until the end of the log as it was at the first call, or `limit` in all.

    Each page is a call of its own: nothing is held while whoever reads them takes their time.
    """
    most = HTTP_LIMITS.entry_items if reach.url else HTTP_LIMITS.local_entry_items
    place: dict[str, int] = {"start": 0}
    left = limit
    while place and left != 0:
        asked = query | place | {"limit": most if left is None else min(most, left)}
        answer = strictjson.parse_object(asyncio.run(ask(reach, "POST", PATH, asked, command="lgsp audit search")))
        page = [str(entry).encode() for entry in answer["entries"]]
        yield page
        left = None if left is None else left - len(page)
        place = {"start": answer["next"], "stop": answer["stop"]} if "next" in answer else {}


def _write(form: Form, pages: Iterator[list[bytes]]) -> int:
    """Write all entries and return how many there are; whoever reads them may have enough before that."""
    count = 0
    try:
        form.begin()
        for page in pages:
            for entry in page:
                form.write(entry)
            sys.stdout.flush()
            count += len(page)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing more is written there at the end
    return count
