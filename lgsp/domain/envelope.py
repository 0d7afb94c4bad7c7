"""The envelope: a compact JWS over a manifest, with the exact body bytes beside it (protocol section 2).

Building, the two wire forms, and the manifest's rules. Who may send it is decided by `admission`.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from lgsp.domain import base64url, jws, names, strictjson
from lgsp.domain.keys import Signer
from lgsp.domain.values import fixed
from lgsp.errors import Refusal

TYP: Final = "lgsp-env.v1+jws"
STRUCTURED_MEMBERS: Final = frozenset({"protected", "payload", "signature", "data"})
MEDIA_TYPE: Final = "application/vnd.lgsp.envelope+json"

UUID7_FORM: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
HASH_FORM: Final = re.compile(r"sha-256:[A-Za-z0-9_-]{43}")
TIME_FORM: Final = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{3})?Z", re.ASCII)
CODE_FORM: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:-]{0,95}")
NUMBER_OF_A_PERSON: Final = re.compile(r"[0-9]{9,10}|[0-9]{12}")
EXTENSION_FORM: Final = re.compile(r"[a-z0-9]{1,20}")
EXTENSION_TEXT: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f]{0,256}")
EXTENSION_NUMBER_MAX: Final = 2**31
BODY_MAX: Final = 2**31

TEXT_RULES: Final[dict[str, re.Pattern[str]]] = {
    "specversion": re.compile(r"1\.0"),
    "id": UUID7_FORM,
    "source": names.SYSTEM_FORM,
    "type": names.TYPE_FORM,
    "dataschema": names.SCHEMA_FORM,
    "datahash": HASH_FORM,
    "correlationid": UUID7_FORM,
    "causationid": UUID7_FORM,
    "sequence": re.compile(r"[0-9]{16}"),
    "partitionkey": CODE_FORM,
    "purpose": CODE_FORM,
    "legalbasis": CODE_FORM,
    "procedure": CODE_FORM,
    "casefile": CODE_FORM,
    "authid": re.compile(r"[a-z0-9]{4,32}"),
    "orgcat": re.compile(r"[0-9A-Za-z.-]{1,32}"),
    "traceparent": re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}"),
    "dataclassification": re.compile(r"public|internal|restricted|secret"),
}
REPEATED: Final = frozenset({
    "specversion", "source", "type", "dataschema", "purpose", "legalbasis", "procedure", "authid", "orgcat", "dataclassification",
})  # fmt: skip
"""Attributes whose few values come again and again."""
MATCHES: Final = {
    name: names.remembered(rule.fullmatch) if name in REPEATED else rule.fullmatch for name, rule in TEXT_RULES.items()
}
OF_PEOPLE: Final = frozenset({"partitionkey", "casefile", "authid"})
"""Attributes in which programs would put a person's number."""
REQUIRED: Final = (
    "specversion", "id", "source", "type", "time", "recordedtime", "expirytime", "audience", "dataschema", "datahash", "datasize",
)  # fmt: skip
RESERVED: Final = frozenset({"dataref"})
REFUSED: Final = frozenset({"data", "data_base64", "subject"})


@fixed
class Manifest:
    """The signed attributes of an envelope; `attributes` holds every member received, known or not."""

    id: str
    source: str
    type: str
    audience: str
    recorded: datetime
    expires: datetime
    schema: str
    body_hash: str
    body_size: int
    attributes: dict[str, Any]
    is_reply: bool
    """Whether this answers a request."""

    def text(self, name: str) -> str:
        """Return an optional attribute, or "" when it is absent."""
        return str(self.attributes.get(name, ""))


@fixed
class Wire:
    """An envelope as it travels: the compact JWS and the exact body."""

    compact: bytes
    body: bytes

    @property
    def hash(self) -> str:
        """The env hash: SHA-256 of the ASCII compact JWS."""
        return jws.hash_of(self.compact)

    def structured(self) -> dict[str, str]:
        """Return the structured form's members, `data` as base64url of the body."""
        protected, payload, signature = self.compact.decode("ascii").split(".")
        return {"protected": protected, "payload": payload, "signature": signature, "data": base64url.encode(self.body)}

    def structured_text(self) -> str:
        """Return the structured form as compact JSON text; its parts are base64url, so nothing in them needs an escape."""
        protected, payload, signature = self.compact.decode("ascii").split(".")
        data = base64url.encode(self.body)
        return f'{{"protected":"{protected}","payload":"{payload}","signature":"{signature}","data":"{data}"}}'


def from_structured(value: object) -> Wire:
    """Return the envelope of a parsed structured form; refuse (`structured`) any other member, missing member or value that is no text."""
    if not isinstance(value, dict) or value.keys() != STRUCTURED_MEMBERS:
        raise Refusal("structured")
    try:
        parts = [value[name].encode("ascii") for name in ("protected", "payload", "signature")]
        body = base64url.decode(value["data"])
    except (AttributeError, UnicodeEncodeError, ValueError, TypeError):
        raise Refusal("structured") from None
    if any(b"." in part for part in parts):
        raise Refusal("structured")
    return Wire(compact=b".".join(parts), body=body)


def parse_structured(data: bytes) -> Wire:
    """Return the envelope of structured bytes; refuse as `structured` what is not strict JSON of exactly the four members."""
    try:
        value = strictjson.parse(data, depth=2)
    except strictjson.NotStrict:
        raise Refusal("structured") from None
    return from_structured(value)


def manifest_of(compact: bytes) -> Manifest:
    """Return what an envelope states, nothing of it proven; refuse as taking a JWS apart and as `parse_manifest` do."""
    return parse_manifest(jws.parse(compact, typ=TYP).payload)


def parse_manifest(payload: bytes) -> Manifest:
    """Return the manifest in a verified payload; refuse as `json`, `manifest` (with the attribute as pointer) or `unsupported`."""
    try:
        attributes = strictjson.parse_object(payload)
    except strictjson.NotStrict:
        raise Refusal("json") from None
    _check_attributes(attributes)
    return Manifest(
        id=attributes["id"],
        source=attributes["source"],
        type=attributes["type"],
        audience=attributes["audience"],
        recorded=parse_time(attributes["recordedtime"]),
        expires=parse_time(attributes["expirytime"]),
        schema=attributes["dataschema"],
        body_hash=attributes["datahash"],
        body_size=attributes["datasize"],
        attributes=attributes,
        is_reply=names.is_reply_type(attributes["type"]),
    )


def _check_attributes(attributes: dict[str, Any]) -> None:
    for name in REQUIRED:
        if name not in attributes:
            raise Refusal("manifest", "a required attribute is missing", pointer=f"/{name}")
    for name, value in attributes.items():
        _check_attribute(name, value)


def _check_attribute(name: str, value: object) -> None:
    matches = MATCHES.get(name)
    if matches is None:
        SPECIAL_RULES.get(name, _check_extension)(name, value)
    elif not isinstance(value, str) or matches(value) is None:
        raise Refusal("manifest", "the attribute is not of its form", pointer=f"/{name}")
    elif name in OF_PEOPLE and NUMBER_OF_A_PERSON.fullmatch(value):
        raise Refusal("manifest", "the attribute looks like a person's number", pointer=f"/{name}")


def _check_time(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise Refusal("manifest", "the attribute is not a time", pointer=f"/{name}")
    try:
        parse_time(value)
    except ValueError:
        raise Refusal(
            "manifest", "the attribute is not a UTC time of the protocol's form", pointer=f"/{name}"
        ) from None


def _check_audience(name: str, value: object) -> None:
    if not isinstance(value, str) or not names.is_audience(value):
        raise Refusal("manifest", "the audience is one system, agency or topic", pointer=f"/{name}")


def _check_size(name: str, value: object) -> None:
    if type(value) is not int or not 0 <= value < BODY_MAX:
        raise Refusal("manifest", "the size is a count of bytes", pointer=f"/{name}")


def _check_content_type(name: str, value: object) -> None:
    if value != "application/json":
        raise Refusal("unsupported", "bodies are application/json", pointer=f"/{name}")


def _refuse_reserved(name: str, _value: object) -> None:
    raise Refusal("unsupported", "the attribute is reserved", pointer=f"/{name}")


def _refuse_unwanted(name: str, _value: object) -> None:
    raise Refusal("manifest", "the attribute is not used on this bus", pointer=f"/{name}")


def _check_extension(name: str, value: object) -> None:
    """Keep what later versions and other CloudEvents users add, within the names and types of CloudEvents 1.0 and a bounded length."""
    if isinstance(value, str):
        known = EXTENSION_TEXT.fullmatch(value) is not None
    else:
        known = isinstance(value, int) and -EXTENSION_NUMBER_MAX <= value < EXTENSION_NUMBER_MAX
    if EXTENSION_FORM.fullmatch(name) is None or not known:
        raise Refusal("manifest", "an added attribute has a name of 1-20 of a-z0-9 and a text, integer or boolean")


SPECIAL_RULES: Final = (
    dict.fromkeys(("time", "recordedtime", "expirytime"), _check_time)
    | dict.fromkeys(RESERVED, _refuse_reserved)
    | dict.fromkeys(REFUSED, _refuse_unwanted)
    | {"audience": _check_audience, "datasize": _check_size, "datacontenttype": _check_content_type}
)


@names.remembered
def parse_time(text: str) -> datetime:
    """Return the UTC time of `YYYY-MM-DDTHH:MM:SS[.mmm]Z`; raise `ValueError` for any other form or an impossible date."""
    if TIME_FORM.fullmatch(text) is None:
        raise ValueError("not a time of the protocol's form")
    return datetime.fromisoformat(text)


@lru_cache(maxsize=64)  # what is done together is of one moment, which is written into each of its entries
def format_time(moment: datetime) -> str:
    """Return an aware time as `YYYY-MM-DDTHH:MM:SS.mmmZ`, milliseconds cut."""
    utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return utc.isoformat(timespec="milliseconds")[:23] + "Z"


def sign(attributes: dict[str, Any], body: bytes, signer: Signer) -> Wire:
    """Return the signed envelope of these attributes (in the order given) and body; `datahash` and `datasize` are added last.

    The manifest is checked by the rules a receiver applies, so that a mistake is refused here and not by the bus.
    """
    stated = {**attributes, "datahash": jws.hash_of(body), "datasize": len(body)}
    _check_attributes(stated)
    return Wire(compact=jws.sign(strictjson.compact_members(stated), typ=TYP, signer=signer), body=body)


def check_body(manifest: Manifest, body: bytes) -> None:
    """Refuse (`datahash`) a body that is not the one the manifest states."""
    if len(body) != manifest.body_size:
        raise Refusal("datahash", "the size differs", pointer="/datasize")
    if jws.hash_of(body) != manifest.body_hash:
        raise Refusal("datahash", "the hash differs", pointer="/datahash")
