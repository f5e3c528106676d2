"""How fast a user may ask, over however many connections.

Unlike a connection's `Bucket`, nobody goes into debt: there is no connection to end, and a program that keeps asking
too fast gets its fair share.
"""

from __future__ import annotations

import math

import msgspec
import trio
from typing_extensions import override

_CROWD = 1024


class _Level(msgspec.Struct, gc=False):
    """What a user has saved up, and when that was so."""

    tokens: float
    at: float


class Rates:
    """The users who asked lately. Lives as long as the server.

    Args:
        rate: requests a second; 0 for any.
        burst: how many at once.
    """

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._levels: dict[str, _Level] = {}
        self._crowd = _CROWD

    @override
    def __repr__(self) -> str:
        return f"<Rates users={len(self._levels)}, {self._rate:g} a second>"

    def take(self, user: str) -> int:
        """Let a user ask once. Returns 0, or how many whole seconds to wait."""
        if not self._rate:
            return 0
        now = trio.current_time()
        level = self._levels.get(user)
        if level is None:
            self._forget(now)
            level = self._levels[user] = _Level(self._burst, now)
        level.tokens = self._saved(level, now)
        level.at = now
        if level.tokens < 1:
            return math.ceil((1 - level.tokens) / self._rate)
        level.tokens -= 1
        return 0

    def _saved(self, level: _Level, now: float) -> float:
        return min(level.tokens + (now - level.at) * self._rate, self._burst)

    def _forget(self, now: float) -> None:
        """Forget who has saved up everything again, now and then, so that nobody stays for ever."""
        if len(self._levels) < self._crowd:
            return
        self._levels = {
            user: level for user, level in self._levels.items() if self._saved(level, now) < self._burst
        }
        self._crowd = max(_CROWD, 2 * len(self._levels))
