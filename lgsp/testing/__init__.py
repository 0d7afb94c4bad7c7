"""The public test kit: a bus for a department's own tests, and one contract suite per port, run on every backend.

    from lgsp.testing import BusSimulator

For a department: `BusSimulator` and its blocking twin, the clock that they stand on, and what went by. The rest of this package serves the project's
own tests and may change without notice.
"""

from __future__ import annotations

from lgsp.testing.answers import Answer
from lgsp.testing.blocking import BlockingBusSimulator
from lgsp.testing.clock import ManualClock
from lgsp.testing.faults import Sending
from lgsp.testing.simulator import BusSimulator

__all__ = ["Answer", "BlockingBusSimulator", "BusSimulator", "ManualClock", "Sending"]
