"""Check a backup, by itself and against what is known from elsewhere: its files, its log, what was signed later.

Evidence from elsewhere is a checkpoint or a receipt of the same log, or the old ledger's file as far as it can be read. What is within the
backup's size must agree with it; what is beyond says how far the log had grown before it was lost.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lgsp import ledgers
from lgsp.cli.backup import folder
from lgsp.cli.backup.folder import Manifest
from lgsp.cli.files import read_text
from lgsp.cli.log_checks.log import Audited, Verdict, audit
from lgsp.datafolder import Trust, read_trust
from lgsp.domain import base64url, checkpoint, jws, statements, strictjson
from lgsp.domain.directory import open_directory
from lgsp.domain.keys import ROLE_SIGNS
from lgsp.domain.merkle import Frontier
from lgsp.domain.notes import NoteInvalid
from lgsp.errors import Ending, Refusal, Unusable, not_usable

LEAVES_AT_ONCE: Final = 8_192
SQLITE: Final = b"SQLite format 3\0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A backup that is what it says, with a log that verifies."""

    manifest: Manifest
    trust: Trust
    verdict: Verdict


async def check(backup: Path, pinned: Trust | None) -> Checked:
    """Return a backup that verifies under `pinned`, or under the trust file in it.

    Refuses as `backup_invalid`, as `log_broken` (exit code 3), as `data_newer` a form that only a later program knows.
    """
    manifest = folder.read_manifest(backup)
    folder.check_parts(backup, manifest)
    trust = pinned or read_trust(backup / folder.TRUST)
    if (trust.bus, trust.log.name) != (manifest.bus, manifest.log):
        raise Unusable("backup_invalid", "the backup is of another bus or log than the trust file")
    with ledgers.open_copy(backup / folder.LEDGER) as copy:
        # Which years were moved off before the copy was taken is known to those who did it.
        verdict = await audit(copy, bus=trust.bus, registrar=trust.registrar, log=trust.log, moved_off=None)
        kept, form = await copy.checkpoint(), copy.form.version
    if verdict.finding is not None:
        where = "" if verdict.finding.index is None else f"index {verdict.finding.index}: "
        raise _broken(where + verdict.finding.words)
    told = (manifest.entries, manifest.checkpoint, manifest.directory, manifest.form)
    if told != (verdict.size, kept, verdict.versions, form):
        raise Unusable("backup_invalid", "the manifest tells of another ledger than the one in the backup")
    return Checked(manifest=manifest, trust=trust, verdict=verdict)


async def given_out(backup: Path, checked: Checked, evidence: Sequence[Path]) -> int:
    """Return the largest size of the log that the evidence proves, 0 without any; refuse (`log_broken`) what contradicts the backup."""
    largest = 0
    with ledgers.open_copy(backup / folder.LEDGER) as copy:
        for path in evidence:
            if _is_ledger(path):
                largest = max(largest, await _size_of(path))
                continue
            text = read_text(path)
            found = await (
                _note(copy, checked, text) if text.startswith(checked.manifest.log) else _receipt(copy, checked, text)
            )
            if found is None:
                raise Unusable("bad_request", f"{path}: is neither a checkpoint of this log nor a receipt of this bus")
            largest = max(largest, found)
    return largest


def _is_ledger(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(SQLITE)) == SQLITE
    except OSError as error:
        raise not_usable(path, error) from None


async def _size_of(path: Path) -> int:
    """Return how many entries a ledger's file holds, one that nobody writes any more and that may be damaged."""
    with ledgers.open_copy(path) as copy:
        return await copy.size()


async def _note(copy: Audited, checked: Checked, text: str) -> int | None:
    try:
        stated = checkpoint.open_checkpoint(text, checked.trust.log)
    except NoteInvalid:
        return None
    if stated.size <= checked.verdict.size and await _root(copy, stated.size) != stated.root:
        raise _broken(
            f"a signed checkpoint over {stated.size} entries states another log: the backup is not of this one"
        )
    return stated.size


async def _root(copy: Audited, size: int) -> bytes:
    frontier = Frontier()
    for start in range(0, size, LEAVES_AT_ONCE):
        for leaf in await copy.leaves(start, min(size, start + LEAVES_AT_ONCE)):
            frontier.append(leaf)
    return frontier.root()


async def _receipt(copy: Audited, checked: Checked, text: str) -> int | None:
    """Return the size that a receipt proves; it may stand under `receipt`, as `lgsp send` prints it."""
    head = await copy.head()
    if head is None:
        return None
    keys = open_directory(head.statement, head.records, checked.trust.registrar, bus=checked.trust.bus).keys
    try:
        members = strictjson.parse_object(text.encode())
        statement = statements.from_text(json.dumps(members.get("receipt", members)))
        key = keys[statements.kid_of(statement.jws, typ=statements.RECEIPT)]
        if statements.RECEIPT not in ROLE_SIGNS[key.role]:
            return None
        item = statements.open_item(
            statement, statements.verify_signature(statement.jws, key.public, typ=statements.RECEIPT)
        )
        index, leaf = int(item["index"]), str(item["leaf"])
    except (Refusal, ValueError, KeyError, TypeError, AttributeError):
        return None
    if index < checked.verdict.size:
        [kept] = await copy.leaves(index, index + 1)
        if "sha-256:" + base64url.encode(kept) != leaf:
            raise _broken(f"a receipt states another entry at index {index}: the backup is not of this log")
    return index + 1


def covering(manifest: Manifest) -> str:
    """Return the hash of the checkpoint in a backup, nothing when it has none."""
    return jws.hash_of(manifest.checkpoint.encode()) if manifest.checkpoint else ""


def _broken(words: str) -> Unusable:
    return Unusable("log_broken", words, exit_code=Ending.BROKEN)
