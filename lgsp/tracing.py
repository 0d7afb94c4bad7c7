"""Spans of OpenTelemetry along the way of an envelope: its `traceparent` ties what sender, gateways and receiver do into one trace.

Only the API is used: without an SDK in the process, which is the operator's to add, nothing is recorded and nothing is stated. What a span says of
an envelope is its type, lane, code and env hash: never a name, a number or a body.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from importlib import metadata
from typing import Final, Literal, Self

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

Step = Literal["send", "accept", "again", "refuse", "deliver", "handle"]
"""`again` is what looked like an acceptance until the commit: it was accepted before, or is to be judged again."""
KINDS: Final[Mapping[Step, SpanKind]] = {
    "send": SpanKind.PRODUCER,
    "accept": SpanKind.SERVER,
    "again": SpanKind.SERVER,
    "refuse": SpanKind.SERVER,
    "deliver": SpanKind.PRODUCER,
    "handle": SpanKind.CONSUMER,
}
HEADER: Final = "traceparent"
FORM: Final = TraceContextTextMapPropagator()


@dataclass(frozen=True, slots=True)
class Opened:
    """A span that is open, or none where nothing is recorded."""

    span: trace.Span | None = None

    def became(self, step: Step) -> None:
        """State that it is another step than it looked like at its beginning, of the same kind."""
        if self.span is not None:
            self.span.update_name(_name(step))


NOTHING: Final = nullcontext(Opened())


@dataclass(frozen=True, slots=True)
class Traces:
    """Makes spans, or nothing at all."""

    tracer: trace.Tracer | None

    @classmethod
    def found(cls) -> Self:
        """Return what this process has set up by now."""
        if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
            return cls(None)
        return cls(trace.get_tracer("lgsp", metadata.version("lgsp")))

    @property
    def are_on(self) -> bool:
        """Whether anything is recorded."""
        return self.tracer is not None

    def span(self, step: Step, *, parent: str = "", **attributes: str) -> AbstractContextManager[Opened]:
        """Return the span of a step as a context manager, a child of `parent` (a traceparent) or else of the span that is current.

        `attributes` are of `type`, `lane`, `code` and `env`; empty ones are left out.
        """
        if self.tracer is None:
            return NOTHING
        return _recorded(
            self.tracer.start_as_current_span(
                _name(step),
                context=_context(parent),
                kind=KINDS[step],
                attributes={f"lgsp.{name}": value for name, value in attributes.items() if value},
                record_exception=False,
                set_status_on_exception=False,
            )
        )

    def current(self) -> str:
        """Return the traceparent of the current span, "" when there is none."""
        if self.tracer is None:
            return ""
        carrier: dict[str, str] = {}
        FORM.inject(carrier)
        return carrier.get(HEADER, "")


@contextmanager
def _recorded(opened: AbstractContextManager[trace.Span]) -> Iterator[Opened]:
    """Hold a span open; of what goes wrong in it only the kind is told, for the words may be of a department's program and name a person."""
    with opened as span:
        try:
            yield Opened(span)
        except Exception as error:
            span.set_status(StatusCode.ERROR, type(error).__name__)
            raise


def _name(step: Step) -> str:
    return f"lgsp.{step}"


def _context(parent: str) -> Context | None:
    return FORM.extract({HEADER: parent}, context=Context()) if parent else None
