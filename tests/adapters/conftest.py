import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lgsp.cli.directory.file import read_file
from lgsp.cli.keys.policy import read_policy
from lgsp.cli.registrar import draw_plan, sign_plan
from lgsp.domain import envelope, jws, policy, strictjson
from lgsp.domain.contracts import Contracts
from lgsp.domain.directory import Directory, empty_directory, open_directory
from lgsp.domain.envelope import Wire
from lgsp.machine import SystemEntropy
from lgsp.sdk import (
    Adapter,
    AdapterManifest,
    AdapterSettings,
    Effect,
    Failure,
    Message,
    NotReady,
    Outcome,
    Reject,
    Retry,
    Stated,
    Tables,
    Work,
)
from lgsp.sdk.adapter import handlers_of
from lgsp.sdk.composition import Composer
from lgsp.sdk.outbox import Letter
from lgsp.testing.world import BUS, OWNERS, schema_documents, signer_named

ROOT = Path(__file__).parents[2]
MORNING = datetime(2026, 11, 22, 0, 16, 31, tzinfo=UTC)


class Clock:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self.moment = MORNING

    def now(self) -> datetime:
        return self.moment

    def seconds(self) -> float:
        return self.moment.timestamp()

    def advance(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


@dataclass(slots=True, kw_only=True)
class Bench:
    """Stands for a system's client: its box is a database in memory, its outbox a dictionary, and nothing is sent.

    Composition, effects and tables are the SDK's own; each write is one transaction. `before_commit` may raise in place of a crash.
    """

    composer: Composer
    directory: Directory
    clock: Clock
    connection: sqlite3.Connection = field(default_factory=lambda: sqlite3.connect(":memory:", isolation_level=None))
    outbox: dict[str, Letter] = field(default_factory=dict)
    """By key, or by id where there is none."""
    done: dict[str, Effect] = field(default_factory=dict)
    """By env hash."""
    put_back: list[Retry | NotReady] = field(default_factory=list)
    moved: asyncio.Event = field(default_factory=asyncio.Event)
    """Set by every commit."""
    before_commit: Callable[[], None] = lambda: None

    def letter(self, type_: str, stated: Stated) -> Letter:
        return self.composer.letter(type_, stated, self.directory)

    def reply(self, request: envelope.Manifest, body: Any, *, schema: str | None, orgcat: str | None) -> Letter:
        return self.composer.reply(request, body, self.directory, schema=schema, orgcat=orgcat)

    def read(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self.connection.execute(sql, params).fetchall()

    async def write(self, change: Callable[[Tables], Any]) -> Any:
        self.connection.execute("BEGIN")
        try:
            result = change(Tables(self.connection))
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")
        self.moved.set()
        return result

    @asynccontextmanager
    async def work(self) -> AsyncIterator[Work]:
        work = Work(compose=self)
        yield work
        await self.finish(work)

    @asynccontextmanager
    async def effect(self, message: Message, *, outside: bool) -> AsyncIterator[Effect]:
        effect = Effect(compose=self, request=message.manifest)
        try:
            yield effect
        except Reject as rejection:
            effect.refuse(rejection)
        except (Retry, NotReady) as pause:
            self.put_back.append(pause)
            return
        await self.finish(effect)
        self.done[message.env] = effect
        message.is_settled = True

    async def finish(self, work: Work) -> None:
        def commit(tables: Tables) -> None:
            for step in work.steps:
                step(tables)
            self.before_commit()
            for letter in work.letters:
                self.outbox.setdefault(letter.key or letter.id, letter)

        await self.write(commit)

    def message(self, letter: Letter, *, key: str | None = None) -> Message:
        """Return somebody's letter as it is handed to this system."""
        wire = Wire(compact=letter.compact, body=letter.body)
        return Message(
            manifest=stated_by(letter),
            body=strictjson.parse(letter.body),
            env=wire.hash,
            attempt=1,
            key=key,
            uncertain=False,
            wire=wire,
            settles=self,
        )

    def failure(self, letter: Letter, state: Any, code: str = "") -> Failure:
        """Return the news that a letter of this system came to a bad end."""

        @asynccontextmanager
        async def act(_outcome: Outcome) -> AsyncIterator[Work]:
            async with self.work() as work:
                yield work

        ended = Outcome(
            id=letter.id,
            key=letter.key,
            type=letter.type,
            env=letter.env,
            to=letter.audience,
            state=state,
            code=code,
        )
        return Failure(outcome=ended, act=act)


def stated_by(letter: Letter) -> envelope.Manifest:
    """Return what a letter states, without proving it."""
    return envelope.parse_manifest(jws.parse(letter.compact, typ=envelope.TYP).payload)


def manifest_of(name: str) -> AdapterManifest:
    """Return the manifest of one of the project's adapters."""
    return AdapterManifest.load(ROOT / "adapters" / name / "adapter.toml")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def directory() -> Directory:
    """Return the directory of the demo's province, signed by a registrar made up here."""
    registrar = signer_named("registrar")
    wanted = read_file(ROOT / "adapters" / "province.toml")
    sealed = sign_plan(draw_plan(empty_directory(BUS), wanted, {}, read_policy()), registrar, MORNING)
    return open_directory(sealed.statement, sealed.records, registrar.public, bus=BUS)


@pytest.fixture
def bench(clock: Clock, directory: Directory) -> Callable[[str], Bench]:
    """Return the function that makes a bench for a system by its signer's name in the made-up world."""

    def make(signer: str) -> Bench:
        key, urn = signer_named(signer), OWNERS[signer][0]
        composer = Composer(system=urn, signer=key, clock=clock, entropy=SystemEntropy())
        return Bench(composer=composer, directory=directory, clock=clock)

    return make


@pytest.fixture
def adapter_on() -> Callable[..., Any]:
    """Return the function that makes an adapter of a class on a bench, with settings changed."""

    def make(kind: type[Adapter], name: str, bench: Bench, **settings: Any) -> Adapter:
        manifest = manifest_of(name)
        values: AdapterSettings = manifest.values(settings, {})
        client: Any = SimpleNamespace(
            read=bench.read,
            write=bench.write,
            work=bench.work,
            clock=bench.clock,
            request=getattr(bench, "request", None),
        )
        return kind(client=client, manifest=manifest, settings=values)

    return make


@pytest.fixture
def handle() -> Callable[..., Any]:
    """Return the function that hands a letter to an adapter, as the runner does."""

    async def handed(adapter: Adapter, bench: Bench, letter: Letter, key: str | None = None) -> Message:
        message = bench.message(letter, key=key)
        await handlers_of(adapter)[letter.type](message)
        return message

    return handed


@pytest.fixture
def accepted(directory: Directory) -> Callable[[Letter], str]:
    """Return the function that judges a request as the bus does, by grant and schema, and returns the rule that allowed it."""
    contracts = Contracts(schema_documents())

    def judged(letter: Letter) -> str:
        manifest = stated_by(letter)
        leave = policy.allow_request(directory, manifest, now=manifest.recorded, used=lambda _grant: 0)
        assert manifest.schema in leave.service.schemas
        assert manifest.expires - manifest.recorded <= timedelta(seconds=leave.service.max_life)
        contracts.check(manifest.schema, strictjson.parse(letter.body))
        return leave.rule

    return judged
