"""An adapter's manifest, `adapter.toml`: what it is, provides, takes and sends, what it asks leave for, its settings, the hosts it contacts.

Every problem is reported at once. Whether what it asks for was granted is judged here too, against a directory that was verified.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from lgsp.domain import names
from lgsp.domain.directory import Directory
from lgsp.domain.guesses import guess, problems_of
from lgsp.domain.records import Audience, Code, GrantRecord, MessageType, Pseudonym
from lgsp.errors import Unusable
from lgsp.sdk.settings import described

Kind = Literal["text", "integer", "number", "boolean"]
SettingName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
Words = Annotated[str, StringConstraints(min_length=1, max_length=400)]

TYPES: Final[dict[Kind, tuple[type, ...]]] = {
    "text": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,),
}  # fmt: skip
TRUTH: Final = {"true": True, "false": False, "1": True, "0": False}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)


class Title(_Part):
    """What people call the adapter."""

    en: Words
    vi: Words


class About(_Part):
    """What the adapter is; `class` names its module and class."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]
    version: Annotated[str, StringConstraints(pattern=r"^\d{1,4}\.\d{1,4}\.\d{1,4}$")]
    code: Annotated[str, Field(alias="class"), StringConstraints(pattern=r"^[A-Za-z_][\w.]{0,120}:[A-Za-z_]\w{0,60}$")]
    title: Title


class Place(_Part):
    """The system that the adapter serves; without `agency` any agency's of this name."""

    name: Annotated[str, StringConstraints(pattern=rf"^{names.LABEL}$")]
    agency: Annotated[str, StringConstraints(pattern=rf"^{names.AGENCY_CODE}$")] | None = None


class Ask(_Part):
    """Leave that the adapter needs, in the words of a grant."""

    type: MessageType
    audience: Audience
    purposes: tuple[Code, ...] = ()
    legalbases: tuple[Code, ...] = ()
    procedures: tuple[Code, ...] = ()
    officers: tuple[Pseudonym, ...] = ()
    basis: Words

    def is_within(self, grant: GrantRecord) -> bool:
        """Tell whether a grant allows everything that is asked."""
        pairs = (
            (self.purposes, grant.purposes),
            (self.legalbases, grant.legalbases),
            (self.procedures, grant.procedures),
            (self.officers, grant.officers),
        )
        return grant.audience in {self.audience, names.agency_of(self.audience)} and all(
            set(asked) <= set(granted) for asked, granted in pairs
        )


class Setting(_Part):
    """One setting; without `default` it must be given. `environment` names a variable that comes before the file."""

    type: Kind
    default: str | int | float | bool | None = None
    secret: bool = False
    environment: Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]{0,60}$")] | None = None
    description: Words

    @model_validator(mode="after")
    def _default_fits(self) -> Self:
        if self.default is not None and not _fits(self.default, self.type):
            raise ValueError(f"the default is no {self.type}")
        if self.secret and self.default is not None:
            raise ValueError("a secret has no default")
        return self


class AdapterSettings:
    """The values of an adapter's settings, by name and kind; a secret is never shown."""

    def __init__(self, values: Mapping[str, str | int | float | bool]) -> None:
        self._values = dict(values)

    def __repr__(self) -> str:
        return f"AdapterSettings({', '.join(sorted(self._values))})"

    def text(self, name: str) -> str:
        """Return a text."""
        return str(self._values[name])

    def integer(self, name: str) -> int:
        """Return an integer."""
        return int(self._values[name])

    def number(self, name: str) -> float:
        """Return a number."""
        return float(self._values[name])

    def flag(self, name: str) -> bool:
        """Return a truth value."""
        return bool(self._values[name])


class AdapterManifest(_Part):
    """The whole manifest."""

    adapter: About
    system: Place
    provides: tuple[MessageType, ...] = ()
    """Requests that it answers."""
    consumes: tuple[MessageType, ...] = ()
    """Other messages that it takes: replies, events."""
    subscribes: tuple[MessageType, ...] = ()
    """Which of these are events of a topic, for which the directory must hold a subscription."""
    sends: tuple[MessageType, ...] = ()
    asks: tuple[Ask, ...] = ()
    settings: dict[SettingName, Setting] = Field(default_factory=dict)
    hosts: tuple[Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.-]{1,253}(:\d{1,5})?$")], ...] = ()
    """Hosts that it contacts beside the gateway."""
    pull_every: Annotated[float, Field(gt=0, le=86_400)] | None = None
    """Seconds between calls of `pull`; without it there are none."""
    concurrency: Annotated[int, Field(ge=1, le=256)] = 32
    """Messages that are handled at the same time."""

    @classmethod
    def load(cls, path: Path) -> Self:
        """Return the manifest of a TOML file; refuse (`adapter_invalid`) with every problem at once."""
        try:
            return cls.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError) as error:
            raise Unusable("adapter_invalid", f"{path}: {getattr(error, 'strerror', None) or 'not UTF-8'}") from None
        except tomllib.TOMLDecodeError as error:
            raise Unusable("adapter_invalid", f"{path}: {error}") from None
        except ValidationError as error:
            raise Unusable("adapter_invalid", described(path, problems_of(error, cls))) from None

    @model_validator(mode="after")
    def _hangs_together(self) -> Self:
        problems = [
            f"asks leave for {ask.type}, which it does not send" for ask in self.asks if ask.type not in self.sends
        ]
        asked = {ask.type for ask in self.asks}
        problems += [
            f"sends {type_} without asking leave"
            for type_ in self.sends
            if type_ not in asked and not names.is_reply_type(type_)
        ]
        problems += [f"provides {type_}, which is a reply" for type_ in self.provides if names.is_reply_type(type_)]
        problems += [
            f"subscribes to {type_}, which it does not consume"
            for type_ in self.subscribes
            if type_ not in self.consumes
        ]
        problems += [f"both provides and consumes {type_}" for type_ in self.provides if type_ in self.consumes]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def handler_problems(self, handled: list[str]) -> list[str]:
        """Return, in words, where the handlers of the class and the manifest differ; replies may be awaited by calls instead."""
        needed = {type_ for type_ in (*self.provides, *self.consumes) if not names.is_reply_type(type_)}
        found = [f"no handler for {type_}" for type_ in sorted(needed - set(handled))]
        stated = {*self.provides, *self.consumes}
        found += [
            f"a handler for {type_}, which the manifest does not state" for type_ in sorted(set(handled) - stated)
        ]
        return found + [f"two handlers for {type_}" for type_ in sorted({t for t in handled if handled.count(t) > 1})]

    def serves(self, system: str) -> bool:
        """Tell whether the adapter may run as this system."""
        found = names.SYSTEM_FORM.fullmatch(system)
        return found is not None and found[2] == self.system.name and self.system.agency in {None, found[1]}

    def overreach(self, directory: Directory, system: str, today: date) -> list[str]:
        """Return, in words, what is asked for and not granted to this system or its agency in this version."""
        return [f"{ask.type} to {ask.audience}" for ask in self.asks if not _is_granted(ask, directory, system, today)]

    def unsubscribed(self, directory: Directory, system: str) -> list[str]:
        """Return the types of events that neither this system nor one that it stands for subscribes to in this version."""
        return [type_ for type_ in self.subscribes if not directory.stands_for(system, names.topic_urn(type_), type_)]

    def values(self, given: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> AdapterSettings:
        """Return the settings of the adapter; refuse (`config_invalid`) with every problem at once, never with a value."""
        around = os.environ if environment is None else environment
        problems = [
            f"settings.{name}: is no setting of this adapter{guess(name, self.settings)}"
            for name in given.keys() - self.settings.keys()
        ]
        values: dict[str, str | int | float | bool] = {}
        for name, setting in self.settings.items():
            value = around.get(setting.environment or "", given.get(name, setting.default))
            found = _converted(value, setting.type)
            if found is None:
                problems.append(f"settings.{name}: {'is missing' if value is None else f'is no {setting.type}'}")
            else:
                values[name] = found
        if problems:
            raise Unusable("config_invalid", "\n".join(sorted(problems)))
        return AdapterSettings(values)


def _is_granted(ask: Ask, directory: Directory, system: str, today: date) -> bool:
    return any(
        grant.holds_at(directory.version) and grant.in_force_on(today) and ask.is_within(grant)
        for grantee in (system, names.agency_of(system))
        for grant in directory.grants.get((grantee, ask.type), ())
    )


def _fits(value: object, kind: Kind) -> bool:
    return isinstance(value, TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _converted(value: object, kind: Kind) -> str | int | float | bool | None:
    """Return the value as its kind, a text out of the environment read as such; None when it is none."""
    if isinstance(value, str | int | float | bool) and _fits(value, kind):
        return value
    if not isinstance(value, str):
        return None
    try:
        match kind:
            case "integer":
                return int(value)
            case "number":
                return float(value)
            case _:
                return TRUTH.get(value.strip().lower())
    except ValueError:
        return None
