"""`lgsp subject`: who used one person's data, what a law withholds from them, their erasure, and the keys of pseudonyms.

A number is read from a file or standard input: as an argument it would stand in the list of processes and in the shell's history.
"""

from __future__ import annotations

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from lgsp.cli.files import read_text
from lgsp.cli.gateway_door import ask
from lgsp.cli.moments import moment_of
from lgsp.cli.reach import Reach, reaching
from lgsp.cli.voice import Voice, voice_of
from lgsp.domain import names, strictjson, subjects
from lgsp.domain.envelope import NUMBER_OF_A_PERSON
from lgsp.domain.names import short_system
from lgsp.errors import Unusable

PAGE: Final = 1_000


class Scheme(StrEnum):
    """What kind of number it is."""

    CCCD = "CCCD"
    CMND = "CMND"
    BHXH = "BHXH"


NumberFile = Annotated[
    Path,
    typer.Argument(metavar="FILE", help="Holds the number; - is standard input | tệp chứa số định danh"),
]
SchemeOption = Annotated[Scheme, typer.Option("--scheme", envvar="LGSP_SCHEME", help="Kind of number | loại số")]
Why = Annotated[str, typer.Option("--reason", envvar="LGSP_REASON", help="Why, for the log | lý do, ghi vào nhật ký")]
AsJson = Annotated[bool, typer.Option("--json", envvar="LGSP_JSON", help="As JSON | dạng JSON")]

commands = typer.Typer(no_args_is_help=True, help="Persons and their data | người dân và dữ liệu của họ")


def person_in(path: Path, scheme: Scheme) -> subjects.Person:
    """Return the person whose number a file holds alone; refuse (`bad_request`), never with the number, anything else."""
    if NUMBER_OF_A_PERSON.fullmatch(path.name) and not path.exists():
        raise Unusable("bad_request", "a number is read from a file or standard input, never from the command line")
    return subjects.person(scheme.value, read_text(path).strip())


@commands.command()
@reaching
def usages(
    context: typer.Context,
    file: NumberFile = Path("-"),
    scheme: SchemeOption = Scheme.CCCD,
    limit: Annotated[
        int, typer.Option(envvar="LGSP_LIMIT", min=1, max=1_000_000, help="At most so many | tối đa bao nhiêu")
    ] = PAGE,
    *,
    whole: Annotated[
        bool, typer.Option("--withheld", envvar="LGSP_WITHHELD", help="For an auditor's eyes | cả phần chưa thông báo")
    ] = False,
    lines: AsJson = False,
    reach: Reach,
) -> None:
    """Tell who used one person's data; the log notes who asks | ai đã sử dụng dữ liệu của một người."""
    voice = voice_of(context)
    person = person_in(file, scheme)
    asked = {"scheme": person.scheme, "number": person.number, "view": "auditor" if whole else "person"}
    found = _all_pages(reach, asked, limit)
    if lines:
        voice.give(strictjson.compact(found).decode())
    else:
        _show(voice, found)


def _all_pages(reach: Reach, asked: dict[str, Any], limit: int) -> dict[str, Any]:
    """Return the answer with the uses of all its pages, at most `limit`; `next` is left when there are more."""
    whole: dict[str, Any] = {}
    items: list[Any] = []
    after: dict[str, str] = {}
    while True:
        members = asked | after | {"limit": min(PAGE, limit - len(items))}
        page = strictjson.parse_object(
            asyncio.run(ask(reach, "POST", "/v1/usages", members, command="lgsp subject usages"))
        )
        items += page["findUsage"]
        whole = page | {"findUsage": items}
        if page["next"] is None or len(items) >= limit:
            return whole
        after = {"after": page["next"]}


def _show(voice: Voice, answer: dict[str, Any]) -> None:
    table = voice.table(
        ("time", "thời gian"),
        ("sender", "bên gửi"),
        ("receiver", "bên nhận"),
        ("action", "việc"),
        ("purpose", "mục đích"),
        ("basis", "căn cứ"),
        ("procedure", "thủ tục"),
        ("case file", "hồ sơ"),
        ("officer", "cán bộ"),
        ("entry", "mục"),
    )
    for use in answer["findUsage"]:
        sender, receiver = short_system(use["sender"]), short_system(use["receiver"])
        stated = (use[name] for name in ("action", "purpose", "legalbasis", "procedure", "casefile", "officer"))
        table.add_row(use["logtime"], sender, receiver, *stated, "" if use["index"] is None else str(use["index"]))
    if answer["findUsage"]:
        voice.show(table)
    period, count = answer["usagePeriod"], len(answer["findUsage"])
    more = "" if answer["next"] is None else voice.choose(", and more", ", và còn nữa")
    voice.tell(
        f"{count} uses from {period['from']} to {period['to']}{more}",
        f"{count} lần sử dụng từ {period['from']} đến {period['to']}{more}",
    )
    if "note" in answer:
        voice.tell(answer["note"]["en"], answer["note"]["vi"])


@commands.command()
@reaching
def erase(
    context: typer.Context,
    file: NumberFile = Path("-"),
    scheme: SchemeOption = Scheme.CCCD,
    *,
    reason: Why,
    reach: Reach,
) -> None:
    """Erase one person from the index: nothing in the log leads to them any more | xóa một người khỏi chỉ mục."""
    person = person_in(file, scheme)
    members = {"scheme": person.scheme, "number": person.number, "reason": reason}
    done = _post(reach, "/admin/subject/erase", members, "lgsp subject erase")
    voice_of(context).tell(
        f"erased, entry {done['index']}; bodies that are in flight, parked or archived, backups and departments' own files still name the person",
        f"đã xóa, mục {done['index']}; nội dung đang chuyển, tạm giữ hoặc lưu trữ, bản sao lưu và hồ sơ của các đơn vị vẫn còn nêu tên người đó",
    )


@commands.command()
@reaching
def withhold(  # noqa: PLR0913 - one parameter for each thing that a person says
    context: typer.Context,
    system: Annotated[
        str | None,
        typer.Option(envvar="LGSP_PARTY", metavar="SYSTEM|AGENCY", help="Sent or received by it | của bên này"),
    ] = None,
    type_: Annotated[str | None, typer.Option("--type", envvar="LGSP_TYPE", help="Message type | loại")] = None,
    procedure: Annotated[str | None, typer.Option(envvar="LGSP_PROCEDURE", help="Procedure | thủ tục")] = None,
    casefile: Annotated[str | None, typer.Option(envvar="LGSP_CASEFILE", help="Case file | hồ sơ")] = None,
    *,
    until: Annotated[
        str, typer.Option(envvar="LGSP_UNTIL", metavar="DATE", help="End, such as 2027-11-22 | ngày hết hạn")
    ],
    basis: Annotated[str, typer.Option(envvar="LGSP_BASIS", help="The law that says so | căn cứ pháp luật")],
    reason: Why,
    reach: Reach,
) -> None:
    """Withhold uses from the persons concerned until a date | chưa thông báo cho người liên quan đến một ngày."""
    party = "" if system is None else names.system_urn(system) if "/" in system else names.agency_urn(system)
    members = {
        "system": party,
        "type": type_ or "",
        "procedure": procedure or "",
        "casefile": casefile or "",
        "until": moment_of(until),
        "basis": basis,
        "reason": reason,
    }
    done = _post(reach, "/admin/withholding", members, "lgsp subject withhold")
    voice_of(context).give(done["id"])


@commands.command()
@reaching
def withheld(context: typer.Context, *, lines: AsJson = False, reach: Reach) -> None:
    """List withholding rules; the log notes who asks | liệt kê các quy tắc chưa thông báo."""
    voice = voice_of(context)
    answer = asyncio.run(ask(reach, "GET", "/admin/withholding", command="lgsp subject withheld"))
    if lines:
        voice.give(answer.decode())
        return
    table = voice.table(
        ("rule", "quy tắc"), ("what", "nội dung"), ("until", "đến"), ("basis", "căn cứ"), ("state", "tình trạng")
    )
    for rule in strictjson.parse_object(answer)["rules"]:
        what = " ".join(rule[name] for name in ("system", "type", "procedure", "casefile") if name in rule)
        state = voice.choose("holds", "còn hiệu lực") if rule["holds"] else voice.choose("over", "đã hết")
        table.add_row(rule["id"], what, rule["until"], rule["basis"], state)
    voice.show(table)


@commands.command()
@reaching
def disclose(
    context: typer.Context,
    rule: Annotated[str, typer.Argument(metavar="RULE", help="Its id, from withheld | mã quy tắc")],
    *,
    reason: Why,
    reach: Reach,
) -> None:
    """End a withholding rule before its date | kết thúc sớm một quy tắc chưa thông báo."""
    done = _post(reach, "/admin/withholding/end", {"id": rule, "reason": reason}, "lgsp subject disclose")
    voice_of(context).tell(f"ended, entry {done['index']}", f"đã kết thúc, mục {done['index']}")


@commands.command("rotate-key")
@reaching
def rotate_key(context: typer.Context, *, reason: Why, reach: Reach) -> None:
    """Have a new key make pseudonyms; the others still find theirs | thay khóa tạo mã thay thế."""
    done = _post(reach, "/admin/subject/keys/rotate", {"reason": reason}, "lgsp subject rotate-key")
    _tell_keys(voice_of(context), done["keys"])


@commands.command("retire-key")
@reaching
def retire_key(context: typer.Context, *, reason: Why, reach: Reach) -> None:
    """Destroy the oldest key: nobody is found by what it made | hủy khóa cũ nhất."""
    done = _post(reach, "/admin/subject/keys/retire", {"reason": reason}, "lgsp subject retire-key")
    _tell_keys(voice_of(context), done["keys"])


def _tell_keys(voice: Voice, keys: list[str]) -> None:
    for key in keys:
        voice.give(key)
    voice.tell(
        "the file of subject keys has changed: bring it to every other gateway of the bus, and into the next backup",
        "tệp khóa đã thay đổi: hãy chép sang mọi cổng khác của trục và vào bản sao lưu kế tiếp",
    )


def _post(reach: Reach, path: str, members: dict[str, Any], command: str) -> dict[str, Any]:
    answer = strictjson.parse_object(asyncio.run(ask(reach, "POST", path, members, command=command)))
    if not answer:
        raise Unusable("unavailable", "what answers is no gateway")
    return answer
