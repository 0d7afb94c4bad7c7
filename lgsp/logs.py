"""Logging: one table of event names and their fields, and how they are written (coloured on a terminal, JSON elsewhere).

No payload, name or number of a person is ever a field. Every event that is emitted stands in `EVENTS`.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Final, TextIO

import structlog
import structlog.tracebacks
from structlog.typing import EventDict, WrappedLogger

EVENTS: Final[dict[str, frozenset[str]]] = {
    "gateway.started": frozenset({"url", "version", "entries"}),
    "tls.renewed": frozenset({"until"}),
    "tls.kept": frozenset({"reason", "until"}),
    "gateway.draining": frozenset({"streams"}),
    "gateway.stopped": frozenset({"entries"}),
    "admin.asked": frozenset({"by", "path"}),
    "request.failed": frozenset({"request_id", "method", "path", "exc_info"}),
    "envelope.refused": frozenset({"code", "env", "peer"}),
    "stream.opened": frozenset({"system", "peer"}),
    "stream.closed": frozenset({"system", "reason", "outstanding"}),
    "delivery.parked": frozenset({"env", "to", "code"}),
    "delivery.cautious": frozenset({"inbox", "outstanding"}),
    "delivery.carrier_lost": frozenset({"inbox", "lane", "count"}),
    "delivery.strayed": frozenset({"inbox", "count"}),
    "leases.taken_back": frozenset({"count"}),
    "neighbours.joined": frozenset({"count"}),
    "neighbours.away": frozenset({"reason"}),
    "worker.died": frozenset({"worker", "code"}),
    "sweep.moved": frozenset({"expired", "requeued", "published"}),
    "sweep.forgot": frozenset({"count"}),
    "sweep.unarchived": frozenset({"count"}),
    "body_key.destroyed": frozenset({"day"}),
    "commit.failed": frozenset({"operations", "exc_info"}),
    "wal.busy": frozenset({"reason"}),
    "read.failed": frozenset({"exc_info"}),
    "directory.changed": frozenset({"version"}),
    "log.damaged": frozenset({"what"}),
    "witness.away": frozenset({"reason"}),
    "witness.back": frozenset({"size"}),
    "witness.overdue": frozenset({"seconds", "size"}),
    "task.failed": frozenset({"task", "exc_info"}),
    "engine.changed": frozenset({"engine", "state"}),
    "broker.connected": frozenset({"use"}),
    "broker.away": frozenset({"use", "reason"}),
    "broker.queue_dead": frozenset({"queue"}),
    "broker.queue_renewed": frozenset({"queue"}),
    "broker.queue_differs": frozenset({"queue"}),
    "broker.mismatch": frozenset({"inbox", "env", "reason"}),
    "client.connected": frozenset({"url", "system"}),
    "client.disconnected": frozenset({"url", "reason"}),
    "client.refused": frozenset({"code", "env"}),
    "client.certificate_renewed": frozenset({"file"}),
    "client.certificate_kept": frozenset({"reason"}),
    "client.clock": frozenset({"seconds"}),
    "client.rolled_back": frozenset({"again", "over"}),
    "adapter.started": frozenset({"system", "version"}),
    "adapter.waiting": frozenset({"system", "code"}),
    "adapter.failed": frozenset({"system", "code", "env", "exc_info"}),
    "adapter.progress": frozenset({"system", "step", "done", "total"}),
    "adapter.lookup": frozenset({"system", "ms", "ok"}),
    "adapter.report": frozenset({"system", "counts", "seconds"}),
    "adapter.stopped": frozenset({"system"}),
    "national.called": frozenset({"ms", "code"}),
    "national.token": frozenset({"expires_in"}),
}
"""Event name -> the fields it may carry, beside `event`, `level`, `timestamp`."""

ALWAYS: Final = frozenset({"event", "level", "timestamp", "log_level"})


def _known(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Drop what the table does not allow: better a poorer line than a person's name in it."""
    allowed = EVENTS.get(str(event.get("event")))
    if allowed is None:
        return {"event": "log.unknown", "level": "error", "timestamp": event.get("timestamp")}
    return {name: value for name, value in event.items() if name in allowed or name in ALWAYS}


def configure(*, stream: TextIO | None = None, json: bool | None = None, level: int = logging.INFO) -> None:
    """Set up logging for the process: to `stream` (standard error), as JSON unless it is a terminal or `json` says otherwise.

    Events below `level`, one of `logging`'s, are left out.
    """
    out = stream or sys.stderr
    structlog.configure(
        processors=_processors(as_json=json if json is not None else not out.isatty()),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=True,
    )


def _processors(*, as_json: bool) -> list[Any]:
    # Tracebacks without local variables, which would carry bodies: both renderers of the library show them by default.
    renderer: Any = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if as_json
        else structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    )
    chain: list[Any] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _known,
    ]
    if as_json:
        bare = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        chain.append(structlog.processors.ExceptionRenderer(bare))
    return [*chain, renderer]


def get_logger() -> structlog.typing.FilteringBoundLogger:
    """Return the logger; `event` is the first argument of each call, fields are keyword arguments.

    In a process that has set up no logging, a department's script for one, warnings go to standard error and the rest nowhere: standard
    output is the program's own, and so are the library's settings for the whole process.
    """
    logger: structlog.typing.FilteringBoundLogger
    if structlog.is_configured():
        logger = structlog.get_logger()
        return logger
    logger = structlog.wrap_logger(
        structlog.PrintLogger(sys.stderr),
        processors=_processors(as_json=not sys.stderr.isatty()),
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
    )
    return logger
