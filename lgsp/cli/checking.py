"""`lgsp check`: the bus's verdict on one envelope, offline: the same checks in the same order, against the directory of a data folder.

Nothing is sent, recorded or counted. What the look-up of step 11 would find is read from the data folder's ledger.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from lgsp.cli.files import read_bytes
from lgsp.cli.gateway_door import Kept, open_kept
from lgsp.cli.options import DEFAULT_DATA, Data
from lgsp.cli.voice import Voice, voice_of
from lgsp.config import Settings
from lgsp.domain import admission, directory, envelope
from lgsp.domain.admission import Accepted, Refused
from lgsp.domain.contracts import Contracts
from lgsp.domain.envelope import Manifest, Wire
from lgsp.errors import Ending, Refusal
from lgsp.machine import SystemClock
from lgsp.ports.store import Store

STEPS: Final[tuple[tuple[str, str], ...]] = (
    ("sizes", "kích thước"),
    ("form and base64url", "dạng và base64url"),
    ("protected header", "phần đầu được bảo vệ"),
    ("kind of object", "loại đối tượng"),
    ("key is registered, in force and of the right role", "khóa đã đăng ký, còn hiệu lực, đúng vai trò"),
    ("algorithm is the key's", "thuật toán đúng với khóa"),
    ("signature", "chữ ký"),
    ("manifest", "bản kê"),
    ("the key may sign for the source", "khóa được ký thay cho nguồn"),
    ("size and hash of the body", "kích thước và mã băm của nội dung"),
    ("not seen before", "chưa từng gửi"),
    ("times", "thời gian"),
    ("route and grant", "đường đi và quyền"),
    ("body and schema", "nội dung và lược đồ"),
)
"""The steps of protocol section 4, 1 to 14."""

READ_STEP: Final = {
    "too_large": 1, "structured": 2, "compact": 2, "base64": 2, "header_template": 3, "typ": 4, "kid_unknown": 5, "key_role": 5,
    "key_not_valid": 5, "alg_mismatch": 6, "signature": 7, "json": 8, "manifest": 8, "unsupported": 8, "source_not_owned": 9, "datahash": 10,
}  # fmt: skip
JUDGE_STEP: Final = {
    "clock_ahead": 12, "expired": 12, "life_too_long": 12, "body_json": 14, "body_nfc": 14, "schema_unknown": 14, "schema": 14,
    "schema_unusable": 14, "too_large": 14,
}  # fmt: skip
LOOK_UP: Final = 11
ROUTE_AND_GRANT: Final = 13
"""Where every other refusal of `judge` belongs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """What the bus would say: the step that fails with its refusal, or neither; and what it computed on the way."""

    env: str
    manifest: Manifest | None = None
    step: int | None = None
    refusal: Refusal | None = None
    rule: str = ""


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
) -> None:
    """Tell what the bus would say about an envelope; exit code 1 when it would refuse | xét thử một phong bì."""
    voice = voice_of(context)
    settings = Settings.load(data)
    opinion = asyncio.run(_judged(settings, read_bytes(file), at or SystemClock().now()))
    _tell(voice, opinion)
    if opinion.refusal is not None:
        raise typer.Exit(Ending.NOT_DONE)


async def _judged(settings: Settings, data: bytes, now: datetime) -> Opinion:
    async with open_kept(settings) as kept:
        try:
            wire = envelope.parse_structured(data)
        except Refusal as refusal:
            return Opinion(env="", step=READ_STEP[refusal.code], refusal=refusal)
        return await form_opinion(kept, wire, now)


async def form_opinion(kept: Kept, wire: Wire, now: datetime) -> Opinion:
    """Return what a bus that holds this would say about the envelope at this time."""
    read = admission.read(wire, kept.directory)
    if isinstance(read, Refused):
        return _refused(read, READ_STEP[read.refusal.code])
    keys = [read.exchange_key, *([read.request_key] if read.request_key else [])]
    known = await kept.store.exchanges(keys)
    seen = known.get(read.exchange_key)
    if seen is not None:
        refusal = None if read.repeats(seen) else Refusal("id_conflict", pointer="/id")
        return Opinion(env=read.env, manifest=read.manifest, step=LOOK_UP, refusal=refusal)
    judged = admission.judge(
        read,
        directory=kept.directory,
        held=Contracts(kept.documents),
        now=now,
        request=known.get(read.request_key) if read.request_key else None,
        used=(await _used_today(kept.store, now)).__getitem__,
    )
    if isinstance(judged, Accepted):
        return Opinion(env=read.env, manifest=read.manifest, rule=judged.leave.rule)
    return _refused(judged, JUDGE_STEP.get(judged.refusal.code, ROUTE_AND_GRANT))


class _Counts(dict[str, int]):
    """Counts that are 0 where nothing was counted."""

    def __missing__(self, grant: str) -> int:
        return 0


async def _used_today(store: Store, now: datetime) -> _Counts:
    midnight = now.astimezone(directory.ZONE).replace(hour=0, minute=0, second=0, microsecond=0)
    return _Counts(await store.used_since(midnight))


def _refused(refused: Refused, step: int) -> Opinion:
    return Opinion(env=refused.env, manifest=refused.manifest, step=step, refusal=refused.refusal)


def _tell(voice: Voice, opinion: Opinion) -> None:
    last = opinion.step or len(STEPS)
    for number, (en, vi) in enumerate(STEPS[:last], start=1):
        failed = opinion.refusal is not None and number == last
        voice.give(f"{'✗' if failed else '✓'} {number:2} {voice.choose(en, vi)}")
    if opinion.env:
        voice.give(f"env {opinion.env}")
    if opinion.refusal is not None:
        voice.explain(opinion.refusal)
    elif opinion.step == LOOK_UP:
        voice.give(
            voice.choose(
                "accepted before: the first receipt would be given again",
                "đã nhận trước đây: trục sẽ trả lại biên nhận đầu",
            )
        )
    else:
        rule = f" ({opinion.rule})" if opinion.rule else ""
        voice.give(voice.choose(f"the bus would accept it{rule}", f"trục sẽ chấp nhận{rule}"))
