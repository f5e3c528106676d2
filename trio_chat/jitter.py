"""Chance, for pauses that are not to fall in step.

Drawn from a generator of our own: a program that embeds rooms may have seeded the one that all share, and finds it as
it left it.
"""

from __future__ import annotations

from random import Random
from typing import Final

_CHANCE: Final = Random()  # noqa: S311 - no secret


def between(low: float, high: float) -> float:
    """Return any number from `low` to `high`."""
    return _CHANCE.uniform(low, high)
