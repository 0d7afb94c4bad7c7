"""What the edge counts, in a registry of its own. A label is always a word of ours: a route, a status, a code, a stage, a system."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from lgsp.domain import names
from lgsp.ports.inboxes import Depth

Stage = Literal["submit", "reply", "settle", "authenticate"]

METHODS: Final = frozenset({"GET", "POST"})
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)


class Metrics:
    """The counters of one application."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "lgsp_http_requests", "Answered requests", ["method", "route", "status"], registry=self.registry
        )
        self._refusals = Counter("lgsp_refusals", "Refusals by code", ["code"], registry=self.registry)
        self._envelopes = Counter("lgsp_envelopes", "Envelopes by outcome", ["outcome"], registry=self.registry)
        self._streams = Gauge("lgsp_streams_open", "Streams that have said hello", registry=self.registry)
        self._deliveries = Gauge(
            "lgsp_inbox_deliveries", "Open deliveries", ["inbox", "lane", "state"], registry=self.registry
        )
        self._bytes = Gauge(
            "lgsp_inbox_bytes", "Bytes of open deliveries", ["inbox", "lane", "state"], registry=self.registry
        )
        self._stages = Histogram(
            "lgsp_stage_seconds", "Time in one stage", ["stage"], buckets=SECONDS, registry=self.registry
        )
        self._stage = {stage: self._stages.labels(stage) for stage in ("submit", "reply", "settle", "authenticate")}
        self._accepted = self._envelopes.labels("accepted")
        self._rejected = self._envelopes.labels("rejected")
        self._duplicate = self._envelopes.labels("duplicate")

    def count_request(self, method: str, route: str, status: int) -> None:
        """Count an answer; a method that no route has is counted as `other`."""
        self._requests.labels(method if method in METHODS else "other", route, str(status)).inc()

    def count_refusal(self, code: str) -> None:
        """Count a refusal by its code of the catalogue."""
        self._refusals.labels(code).inc()

    def count_accepted(self, *, duplicate: bool) -> None:
        """Count an envelope that has a receipt `accepted`, apart when it had it before."""
        (self._duplicate if duplicate else self._accepted).inc()

    def count_rejected(self) -> None:
        """Count an envelope that was refused."""
        self._rejected.inc()

    def move_streams(self, by: int) -> None:
        """Count a stream that opened (+1) or closed (-1)."""
        self._streams.inc(by)

    def observe(self, stage: Stage, seconds: float) -> None:
        """Record how long one stage took."""
        self._stage[stage].observe(seconds)

    def show_depths(self, depths: Iterable[Depth]) -> None:
        """Take over what is open in each inbox; labels are short names of registered systems."""
        self._deliveries.clear()
        self._bytes.clear()
        for depth in depths:
            place = names.short_system(depth.inbox), depth.lane, depth.state
            self._deliveries.labels(*place).inc(depth.count)
            self._bytes.labels(*place).inc(depth.size)

    def exposition(self) -> tuple[bytes, str]:
        """Return all figures in Prometheus text format, and its content type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST
