"""The steps from one form of the tables to the next, for both engines: running them is left to the engine.

They are the revisions in `migrations/`, written for Alembic, which gives their text for either engine. It takes long to load, so whoever may
have to upgrade imports this when it comes to that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy.engine import Dialect

MIGRATIONS: Final = Path(__file__).parent / "migrations"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One revision as statements of an engine, and what `meta` says once they have run."""

    statements: tuple[str, ...]
    meta: Mapping[str, str]


class _Told(list[str]):
    """Takes the statements one by one, as Alembic writes them to a file."""

    def write(self, text: str) -> None:
        self.append(text.strip().removesuffix(";"))

    def flush(self) -> None:
        """Do nothing: nothing is held back."""


def steps(dialect: Dialect, *, above: int) -> Iterator[Step]:
    """Yield the steps from form `above` to this program's, in order; 0 stands for no tables at all."""
    revisions = ScriptDirectory(str(MIGRATIONS)).walk_revisions()
    for revision in reversed(list(revisions)):
        if int(revision.revision) > above:
            told = _Told()
            context = MigrationContext.configure(dialect=dialect, opts={"as_sql": True, "output_buffer": told})
            with Operations.context(context):
                revision.module.upgrade()
            meta = {"schema": revision.revision, "compatible": str(revision.module.compatible)}
            yield Step(statements=tuple(told), meta=meta)
