"""Waiting for what comes about by itself, and tells nobody of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


def wait_until(condition: Callable[[], bool], *, seconds: float = 10) -> None:
    """Return when it is so, or fail. Blocks, so it is for tests that do nothing else meanwhile."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        # The other process has no way to wake this one up.
        time.sleep(0.02)


async def try_until(attempt: Callable[[], Awaitable[bool]], *, seconds: float = 15) -> None:
    """Return when an attempt succeeds, or fail. For what only trying tells, such as that a store is back."""
    with trio.fail_after(seconds):
        while not await attempt():  # noqa: ASYNC110 - see above
            await trio.sleep(0.05)


async def wait_for(condition: Callable[[], bool], *, seconds: float = 5) -> None:
    """Return when it is so, or fail. Others go on meanwhile."""
    with trio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for sets no event
            await trio.sleep(0.002)
