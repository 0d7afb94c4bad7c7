"""All that one backend keeps, for whoever passes it on: parts ask for the port that they need."""

from __future__ import annotations

from typing import Protocol

from lgsp.ports.bodies import Bodies
from lgsp.ports.directory import DirectoryStore
from lgsp.ports.holdings import Holdings
from lgsp.ports.inboxes import Inboxes
from lgsp.ports.ledger import Ledger
from lgsp.ports.persons import Persons
from lgsp.ports.retention import Retention
from lgsp.ports.search import Search
from lgsp.ports.tree import Tree


class Store(Ledger, Tree, Holdings, Inboxes, DirectoryStore, Bodies, Retention, Search, Persons, Protocol):
    """Log, deliveries, directory and persons."""
