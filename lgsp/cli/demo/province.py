"""The made-up province of the demo: its data folder, its systems with their keys and settings, its signed directory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

from lgsp import keyfiles
from lgsp.cli.demo.refusals import Sender
from lgsp.cli.directory import file
from lgsp.cli.founding import Founding, Storage, found
from lgsp.cli.gateway_door import publish
from lgsp.cli.kept import open_kept
from lgsp.cli.keys.commands import make_key
from lgsp.cli.keys.policy import read_policy
from lgsp.cli.reach import Reach
from lgsp.cli.registrar import draw_plan, sign_plan
from lgsp.cli.systems import make_system
from lgsp.config import Settings
from lgsp.datafolder import DataFolder, read_trust
from lgsp.domain import names, notes
from lgsp.errors import Unusable
from lgsp.machine import SystemClock
from lgsp.privateserver import free_port

BUS: Final = "urn:lgsp:bus:91"
GATEWAY: Final = "urn:lgsp:bus:91:gw:a"
ORIGIN: Final = "lgsp.example.vn/91/2026"
RECORDS: Final = Path(__file__).parents[3] / "adapters" / "province.toml"
SYSTEMS: Final[Mapping[str, str]] = {
    "vnfishbase": "H01.12/vnfishbase",
    "police": "H01.21/police",
    "one_stop": "H01.31/one-stop",
    "ndxp": "H01.05/ndxp",
    "ioc": "H01.02/ioc",
    "stranger": "H01.05/stranger",
}
"""Adapter -> system. The stranger is registered and holds a key, but no grant: it is there to be refused."""
ADAPTERS: Final = ("police", "ndxp", "ioc", "one_stop")
"""The systems that run before the fisheries begin."""
WITNESSED: Final = """
# The log's witness: it co-signs each checkpoint that continues what it has seen before.
[witness]
url = {url}
vkey = {vkey}
"""
FISHERIES: Final = "vnfishbase"
CENTRE: Final = "ioc"


@dataclass(frozen=True, slots=True, kw_only=True)
class Province:
    """A province that is ready to run."""

    folder: DataFolder
    url: str
    fisheries: Sender
    one_stop: Sender
    stranger: Sender

    @classmethod
    async def make(
        cls, data: Path, *, seed: int, vessels: int, lookups: int, every_ms: int, database: str = ""
    ) -> Self:
        """Make the data folder in `data`, its ledger in the database at an address or in a file; refuse as `file_exists` when something is there."""
        folder = DataFolder(root=data)
        founding = Founding(
            bus=BUS,
            gateway=GATEWAY,
            origin=ORIGIN,
            port=free_port(),
            storage=Storage.POSTGRESQL if database else Storage.SQLITE,
            storage_url=database,
        )
        if not await asyncio.to_thread(found, folder, founding):
            raise Unusable("file_exists", f"{data}")
        url = f"http://127.0.0.1:{founding.port}"
        made_up = {"seed": seed, "count": vessels}
        settings = {
            "vnfishbase": made_up,
            "police": made_up,
            "one_stop": {**made_up, "lookups": lookups, "every_ms": every_ms},
        }
        for adapter, short in SYSTEMS.items():
            _make_system(folder, short, url, settings.get(adapter, {}))
        await _publish(folder)
        return cls.at(data, url)

    @classmethod
    def at(cls, data: Path, url: str) -> Self:
        """Return the province that was made in `data` and whose gateway listens at `url`."""
        folder = DataFolder(root=data)
        return cls(
            folder=folder,
            url=url,
            fisheries=_sender(folder, "vnfishbase", procedure="1.004359", officer="7f3a91"),
            one_stop=_sender(folder, "one_stop", procedure="1.001612", officer="5c20d4"),
            stranger=_sender(folder, "stranger", procedure="1.001612", officer="5c20d4"),
        )

    @property
    def log_key(self) -> str:
        """The log's public key in its text form, for whoever co-signs."""
        return notes.format_vkey(read_trust(self.folder.trust).log)

    def name_witness(self, url: str, vkey: str) -> None:
        """Have the gateway's settings name who co-signs the log, and `trust.json` demand that signature of evidence."""
        with self.folder.settings.open("a", encoding="utf-8") as file:
            file.write(WITNESSED.format(url=json.dumps(url), vkey=json.dumps(vkey)))
        trust = replace(read_trust(self.folder.trust), witnesses=(notes.parse_vkey(vkey),))
        self.folder.trust.write_bytes(trust.encoded())

    def settings_file(self, adapter: str) -> Path:
        """Return the settings file of an adapter's system."""
        return self.folder.system(names.system_urn(SYSTEMS[adapter])) / "system.toml"


def _make_system(folder: DataFolder, short: str, url: str, settings: Mapping[str, int]) -> None:
    urn = names.system_urn(short)
    key = make_key(read_policy(), "system", None)
    make_system(folder.system(urn), urn, read_trust(folder.trust), url, key)
    if settings:
        table = "\n[settings]\n" + "".join(f"{name} = {value}\n" for name, value in settings.items())
        with (folder.system(urn) / "system.toml").open("a", encoding="utf-8") as file:
            file.write(table)


async def _publish(folder: DataFolder) -> None:
    """Register the province and the systems' keys, signed by the registrar, as `lgsp directory apply` does."""
    settings = Settings.load(folder.root)
    written = file.read_file(RECORDS)
    wanted = replace(written, stated=(*written.stated, *_stranger(), *_keys(folder)))
    async with open_kept(settings) as kept:
        plan = draw_plan(kept.directory, wanted, kept.documents, read_policy())
    sealed = sign_plan(plan, keyfiles.read_private(folder.registrar_key), SystemClock().now())
    await publish(Reach(data=folder.root), sealed, "demo", command="lgsp demo")


def _stranger() -> Sequence[dict[str, Any]]:
    return ({"kind": "system", "id": names.system_urn(SYSTEMS["stranger"]), "name": "A system without grants"},)


def _keys(folder: DataFolder) -> list[dict[str, Any]]:
    return [
        {
            "kind": "key",
            "owner": urn,
            "role": "system",
            "jwk": json.loads((folder.system(urn) / "key.jwk").read_text("utf-8")),
        }
        for urn in map(names.system_urn, SYSTEMS.values())
    ]


def _sender(folder: DataFolder, adapter: str, *, procedure: str, officer: str) -> Sender:
    urn = names.system_urn(SYSTEMS[adapter])
    key = keyfiles.read_private(folder.system(urn) / "key.pem")
    return Sender(urn=urn, key=key, procedure=procedure, officer=officer)
