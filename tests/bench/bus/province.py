"""The data folder of a measured gateway: founded as `lgsp init` does, with senders and receivers that the registrar has signed for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lgsp import keyfiles
from lgsp.cli.founding import Carrier, Founding, found
from lgsp.cli.gateway_door import open_kept, publish
from lgsp.cli.key_commands import make_key
from lgsp.cli.key_policy import read_policy
from lgsp.cli.reach import Reach
from lgsp.cli.registrar import Wanted, draw_plan, sign_plan
from lgsp.cli.systems import make_system
from lgsp.config import Settings
from lgsp.datafolder import DataFolder, read_trust
from lgsp.domain import names, strictjson
from lgsp.machine import SystemClock
from tests.bench.made_up import ASKED, DOCUMENT, IN_BULK, ONE_WAY, SCHEMA

BUS: Final = "urn:lgsp:bus:91"
GATEWAY: Final = "urn:lgsp:bus:91:gw:a"
AGENCY: Final = "H01.99"
TYPES: Final = (ONE_WAY, IN_BULK, ASKED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Province:
    """A data folder and the settings files of its systems."""

    data: Path
    senders: tuple[Path, ...]
    receivers: tuple[Path, ...]


async def make(data: Path, *, port: int, transport: Carrier, senders: int, receivers: int) -> Province:
    """Make a province whose gateway will listen on a loopback port."""
    folder = DataFolder(root=data)
    founding = Founding(bus=BUS, gateway=GATEWAY, origin="lgsp.example.vn/91/2026", port=port, transport=transport)
    if not await asyncio.to_thread(found, folder, founding):
        raise FileExistsError(data)
    sending = [f"{AGENCY}/sender-{number}" for number in range(senders)]
    receiving = [f"{AGENCY}/receiver-{number}" for number in range(receivers)]
    for short in (*sending, *receiving):
        _make_system(folder, short, f"http://127.0.0.1:{port}")
    await _publish(folder, sending, receiving)
    return Province(
        data=data,
        senders=tuple(_settings_file(folder, short) for short in sending),
        receivers=tuple(_settings_file(folder, short) for short in receiving),
    )


def _settings_file(folder: DataFolder, short: str) -> Path:
    return folder.system(names.system_urn(short)) / "system.toml"


def _make_system(folder: DataFolder, short: str, url: str) -> None:
    urn = names.system_urn(short)
    key = make_key(read_policy(), "system", None)
    make_system(folder.system(urn), urn, read_trust(folder.trust), url, key)


async def _publish(folder: DataFolder, senders: list[str], receivers: list[str]) -> None:
    settings = Settings.load(folder.root, {"transport.kind": "embedded"})
    wanted = Wanted(
        stated=tuple(_records(folder, senders, receivers)), documents={SCHEMA: strictjson.compact(DOCUMENT)}
    )
    async with open_kept(settings) as kept:
        plan = draw_plan(kept.directory, wanted, kept.documents, read_policy())
    sealed = sign_plan(plan, keyfiles.read_private(folder.registrar_key), SystemClock().now())
    await publish(Reach(data=folder.root), sealed, "bench", command="bench")


def _records(folder: DataFolder, senders: list[str], receivers: list[str]) -> Iterable[dict[str, Any]]:
    yield {"kind": "agency", "id": names.agency_urn(AGENCY)}
    yield {"kind": "schema", "id": SCHEMA}
    for type_ in TYPES:
        replies = {"reply_schemas": [SCHEMA], "reply_within": 3600} if type_ == ASKED else {}
        lane = "event" if type_ == IN_BULK else "request"
        yield {"kind": "service", "id": type_, "name": "Notes", "schemas": [SCHEMA], "lane": lane, **replies}
    for short in (*senders, *receivers):
        consumes = list(TYPES) if short in receivers else []
        urn = names.system_urn(short)
        yield {"kind": "system", "id": urn, "name": short, "consumes": consumes}
        jwk = json.loads((folder.system(urn) / "key.jwk").read_text("utf-8"))
        yield {"kind": "key", "owner": urn, "role": "system", "jwk": jwk}
    for at, (sender, receiver, type_) in enumerate(
        (sender, receiver, type_) for sender in senders for receiver in receivers for type_ in TYPES
    ):
        yield {
            "kind": "grant",
            "id": f"notes-{at}",
            "grantee": names.system_urn(sender),
            "type": type_,
            "audience": names.system_urn(receiver),
            "basis": "a benchmark",
        }
