"""The lock files hold all that pyproject.toml asks for, each with hashes, and no word about where it came from."""

import re
import tomllib
from dataclasses import dataclass

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

RUN, DEV = "requirements.lock", "requirements-dev.lock"
PIN = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[^\s;]+)(?: ; (?P<marker>.+))?")
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")
# Packages with a wheel for each platform: a lock that holds only the maker's own platform fails elsewhere.
COMPILED = ["aiohttp", "cryptography", "jiter", "pydantic-core", "uvloop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """One package of a lock file."""

    version: str
    hashes: tuple[str, ...]


def read_pin(entry):
    """Split one entry, its continued lines joined, into name and pin; anything else in it is an error."""
    requirement, *hashes = [part.strip() for part in re.split(r" (?=--hash=)", entry)]
    match = PIN.fullmatch(requirement)
    assert match is not None, f"not one exact version: {requirement!r}"
    assert all(HASH.fullmatch(item) for item in hashes), f"an odd hash for {requirement!r}"
    return canonicalize_name(match["name"]), Pin(version=match["version"], hashes=tuple(hashes))


def read_lock(path):
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    entries = re.split(r"\n(?=\S)", "\n".join(lines).replace("\\\n", " ").strip())
    return dict(read_pin(re.sub(r"\s+", " ", entry)) for entry in entries)


@pytest.fixture(scope="module")
def locks(root):
    return {name: read_lock(root / name) for name in (RUN, DEV)}


@pytest.fixture(scope="module")
def asked(root):
    """What pyproject.toml asks for, by the lock file that must hold it."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    always = [
        *project["project"]["dependencies"],
        *project["build-system"]["requires"],
        *project["dependency-groups"]["build"],
    ]
    dev = project["project"]["optional-dependencies"]["dev"]
    return {RUN: list(map(Requirement, always)), DEV: list(map(Requirement, always + dev))}


@pytest.mark.parametrize("name", [RUN, DEV])
def test_a_lock_holds_a_fitting_version_of_every_requirement(name, locks, asked):
    unmet = [
        str(requirement)
        for requirement in asked[name]
        if (pin := locks[name].get(canonicalize_name(requirement.name))) is None
        or not requirement.specifier.contains(pin.version, prereleases=True)
    ]
    assert unmet == [], "run `make lock`"


@pytest.mark.parametrize("name", [RUN, DEV])
def test_every_pin_has_a_hash(name, locks):
    assert [package for package, pin in locks[name].items() if not pin.hashes] == []


@pytest.mark.parametrize("package", COMPILED)
def test_a_compiled_package_has_the_hashes_of_many_platforms(package, locks):
    assert len(locks[RUN][package].hashes) > 10


@pytest.mark.parametrize("name", [RUN, DEV])
def test_a_lock_names_no_place(name, root):
    text = (root / name).read_text(encoding="utf-8")
    assert re.findall(r"\S*(?:://|--index|--extra-index|--find-links|--trusted-host|@ |\.\./)\S*", text) == []
    assert [line for line in text.splitlines() if line.startswith(("/", "-"))] == []


def test_the_tests_run_on_the_very_versions_of_the_bus(locks):
    assert locks[RUN].items() <= locks[DEV].items()


@pytest.mark.parametrize("entry", ["aiohttp>=3", "aiohttp", "aiohttp==1 --hash=md5:00", "x @ file.whl"])
def test_an_entry_that_is_not_one_exact_version_is_noticed(entry):
    with pytest.raises(AssertionError):
        read_pin(entry)
