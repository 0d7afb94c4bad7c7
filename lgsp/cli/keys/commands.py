"""`lgsp keys`: make a key, show a public key, tell which registered keys are due for rotation."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Annotated, Final

import typer

from lgsp import keyfiles
from lgsp.cli.directory.change import DryRun, Reason, carry_out
from lgsp.cli.directory.file import key_row, read_public
from lgsp.cli.files import read_bytes
from lgsp.cli.kept import open_kept
from lgsp.cli.keys.expiries import signing_dates
from lgsp.cli.keys.policy import ROLES, Age, Algorithm, KeyPolicy, ages, objections, read_policy
from lgsp.cli.keys.possession import prove
from lgsp.cli.options import DEFAULT_DATA, DEFAULT_TRUST, Data, Encrypt, Proof, PublicKeyFile, Registrar, TrustFile
from lgsp.cli.reach import Reach, reaching
from lgsp.cli.registrar import PROOF, Wanted
from lgsp.cli.voice import Voice, voice_of
from lgsp.config import Settings
from lgsp.datafolder import read_trust
from lgsp.domain import keys, names
from lgsp.domain.keys import PrivateKey, PublicKey, Role
from lgsp.errors import Ending, Unusable
from lgsp.machine import SystemClock, SystemEntropy

P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""n of P-256 (FIPS 186-5): private scalars are 1..n-1."""

commands = typer.Typer(no_args_is_help=True, help="Make and check keys | tạo và kiểm tra khóa")


@commands.command()
def new(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where the private key goes | tệp khóa riêng")],
    role: Annotated[str, typer.Option(envvar="LGSP_ROLE", help=f"One of {', '.join(ROLES)} | vai trò")] = "system",
    alg: Annotated[
        str | None,
        typer.Option(envvar="LGSP_ALG", help="Ed25519 or ES256; the policy's first if not given | thuật toán"),
    ] = None,
    *,
    encrypt: Encrypt = False,
) -> None:
    """Make a private key (mode 0600); its public JWK goes to standard output | tạo khóa riêng, in khóa công khai."""
    voice = voice_of(context)
    key = make_key(read_policy(), role, alg)
    keyfiles.write_private(file, key, passphrase=keyfiles.new_passphrase(file) if encrypt else None)
    voice.give(json.dumps(key.public.jwk))
    voice.tell(f"made {file}; its public key is {key.kid}", f"đã tạo {file}; khóa công khai là {key.kid}")


@commands.command()
def encrypt(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A private key that is not encrypted | tệp khóa riêng")],
) -> None:
    """Encrypt a private key's file under a passphrase, in its place | mã hóa tệp khóa riêng bằng cụm mật khẩu."""
    voice = voice_of(context)
    if keyfiles.encrypt_private(file):
        voice.tell(f"{file} is encrypted now", f"đã mã hóa {file}")
    else:
        voice.tell(f"{file} is encrypted already; nothing was changed", f"{file} đã được mã hóa; không thay đổi gì")


def make_key(policy: KeyPolicy, role: str, alg: str | None = None) -> PrivateKey:
    """Return a new key as the policy wants it for the role; refuse as `bad_request` or `key_refused`."""
    known = _role(role)
    allowed = policy.role[known].algorithms
    chosen = alg or allowed[0]
    if chosen not in allowed:
        raise Unusable("key_refused", f"a {known} key is {' or '.join(allowed)}")
    return _draw(chosen)


def _role(text: str) -> Role:
    for role in ROLES:
        if role == text:
            return role
    raise Unusable("bad_request", f"--role is one of {', '.join(ROLES)}")


def _draw(alg: Algorithm | str) -> PrivateKey:
    entropy = SystemEntropy()
    if alg == "Ed25519":
        return keys.ed25519_from_seed(entropy.token(32))
    # 16 bytes more than the order has, so that the remainder favours no scalar (FIPS 186-5, A.2.1).
    return keys.p256_from_scalar(int.from_bytes(entropy.token(48), "big") % (P256_ORDER - 1) + 1)


@commands.command()
def show(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A private or public key | khóa riêng hoặc công khai")],
) -> None:
    """Print the public JWK of a key file | in khóa công khai."""
    voice_of(context).give(json.dumps(_public_of(file).jwk))


def _public_of(file: Path) -> PublicKey:
    data = read_bytes(file)
    if b"PRIVATE" in data:
        return keyfiles.read_private(file).public
    return keys.public_key(read_public(file, data))


@commands.command("prove")
def give_proof(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The private key | khóa riêng")],
    owner: Annotated[
        str, typer.Option(envvar="LGSP_OWNER", help="System (H01.99/example) or officer's URN | chủ khóa")
    ],
    trust: TrustFile = DEFAULT_TRUST,
    *,
    jwk: Annotated[
        bool, typer.Option("--jwk", envvar="LGSP_JWK", help="With the public key, as one file | kèm khóa công khai")
    ] = False,
) -> None:
    """Print the proof that you hold a key, for the registrar | in bằng chứng đang giữ khóa."""
    key = keyfiles.read_private(file)
    urn = owner if names.OFFICER_FORM.fullmatch(owner) else names.system_urn(owner)
    proof = prove(key, owner=urn, bus=read_trust(trust).bus, at=SystemClock().now(), jti=SystemEntropy().uuid7())
    voice_of(context).give(json.dumps({**key.public.jwk, PROOF: proof}) if jwk else proof)


@commands.command()
@reaching
def add(
    context: typer.Context,
    file: PublicKeyFile,
    owner: Annotated[
        str, typer.Option(envvar="LGSP_OWNER", help="System (H01.99/example) or officer's URN | chủ khóa")
    ],
    proof: Proof = None,
    registrar: Registrar = None,
    reason: Reason = None,
    *,
    dry_run: DryRun = False,
    reach: Reach,
) -> None:
    """Register one more public key of a system or officer | đăng ký thêm một khóa công khai."""
    is_officer = names.OFFICER_FORM.fullmatch(owner) is not None
    urn = owner if is_officer else names.system_urn(owner)
    row = key_row(file, urn, "officer" if is_officer else "system", proof)
    carry_out(
        voice_of(context),
        reach,
        Wanted(stated=(row,)),
        command="lgsp keys add",
        reason=reason,
        registrar=registrar,
        dry_run=dry_run,
    )


@commands.command()
def check(context: typer.Context, data: Data = DEFAULT_DATA) -> None:
    """Compare registered keys with the policy; exit code 1 when one is overdue | đối chiếu khóa với chính sách."""
    voice = voice_of(context)
    found, objected = asyncio.run(_examine(Settings.load(data)))
    _show_ages(voice, found)
    for words in objected:
        voice.tell(f"the policy objects: {words}", f"trái chính sách: {words}")
    if objected or any(age.overdue for age in found):
        raise typer.Exit(Ending.NOT_DONE)


async def _examine(settings: Settings) -> tuple[list[Age], list[str]]:
    policy = read_policy()
    async with open_kept(settings) as kept:
        directory = kept.directory
        dates = await signing_dates(kept.store, directory, settings)
    found = sorted(ages(policy, directory, dates, SystemClock().now()), key=lambda age: (age.due, age.key.record.id))
    return found, objections(policy, directory)


def _show_ages(voice: Voice, found: list[Age]) -> None:
    table = voice.table(("owner", "chủ khóa"), ("role", "vai trò"), ("key", "khóa"), ("due", "hạn thay"), ("", ""))
    for age in found:
        late = voice.choose("overdue: make a new key", "quá hạn: hãy tạo khóa mới") if age.overdue else ""
        twin = (
            voice.choose("replaced: end it with until", "đã có khóa mới: hãy kết thúc bằng until") if age.twin else ""
        )
        record = age.key.record
        table.add_row(
            record.owner, record.role, record.id, f"{age.due:%Y-%m-%d}", "; ".join(filter(None, (late, twin)))
        )
    voice.show(table)
