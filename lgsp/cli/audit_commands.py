"""`lgsp audit`: verify the log, search it, export the evidence of one exchange or the proof of one entry, check such a proof anywhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Final

import typer

from lgsp import keyfiles
from lgsp.bus.evidence import Prover
from lgsp.bus.logtree import LogTree
from lgsp.cli import impact_commands
from lgsp.cli.audit_search import search
from lgsp.cli.audit_workers import MOST, audit_in_processes
from lgsp.cli.files import read_bytes, read_text, write_bytes, write_secretly, write_text
from lgsp.cli.gateway_door import ask, open_kept
from lgsp.cli.log_audit import Verdict
from lgsp.cli.options import DEFAULT_DATA, DEFAULT_TRUST, Data, TrustFile
from lgsp.cli.reach import Reach
from lgsp.cli.static_log import verify_static
from lgsp.cli.voice import Voice, voice_of
from lgsp.config import Settings
from lgsp.datafolder import DataFolder, Trust, read_trust
from lgsp.domain import base64url, checkpoint, evidence, evidence_checks
from lgsp.domain.entries import check_reason
from lgsp.domain.envelope import HASH_FORM
from lgsp.domain.evidence_checks import Pins
from lgsp.domain.notes import NoteInvalid, parse_vkey
from lgsp.errors import Refusal, Unusable
from lgsp.ports.store import Store

BROKEN: Final = 3
"""Exit code when the log, or a proof, does not verify: told apart from every other failure."""

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
    if folder is not None:
        _verify_files(voice, folder, trust, witness or [])
        return
    verdict = _audited(Settings.load(data), read_trust(DataFolder(root=data).trust), processes)
    if verdict.finding is not None:
        where = "" if verdict.finding.index is None else f"index {verdict.finding.index}: "
        raise Unusable("log_broken", where + verdict.finding.words, exit_code=BROKEN)
    _tell_sound(voice, verdict)


def _verify_files(voice: Voice, folder: Path, trust: Path, witnesses: list[str]) -> None:
    try:
        keys = [parse_vkey(each) for each in witnesses]
    except NoteInvalid as error:
        raise Unusable("bad_request", f"--witness: {error}") from None
    found = verify_static(folder, read_trust(trust).log, keys)
    root = base64url.encode(found.root)
    voice.give(
        voice.choose(
            f"{found.origin} verifies: {found.size} entries, root {root}",
            f"{found.origin} đúng: {found.size} mục, gốc {root}",
        )
    )


def _audited(settings: Settings, trust: Trust, processes: int | None) -> Verdict:
    @asynccontextmanager
    async def opened() -> AsyncIterator[Store]:
        async with open_kept(settings) as kept:
            yield kept.store

    bus, registrar, log = settings.bus.urn, trust.registrar, trust.log
    return audit_in_processes(opened, bus=bus, registrar=registrar, log=log, processes=processes)


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
        str,
        typer.Argument(
            metavar="ENV|INDEX", help="Env hash of an exchange, or index of an entry | mã băm phong bì, hoặc số mục"
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", envvar="LGSP_OUTPUT", metavar="FILE", help="Where the proof goes | tệp kết quả"),
    ],
    data: Data = DEFAULT_DATA,
    *,
    with_body: Annotated[
        bool,
        typer.Option(
            "--with-body", envvar="LGSP_WITH_BODY", help="With bodies still held, and --reason | kèm nội dung còn giữ"
        ),
    ] = False,
    reason: Annotated[
        str | None,
        typer.Option(envvar="LGSP_REASON", help="Why bodies are read, for the log | lý do, ghi vào nhật ký"),
    ] = None,
) -> None:
    """Export the evidence of a whole exchange, or the proof of one entry | xuất chứng cứ của một trao đổi, hoặc của một mục."""
    voice = voice_of(context)
    settings = Settings.load(data)
    if HASH_FORM.fullmatch(entry):
        if with_body:
            _note_reading(data, entry, reason)
        bundle = asyncio.run(_bundle(settings, read_trust(DataFolder(root=data).trust), entry, with_body=with_body))
        (write_secretly if with_body else write_bytes)(output, bundle)
        check = f"lgsp evidence verify {output} --trust trust.json"
    else:
        write_text(output, asyncio.run(_proof(settings, entry)))
        check = f"lgsp audit check {output} --trust trust.json"
    voice.tell(
        f"wrote {output}; anyone checks it with: {check}",
        f"đã ghi {output}; bất kỳ ai cũng kiểm tra được bằng: {check}",
    )


def _note_reading(data: Path, env: str, reason: str | None) -> None:
    """Have the log tell who reads bodies, before they are read."""
    if reason is None:
        raise Unusable("bad_request", "--with-body goes with --reason: the log notes who read the bodies, and why")
    asked = {"env": env, "reason": check_reason(reason)}
    asyncio.run(ask(Reach(data=data), "POST", "/admin/evidence/body", asked, command="lgsp audit prove"))


async def _bundle(settings: Settings, trust: Trust, env: str, *, with_body: bool) -> bytes:
    """Return a bundle that an outsider will find sound; refuse (`log_broken`) to give out another."""
    wrap = keyfiles.read_secret(settings.keys.body) if with_body else None
    async with open_kept(settings) as kept:
        prover = Prover(store=kept.store, bus=trust.bus, registrar=trust.registrar, wrap=wrap)
        found = evidence.encode(await prover.bundle(env))
    failure = evidence_checks.verify(found, Pins(bus=trust.bus, registrar=trust.registrar, log=trust.log)).failure
    if failure is not None:
        raise Unusable("log_broken", f"{failure.part} {failure.name}: {failure.words}".strip(), exit_code=BROKEN)
    return found


async def _proof(settings: Settings, entry: str) -> str:
    if not (entry.isascii() and entry.isdigit()):
        raise Unusable("bad_request", "an entry is named by its index, an exchange by an env hash like sha-256:…")
    index = int(entry)
    async with open_kept(settings) as kept:
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
        size = checkpoint.stated_size(note) if note else 0
        if index < size:
            return note, size
    return note, size


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
        raise Unusable("log_broken", f"{proof}: {error}", exit_code=BROKEN) from None
    voice.give(leaf_bytes.decode("utf-8", "replace"))
    voice.tell(
        f"the entry is number {parsed.index} of {found.size} in {found.origin}",
        f"mục nhật ký số {parsed.index} trong {found.size} mục của {found.origin}",
    )


commands.command("impact")(impact_commands.impact)
commands.command("ask-names")(impact_commands.ask_names)
commands.command("name")(impact_commands.name)
