"""The schema documents that ship with the project: `schemas/` in a checkout, `lgsp/_schemas` where the wheel is installed.

Which of them a bus has published is the directory's; whether they are sound is checked by `domain.contracts`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import lgsp
from lgsp.domain import names
from lgsp.errors import Unusable

PARTS: Final = 3
"""domain / name / version.json"""


def folder() -> Path:
    """Return the folder that holds the documents."""
    package = Path(lgsp.__file__).parent
    installed = package / "_schemas"
    return installed if installed.is_dir() else package.parent / "schemas"


def path_of(urn: str) -> Path:
    """Return the file of a schema URN; refuse (`config_invalid`) what is no schema URN."""
    found = names.SCHEMA_FORM.fullmatch(urn)
    if found is None:
        raise Unusable("config_invalid", f"{urn}: a schema looks like urn:lgsp:schema:common:personal-number:1.0.0")
    return folder() / found[1] / found[2] / f"{found[3]}.json"


def read(urn: str) -> bytes | None:
    """Return the exact bytes of a document, None when it does not ship with the project."""
    try:
        return path_of(urn).read_bytes()
    except FileNotFoundError:
        return None


def read_all() -> dict[str, bytes]:
    """Return every document by URN, in the order of the URNs."""
    files = sorted(folder().glob("*/*/*.json"))
    return {_urn(path): path.read_bytes() for path in files}


def _urn(path: Path) -> str:
    domain, name, file = path.parts[-PARTS:]
    return f"urn:lgsp:schema:{domain}:{name}:{file.removesuffix('.json')}"
