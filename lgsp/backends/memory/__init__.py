"""Ledger, inboxes, directory, neighbours and a witness in the memory of one process: real, but they do not outlive it."""

from lgsp.backends.memory.ledger import MemoryLedger
from lgsp.backends.memory.neighbours import MemoryNeighbours, Neighbourhood
from lgsp.backends.memory.witness import MemoryWitness

__all__ = ["MemoryLedger", "MemoryNeighbours", "MemoryWitness", "Neighbourhood"]
