"""Reading the acks of receivers: one signature per batch, checked once and kept while its items come in."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Final

from lgsp.domain import statements
from lgsp.domain.directory import Directory
from lgsp.domain.limits import LIMITS
from lgsp.domain.statements import Signed, Statement
from lgsp.errors import Refusal

KEPT: Final = 512
"""Verified signatures kept; one more forgets the oldest."""
ITEM_MAX: Final = 2_048
"""Bytes of an item: its env hash, a code of 64 characters and the longest pointer, with room."""
MEMBERS: Final = frozenset({"env", "outcome", "code", "pointer"})


@dataclass(slots=True)
class AckReader:
    """Verifies acks under the directory in force."""

    _verified: OrderedDict[str, Signed] = field(default_factory=OrderedDict)

    def read(self, directory: Directory, system: str, statement: Statement) -> dict[str, Any]:
        """Return the item of an ack by `system`; refuse as `ack_invalid`. It is kept as long as the log, so it holds nothing but its members."""
        if len(statement.jws) > LIMITS.statement_bytes or len(statement.item) > ITEM_MAX:
            raise Refusal("ack_invalid", "the statement is too large")
        try:
            signed = self._verified.get(statement.jws) or self._verify(directory, statement)
            # The key is asked for again each time: it may have been revoked since its signature was checked.
            owner = directory.key(signed.kid, statements.ACK).owner
            item = statements.open_item(statement, signed)
        except Refusal as refusal:
            raise Refusal("ack_invalid", f"the statement fails at {refusal.code}") from None
        if owner != system or signed.iss != system or not isinstance(item.get("env"), str):
            raise Refusal("ack_invalid", "the statement is another system's")
        if not item.keys() <= MEMBERS:
            raise Refusal("ack_invalid", f"an item has the members {', '.join(sorted(MEMBERS))}")
        return item

    def _verify(self, directory: Directory, statement: Statement) -> Signed:
        key = directory.key(statements.kid_of(statement.jws, typ=statements.ACK), statements.ACK)
        signed = statements.verify_signature(statement.jws, key.public, typ=statements.ACK)
        self._verified[statement.jws] = signed
        if len(self._verified) > KEPT:
            self._verified.popitem(last=False)
        return signed
