"""Settings of a gateway: the data folder's `lgsp.toml`, over it the environment, over that the flags of a command.

Every problem is reported at once, with the place each value comes from. What the files named here hold is read by `keyfiles`, the backends and
the edge.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from lgsp.domain import keys, notes
from lgsp.domain.guesses import guess
from lgsp.domain.limits import LIMITS, Limits
from lgsp.domain.records import BusUrn, GatewayUrn
from lgsp.errors import Refusal, Unusable

FILE: Final = "lgsp.toml"
PREFIX: Final = "LGSP_"
NESTED: Final = "__"
ADAPTERS: Final = "LGSP_SETTING_"
"""Variables of adapters' own settings, none of the gateway's."""
DEFAULT_PORT: Final = 8791
LEAST_INBOX_BYTES: Final = 1024 * 1024
"""An inbox that holds less would refuse a receiver's ordinary morning."""
MOST_OF_A_SENDER: Final = 100_000
"""Envelopes a second: more than any gateway takes, so this is no limit at all."""
WITNESS_URL: Final = re.compile(r"(https://[^\s/?#@]+|http://(127\.0\.0\.1|localhost|\[::1\])(:[0-9]+)?)(/[^\s?#]*)?")
"""How far a witness has seen is not signed by it: its certificate has to tell who says so."""
LEAST_STOP_AFTER: Final = 600
"""Seconds: the alarm comes first, and a restart of the witness stops nobody."""

UNREAD: Final = f"{PREFIX}KEYS{NESTED}REGISTRAR: the registrar's public key is written there as a JWK, in JSON"
"""Said where a value of the environment cannot be read: that is the one setting with members."""

Origin = Annotated[str, StringConstraints(pattern=r"^[a-z0-9./-]{3,120}$")]


class Section(BaseModel):
    """One table of the file; a name that is not known is a problem, never ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class BusSection(Section):
    """Which bus and gateway this is; `log` is the origin of the log's checkpoints."""

    urn: BusUrn
    gateway: GatewayUrn
    log: Origin

    @model_validator(mode="after")
    def _of_one_bus(self) -> Self:
        if not self.gateway.startswith(f"{self.urn}:gw:"):
            raise ValueError("the gateway is another bus's")
        return self


class HttpSection(Section):
    """Where the gateway listens; port 0 takes a free one. Beyond loopback it needs TLS, its own or a proxy's.

    `tls_oldest` is the oldest version of TLS that is spoken. `client_ca` are the authorities whose certificates name systems;
    `client_certificates` says whether every system has to show one. `sender_rate` is how many envelopes a second this gateway takes of one sender
    in the long run, and of one that has rested twice as many at once.
    """

    host: Annotated[str, StringConstraints(min_length=1, max_length=255)] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = DEFAULT_PORT
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_oldest: Literal["1.2", "1.3"] = "1.3"
    client_ca: Path | None = None
    client_certificates: Literal["optional", "required"] = "optional"
    behind_tls_proxy: bool = False
    sender_rate: Annotated[int, Field(ge=1, le=MOST_OF_A_SENDER)] = int(LIMITS.rate)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key are given together or not at all")
        if self.client_ca is not None and self.tls_cert is None:
            raise ValueError("client_ca needs tls_cert and tls_key: behind a proxy no client's certificate is seen")
        if self.client_certificates == "required" and self.client_ca is None:
            raise ValueError("client_certificates are required, and client_ca names nobody who gives them")
        return self


class StorageSection(Section):
    """Where the ledger is kept: a file at `path`, or a database. The database's `url` holds its password and is shown nowhere."""

    kind: Literal["sqlite", "postgresql"] = "sqlite"
    path: Path = Path("bus.sqlite")
    url: SecretStr | None = None

    @model_validator(mode="after")
    def _with_address(self) -> Self:
        if self.kind == "postgresql" and not self.address.startswith(("postgresql://", "postgres://")):
            raise ValueError(
                "postgresql needs a url like postgresql://name:password@host/database, best given as LGSP_STORAGE__URL"
            )
        return self

    @property
    def address(self) -> str:
        """The database's URL in clear, or nothing; for the one who connects."""
        return "" if self.url is None else self.url.get_secret_value()


class TransportSection(Section):
    """What carries deliveries: the ledger's own rows, or a broker. The broker's `url` holds its password and is shown nowhere."""

    kind: Literal["embedded", "rabbitmq"] = "embedded"
    url: SecretStr | None = None
    inbox_bytes: Annotated[int, Field(ge=LEAST_INBOX_BYTES)] = LIMITS.inbox_bytes

    @model_validator(mode="after")
    def _with_address(self) -> Self:
        if self.kind == "rabbitmq" and not self.address.startswith(("amqp://", "amqps://")):
            raise ValueError(
                "rabbitmq needs a url like amqps://name:password@host/vhost, best given as LGSP_TRANSPORT__URL"
            )
        return self

    @property
    def address(self) -> str:
        """The broker's URL in clear, or nothing; for the one who connects."""
        return "" if self.url is None else self.url.get_secret_value()


class WitnessSection(Section):
    """Who co-signs the log's checkpoints: the URL that the call `add-checkpoint` stands under, the key, and which authority its certificate is of.

    `stop_after` seconds without its word nothing is taken in any more; 0 for never.
    """

    url: str = ""
    vkey: str = ""
    ca: Path | None = None
    stop_after: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if bool(self.url) != bool(self.vkey):
            raise ValueError("url and vkey are given together or not at all")
        if self.url and WITNESS_URL.fullmatch(self.url) is None:
            raise ValueError(
                "url is an address like https://witness.example.vn; http goes to this machine itself alone"
            )
        if self.vkey and self.key().kind != notes.WITNESS_KEY:
            raise ValueError("vkey: that is a log's key and no witness's")
        if 0 < self.stop_after < LEAST_STOP_AFTER:
            raise ValueError(f"stop_after is 0 for never, or {LEAST_STOP_AFTER} seconds and more")
        return self

    def key(self) -> notes.NoteKey:
        """Return the witness's key; there must be one."""
        try:
            return notes.parse_vkey(self.vkey)
        except notes.NoteInvalid as error:
            raise ValueError(f"vkey: {error}") from None

    def unwitnessed(self) -> timedelta | None:
        """Return how long envelopes are taken in without its word, None for as long as it takes."""
        return timedelta(seconds=self.stop_after) if self.url and self.stop_after else None


class KeysSection(Section):
    """Files of the gateway's own keys, and the public key of the registrar that the directory is pinned to."""

    gateway: Path
    log: Path = Path("keys/log.pem")
    body: Path = Path("keys/body.key")
    subject: Path = Path("keys/subject.key")
    registrar: dict[str, str]

    @model_validator(mode="after")
    def _pinned(self) -> Self:
        try:
            keys.public_key(self.registrar)
        except Refusal as refusal:
            raise ValueError(f"registrar: {refusal.detail}") from None
        return self

    def registrar_key(self) -> keys.PublicKey:
        """Return the pinned key of the registrar."""
        return keys.public_key(self.registrar)


class Settings(BaseSettings):
    """All settings of one gateway; relative paths have been resolved against the data folder."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter=NESTED, extra="forbid", frozen=True)

    data: Path
    bus: BusSection
    http: HttpSection = HttpSection()
    storage: StorageSection = StorageSection()
    transport: TransportSection = TransportSection()
    witness: WitnessSection = WitnessSection()
    keys: KeysSection
    _origins: dict[str, str] = PrivateAttr(default_factory=dict)

    @classmethod
    def load(cls, data: Path, overrides: Mapping[str, object] | None = None) -> Self:
        """Return the settings of a data folder; refuse (`data_missing`, `config_invalid`) with every problem on a line of its own.

        `overrides` are a command's flags by dotted name (`http.port`); None leaves a setting as it is.
        """
        flags = {name: value for name, value in (overrides or {}).items() if value is not None}
        around = _strangers_around()
        written = _read_file(data / FILE, around)
        origins = _origins_of(flags, written)
        try:
            found = cls(**_nested(flags), data=data)
        except ValidationError as error:
            rows = error.errors(include_url=False, include_input=False)
            raise _refused([*around, *(_problem(cls, row, origins) for row in rows)]) from None
        except SettingsError:
            raise _refused(around or [UNREAD]) from None
        if around:
            raise _refused(around)
        found._origins.update(origins)
        return found._located()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - no .env file is read: one more place to look is one too many
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - keys have files of their own
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources: flags, environment, the file of the data folder."""
        path = Path(init_settings()["data"]) / FILE
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=path)

    def limits(self) -> Limits:
        """Return the protocol's limits, with those that these settings state."""
        return replace(
            LIMITS,
            rate=float(self.http.sender_rate),
            burst=2 * self.http.sender_rate,
            inbox_bytes=self.transport.inbox_bytes,
            unwitnessed=self.witness.unwitnessed(),
        )

    def origins(self) -> dict[str, str]:
        """Return where each setting comes from, by dotted name: a flag, a variable of the environment, the file, or its default."""
        return dict(self._origins)

    def values(self) -> dict[str, str]:
        """Return each setting as text, by dotted name, in the order of the file; the registrar's key as its thumbprint."""
        sections = {name: getattr(self, name) for name in SECTIONS}
        found = {
            f"{name}.{key}": str(getattr(section, key))
            for name, section in sections.items()
            for key in type(section).model_fields
        }
        return found | {"keys.registrar": self.keys.registrar_key().kid}

    def _located(self) -> Self:
        return self.model_copy(
            update={
                "http": _resolve(self.http, self.data, "tls_cert", "tls_key", "client_ca"),
                "storage": _resolve(self.storage, self.data, "path"),
                "witness": _resolve(self.witness, self.data, "ca"),
                "keys": _resolve(self.keys, self.data, "gateway", "log", "body", "subject"),
            }
        )


SECTIONS: Final[dict[str, type[Section]]] = {
    "bus": BusSection,
    "http": HttpSection,
    "storage": StorageSection,
    "transport": TransportSection,
    "witness": WitnessSection,
    "keys": KeysSection,
}


def _resolve(section: Section, data: Path, *names: str) -> Section:
    paths = {name: data / path for name in names if (path := getattr(section, name)) is not None}
    return section.model_copy(update=paths)


def _read_file(path: Path, around: list[str]) -> dict[str, Any]:
    """Return what the file says; what is wrong around it is told with it, for neither is mended without the other."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise Unusable("data_missing", f"{path} is not there") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _refused([*around, f"{path}: {error}"]) from None
    except OSError as error:
        raise _refused([*around, f"{path}: {error.strerror}"]) from None


def _nested(flat: Mapping[str, object]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for dotted, value in flat.items():
        section, _, name = dotted.partition(".")
        found.setdefault(section, {})[name] = value
    return found


def _strangers_around() -> list[str]:
    """Return what to say of variables of the environment that are no settings."""
    unknown = [_stranger(name) for name in _variables() if name.partition(NESTED)[0] not in SECTIONS]
    return [*unknown, *_whole_sections()]


def _origins_of(flags: Mapping[str, object], written: dict[str, Any]) -> dict[str, str]:
    return {
        f"{section}.{name}": _origin(f"{section}.{name}", flags, written.get(section, {}))
        for section, form in SECTIONS.items()
        for name in form.model_fields
    }


def _variables() -> list[str]:
    """Return the names, without the prefix, of the environment's settings; those without `__` belong to commands."""
    found = (name.upper() for name in os.environ if name.upper().startswith(PREFIX) and NESTED in name)
    found = (name for name in found if not name.startswith(ADAPTERS))
    return [name.removeprefix(PREFIX).lower() for name in found]


def _whole_sections() -> list[str]:
    """Return what to say of variables that are named like a section: one of them would have to hold all of it."""
    present = {name.upper() for name in os.environ}
    named = {f"{PREFIX}{section}".upper(): form.model_fields for section, form in SECTIONS.items()}
    return [
        f"{variable}: it is a section and no setting; its settings are {', '.join(_beneath(variable, settings))}"
        for variable, settings in named.items()
        if variable in present
    ]


def _beneath(section: str, names: Iterable[str]) -> list[str]:
    return [f"{section}{NESTED}{name.upper()}" for name in names]


def _stranger(name: str) -> str:
    section = name.partition(NESTED)[0]
    return f"{PREFIX}{name.upper()}: there is no section {section}{guess(section, SECTIONS)}"


def _origin(dotted: str, flags: Mapping[str, object], section: object) -> str:
    variable = PREFIX + dotted.replace(".", NESTED).upper()
    name = dotted.partition(".")[2]
    if dotted in flags:
        return "flag"
    if variable in {known.upper() for known in os.environ}:
        return variable
    return FILE if isinstance(section, dict) and name in section else "default"


def _problem(settings: type[Settings], row: Mapping[str, Any], origins: Mapping[str, str]) -> str:
    place = [str(part) for part in row["loc"]]
    dotted = ".".join(place)
    if row["type"] == "extra_forbidden":
        siblings = SECTIONS[place[0]].model_fields if len(place) > 1 else settings.model_fields.keys() - {"data"}
        return f"{dotted}: there is no such setting{guess(place[-1], siblings)}"
    words = str(row["msg"]).removeprefix("Value error, ")
    origin = origins.get(".".join(place[:2]), FILE)
    return f"{dotted} ({origin}): {words}"


def _refused(problems: list[str]) -> Unusable:
    return Unusable("config_invalid", "\n".join(problems))
