"""Which form the tables have, who may work with them, and the steps from one form to the next; for both engines.

A form has a number, kept in `meta` as `schema`, and beside it as `compatible` the oldest form whose gateways may go on. The steps are the
revisions in `migrations/`, written for Alembic, which gives their text for either engine; running it is left to the engine.
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

from lgsp.errors import Unusable

VERSION: Final = 3
"""The form that this program makes and knows."""
COMPATIBLE: Final = 2
"""The oldest form whose gateways may go on beside this one's."""
FRESH: Final = {"schema": str(VERSION), "compatible": str(COMPATIBLE)}
"""What `meta` says of tables that were made anew."""
MIGRATIONS: Final = Path(__file__).parent / "migrations"


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """The form that tables were found in."""

    version: int
    compatible: int

    @classmethod
    def of(cls, meta: Mapping[str, str]) -> Form:
        """Return the form that `meta` tells; refuse (`data_unusable`) what is no ledger of the bus."""
        try:
            version = int(meta["schema"])
            return cls(version=version, compatible=int(meta.get("compatible", version)))
        except (KeyError, ValueError):
            raise Unusable("data_unusable", "it is no ledger of the bus") from None

    @property
    def is_current(self) -> bool:
        """Whether it is the form that this program makes."""
        return self.version == VERSION

    def check(self, where: str) -> None:
        """Refuse tables (of this file or database) that this program must not touch, as `schema_old` or `data_newer`."""
        if self.version < VERSION:
            raise Unusable(
                "schema_old", f"{where} has version {self.version}, wanted is {VERSION}: run lgsp db upgrade"
            )
        if self.version > VERSION + 1 or self.compatible > VERSION:
            raise Unusable("data_newer", f"{where} has version {self.version}, this program knows {VERSION}")


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
