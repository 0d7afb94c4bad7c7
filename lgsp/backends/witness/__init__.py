"""A witness over HTTP (C2SP tlog-witness)."""

from lgsp.backends.witness.client import HttpWitness

__all__ = ["HttpWitness"]
