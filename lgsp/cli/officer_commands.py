"""`lgsp officer`: the people who may act for an agency or on the bus, under pseudonyms: their keys and roles in the signed directory."""

from __future__ import annotations

from typing import Annotated, Any, Final, get_args

import typer

from lgsp.cli.directory.change import DryRun, Reason, carry_out, present_of
from lgsp.cli.directory.file import key_row
from lgsp.cli.options import Proof, PublicKeyFile, Registrar
from lgsp.cli.reach import Reach, reaching
from lgsp.cli.registrar import NEXT, Wanted
from lgsp.cli.voice import Voice, voice_of
from lgsp.domain import names
from lgsp.domain.directory import Directory
from lgsp.domain.records import OfficerRole
from lgsp.errors import Refusal, Unusable

ROLES: Final[tuple[str, ...]] = get_args(OfficerRole)

Officer = Annotated[
    str, typer.Argument(metavar="OFFICER", help="Such as H01.05/a0d170: agency and pseudonym | mã cơ quan/bí danh")
]
Roles = Annotated[
    list[str] | None,
    typer.Option("--role", envvar="LGSP_ROLES", help=f"Any of {', '.join(ROLES)}; may be given again | vai trò"),
]

commands = typer.Typer(no_args_is_help=True, help="Officers and their roles | cán bộ và vai trò")


@commands.command()
@reaching
def add(  # noqa: PLR0913 - one parameter for each thing that a person says
    context: typer.Context,
    officer: Officer,
    file: PublicKeyFile,
    role: Roles = None,
    proof: Proof = None,
    registrar: Registrar = None,
    reason: Reason = None,
    *,
    dry_run: DryRun = False,
    reach: Reach,
) -> None:
    """Register an officer with a public key and roles | đăng ký cán bộ cùng khóa công khai và vai trò."""
    urn = names.officer_urn(officer)
    present = present_of(reach)
    carry_out(
        voice_of(context),
        reach,
        Wanted(stated=(_officer(urn, role, present.directory), key_row(file, urn, "officer", proof))),
        command="lgsp officer add",
        reason=reason,
        registrar=registrar,
        dry_run=dry_run,
        present=present,
    )


def _officer(urn: str, roles: list[str] | None, directory: Directory) -> dict[str, Any]:
    """Return an officer's row: with these roles, or with those that are held when none are named."""
    unknown = [role for role in roles or () if role not in ROLES]
    if unknown:
        raise Unusable("bad_request", f"--role is one of {', '.join(ROLES)}")
    held = directory.officers.get(urn)
    kept = list(held.roles) if held is not None else []
    return {"kind": "officer", "id": urn, "roles": kept if roles is None else [role for role in ROLES if role in roles]}


@commands.command()
@reaching
def revoke(
    context: typer.Context,
    officer: Officer,
    kid: Annotated[
        list[str] | None,
        typer.Option(
            "--kid", envvar="LGSP_KID", help="Only this key; all, and every role, if not given | chỉ khóa này"
        ),
    ] = None,
    registrar: Registrar = None,
    reason: Reason = None,
    *,
    dry_run: DryRun = False,
    reach: Reach,
) -> None:
    """End an officer's keys and roles with the next version | thu hồi khóa và vai trò của cán bộ."""
    voice = voice_of(context)
    urn = names.officer_urn(officer)
    present = present_of(reach)
    ended = _ended(urn, kid, present.directory)
    _tell_grants(voice, urn, present.directory)
    carry_out(
        voice,
        reach,
        Wanted(stated=ended),
        command="lgsp officer revoke",
        reason=reason,
        registrar=registrar,
        dry_run=dry_run,
        present=present,
    )


def _ended(urn: str, kids: list[str] | None, directory: Directory) -> tuple[dict[str, Any], ...]:
    _known(urn, directory)
    held = [key.record for key in directory.keys.values() if key.owner == urn]
    unknown = set(kids or ()) - {record.id for record in held}
    if unknown:
        raise Refusal("not_found", f"{urn} has no key {', '.join(sorted(unknown))}")
    ended = tuple(
        {"kind": "key", "owner": urn, "role": record.role, "jwk": record.jwk, "until": NEXT}
        for record in held
        if kids is None or record.id in kids
    )
    return ended if kids else ({"kind": "officer", "id": urn, "roles": []}, *ended)


def _known(urn: str, directory: Directory) -> tuple[OfficerRole, ...]:
    found = directory.officers.get(urn)
    if found is None:
        raise Refusal("not_found", f"{urn} is not in the directory")
    return found.roles


def _tell_grants(voice: Voice, urn: str, directory: Directory) -> None:
    """Tell which grants still name the officer: a system asks in a person's name without that person's key."""
    pseudonym, agency = urn.rpartition(":")[2], names.agency_of(urn)
    found = sorted(
        grant.id
        for group in directory.grants.values()
        for grant in group
        if pseudonym in grant.officers and names.agency_of(grant.grantee) == agency
    )
    if found:
        listed = ", ".join(found)
        voice.tell(
            f"grants that still name {pseudonym}: {listed}; change them with lgsp directory apply",
            f"các quyền còn ghi {pseudonym}: {listed}; hãy sửa bằng lgsp directory apply",
        )


@commands.command()
@reaching
def roles(
    context: typer.Context,
    officer: Officer,
    role: Roles = None,
    registrar: Registrar = None,
    reason: Reason = None,
    *,
    none: Annotated[
        bool, typer.Option("--none", envvar="LGSP_NO_ROLE", help="Take every role away | bỏ mọi vai trò")
    ] = False,
    dry_run: DryRun = False,
    reach: Reach,
) -> None:
    """Show an officer's roles, or set them | xem hoặc đặt vai trò của cán bộ."""
    voice = voice_of(context)
    urn = names.officer_urn(officer)
    present = present_of(reach)
    held = _known(urn, present.directory)
    if none and role:
        raise Unusable("bad_request", "either --none or --role")
    if not none and not role:
        voice.give("\n".join(held) if held else voice.choose("(no role)", "(không có vai trò)"))
        return
    carry_out(
        voice,
        reach,
        Wanted(stated=(_officer(urn, [] if none else role, present.directory),)),
        command="lgsp officer roles",
        reason=reason,
        registrar=registrar,
        dry_run=dry_run,
        present=present,
    )
