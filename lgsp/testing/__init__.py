"""The public test kit: one contract suite per port, run on every backend."""
