"""`lgsp doctor`: the effective settings and where each comes from, what is wrong with a gateway's folder, and how to mend it.

Everything is looked at, nothing is changed. Each look is a function that gives findings; what cannot be looked at is a finding too.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final, Literal

import typer
from rich.text import Text

from lgsp import app, config, datafolder, keyfiles, ledgers
from lgsp.cli.kept import Kept, open_kept
from lgsp.cli.keys.policy import objections, read_policy
from lgsp.cli.options import DEFAULT_DATA, Data
from lgsp.cli.serving import tls_of
from lgsp.cli.voice import Voice, voice_of
from lgsp.config import Settings
from lgsp.datafolder import DataFolder, read_trust
from lgsp.domain import checkpoint, contracts, notes
from lgsp.domain.directory import broken_links
from lgsp.domain.limits import LIMITS
from lgsp.domain.notes import NoteInvalid
from lgsp.errors import Ending, Refusal
from lgsp.http.server import is_loopback
from lgsp.machine import SystemClock

State = Literal["ok", "warning", "wrong"]
SIGNS: Final[dict[State, tuple[str, str]]] = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "wrong": ("✗", "red")}
ROOM_WANTED: Final = 5 * 1024**3
ROOM_NEEDED: Final = 256 * 1024**2
"""Bytes free on the ledger's disk: some 200 million entries a year are some hundred gigabytes; below this a night's traffic may not fit."""
CERTIFICATE_SOON: Final = timedelta(days=30)
"""Before its end a certificate is to be renewed."""
OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at: texts in English and Vietnamese, and how to mend it."""

    state: State
    en: str
    vi: str
    mend_en: str = ""
    mend_vi: str = ""


def doctor(context: typer.Context, data: Data = DEFAULT_DATA) -> None:
    """Show settings, tell what is wrong and how to mend it; exit code 1 when something is | khám cấu hình và dữ liệu."""
    voice = voice_of(context)
    settings = Settings.load(data)
    _show_settings(voice, settings)
    findings = list(examine(settings))
    for finding in findings:
        _show(voice, finding)
    if any(finding.state == "wrong" for finding in findings):
        raise typer.Exit(Ending.NOT_DONE)


def _show_settings(voice: Voice, settings: Settings) -> None:
    table = voice.table(("setting", "thiết lập"), ("value", "giá trị"), ("from", "lấy từ"))
    origins = settings.origins()
    for name, value in settings.values().items():
        table.add_row(name, value, origins[name])
    voice.show(table)


def _show(voice: Voice, finding: Finding) -> None:
    sign, style = SIGNS[finding.state]
    text = Text(f"{sign} ", style=style)
    text.append(voice.choose(finding.en, finding.vi), style="default")
    mend = voice.choose(finding.mend_en, finding.mend_vi)
    if mend:
        text.append(f"\n    → {mend}", style="default")
    voice.show(text)


def examine(settings: Settings) -> Iterator[Finding]:
    """Yield every finding on a gateway's folder."""
    running = datafolder.is_held(DataFolder(root=settings.data))
    for look in (_look_at_folder, _look_at_keys, _look_at_registrar, _look_at_tls, _look_at_storage, _look_at_broker):
        yield from look(settings)
    yield _port(settings, running=running)
    try:
        yield from asyncio.run(_look_at_kept(settings))
    except Refusal as refusal:
        yield _refused(refusal)


def _refused(refusal: Refusal) -> Finding:
    said = f": {refusal.detail}" if refusal.detail else ""
    title, hint = refusal.entry.title, refusal.entry.hint
    return Finding(
        state="wrong",
        en=f"[{refusal.code}] {title['en']}{said}",
        vi=f"[{refusal.code}] {title['vi']}{said}",
        mend_en=hint["en"],
        mend_vi=hint["vi"],
    )


def _tried(look: Callable[[], object], en: str, vi: str) -> Finding:
    """Return the refusal of a look as a finding, or that all is well."""
    try:
        look()
    except Refusal as refusal:
        return _refused(refusal)
    return Finding(state="ok", en=en, vi=vi)


def _look_at_folder(settings: Settings) -> Iterator[Finding]:
    for path in (settings.data, settings.data / "keys"):
        if path.is_dir() and path.stat().st_mode & OTHERS_WRITE:
            yield Finding(
                state="wrong",
                en=f"{path} can be written by others, who could put other keys in place",
                vi=f"{path} cho người khác ghi, họ có thể thay khóa",
                mend_en=f"chmod go-w {path}",
                mend_vi=f"chmod go-w {path}",
            )


def _look_at_keys(settings: Settings) -> Iterator[Finding]:
    readers: list[tuple[Path, Callable[[Path], object]]] = [
        (settings.keys.gateway, keyfiles.read_private),
        (settings.keys.log, keyfiles.read_private),
        (settings.keys.body, keyfiles.read_secret),
        (settings.keys.subject, keyfiles.read_secrets),
    ]
    for path, read in readers:
        yield _tried(partial(read, path), f"key file {path}", f"tệp khóa {path}")


def _look_at_registrar(settings: Settings) -> Iterator[Finding]:
    path = DataFolder(root=settings.data).registrar_key
    if path.exists():
        yield Finding(
            state="warning",
            en=f"the registrar's private key lies on the gateway: {path}",
            vi=f"khóa riêng của bộ phận quản lý danh bạ nằm trên máy chạy cổng: {path}",
            mend_en="move it off this machine and name it with --registrar when a directory is signed",
            mend_vi="hãy chuyển khỏi máy này và chỉ đường dẫn bằng --registrar khi ký danh bạ",
        )


def _look_at_tls(settings: Settings) -> Iterator[Finding]:
    http = settings.http
    if http.tls_cert is not None:
        try:
            tls = tls_of(http)
        except Refusal as refusal:
            yield _refused(refusal)
        else:
            yield Finding(state="ok", en="TLS certificate and key fit", vi="chứng thư và khóa TLS khớp nhau")
            if tls is not None:
                yield _certificate(tls.until)
    elif not is_loopback(http.host) and not http.behind_tls_proxy:
        yield _refused(Refusal("listen_refused", f"http.host is {http.host}"))


def _certificate(until: datetime) -> Finding:
    """Return how long the TLS certificate is good for: systems call nobody whose certificate has expired."""
    left = until - SystemClock().now()
    state: State = "wrong" if left <= timedelta(0) else "warning" if left < CERTIFICATE_SOON else "ok"
    is_over = state == "wrong"
    return Finding(
        state=state,
        en=f"the TLS certificate {'expired' if is_over else 'is good for another'} {abs(left).days} days{' ago' if is_over else ''}",
        vi=f"chứng thư TLS {'đã hết hạn' if is_over else 'còn hạn'} {abs(left).days} ngày{' trước' if is_over else ''}",
        mend_en="" if state == "ok" else "put a new certificate in its place; a running gateway takes it by itself",
        mend_vi="" if state == "ok" else "hãy thay chứng thư mới; cổng đang chạy sẽ tự dùng",
    )


def _look_at_storage(settings: Settings) -> Iterator[Finding]:
    if settings.storage.kind == "sqlite":
        yield from _look_at_room(settings)
        return
    yield from _look_at_password(settings, "storage.url")
    with suppress(Refusal):  # told by the look at what is kept
        asyncio.run(ledgers.ledger_form(settings))
        yield Finding(state="ok", en="the database takes connections", vi="cơ sở dữ liệu nhận kết nối")


def _look_at_password(settings: Settings, setting: str) -> Iterator[Finding]:
    path = settings.data / config.FILE
    if settings.origins()[setting] == config.FILE and path.stat().st_mode & OTHERS:
        yield Finding(
            state="wrong",
            en=f"{path} holds the password of {setting} and others can read it",
            vi=f"{path} có mật khẩu của {setting} và người khác đọc được",
            mend_en=f"chmod 600 {path}",
            mend_vi=f"chmod 600 {path}",
        )


def _look_at_room(settings: Settings) -> Iterator[Finding]:
    folder = _existing(settings.storage.path.parent)
    free = shutil.disk_usage(folder).free
    state: State = "ok" if free >= ROOM_WANTED else "warning" if free >= ROOM_NEEDED else "wrong"
    size = f"{free / 1024**3:.1f} GiB"
    mend = ("make room, or move storage.path to a larger disk", "hãy dọn đĩa hoặc chuyển storage.path sang đĩa lớn hơn")
    yield Finding(
        state=state,
        en=f"{size} free for the ledger in {folder}",
        vi=f"còn {size} cho sổ cái tại {folder}",
        mend_en="" if state == "ok" else mend[0],
        mend_vi="" if state == "ok" else mend[1],
    )


def _look_at_broker(settings: Settings) -> Iterator[Finding]:
    if settings.transport.kind == "embedded":
        return
    yield from _look_at_password(settings, "transport.url")
    try:
        trouble = asyncio.run(app.broker_trouble(settings))
    except Refusal:
        return  # told by the look at what is kept
    yield Finding(
        state="wrong" if trouble else "ok",
        en=f"the broker cannot be reached: {trouble}" if trouble else "the broker takes connections",
        vi=f"không kết nối được máy chủ thông điệp: {trouble}" if trouble else "máy chủ thông điệp nhận kết nối",
        mend_en="start RabbitMQ, or mend transport.url (name, password, host, vhost)" if trouble else "",
        mend_vi="hãy khởi động RabbitMQ hoặc sửa transport.url (tên, mật khẩu, máy, vhost)" if trouble else "",
    )


def _existing(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder


def _port(settings: Settings, *, running: bool) -> Finding:
    http = settings.http
    if running:
        return Finding(state="ok", en="a gateway runs on this folder", vi="cổng đang chạy trên thư mục này")
    return _tried(
        lambda: _bind(http.host, http.port), f"{http.host}:{http.port} is free", f"{http.host}:{http.port} còn trống"
    )


def _bind(host: str, port: int) -> None:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise Refusal("port_in_use", f"{host}:{port}: {error.strerror}") from None


async def _look_at_kept(settings: Settings) -> list[Finding]:
    async with open_kept(settings) as kept:
        return [
            _directory(kept),
            *_own_keys(settings, kept),
            *_schemas(kept),
            _clock(kept),
            await _checkpoint(settings, kept),
            await _witness(settings, kept),
        ]


def _directory(kept: Kept) -> Finding:
    problems = broken_links(kept.directory, kept.documents) + objections(read_policy(), kept.directory)
    if problems:
        return _refused(Refusal("directory_invalid", "; ".join(problems)))
    version = kept.directory.version
    return Finding(
        state="ok",
        en=f"directory version {version} verifies under the pinned registrar",
        vi=f"danh bạ phiên bản {version} đúng chữ ký của bộ phận quản lý danh bạ đã ghim",
    )


def _own_keys(settings: Settings, kept: Kept) -> Iterator[Finding]:
    """Yield whether the directory knows the gateway's and the log's key as they lie in their files."""
    for owner, path in ((settings.bus.gateway, settings.keys.gateway), (settings.bus.urn, settings.keys.log)):
        try:
            kid = keyfiles.read_private(path).kid
        except Refusal:
            continue  # told by the look at key files
        if all(key.record.id != kid for key in kept.directory.keys_of(owner)):
            yield Finding(
                state="wrong",
                en=f"{path} is not a key of {owner} in the directory in force",
                vi=f"{path} không phải khóa của {owner} trong danh bạ hiện hành",
                mend_en="point to the right file, or have the key registered with lgsp directory apply",
                mend_vi="hãy chỉ đúng tệp hoặc đăng ký khóa bằng lgsp directory apply",
            )


def _schemas(kept: Kept) -> Iterator[Finding]:
    for urn, record in kept.directory.schemas.items():
        if urn not in kept.documents:
            continue  # told by the look at links
        try:
            hash_ = contracts.check_document(urn, kept.documents[urn], kept.documents)
        except Refusal as refusal:
            yield _refused(refusal)
            continue
        if hash_ != record.hash:
            yield _refused(
                Refusal("directory_invalid", f"schema {urn}: the document is not the one that was published")
            )


def _clock(kept: Kept) -> Finding:
    now, signed = SystemClock().now(), kept.directory.at
    if now + LIMITS.clock_ahead < signed:
        behind = timedelta(seconds=int((signed - now).total_seconds()))
        return Finding(
            state="wrong",
            en=f"the clock is {behind} behind the directory's signature",
            vi=f"đồng hồ chậm {behind} so với chữ ký của danh bạ",
            mend_en="set the clock, and keep it by NTP",
            mend_vi="hãy chỉnh đồng hồ và đồng bộ bằng NTP",
        )
    return Finding(state="ok", en="the clock is later than all that was signed", vi="đồng hồ sau mọi thời điểm đã ký")


async def _checkpoint(settings: Settings, kept: Kept) -> Finding:
    note = await kept.store.checkpoint()
    size = await kept.store.size()  # after the note: a gateway that runs goes on writing and signing
    trust = DataFolder(root=settings.data).trust
    try:
        covered = checkpoint.open_checkpoint(note, read_trust(trust).log).size if note else 0
    except NoteInvalid as error:
        return _refused(Refusal("log_broken", f"the kept checkpoint: {error}"))
    if covered > size:
        return _refused(Refusal("log_broken", f"the signed checkpoint covers {covered} entries, the log has {size}"))
    return Finding(
        state="ok",
        en=f"{size} entries; the signed checkpoint covers {covered} (lgsp audit verify checks each)",
        vi=f"{size} mục nhật ký; điểm chốt có chữ ký bao trùm {covered} mục (lgsp audit verify kiểm chứng từng mục)",
    )


async def _witness(settings: Settings, kept: Kept) -> Finding:
    """Return whether somebody outside co-signs the log, and did so lately: a running gateway has it done every minute at least."""
    if not settings.witness.url:
        return Finding(
            state="warning",
            en="no witness co-signs the log: whoever holds this machine and the log's key could cut off its end unseen",
            vi="không có nhân chứng đồng ký nhật ký: ai giữ máy này và khóa nhật ký có thể cắt phần cuối mà không ai biết",
            mend_en="name one under [witness] in lgsp.toml (docs/operations.md, section 7)",
            mend_vi="hãy khai báo tại [witness] trong lgsp.toml (docs/vi/operations.md, mục 7)",
        )
    log, witness = read_trust(DataFolder(root=settings.data).trust).log, settings.witness.key()
    cosigned = await kept.store.cosigned()
    try:
        size = checkpoint.open_checkpoint(cosigned, log, [witness]).size
        [signature] = notes.open_note(cosigned, [witness]).signatures
    except NoteInvalid:
        return Finding(
            state="warning",
            en=f"the witness {witness.name} has not co-signed this log yet",
            vi=f"nhân chứng {witness.name} chưa đồng ký nhật ký này",
            mend_en="start the gateway, and give the log of trust.json to those who run the witness",
            mend_vi="hãy khởi động cổng và đưa log trong trust.json cho bên vận hành nhân chứng",
        )
    ago = timedelta(seconds=int(SystemClock().now().timestamp()) - (signature.time or 0))
    is_old = ago >= LIMITS.witness_alarm
    return Finding(
        state="warning" if is_old else "ok",
        en=f"the witness {witness.name} has co-signed {size} entries, {ago} ago",
        vi=f"nhân chứng {witness.name} đã đồng ký {size} mục, cách đây {ago}",
        mend_en="start the gateway, or look at the way to the witness: url, ca and vkey" if is_old else "",
        mend_vi="hãy khởi động cổng, hoặc xem đường tới nhân chứng: url, ca và vkey" if is_old else "",
    )
