"""Seeded chance: one independent stream of draws per purpose. Nothing here is fit for keys or tokens."""

from random import Random
from typing import TypeVar

Value = TypeVar("Value")


def draws(seed: int, purpose: str) -> Random:
    """Return the stream of `purpose`; text seeds give the same stream in every process."""
    return Random(f"{seed}/{purpose}")  # noqa: S311 - data to look at, not secrets


def drawn(chance: Random, table: tuple[tuple[Value, float], ...], otherwise: Value) -> Value:
    """Draw one value by the shares of the table, which add up to 1 at most; the rest is `otherwise`."""
    point = chance.random()
    for value, share in table:
        if point < share:
            return value
        point -= share
    return otherwise
