"""Today's communes of An Giang, with their real names and codes, read from the package vietnam-provinces.

The package's Python modules are large enumerations; its data file says the same and loads in milliseconds.
"""

import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

PROVINCE = 91
CATALOGUE = "2025-07"  # the catalogue of communes in which these codes are meant
FIRST_OF_KIEN_GIANG = "30742"  # codes from here on lay in Kiên Giang before July 2025


@dataclass(frozen=True, slots=True, kw_only=True)
class Commune:
    """A commune, ward or special zone; `code` has five digits."""

    code: str
    name: str
    kind: str

    @property
    def prefix(self) -> str:
        """Letters in front of the registration of a vessel at home here."""
        return "KG" if self.code >= FIRST_OF_KIEN_GIANG else "AG"


def communes() -> tuple[Commune, ...]:
    """Return the 102 communes in the order of their codes."""
    provinces = json.loads(_divisions().read_bytes())
    wards = next(province["wards"] for province in provinces if province["code"] == PROVINCE)
    found = (Commune(code=f"{ward['code']:05d}", name=ward["name"], kind=ward["division_type"]) for ward in wards)
    return tuple(sorted(found, key=lambda commune: commune.code))


def _divisions() -> Path:
    spec = find_spec("vietnam_provinces")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("install the package vietnam-provinces: it holds the communes")
    return Path(spec.origin).parent / "data" / "nested-divisions.json"
