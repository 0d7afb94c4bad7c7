"""The directory in force, from which a change begins: read beside the gateway, or fetched from one elsewhere and verified under the pin."""

from __future__ import annotations

from dataclasses import dataclass

from lgsp.cli.gateway_door import reading
from lgsp.cli.kept import open_kept
from lgsp.cli.reach import Reach
from lgsp.config import Settings
from lgsp.domain import jws, strictjson
from lgsp.domain.directory import Directory, open_directory
from lgsp.errors import Refusal, Unusable


@dataclass(frozen=True, slots=True, kw_only=True)
class Present:
    """The directory in force, verified under the pin, and the schema documents."""

    directory: Directory
    documents: dict[str, bytes]


async def look(reach: Reach) -> Present:
    """Return the present directory, read beside the gateway or fetched from it; refuse (`directory_invalid`) one that the pin does not sign."""
    if reach.url is None:
        async with open_kept(Settings.load(reach.data)) as kept:
            return Present(directory=kept.directory, documents=kept.documents)
    async with reading(reach) as read:
        directory = _opened(await read("/v1/directory"), reach)
        documents = {urn: await read(f"/v1/schemas/{urn}") for urn in directory.schemas}
    others = [urn for urn, document in documents.items() if jws.hash_of(document) != directory.schemas[urn].hash]
    if others:
        raise Refusal("directory_invalid", f"schema {others[0]}: the document is not the one that was published")
    return Present(directory=directory, documents=documents)


def _opened(answer: bytes, reach: Reach) -> Directory:
    try:
        found = strictjson.parse_object(answer)
        statement, encoded = str(found["statement"]).encode(), [str(record).encode() for record in found["records"]]
    except (ValueError, KeyError, TypeError):
        raise Unusable("unavailable", "what answers is no gateway") from None
    return open_directory(statement, encoded, reach.pin(), bus=reach.bus())
