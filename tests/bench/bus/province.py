"""The data folder of a measured gateway: founded as `lgsp init` does, with senders and receivers that the registrar has signed for."""

from __future__ import annotations

import asyncio
import itertools
import json
import secrets
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_lowercase
from typing import Any, Final

from lgsp import keyfiles
from lgsp.cli.founding import Carrier, Founding, found
from lgsp.cli.gateway_door import publish
from lgsp.cli.kept import open_kept
from lgsp.cli.keys.commands import make_key
from lgsp.cli.keys.policy import read_policy
from lgsp.cli.reach import Reach
from lgsp.cli.registrar import Wanted, draw_plan, sign_plan
from lgsp.cli.systems import make_system
from lgsp.config import Settings
from lgsp.datafolder import DataFolder, read_trust
from lgsp.domain import keys, names, strictjson
from lgsp.domain.keys import PrivateKey
from lgsp.machine import SystemClock
from tests.bench.made_up import DOCUMENT, LANE_OF, REQUESTS, SCHEMA

BUS: Final = "urn:lgsp:bus:91"
OTHER_BUS: Final = "urn:lgsp:bus:92"
"""Of a second one on the same broker, where queues are named after their bus."""
FIRST: Final = "a"
AGENCY: Final = "H01.99"
TYPES: Final = tuple(LANE_OF)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """One gateway: its data folder, where it listens, and the variables that make it another than the first."""

    data: Path
    port: int
    environment: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Province:
    """The gateways of a bus and the settings files of its systems, which are spread over them."""

    gateways: tuple[Gateway, ...]
    senders: tuple[Path, ...]
    receivers: tuple[Path, ...]


async def make(
    data: Path, *, ports: Sequence[int], transport: Carrier, senders: int, receivers: int, bus: str = BUS
) -> Province:
    """Make a province with a gateway at each of these loopback ports."""
    folder = DataFolder(root=data)
    founding = Founding(
        bus=bus, gateway=_urn(bus, FIRST), origin="lgsp.example.vn/91/2026", port=ports[0], transport=transport
    )
    if not await asyncio.to_thread(found, folder, founding):
        raise FileExistsError(data)
    sending = [f"{AGENCY}/sender-{number}" for number in range(senders)]
    receiving = [f"{AGENCY}/receiver-{number}" for number in range(receivers)]
    for short, port in zip((*receiving, *sending), itertools.cycle(reversed(ports))):
        _make_system(folder, short, f"http://127.0.0.1:{port}")
    further = dict(zip(ascii_lowercase[1:], ports[1:], strict=False))
    made = {name: _write_gateway_key(folder, name) for name in further}
    await _publish(folder, [*_records(folder, sending, receiving), *(_key_record(bus, *each) for each in made.items())])
    first = Gateway(data=data, port=ports[0], environment={})
    return Province(
        gateways=(first, *(_copy(folder, bus, name, port) for name, port in further.items())),
        senders=tuple(_settings_file(folder, short) for short in sending),
        receivers=tuple(_settings_file(folder, short) for short in receiving),
    )


def _urn(bus: str, name: str) -> str:
    return f"{bus}:gw:{name}"


def _key_file(name: str) -> str:
    return f"keys/gateway-{name}.pem"


def _write_gateway_key(folder: DataFolder, name: str) -> PrivateKey:
    key = keys.ed25519_from_seed(secrets.token_bytes(32))
    keyfiles.write_private(folder.root / _key_file(name), key)
    return key


def _key_record(bus: str, name: str, key: PrivateKey) -> dict[str, Any]:
    return {"kind": "key", "owner": _urn(bus, name), "role": "gateway", "jwk": key.public.jwk}


def _copy(folder: DataFolder, bus: str, name: str, port: int) -> Gateway:
    """Give a further gateway a folder of its own; what all gateways of a bus share is the same there."""
    data = folder.root.with_name(f"{folder.root.name}-{name}")
    shutil.copytree(folder.root, data, ignore=shutil.ignore_patterns("*.sqlite*", "lock", "*.sock"))
    told = {"LGSP_BUS__GATEWAY": _urn(bus, name), "LGSP_KEYS__GATEWAY": _key_file(name), "LGSP_HTTP__PORT": str(port)}
    return Gateway(data=data, port=port, environment=told)


def _settings_file(folder: DataFolder, short: str) -> Path:
    return folder.system(names.system_urn(short)) / "system.toml"


def _make_system(folder: DataFolder, short: str, url: str) -> None:
    urn = names.system_urn(short)
    key = make_key(read_policy(), "system", None)
    make_system(folder.system(urn), urn, read_trust(folder.trust), url, key)


async def _publish(folder: DataFolder, records: Sequence[dict[str, Any]]) -> None:
    settings = Settings.load(folder.root, {"transport.kind": "embedded"})
    wanted = Wanted(stated=tuple(records), documents={SCHEMA: strictjson.compact(DOCUMENT)})
    async with open_kept(settings) as kept:
        plan = draw_plan(kept.directory, wanted, kept.documents, read_policy())
    sealed = sign_plan(plan, keyfiles.read_private(folder.registrar_key), SystemClock().now())
    await publish(Reach(data=folder.root), sealed, "bench", command="bench")


def _records(folder: DataFolder, senders: list[str], receivers: list[str]) -> Iterable[dict[str, Any]]:
    yield {"kind": "agency", "id": names.agency_urn(AGENCY)}
    yield {"kind": "schema", "id": SCHEMA}
    for type_ in TYPES:
        replies = {"reply_schemas": [SCHEMA], "reply_within": 3600} if type_ in REQUESTS else {}
        yield {"kind": "service", "id": type_, "name": "Notes", "schemas": [SCHEMA], "lane": LANE_OF[type_], **replies}
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
