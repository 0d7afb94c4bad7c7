"""A ledger, inboxes and directory in the memory of one process: a real backend that keeps every promise but to outlive its process."""

from lgsp.backends.memory.ledger import MemoryLedger

__all__ = ["MemoryLedger"]
