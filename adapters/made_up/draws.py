"""Seeded chance: one independent stream of draws per purpose. Nothing here is fit for keys or tokens."""

from random import Random


def draws(seed: int, purpose: str) -> Random:
    """Return the stream of `purpose`; text seeds give the same stream in every process."""
    return Random(f"{seed}/{purpose}")  # noqa: S311 - data to look at, not secrets
