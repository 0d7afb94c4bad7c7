"""What the edge counts, in a registry of its own, beside what the bus tells. A label is always a word of ours: a route, a status, a code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

METHODS: Final = frozenset({"GET", "POST"})


class Metrics:
    """The counters of one application."""

    def __init__(self, bus: Collector) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(bus)
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "lgsp_http_requests", "Answered requests", ["method", "route", "status"], registry=self.registry
        )
        self._refusals = Counter("lgsp_refusals", "Refusals by code", ["code"], registry=self.registry)
        self._envelopes = Counter("lgsp_envelopes", "Envelopes by outcome", ["outcome"], registry=self.registry)
        self._streams = Gauge("lgsp_streams_open", "Streams that have said hello", registry=self.registry)
        self._expiries = Gauge(
            "lgsp_expiry_timestamp_seconds",
            "Until when the first certificate or key of a kind is good",
            ["what"],
            registry=self.registry,
        )
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

    def show_expiries(self, ends: Mapping[str, datetime]) -> None:
        """Take over until when certificate and keys are good, by what they are."""
        self._expiries.clear()
        for what, moment in ends.items():
            self._expiries.labels(what).set(moment.timestamp())

    def show_certificate(self, days: Callable[[], float], is_stale: Callable[[], bool]) -> None:
        """Show from now on what these two tell of the certificate in use each time that they are asked."""
        left = Gauge(
            "lgsp_tls_certificate_days", "Days until the TLS certificate in use expires", registry=self.registry
        )
        stale = Gauge(
            "lgsp_tls_certificate_stale",
            "Whether certificate, key or authorities in their files could not be taken, so that those before serve on",
            registry=self.registry,
        )
        left.set_function(days)
        stale.set_function(lambda: float(is_stale()))

    def exposition(self) -> tuple[bytes, str]:
        """Return all figures in Prometheus text format, and its content type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST
