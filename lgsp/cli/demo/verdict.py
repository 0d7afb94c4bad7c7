"""The last act: the log as an outsider checks it, from the files of a gateway that has stopped."""

from __future__ import annotations

import base64
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lgsp.bus.evidence import Prover
from lgsp.cli.kept import open_kept
from lgsp.cli.log_checks import log
from lgsp.cli.log_checks.log import CoSigners
from lgsp.config import Settings
from lgsp.datafolder import DataFolder, Trust, read_trust
from lgsp.domain import evidence, evidence_checks, strictjson
from lgsp.domain.checkpoint import open_checkpoint
from lgsp.domain.evidence_checks import Pins
from lgsp.domain.notes import NoteInvalid
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
    witnessed: int
    """How many entries the witness has co-signed; 0 where its signature is not there or does not hold."""
    bundle_verified: bool
    """Whether the evidence of one exchange passes every check, the witness's signature among them."""
    bundle_file: Path
    seconds: float

    @property
    def verified(self) -> bool:
        """Whether the whole log, the witness's signature and the exported evidence verify."""
        return not self.finding and self.witnessed > 0 and self.bundle_verified


async def verify(data: Path) -> Verdict:
    """Check the whole log of a data folder and its witness's signature, export the evidence of one exchange and check that too."""
    begun = time.monotonic()
    trust = read_trust(DataFolder(root=data).trust)
    async with open_kept(Settings.load(data)) as kept:
        witnesses = CoSigners(known=trust.witnesses, wanted=bool(trust.witnesses))
        found = await log.audit(
            kept.store, bus=trust.bus, registrar=trust.registrar, log=trust.log, witnesses=witnesses
        )
        events, last = await _count(kept.store, found.size)
        bundle_file = data / "evidence.json"
        proven = await _prove(kept.store, last, trust, bundle_file)
        witnessed = witnessed_size(await kept.store.cosigned(), trust)
    return Verdict(
        size=found.size,
        root=base64.b64encode(found.root).decode(),
        exchanges=events["msg.accepted"],
        refused=events["msg.rejected"] + events["edge.refused"],
        finding=found.finding.words if found.finding else "",
        witnessed=witnessed,
        bundle_verified=proven,
        bundle_file=bundle_file,
        seconds=time.monotonic() - begun,
    )


async def _count(store: Store, size: int) -> tuple[Counter[str], str]:
    """Return how often each thing happened, and the env hash of the last accepted envelope that is no reply."""
    events: Counter[str] = Counter()
    last = ""
    for start in range(0, size, AT_ONCE):
        for entry in await store.entries(start, min(size, start + AT_ONCE)):
            members = strictjson.parse_object(entry)
            events[members["ev"]] += int(members.get("n", 1))
            last = _asked(members) or last
    return events, last


def _asked(members: dict[str, Any]) -> str:
    return str(members["env"]) if members["ev"] == "msg.accepted" and "cause" not in members else ""


def witnessed_size(cosigned: str, trust: Trust) -> int:
    """Return how many entries log and witness have signed for; that their root is the log's is what the audit compares."""
    try:
        return open_checkpoint(cosigned, trust.log, trust.witnesses).size if trust.witnesses else 0
    except NoteInvalid:
        return 0


async def _prove(store: Store, env: str, trust: Trust, file: Path) -> bool:
    """Export the evidence of one exchange, as `lgsp audit prove` does, and check what stands in the file."""
    bundle = await Prover(store=store, bus=trust.bus, registrar=trust.registrar).bundle(env)
    pins = Pins(bus=trust.bus, registrar=trust.registrar, log=trust.log, witnesses=trust.witnesses)
    return evidence_checks.verify(_exported(evidence.encode(bundle), file), pins).failure is None


def _exported(data: bytes, file: Path) -> bytes:
    """Write the bundle and return what stands in the file."""
    file.write_bytes(data)
    return file.read_bytes()
