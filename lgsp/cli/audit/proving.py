"""`lgsp audit prove`: the evidence of a whole exchange, or the proof of one entry, from a data folder or from a gateway elsewhere.

What comes out is checked as an outsider would before it is written.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from lgsp import keyfiles
from lgsp.bus.evidence import Prover
from lgsp.bus.logtree import LogTree
from lgsp.cli.files import write_bytes, write_secretly, write_text
from lgsp.cli.gateway_door import ask
from lgsp.cli.kept import open_kept
from lgsp.cli.reach import Reach, reaching
from lgsp.cli.voice import voice_of
from lgsp.config import Settings
from lgsp.datafolder import Trust, read_trust
from lgsp.domain import checkpoint, evidence, evidence_checks, strictjson
from lgsp.domain.entries import check_reason
from lgsp.domain.envelope import HASH_FORM
from lgsp.domain.evidence_checks import Pins
from lgsp.domain.notes import NoteInvalid
from lgsp.errors import Ending, Refusal, Unusable
from lgsp.ports.store import Store

COMMAND: Final = "lgsp audit prove"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """Of which exchange evidence is wanted, and why with bodies; without a reason they are left out."""

    env: str
    reason: str | None


@reaching
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
    reach: Reach,
) -> None:
    """Export the evidence of a whole exchange, or the proof of one entry | xuất chứng cứ của một trao đổi, hoặc của một mục."""
    voice = voice_of(context)
    if HASH_FORM.fullmatch(entry):
        wanted = _Wanted(env=entry, reason=_stated(reason) if with_body else None)
        bundle = asyncio.run(_bundle(reach, wanted))
        (write_secretly if with_body else write_bytes)(output, bundle)
        check = f"lgsp evidence verify {output} --trust trust.json"
    else:
        write_text(output, asyncio.run(_proof(reach, entry)))
        check = f"lgsp audit check {output} --trust trust.json"
    voice.tell(
        f"wrote {output}; anyone checks it with: {check}",
        f"đã ghi {output}; bất kỳ ai cũng kiểm tra được bằng: {check}",
    )


def _stated(reason: str | None) -> str:
    if reason is None:
        raise Unusable("bad_request", "--with-body goes with --reason: the log notes who read the bodies, and why")
    return check_reason(reason)


# --- an exchange ------------------------------------------------------------------------------------------------------------------------


async def _bundle(reach: Reach, wanted: _Wanted) -> bytes:
    """Return a bundle that an outsider will find sound; refuse (`log_broken`) to give out another."""
    trust = read_trust(reach.folder.trust if reach.url is None else reach.trust)
    found = await (_made(reach, trust, wanted) if reach.url is None else _fetched(reach, wanted))
    failure = evidence_checks.verify(found, Pins(bus=trust.bus, registrar=trust.registrar, log=trust.log)).failure
    if failure is not None:
        raise Unusable("log_broken", f"{failure.part} {failure.name}: {failure.words}".strip(), exit_code=Ending.BROKEN)
    return found


async def _made(reach: Reach, trust: Trust, wanted: _Wanted) -> bytes:
    """Read the ledger beside the gateway; of bodies the log tells before they are read."""
    settings, wrap = Settings.load(reach.data), None
    if wanted.reason is not None:
        asked = {"env": wanted.env, "reason": wanted.reason}
        await ask(reach, "POST", "/admin/evidence/body", asked, command=COMMAND)
        wrap = keyfiles.read_secret(settings.keys.body)
    async with open_kept(settings) as kept:
        prover = Prover(store=kept.store, bus=trust.bus, registrar=trust.registrar, wrap=wrap)
        return evidence.encode(await prover.bundle(wanted.env))


async def _fetched(reach: Reach, wanted: _Wanted) -> bytes:
    path = f"/v1/evidence/{wanted.env}"
    if wanted.reason is None:
        return await ask(reach, "GET", path, command=COMMAND)
    return await ask(reach, "POST", path, {"reason": wanted.reason}, command=COMMAND)


# --- one entry --------------------------------------------------------------------------------------------------------------------------


async def _proof(reach: Reach, entry: str) -> str:
    if not (entry.isascii() and entry.isdigit()):
        raise Unusable("bad_request", "an entry is named by its index, an exchange by an env hash like sha-256:…")
    index = int(entry)
    return await (_made_proof(reach, index) if reach.url is None else _fetched_proof(reach, index))


async def _made_proof(reach: Reach, index: int) -> str:
    async with open_kept(Settings.load(reach.data)) as kept:
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


async def _fetched_proof(reach: Reach, index: int) -> str:
    """Have an auditor read the entry, and put it into the proof that the gateway gives to anyone."""
    path = f"/v1/audit/entries?limit=1&start={index}&stop={index + 1}"
    answer = strictjson.parse_object(await ask(reach, "GET", path, command=COMMAND))
    proof = (await ask(reach, "GET", f"/v1/audit/proof?index={index}", command=COMMAND)).decode("utf-8", "replace")
    try:
        leaf_bytes = str(answer["entries"][0]).encode()
        checkpoint.verify_proof(proof, leaf_bytes, read_trust(reach.trust).log)
        parsed = checkpoint.parse_proof(proof)
    except (LookupError, TypeError, NoteInvalid) as error:
        raise Unusable("log_broken", f"what the gateway gave does not hold: {error}", exit_code=Ending.BROKEN) from None
    return checkpoint.format_proof(index, parsed.path, parsed.checkpoint, leaf_bytes)
