"""What the bus itself counts and knows, as Prometheus metrics, made when they are asked for. Nothing is read from an engine for it."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from lgsp.bus.figures import Distribution
from lgsp.bus.supervisor import Bus
from lgsp.domain import names
from lgsp.domain.lanes import LANES

PLACE: Final = ("inbox", "lane", "state")


class BusFigures(Collector):
    """A collector over one bus. A label is always a word of ours or the short name of a registered system."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics with what they are now."""
        yield self._stages()
        yield self._operations()
        yield self._moves()
        yield from self._parts()
        yield from self._inboxes()
        yield from self._ages()

    def _stages(self) -> Metric:
        found = HistogramMetricFamily("lgsp_stage_seconds", "Time in one stage", labels=["stage"])
        for stage, distribution in self._bus.figures.stages.items():
            found.add_metric([stage], _buckets(distribution), distribution.total)
        return found

    def _operations(self) -> Metric:
        distribution = self._bus.figures.operations
        return HistogramMetricFamily(
            "lgsp_commit_operations",
            "Operations in one transaction",
            buckets=_buckets(distribution),
            sum_value=distribution.total,
        )

    def _moves(self) -> Metric:
        found = CounterMetricFamily(
            "lgsp_delivery_moves", "Deliveries by the state that they came into", labels=["state"]
        )
        for state, count in sorted(self._bus.figures.moves.items()):
            found.add_metric([state], count)
        return found

    def _parts(self) -> Iterator[Metric]:
        ready, states = self._bus.health.told()
        info = GaugeMetricFamily("lgsp_info", "The gateway and its version", labels=["gateway", "version"])
        info.add_metric([self._bus.gateway, metadata.version("lgsp")], 1)
        yield info
        yield GaugeMetricFamily("lgsp_ready", "Whether envelopes are taken", value=ready)
        parts = GaugeMetricFamily("lgsp_part_ok", "Whether a part is well, as /readyz has it", labels=["part"])
        for part, state in states.items():
            parts.add_metric([part], state == "ok")
        yield parts
        answers = GaugeMetricFamily(
            "lgsp_engine_answer_seconds", "How long an engine took to answer", labels=["engine"]
        )
        for engine, seconds in self._bus.health.engines.seconds.items():
            answers.add_metric([engine], seconds)
        yield answers

    def _inboxes(self) -> Iterator[Metric]:
        counts = GaugeMetricFamily("lgsp_inbox_deliveries", "Open deliveries", labels=PLACE)
        sizes = GaugeMetricFamily("lgsp_inbox_bytes", "Bytes of open deliveries", labels=PLACE)
        found: dict[tuple[str, ...], tuple[int, int]] = {}
        for depth in self._bus.room.depths:
            place: tuple[str, ...] = (names.short_system(depth.inbox), depth.lane, depth.state)
            count, size = found.get(place, (0, 0))
            found[place] = count + depth.count, size + depth.size
        for labels, (count, size) in found.items():
            counts.add_metric(labels, count)
            sizes.add_metric(labels, size)
        yield counts
        yield sizes
        yield GaugeMetricFamily(
            "lgsp_inbox_limit_bytes", "Bytes that one inbox may hold", value=self._bus.limits.inbox_bytes
        )
        in_flight = sum(count for _, count in self._bus.courier.in_flight())
        yield GaugeMetricFamily("lgsp_deliveries_in_flight", "Deliveries in receivers' hands", value=in_flight)

    def _ages(self) -> Iterator[Metric]:
        bus = self._bus
        oldest = GaugeMetricFamily(
            "lgsp_oldest_waiting_seconds", "Since when the oldest delivery of a lane waits", labels=["lane"]
        )
        for lane in LANES:
            oldest.add_metric([lane], bus.vitals.waits(lane))
        yield oldest
        yield GaugeMetricFamily("lgsp_log_entries", "Entries of the log", value=bus.vitals.entries)
        yield GaugeMetricFamily(
            "lgsp_checkpoint_age_seconds",
            "Since when the stored checkpoint has not covered the whole log",
            value=bus.auditor.seconds_ago(),
        )
        if bus.witnessing.is_wanted:
            yield GaugeMetricFamily(
                "lgsp_witness_age_seconds",
                "Since when the log has had no word of its witness",
                value=bus.witnessing.seconds_ago(),
            )
            yield GaugeMetricFamily(
                "lgsp_witnessed_entries", "Entries that a co-signed checkpoint covers", value=bus.witnessing.size
            )
        yield GaugeMetricFamily(
            "lgsp_sweep_age_seconds", "Since when no round of the sweep has ended", value=bus.sweep.seconds_ago()
        )
        yield GaugeMetricFamily(
            "lgsp_directory_version", "Version of the directory in force", value=bus.registry.current.version
        )


def _buckets(distribution: Distribution) -> list[tuple[str, float]]:
    """Return the counts up to each bound, as Prometheus has them."""
    found, running = [], 0
    for bound, count in zip((*map(str, map(float, distribution.bounds)), "+Inf"), distribution.counts, strict=True):
        running += count
        found.append((bound, float(running)))
    return found
