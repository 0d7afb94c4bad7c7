"""Directory files: TOML in which a registrar writes what the directory is to hold. Reading them, with all that they point to.

    [[agency]] [[system]] [[officer]] [[key]] [[service]] [[schema]] [[grant]] [[delegation]] [[subscription]] [[bus]]
        members as the directory's records have them; short names (H01.12, H01.12/vnfishbase) are written out;
        since = the next version where it is left out; until = "next" ends a record with the next version
        [[key]]: jwk = {...}, or file = a public key (JWK as JSON, or PEM as `openssl pkey -pubout` writes it);
        proof = what `lgsp keys prove` prints, unless the JWK in the file has it as a member of this name
        [[schema]]: file = its document; without it the one that ships with the project
    [[remove]]
        kind, id of a record that is to be gone

What it all comes to is worked out by `registrar`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from lgsp import schemafiles
from lgsp.cli import files
from lgsp.cli.registrar import PROOF, Wanted, long_name
from lgsp.domain import keys, strictjson
from lgsp.domain.guesses import guess
from lgsp.errors import Refusal, Unusable, not_usable, together

KINDS: Final = ("bus", "agency", "system", "officer", "key", "service", "schema", "grant", "delegation", "subscription")
REMOVE: Final = "remove"

TEMPLATE: Final = """\
# A directory file: what the directory is to hold. `lgsp directory apply FILE --dry-run` shows what it would change.
# Tệp danh bạ: những gì danh bạ phải có. `lgsp directory apply FILE --dry-run` cho xem trước thay đổi.

[[agency]]
id = "H01.99"
name = "Department of examples"
name_vi = "Sở Ví dụ"

[[system]]
id = "H01.99/example"
name = "Example system"
name_vi = "Hệ thống ví dụ"
consumes = []                     # message types that it takes: ["vn.lgsp.examples.record.ask.v1"]

[[key]]                           # `lgsp system new H01.99/example` makes the key, and key.jwk with the proof of possession in it
owner = "H01.99/example"
role = "system"
file = "key.jwk"                  # the public key: JWK, or PEM as `openssl pkey -pubout` writes it with proof = "…" (lgsp keys prove)

[[grant]]
id = "example-verify"
grantee = "H01.99/example"
type = "vn.lgsp.population.citizen.verify.v1"
audience = "G01.02/population"
purposes = ["dpv:IdentityVerification"]
legalbases = ["dpv:LegalObligation"]
procedures = ["1.001612"]
officers = ["9a8b7c"]
quota_per_day = 500
basis = "Decision 1/QD-UBND"      # what this leave rests on

# [[subscription]]                # receives the events of a type, from this version on; until = "next" ends it
# id = "example-vessels-linked"
# subscriber = "H01.99/example"
# type = "vn.lgsp.fisheries.vessel.linked.v1"

# [[remove]]
# kind = "grant"
# id = "example-verify"
"""


def read_file(path: Path) -> Wanted:
    """Return what a directory file wants; refuse (`data_missing`, `config_invalid`, `key_refused`) with every problem on a line of its own."""
    tables = _parse(path)
    _refuse_unknown(path, tables)
    stated: list[dict[str, Any]] = []
    documents: dict[str, bytes] = {}
    problems: list[Refusal] = _misremoved(path, tables.get(REMOVE, []))
    for kind in KINDS:
        for row in tables.get(kind, []):
            try:
                members, document = _read_pointed(path.parent, kind, row)
            except Refusal as problem:
                problems.append(problem)
                continue
            stated.append({"kind": kind, **members})
            documents |= document
    if problems:
        raise together(problems)
    return Wanted(
        stated=tuple(stated),
        removed=tuple(long_name(row["kind"], row["id"]) for row in tables.get(REMOVE, [])),
        documents=documents,
        shipped=schemafiles.read_all(),
    )


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise not_usable(path, error) from None
    except ValueError as error:
        raise Unusable("config_invalid", f"{path}: {error}") from None


def _refuse_unknown(path: Path, tables: Mapping[str, Any]) -> None:
    problems = [
        f"{path}: there is no [[{name}]]{guess(name, (*KINDS, REMOVE), '[[{}]]')}"
        for name in tables
        if name not in {*KINDS, REMOVE}
    ]
    problems += [
        f"{path}: {name} is written [[{name}]], once for each record"
        for name, rows in tables.items()
        if name in {*KINDS, REMOVE} and not (isinstance(rows, list) and all(isinstance(row, dict) for row in rows))
    ]
    if problems:
        raise Unusable("config_invalid", "\n".join(problems))


def _misremoved(path: Path, rows: Iterable[Mapping[str, Any]]) -> list[Refusal]:
    words = f"{path}: [[remove]] has a kind, one of {', '.join(KINDS)}, and an id"
    return [
        Unusable("config_invalid", words)
        for row in rows
        if row.keys() != {"kind", "id"} or row["kind"] not in KINDS or not isinstance(row["id"], str)
    ]


def _read_pointed(folder: Path, kind: str, row: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return the members without `file`, and the schema document that it pointed to."""
    members = {name: value for name, value in row.items() if name != "file"}
    if kind == "key":
        members = {PROOF: "", **members}
    if "file" not in row or kind not in {"key", "schema"}:
        return {**row, **members}, {}
    path = folder / str(row["file"])
    try:
        data = path.read_bytes()
    except OSError as error:
        raise not_usable(path, error) from None
    if kind == "schema":
        return members, {str(row.get("id")): data}
    public = read_public(path, data)
    return members | {PROOF: members[PROOF] or public.pop(PROOF, ""), "jwk": public}, {}


def key_row(path: Path, owner: str, role: str, proof: str | None = None) -> dict[str, Any]:
    """Return the row of a public key in a file, with the proof that stands in it or beside it; refuse as `read_public`, or as `data_missing`."""
    public = read_public(path, files.read_bytes(path))
    found = public.pop(PROOF, "")
    return {"kind": "key", "owner": owner, "role": role, "jwk": public, PROOF: proof or found}


def read_public(path: Path, data: bytes) -> dict[str, Any]:
    """Return the JWK of a public key in JSON or PEM; refuse (`key_file_broken`, `key_refused`) anything else, a private key above all."""
    if b"PRIVATE" in data:
        raise Refusal("key_refused", f"{path}: a private key was given where a public one belongs")
    if data.lstrip().startswith(b"{"):
        return _read_jwk(path, data)
    try:
        handle = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        raise Unusable("key_file_broken", f"{path}: neither a JWK nor a public key in PEM form") from None
    if not isinstance(handle, ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey):
        raise Refusal("key_refused", f"{path}: the bus takes Ed25519 and P-256 keys")
    return keys.jwk_of(handle)


def _read_jwk(path: Path, data: bytes) -> dict[str, Any]:
    try:
        return strictjson.parse_object(data)
    except strictjson.NotStrict:
        raise Unusable("key_file_broken", f"{path}: not a JWK") from None
