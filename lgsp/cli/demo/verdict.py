"""The last act: the log as an outsider checks it, from the files of a gateway that has stopped."""

from __future__ import annotations

import base64
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lgsp.bus.logtree import LogTree
from lgsp.cli import log_audit
from lgsp.cli.gateway_door import open_kept
from lgsp.config import Settings
from lgsp.datafolder import DataFolder, Trust, read_trust
from lgsp.domain import checkpoint, strictjson
from lgsp.ports.store import Store

AT_ONCE: Final = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the log holds and whether it verifies; `root` in base64, as the checkpoint has it."""

    size: int
    root: str
    exchanges: int
    refused: int
    finding: str
    proof_verified: bool
    proof_file: Path
    seconds: float

    @property
    def verified(self) -> bool:
        """Whether the whole log and the exported proof verify."""
        return not self.finding and self.proof_verified


async def verify(data: Path) -> Verdict:
    """Check the whole log of a data folder, export the proof of one entry and check that too."""
    begun = time.monotonic()
    trust = read_trust(DataFolder(root=data).trust)
    async with open_kept(Settings.load(data)) as kept:
        found = await log_audit.audit(kept.store, bus=trust.bus, registrar=trust.registrar, log=trust.log)
        exchanges, refused, last = await _count(kept.store, found.size)
        proof_file = data / "proof.txt"
        proven = await _prove(kept.store, last, trust, proof_file)
    return Verdict(
        size=found.size,
        root=base64.b64encode(found.root).decode(),
        exchanges=exchanges,
        refused=refused,
        finding=found.finding.words if found.finding else "",
        proof_verified=proven,
        proof_file=proof_file,
        seconds=time.monotonic() - begun,
    )


async def _count(store: Store, size: int) -> tuple[int, int, int]:
    """Return how many exchanges were accepted, how many envelopes refused, and the index of the last acceptance."""
    events: Counter[str] = Counter()
    last = 0
    for start in range(0, size, AT_ONCE):
        for index, entry in enumerate(await store.entries(start, min(size, start + AT_ONCE)), start=start):
            members = strictjson.parse_object(entry)
            events[members["ev"]] += int(members.get("n", 1))
            last = index if members["ev"] == "msg.accepted" else last
    return events["msg.accepted"], events["msg.rejected"] + events["edge.refused"], last


async def _prove(store: Store, index: int, trust: Trust, file: Path) -> bool:
    """Export the proof of one entry, as `lgsp audit prove` does, and check what stands in the file."""
    note = await store.checkpoint()
    size = checkpoint.open_checkpoint(note, trust.log).size
    tree = LogTree(ledger=store, nodes=store)
    await tree.begin(size)
    exported = _exported(checkpoint.format_proof(index, await tree.inclusion(index, size), note), file)
    [entry] = await store.entries(index, index + 1)
    return checkpoint.verify_proof(exported, entry, trust.log).size == size


def _exported(text: str, file: Path) -> str:
    """Write the proof and return what stands in the file."""
    file.write_text(text, encoding="utf-8")
    return file.read_text(encoding="utf-8")
