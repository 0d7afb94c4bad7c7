"""Records of the directory: one compact JSON object each, `{"kind","id",…}` (protocol section 3), as checked models.

`since` and `until` are directory versions: a record holds from version `since` up to, and not including, version `until`. Dates are days in
the bus's own zone (Asia/Ho_Chi_Minh). An absent or empty list allows nothing. How records hang together is checked by `directory`.
"""

from __future__ import annotations

import re
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError
from pydantic_core import to_json

from lgsp.domain import names, strictjson
from lgsp.domain.guesses import guess, members_at
from lgsp.domain.keys import Role
from lgsp.errors import Refusal

Lane = Literal["request", "event", "bulk"]
OfficerRole = Literal["auditor", "registrar", "operator", "viewer"]
Required = Literal["purpose", "legalbasis", "procedure", "casefile", "authid"]

DAY_FORM: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def _full(pattern: str) -> Any:  # noqa: ANN401 - an annotation for the model
    return StringConstraints(pattern=rf"^(?:{pattern})$", max_length=255)


def _calendar_day(value: object) -> object:
    """Read `YYYY-MM-DD` and no other text: the library would also take seconds since 1970 and a time at midnight."""
    if not isinstance(value, str):
        return value
    if DAY_FORM.fullmatch(value) is None:
        raise ValueError("a day is written YYYY-MM-DD")
    return date.fromisoformat(value)


BODY_MOST: Final = 16 * 1024 * 1024
"""Bytes of the largest body that a service may allow."""

ARCHIVE_MOST: Final = 36_525
"""Days for which a service may have bodies archived: a hundred years."""

Day = Annotated[date, BeforeValidator(_calendar_day)]
AgencyUrn = Annotated[str, _full(names.AGENCY_FORM.pattern)]
SystemUrn = Annotated[str, _full(names.SYSTEM_FORM.pattern)]
OfficerUrn = Annotated[str, _full(names.OFFICER_FORM.pattern)]
BusUrn = Annotated[str, _full(names.BUS_FORM.pattern)]
GatewayUrn = Annotated[str, _full(names.GATEWAY_FORM.pattern)]
MessageType = Annotated[str, _full(names.TYPE_FORM.pattern)]
TypePattern = Annotated[str, _full(rf"{names.TYPE}|vn\.lgsp\.(?:{names.SEGMENT}\.){{1,3}}\*")]
SchemaUrn = Annotated[str, _full(names.SCHEMA_FORM.pattern)]
Audience = Annotated[str, _full(f"{names.SYSTEM_FORM.pattern}|{names.AGENCY_FORM.pattern}|{names.TOPIC_FORM.pattern}")]
Kid = Annotated[str, _full("[A-Za-z0-9_-]{43}")]
LocalId = Annotated[str, _full("[a-z0-9][a-z0-9._-]{0,63}")]
Code = Annotated[str, _full("[A-Za-z0-9][A-Za-z0-9._/:-]{0,95}")]
Words = Annotated[str, StringConstraints(min_length=1, max_length=400)]
Pseudonym = Annotated[str, _full("[a-z0-9]{4,32}")]
Pointer = Annotated[str, _full(r"(?:/(?:\*|[A-Za-z][A-Za-z0-9_]{0,63}))+")]
Version = Annotated[int, Field(ge=1)]


class Record(BaseModel):
    """What every record has; members are written in the order of the fields and left out when they hold the default."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)

    kind: str
    id: str

    def encoded(self) -> bytes:
        """Return the record's exact bytes."""
        chosen = self.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
        return strictjson.compact({"kind": self.kind, "id": self.id} | chosen)


class Dated(Record):
    """A record that holds from one directory version up to another; each kind places the two members where its form has them."""

    if TYPE_CHECKING:
        since: Version
        until: Version | None

    def holds_at(self, version: int) -> bool:
        """Tell whether the record is in force in this version of the directory."""
        return self.since <= version and (self.until is None or version < self.until)


class BusRecord(Record):
    """The bus itself."""

    kind: Literal["bus"]
    id: BusUrn
    name: Words | None = None
    name_vi: Words | None = None
    log: Annotated[str, _full(r"[a-z0-9./-]{3,120}")] | None = None


class AgencyRecord(Record):
    """An agency with its validity and, once dissolved, its successors."""

    kind: Literal["agency"]
    id: AgencyUrn
    name: Words | None = None
    name_vi: Words | None = None
    valid_from: Day | None = None
    valid_to: Day | None = None
    successors: tuple[AgencyUrn, ...] = ()

    def exists_on(self, day: date) -> bool:
        """Tell whether the agency exists on this day; `valid_to` is its last day."""
        return (self.valid_from is None or self.valid_from <= day) and (self.valid_to is None or day <= self.valid_to)


class SystemRecord(Record):
    """A system of an agency, which holds keys and an inbox."""

    kind: Literal["system"]
    id: SystemUrn
    name: Words | None = None
    name_vi: Words | None = None
    status: Literal["active", "suspended"] = "active"
    consumes: tuple[TypePattern, ...] = ()


class OfficerRecord(Record):
    """A person who acts for an agency, under a pseudonym."""

    kind: Literal["officer"]
    id: OfficerUrn
    roles: tuple[OfficerRole, ...] = ()


class KeyRecord(Dated):
    """A public key: one owner, one role."""

    kind: Literal["key"]
    id: Kid
    owner: SystemUrn | OfficerUrn | GatewayUrn | BusUrn
    role: Role
    jwk: dict[str, str]
    since: Version
    until: Version | None = None


class Subject(BaseModel):
    """Which members of a body name a person; `*` stands for every element of a list."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pointer: Pointer
    scheme: Literal["CCCD", "CMND", "BHXH"]


class ServiceRecord(Record):
    """A message type and its contract; a service with reply schemas is a request. Times in seconds, sizes in bytes."""

    kind: Literal["service"]
    id: MessageType
    name: Words | None = None
    name_vi: Words | None = None
    schemas: tuple[SchemaUrn, ...]
    reply_schemas: tuple[SchemaUrn, ...] = ()
    reply_within: Annotated[int, Field(ge=1, le=366 * 86_400)] = 60
    max_life: Annotated[int, Field(ge=1, le=366 * 86_400)] = 86_400
    requires: tuple[Required, ...] = ()
    lane: Lane = "request"
    max_body: Annotated[int, Field(ge=1, le=BODY_MOST)] = 64 * 1024
    subjects: tuple[Subject, ...] = ()
    reply_subjects: tuple[Subject, ...] = ()
    archive_days: Annotated[int, Field(ge=1, le=ARCHIVE_MOST)] | None = None
    """For how many days from its acceptance on a body stays, sealed, though nobody is to receive it any more; None for not at all."""


class SchemaRecord(Record):
    """A published schema; `hash` is that of the document's bytes, which are kept beside the directory."""

    kind: Literal["schema"]
    id: SchemaUrn
    hash: Annotated[str, _full("sha-256:[A-Za-z0-9_-]{43}")]


class GrantRecord(Dated):
    """Leave for a system (or every system of an agency) to send one type to one audience; lists name all that may be stated."""

    kind: Literal["grant"]
    id: LocalId
    grantee: SystemUrn | AgencyUrn
    type: MessageType
    audience: Audience
    purposes: tuple[Code, ...] = ()
    legalbases: tuple[Code, ...] = ()
    procedures: tuple[Code, ...] = ()
    officers: tuple[Pseudonym, ...] = ()
    quota_per_day: Annotated[int, Field(ge=1)] | None = None
    lane: Lane | None = None
    valid_from: Day | None = None
    valid_to: Day | None = None
    since: Version
    until: Version | None = None
    basis: Words

    def in_force_on(self, day: date) -> bool:
        """Tell whether the grant's own dates cover this day, both ends included."""
        return (self.valid_from is None or self.valid_from <= day) and (self.valid_to is None or day <= self.valid_to)


class SubscriptionRecord(Dated):
    """A system that receives the events of a topic."""

    kind: Literal["subscription"]
    id: LocalId
    subscriber: SystemUrn
    type: MessageType
    since: Version
    until: Version | None = None


class DelegationRecord(Dated):
    """A bridge that signs and receives for a principal, for the listed types."""

    kind: Literal["delegation"]
    id: LocalId
    principal: SystemUrn
    bridge: SystemUrn
    types: tuple[TypePattern, ...]
    since: Version
    until: Version | None = None
    basis: Words

    def covers(self, message_type: str) -> bool:
        """Tell whether the delegation speaks of this type."""
        return any(names.type_matches(message_type, pattern) for pattern in self.types)


AnyRecord = Annotated[
    BusRecord
    | AgencyRecord
    | SystemRecord
    | OfficerRecord
    | KeyRecord
    | ServiceRecord
    | SchemaRecord
    | GrantRecord
    | SubscriptionRecord
    | DelegationRecord,
    Field(discriminator="kind"),
]
RECORD: Final[TypeAdapter[Any]] = TypeAdapter(AnyRecord)
KINDS: Final[tuple[type[Record], ...]] = (
    BusRecord, AgencyRecord, SystemRecord, OfficerRecord, KeyRecord, ServiceRecord, SchemaRecord, GrantRecord, SubscriptionRecord,
    DelegationRecord,
)  # fmt: skip
BY_KIND: Final = {str(get_args(each.model_fields["kind"].annotation)[0]): each for each in KINDS}
T = TypeVar("T", bound=Record)


def parse(data: bytes) -> Record:
    """Return the record in these exact bytes; refuse (`directory_invalid`) what is not one."""
    try:
        value = strictjson.parse_object(data)
    except strictjson.NotStrict:
        raise Refusal("directory_invalid", "a record is not strict JSON") from None
    return from_members(value)


def from_members(value: dict[str, Any]) -> Record:
    """Return the record of parsed members; refuse (`directory_invalid`) with every problem named."""
    try:
        # As JSON, because only there "strict" means what the format means: no "2" or true for a number, days as texts.
        record: Record = RECORD.validate_json(to_json(value), strict=True)
    except ValidationError as error:
        raise Refusal("directory_invalid", _problems(value, error)) from None
    return record


def _problems(value: dict[str, Any], error: ValidationError) -> str:
    name = f"{value.get('kind', 'record')} {value.get('id', '?')}"
    return f"{name}: " + "; ".join(map(_problem, error.errors(include_url=False)))


def _problem(row: Any) -> str:  # noqa: ANN401 - the library's own row
    kind, *place = row["loc"] or ("",)
    where = ".".join(map(str, place)) or "kind"
    model = BY_KIND.get(str(kind))
    if row["type"] == "extra_forbidden" and model is not None:
        return f"{where}: there is no such member{guess(str(place[-1]), members_at(model, place[:-1]))}"
    return f"{where}: {row['msg']}"
