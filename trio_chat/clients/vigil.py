"""How long a connection has stood still, and what that means. Pure.

Whoever looks after time limits looks now and then, and tells what it sees: numbers that go up as long as things move.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from trio_chat.clients.limits import ServerLimits


class Silence(Enum):
    """What is to be done about a client that says nothing."""

    BEAR = "nothing, yet or again"
    PING = "ask whether it is there"
    CUT = "give it up"


class _Stopwatch(msgspec.Struct):
    """How long a number has stood still."""

    mark: int = -1
    since: float = 0.0

    def still(self, mark: int, now: float) -> float:
        """Return for how long the number has been what it is now, as far as it was looked at."""
        if mark != self.mark:
            self.mark = mark
            self.since = now
        return now - self.since


class Vigil:
    """The time limits of one connection. Lives as long as it. All times are in seconds."""

    __slots__ = ("_limits", "_pinged", "_progress", "_quiet", "_unfinished")

    def __init__(self, limits: ServerLimits) -> None:
        self._limits = limits
        self._pinged = False
        self._quiet = _Stopwatch()
        self._unfinished = _Stopwatch()
        self._progress = _Stopwatch()

    def judge_silence(self, reads: int, now: float) -> Silence:
        """Say what to do about a client that was read so many times."""
        interval = self._limits.ping_interval
        quiet = self._quiet.still(reads, now)
        if not interval or quiet < interval:
            self._pinged = False
        elif not self._pinged:
            self._pinged = True
            return Silence.PING
        elif quiet >= interval + self._limits.ping_timeout:
            return Silence.CUT
        return Silence.BEAR

    def frame_is_late(self, frame: int, now: float) -> bool:
        """Whether a frame has been unfinished for too long: the one of this number; -1 if none is unfinished."""
        late = self._unfinished.still(frame, now) >= (self._limits.frame_timeout or math.inf)
        return late and frame >= 0

    def is_stalled(self, sent: int, now: float) -> bool:
        """Whether what waits has waited for too long, since so many bytes were out; -1 if nothing waits."""
        stalled = self._progress.still(sent, now) >= (self._limits.outbox_stall or math.inf)
        return stalled and sent >= 0
