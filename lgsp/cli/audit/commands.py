"""`lgsp audit`: verify the log, search it, export the evidence of one exchange or the proof of one entry, check such a proof anywhere."""

from __future__ import annotations

from collections.abc import AsyncIterator
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import typer

from lgsp.cli.audit import impact
from lgsp.cli.audit.proving import prove
from lgsp.cli.audit.searching import search
from lgsp.cli.files import read_bytes, read_text
from lgsp.cli.kept import open_kept
from lgsp.cli.log_checks.log import CoSigners, Verdict
from lgsp.cli.log_checks.processes import MOST, audit_in_processes
from lgsp.cli.log_checks.static_log import verify_static
from lgsp.cli.options import DEFAULT_DATA, DEFAULT_TRUST, Data, TrustFile
from lgsp.cli.voice import Voice, voice_of
from lgsp.config import Settings
from lgsp.datafolder import DataFolder, Trust, read_trust
from lgsp.domain import base64url, checkpoint
from lgsp.domain.notes import NoteInvalid, NoteKey, parse_vkey
from lgsp.errors import Ending, Unusable
from lgsp.ports.store import Store

Witnesses = Annotated[
    list[str] | None,
    typer.Option(
        "--witness",
        envvar="LGSP_WITNESS_KEY",
        metavar="VKEY",
        help="Key of a witness that must have co-signed; may be repeated | khóa của nhân chứng phải có chữ ký",
    ),
]

commands = typer.Typer(no_args_is_help=True, help="Verify and search the log | kiểm chứng và tra cứu nhật ký")
commands.command()(search)
commands.command()(prove)


@commands.command()
def verify(
    context: typer.Context,
    data: Data = DEFAULT_DATA,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--dir",
            envvar="LGSP_DIR",
            metavar="DIR",
            help="A closed log as files, with --trust | nhật ký đã đóng dạng tệp",
        ),
    ] = None,
    trust: Annotated[
        Path, typer.Option(envvar="LGSP_TRUST", metavar="FILE", help="With --dir: trust.json of then | cùng với --dir")
    ] = Path("trust.json"),
    witness: Witnesses = None,
    moved_off: Annotated[
        list[int] | None,
        typer.Option(
            "--moved-off",
            envvar="LGSP_MOVED_OFF",
            metavar="YEAR",
            help="A year of which the evidence of forgotten exchanges is kept elsewhere; may be repeated | năm có chứng cứ đã chuyển đi nơi khác",
        ),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(
            envvar="LGSP_PROCESSES",
            min=1,
            max=MOST,
            help="That check beside each other; by the cores and the length when not given | số tiến trình kiểm tra",
        ),
    ] = None,
) -> None:
    """Re-hash and compare everything; exit code 3 when the log is bad | băm lại và đối chiếu toàn bộ."""
    voice = voice_of(context)
    stated = _witnesses(witness or [])
    if folder is not None:
        if moved_off or processes:
            raise Unusable("bad_request", "--moved-off and --processes are for a ledger, not for files (--dir)")
        _verify_files(voice, folder, trust, stated)
        return
    trusted = read_trust(DataFolder(root=data).trust)
    verdict = _audited(Settings.load(data), trusted, stated, frozenset(moved_off or ()), processes)
    if verdict.finding is not None:
        where = "" if verdict.finding.index is None else f"index {verdict.finding.index}: "
        raise Unusable("log_broken", where + verdict.finding.words, exit_code=Ending.BROKEN)
    _tell_sound(voice, verdict)


def _witnesses(stated: list[str]) -> list[NoteKey]:
    try:
        return [parse_vkey(each) for each in stated]
    except NoteInvalid as error:
        raise Unusable("bad_request", f"--witness: {error}") from None


def _verify_files(voice: Voice, folder: Path, trust: Path, witnesses: list[NoteKey]) -> None:
    found = verify_static(folder, read_trust(trust).log, witnesses)
    root = base64url.encode(found.root)
    voice.give(
        voice.choose(
            f"{found.origin} verifies: {found.size} entries, root {root}",
            f"{found.origin} đúng: {found.size} mục, gốc {root}",
        )
    )


def _audited(
    settings: Settings, trust: Trust, stated: list[NoteKey], moved_off: AbstractSet[int], processes: int | None
) -> Verdict:
    @asynccontextmanager
    async def opened() -> AsyncIterator[Store]:
        async with open_kept(settings) as kept:
            yield kept.store

    named = [settings.witness.key()] if settings.witness.vkey else []
    return audit_in_processes(
        opened,
        bus=settings.bus.urn,
        registrar=trust.registrar,
        log=trust.log,
        witnesses=CoSigners(known=stated or [*trust.witnesses, *named], wanted=bool(stated)),
        moved_off=moved_off,
        processes=processes,
    )


def _tell_sound(voice: Voice, verdict: Verdict) -> None:
    root = base64url.encode(verdict.root)
    voice.give(
        voice.choose(
            f"the log verifies: {verdict.size} entries, root {root}",
            f"nhật ký đúng: {verdict.size} mục, gốc {root}",
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
    if verdict.bare:
        voice.give(
            voice.choose(
                f"{verdict.bare} forgotten exchanges have no receipt here: an older program kept none",
                f"{verdict.bare} trao đổi đã quên không có biên nhận ở đây: chương trình cũ không giữ",
            )
        )


@commands.command()
def check(
    context: typer.Context,
    proof: Annotated[Path, typer.Argument(metavar="FILE", help="The exported proof | tệp bằng chứng")],
    trust: TrustFile = DEFAULT_TRUST,
    entry: Annotated[
        Path | None,
        typer.Option(
            envvar="LGSP_ENTRY",
            metavar="FILE",
            help="The entry's bytes; those in the proof if not given | tệp mục nhật ký",
        ),
    ] = None,
    witness: Witnesses = None,
) -> None:
    """Check an exported proof; exit code 3 when it fails | kiểm tra bằng chứng đã xuất."""
    voice = voice_of(context)
    pinned = read_trust(trust)
    text = read_text(proof)
    try:
        parsed = checkpoint.parse_proof(text)
        leaf_bytes = read_bytes(entry) if entry else parsed.extra or b""
        found = checkpoint.verify_proof(text, leaf_bytes, pinned.log, [parse_vkey(each) for each in witness or ()])
    except NoteInvalid as error:
        raise Unusable("log_broken", f"{proof}: {error}", exit_code=Ending.BROKEN) from None
    voice.give(leaf_bytes.decode("utf-8", "replace"))
    voice.tell(
        f"the entry is number {parsed.index} of {found.size} in {found.origin}",
        f"mục nhật ký số {parsed.index} trong {found.size} mục của {found.origin}",
    )


commands.command("impact")(impact.impact)
commands.command("ask-names")(impact.ask_names)
commands.command("name")(impact.name)
