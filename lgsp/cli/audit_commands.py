"""`lgsp audit`: verify the whole log, search it, export the proof of one entry, check such a proof anywhere."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Final

import typer

from lgsp.bus.logtree import LogTree
from lgsp.cli.audit_search import search
from lgsp.cli.files import read_bytes, read_text, write_text
from lgsp.cli.gateway_door import open_kept
from lgsp.cli.log_audit import Verdict, audit
from lgsp.cli.options import DEFAULT_DATA, Data
from lgsp.cli.voice import Voice, voice_of
from lgsp.config import Settings
from lgsp.datafolder import DataFolder, Trust, read_trust
from lgsp.domain import base64url, checkpoint, statements, strictjson
from lgsp.domain.envelope import HASH_FORM
from lgsp.domain.notes import NoteInvalid, parse_vkey
from lgsp.errors import Refusal, Unusable
from lgsp.ports.store import Store

BROKEN: Final = 3
"""Exit code when the log, or a proof, does not verify: told apart from every other failure."""

commands = typer.Typer(no_args_is_help=True, help="Verify and search the log | kiểm chứng và tra cứu nhật ký")
commands.command()(search)


@commands.command()
def verify(context: typer.Context, data: Data = DEFAULT_DATA) -> None:
    """Re-hash and compare everything; exit code 3 when the log is bad | băm lại và đối chiếu toàn bộ."""
    voice = voice_of(context)
    settings = Settings.load(data)
    trust = read_trust(DataFolder(root=data).trust)
    verdict = asyncio.run(_audited(settings, trust))
    if verdict.finding is not None:
        where = "" if verdict.finding.index is None else f"index {verdict.finding.index}: "
        raise Unusable("log_broken", where + verdict.finding.words, exit_code=BROKEN)
    _tell_sound(voice, verdict)


async def _audited(settings: Settings, trust: Trust) -> Verdict:
    async with open_kept(settings) as kept:
        return await audit(kept.store, bus=settings.bus.urn, registrar=trust.registrar, log=trust.log)


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


@commands.command()
def prove(
    context: typer.Context,
    entry: Annotated[
        str, typer.Argument(metavar="ENV|INDEX", help="env hash or index of the entry | mã băm hoặc số thứ tự")
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", envvar="LGSP_OUTPUT", metavar="FILE", help="Where the proof goes | tệp kết quả"),
    ],
    data: Data = DEFAULT_DATA,
) -> None:
    """Export the proof that an entry is in the log, with the entry | xuất bằng chứng một mục nằm trong nhật ký."""
    voice = voice_of(context)
    text = asyncio.run(_proof(Settings.load(data), entry))
    write_text(output, text)
    voice.tell(
        f"wrote {output}; anyone checks it with: lgsp audit check {output} --trust trust.json",
        f"đã ghi {output}; bất kỳ ai cũng kiểm tra được bằng: lgsp audit check {output} --trust trust.json",
    )


async def _proof(settings: Settings, entry: str) -> str:
    async with open_kept(settings) as kept:
        index = await _index_of(kept.store, entry)
        note, covered = await _covering(kept.store, index)
        if not 0 <= index < covered:
            raise Refusal(
                "not_found", f"the kept checkpoint covers {covered} entries; a running gateway proves newer ones"
            )
        [leaf_bytes] = await kept.store.entries(index, index + 1)
        tree = LogTree(ledger=kept.store, nodes=kept.store)
        await tree.begin(covered)
        return checkpoint.format_proof(index, await tree.inclusion(index, covered), note, leaf_bytes)


async def _covering(store: Store, index: int) -> tuple[str, int]:
    """Return the stored checkpoint to prove an entry under and its size: the co-signed one where it covers the entry, else the kept one."""
    for note in (await store.cosigned(), await store.checkpoint()):
        size = checkpoint.parse_checkpoint(note.partition("\n\n")[0] + "\n").size if note else 0
        if index < size:
            return note, size
    return note, size


async def _index_of(store: Store, entry: str) -> int:
    if entry.isascii() and entry.isdigit():
        return int(entry)
    if HASH_FORM.fullmatch(entry) is None:
        raise Unusable("bad_request", "an entry is named by its index, or by an env hash like sha-256:…")
    exchange = await store.exchange_of(entry)
    if exchange is None:
        raise Refusal("not_found", "no accepted envelope has this hash")
    item = strictjson.parse_object(statements.from_text(exchange.receipt).item.encode())
    return int(item["index"])


@commands.command()
def check(
    context: typer.Context,
    proof: Annotated[Path, typer.Argument(metavar="FILE", help="The exported proof | tệp bằng chứng")],
    trust: Annotated[
        Path, typer.Option(envvar="LGSP_TRUST", metavar="FILE", help="trust.json of the bus | tệp trust.json của trục")
    ] = Path("trust.json"),
    entry: Annotated[
        Path | None,
        typer.Option(
            envvar="LGSP_ENTRY",
            metavar="FILE",
            help="The entry's bytes; those in the proof if not given | tệp mục nhật ký",
        ),
    ] = None,
    witness: Annotated[
        list[str] | None,
        typer.Option(
            envvar="LGSP_WITNESS_KEY",
            metavar="VKEY",
            help="Key of a witness that must have co-signed; may be repeated | khóa của nhân chứng phải có chữ ký",
        ),
    ] = None,
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
        raise Unusable("log_broken", f"{proof}: {error}", exit_code=BROKEN) from None
    voice.give(leaf_bytes.decode("utf-8", "replace"))
    voice.tell(
        f"the entry is number {parsed.index} of {found.size} in {found.origin}",
        f"mục nhật ký số {parsed.index} trong {found.size} mục của {found.origin}",
    )
