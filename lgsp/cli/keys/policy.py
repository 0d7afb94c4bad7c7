"""The key policy (`keys/policy.toml`): which algorithms a key of a role may have, how long it lasts, how many are valid at once.

It is the registrar's rule for what is registered; what a signature under a registered key proves is `domain.keys`'.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

import lgsp
from lgsp.domain.directory import Directory, Key
from lgsp.domain.keys import Role
from lgsp.errors import Unusable, not_usable

Algorithm = Literal["Ed25519", "ES256"]
Days = Annotated[int, Field(ge=1, le=36_500)]
ROLES: Final[tuple[Role, ...]] = ("system", "officer", "gateway", "registrar", "log")


class AlgorithmRule(BaseModel):
    """One algorithm of the closed table."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bits: Annotated[int, Field(ge=256)]


class RoleRule(BaseModel):
    """What keys of one role are like."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    algorithms: Annotated[tuple[Algorithm, ...], Field(min_length=1)]
    lifetime_days: Days
    overlap_days: Days
    valid_at_once: Annotated[int, Field(ge=1, le=8)]
    proof: bool = False
    """Whether a directory file has to show that the owner holds the private key."""


class KeyPolicy(BaseModel):
    """The whole policy."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    algorithm: dict[Algorithm, AlgorithmRule]
    role: dict[Role, RoleRule]

    @model_validator(mode="after")
    def _whole(self) -> KeyPolicy:
        missing = [role for role in ROLES if role not in self.role]
        if missing:
            raise ValueError(f"no rule for the roles {', '.join(missing)}")
        unknown = {alg for rule in self.role.values() for alg in rule.algorithms} - self.algorithm.keys()
        if unknown:
            raise ValueError(f"no rule for the algorithms {', '.join(sorted(unknown))}")
        return self


def policy_file() -> Path:
    """Return where the policy lies: beside the package in a checkout, inside it where the wheel is installed."""
    package = Path(lgsp.__file__).parent
    installed = package / "_keys" / "policy.toml"
    return installed if installed.is_file() else package.parent / "keys" / "policy.toml"


def read_policy(path: Path | None = None) -> KeyPolicy:
    """Return the policy of a file, or the one that ships with the project; refuse as `data_missing` or `config_invalid`."""
    chosen = path or policy_file()
    try:
        return KeyPolicy.model_validate(tomllib.loads(chosen.read_text(encoding="utf-8")))
    except OSError as error:
        raise not_usable(chosen, error) from None
    except ValidationError as error:
        rows = error.errors(include_url=False, include_input=False)
        problems = (f"{chosen}: {'.'.join(map(str, row['loc']))}: {row['msg']}" for row in rows)
        raise Unusable("config_invalid", "\n".join(problems)) from None
    except ValueError as error:
        raise Unusable("config_invalid", f"{chosen}: {error}") from None


def objections(policy: KeyPolicy, directory: Directory) -> list[str]:
    """Return, in words, what the policy has against the keys that are valid in this version of the directory."""
    valid = [key for key in directory.keys.values() if key.record.holds_at(directory.version)]
    found = [
        f"key {key.record.id}: a {key.role} key may not use {key.public.alg}"
        for key in valid
        if key.public.alg not in policy.role[key.role].algorithms
    ]
    counts = Counter((key.owner, key.role) for key in valid)
    return found + [
        f"{owner}: {count} {role} keys would be valid at once, the policy allows {policy.role[role].valid_at_once}"
        for (owner, role), count in counts.items()
        if count > policy.role[role].valid_at_once
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Age:
    """How a valid key stands: registered since a moment, due for rotation or not; `twin` when a younger key should have replaced it."""

    key: Key
    since: datetime
    due: datetime
    overdue: bool
    twin: bool


def ages(policy: KeyPolicy, directory: Directory, dates: dict[int, datetime], now: datetime) -> Iterable[Age]:
    """Yield the age of every valid key; `dates` tells when each version of the directory was signed."""
    for key in directory.keys.values():
        if key.record.holds_at(directory.version):
            yield _age(policy, directory, key, dates, now)


def _age(policy: KeyPolicy, directory: Directory, key: Key, dates: dict[int, datetime], now: datetime) -> Age:
    rule = policy.role[key.role]
    since = dates[key.record.since]
    due = since + timedelta(days=rule.lifetime_days)
    younger = [
        dates[other.record.since]
        for other in directory.keys_of(key.owner)
        if other.role == key.role and other.record.since > key.record.since
    ]
    twin = any(now - moment > timedelta(days=rule.overlap_days) for moment in younger)
    return Age(key=key, since=since, due=due, overdue=due <= now, twin=twin)
