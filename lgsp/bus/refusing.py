"""Refusing: what is recorded of an envelope that is refused, as far as it was proven whose it is (protocol section 4).

Why it is refused is decided by whoever judges it; what gets no entry of its own is counted by `edge_refusals`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lgsp.bus.edge_refusals import EdgeRefusals
from lgsp.bus.registry import Registry
from lgsp.bus.sequencer import Sequencer
from lgsp.domain.admission import Read, Refused
from lgsp.domain.entries import draft
from lgsp.errors import Refusal
from lgsp.logs import get_logger
from lgsp.ports.ledger import Done, ReceiptItem, Refuse
from lgsp.tracing import Traces


class EnvelopeRefused(Exception):
    """A refused envelope; `receipt` (JSON text) is there when the refusal has an entry of its own."""

    def __init__(self, refusal: Refusal, *, env: str, receipt: str | None) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal
        self.env = env
        self.receipt = receipt


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusing:
    """Records refusals in the name of the gateway that counts them."""

    registry: Registry
    sequencer: Sequencer
    edge: EdgeRefusals
    traces: Traces = field(default_factory=Traces.found)

    async def record(self, refused: Refused, peer: str) -> EnvelopeRefused:
        """Record a refusal as its stage asks, and return what to raise."""
        code = refused.refusal.code
        if not refused.signed:
            self.edge.count(code, peer)
            return EnvelopeRefused(refused.refusal, env=refused.env, receipt=None)
        if self.edge.is_one_too_many(refused.kid, code):
            return EnvelopeRefused(refused.refusal, env=refused.env, receipt=None)
        # Only what gets an entry gets a line: a flood fills neither the log nor the disk.
        get_logger().info("envelope.refused", code=code, env=refused.env, peer=peer)
        parent = refused.manifest.text("traceparent") if refused.manifest else ""
        with self.traces.span("refuse", parent=parent, code=code, env=refused.env):
            [result] = await self.sequencer.submit(self._operation(refused))
        receipt = result.receipt if isinstance(result, Done) else None
        return EnvelopeRefused(refused.refusal, env=refused.env, receipt=receipt)

    def _operation(self, refused: Refused) -> Refuse:
        manifest, code = refused.manifest, refused.refusal.code
        entry = draft(
            "msg.rejected",
            at=self.edge.clock.now(),
            bus=self.edge.gateway,
            env=refused.env,
            id=manifest.id if manifest else "",
            src=manifest.source if manifest and refused.source_proven else "",
            aud=manifest.audience if manifest else "",
            type=manifest.type if manifest else "",
            policy=self.registry.current.version,
            kid=refused.kid,
            code=code,
        )
        item = None
        if manifest is not None and refused.source_proven:
            item = ReceiptItem(
                env=refused.env,
                id=manifest.id,
                src=manifest.source,
                aud=manifest.audience,
                outcome="rejected",
                code=code,
            )
        return Refuse(entry=entry, item=item)


def proven(read: Read, refusal: Refusal) -> Refused:
    """Return a refusal of an envelope whose signature and source are proven."""
    return Refused(refusal=refusal, env=read.env, kid=read.key.record.id, manifest=read.manifest, source_proven=True)
