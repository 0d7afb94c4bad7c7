"""What a data folder holds, read on its files or its database whether a gateway runs on it or not; nothing is taken or changed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from lgsp import ledgers
from lgsp.config import Settings
from lgsp.domain.directory import Directory, empty_directory, open_directory
from lgsp.ports.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What a data folder holds: the directory in force, verified under the pin, and the schema documents."""

    store: Store
    directory: Directory
    documents: dict[str, bytes]


@asynccontextmanager
async def open_kept(settings: Settings) -> AsyncIterator[Kept]:
    """Open the kept state of a data folder for reading, whether a gateway runs on it or not."""
    async with ledgers.open_ledger(settings) as store:
        head = await store.head()
        bus = settings.bus.urn
        directory = (
            empty_directory(bus)
            if head is None
            else open_directory(head.statement, head.records, settings.keys.registrar_key(), bus=bus)
        )
        yield Kept(store=store, directory=directory, documents=await store.documents())
