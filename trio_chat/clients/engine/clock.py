"""A clock for the time limits of clients. It does not count when the program stood still."""

from __future__ import annotations

import trio
from typing_extensions import override


class Clock:
    """Advanced by one ticking task, looked at by anybody. Lives as long as the server.

    Attributes:
        tick: how often it is to be advanced, in seconds. Twice that is the most it ever advances.
    """

    def __init__(self, tick: float) -> None:
        """Begin at 0 when it is first looked at."""
        self.tick = tick
        self._time = 0.0
        self._seen: float | None = None

    @override
    def __repr__(self) -> str:
        return f"<Clock time={self.now():.3f} tick={self.tick:g}>"

    def now(self) -> float:
        """Return the time."""
        if self._seen is None:
            self._seen = trio.current_time()
        return self._time + min(trio.current_time() - self._seen, 2 * self.tick)

    def advance(self) -> float:
        """Return the time, and count on from here."""
        self._time = self.now()
        self._seen = trio.current_time()
        return self._time
