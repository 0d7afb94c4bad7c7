"""A system's settings: where its gateway is, who it is, where key and box are, and whom it trusts; and the adapter's own table.

A TOML file, with `LGSP_URL` (one address, or several with commas between) above its `url` and `other_urls`, and `LGSP_SETTING_<NAME>` above a
name of `[settings]`, so that a secret need not stand in a file.
Reading the key is `keyfiles`'; which settings an adapter takes is its manifest's.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from lgsp.domain import keys, names
from lgsp.domain.guesses import problems_of
from lgsp.domain.keys import PublicKey
from lgsp.errors import Refusal, Unusable
from lgsp.tls import check_url

PREFIX: Final = "LGSP_SETTING_"
FILES: Final = ("key", "box", "ca", "certificate", "certificate_key")


def _system(text: str) -> str:
    try:
        return names.system_urn(text)
    except Refusal as refusal:
        raise ValueError(refusal.detail) from None


def _bus(text: str) -> str:
    if names.BUS_FORM.fullmatch(text) is None:
        raise ValueError("is not the URN of a bus, like urn:lgsp:bus:91")
    return text


def _public(jwk: dict[str, str]) -> dict[str, str]:
    try:
        keys.public_key(jwk)
    except Refusal as refusal:
        raise ValueError(refusal.detail) from None
    return jwk


class SystemSettings(BaseModel):
    """Everything a system needs to take part; paths are absolute once loaded."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: Annotated[str, AfterValidator(check_url)]
    """The gateway's address."""
    other_urls: tuple[Annotated[str, AfterValidator(check_url)], ...] = ()
    """Addresses of further gateways of the same bus, tried in turn when a stream ends or cannot be had."""
    bus: Annotated[str, AfterValidator(_bus)]
    system: Annotated[str, AfterValidator(_system)]
    """This system, as URN or in the short form `H01.12/vnfishbase`; held as URN."""
    key: Path
    """The system's private key, PKCS#8 PEM, mode 0600."""
    box: Path
    """The file of outbox and inbox, made when missing."""
    ca: Path | None = None
    """The only authorities by which the gateway's TLS certificate is believed, PEM; without it those that this machine trusts."""
    certificate: Path | None = None
    """The certificate that names this system, PEM, for a gateway that looks at it, with `certificate_key` in a file of its own."""
    certificate_key: Path | None = None
    registrar: Annotated[dict[str, str], AfterValidator(_public)]
    """The pinned public key (JWK) under which the directory is believed."""
    log: Annotated[str, Field(pattern=r"^[a-z0-9./-]{3,120}$")]
    """The origin of the bus's log, which every receipt names."""
    settings: dict[str, Any] = Field(default_factory=dict, repr=False)
    """The adapter's own settings."""

    @model_validator(mode="after")
    def _whole_pair(self) -> Self:
        if (self.certificate is None) != (self.certificate_key is None):
            raise ValueError("certificate and certificate_key are given together or not at all")
        return self

    @classmethod
    def load(cls, path: Path, environment: Mapping[str, str] | None = None) -> Self:
        """Return the settings of a TOML file; refuse (`config_invalid`) with every problem at once, never with a value."""
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise Unusable("config_invalid", f"{path}: {getattr(error, 'strerror', None) or 'not UTF-8'}") from None
        except tomllib.TOMLDecodeError as error:
            raise Unusable("config_invalid", f"{path}: {error}") from None
        return cls._of(path, _overridden(table, os.environ if environment is None else environment))

    @classmethod
    def _of(cls, path: Path, table: dict[str, Any]) -> Self:
        try:
            found = cls.model_validate(table)
        except ValidationError as error:
            raise Unusable("config_invalid", described(path, problems_of(error, cls))) from None
        folder = path.absolute().parent
        paths = {name: folder / given for name in FILES if (given := getattr(found, name)) is not None}
        return found.model_copy(update=paths)

    @property
    def urls(self) -> tuple[str, ...]:
        """Every address, in the order in which they are tried."""
        return self.url, *self.other_urls

    @property
    def pinned(self) -> PublicKey:
        """The registrar's key."""
        return keys.public_key(self.registrar)


def _overridden(table: dict[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    named = {name.removeprefix(PREFIX).lower(): value for name, value in environment.items() if name.startswith(PREFIX)}
    found = dict(table)
    if "LGSP_URL" in environment:
        found["url"], *found["other_urls"] = (each.strip() for each in environment["LGSP_URL"].split(","))
    if named and isinstance(found.get("settings", {}), dict):
        found["settings"] = {**found.get("settings", {}), **named}
    return found


def described(path: Path, problems: Iterable[str]) -> str:
    """Return every problem of a file on a line of its own."""
    return "\n".join(f"{path}: {problem}" for problem in problems)
