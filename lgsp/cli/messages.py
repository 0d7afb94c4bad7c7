"""`lgsp send` and `lgsp inbox`: one system's exchanges by hand, through the SDK, with its durable outbox and inbox.

Results are JSON, one object a line, on standard output.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from lgsp.cli.files import read_bytes
from lgsp.cli.options import System
from lgsp.cli.voice import Voice, voice_of
from lgsp.domain import names, strictjson
from lgsp.errors import Ending, Refusal, Unusable, catalogue
from lgsp.sdk import Client, Message, OutcomeUnknown, Refused, Reject, Stated, SystemSettings, Unreachable


def send(  # noqa: PLR0913 - one parameter for each attribute that may be stated
    context: typer.Context,
    *,
    type_: Annotated[str, typer.Argument(metavar="TYPE", help="Message type | loại thông điệp")],
    audience: Annotated[str, typer.Argument(metavar="TO", help="System (H01.21/police), agency or topic | bên nhận")],
    body: Annotated[Path, typer.Argument(metavar="FILE", help="The body, JSON; - is standard input | nội dung JSON")],
    system: System,
    schema: Annotated[
        str | None, typer.Option(envvar="LGSP_SCHEMA", help="Schema URN; the service's newest if not given | lược đồ")
    ] = None,
    key: Annotated[
        str | None, typer.Option(envvar="LGSP_KEY", help="Under one key an envelope goes out once | khóa chống gửi lặp")
    ] = None,
    purpose: Annotated[str | None, typer.Option(envvar="LGSP_PURPOSE", help="Purpose | mục đích")] = None,
    legalbasis: Annotated[str | None, typer.Option(envvar="LGSP_LEGALBASIS", help="Legal basis | căn cứ")] = None,
    procedure: Annotated[str | None, typer.Option(envvar="LGSP_PROCEDURE", help="Procedure code | mã thủ tục")] = None,
    casefile: Annotated[str | None, typer.Option(envvar="LGSP_CASEFILE", help="Dossier code | mã hồ sơ")] = None,
    authid: Annotated[str | None, typer.Option(envvar="LGSP_AUTHID", help="Officer | cán bộ")] = None,
    orgcat: Annotated[
        str | None, typer.Option(envvar="LGSP_ORGCAT", help="Catalogue version | phiên bản danh mục")
    ] = None,
    expires: Annotated[
        float | None,
        typer.Option(envvar="LGSP_EXPIRES", min=1, help="Seconds to live; the type's life if not given | hạn, giây"),
    ] = None,
    wait: Annotated[
        float, typer.Option(envvar="LGSP_WAIT", min=0.1, help="Seconds for receipt or reply | số giây chờ")
    ] = 30.0,
    reply: Annotated[
        bool, typer.Option("--reply", envvar="LGSP_REPLY", help="Wait for the reply | chờ trả lời")
    ] = False,
) -> None:
    """Send an envelope; print its receipt, or with --reply the reply | gửi một phong bì."""
    voice = voice_of(context)
    optional = {
        "key": key, "purpose": purpose, "legalbasis": legalbasis, "procedure": procedure, "casefile": casefile, "authid": authid,
        "orgcat": orgcat, "expires_in": timedelta(seconds=expires) if expires else None,
    }  # fmt: skip
    stated: dict[str, object] = {name: value for name, value in optional.items() if value is not None}
    stated |= {"audience": _audience(audience), "body": _body(body)}
    settings = SystemSettings.load(system)
    _run(voice, _send(voice, settings, type_, schema, stated, wait=wait, reply=reply), key=key)


def _audience(text: str) -> str:
    if names.SHORT_SYSTEM_FORM.fullmatch(text):
        return names.system_urn(text)
    if not names.is_audience(text):
        raise Unusable("bad_request", "TO is a system like H01.21/police, or the URN of a system, agency or topic")
    return text


def _body(path: Path) -> object:
    try:
        return strictjson.parse(read_bytes(path))
    except strictjson.NotStrict as error:
        raise Unusable("body_json", f"{path}: {error}") from None


async def _send(
    voice: Voice,
    settings: SystemSettings,
    type_: str,
    schema: str | None,
    stated: dict[str, Any],
    *,
    wait: float,
    reply: bool,
) -> None:
    async with Client.open(settings, connect_within=wait) as client:
        whole: Stated = {"schema": schema or _newest_schema(client, type_), **stated}  # type: ignore[typeddict-item]
        if reply:
            _give(voice, _shown(await client.request(type_, timeout=wait, **whole)))
            return
        sent = await client.send(type_, timeout=wait, **whole)
        _give(voice, {"id": sent.id, "env": sent.env, "receipt": sent.receipt.wire() if sent.receipt else None})


def _newest_schema(client: Client, type_: str) -> str:
    service = client.directory.services.get(names.request_type(type_))
    if service is None:
        raise Refusal("type_unknown", type_ if names.TYPE_FORM.fullmatch(type_) else "")
    return service.schemas[-1]


def _give(voice: Voice, members: dict[str, Any]) -> None:
    voice.give(strictjson.compact(members).decode())


def _shown(message: Message) -> dict[str, Any]:
    return {
        "env": message.env,
        "attempt": message.attempt,
        "manifest": message.manifest.attributes,
        "body": message.body,
    }


def inbox(
    context: typer.Context,
    system: System,
    most: Annotated[
        int, typer.Option("--max", envvar="LGSP_MAX", min=1, help="Messages at most | số thông điệp tối đa")
    ] = 1,
    wait: Annotated[float, typer.Option(envvar="LGSP_WAIT", min=0.1, help="Seconds to wait | số giây chờ")] = 5.0,
    reply: Annotated[
        Path | None,
        typer.Option(
            envvar="LGSP_REPLY_FILE", metavar="FILE", help="Answer each with this body | trả lời bằng tệp này"
        ),
    ] = None,
    reject: Annotated[
        str | None,
        typer.Option(envvar="LGSP_REJECT", metavar="CODE", help="Refuse each with this code | từ chối với mã này"),
    ] = None,
    *,
    accept: Annotated[
        bool, typer.Option("--accept", envvar="LGSP_ACCEPT", help="Acknowledge each | xác nhận đã nhận")
    ] = False,
) -> None:
    """Print messages; they stay in the inbox unless answered, accepted or rejected | xem và xử lý hộp thư."""
    voice = voice_of(context)
    if sum((reply is not None, reject is not None, accept)) > 1:
        raise Unusable("bad_request", "one of --reply, --reject and --accept")
    deal = _dealing(_body(reply) if reply else None, reject, answers=reply is not None)
    settles = accept or reply is not None or reject is not None
    settings = SystemSettings.load(system)
    _run(voice, _inbox(voice, settings, deal if settles else None, most=most, wait=wait))


Deal = Callable[[Message], Coroutine[None, None, None]]


def _dealing(body: object, code: str | None, *, answers: bool) -> Deal:
    try:
        rejection = None if code is None else Reject(code)
    except ValueError as error:
        raise Unusable("bad_request", f"--reject: {error}") from None

    async def deal(message: Message) -> None:
        async with message.effect() as effect:
            if rejection is not None:
                effect.refuse(rejection)
            elif answers:
                effect.reply(body)

    return deal


async def _inbox(voice: Voice, settings: SystemSettings, deal: Deal | None, *, most: int, wait: float) -> None:
    count = 0
    async with Client.open(settings, connect_within=wait) as client:
        async for message in _within(client, wait):
            _give(voice, _shown(message))
            if deal is not None:
                await deal(message)
            count += 1
            if count == most:
                break
    if count == 0:
        voice.tell("no message came", "không có thông điệp nào")


async def _within(client: Client, seconds: float) -> AsyncIterator[Message]:
    """Yield what comes to the inbox until the time is over."""
    end = time.monotonic() + seconds
    messages = client.inbox()
    while True:
        try:
            async with asyncio.timeout(end - time.monotonic()):
                message = await anext(messages)
        except (TimeoutError, StopAsyncIteration):
            return
        yield message


def _run(voice: Voice, work: Coroutine[None, None, None], *, key: str | None = None) -> None:
    try:
        asyncio.run(work)
    except Refused as error:
        if error.code in catalogue():
            raise
        # A receiver's own code: its words are not ours to explain.
        where = f" {error.pointer}" if error.pointer else ""
        voice.tell(f"the receiver refused it: {error.code}{where}", f"bên nhận từ chối: {error.code}{where}")
        raise typer.Exit(Ending.NOT_DONE) from None
    except (Unreachable, OutcomeUnknown) as error:
        _tell_no_word(voice, error.id, key)
        raise typer.Exit(Ending.NOT_DONE) from None


def _tell_no_word(voice: Voice, identifier: str, key: str | None) -> None:
    """Tell whether the envelope is on its way, and what to do: without a key a repetition would be a second envelope."""
    if not identifier:
        voice.tell("no gateway was reached in time; nothing was sent", "không kết nối được cổng; chưa gửi gì")
    elif key is not None:
        voice.tell(
            f"no word of {identifier} in time; it stays in the outbox. Repeat the command with the same --key",
            f"chưa có tin về {identifier}; phong bì vẫn trong hộp gửi. Hãy chạy lại lệnh với cùng --key",
        )
    else:
        voice.tell(
            f"no word of {identifier} in time; it stays in the outbox and goes out with the next command. Without --key this command"
            " would send it a second time; an answer comes to: lgsp inbox",
            f"chưa có tin về {identifier}; phong bì vẫn trong hộp gửi và sẽ đi cùng lệnh tiếp theo. Chạy lại lệnh này mà không có --key"
            " sẽ gửi thêm lần nữa; xem trả lời bằng: lgsp inbox",
        )
