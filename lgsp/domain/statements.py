"""Statements: receipts and acks in batches, authorizations, directory statements (protocol section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from lgsp.domain import base64url, envelope, jws, merkle, strictjson
from lgsp.domain.keys import PublicKey, Signer
from lgsp.domain.values import fixed
from lgsp.errors import Refusal

RECEIPT: Final = "lgsp-rcpt.v1+jws"
ACK: Final = "lgsp-ack.v1+jws"
AUTH: Final = "lgsp-auth.v1+jws"
DIRECTORY: Final = "lgsp-dir.v1+jws"
BATCH_MAX: Final = 256
"""Items under one signature of a receipt or an ack."""
PATH_MAX: Final = 8


@fixed
class Statement:
    """One item of a signed batch, with the path from it to the signed root."""

    jws: str
    item: str
    pos: int
    path: tuple[str, ...]

    def wire(self) -> dict[str, Any]:
        """Return the members as they travel."""
        return {"jws": self.jws, "item": self.item, "pos": self.pos, "path": list(self.path)}

    def text(self) -> str:
        """Return the statement as compact JSON text."""
        return strictjson.compact_members(self.wire()).decode()

    @property
    def leaf(self) -> str:
        """The hash of the item as the batch's tree holds it: `stmt` of a log entry."""
        return written_hash(merkle.leaf_hash(self.item.encode()))


def written_hash(digest: bytes) -> str:
    """Return a hash as the protocol writes it: `sha-256:<b64u>`."""
    return "sha-256:" + base64url.encode(digest)


def from_wire(value: object) -> Statement:
    """Return the statement of parsed members; raise `ValueError` when a member is missing, added or of another type."""
    if not isinstance(value, dict) or value.keys() != {"jws", "item", "pos", "path"}:
        raise ValueError("a statement has the members jws, item, pos, path")
    compact, item, pos, path = value["jws"], value["item"], value["pos"], value["path"]
    if not (isinstance(compact, str) and isinstance(item, str) and type(pos) is int and isinstance(path, list)):
        raise ValueError("a member of the statement has another type")
    if not 0 <= pos < BATCH_MAX or len(path) > PATH_MAX or not set(map(type, path)) <= {str}:
        raise ValueError("the path of the statement is out of bounds")
    item.encode()  # a lone surrogate, which a lax JSON reader lets through, has no bytes that could be hashed
    return Statement(jws=compact, item=item, pos=pos, path=tuple(path))


def from_text(text: str | bytes) -> Statement:
    """Return the statement of JSON text; raise `ValueError` when it is not one."""
    return from_wire(strictjson.parse(text.encode() if isinstance(text, str) else text))


def sign_batch(items: Sequence[bytes], head: dict[str, Any], *, typ: str, signer: Signer) -> list[Statement]:
    """Sign 1 to 256 items under one signature, `ValueError` for another count; `head` is the payload before `size` and `root`."""
    if len(items) > BATCH_MAX:
        raise ValueError("a batch has at most 256 items")
    root, paths = merkle.batch_paths([merkle.leaf_hash(item) for item in items])
    payload = strictjson.compact({**head, "size": len(items), "root": "sha-256:" + base64url.encode(root)})
    compact = jws.sign(payload, typ=typ, signer=signer).decode()
    steps = {step for path in paths for step in path}  # neighbours share most of their paths
    texts = {step: base64url.encode(step) for step in steps}
    return [
        Statement(jws=compact, item=item.decode(), pos=pos, path=tuple(texts[step] for step in path))
        for pos, (item, path) in enumerate(zip(items, paths, strict=True))
    ]


def receipt_head(*, gateway: str, at: datetime, log: str, policy: int) -> dict[str, Any]:
    """Return the first payload members of a receipt."""
    return {"iss": gateway, "ts": envelope.format_time(at), "log": log, "policy": policy}


def ack_head(*, system: str, at: datetime) -> dict[str, Any]:
    """Return the first payload members of an ack."""
    return {"iss": system, "ts": envelope.format_time(at)}


def ack_item(env: str, outcome: str, *, code: str = "", pointer: str = "") -> bytes:
    """Return the item bytes of an ack; outcome `accepted` or `rejected`."""
    item = {"env": env, "outcome": outcome, "code": code, "pointer": pointer}
    return strictjson.compact_members({name: value for name, value in item.items() if value})


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A batch's signature that has been verified: what any of its items can be checked against."""

    kid: str
    iss: str
    at: datetime
    size: int
    root: bytes
    payload: dict[str, Any]


def verify_signature(compact: str, key: PublicKey, *, typ: str) -> Signed:
    """Check a batch's one signature; refuse like any JWS, or as `json`. Worth keeping: a batch has up to 256 items."""
    parsed = jws.parse(compact.encode("ascii", "replace"), typ=typ)
    jws.verify(parsed, key)
    try:
        payload = strictjson.parse_object(parsed.payload)
        root = _hash_bytes(payload["root"])
        at = envelope.parse_time(str(payload["ts"]))
        size, iss = payload["size"], payload["iss"]
    except (KeyError, ValueError):
        raise Refusal("json", "the statement's payload is not of its form") from None
    if type(size) is not int or not 1 <= size <= BATCH_MAX or not isinstance(iss, str):
        raise Refusal("json", "the statement's payload is not of its form")
    return Signed(kid=parsed.kid, iss=iss, at=at, size=size, root=root, payload=payload)


def _hash_bytes(text: object) -> bytes:
    if not isinstance(text, str) or envelope.HASH_FORM.fullmatch(text) is None:
        raise ValueError("not a hash of the protocol's form")
    return base64url.decode(text.removeprefix("sha-256:"))


def kid_of(compact: str, *, typ: str) -> str:
    """Return the key a statement claims, before anything is proven."""
    return jws.parse(compact.encode("ascii", "replace"), typ=typ).kid


def open_item(statement: Statement, signed: Signed) -> dict[str, Any]:
    """Return the item's members after checking its path to the signed root; refuse as `signature` or `json`."""
    try:
        path = [base64url.decode(step) for step in statement.path]
    except ValueError:
        raise Refusal("base64", "the statement's path") from None
    item = statement.item.encode()
    leaf = merkle.leaf_hash(item)
    if statement.pos >= signed.size or not merkle.verify_inclusion(leaf, statement.pos, signed.size, path, signed.root):
        raise Refusal("signature", "the item is not under the signed root")
    try:
        return strictjson.parse_object(item)
    except strictjson.NotStrict:
        raise Refusal("json", "the statement's item") from None


@lru_cache(maxsize=64)
def policy_of(compact: str) -> int:
    """Return the directory version that a batch of receipts names, before anything is proven; refuse as `receipt_invalid`.

    Remembered for the few batches whose receipts are arriving; each has one text.
    """
    try:
        payload = strictjson.parse_object(base64url.decode(compact.split(".")[1]))
        version = payload["policy"]
    except (IndexError, KeyError, ValueError):
        raise Refusal("receipt_invalid", "the receipt names no directory version") from None
    if type(version) is not int or version < 1:
        raise Refusal("receipt_invalid", "the receipt names no directory version")
    return version


def sign_auth(  # noqa: PLR0913 - each member of the payload is stated once
    *,
    signer: Signer,
    iss: str,
    aud: str,
    method: str,
    path: str,
    body: bytes,
    at: datetime,
    jti: str,
    life: timedelta = timedelta(seconds=60),
) -> str:
    """Return the authorization for one call; `path` carries the query, times are seconds since 1970."""
    issued = int(at.timestamp())
    claims = {
        "iss": iss,
        "aud": aud,
        "method": method,
        "path": path,
        "hash": jws.hash_of(body),
        "iat": issued,
        "exp": issued + int(life.total_seconds()),
        "jti": jti,
    }
    return jws.sign(strictjson.compact(claims), typ=AUTH, signer=signer).decode()


def sign_directory(
    records: Sequence[bytes], *, signer: Signer, bus: str, version: int, prev: str, at: datetime
) -> bytes:
    """Return the registrar's statement over the records, sorted bytewise; `at` is written to the second, as the vectors have it."""
    root = merkle.root([merkle.leaf_hash(record) for record in sorted(records)])
    payload = {
        "bus": bus,
        "version": version,
        "prev": prev,
        "ts": at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z",
        "size": len(records),
        "root": "sha-256:" + base64url.encode(root),
    }
    return jws.sign(strictjson.compact(payload), typ=DIRECTORY, signer=signer)
