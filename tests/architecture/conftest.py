"""Where the project's own files are, read once for the tests that judge them."""

import ast
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """One Python file of the product: where it is and what it says."""

    path: str
    lines: int
    tree: ast.Module


def read_module(path: Path) -> Module:
    source = path.read_text(encoding="utf-8")
    return Module(path=path.relative_to(ROOT).as_posix(), lines=len(source.splitlines()), tree=ast.parse(source))


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def modules() -> list[Module]:
    """Every module of the packages that are installed."""
    found = [read_module(path) for package in ("lgsp", "adapters") for path in sorted((ROOT / package).rglob("*.py"))]
    assert found, "no module found: the tests below would judge nothing"
    return found


@pytest.fixture(scope="session")
def project_files() -> dict[str, str]:
    """Path and text of all that git holds or would take; ignored files are a developer's own."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=30).stdout
    paths = sorted(name for name in listing.decode().split("\0") if (ROOT / name).is_file())
    assert "pyproject.toml" in paths, "git lists no files of this checkout"
    return {name: (ROOT / name).read_text(encoding="utf-8", errors="replace") for name in paths}
