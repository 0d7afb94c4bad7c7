"""Take a backup of a gateway's ledger, while the gateway runs or not."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from lgsp import keyfiles, ledgers
from lgsp.cli.backup import folder
from lgsp.cli.backup.folder import Manifest
from lgsp.config import FILE, Settings
from lgsp.datafolder import DataFolder, read_trust
from lgsp.errors import Unusable
from lgsp.machine import SystemClock


async def take(settings: Settings, target: Path, *, with_keys: bool) -> Manifest:
    """Make the backup `target` and return what it says of itself; refuse as `file_exists` or as reading the ledger does."""
    data = DataFolder(root=settings.data)
    if read_trust(data.trust).bus != settings.bus.urn:
        raise Unusable("config_invalid", f"{data.trust}: is another bus's")
    with folder.made_whole(target) as new:
        taken = SystemClock().now()
        await ledgers.copy_ledger(settings, new / folder.LEDGER)
        folder.copy_private(data.trust, new / folder.TRUST)
        if with_keys:
            _copy_secrets(settings, new)
        with ledgers.open_copy(new / folder.LEDGER) as copy:
            head = await copy.head()
            manifest = Manifest(
                taken=taken,
                bus=settings.bus.urn,
                gateway=settings.bus.gateway,
                log=settings.bus.log,
                storage=settings.storage.kind,
                form=copy.form.version,
                entries=await copy.size(),
                checkpoint=await copy.checkpoint(),
                directory=head.version if head else 0,
                keys=with_keys,
                program=metadata.version("lgsp"),
                parts=tuple(folder.part_of(new, str(path.relative_to(new))) for path in _files(new)),
            )
        (new / folder.MANIFEST).write_bytes(manifest.encoded())
    return manifest


def _files(new: Path) -> list[Path]:
    return sorted(path for path in new.rglob("*") if not path.is_dir())


def _copy_secrets(settings: Settings, new: Path) -> None:
    folder.copy_private(settings.data / FILE, new / folder.SETTINGS)
    for name, place in folder.KEYS.items():
        path = getattr(settings.keys, name)
        keyfiles.check_safe(path)
        folder.copy_private(path, new / place)
