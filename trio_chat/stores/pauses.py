"""Steps with pauses between them, written once for those who wait under Trio and those who block."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import closing
from typing import TypeAlias

import trio

Pauses: TypeAlias = Generator[float, None, None]
"""Steps to take with pauses between them, in seconds."""

_GLANCE = 0.01


def until(condition: Callable[[], bool], patience: float) -> Pauses:
    """Pause until the condition holds or `patience` seconds are over, whichever comes first."""
    deadline = time.monotonic() + patience
    while not condition() and time.monotonic() < deadline:
        yield _GLANCE


def take_steps(pauses: Pauses) -> None:
    """Take the steps. Blocks."""
    for pause in pauses:
        time.sleep(pause)


async def paced(pauses: Pauses) -> None:
    """Take the steps under Trio. Cancelling closes them."""
    await trio.lowlevel.checkpoint()
    with closing(pauses):
        for pause in pauses:
            await trio.sleep(pause)
