"""Counts that cost next to nothing to keep: plain numbers, raised in place and read by whoever asks.

Nothing here locks or waits. One thread writes; a reader in the same thread sees whole turns.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import msgspec
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Sequence

TURN_SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
"""The bounds for how much mail one turn of a room takes."""

LATENCIES: Final = (
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
)
"""The bounds for how long a store takes to answer, in seconds."""


class Distribution(msgspec.Struct, frozen=True):
    """How often which values came.

    Attributes:
        bounds: the inclusive upper bounds of all buckets but the last, which has none.
        counts: how many values each bucket has, one more than there are bounds.
        total: the sum of all values.
    """

    bounds: tuple[float, ...] = ()
    counts: tuple[int, ...] = (0,)
    total: float = 0.0


class Histogram:
    """Counts values by buckets. Lives as long as whatever is counted; noting a value takes a fraction of a microsecond."""

    __slots__ = ("_bounds", "_counts", "_total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._total = 0.0

    @override
    def __repr__(self) -> str:
        return f"<Histogram values={sum(self._counts)} total={self._total:g}>"

    def note(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._total += value

    def statistics(self) -> Distribution:
        """Return the counts of now."""
        return Distribution(self._bounds, tuple(self._counts), self._total)


class TurnStatistics(msgspec.Struct, frozen=True):
    """What the rooms of a lobby have done since its start.

    Attributes:
        turns: how much mail each turn took.
        events: messages posted, edited and deleted.
        edited: those of them that were edits.
        deleted: and those that deleted something.
        deliveries: events times the members who were told of them.
        acks: those events, by the step of the ladder their ack named.
        resumed: joins from a position that got exactly what was missed.
        restarted: joins from a position that got the whole window instead.
        expired: sessions that ended because nobody was active.
    """

    turns: Distribution
    events: int
    edited: int
    deleted: int
    deliveries: int
    acks: Mapping[str, int]
    resumed: int
    restarted: int
    expired: int


class TurnCounts:
    """What the rooms of a lobby do, noted once a turn. Lives as long as the lobby."""

    __slots__ = ("_acks", "_deleted", "_deliveries", "_edited", "_turns", "expired", "restarted", "resumed")

    def __init__(self) -> None:
        self._turns = Histogram(TURN_SIZES)
        self._deliveries = self._edited = self._deleted = 0
        self._acks = {"memory": 0, "redis": 0, "replicated": 0, "archive": 0}
        self.resumed = self.restarted = self.expired = 0

    @override
    def __repr__(self) -> str:
        return f"<TurnCounts events={sum(self._acks.values())} {self._turns!r}>"

    def note_turn(self, size: int, events: int, members: int, durability: str) -> None:
        """Count a turn that was let out.

        Args:
            size: how much mail it took.
            events: how many changes of the history it made.
            members: how many were told of them.
            durability: the step of the ladder these have reached.
        """
        self._turns.note(size)
        if events:
            self._deliveries += events * members
            self._acks[durability] += events

    def note_changes(self, edited: int, deleted: int) -> None:
        """Tell how many of a turn's events were edits, and how many deleted something. Most turns have neither."""
        self._edited += edited
        self._deleted += deleted

    def note_resume(self, *, exact: bool) -> None:
        """Count a join from a position."""
        if exact:
            self.resumed += 1
        else:
            self.restarted += 1

    def statistics(self) -> TurnStatistics:
        """Return the counts of now."""
        return TurnStatistics(
            turns=self._turns.statistics(),
            events=sum(self._acks.values()),
            edited=self._edited,
            deleted=self._deleted,
            deliveries=self._deliveries,
            acks=dict(self._acks),
            resumed=self.resumed,
            restarted=self.restarted,
            expired=self.expired,
        )
