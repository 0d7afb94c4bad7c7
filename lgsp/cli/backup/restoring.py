"""Restore a backup into a data folder or database that holds no ledger: all of it, or nothing that a gateway would start on.

Settings and keys come first, each only where none stands; the ledger comes last, in one step. Before that the copy's log gets an entry which
says that it was restored, at which size, and how large the log is known to have been.

A log that is restored at a smaller size than it had gives the same numbers to other entries, under the same name and key. Nothing here can
undo that: it is stated, it has to be asked for, and it is written down.
"""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from lgsp import datafolder, keyfiles, ledgers
from lgsp.cli.backup import checking, folder
from lgsp.cli.backup.checking import Checked
from lgsp.cli.files import read_text
from lgsp.config import FILE, Settings
from lgsp.datafolder import FOLDER_MODE, DataFolder
from lgsp.domain.entries import check_reason, draft
from lgsp.errors import Refusal, Unusable, not_usable
from lgsp.machine import SystemClock, sync

WORK = ".restore"


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What was restored: entries of the backup, and the size that the log is known to have had, 0 when nothing is known."""

    entries: int
    given_out: int
    directory: int
    witness: str
    """Name of the witness that the settings name, "" for none."""


async def restore(
    backup: Path, data: Path, checked: Checked, *, given_out: int, accept_loss: bool, reason: str
) -> Restored:
    """Make a backup that was checked the ledger of `data`.

    Refuses as `loss_unconfirmed` unless the loss is accepted or evidence shows that nothing is known to be missing; as `file_exists` where a
    ledger is; as `config_invalid` settings of another bus, log or key; as `keys_elsewhere` or `ledger_elsewhere` settings out of the backup that
    would have something written outside the data folder.
    """
    check_reason(reason)
    size = checked.verdict.size
    if not accept_loss and given_out != size:
        raise Unusable("loss_unconfirmed", _words(size, given_out))
    root = DataFolder(root=data)
    folder.make_private(data)
    with datafolder.hold(root, command="lgsp backup restore"), ExitStack() as undoing:
        settings = _settle_files(backup, root, checked, undoing)
        await _refuse_ledger(settings)
        work = _work_beside(settings)
        shutil.rmtree(work, ignore_errors=True)
        _make_work(work)
        try:
            await _make_ready(backup, work / folder.LEDGER, settings, checked, given_out, reason)
            await _place(work / folder.LEDGER, settings, undoing)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    witness = settings.witness.key().name if settings.witness.vkey else ""
    return Restored(entries=size, given_out=given_out, directory=checked.verdict.versions, witness=witness)


def _words(size: int, given_out: int) -> str:
    if given_out > size:
        return (
            f"the log is known to have had {given_out} entries and the backup has {size}: "
            f"entries {size} to {given_out - 1} would no longer be provable"
        )
    return f"nothing shows that the log had no more than the {size} entries of the backup"


def _settle_files(backup: Path, root: DataFolder, checked: Checked, undoing: ExitStack) -> Settings:
    """Bring settings, trust file and keys where none stand, and return the settings; refuse those that do not fit the backup."""

    def bring(place: str, target: Path) -> None:
        beside = target.with_name(f".{target.name}.restore")
        beside.unlink(missing_ok=True)  # of a command that was stopped
        undoing.callback(beside.unlink, missing_ok=True)
        folder.copy_private(backup / place, beside)
        sync(beside)
        beside.rename(target)
        undoing.callback(target.unlink)
        sync(target.parent)

    settings = Settings.load(root.root) if root.settings.exists() else _bring_settings(backup, root, checked, bring)
    if (settings.bus.urn, settings.bus.log) != (checked.trust.bus, checked.trust.log.name):
        raise Unusable("config_invalid", f"{root.root / FILE}: is of another bus or log than the backup")
    if not root.trust.exists():
        bring(folder.TRUST, root.trust)
    for name, place in folder.KEYS.items():
        path = getattr(settings.keys, name)
        if not path.exists() and checked.manifest.keys:
            bring(place, path)
    if keyfiles.read_private(settings.keys.log).public.x != checked.trust.log.public:
        raise Unusable("config_invalid", f"{settings.keys.log}: is not the key that signed the log of the backup")
    for path in (settings.keys.gateway, settings.keys.body, settings.keys.subject):
        keyfiles.check_safe(path)
    return settings


def _bring_settings(backup: Path, root: DataFolder, checked: Checked, bring: Callable[[str, Path], None]) -> Settings:
    """Bring the settings of a backup and return them; refuse those that have anything written outside the data folder."""
    if not checked.manifest.keys:
        raise Unusable("data_missing", f"{root.settings}: the backup holds no settings and keys; bring them back first")
    _refuse_keys_elsewhere(backup)
    bring(folder.SETTINGS, root.settings)
    settings = Settings.load(root.root)
    _refuse_ledger_elsewhere(settings)
    return settings


def _refuse_keys_elsewhere(backup: Path) -> None:
    """Refuse (`keys_elsewhere`) settings of a backup that would have keys written to places outside the data folder."""
    try:
        written = tomllib.loads(read_text(backup / folder.SETTINGS)).get("keys")
    except tomllib.TOMLDecodeError as error:
        raise Unusable("config_invalid", f"{backup / folder.SETTINGS}: {error}") from None
    places = {name: Path(str(written[name])) for name in folder.KEYS if isinstance(written, dict) and name in written}
    outside = [f"keys.{name} = {place}" for name, place in places.items() if place.is_absolute() or ".." in place.parts]
    if outside:
        raise Unusable("keys_elsewhere", "\n".join(outside))


def _refuse_ledger_elsewhere(settings: Settings) -> None:
    """Refuse (`ledger_elsewhere`) settings out of a backup that would have the ledger written outside the data folder; the environment may say so."""
    storage = settings.storage
    stated_here = storage.kind == "postgresql" or settings.origins()["storage.path"] != FILE
    if not stated_here and not storage.path.resolve().is_relative_to(settings.data.resolve()):
        raise Unusable("ledger_elsewhere", f"storage.path = {storage.path}")


def _work_beside(settings: Settings) -> Path:
    """Return where the copy is made ready: beside the ledger's file, on whose disk it has to lie to become it by a rename."""
    storage = settings.storage
    return (
        settings.data / WORK if storage.kind == "postgresql" else storage.path.with_name(f".{storage.path.name}{WORK}")
    )


def _make_work(work: Path) -> None:
    """Make the folder; not those above: one that is missing may be a disk that is not there now."""
    try:
        work.mkdir(mode=FOLDER_MODE)
    except OSError as error:
        raise not_usable(work.parent, error) from None


async def _refuse_ledger(settings: Settings) -> None:
    try:
        present = await ledgers.ledger_form(settings) is not None
    except Refusal as refusal:
        if refusal.code != "data_unusable":
            raise
        present = True  # a file is there, whatever it is
    if present:
        where = settings.storage.path if settings.storage.kind == "sqlite" else "the database"
        raise Unusable("file_exists", f"{where}: a ledger is there already; nothing was changed")


async def _make_ready(
    backup: Path, copy: Path, settings: Settings, checked: Checked, given_out: int, reason: str
) -> None:
    folder.copy_private(backup / folder.LEDGER, copy)
    if folder.part_of(copy.parent, copy.name) != folder.part_of(backup, folder.LEDGER):
        raise Unusable("data_unusable", f"{copy}: was not written as it was read")
    size = checked.verdict.size
    entry = draft(
        "admin.log.restored",
        at=SystemClock().now(),
        bus=settings.bus.gateway,
        by="local",
        obj=f"{size}/{given_out}" if given_out > size else str(size),
        hash=checking.covering(checked.manifest),
        reason=reason,
    )
    await ledgers.note_in_copy(copy, entry)


async def _place(copy: Path, settings: Settings, undoing: ExitStack) -> None:
    """Make the copy the ledger. From then on nothing is undone, and neither where that is not known: its keys must not be taken from a ledger."""
    try:
        await ledgers.place_ledger(settings, copy)
    except BaseException as failure:
        if not await _was_placed(copy, settings, undoing):
            raise
        undoing.pop_all()
        if not isinstance(failure, Refusal):  # called off after all was done
            raise
    undoing.pop_all()


async def _was_placed(copy: Path, settings: Settings, undoing: ExitStack) -> bool:
    """Tell whether the copy is the ledger though placing it failed: the answer to COMMIT may have been lost."""
    try:
        return await ledgers.is_placed(settings, copy)
    except Refusal as refusal:
        undoing.pop_all()
        raise Unusable(
            refusal.code,
            f"{refusal.detail}: it is not known whether the ledger was written; settings and keys were left where they are. "
            "Run the command again when the database answers: [file_exists] then says that the ledger was written",
        ) from None
