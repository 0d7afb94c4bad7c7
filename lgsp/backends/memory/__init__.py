"""Ledger, inboxes, directory and neighbours in the memory of one process: a real backend that keeps every promise but to outlive its process."""

from lgsp.backends.memory.ledger import MemoryLedger
from lgsp.backends.memory.neighbours import MemoryNeighbours, Neighbourhood

__all__ = ["MemoryLedger", "MemoryNeighbours", "Neighbourhood"]
