"""Latencies in little memory: counted by size, to three digits. Pure."""

from __future__ import annotations

import math

import msgspec
from typing_extensions import override

# A bucket is at most 1/512 wide, so a figure is right to 0.2 %.
_BITS = 10


class Summary(msgspec.Struct, frozen=True):
    """What is said about many latencies, in milliseconds."""

    p50: float
    p99: float
    max: float


class Latencies:
    """How often each latency occurred. Lives as long as a run; grows with their variety, not with their number."""

    __slots__ = ("_counts", "_longest")

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        """How often, by microseconds of which only the leading bits are kept."""
        self._longest = 0.0

    @override
    def __repr__(self) -> str:
        return f"<Latencies {sum(self._counts.values())} longest={self._longest:g} s>"

    def add(self, seconds: float) -> None:
        """Count one. Below zero, where clocks are rounded, is zero."""
        self._longest = max(self._longest, seconds)
        size = int(seconds * 1e6) if seconds > 0 else 0
        spare = size.bit_length() - _BITS
        if spare > 0:
            size = size >> spare << spare
        self._counts[size] = self._counts.get(size, 0) + 1

    def percentile(self, percent: float) -> float:
        """Return the seconds that so many per cent did not exceed; 0 if there were none."""
        rank = math.ceil(sum(self._counts.values()) * percent / 100)
        for size in sorted(self._counts):
            rank -= self._counts[size]
            if rank <= 0:
                return min(size / 1e6, self._longest)
        return 0.0

    def summary(self) -> Summary | None:
        """Return the figures people ask for, or None if there is nothing to say."""
        if not self._counts:
            return None
        p50, p99 = self.percentile(50), self.percentile(99)
        return Summary(*[round(seconds * 1000, 3) for seconds in (p50, p99, self._longest)])
