"""Counts that cost next to nothing."""

from __future__ import annotations

import pytest

from trio_chat.counts import Distribution, Histogram, TurnCounts


@pytest.mark.parametrize(("value", "bucket"), [(0.0, 0), (1.0, 0), (1.5, 1), (2.0, 1), (2.1, 2), (99.0, 2)])
def test_a_bound_belongs_to_the_bucket_below_it(value: float, bucket: int) -> None:
    """As `le` says; what is above all bounds has a bucket of its own."""
    histogram = Histogram([1.0, 2.0])
    histogram.note(value)

    assert histogram.statistics().counts == tuple(int(place == bucket) for place in range(3))
    assert histogram.statistics().total == value


def test_statistics_stay_as_they_were() -> None:
    """What is counted later is not in them."""
    histogram = Histogram([1.0])
    before = histogram.statistics()
    histogram.note(0.5)

    assert before == Distribution((1.0,), (0, 0), 0.0)
    assert repr(histogram) == "<Histogram values=1 total=0.5>"


def test_a_turn_counts_its_events_for_each_member() -> None:
    """A turn without an event counts as a turn only."""
    counts = TurnCounts()
    counts.note_turn(5, 3, 10, "redis")
    counts.note_turn(1, 0, 0, "memory")
    found = counts.statistics()

    assert (found.events, found.deliveries) == (3, 30)
    assert found.acks == {"memory": 0, "redis": 3, "replicated": 0, "archive": 0}
    assert (sum(found.turns.counts), found.turns.total) == (2, 6.0)


def test_edits_and_deletes_are_among_the_events() -> None:
    """Told apart, and told of only where there are any."""
    counts = TurnCounts()
    counts.note_turn(5, 5, 1, "redis")
    counts.note_changes(2, 1)
    found = counts.statistics()

    assert (found.events, found.edited, found.deleted) == (5, 2, 1)


def test_resumes_are_counted_by_their_outcome() -> None:
    """Those that got exactly what was missed, and those that got everything anew."""
    counts = TurnCounts()
    counts.note_resume(exact=True)
    counts.note_resume(exact=False)
    counts.note_resume(exact=False)

    assert (counts.statistics().resumed, counts.statistics().restarted) == (1, 2)
