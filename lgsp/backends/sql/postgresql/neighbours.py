"""Gateways on one database: each holds a lock for as long as it lives, and they tell each other news by LISTEN and NOTIFY.

All of it goes over one connection of the gateway's own, beside the ledger's: no commit waits for it. The lock goes with the connection, so a
gateway that was killed is dead within a moment. One whose connection broke comes back within a second; only who is gone for longer counts as
dead. What the texts say is left to `newsletter`, what follows from them to the bus.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final, NoReturn

import asyncpg

from lgsp import logs
from lgsp.backends.sql.postgresql import newsletter
from lgsp.backends.sql.postgresql.making import connected, told_plainly
from lgsp.backends.sql.postgresql.pool import CONNECT_SECONDS, SETTINGS, TROUBLES, close_connection
from lgsp.domain.leases import HOLDER_DIGITS
from lgsp.errors import Unusable
from lgsp.ports.clock import Clock
from lgsp.ports.neighbours import Hear, News, gathered

CHANNEL: Final = "lgsp_news"
LIVING: Final = 731_057
NAMED: Final = 731_058
"""Of which kind a lock is: that of a running gateway, by its number; that of a gateway's name, which runs once."""
LOOK_EVERY: Final = 0.5
"""Seconds between two looks at who lives, what time the database has and which directory is in force."""
GATHER: Final = 0.003
"""Seconds in which news gathers before it is told, when some was told within `LATELY`; what comes after a rest is told at once."""
LATELY: Final = 0.02
GONE: Final = 3.0
"""Seconds after which a gateway whose lock is gone is dead; it has tried to come back several times by then."""
AGAIN: Final = 0.2
"""Seconds between tries to connect again."""
ANSWER_SECONDS: Final = 5.0
CLOSE_SECONDS: Final = 1.0
CLOCK_OFF: Final = timedelta(seconds=1)
OWN_SETTINGS: Final = SETTINGS | {
    # Nothing durable is written here, and nobody is to wait for a disk.
    "synchronous_commit": "off",
    "statement_timeout": f"{ANSWER_SECONDS:.0f}s",
    # A machine that lost its power is noticed within seconds, not after half a minute.
    "tcp_keepalives_idle": "2",
    "tcp_keepalives_interval": "1",
    "tcp_keepalives_count": "3",
}
TRY_LOCK: Final = "SELECT pg_try_advisory_lock($1, $2)"
TELL: Final = "SELECT pg_notify($1, text) FROM unnest($2::text[]) AS text"
LOOK: Final = """
SELECT clock_timestamp(), (SELECT coalesce(max(version), 0) FROM directory_version), ARRAY(
  SELECT objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND classid = $1 AND objsubid = 2 AND granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))
"""


async def count_gateways(dsn: str) -> int:
    """Return how many gateways run on a database."""
    async with connected(dsn) as connection:
        _, _, found = await connection.fetchrow(LOOK, LIVING)
    return len(found)


def _lock_number(digits: str) -> int:
    """Return 8 hexadecimal digits as the server takes them: a signed number of 32 bits."""
    return int.from_bytes(bytes.fromhex(digits), signed=True)


def _now() -> float:
    return asyncio.get_running_loop().time()


@dataclass(slots=True)
class Presence:
    """Who lives, by what was seen on a connection that lasts; times on the loop's clock."""

    holder: str
    since: float | None = None
    """When the first look of this connection was, None without one."""
    looked: float = 0.0
    present: frozenset[str] = frozenset()
    missing: dict[str, float] = field(default_factory=dict)
    """Those who were seen, by when they were first found gone."""

    def see(self, found: frozenset[str], at: float) -> None:
        """Learn who holds a lock now."""
        if self.since is None:
            self.since = at
            self.missing.clear()
        for holder in self.present - found:
            self.missing.setdefault(holder, at)
        for holder in found:
            self.missing.pop(holder, None)
        self.present, self.looked = found, at
        self.missing = {holder: first for holder, first in self.missing.items() if at - first < GONE}

    def lose_sight(self) -> None:
        """Know nothing for sure until the next connection has lasted for a while."""
        self.since = None

    def living(self) -> frozenset[str] | None:
        """Return who lives, those among them who may yet come back; None while that is not sure."""
        if self.since is None or self.looked - self.since < GONE:
            return None
        return self.present | self.missing.keys() | {self.holder}

    @property
    def alone(self) -> bool:
        """Whether nobody else was there at the last look."""
        return len(self.present) <= 1  # it sees itself


class PostgresNeighbours:
    """One gateway's place among those on a database; it works inside `running`."""

    def __init__(self, dsn: str, *, gateway: str, clock: Clock, patience: float) -> None:
        self._dsn = dsn
        self._gateway = gateway
        self._clock = clock
        self._patience = patience
        self._holder = secrets.token_hex(HOLDER_DIGITS // 2)
        self._presence = Presence(self._holder)
        self._connection: asyncpg.Connection | None = None
        self._news: list[News] = []
        self._bell = asyncio.Event()
        self._hear: Hear | None = None
        self._trouble = "away"
        self._was_away = False
        self._told_at = 0.0
        self._offset = timedelta(0)
        self._directory = 0

    @property
    def holder(self) -> str:
        """The number of this running gateway."""
        return self._holder

    @property
    def alone(self) -> bool:
        """Whether no other gateway was there at the last look."""
        return self._presence.alone

    def living(self) -> frozenset[str] | None:
        """Return the numbers of the gateways that live; None until a connection has lasted for long enough to be sure."""
        return self._presence.living()

    def tell(self, news: News) -> None:
        """Have the others hear something in a moment; it is lost when the connection is away."""
        if self._connection is not None:
            self._news.append(news)
            self._bell.set()

    def listen(self, hear: Hear) -> None:
        """Have `hear` called with what the others tell."""
        self._hear = hear

    async def state(self) -> str:
        """Return `ok`, or why the others are neither heard nor told."""
        return self._trouble or "ok"

    async def clock_state(self) -> str:
        """Return `ok`, or how far this machine's clock is off the database's."""
        if abs(self._offset) <= CLOCK_OFF:
            return "ok"
        side = "ahead of" if self._offset > timedelta(0) else "behind"
        return f"{abs(self._offset).total_seconds():.0f} s {side} the database"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Take the place for the length of a block; refuse as `gateway_running` beside one of the same name, as `database_away`."""
        await self._join_patiently()
        try:
            async with asyncio.TaskGroup() as group:
                attending = group.create_task(self._stay(), name="neighbours")
                try:
                    yield
                finally:
                    attending.cancel()
        finally:
            await self._leave()

    # --- the connection ----------------------------------------------------------------------------------------------------------

    async def _join_patiently(self) -> None:
        until = _now() + self._patience
        async with told_plainly():
            while not await self._join():
                if _now() >= until:
                    raise Unusable("gateway_running", self._gateway)
                await asyncio.sleep(AGAIN)

    async def _join(self) -> bool:
        """Connect, take the locks, and look; tell whether this is the one gateway of its name."""
        connection = await asyncpg.connect(
            self._dsn, timeout=CONNECT_SECONDS, command_timeout=ANSWER_SECONDS + 1, server_settings=OWN_SETTINGS
        )
        try:
            if not await self._lock(connection):
                await close_connection(connection, seconds=CLOSE_SECONDS)
                return False
            await connection.add_listener(CHANNEL, self._listen)
            await self._look(connection)
            # Who was away before may have been heard of in vain.
            await connection.execute(TELL, CHANNEL, newsletter.write(News(missed=self._was_away), self._holder))
        except BaseException:
            connection.terminate()
            raise
        self._connection, self._trouble = connection, ""
        logs.get_logger().info("neighbours.joined", count=len(self._presence.present))
        return True

    async def _lock(self, connection: asyncpg.Connection) -> bool:
        name = sha256(self._gateway.encode()).hexdigest()[:HOLDER_DIGITS]
        for kind, digits in ((NAMED, name), (LIVING, self._holder)):
            if not await connection.fetchval(TRY_LOCK, kind, _lock_number(digits)):
                return False
        return True

    async def _stay(self) -> None:
        """Attend to the connection until cancelled, and to the next one when it breaks."""
        while True:
            try:
                if self._connection is not None:
                    await self._attend(self._connection)
                if await self._join():
                    self._told(News(missed=True))
                else:
                    self._trouble = "named alike"
            except TROUBLES as error:
                self._lose(type(error).__name__)
            await asyncio.sleep(AGAIN)

    def _lose(self, reason: str) -> None:
        connection, self._connection = self._connection, None
        self._news.clear()
        self._presence.lose_sight()
        if not self._trouble:
            logs.get_logger().warning("neighbours.away", reason=reason)
        self._trouble, self._was_away = "away", True
        if connection is not None:
            connection.terminate()

    async def _leave(self) -> None:
        """Tell what is left to tell, and let the locks go."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(*TROUBLES):
                await self._tell(connection)
            await close_connection(connection, seconds=CLOSE_SECONDS)

    async def _attend(self, connection: asyncpg.Connection) -> NoReturn:
        while True:
            await self._look(connection)
            until = _now() + LOOK_EVERY
            while await self._is_rung(until):
                await asyncio.sleep(GATHER if _now() - self._told_at < LATELY else 0)
                await self._tell(connection)
                self._told_at = _now()

    async def _is_rung(self, until: float) -> bool:
        """Wait for news until a moment, and tell whether there are any."""
        if _now() < until:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    return await self._bell.wait()
        return False

    # --- what goes over it -------------------------------------------------------------------------------------------------------

    async def _look(self, connection: asyncpg.Connection) -> None:
        before = self._clock.now()
        there, version, found = await connection.fetchrow(LOOK, LIVING)
        self._offset = _offset(before, there, self._clock.now())
        self._presence.see(frozenset(f"{number:08x}" for number in found), _now())
        if version > self._directory and self._hear is not None:
            self._directory = version
            self._told(News(directory=version))

    async def _tell(self, connection: asyncpg.Connection) -> None:
        self._bell.clear()
        news, self._news = gathered(self._news), []
        if news != News() and not self.alone:
            await connection.execute(TELL, CHANNEL, newsletter.write(news, self._holder))

    def _listen(self, _connection: Any, _pid: int, _channel: str, text: object) -> None:  # noqa: ANN401 - the driver's own
        teller, news = newsletter.read(str(text))
        if teller == self._holder:
            return
        if teller not in self._presence.present:
            # It has just come: from now on it is told everything.
            self._presence.present |= {teller}
        if news != News():
            self._told(news)

    def _told(self, news: News) -> None:
        if self._hear is not None:
            self._hear(news)


def _offset(before: datetime, there: datetime, after: datetime) -> timedelta:
    """Return how far the own clock is ahead of another one that was asked in between; nothing as far as the way there can explain it."""
    return max(before - there, timedelta(0)) or min(after - there, timedelta(0))
