"""Making the tables, telling their form and bringing it up to date; one process at a time, under the lock of the log."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

import asyncpg

from lgsp.backends.sql.postgresql import statements as sql
from lgsp.backends.sql.postgresql.pool import (
    CONNECT_SECONDS,
    SETTINGS,
    STATEMENT_SECONDS,
    TROUBLES,
    Connection,
    close_connection,
    held,
)
from lgsp.backends.sql.schema import FRESH, Form
from lgsp.errors import Unusable

UPGRADE_SECONDS: Final = 600.0
"""How long a step may take: an index over a year's rows is not made in a moment."""
TABLES: Final = "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()"
SET_META: Final = "INSERT INTO meta VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value"


@asynccontextmanager
async def told_plainly() -> AsyncIterator[None]:
    """Turn the driver's troubles into refusals with words of our own."""
    try:
        yield
    except asyncpg.InvalidCatalogNameError:
        raise Unusable("database_away", "there is no such database") from None
    except (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError):
        raise Unusable("database_away", "it does not accept the name or the password") from None
    except asyncpg.InsufficientPrivilegeError:
        raise Unusable("database_away", "the name may not read or write there") from None
    except ValueError:
        raise Unusable("config_invalid", "storage.url is no address of a database") from None
    except TROUBLES as error:
        raise Unusable("database_away", f"no answer ({type(error).__name__})") from None


async def prepare(pool: asyncpg.Pool, *, create: bool) -> None:
    """Make the tables where there are none and `create` says so; refuse those that this program must not touch."""
    async with told_plainly(), held(pool) as connection:
        if create:
            async with alone(connection):
                if await connection.fetchval(TABLES) == 0:
                    await _run(connection, sql.creation(), FRESH)
        form = await form_of(connection)
        if form is None:
            raise Unusable("data_missing", "the database holds no ledger yet")
        form.check("the database")


async def form_of(connection: Connection) -> Form | None:
    """Return the form of the tables, None where there are none."""
    if await connection.fetchval(TABLES) == 0:
        return None
    try:
        return Form.of(dict(await connection.fetch(sql.ALL_META.text)))
    except asyncpg.UndefinedTableError:
        return Form.of({})


@asynccontextmanager
async def connected(dsn: str, *, seconds: float = UPGRADE_SECONDS) -> AsyncIterator[asyncpg.Connection]:
    """Hold a connection of its own for the block, with time for steps of so many seconds, or for thinking as long within a transaction."""
    async with told_plainly():
        limits = dict.fromkeys(("statement_timeout", "idle_in_transaction_session_timeout"), f"{seconds:.0f}s")
        connection = await asyncpg.connect(
            dsn, timeout=CONNECT_SECONDS, command_timeout=seconds, server_settings=SETTINGS | limits
        )
        try:
            yield connection
        finally:
            await close_connection(connection, seconds=STATEMENT_SECONDS)


async def form_at(dsn: str) -> Form | None:
    """Return the form of the tables of a database, None where there are none."""
    async with connected(dsn) as connection:
        return await form_of(connection)


async def upgrade(dsn: str) -> None:
    """Bring the tables of a database to this program's form, all steps or none, while gateways of the form before go on."""
    from lgsp.backends.sql.steps import steps  # noqa: PLC0415 - Alembic takes long to load, and only an upgrade wants it

    async with connected(dsn) as connection, alone(connection):
        form = await form_of(connection)
        for step in steps(sql.DIALECT, above=0 if form is None else form.version):
            await _run(connection, step.statements, step.meta)


@asynccontextmanager
async def alone(connection: Connection) -> AsyncIterator[None]:
    """Hold a transaction in which nobody else appends."""
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", sql.APPENDING)
        yield


async def _run(connection: Connection, statements: Sequence[str], meta: Mapping[str, str]) -> None:
    for statement in statements:
        await connection.execute(statement)
    await connection.executemany(SET_META, list(meta.items()))
