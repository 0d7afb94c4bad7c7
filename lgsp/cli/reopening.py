"""Go on with a log under another name, when under the old one somebody outside has seen entries that are not there any more.

Under one name there may be one root for each size, whatever the reason. So the log gets another name; the entries that are there stay where they
are, and with them every receipt for them. The first entry under the new name is `log.opened`: it quotes the last checkpoint that is known under the
old one, and says how many entries are known to be the same. What it costs the systems, and who has to be told, is in the guide.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from lgsp import app, keyfiles, ledgers
from lgsp.bus.auditor import broken
from lgsp.bus.logtree import LogTree
from lgsp.cli.files import replace_text
from lgsp.cli.log_checks.log import audit
from lgsp.cli.log_checks.static_log import place_beside, write_static
from lgsp.config import FILE, Settings
from lgsp.datafolder import DataFolder, Trust, read_trust
from lgsp.domain import base64url, merkle, notes
from lgsp.domain.checkpoint import Checkpoint, checkpoint_body, open_checkpoint
from lgsp.domain.entries import Draft, check_reason, draft
from lgsp.domain.keys import PrivateKey
from lgsp.domain.notes import NoteInvalid, NoteKey
from lgsp.domain.statements import Statement
from lgsp.errors import Defect, Unusable
from lgsp.machine import SystemClock
from lgsp.ports.anchor import AnchorAway, Cosigned, HoldsSize
from lgsp.ports.ledger import KeepCheckpoint, KeepCosigned, Note
from lgsp.ports.store import Store

COUNTED: Final = re.compile(r"(.+)/r([0-9]+)")
"""The name of a log that was reopened before."""
LOG_LINE: Final = r'(?m)^(\s*log\s*=\s*)"{}"'
"""Where the settings state the log's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reopened:
    """What was done: the quoted checkpoint, the new name, and how many first entries are known to be those under the quoted one."""

    quoted: Checkpoint
    origin: str
    known: int
    is_witnessed: bool
    """Whether a witness has co-signed the quoted checkpoint."""
    witness_says: int | None
    """What the witness has seen, None when it could not be asked."""


def next_origin(origin: str) -> str:
    """Return the name under which a log goes on: `…/r2`, then `…/r3`."""
    counted = COUNTED.fullmatch(origin)
    return f"{counted[1]}/r{int(counted[2]) + 1}" if counted else f"{origin}/r2"


async def reopen(settings: Settings, after: str, *, origin: str, reason: str) -> Reopened:
    """Give the log of these settings, on which no gateway runs, another name in the ledger, quoting the checkpoint `after`.

    Refuses as `data_locked` beside a gateway, as `log_broken` a ledger that does not verify by itself, as `bad_request` a checkpoint of another
    log or one beyond which the witness has seen more. The files of the data folder follow by `follow`.
    """
    check_reason(reason)
    if running := await ledgers.gateways_on(settings):
        raise Unusable("data_locked", f"{running} gateways run on the database; stop them all")
    trust = read_trust(DataFolder(root=settings.data).trust)
    quoted, is_witnessed = _quoted(settings, trust, after)
    async with ledgers.open_ledger(settings) as store:
        size = await _verified_size(settings, trust, store)
        says = await _ask_witness(settings, await store.checkpoint())
        if says is not None and says > quoted.size:
            raise Unusable(
                "bad_request", f"the witness has seen {says} entries: --after wants the checkpoint over them"
            )
        tree = LogTree(ledger=store, nodes=store)
        await tree.begin(size)
        known = await _known(settings, trust, store, tree, quoted)
        await _write(settings, store, tree, quoted=quoted, origin=origin, known=known, reason=reason)
    return Reopened(quoted=quoted, origin=origin, known=known, is_witnessed=is_witnessed, witness_says=says)


def _quoted(settings: Settings, trust: Trust, after: str) -> tuple[Checkpoint, bool]:
    try:
        quoted = open_checkpoint(after, trust.log)
        if not settings.witness.url:
            return quoted, False
        found = notes.open_note(after, [trust.log, settings.witness.key()])
    except NoteInvalid as error:
        raise Unusable("bad_request", f"--after: no checkpoint of {trust.log.name}: {error}") from None
    return quoted, found.is_signed_by(settings.witness.key())


async def _verified_size(settings: Settings, trust: Trust, store: Store) -> int:
    """Return how long a log is that fits everything signed about it that is here; refuse any other (`log_broken`)."""
    # Which years of evidence were moved off is known to those who did it.
    verdict = await audit(store, bus=settings.bus.urn, registrar=trust.registrar, log=trust.log, moved_off=None)
    if verdict.finding is not None:
        raise broken(f"{verdict.finding.words}; restore a backup first")
    return verdict.size


async def _ask_witness(settings: Settings, kept: str) -> int | None:
    """Return how many entries the witness has seen under the present name; None without one, or when it gives no answer."""
    try:
        async with app.witness_of(settings) as anchor:
            if anchor is None or not kept:
                return None
            answer = await anchor.add_checkpoint(0, [], kept)
    except AnchorAway:
        return None
    match answer:
        case HoldsSize(size=size):
            return size
        case Cosigned():  # it had seen nothing
            return 0
        case _:
            return None


async def _known(settings: Settings, trust: Trust, store: Store, tree: LogTree, quoted: Checkpoint) -> int:
    """Return how many first entries are sure to be those under the quoted checkpoint.

    All of them where the ledger reaches so far and has its root; else as many as the witness had co-signed here, for it co-signs one log alone.
    """
    if quoted.size <= tree.size and await tree.root_at(quoted.size) == quoted.root:
        return quoted.size
    cosigned = await store.cosigned()
    if not (cosigned and settings.witness.url):
        return 0
    try:
        return min(open_checkpoint(cosigned, trust.log, [settings.witness.key()]).size, quoted.size)
    except NoteInvalid:
        return 0


async def _write(
    settings: Settings, store: Store, tree: LogTree, *, quoted: Checkpoint, origin: str, known: int, reason: str
) -> None:
    """Append the entry and keep a checkpoint under the new name over it, in one transaction."""
    entry = draft(
        "log.opened",
        at=SystemClock().now(),
        bus=settings.bus.gateway,
        by="local",
        obj=f"{origin} after {quoted.origin} {known}/{quoted.size}",
        hash="sha-256:" + base64url.encode(quoted.root),
        reason=reason,
    )
    await _append(settings, store, tree, entry, origin)


async def _append(settings: Settings, store: Store, tree: LogTree, entry: Draft, origin: str) -> str:
    """Append an entry and keep a checkpoint under a name over it, in one transaction; return the checkpoint."""
    size = tree.size + 1
    root = tree.root_with(merkle.leaf_hash(entry.numbered(tree.size)))
    note = _signed(Checkpoint(origin=origin, size=size, root=root), keyfiles.read_private(settings.keys.log))
    kept = KeepCheckpoint(size=size, note=note, subtrees=tree.unkept())
    await store.commit([Note(entry=entry), kept], _sign_nothing)
    return note


async def close(settings: Settings, out: Path, *, reason: str) -> str:
    """End the log under its present name: append `log.closed`, have the witness co-sign, write all of it as files; return the last checkpoint.

    Refuses as `reopen` does, and as `file_exists`. Done again after it was stopped, it appends no second entry.
    """
    check_reason(reason)
    if running := await ledgers.gateways_on(settings):
        raise Unusable("data_locked", f"{running} gateways run on the database; stop them all")
    trust = read_trust(DataFolder(root=settings.data).trust)
    place_beside(out)  # before the log is closed: that cannot be taken back
    async with ledgers.open_ledger(settings) as store:
        size = await _verified_size(settings, trust, store)
        tree = LogTree(ledger=store, nodes=store)
        await tree.begin(size)
        [last] = await store.entries(size - 1, size)
        if b'"ev":"log.closed"' in last:
            note = await store.checkpoint()
        else:
            by = {"bus": settings.bus.gateway, "by": "local"}
            entry = draft("log.closed", at=SystemClock().now(), obj=settings.bus.log, reason=reason, **by)
            note = await _append(settings, store, tree, entry, settings.bus.log)
            await tree.advance(size + 1)
        note = await _cosigned(settings, trust, store, tree, note)
        await write_static(store, tree, note, tree.size, out)
    return note


async def _cosigned(settings: Settings, trust: Trust, store: Store, tree: LogTree, note: str) -> str:
    """Return a checkpoint with the witness's signature, without it where there is no witness or it gives none."""
    with suppress(AnchorAway, NoteInvalid):
        async with app.witness_of(settings) as anchor:
            if anchor is None:
                return note
            answer = await anchor.add_checkpoint(0, [], note)
            if isinstance(answer, HoldsSize) and answer.size <= tree.size:
                path = await tree.consistency(answer.size, tree.size)
                answer = await anchor.add_checkpoint(answer.size, path, note)
            if isinstance(answer, Cosigned):
                open_checkpoint(note + answer.lines, trust.log, [anchor.key])
                await store.commit([KeepCosigned(size=tree.size, note=note + answer.lines)], _sign_nothing)
                return note + answer.lines
    return note


def _signed(checkpoint: Checkpoint, key: PrivateKey) -> str:
    return notes.sign_note(checkpoint_body(checkpoint), checkpoint.origin, key.sign, key.public.x)


def _sign_nothing(items: Sequence[bytes], _version: int) -> Sequence[Statement]:
    raise Defect(f"{len(items)} receipts where none is made")


async def follow(settings: Settings) -> str:
    """Have settings and `trust.json` of a data folder name the log as the ledger's checkpoint does, and return that name.

    Refuses as `config_invalid` settings that state it elsewhere than in a line of their own, as `log_broken` a checkpoint of another key.
    """
    async with ledgers.open_ledger(settings) as store:
        note = await store.checkpoint()
    folder = DataFolder(root=settings.data)
    trust = read_trust(folder.trust)
    origin = note.partition("\n")[0] or settings.bus.log
    pinned = replace(trust, log=NoteKey(name=origin, kind=notes.LOG_KEY, public=trust.log.public))
    try:
        if note:
            open_checkpoint(note, pinned.log)
    except NoteInvalid as error:
        raise broken(f"the kept checkpoint: {error}") from None
    if settings.bus.log != origin:
        _rename(folder, settings, origin)
    if trust != pinned:
        replace_text(folder.trust, pinned.encoded().decode())
    return origin


def check_renamable(settings: Settings) -> None:
    """Refuse (`config_invalid`) settings in which the log's name cannot be changed by a command."""
    stated = settings.origins()["bus.log"]
    text = DataFolder(root=settings.data).settings.read_text(encoding="utf-8")
    if stated != FILE or len(re.findall(LOG_LINE.format(re.escape(settings.bus.log)), text)) != 1:
        raise Unusable("config_invalid", f'bus.log: write it into {FILE} as one line, log = "{settings.bus.log}"')


def _rename(folder: DataFolder, settings: Settings, origin: str) -> None:
    check_renamable(settings)
    text = folder.settings.read_text(encoding="utf-8")
    replace_text(folder.settings, re.sub(LOG_LINE.format(re.escape(settings.bus.log)), rf'\g<1>"{origin}"', text))
