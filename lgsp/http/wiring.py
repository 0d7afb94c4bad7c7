"""Under which keys the application holds what its handlers need."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from lgsp.bus.supervisor import Bus
from lgsp.http.clients import ClientRule
from lgsp.http.metrics import Metrics
from lgsp.http.settings import HttpLimits
from lgsp.http.siblings import Siblings
from lgsp.http.streams import Streams

BUS: Final = web.AppKey("bus", Bus)
SETTINGS: Final = web.AppKey("settings", HttpLimits)
METRICS: Final = web.AppKey("metrics", Metrics)
STREAMS: Final = web.AppKey("streams", Streams)
SHOWN_STREAMS: Final = web.AppKey("shown_streams", Streams)
"""The streams of the public application, as the admin socket shows them."""
SHOWN_METRICS: Final = web.AppKey("shown_metrics", Metrics)
"""Its figures, likewise."""
SIBLINGS: Final = web.AppKey("siblings", Siblings)
"""The other workers of this gateway, where there are some."""

CLIENTS: Final = web.AppKey("clients", ClientRule)
"""What is demanded of clients' certificates, where they are looked at."""

REQUEST_ID: Final = web.RequestKey("request_id", str)
"""Under which a request holds its id."""
