"""Databases of a run on its private PostgreSQL server (`lgsp.privatedatabase`)."""

from __future__ import annotations

import asyncpg

from lgsp.privatedatabase import PrivateDatabase


async def create(server: PrivateDatabase, name: str) -> str:
    """Make an empty database on a server and return its address."""
    connection = await asyncpg.connect(server.url(), timeout=30)
    try:
        await connection.execute(f'CREATE DATABASE "{name}"')
    finally:
        await connection.close()
    return server.url(name)
