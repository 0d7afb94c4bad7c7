"""`lgsp init`: make the data folder of a gateway, whole or not at all.

Everything is made in `DIR/.new`, renamed to `DIR/.ready` when complete, and then moved up with `lgsp.toml` last: whenever the command is
stopped, running it again finishes the work or starts it anew, and a folder with `lgsp.toml` is complete. A database is outside the folder: keys
that may stand in its first directory are kept for the next try.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from lgsp import app, datafolder, keyfiles, ledgers
from lgsp.cli.keys.policy import read_policy
from lgsp.cli.options import DEFAULT_DATA, Data
from lgsp.cli.registrar import Wanted, draw_plan, sign_plan
from lgsp.cli.voice import Voice, voice_of
from lgsp.config import DEFAULT_PORT, BusSection, Settings
from lgsp.datafolder import DataFolder, Trust
from lgsp.domain import keys, names, strictjson
from lgsp.domain.directory import empty_directory, open_directory
from lgsp.domain.keys import PrivateKey, PublicKey
from lgsp.domain.notes import LOG_KEY, NoteKey
from lgsp.errors import Refusal, Unusable
from lgsp.machine import SystemClock, SystemEntropy
from lgsp.ports.directory import SignedRecords

FOLDER_MODE: Final = 0o700
SEED_BYTES: Final = 32
FOUNDING_REASON: Final = "lgsp init"

SETTINGS: Final = """\
# Settings of one gateway. The environment goes over them (LGSP_HTTP__PORT=8800), a command's flags over both; `lgsp doctor` shows them all.
# Cấu hình của một cổng. Biến môi trường (LGSP_HTTP__PORT=8800) được ưu tiên hơn, tham số lệnh ưu tiên nhất; xem tất cả bằng `lgsp doctor`.

[bus]
urn = {bus}
gateway = {gateway}
log = {origin}

[http]
host = "127.0.0.1"
port = {port}

[storage]
{storage}

[keys]
gateway = {gateway_key}
log = "keys/log.pem"
body = "keys/body.key"
subject = "keys/subject.key"

# The registrar's public key: a directory signed by any other is refused.
# Khóa công khai của bộ phận quản lý danh bạ: danh bạ do khóa khác ký sẽ bị từ chối.
[keys.registrar]
{registrar}
"""
ON_A_BROKER: Final = """\

# RabbitMQ carries deliveries. Its url holds a password: give it as LGSP_TRANSPORT__URL, or write it here
# (url = "amqps://name:password@host/vhost") and keep this file to yourself (chmod 600).
# RabbitMQ chuyển thông điệp. url có mật khẩu: hãy đặt qua LGSP_TRANSPORT__URL, hoặc ghi ở đây và giữ kín tệp này (chmod 600).
[transport]
kind = "rabbitmq"
"""
IN_A_FILE: Final = 'path = "bus.sqlite"'
IN_A_DATABASE: Final = """\
# The url of the database holds a password: give it as LGSP_STORAGE__URL, or write it here
# (url = "postgresql://name:password@host/database") and keep this file to yourself (chmod 600).
# url có mật khẩu: hãy đặt qua LGSP_STORAGE__URL, hoặc ghi ở đây và giữ kín tệp này (chmod 600).
kind = "postgresql"\
"""
OCCUPIED: Final = (
    "the database holds tables already, and they are not what a stopped `lgsp init` of this folder left: name an empty database. "
    "Only if no bus uses it, and no folder with its keys is left: drop that database, create it anew, and run the command again"
)
REGISTRAR_README: Final = """\
registrar.pem is the registrar's private key. Move it off this machine (a removable disk in a safe), and give its path with --registrar when
a directory is signed. Whoever has it decides who may ask what of whom.

registrar.pem là khóa riêng của bộ phận quản lý danh bạ. Hãy chuyển khỏi máy này (ổ rời cất trong két) và chỉ đường dẫn bằng --registrar
khi ký danh bạ. Ai giữ khóa này quyết định ai được hỏi ai điều gì.
"""


class Carrier(StrEnum):
    """What carries deliveries."""

    EMBEDDED = "embedded"
    RABBITMQ = "rabbitmq"


class Storage(StrEnum):
    """What keeps the ledger."""

    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"


@dataclass(frozen=True, slots=True, kw_only=True)
class Founding:
    """What is founded: names of bus, gateway and log, and where it will listen."""

    bus: str
    gateway: str
    origin: str
    port: int
    transport: Carrier = Carrier.EMBEDDED
    storage: Storage = Storage.SQLITE
    storage_url: str = ""
    transport_url: str = ""
    """Addresses that are to stand in the settings; empty where the environment gives them."""
    inbox_bytes: int | None = None
    """What an inbox may hold, where it is not the usual."""

    @property
    def gateway_key(self) -> str:
        """The file of the gateway's key, in the data folder."""
        return f"keys/gateway-{self.gateway.rpartition(':')[2]}.pem"


def init(
    context: typer.Context,
    data: Data = DEFAULT_DATA,
    province: Annotated[str, typer.Option(envvar="LGSP_PROVINCE", help="Province code | mã tỉnh")] = "91",
    gateway: Annotated[str, typer.Option(envvar="LGSP_GATEWAY", help="Name of the gateway | tên cổng")] = "a",
    origin: Annotated[
        str,
        typer.Option(
            envvar="LGSP_ORIGIN", help="Origin of the log; lgsp.example.vn/PROVINCE/YEAR if not given | tên nhật ký"
        ),
    ] = "",
    port: Annotated[
        int, typer.Option(envvar="LGSP_PORT", min=0, max=65_535, help="Where it will listen | cổng mạng")
    ] = DEFAULT_PORT,
    transport: Annotated[
        Carrier,
        typer.Option(envvar="LGSP_TRANSPORT__KIND", help="What carries deliveries | bên chuyển thông điệp"),
    ] = Carrier.EMBEDDED,
    storage: Annotated[
        Storage,
        typer.Option(envvar="LGSP_STORAGE__KIND", help="What keeps the ledger | nơi giữ sổ cái"),
    ] = Storage.SQLITE,
) -> None:
    """Make a data folder: keys, settings, first signed directory | tạo thư mục dữ liệu: khóa, cấu hình, danh bạ đầu tiên."""
    voice = voice_of(context)
    year = SystemClock().now().year
    founding = Founding(
        bus=f"urn:lgsp:bus:{province}",
        gateway=f"urn:lgsp:bus:{province}:gw:{gateway}",
        origin=origin or f"lgsp.example.vn/{province}/{year}",
        port=port,
        transport=transport,
        storage=storage,
    )
    _check_names(founding)
    if found(DataFolder(root=data), founding):
        _tell_made(voice, data, founding)
    else:
        voice.tell(
            f"{data} is a data folder already; nothing was changed", f"{data} đã là thư mục dữ liệu; không thay đổi gì"
        )


def _check_names(founding: Founding) -> None:
    problems = []
    if names.BUS_FORM.fullmatch(founding.bus) is None:
        problems.append("--province is two digits, like 91")
    elif names.GATEWAY_FORM.fullmatch(founding.gateway) is None:
        problems.append("--gateway is of a-z, 0-9 and -, like a")
    if not is_origin(founding.origin):
        problems.append("--origin is 3 to 120 of a-z, 0-9, dot, slash and -, like lgsp.example.vn/91/2026")
    if problems:
        raise Unusable("config_invalid", "\n".join(problems))


def is_origin(text: str) -> bool:
    """Tell whether a text may name a log."""
    return 3 <= len(text) <= 120 and set(text) <= set("abcdefghijklmnopqrstuvwxyz0123456789./-")  # noqa: PLR2004 - as in config


def found(folder: DataFolder, founding: Founding) -> bool:
    """Make the folder and return True, or return False when it is complete already; refuse as `file_exists`, `data_locked` or `data_unusable`."""
    if folder.settings.exists():
        return False
    new, ready = folder.root / ".new", folder.root / ".ready"
    _refuse_foreign(folder.root)
    folder.root.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    with datafolder.hold(folder, command="lgsp init"):
        if folder.settings.exists():
            return False  # another command completed it before this one held the folder
        if not ready.exists():
            _make_or_nothing(new, founding)
            new.rename(ready)
        _move_up(ready, folder)
    return True


def _refuse_foreign(root: Path) -> None:
    """Refuse a folder that holds anything but the traces of an `init` that was stopped."""
    if not root.exists():
        return
    if not root.is_dir():
        raise Unusable("file_exists", f"{root} is not a folder")
    ours = {".new", ".ready", "lock"}
    present = {path.name for path in root.iterdir()}
    if present - ours and ".ready" not in present:
        raise Unusable("file_exists", f"{root} is not empty")


def _make(new: Path, founding: Founding) -> None:
    folder = DataFolder(root=new)
    pairs = (new / founding.gateway_key, new / "keys/log.pem", folder.registrar_key)
    if not _may_be_published(folder, founding):
        shutil.rmtree(new, ignore_errors=True)
        _make_keys(folder, pairs)
    gateway, log, registrar = map(keyfiles.read_private, pairs)
    folder.settings.write_text(settings_text(founding, registrar.public), encoding="utf-8")
    folder.trust.write_bytes(trust_of(founding.bus, founding.origin, registrar, log).encoded())
    asyncio.run(_publish_first(folder, founding, gateway, log, registrar))


def _make_or_nothing(new: Path, founding: Founding) -> None:
    """Make all of it, and leave nothing when that fails, unless keys among it may stand in a database by then."""
    try:
        _make(new, founding)
    except BaseException:
        if not _may_be_published(DataFolder(root=new), founding):
            shutil.rmtree(new, ignore_errors=True)
        raise


def _may_be_published(folder: DataFolder, founding: Founding) -> bool:
    """Tell whether a command that was stopped may have written to a database with the keys that are here: `trust.json` came before that."""
    in_a_database = founding.storage is Storage.POSTGRESQL and not (folder.root / "bus.sqlite").exists()
    return in_a_database and folder.trust.exists() and (folder.root / founding.gateway_key).exists()


def _make_keys(folder: DataFolder, pairs: Sequence[Path]) -> None:
    for name in ("keys", "registrar", "systems"):
        (folder.root / name).mkdir(mode=FOLDER_MODE, parents=True)
    for path in pairs:
        keyfiles.write_private(path, keys.ed25519_from_seed(SystemEntropy().token(SEED_BYTES)))
    for name in ("body", "subject"):
        keyfiles.write_secret(folder.root / "keys" / f"{name}.key", SystemEntropy().token(SEED_BYTES))
    (folder.registrar_key.parent / "README").write_text(REGISTRAR_README, encoding="utf-8")


def settings_text(founding: Founding, registrar: PublicKey) -> str:
    """Return the text of `lgsp.toml`."""
    quoted = {name: json.dumps(getattr(founding, name)) for name in ("bus", "gateway", "origin", "gateway_key")}
    jwk = "\n".join(f"{name} = {json.dumps(registrar.jwk[name])}" for name in ("kty", "crv", "x"))
    storage = IN_A_DATABASE if founding.storage is Storage.POSTGRESQL else IN_A_FILE
    storage += _url(founding.storage_url)
    written = SETTINGS.format(**quoted, port=founding.port, registrar=jwk, storage=storage)
    if founding.transport is Carrier.RABBITMQ:
        written += ON_A_BROKER.rstrip("\n") + _url(founding.transport_url) + "\n"
    elif founding.inbox_bytes is not None:
        written += "\n[transport]\n"
    return written + (f"inbox_bytes = {founding.inbox_bytes}\n" if founding.inbox_bytes is not None else "")


def _url(address: str) -> str:
    return f"\nurl = {json.dumps(address)}" if address else ""


def trust_of(bus: str, origin: str, registrar: PrivateKey, log: PrivateKey) -> Trust:
    """Return what outsiders pin of a bus with these keys."""
    return Trust(bus=bus, registrar=registrar.public, log=NoteKey(name=origin, kind=LOG_KEY, public=log.public.x))


async def _publish_first(
    folder: DataFolder, founding: Founding, gateway: PrivateKey, log: PrivateKey, registrar: PrivateKey
) -> None:
    wanted = Wanted(
        stated=(
            {"kind": "bus", "id": founding.bus, "log": founding.origin},
            {"kind": "key", "owner": founding.gateway, "role": "gateway", "jwk": gateway.public.jwk},
            {"kind": "key", "owner": founding.bus, "role": "log", "jwk": log.public.jwk},
        )
    )
    plan = draw_plan(empty_directory(founding.bus), wanted, {}, read_policy())
    sealed = sign_plan(plan, registrar, SystemClock().now())
    # The first directory goes to nobody: whatever will carry deliveries need not be there yet.
    settings = Settings.load(folder.root, {"transport.kind": "embedded"})
    if await _is_published(settings):
        return
    async with app.open_bus(settings, create=True) as bus:
        await bus.steward.publish_directory(
            statement=sealed.statement, records=sealed.records, documents={}, reason=FOUNDING_REASON
        )


async def _is_published(settings: Settings) -> bool:
    """Tell whether a command that was stopped had published the first directory already; refuse (`file_exists`) a database with anything else.

    It may have been stopped earlier, too: then the tables are empty, or hold the first entry of a log of this name.
    """
    if await ledgers.ledger_form(settings) is None:
        return False
    async with ledgers.open_ledger(settings) as ledger:
        head, entries = await ledger.head(), await ledger.entries(0, min(2, await ledger.size()))
    if head is None and all(_opens(entry, settings.bus) for entry in entries):
        return False
    if head is not None and _is_signed_by(settings.keys.registrar_key(), head, settings.bus.urn):
        return True
    raise Unusable("file_exists", OCCUPIED)


def _opens(entry: bytes, bus: BusSection) -> bool:
    members = strictjson.parse_object(entry)
    return (members["ev"], members["bus"], members["obj"]) == ("log.opened", bus.gateway, bus.log)


def _is_signed_by(registrar: PublicKey, head: SignedRecords, bus: str) -> bool:
    try:
        open_directory(head.statement, head.records, registrar, bus=bus)
    except Refusal:
        return False
    return True


def _move_up(ready: Path, folder: DataFolder) -> None:
    for path in _settings_last(ready):
        path.rename(folder.root / path.name)
    ready.rmdir()


def _settings_last(ready: Path) -> Iterator[Path]:
    yield from sorted(ready.iterdir(), key=lambda path: (path.name == "lgsp.toml", path.name))


def _tell_made(voice: Voice, data: Path, founding: Founding) -> None:
    voice.tell(f"made {data} for {founding.gateway}", f"đã tạo {data} cho {founding.gateway}")
    voice.tell(
        f"keep {data}/keys to yourself; move {data}/registrar off this machine; hand {data}/trust.json to those who verify",
        f"giữ kín {data}/keys; chuyển {data}/registrar khỏi máy này; giao {data}/trust.json cho bên kiểm chứng",
    )
    voice.tell(f"next: lgsp serve --data {data}", f"tiếp theo: lgsp serve --data {data}")
