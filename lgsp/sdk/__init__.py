"""All that an adapter or a department's program imports: client and its blocking twin, adapter, manifest, runner, errors.

    from lgsp.sdk import Adapter, Message, handles

Everything else in this package may change without notice.
"""

from __future__ import annotations

from lgsp.logs import get_logger
from lgsp.sdk.adapter import Adapter, handles
from lgsp.sdk.blocking import BlockingClient, BlockingFailure, BlockingMessage
from lgsp.sdk.client import Client
from lgsp.sdk.composition import Stated
from lgsp.sdk.errors import (
    AdapterError,
    AuthFailed,
    ClientError,
    Closed,
    ConfigInvalid,
    NotReady,
    OutcomeUnknown,
    Refused,
    Reject,
    Retry,
    Unreachable,
)
from lgsp.sdk.manifest import AdapterManifest, AdapterSettings
from lgsp.sdk.message import Effect, Failure, Message, Tables, Work
from lgsp.sdk.outbox import Outcome, Sent
from lgsp.sdk.runner import run_adapter
from lgsp.sdk.settings import SystemSettings
from lgsp.sdk.surroundings import Surroundings
from lgsp.sdk.yielding import YieldingWindow
from lgsp.tls import check_url, trusting

__all__ = [
    "Adapter",
    "AdapterError",
    "AdapterManifest",
    "AdapterSettings",
    "AuthFailed",
    "BlockingClient",
    "BlockingFailure",
    "BlockingMessage",
    "Client",
    "ClientError",
    "Closed",
    "ConfigInvalid",
    "Effect",
    "Failure",
    "Message",
    "NotReady",
    "Outcome",
    "OutcomeUnknown",
    "Refused",
    "Reject",
    "Retry",
    "Sent",
    "Stated",
    "Surroundings",
    "SystemSettings",
    "Tables",
    "Unreachable",
    "Work",
    "YieldingWindow",
    "check_url",
    "get_logger",
    "handles",
    "run_adapter",
    "trusting",
]
