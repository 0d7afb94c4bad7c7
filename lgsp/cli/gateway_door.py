"""How a command reaches a bus: through the admin socket while a gateway runs, else by holding the data folder and running the bus for a moment.

Reading beside a running gateway is done on its files, which takes nothing and changes nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

from lgsp import app, datafolder
from lgsp.cli.registrar import Sealed
from lgsp.config import Settings
from lgsp.datafolder import DataFolder
from lgsp.domain.directory import Directory, empty_directory, open_directory
from lgsp.errors import Refusal, Unusable, catalogue

TIME_LIMIT: Final = aiohttp.ClientTimeout(total=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What a data folder holds: the directory in force, verified under the pin, and the schema documents."""

    store: app.Store
    directory: Directory
    documents: dict[str, bytes]


@asynccontextmanager
async def open_kept(settings: Settings) -> AsyncIterator[Kept]:
    """Open the kept state of a data folder for reading, whether a gateway runs on it or not."""
    async with app.open_store(settings) as store:
        head = await store.head()
        bus = settings.bus.urn
        directory = (
            empty_directory(bus)
            if head is None
            else open_directory(head.statement, head.records, settings.keys.registrar_key(), bus=bus)
        )
        yield Kept(store=store, directory=directory, documents=await store.documents())


async def publish(settings: Settings, sealed: Sealed, reason: str) -> int:
    """Bring a signed directory to the bus and return its version; refuse as the bus does, or as `data_locked` when it cannot be reached."""
    folder = DataFolder(root=settings.data)
    try:
        with datafolder.hold(folder):
            return await _publish_here(settings, sealed, reason)
    except Unusable as refusal:
        if refusal.code != "data_locked" or not folder.admin_socket.is_socket():
            raise
    return await _publish_there(folder, sealed, reason)


async def _publish_here(settings: Settings, sealed: Sealed, reason: str) -> int:
    async with app.open_bus(settings) as bus:
        return await bus.steward.publish_directory(
            statement=sealed.statement, records=sealed.records, documents=sealed.documents, reason=reason
        )


async def _publish_there(folder: DataFolder, sealed: Sealed, reason: str) -> int:
    call = {
        "statement": sealed.statement.decode("ascii"),
        "records": [record.decode() for record in sealed.records],
        "documents": {urn: document.decode() for urn, document in sealed.documents.items()},
        "reason": reason,
    }
    try:
        with datafolder.short_path(folder.admin_socket) as name:
            return await _posted(name, call)
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise Unusable(
            "unavailable", f"the gateway does not answer on {folder.admin_socket}: {type(error).__name__}"
        ) from None


async def _posted(socket: str, call: dict[str, Any]) -> int:
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(path=socket), timeout=TIME_LIMIT) as session,
        session.post("http://gateway/admin/directory", json=call) as answer,
    ):
        return int(_accepted(answer.ok, await answer.json(content_type=None))["version"])


def _accepted(ok: bool, members: dict[str, Any]) -> dict[str, Any]:  # noqa: FBT001 - the answer's own word
    if ok:
        return members
    code = str(members.get("code", "internal"))
    raise Refusal(code if code in catalogue() else "internal", str(members.get("detail", "")))
