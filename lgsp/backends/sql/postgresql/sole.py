"""One gateway at a time on a database: a lock that a connection of its own holds for as long as the gateway runs.

Several gateways can append to one ledger, but a gateway that starts takes back what is leased, and learns only of what it queued itself. Until
gateways tell each other, a second one is kept out. The lock goes with the connection: a gateway that was killed leaves nothing behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import asyncpg

from lgsp.backends.sql.postgresql.making import told_plainly
from lgsp.backends.sql.postgresql.pool import CONNECT_SECONDS, SETTINGS, STATEMENT_SECONDS
from lgsp.errors import Unusable

RUNNING: Final = 7_310_579_662
"""The number of the lock, one of this database."""
PATIENCE: Final = 5.0
"""How long a gateway waits for the one before it to be gone from the server's view."""
PAUSE: Final = 0.1


@asynccontextmanager
async def sole_gateway(dsn: str, *, patience: float = PATIENCE) -> AsyncIterator[None]:
    """Be the one gateway on a database until the block ends; refuse as `data_locked` beside another, as `database_away` without an answer."""
    async with told_plainly():
        connection = await asyncpg.connect(
            dsn, timeout=CONNECT_SECONDS, command_timeout=STATEMENT_SECONDS, server_settings=SETTINGS
        )
    try:
        await _hold(connection, patience)
        yield
    finally:
        connection.terminate()  # the server lets go of the lock; one that is away has done so


async def _hold(connection: asyncpg.Connection, patience: float) -> None:
    now = asyncio.get_running_loop().time
    until = now() + patience
    async with told_plainly():
        while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", RUNNING):
            if now() >= until:
                raise Unusable("data_locked", "another gateway runs on this database")
            await asyncio.sleep(PAUSE)
