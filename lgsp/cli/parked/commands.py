"""`lgsp parked`: deliveries that were tried often enough. Which there are, how each came about, and what a person decides.

Nothing of a body is ever shown; `show --save` writes an envelope to a file that nobody else may read, and the log notes who did it.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlencode

import typer

from lgsp.cli.files import write_secretly
from lgsp.cli.gateway_door import ask
from lgsp.cli.parked import screen
from lgsp.cli.reach import Reach, reaching
from lgsp.cli.voice import Voice, voice_of
from lgsp.domain import names, strictjson
from lgsp.domain.entries import check_reason
from lgsp.domain.envelope import HASH_FORM
from lgsp.errors import Ending, Refusal, Unusable

AT_ONCE: Final = 256
"""Deliveries in one call, as the bus takes them."""
LISTED_MAX: Final = 10_000

Env = Annotated[str, typer.Argument(metavar="ENV", help="env hash, such as sha-256:… | mã băm của phong bì")]
Inbox = Annotated[
    str | None,
    typer.Option(
        "--system", envvar="LGSP_INBOX", metavar="SYSTEM", help="For this system (H01.21/police) | của hệ thống này"
    ),
]
Type = Annotated[str | None, typer.Option("--type", envvar="LGSP_TYPE", help="Of this message type | loại thông điệp")]
Code = Annotated[str | None, typer.Option("--code", envvar="LGSP_CODE", help="Parked with this code | mã lý do")]
AsJson = Annotated[bool, typer.Option("--json", envvar="LGSP_JSON", help="As JSON | dạng JSON")]
Why = Annotated[str, typer.Option("--reason", envvar="LGSP_REASON", help="Why, for the log | lý do, ghi vào nhật ký")]
Envs = Annotated[
    list[str] | None, typer.Argument(metavar="[ENV]…", help="env hashes | mã băm của các phong bì", show_default=False)
]
All = Annotated[
    bool,
    typer.Option(
        "--all", envvar="LGSP_ALL", help="All that --system, --type, --code leave | tất cả theo các điều kiện"
    ),
]
Count = Annotated[
    int | None,
    typer.Option(
        envvar="LGSP_COUNT", min=1, help="With --all: how many you expect | cùng với --all: số lượng phải đúng"
    ),
]

commands = typer.Typer(no_args_is_help=True, help="Deliveries that wait for a person | thông điệp đang tạm giữ")


@commands.command("list")
@reaching
def list_(
    context: typer.Context,
    system: Inbox = None,
    type_: Type = None,
    code: Code = None,
    limit: Annotated[
        int, typer.Option(envvar="LGSP_LIMIT", min=1, max=LISTED_MAX, help="At most so many | tối đa bao nhiêu")
    ] = 100,
    *,
    lines: AsJson = False,
    reach: Reach,
) -> None:
    """List what is parked, oldest first | liệt kê thông điệp đang tạm giữ."""
    voice = voice_of(context)
    answer = asyncio.run(ask(reach, "GET", _list_path(system, type_, code, limit), command="lgsp parked list"))
    if lines:
        voice.give(answer.decode())
    else:
        screen.show_list(voice, strictjson.parse_object(answer))


def _list_path(system: str | None, type_: str | None, code: str | None, limit: int) -> str:
    asked = {"system": names.system_urn(system) if system else None, "type": type_, "code": code, "limit": str(limit)}
    return "/admin/parked?" + urlencode({name: value for name, value in asked.items() if value}, safe=":")


@commands.command()
@reaching
def show(
    context: typer.Context,
    env: Env,
    system: Inbox = None,
    save: Annotated[
        Path | None,
        typer.Option(
            envvar="LGSP_SAVE", metavar="FILE", help="Write the envelope there; the log notes it | ghi phong bì ra tệp"
        ),
    ] = None,
    reason: Annotated[
        str | None, typer.Option(envvar="LGSP_REASON", help="With --save: why | cùng với --save: lý do")
    ] = None,
    *,
    lines: AsJson = False,
    reach: Reach,
) -> None:
    """Tell an envelope's story: request, reply, and what the log says of them | xem quá trình của một phong bì."""
    voice = voice_of(context)
    if save is not None:
        _save(voice, reach, _named(env, system), save, reason)
        return
    path = f"/admin/parked/{_named(env, None)['env']}"
    answer = asyncio.run(ask(reach, "GET", path, command="lgsp parked show"))
    if lines:
        voice.give(answer.decode())
    else:
        screen.show_story(voice, strictjson.parse_object(answer))


def _save(voice: Voice, reach: Reach, named: dict[str, str], file: Path, reason: str | None) -> None:
    if reason is None:
        raise Unusable("bad_request", "--save goes with --reason: the log notes who read the bytes, and why")
    if file.exists():
        raise Unusable("file_exists", f"{file}")  # before anything is read
    asked = {**named, "reason": check_reason(reason)}
    write_secretly(file, asyncio.run(ask(reach, "POST", "/admin/parked/read", asked, command="lgsp parked show")))
    voice.tell(
        f"wrote {file}; it holds the body: keep it to yourself, and delete it when you are done",
        f"đã ghi {file}; tệp chứa nội dung: giữ kín và xóa khi xong việc",
    )


def _named(env: str, system: str | None) -> dict[str, str]:
    if HASH_FORM.fullmatch(env) is None:
        raise Unusable("bad_request", "ENV is an env hash, such as lgsp parked list shows: sha-256:…")
    return {"env": env} | ({"to": names.system_urn(system)} if system else {})


@commands.command()
@reaching
def replay(  # noqa: PLR0913 - one parameter for each thing that a person says
    context: typer.Context,
    envs: Envs = None,
    *,
    reason: Why,
    system: Inbox = None,
    type_: Type = None,
    code: Code = None,
    every: All = False,
    count: Count = None,
    reach: Reach,
) -> None:
    """Let deliveries go out again, their original bytes, no attempt counted | phát lại thông điệp đang tạm giữ."""
    chosen = _chosen(reach, envs, system, type_, code, every=every, count=count)
    _decide(voice_of(context), reach, "replay", chosen, reason)


@commands.command()
@reaching
def drop(  # noqa: PLR0913 - one parameter for each thing that a person says
    context: typer.Context,
    envs: Envs = None,
    *,
    reason: Why,
    system: Inbox = None,
    type_: Type = None,
    code: Code = None,
    every: All = False,
    count: Count = None,
    reach: Reach,
) -> None:
    """End deliveries for good; their senders are told | bỏ hẳn thông điệp đang tạm giữ, có báo bên gửi."""
    chosen = _chosen(reach, envs, system, type_, code, every=every, count=count)
    _decide(voice_of(context), reach, "drop", chosen, reason)


def _chosen(
    reach: Reach,
    envs: list[str] | None,
    system: str | None,
    type_: str | None,
    code: str | None,
    *,
    every: bool,
    count: int | None,
) -> list[dict[str, str]]:
    """Return the deliveries that are meant; refuse (`unconfirmed`) with their number unless it was expected."""
    if every == bool(envs):
        raise Unusable("bad_request", "either env hashes, or --all with --count")
    if not every:
        if type_ or code or count:
            raise Unusable("bad_request", "--type, --code and --count go with --all")
        return [_named(env, system) for env in envs or ()]
    path = _list_path(system, type_, code, LISTED_MAX)
    found = strictjson.parse_object(asyncio.run(ask(reach, "GET", path, command="lgsp parked list")))
    total = int(found["total"])
    if total and count != total:
        raise Refusal("unconfirmed", f"{total} {'matches' if total == 1 else 'match'}")
    return [{"env": item["env"], "to": item["to"]} for item in found["items"]]


def _decide(voice: Voice, reach: Reach, verb: str, chosen: list[dict[str, str]], reason: str) -> None:
    said = check_reason(reason)
    if not chosen:
        voice.tell(
            "nothing that is parked matches; nothing was changed", "không có thông điệp nào phù hợp; không thay đổi gì"
        )
        return
    results: list[dict[str, str]] = []
    for start in range(0, len(chosen), AT_ONCE):
        asked: dict[str, Any] = {"deliveries": chosen[start : start + AT_ONCE], "reason": said}
        answer = asyncio.run(ask(reach, "POST", f"/admin/parked/{verb}", asked, command=f"lgsp parked {verb}"))
        found = strictjson.parse_object(answer)["results"]
        if len(chosen) == 1 and found[0]:
            raise Refusal(found[0]["code"], found[0]["detail"])
        screen.show_results(voice, verb, asked["deliveries"], found)
        results += found
    done = sum(not result for result in results)
    voice.tell(f"{done} of {len(results)} changed", f"đã thay đổi {done} trên {len(results)}")
    if any(results):
        raise typer.Exit(Ending.NOT_DONE)
