"""Waiting for what comes about by itself, and tells nobody of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable


def wait_until(condition: Callable[[], bool], *, seconds: float = 10) -> None:
    """Return when it is so, or fail. Blocks, so it is for tests that do nothing else meanwhile."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        # The other process has no way to wake this one up.
        time.sleep(0.02)


async def wait_for(condition: Callable[[], bool], *, seconds: float = 5) -> None:
    """Return when it is so, or fail. Others go on meanwhile."""
    with trio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for sets no event
            await trio.sleep(0.002)
