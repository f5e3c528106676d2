"""How fast a client may go on asking."""

from __future__ import annotations

import trio
from typing_extensions import override


class Bucket:
    """A token bucket that can go into debt: as much as its burst, then its owner is out.

    Args:
        rate: tokens a second; 0 for no limit.
        burst: how many may be saved up.
    """

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._level = float(burst)
        self._at = trio.current_time()

    @override
    def __repr__(self) -> str:
        return f"<Bucket {self._level:g} of {self._burst}, {self._rate:g} a second>"

    def take(self) -> bool:
        """Take a token. Returns whether there was one."""
        if not self._rate:
            return True
        now = trio.current_time()
        self._level = min(self._level + (now - self._at) * self._rate, self._burst) - 1
        self._at = now
        return self._level >= 0

    @property
    def level(self) -> float:
        """How many tokens there are by now; below 0 if it is in debt."""
        return min(self._level + (trio.current_time() - self._at) * self._rate, self._burst)

    @property
    def full(self) -> bool:
        """Whether there are as many as there can be."""
        return self.level >= self._burst

    def have_no_more_than(self, other: Bucket) -> None:
        """Lose what there is above another one's level. Its debts are not taken over: they were for what was refused."""
        self._level, self._at = min(self.level, max(other.level, 0.0)), trio.current_time()

    @property
    def broke(self) -> bool:
        """Whether the debt is as large as the burst."""
        return self._level <= -self._burst
