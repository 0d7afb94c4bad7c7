"""The made-up province of the demo: its data folder, its systems with their keys, its signed directory."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lgsp import app, keyfiles
from lgsp.cli import directory_file
from lgsp.cli.demo.refusals import Sender
from lgsp.cli.founding import Founding, found
from lgsp.cli.gateway_door import publish
from lgsp.cli.key_policy import read_policy
from lgsp.cli.registrar import draw_plan, sign_plan
from lgsp.cli.system import new_system
from lgsp.config import Settings
from lgsp.datafolder import DataFolder
from lgsp.domain import names
from lgsp.machine import SystemClock

BUS: Final = "urn:lgsp:bus:91"
ORIGIN: Final = "lgsp.example.vn/91/2026"
SYSTEMS: Final[Mapping[str, str]] = {
    "vnfishbase": "H01.12/vnfishbase",
    "police": "H01.21/police",
    "one_stop": "H01.31/one-stop",
    "ndxp": "H01.05/ndxp",
    "stranger": "H01.05/stranger",
}
"""Adapter -> system. The stranger is registered and has a key, but no grant: it is there to be refused."""
ADAPTERS: Final = ("police", "ndxp", "one_stop")
"""Those that run before the fisheries system begins."""
