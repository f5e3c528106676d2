"""Waiting for what another process does, and tells nobody of."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def wait_until(condition: Callable[[], bool], *, seconds: float = 10) -> None:
    """Return when it is so, or fail. Blocks, so it is for tests that do nothing else meanwhile."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        # The other process has no way to wake this one up.
        time.sleep(0.02)
