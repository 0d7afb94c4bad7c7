"""`lgsp backup`: create, verify, restore, and what a restored log no longer proves."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from lgsp.cli.backup import checking, losses, restoring, taking
from lgsp.cli.backup.checking import Checked
from lgsp.cli.backup.losses import Loss
from lgsp.cli.backup.restoring import Restored
from lgsp.cli.kept import Kept, open_kept
from lgsp.cli.options import DEFAULT_DATA, Data
from lgsp.cli.voice import Voice, voice_of
from lgsp.config import Settings
from lgsp.datafolder import Trust, read_trust
from lgsp.domain import base64url, strictjson
from lgsp.domain.envelope import format_time

Place = Annotated[Path, typer.Argument(metavar="BACKUP", help="The folder of the backup | thư mục bản sao lưu")]
Pin = Annotated[
    Path | None,
    typer.Option(
        "--trust",
        envvar="LGSP_TRUST",
        metavar="FILE",
        help="trust.json to verify under; the backup's own if not given | tệp trust.json để kiểm chứng",
    ),
]
Evidence = Annotated[
    list[Path] | None,
    typer.Option(
        "--last",
        envvar="LGSP_LAST",
        metavar="FILE",
        help="A later checkpoint or receipt, or the old bus.sqlite; repeatable | điểm chốt, biên nhận muộn hơn, hoặc bus.sqlite cũ",
    ),
]

commands = typer.Typer(
    no_args_is_help=True, help="Copies of the ledger: create, verify, restore | sao lưu sổ cái", rich_markup_mode=None
)


@commands.command()
def create(
    context: typer.Context,
    backup: Place,
    data: Data = DEFAULT_DATA,
    *,
    with_keys: Annotated[
        bool,
        typer.Option(
            "--with-keys",
            envvar="LGSP_WITH_KEYS",
            help="Settings and SECRET KEYS too: keep it as you keep keys | kèm cấu hình và KHÓA BÍ MẬT",
        ),
    ] = False,
) -> None:
    """Copy the ledger, while the gateway runs or not | sao lưu sổ cái, cả khi cổng đang chạy."""
    voice = voice_of(context)
    made = asyncio.run(taking.take(Settings.load(data), backup, with_keys=with_keys))
    voice.tell(
        f"made {backup}: {made.entries} entries, directory version {made.directory}; now run: lgsp backup verify {backup}",
        f"đã tạo {backup}: {made.entries} mục, danh bạ phiên bản {made.directory}; tiếp theo: lgsp backup verify {backup}",
    )
    if with_keys:
        voice.tell(
            "it holds the secret keys: whoever reads it can be the gateway",
            "bản này có khóa bí mật: ai đọc được thì giả được cổng",
        )


@commands.command()
def verify(context: typer.Context, backup: Place, trust: Pin = None) -> None:
    """Check files, log, receipts and acks of a backup; exit code 3 when its log is bad | kiểm chứng bản sao lưu."""
    voice = voice_of(context)
    checked = asyncio.run(checking.check(backup, _pinned(trust)))
    _tell_checked(voice, checked)
    if trust is None:
        voice.tell(
            "checked under the trust file in the backup itself; --trust checks under yours",
            "đã kiểm chứng theo tệp trust.json nằm trong chính bản sao lưu; --trust dùng tệp của bạn",
        )


def _pinned(trust: Path | None) -> Trust | None:
    return None if trust is None else read_trust(trust)


def _tell_checked(voice: Voice, checked: Checked) -> None:
    manifest, verdict = checked.manifest, checked.verdict
    taken, root = format_time(manifest.taken), base64url.encode(verdict.root)
    voice.give(
        voice.choose(
            f"the backup of {taken} verifies: {verdict.size} entries, root {root}",
            f"bản sao lưu lúc {taken} đúng: {verdict.size} mục, gốc {root}",
        )
    )
    voice.give(
        voice.choose(
            f"checked with it: {verdict.receipts} receipts, {verdict.acks} acks, {verdict.versions} versions of the directory; "
            f"the signed checkpoint covers {verdict.checkpoint} entries",
            f"đã đối chiếu: {verdict.receipts} biên nhận, {verdict.acks} xác nhận, {verdict.versions} phiên bản danh bạ; "
            f"điểm chốt có chữ ký bao trùm {verdict.checkpoint} mục",
        )
    )


@commands.command()
def restore(
    context: typer.Context,
    backup: Place,
    reason: Annotated[
        str, typer.Option("--reason", envvar="LGSP_REASON", help="Why, for the log | lý do, ghi vào nhật ký")
    ],
    data: Data = DEFAULT_DATA,
    last: Evidence = None,
    trust: Pin = None,
    *,
    accept_loss: Annotated[
        bool,
        typer.Option(
            "--accept-loss",
            envvar="LGSP_ACCEPT_LOSS",
            help="Entries after the backup are lost, and their numbers are given again | chấp nhận mất các mục sau bản sao lưu",
        ),
    ] = False,
) -> None:
    """Make a backup the ledger where there is none | khôi phục sổ cái từ bản sao lưu vào nơi chưa có sổ cái."""
    voice = voice_of(context)
    done = asyncio.run(_restored(backup, data, _pinned(trust), last or [], reason, accept_loss=accept_loss))
    _tell_restored(voice, done, data)


async def _restored(
    backup: Path, data: Path, pinned: Trust | None, last: list[Path], reason: str, *, accept_loss: bool
) -> Restored:
    checked = await checking.check(backup, pinned)
    given_out = await checking.given_out(backup, checked, last)
    return await restoring.restore(backup, data, checked, given_out=given_out, accept_loss=accept_loss, reason=reason)


def _tell_restored(voice: Voice, done: Restored, data: Path) -> None:
    size = done.entries
    voice.give(
        voice.choose(
            f"restored {size} entries, directory version {done.directory}",
            f"đã khôi phục {size} mục, danh bạ phiên bản {done.directory}",
        )
    )
    if done.given_out > size:
        voice.give(
            voice.choose(
                f"no longer provable: entries {size} to {done.given_out - 1} at least; "
                "receipts that name them still prove what the bus promised, its log no longer does",
                f"không còn chứng minh được: ít nhất các mục từ {size} đến {done.given_out - 1}; biên nhận nêu các mục này là chứng cứ đối với trục, "
                "không còn nằm trong nhật ký",
            )
        )
    elif done.given_out < size:
        voice.give(
            voice.choose(
                f"no longer provable: whatever was entered at {size} and after; how much that was is not known here",
                f"không còn chứng minh được: mọi mục từ số {size} trở đi; ở đây không biết là bao nhiêu",
            )
        )
    if done.witness:
        voice.tell(
            f"its settings name the witness {done.witness}: for a drill take the table [witness] out before anything runs on it, "
            "else the real bus is refused afterwards (log_broken)",
            f"thiết lập nêu nhân chứng {done.witness}: khi diễn tập, bỏ bảng [witness] trước khi chạy, nếu không trục thật bị từ chối (log_broken)",
        )
    voice.tell(
        f"who is concerned: lgsp backup losses --data {data} BOX…; tell the auditors, then start: lgsp serve --data {data}",
        f"ai bị ảnh hưởng: lgsp backup losses --data {data} BOX…; báo cho bên kiểm toán rồi chạy: lgsp serve --data {data}",
    )


@commands.command("losses")
def list_losses(
    context: typer.Context,
    boxes: Annotated[list[Path], typer.Argument(metavar="BOX…", help="box.sqlite of a system | tệp box.sqlite")],
    data: Data = DEFAULT_DATA,
    *,
    lines: Annotated[
        bool, typer.Option("--json", envvar="LGSP_JSON", help="One JSON object a line | mỗi dòng một đối tượng JSON")
    ] = False,
) -> None:
    """List what boxes prove and the restored log does not | liệt kê những gì nhật ký đã khôi phục không còn chứng minh."""
    voice = voice_of(context)
    asyncio.run(_list(voice, Settings.load(data), boxes, lines=lines))


async def _list(voice: Voice, settings: Settings, boxes: list[Path], *, lines: bool) -> None:
    async with open_kept(settings) as kept:
        for box in boxes:
            count = 0
            async for loss in losses.losses(kept.store, box):
                voice.give(_json(box, loss) if lines else _line(voice, loss))
                count += 1
            voice.tell(f"{box}: {count} no longer provable", f"{box}: {count} mục không còn chứng minh được")
            _compare_directory(voice, kept, box)


def _json(box: Path, loss: Loss) -> str:
    members = {
        "box": str(box),
        "what": loss.what,
        "index": loss.index,
        "id": loss.id,
        "env": loss.env,
        "state": loss.state,
    }
    return strictjson.compact(members).decode()


def _line(voice: Voice, loss: Loss) -> str:
    if loss.what == "taken":
        return voice.choose(f"taken {loss.id} {loss.env}", f"đã nhận {loss.id} {loss.env}")
    return voice.choose(
        f"sent {loss.id} {loss.env}: index {loss.index}, {loss.state}",
        f"đã gửi {loss.id} {loss.env}: mục {loss.index}, {loss.state}",
    )


def _compare_directory(voice: Voice, kept: Kept, box: Path) -> None:
    seen = losses.directory_seen(box)
    if seen > kept.directory.version:
        voice.tell(
            f"{box} has seen version {seen} of the directory, the bus has {kept.directory.version}: "
            f"bring the versions back with lgsp directory bring {box}",
            f"{box} đã thấy danh bạ phiên bản {seen}, trục có {kept.directory.version}: "
            f"đưa các phiên bản trở lại bằng lgsp directory bring {box}",
        )
