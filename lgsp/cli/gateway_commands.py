"""`lgsp gateway`: a further gateway of the same bus, on the same database.

`new` makes its data folder beside one that is there: a key of its own, and copies of what all gateways of a bus share. `add` is the registrar's:
it registers the key, where `new` could not. The folder is then moved to the machine where the gateway will run.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Annotated, Final

import typer

from lgsp import config, keyfiles
from lgsp.cli.directory.change import DryRun, Reason, carry_out
from lgsp.cli.directory.file import key_row
from lgsp.cli.files import write_secretly, write_text
from lgsp.cli.founding import Carrier, Founding, Storage, settings_text
from lgsp.cli.keys.commands import make_key
from lgsp.cli.keys.policy import read_policy
from lgsp.cli.keys.possession import prove
from lgsp.cli.options import DEFAULT_DATA, Data, Proof, PublicKeyFile, Registrar
from lgsp.cli.reach import Reach, reaching
from lgsp.cli.registrar import PROOF, Wanted
from lgsp.cli.voice import Voice, voice_of
from lgsp.config import DEFAULT_PORT, Settings
from lgsp.datafolder import FOLDER_MODE, DataFolder
from lgsp.domain import names
from lgsp.errors import Unusable
from lgsp.machine import SystemClock, SystemEntropy

PUBLIC: Final = "gateway.jwk"
"""The public key with the proof that whoever made the folder holds the private one: what the registrar wants."""
WITNESS_CA: Final = "witness-ca.pem"

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the gateway, like b | tên cổng, ví dụ b")]

commands = typer.Typer(no_args_is_help=True, help="Further gateways of the bus | các cổng khác của trục")


@commands.callback()
def group() -> None:
    """Further gateways of the bus | các cổng khác của trục."""


@commands.command()
def new(
    context: typer.Context,
    name: Name,
    out: Annotated[
        Path, typer.Option(envvar="LGSP_OUT", metavar="DIR", help="Where its data folder goes | thư mục kết quả")
    ],
    data: Data = DEFAULT_DATA,
    port: Annotated[
        int, typer.Option(envvar="LGSP_PORT", min=0, max=65_535, help="Where it will listen | cổng mạng")
    ] = DEFAULT_PORT,
    registrar: Registrar = None,
    reason: Reason = None,
) -> None:
    """Make the data folder of a further gateway, and register its key | tạo thư mục dữ liệu cho một cổng khác, đăng ký khóa."""
    voice = voice_of(context)
    settings = Settings.load(data)
    urn = _urn(settings, name)
    if settings.storage.kind == "sqlite":
        raise Unusable("one_gateway_only", f"{data} keeps it in {settings.storage.path}")
    if _is_made(out, urn):
        voice.tell(f"{out} is that gateway's already", f"{out} đã là thư mục của cổng đó")
    else:
        _make(out, settings, urn, port)
        voice.tell(f"made {out} for {urn}", f"đã tạo {out} cho {urn}")
    if registrar is None and not DataFolder(root=data).registrar_key.exists():
        _tell_registrar(voice, name, out)
    else:
        row = key_row(out / PUBLIC, urn, "gateway")
        wanted = Wanted(stated=(row,))
        carry_out(voice, Reach(data=data), wanted, command="lgsp gateway new", reason=reason, registrar=registrar)
    voice.tell(
        f"move {out} to its machine, whole and by a safe way: it holds the log's and the bodies' keys; then: lgsp serve --data {out}",
        f"chuyển cả {out} sang máy của cổng bằng đường an toàn, trong đó có khóa nhật ký và khóa nội dung; rồi: lgsp serve --data {out}",
    )


@commands.command()
@reaching
def add(
    context: typer.Context,
    name: Name,
    file: PublicKeyFile,
    proof: Proof = None,
    registrar: Registrar = None,
    reason: Reason = None,
    *,
    dry_run: DryRun = False,
    reach: Reach,
) -> None:
    """Register the public key of a gateway | đăng ký khóa công khai của một cổng."""
    carry_out(
        voice_of(context),
        reach,
        Wanted(stated=(key_row(file, _named(reach.bus(), name), "gateway", proof),)),
        command="lgsp gateway add",
        reason=reason,
        registrar=registrar,
        dry_run=dry_run,
    )


def _named(bus: str, name: str) -> str:
    urn = f"{bus}:gw:{name}"
    if names.GATEWAY_FORM.fullmatch(urn) is None:
        raise Unusable("config_invalid", "the name of a gateway is of a-z, 0-9 and -, like b")
    return urn


def _urn(settings: Settings, name: str) -> str:
    urn = _named(settings.bus.urn, name)
    if urn == settings.bus.gateway:
        raise Unusable(
            "config_invalid", f"{name} is the gateway of {settings.data} itself; give the new one another name"
        )
    return urn


def _is_made(out: Path, urn: str) -> bool:
    """Tell whether a folder is that gateway's already; refuse (`file_exists`) one that is anything else."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    if (out / config.FILE).exists() and (out / PUBLIC).exists() and Settings.load(out).bus.gateway == urn:
        return True
    raise Unusable("file_exists", f"{out} is not empty, and not the folder of {urn}")


def _make(out: Path, settings: Settings, urn: str, port: int) -> None:
    """Make the folder, whole or not at all."""
    new = out.with_name(f".{out.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    for folder in (new, new / "keys", new / "systems"):
        folder.mkdir(mode=FOLDER_MODE, parents=True)
    founding = _founding(settings, urn, port)
    _write_keys(new, settings, founding)
    text = settings_text(founding, settings.keys.registrar_key()) + witness_text(new, settings)
    write_secretly(new / config.FILE, text.encode())
    write_text(new / "trust.json", DataFolder(root=settings.data).trust.read_text(encoding="utf-8"))
    new.rename(out)


def witness_text(new: Path, settings: Settings) -> str:
    """Return the table of the settings' witness, nothing without one; the authority behind its certificate comes along as a file."""
    witness = settings.witness
    if not witness.url:
        return ""
    stated: dict[str, str | int] = {"url": witness.url, "vkey": witness.vkey, "stop_after": witness.stop_after}
    if witness.ca is not None:
        write_text(new / WITNESS_CA, witness.ca.read_text(encoding="utf-8"))
        stated["ca"] = WITNESS_CA
    return "\n[witness]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in stated.items())


def _write_keys(new: Path, settings: Settings, founding: Founding) -> None:
    key = make_key(read_policy(), "gateway", None)
    passphrase = keyfiles.passphrase_of(
        settings.keys.log
    )  # a key that is encrypted here lies in the clear nowhere else
    keyfiles.write_private(new / founding.gateway_key, key, passphrase=passphrase)
    keyfiles.write_private(new / "keys/log.pem", keyfiles.read_private(settings.keys.log), passphrase=passphrase)
    keyfiles.write_secret(new / "keys/body.key", keyfiles.read_secret(settings.keys.body))
    keyfiles.write_secrets(new / "keys/subject.key", keyfiles.read_secrets(settings.keys.subject))
    proof = prove(key, owner=founding.gateway, bus=founding.bus, at=SystemClock().now(), jti=SystemEntropy().uuid7())
    write_text(new / PUBLIC, json.dumps({**key.public.jwk, PROOF: proof}) + "\n")


def _founding(settings: Settings, urn: str, port: int) -> Founding:
    return Founding(
        bus=settings.bus.urn,
        gateway=urn,
        origin=settings.bus.log,
        port=port,
        transport=Carrier(settings.transport.kind),
        storage=Storage(settings.storage.kind),
        storage_url=settings.storage.address if _is_in_file(settings, "storage.url") else "",
        transport_url=settings.transport.address if _is_in_file(settings, "transport.url") else "",
        inbox_bytes=settings.transport.inbox_bytes if _is_in_file(settings, "transport.inbox_bytes") else None,
    )


def _is_in_file(settings: Settings, name: str) -> bool:
    return settings.origins()[name] == config.FILE


def _tell_registrar(voice: Voice, name: str, out: Path) -> None:
    voice.tell(
        f"the registrar's key is not here: give {out}/{PUBLIC} to the registrar, for lgsp gateway add {name} {PUBLIC}",
        f"khóa của bộ phận quản lý danh bạ không có ở đây: gửi {out}/{PUBLIC} cho bộ phận đó để chạy lgsp gateway add {name} {PUBLIC}",
    )
