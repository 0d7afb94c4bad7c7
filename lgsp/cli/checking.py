"""`lgsp check`: the bus's verdict on one envelope: the same checks in the same order, and where the envelope parts from what was expected.

By itself it judges against the directory of a data folder, and reads what the look-up of step 11 would find from its ledger; with `--url` a running
gateway is asked. Nothing is sent, recorded or counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from lgsp.bus.sandbox import Judge
from lgsp.cli import gateway_door
from lgsp.cli.files import read_bytes
from lgsp.cli.gateway_door import Call
from lgsp.cli.kept import Kept, open_kept
from lgsp.cli.options import DEFAULT_DATA, Data
from lgsp.cli.reach import Authority, Reach
from lgsp.cli.voice import Voice, voice_of
from lgsp.config import Settings
from lgsp.domain import admission, directory, envelope, opinion, strictjson
from lgsp.domain.contracts import Contracts
from lgsp.domain.diagnosis import Found, diagnose
from lgsp.domain.envelope import Wire
from lgsp.domain.opinion import Opinion
from lgsp.errors import Ending, Language, Refusal, Unusable
from lgsp.machine import SystemClock
from lgsp.ports.store import Store

Sentence = dict[Language, str]
MEANT: Final[dict[str, Sentence]] = {
    "size": {"en": "the hash is right, the size is not", "vi": "mã băm đúng, kích thước sai"},
    "no_final_newline": {"en": "the body without its last line break", "vi": "nội dung không có dấu xuống dòng cuối"},
    "final_newline": {"en": "the body with one more line break", "vi": "nội dung có thêm dấu xuống dòng cuối"},
    "no_byte_order_mark": {"en": "the body without its byte order mark", "vi": "nội dung không có dấu BOM"},
    "byte_order_mark": {"en": "the body with a byte order mark", "vi": "nội dung có dấu BOM"},
    "lf": {"en": "the body with LF line breaks", "vi": "nội dung xuống dòng bằng LF"},
    "crlf": {"en": "the body with CRLF line breaks", "vi": "nội dung xuống dòng bằng CRLF"},
    "nfc": {"en": "the body in Unicode NFC", "vi": "nội dung ở dạng Unicode NFC"},
    "nfd": {"en": "the body in Unicode NFD", "vi": "nội dung ở dạng Unicode NFD"},
    "compact": {"en": "the body written as compact JSON", "vi": "nội dung viết lại thành JSON rút gọn"},
}
"""What was hashed, by the bus's word for it (`diagnosis.CHANGES`)."""


def check(
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="An envelope in structured form; - is standard input | tệp phong bì")
    ],
    data: Data = DEFAULT_DATA,
    at: Annotated[
        datetime | None,
        typer.Option(
            envvar="LGSP_AT",
            formats=["%Y-%m-%dT%H:%M:%S%z"],
            help="Judge by this time, not the present one | thời điểm xét",
        ),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(
            envvar="LGSP_CHECK_URL",
            help="Ask the gateway at this address, without a data folder | hỏi cổng ở địa chỉ này, không cần thư mục dữ liệu",
        ),
    ] = None,
    ca: Authority = None,
) -> None:
    """Tell what the bus would say about an envelope; exit code 1 when it would refuse | xét thử một phong bì."""
    voice = voice_of(context)
    if url is not None and at is not None:
        raise Unusable("bad_request", "--at goes with a data folder: a gateway judges by its own clock")
    told = asyncio.run(
        _judged(Settings.load(data), read_bytes(file), at or SystemClock().now(), voice.language)
        if url is None
        else _asked(Reach(data=data, url=url.rstrip("/"), ca=ca), read_bytes(file), voice.language)
    )
    _tell(voice, told)
    if told["verdict"] == "refused":
        raise typer.Exit(Ending.NOT_DONE)


async def _asked(reach: Reach, data: bytes, language: Language) -> Found:
    call = Call(method="POST", path="/v1/check", body=data)
    headers = {"Content-Type": envelope.MEDIA_TYPE, "Accept-Language": language}
    try:
        return strictjson.parse_object(await gateway_door.ask_openly(reach, call, headers))
    except strictjson.NotStrict:
        raise Unusable("unavailable", "what answers is no gateway") from None


async def _judged(settings: Settings, data: bytes, now: datetime, language: Language) -> Found:
    async with open_kept(settings) as kept:
        try:
            wire = envelope.parse_structured(data)
        except Refusal as refusal:
            return opinion.unread(refusal).told({}, language)
        formed = await form_opinion(kept, wire, now)
    return formed.told(diagnose(wire, kept.directory, formed.refusal), language)


async def form_opinion(kept: Kept, wire: Wire, now: datetime) -> Opinion:
    """Return what a bus that holds this would say about the envelope at this time."""
    judge = Judge(
        directory=kept.directory,
        contracts=Contracts(kept.documents),
        ledger=kept.store,
        now=now,
        used=(await _used_today(kept.store, now)).__getitem__,
    )
    return await judge.opinion(admission.read(wire, kept.directory))


class _Counts(dict[str, int]):
    """Counts that are 0 where nothing was counted."""

    def __missing__(self, grant: str) -> int:
        return 0


async def _used_today(store: Store, now: datetime) -> _Counts:
    midnight = now.astimezone(directory.ZONE).replace(hour=0, minute=0, second=0, microsecond=0)
    return _Counts(await store.used_since(midnight))


def _tell(voice: Voice, told: Found) -> None:
    for step in told["steps"]:
        voice.give(f"{'✓' if step['holds'] else '✗'} {step['step']:2} {step['title']}")
    if told["env"]:
        voice.give(f"env {told['env']}")
    if told["verdict"] == "refused":
        for sentence in _differences(told["computed"], told["problem"]["code"]):
            voice.give(f"     {sentence[voice.language]}")
        voice.explain(gateway_door.refusal_in(told["problem"]))
    elif told["verdict"] == "known":
        voice.give(
            voice.choose(
                "accepted before: the first receipt would be given again",
                "đã nhận trước đây: trục sẽ trả lại biên nhận đầu",
            )
        )
    else:
        rule = f" ({told['rule']})" if told.get("rule") else ""
        voice.give(voice.choose(f"the bus would accept it{rule}", f"trục sẽ chấp nhận{rule}"))


def _differences(computed: Found, code: str) -> Iterator[Sentence]:
    """Give, in words, where the envelope parts from what was expected."""
    for part, say in SAYINGS.items():
        if part in computed:
            yield from say(computed[part], code)


def _say_encoding(found: Found, _code: str) -> Iterator[Sentence]:
    if "parts" in found:
        yield {"en": f"{found['parts']} parts instead of 3", "vi": f"{found['parts']} phần, cần 3"}
    else:
        part, at = found["part"], found["differs_at"]
        yield {"en": f"{part}: no base64url at byte {at}", "vi": f"{part}: sai base64url ở byte {at}"}


def _say_header(found: Found, _code: str) -> Iterator[Sentence]:
    if "differs_at" in found:
        at = found["differs_at"]
        yield {"en": f"header: differs at byte {at}", "vi": f"phần đầu: khác từ byte {at}"}
        yield {"en": f"  received {found['received']}", "vi": f"  đã nhận  {found['received']}"}
        yield {"en": f"  expected {found['expected']}", "vi": f"  cần có   {found['expected']}"}


def _say_signed(found: Found, code: str) -> Iterator[Sentence]:
    if code == "signature":
        size, digest = found["bytes"], found["hash"]
        yield {
            "en": f"signed bytes, header and payload with their dot: {size}, {digest}",
            "vi": f"phần được ký, gồm phần đầu, dấu chấm và bản kê: {size} byte, {digest}",
        }


def _say_signature(found: Found, code: str) -> Iterator[Sentence]:
    if code == "signature" and found["bytes"] != found.get("expected_bytes", found["bytes"]):
        size, right = found["bytes"], found["expected_bytes"]
        yield {"en": f"signature: {size} bytes instead of {right}", "vi": f"chữ ký: {size} byte, cần {right}"}


def _say_key(found: Found, code: str) -> Iterator[Sentence]:
    if code in {"signature", "alg_mismatch", "source_not_owned"}:
        whose = f"{found['kid']} ({found['alg']}, {found['owner']})"
        yield {"en": f"key: {whose}", "vi": f"khóa: {whose}"}


def _say_manifest(found: Found, _code: str) -> Iterator[Sentence]:
    if "differs_at" in found:
        at = found["differs_at"]
        yield {"en": f"manifest: byte {at}", "vi": f"bản kê: byte {at}"}
    if "form" in found:
        yield {"en": f"  of the form {found['form']}", "vi": f"  theo mẫu {found['form']}"}


def _say_body(found: Found, code: str) -> Iterator[Sentence]:
    if code != "datahash":
        return
    stated = f"{found['stated_bytes']} byte, {found['stated_hash']}"
    computed = f"{found['bytes']} byte, {found['hash']}"
    yield {"en": f"body: stated   {stated}", "vi": f"nội dung: đã khai  {stated}"}
    yield {"en": f"      computed {computed}", "vi": f"          tính được {computed}"}
    if "resembles" in found:
        meant = MEANT[found["resembles"]]
        yield {"en": f"  what was hashed: {meant['en']}", "vi": f"  đã băm: {meant['vi']}"}


SAYINGS: Final[dict[str, Any]] = {
    "encoding": _say_encoding,
    "header": _say_header,
    "key": _say_key,
    "signed": _say_signed,
    "signature": _say_signature,
    "manifest": _say_manifest,
    "body": _say_body,
}
"""How each part of what was computed is said."""
