"""Which form the tables have, and who may work with them; for both engines. The way from one form to the next is left to `steps`.

A form has a number, kept in `meta` as `schema`, and beside it as `compatible` the oldest form whose gateways may go on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from lgsp.errors import Unusable

VERSION: Final = 4
"""The form that this program makes and knows."""
COMPATIBLE: Final = 2
"""The oldest form whose gateways may go on beside this one's."""
FRESH: Final = {"schema": str(VERSION), "compatible": str(COMPATIBLE)}
"""What `meta` says of tables that were made anew."""


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
