"""The bus of a data folder on which no gateway runs, run for the length of one command."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from lgsp import app
from lgsp.config import Settings
from lgsp.datafolder import DataFolder
from lgsp.http import server

GRACE: Final = 0.05


@asynccontextmanager
async def lone_bus(settings: Settings) -> AsyncIterator[None]:
    """Run the bus and listen at its admin socket for the block; the caller holds the data folder."""
    folder = DataFolder(root=settings.data)
    async with app.open_bus(settings) as bus:
        admin = await server.serve_admin(bus, folder.admin_socket)
        try:
            yield
        finally:
            folder.admin_socket.unlink(missing_ok=True)
            # Whoever has just connected is still heard; calls in progress are awaited by `close`.
            await asyncio.sleep(GRACE)
            await admin.close()
