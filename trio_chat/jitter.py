"""Chance, for pauses that are not to fall in step.

Drawn from a generator of our own: a program that embeds rooms may have seeded the one that all share, and finds it as
it left it.
"""

from __future__ import annotations

from random import Random
from typing import Final

CHANCE: Final = Random()  # noqa: S311 - no secret
"""Whoever wants to see the same pauses again, as simulations do, seeds it."""


def between(low: float, high: float) -> float:
    """Return any number from `low` to `high`."""
    return CHANCE.uniform(low, high)
