"""Bring back versions of the directory that the bus has lost and a system's box still holds: the registrar's own bytes, signed by nobody anew.

A bus whose ledger was restored knows an older version than its systems do, and the systems never go back. Until the versions between are in force
again a key that was revoked is valid and a grant that has ended holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from lgsp import schemafiles
from lgsp.cli.directory.present import look
from lgsp.cli.files import read_bytes
from lgsp.cli.gateway_door import publish
from lgsp.cli.reach import Reach
from lgsp.cli.registrar import Sealed
from lgsp.domain import strictjson
from lgsp.domain.directory import Directory, open_directory
from lgsp.errors import Unusable
from lgsp.sdk import box_schema, directories

COMMAND = "lgsp directory bring"


async def bring(reach: Reach, box: Path, schemas: list[Path], reason: str) -> list[int]:
    """Publish each version that follows the present one and is in the box, and return their numbers; refuse as publishing does."""
    present = (await look(reach)).directory
    offered = {_urn(path): read_bytes(path) for path in schemas}
    brought = []
    for found in _following(box, present, reach):
        documents = {urn: document for urn in found.schemas if (document := offered.get(urn) or schemafiles.read(urn))}
        sealed = Sealed(version=found.version, statement=found.statement, records=found.encoded, documents=documents)
        brought.append(await publish(reach, sealed, reason, command=COMMAND))
    return brought


def _following(box: Path, present: Directory, reach: Reach) -> Iterator[Directory]:
    """Yield what the box holds of the versions after the present one, up to the first that it lacks."""
    with closing(box_schema.open_to_look(box)) as reader:
        version = present.version + 1
        while (stored := directories.stored_at(reader, version)) is not None:
            yield open_directory(stored.statement, stored.records, reach.pin(), bus=reach.bus())
            version += 1


def _urn(path: Path) -> str:
    try:
        return str(strictjson.parse_object(read_bytes(path))["$id"])
    except (strictjson.NotStrict, KeyError):
        raise Unusable("bad_request", f"{path}: is no schema document with an $id") from None
