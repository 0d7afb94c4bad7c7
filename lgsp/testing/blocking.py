"""The simulated bus for tests without an event loop: the same words, waited for, and blocking clients on it.

    def test_the_owner_is_known():
        with BlockingBusSimulator() as bus:
            bus.grant("H01.12/x", TYPE, to="G01.02/population")
            bus.answer(TYPE, lambda message: {"result": "match"})
            with bus.client("H01.12/x") as client:
                assert my_program(client) == "match"

The bus runs on a thread of its own, and so does each client.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from lgsp.domain.exchange import Delivery
from lgsp.domain.limits import LIMITS, Limits
from lgsp.domain.retry import RetryPolicy
from lgsp.sdk import Adapter, BlockingClient, Surroundings, SystemSettings
from lgsp.sdk.background import Background
from lgsp.testing.answers import Answer
from lgsp.testing.clock import ManualClock
from lgsp.testing.faults import Sending
from lgsp.testing.simulator import AT_ONCE, BusSimulator

A = TypeVar("A", bound=Adapter)
PATIENCE: Final = 60.0
"""Seconds in which the simulation has to end."""


class BlockingBusSimulator:
    """One bus for one test; a context manager. Files of its systems go into `folder`, or into one that is removed at the end.

    The clock stands at `now`, or at the machine's moment: then a program with a clock of its own is on time, for the minute that clocks may differ.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        now: datetime | None = None,
        retry: RetryPolicy = AT_ONCE,
        limits: Limits = LIMITS,
    ) -> None:
        self._bus = BusSimulator(folder, now=now, retry=retry, limits=limits)
        self._background: Background

    def __enter__(self) -> Self:
        self._background = Background("simulated bus", patience=PATIENCE)
        self._background.open(self._bus)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._background.close()
        except Exception as mishap:
            if error is None:
                raise
            error.add_note(f"the simulated bus ended in {mishap!r}")

    # --- what the registrar writes down ---------------------------------------------------------------------------------------------

    def system(self, name: str, *, consumes: Sequence[str] = ()) -> str:
        """Declare a system, which takes these message types, and return its URN; one that is there takes them as well."""
        return self._bus.system(name, consumes=consumes)

    def schema(self, document: Mapping[str, Any]) -> str:
        """Declare a JSON Schema 2020-12 document and return its URN, which is its `$id`."""
        return self._bus.schema(document)

    def service(self, type: str, *, schemas: Sequence[str], **members: Any) -> None:  # noqa: A002, ANN401 - as in the record
        """Declare a message type with its schemas, by URN; `members` are the others of a service record (`reply_schemas`, `requires`, …)."""
        self._bus.service(type, schemas=schemas, **members)

    def grant(
        self,
        grantee: str,
        type: str,  # noqa: A002 - the envelope's attribute has this name
        *,
        to: str,
        **members: Any,  # noqa: ANN401 - any JSON value may stand in a record
    ) -> str:
        """Grant a system to send a type to a system, or to the URN of an agency or topic, and return the grant's id.

        `members` are the others of a grant record (`purposes`, `legalbases`, `procedures`, `officers`, `quota_per_day`, …). Systems are declared
        by being named.
        """
        return self._bus.grant(grantee, type, to=to, **members)

    def revoke(self, grant: str) -> None:
        """End a grant by its id."""
        self._bus.revoke(grant)

    def subscribe(self, subscriber: str, type: str) -> str:  # noqa: A002 - the envelope's attribute has this name
        """Have a system receive the events of a topic, and return the subscription's id."""
        return self._bus.subscribe(subscriber, type)

    def record(self, **members: Any) -> None:  # noqa: ANN401 - any JSON value may stand in a record
        """Declare any other record of the directory, in place of the one of its kind and id."""
        self._bus.record(**members)

    def publish(self) -> None:
        """Put in place what was declared, and let those answer who were given an answer."""
        self._background.call(self._bus.publish())

    # --- programs on the bus --------------------------------------------------------------------------------------------------------

    @contextmanager
    def client(self, system: str, *, window: int = 256) -> Iterator[BlockingClient]:
        """Open the client of a system for the length of a block; its box stays for the next time."""
        self.publish()
        with self.client_kind(system).open(self.settings(system), window=window, around=self.surroundings) as client:
            yield client

    def adapter(
        self,
        kind: type[A],
        *,
        manifest: Path | None = None,
        settings: Mapping[str, Any] | None = None,
        granted: bool = True,
    ) -> AbstractContextManager[A]:
        """Run an adapter for the length of a block, as `lgsp adapter run` does.

        Its manifest is `adapter.toml` beside its module unless `manifest` names another. What the manifest asks for is granted unless `granted` is
        false. What ends the adapter early is raised at the end of the block.
        """
        return self._background.block(
            lambda: self._bus.adapter(kind, manifest=manifest, settings=settings, granted=granted)
        )

    def answer(self, type: str, answer: Answer, *, by: str = "") -> None:  # noqa: A002 - the envelope's attribute has this name
        """Answer requests of a type with what `answer(message)` returns: the reply's body, or None for no reply.

        Answers the system `by`, or the one that grants of this type name. `Reject` and `Retry` are sent as what they are; anything else that `answer`
        raises puts the message back and is raised at the end of the simulation. Given anew, the new answer counts.
        """
        self._bus.answer(type, answer, by=by)

    def settings(self, system: str) -> SystemSettings:
        """Return the settings of a declared system; its key is written at the first time."""
        return self._bus.settings(system)

    def settings_file(self, system: str, **settings: str | float) -> Path:
        """Write the settings of a declared system, with a program's own table, for a program that loads a file; return its path."""
        return self._bus.settings_file(system, **settings)

    def client_kind(self, system: str) -> type[BlockingClient]:
        """Return the class of clients to which this simulation's faults apply."""
        return type("Lined", (BlockingClient,), {"kind": self._bus.client_kind(system)})

    @property
    def surroundings(self) -> Surroundings:
        """Clock and pace for a client that a test opens by itself."""
        return self._bus.surroundings

    # --- time and faults ------------------------------------------------------------------------------------------------------------

    @property
    def clock(self) -> ManualClock:
        """The clock by which bus and clients go."""
        return self._bus.clock

    def advance(self, seconds: float) -> None:
        """Move the clock on, and have the bus do at once what is due by then."""
        self._background.call(self._bus.advance(seconds))

    def away(self) -> AbstractContextManager[None]:
        """Let no gateway be reached for the length of a block."""
        return self._background.block(self._bus.away)

    def restart(self) -> None:
        """End the bus in order and start it on what it had written: what was in hand is delivered again."""
        self._background.call(self._bus.restart())

    def deliver_twice(self, system: str) -> None:
        """Deliver each message to a system again, both while it is in hand and after it was acknowledged."""
        self._bus.deliver_twice(system)

    def delay(self, system: str) -> AbstractContextManager[None]:
        """Hold back what is delivered to a system until the block ends."""
        return self._background.block(lambda: self._bus.delay(system))

    def refuse(self, code: str, *, type: str = "", by: str = "", times: int = 1) -> None:  # noqa: A002 - as above
        """Refuse the next envelopes, of a type and by a system where they are given, with a code of the catalogue."""
        self._bus.refuse(code, type=type, by=by, times=times)

    # --- what happened --------------------------------------------------------------------------------------------------------------

    def sent(self, type: str = "", *, by: str = "", to: str = "") -> list[Sending]:  # noqa: A002 - as above
        """Return the envelopes that the bus accepted, in order; each once, however often it came."""
        return self._bus.sent(type, by=by, to=to)

    def refused(self, code: str = "", *, type: str = "", by: str = "", to: str = "") -> list[Sending]:  # noqa: A002 - as above
        """Return the envelopes that the bus refused, in order, and again when they came again."""
        return self._bus.refused(code, type=type, by=by, to=to)

    def deliveries(self, sending: Sending) -> list[Delivery]:
        """Return where an accepted envelope stands at each of its receivers."""
        return self._background.call(self._bus.deliveries(sending))

    def parked(self, to: str = "") -> list[Delivery]:
        """Return the deliveries that are parked, of one inbox where it is given."""
        return self._background.call(self._bus.parked(to))

    def settled(self, seconds: float = 10.0) -> None:
        """Wait until every accepted envelope is settled or parked; raise `AssertionError`, with what is open, after so many seconds."""
        self._background.call(self._bus.settled(seconds))

    def assert_sent(
        self,
        type: str,  # noqa: A002 - the envelope's attribute has this name
        *,
        by: str = "",
        to: str = "",
        times: int = 1,
    ) -> list[Sending]:
        """Hold that envelopes like this were accepted so many times, and return them."""
        return self._bus.assert_sent(type, by=by, to=to, times=times)

    def assert_refused(self, code: str, *, type: str = "", by: str = "", times: int = 1) -> list[Sending]:  # noqa: A002 - as above
        """Hold that envelopes like this were refused with a code so many times, and return them."""
        return self._bus.assert_refused(code, type=type, by=by, times=times)

    def assert_parked(self, to: str, *, times: int = 1) -> list[Delivery]:
        """Hold that so many deliveries to a system are parked, and return them."""
        return self._background.call(self._bus.assert_parked(to, times=times))
