"""`lgsp system`: what a new system needs to take part.

`new` makes its key, its public key for the registrar and its settings, where it will run; `add` is the registrar's: it registers system and key.
"""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path
from typing import Annotated, Final

import typer

from lgsp import keyfiles
from lgsp.cli.directory.change import DryRun, Reason, carry_out, present_of
from lgsp.cli.directory.file import key_row
from lgsp.cli.files import read_text, write_text
from lgsp.cli.keys.commands import make_key
from lgsp.cli.keys.policy import read_policy
from lgsp.cli.keys.possession import prove
from lgsp.cli.options import DEFAULT_DATA, Data, Encrypt, Proof, PublicKeyFile, Registrar
from lgsp.cli.reach import Reach, reaching
from lgsp.cli.registrar import PROOF, Wanted
from lgsp.cli.voice import voice_of
from lgsp.config import Settings
from lgsp.datafolder import FOLDER_MODE, DataFolder, Trust, read_trust
from lgsp.domain import names
from lgsp.domain.keys import PrivateKey
from lgsp.errors import Unusable, not_usable
from lgsp.machine import SystemClock, SystemEntropy
from lgsp.tls import trusting

SETTINGS: Final = """\
# Settings of one system on the bus; paths are relative to this file.
# Cấu hình của một hệ thống trên trục; đường dẫn tính từ tệp này.
url = {url}
bus = {bus}
system = {system}
key = "key.pem"
box = "box.sqlite"
log = {log}
{ca}
# The registrar's public key, by which the directory is believed.
# Khóa công khai của bộ phận quản lý danh bạ: chỉ tin danh bạ do khóa này ký.
[registrar]
{registrar}
"""
AUTHORITY: Final = "ca.pem"
PINNED_AUTHORITY: Final = """
# The only authority by which the gateway's TLS certificate is believed.
# Chỉ tin chứng thư TLS của cổng do cơ quan chứng thực này cấp.
ca = {ca}
"""
RECORD: Final = """\
[[key]]
owner = {system}
role = "system"
jwk = {{ {jwk} }}
proof = {proof}
"""

commands = typer.Typer(no_args_is_help=True, help="Systems that take part | hệ thống tham gia")


@commands.callback()
def group() -> None:
    """Systems that take part | hệ thống tham gia."""


@commands.command()
def new(  # noqa: PLR0913 - one parameter for each thing that a person says
    context: typer.Context,
    system: Annotated[
        str, typer.Argument(metavar="CODE/NAME", help="Such as H01.99/example | mã cơ quan/tên hệ thống")
    ],
    data: Data = DEFAULT_DATA,
    trust: Annotated[
        Path | None,
        typer.Option(
            envvar="LGSP_TRUST", metavar="FILE", help="trust.json, where there is no data folder | tệp trust.json"
        ),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(envvar="LGSP_URL", help="Address of the gateway; the data folder's if not given | địa chỉ cổng"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            envvar="LGSP_OUT", metavar="DIR", help="Where it goes; DATA/systems/… if not given | thư mục kết quả"
        ),
    ] = None,
    alg: Annotated[str | None, typer.Option(envvar="LGSP_ALG", help="Ed25519 or ES256 | thuật toán")] = None,
    ca: Annotated[
        Path | None,
        typer.Option(
            envvar="LGSP_CA",
            metavar="FILE",
            help="The authority behind the gateway's certificate, PEM; copied | tệp chứng thư CA của cổng",
        ),
    ] = None,
    *,
    encrypt: Encrypt = False,
) -> None:
    """Make key.pem, key.jwk and system.toml; print the key record to register | tạo khóa và cấu hình, in bản ghi khóa."""
    voice = voice_of(context)
    urn = names.system_urn(system)
    pinned = read_trust(trust or DataFolder(root=data).trust)
    address = url or _address(data)
    folder = out or DataFolder(root=data).system(urn)
    authority = None if ca is None else _authority(ca)
    held = _same_system(folder, settings_text(urn, pinned, address, ca=authority and AUTHORITY), authority, alg)
    if held is not None:
        voice.give(key_record(urn, pinned.bus, held).rstrip("\n"))
        voice.tell(
            f"{folder} is this system already; nothing was changed", f"{folder} đã là hệ thống này; không thay đổi gì"
        )
        return
    key = make_key(read_policy(), "system", alg)
    passphrase = keyfiles.new_passphrase(folder / "key.pem") if encrypt else None
    make_system(folder, urn, pinned, address, key, ca=authority, passphrase=passphrase)
    voice.give(key_record(urn, pinned.bus, key).rstrip("\n"))
    voice.tell(
        f"made {folder}; give the record above (or {folder}/key.jwk) to the registrar, then: --system {folder}/system.toml",
        f"đã tạo {folder}; gửi bản ghi trên (hoặc {folder}/key.jwk) cho bộ phận quản lý danh bạ, rồi dùng: --system {folder}/system.toml",
    )
    voice.tell(
        f"read the key's thumbprint to the registrar over the telephone: {key.kid}",
        f"hãy đọc dấu vân tay của khóa cho bộ phận quản lý danh bạ qua điện thoại: {key.kid}",
    )


def _same_system(folder: Path, settings: str, authority: str | None, alg: str | None) -> PrivateKey | None:
    """Return the key of the system in a folder when it is the very one that is asked for, None when there is none."""
    if not folder.exists():
        return None
    wanted = tomllib.loads(settings)
    try:
        held = tomllib.loads((folder / "system.toml").read_text(encoding="utf-8"))
        pinned = (folder / AUTHORITY).read_text(encoding="utf-8") if AUTHORITY in held.values() else None
    except (OSError, ValueError):
        raise Unusable("file_exists", f"{folder}: not what lgsp system new makes") from None
    others = [name for name in (*wanted, "ca") if held.get(name) != wanted.get(name)]
    if not others and pinned != authority:
        others = [AUTHORITY]
    if others:
        raise Unusable(
            "file_exists", f"{folder}: {', '.join(others)} {'is' if len(others) == 1 else 'are'} another there"
        )
    key = keyfiles.read_private(folder / "key.pem")
    if alg not in {None, key.alg}:
        raise Unusable("file_exists", f"{folder}: its key is {key.alg}")
    return key


@commands.command()
@reaching
def add(  # noqa: PLR0913 - one parameter for each thing that a person says
    context: typer.Context,
    system: Annotated[
        str, typer.Argument(metavar="CODE/NAME", help="Such as H01.99/example | mã cơ quan/tên hệ thống")
    ],
    file: PublicKeyFile,
    *,
    name: Annotated[str | None, typer.Option(envvar="LGSP_NAME", help="In English | tên tiếng Anh")] = None,
    name_vi: Annotated[str | None, typer.Option(envvar="LGSP_NAME_VI", help="In Vietnamese | tên tiếng Việt")] = None,
    consumes: Annotated[
        list[str] | None,
        typer.Option(envvar="LGSP_CONSUMES", help="A type that it takes; may be given again | loại nhận vào"),
    ] = None,
    proof: Proof = None,
    registrar: Registrar = None,
    reason: Reason = None,
    dry_run: DryRun = False,
    reach: Reach,
) -> None:
    """Register a system of a registered agency with its public key | đăng ký hệ thống cùng khóa công khai."""
    urn = names.system_urn(system)
    present = present_of(reach)
    held = present.directory.systems.get(urn)
    stated = {"name": name, "name_vi": name_vi, "consumes": consumes}
    members = {} if held is None else held.model_dump(exclude_none=True)
    row = members | {"kind": "system", "id": urn} | {name: value for name, value in stated.items() if value is not None}
    carry_out(
        voice_of(context),
        reach,
        Wanted(stated=(row, key_row(file, urn, "system", proof))),
        command="lgsp system add",
        reason=reason,
        registrar=registrar,
        dry_run=dry_run,
        present=present,
    )


def _address(data: Path) -> str:
    http = Settings.load(data).http
    scheme = "http" if http.tls_cert is None else "https"
    host = f"[{http.host}]" if ":" in http.host else http.host
    return f"{scheme}://{host}:{http.port}"


def _authority(path: Path) -> str:
    """Return the text of a PEM file of certificates; refuse (`config_invalid`, `data_missing`) what is none."""
    text = read_text(path)
    trusting(path)
    return text


def make_system(
    folder: Path,
    urn: str,
    trust: Trust,
    url: str,
    key: PrivateKey,
    *,
    ca: str | None = None,
    passphrase: bytes | None = None,
) -> None:
    """Make the folder of a new system, whole or not at all; refuse (`file_exists`) when it is there.

    `ca` is the text of a PEM file: the authority behind the gateway's certificate, where it is not one that every machine trusts. With a
    `passphrase` the key's file is encrypted.
    """
    try:
        folder.mkdir(mode=FOLDER_MODE, parents=True)
    except FileExistsError:
        raise Unusable("file_exists", f"{folder}") from None
    except OSError as error:
        raise not_usable(folder, error) from None
    try:
        keyfiles.write_private(folder / "key.pem", key, passphrase=passphrase)
        write_text(folder / "key.jwk", json.dumps({**key.public.jwk, PROOF: _proof(urn, trust.bus, key)}) + "\n")
        if ca is not None:
            write_text(folder / AUTHORITY, ca)
        write_text(folder / "system.toml", settings_text(urn, trust, url, ca=None if ca is None else AUTHORITY))
    except BaseException:
        shutil.rmtree(folder)
        raise


def settings_text(urn: str, trust: Trust, url: str, *, ca: str | None = None) -> str:
    """Return the text of `system.toml`; `ca` is the file of the authority behind the gateway's certificate."""
    texts = {"url": url, "bus": trust.bus, "system": urn, "log": trust.log.name}
    registrar = "\n".join(f"{name} = {json.dumps(value)}" for name, value in _required(trust.registrar.jwk).items())
    authority = "" if ca is None else PINNED_AUTHORITY.format(ca=json.dumps(ca))
    return SETTINGS.format(
        **{name: json.dumps(text) for name, text in texts.items()}, registrar=registrar, ca=authority
    )


def key_record(urn: str, bus: str, key: PrivateKey) -> str:
    """Return the key's table for a directory file, with the proof that whoever runs this holds it."""
    jwk = ", ".join(f"{name} = {json.dumps(value)}" for name, value in _required(key.public.jwk).items())
    return RECORD.format(system=json.dumps(urn), jwk=jwk, proof=json.dumps(_proof(urn, bus, key)))


def _proof(urn: str, bus: str, key: PrivateKey) -> str:
    return prove(key, owner=urn, bus=bus, at=SystemClock().now(), jti=SystemEntropy().uuid7())


def _required(jwk: dict[str, str]) -> dict[str, str]:
    return {name: jwk[name] for name in ("kty", "crv", "x", "y") if name in jwk}
