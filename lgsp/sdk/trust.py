"""What a receiver believes (protocol section 4, last lines): bytes and directories in, checked values or a refusal out.

The order of the checks on a delivery:

1. the receipt's signature, under the directory version it names, by a gateway key of this bus, for this log;
2. the receipt's item is under that signature, says `accepted`, and names this very envelope (env hash, id, source, audience);
3. steps 2 to 10 of admission, against the same directory version;
4. the audience is this system, its agency, a topic it subscribes to, or one it stands for;
5. `expirytime` by the bus's `now`;
6. the body is strict JSON.

Fetching directories is `directories`', remembering what was dealt with `marks`'.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime
from typing import Any, Final

from lgsp.domain import admission, statements, strictjson
from lgsp.domain.directory import Directory, Key
from lgsp.domain.envelope import Manifest
from lgsp.domain.statements import Signed, Statement
from lgsp.domain.values import fixed
from lgsp.errors import Refusal
from lgsp.sdk.box import Outgoing
from lgsp.sdk.frames import Became, Handed

SIGNATURES_KEPT: Final = 4096
"""Verified signatures of receipts that are kept."""


@fixed
class Believed:
    """A delivery that passed every check."""

    manifest: Manifest
    body: Any


class Trust:
    """Checks with a memory of the batch signatures that were verified."""

    def __init__(self, *, system: str, bus: str, log: str) -> None:
        self._system = system
        self._gateways = f"{bus}:gw:"
        self._log = log
        self._signatures: OrderedDict[tuple[int, str], Signed] = OrderedDict()

    def delivery(self, handed: Handed, directory: Directory) -> Believed:
        """Check a delivery against the directory version that its receipt names; refuse with the code of the first that fails."""
        item = self._receipt_item(handed.receipt, directory)
        if item.get("env") != handed.env:
            raise Refusal("receipt_invalid", "the receipt is another envelope's", pointer="/env")
        found = admission.read(handed.wire, directory)
        if isinstance(found, admission.Refused):
            raise found.refusal
        manifest = found.manifest
        _check_item(item, id_=manifest.id, source=manifest.source, audience=manifest.audience)
        if not directory.stands_for(self._system, manifest.audience, manifest.type):
            raise Refusal("audience_not_me", pointer="/audience")
        if manifest.expires <= handed.now:
            raise Refusal("expired", pointer="/expirytime")
        return Believed(manifest=manifest, body=_parsed(handed.wire.body))

    def receipt(self, statement: Statement, sent: Outgoing, directory: Directory) -> datetime:
        """Check the receipt for an envelope of this system's own and return its time; refuse as `receipt_invalid`."""
        item = self._receipt_item(statement, directory)
        if item.get("env") != sent.env:
            raise Refusal("receipt_invalid", "the receipt is another envelope's", pointer="/env")
        _check_item(item, id_=sent.id, source=sent.source, audience=sent.audience)
        return self._signed(statement.jws, statements.RECEIPT, directory).at

    def ack(
        self, became: Became, directory: Directory, *, audience: str, type_: str, accepted: Directory | None = None
    ) -> dict[str, Any]:
        """Return the item of a receiver's ack to one of this system's envelopes; refuse as `ack_invalid` what does not fit.

        The signer's key stands in `directory`; that it is a receiver too, unless the version is given under which the envelope was `accepted`.
        """
        statement = became.ack
        if statement is None:
            raise Refusal("ack_invalid", "the ack is missing")
        try:
            signed = self._signed(statement.jws, statements.ACK, directory)
            item = statements.open_item(statement, signed)
        except Refusal as refusal:
            raise Refusal("ack_invalid", f"the ack fails at {refusal.code}") from None
        fits = item.get("env") == became.env and item.get("outcome") in {"accepted", "rejected"}
        is_receiver = (accepted or directory).stands_for(signed.iss, audience, type_)
        if not fits or signed.iss != became.to or not is_receiver:
            raise Refusal("ack_invalid", "the ack is another envelope's or another receiver's")
        return item

    def _receipt_item(self, statement: Statement, directory: Directory) -> dict[str, Any]:
        try:
            signed = self._signed(statement.jws, statements.RECEIPT, directory)
            item = statements.open_item(statement, signed)
        except Refusal as refusal:
            raise Refusal("receipt_invalid", f"the receipt fails at {refusal.code}") from None
        # The registrar may have named another one since: a log that lost entries goes on under another name.
        logs = (self._log, directory.log or self._log)
        if signed.payload.get("log") not in logs or signed.payload.get("policy") != directory.version:
            raise Refusal("receipt_invalid", "the receipt is of another log or directory version")
        if not signed.iss.startswith(self._gateways):
            raise Refusal("receipt_invalid", "the receipt is not of a gateway of this bus")
        return item

    def _signed(self, compact: str, typ: str, directory: Directory) -> Signed:
        """Return a batch's verified signature, remembered by directory version."""
        place = (directory.version, compact)
        found = self._signatures.get(place)
        if found is None:
            key = _key(directory, statements.kid_of(compact, typ=typ), typ)
            found = statements.verify_signature(compact, key.public, typ=typ)
            if found.iss != key.owner:
                raise Refusal("source_not_owned", pointer="/iss")
            self._signatures[place] = found
            if len(self._signatures) > SIGNATURES_KEPT:
                self._signatures.popitem(last=False)
        return found


def _key(directory: Directory, kid: str, typ: str) -> Key:
    """Return the key that may carry `typ`; an ack names no directory version, so one by a key that has ended since is still its owner's word."""
    found = directory.keys.get(kid)
    if typ == statements.ACK and found is not None and found.role == "system":
        return found
    return directory.key(kid, typ)


def policy_of(receipt: Statement) -> int:
    """Return the directory version that a receipt names, before anything is proven; refuse as `receipt_invalid`."""
    return statements.policy_of(receipt.jws)


def _check_item(item: dict[str, Any], *, id_: str, source: str, audience: str) -> None:
    expected = {"id": id_, "src": source, "aud": audience, "outcome": "accepted"}
    for name, value in expected.items():
        if item.get(name) != value:
            raise Refusal("receipt_invalid", "the receipt does not fit the envelope", pointer=f"/{name}")


def _parsed(body: bytes) -> Any:  # noqa: ANN401 - any JSON value
    try:
        return strictjson.parse(body)
    except strictjson.NotStrict as error:
        raise Refusal("body_json", str(error)) from None
