"""Connections: how they are made, which limits hold on both sides, and what the driver's troubles mean.

A server that hangs, a gateway that hangs, a connection that is cut off: each ends by itself within seconds, and with it the locks it held.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, Protocol

import asyncpg


class Connection(Protocol):
    """What is used of the driver's connections, which state no types."""

    async def execute(self, query: str, *args: Any) -> str:  # noqa: ANN401 - values as the driver takes them
        """Run a statement."""

    async def executemany(self, command: str, args: Iterable[Sequence[Any]]) -> None:
        """Run a statement with many rows, one after the other."""

    async def fetch(self, query: str, *args: Any) -> list[tuple[Any, ...]]:  # noqa: ANN401
        """Return every row of a statement."""

    async def fetchrow(self, query: str, *args: Any) -> tuple[Any, ...] | None:  # noqa: ANN401
        """Return the first row."""

    async def fetchval(self, query: str, *args: Any) -> Any:  # noqa: ANN401
        """Return the first value of the first row."""

    def transaction(self) -> AbstractAsyncContextManager[None]:
        """Hold a transaction for a block."""

    def is_in_transaction(self) -> bool:
        """Tell whether a transaction is open."""

    def terminate(self) -> None:
        """Cut the connection off."""


CONNECT_SECONDS: Final = 5.0
STATEMENT_SECONDS: Final = 10.0
"""How long one statement may take, waiting for locks included."""
IDLE_SECONDS: Final = 5.0
"""How long a gateway may be silent within a transaction: one that hangs gives up the log to the others."""
READERS: Final = 4
SETTINGS: Final = {
    "application_name": "lgsp",
    "statement_timeout": f"{STATEMENT_SECONDS:.0f}s",
    "idle_in_transaction_session_timeout": f"{IDLE_SECONDS:.0f}s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "synchronous_commit": "on",
    "default_transaction_isolation": "read committed",
    "jit": "off",
    # Keys lead to rows, also where the planner would reckon with a disk that turns.
    "random_page_cost": "1.1",
}
"""What each connection asks of the server, whatever the database's own defaults are."""
TROUBLES: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)
"""All that the driver raises when the server says no, is away or too slow."""
PASSING: Final = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.LockNotAvailableError,
)
"""Troubles that are over when the transaction is tried again."""


async def _leave_as_it_is(_: Any) -> None:  # noqa: ANN401 - a connection, whose class the driver does not say
    """Spare the round trip that resets a connection: nothing is ever set on one, and a transaction that fails ends it."""


async def open_pool(dsn: str, *, size: int) -> asyncpg.Pool:
    """Return up to `size` connections, each made when it is wanted and kept from then on."""
    return await asyncpg.create_pool(
        dsn,
        # With a least number the driver would go on trying in the background, and tell the world of it in its own words.
        min_size=0,
        max_size=size,
        max_inactive_connection_lifetime=0,
        timeout=CONNECT_SECONDS,
        # The server is to give up first: then the connection stays.
        command_timeout=STATEMENT_SECONDS + 1,
        server_settings=SETTINGS,
        reset=_leave_as_it_is,
    )


@asynccontextmanager
async def held(pool: asyncpg.Pool) -> AsyncIterator[Connection]:
    """Hold a connection for the block; one that is left in a transaction or in an unknown state is ended, never handed on."""
    connection = await pool.acquire(timeout=STATEMENT_SECONDS)
    try:
        yield connection
    except Exception:
        if is_open(connection):
            connection.terminate()
        raise
    except BaseException:
        # Given up in the middle of a statement: what the server makes of it is not waited for.
        connection.terminate()
        raise
    finally:
        await pool.release(connection, timeout=CONNECT_SECONDS)


def is_open(connection: Connection) -> bool:
    """Tell whether a transaction is open; on a connection that is cut off none is."""
    try:
        return connection.is_in_transaction()
    except asyncpg.InterfaceError:
        return False


async def close_pool(pool: asyncpg.Pool) -> None:
    """Close all connections; those that do not end in time, or not in peace, are cut off."""
    try:
        async with asyncio.timeout(STATEMENT_SECONDS):
            await pool.close()
    except TROUBLES:  # one that the network broke, too: gone is what was wanted
        pool.terminate()


async def close_connection(connection: asyncpg.Connection, *, seconds: float) -> None:
    """Close a connection, or cut it off when it does not end in time and in peace."""
    try:
        await connection.close(timeout=seconds)
    except TROUBLES:
        connection.terminate()
