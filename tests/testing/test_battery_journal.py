"""What the battery reads from what its clients noted."""

from __future__ import annotations

from trio_chat.stores.base import Session
from trio_chat.testing.battery.journal import Journal, percentile
from trio_chat.testing.verdict.log import Close, Invoke, Ok, Unknown

EPOCH = "019b76da-a800-7000-8000-000000000001"


def journal() -> Journal:
    """One message that was sent twice, and one that was sent once and said to be in memory."""
    made = Journal()
    made.note(Invoke(1.0, "ann", 1, "send", "den", "ann", "a", "text a"))
    made.note(Unknown(2.0, 1, "closed"))
    made.note(Close(2.0, "ann", 1012))
    made.note(Invoke(3.0, "ann", 2, "send", "den", "ann", "a", "text a"))
    made.note(Ok(3.5, 2, "a", EPOCH, 7, "redis", True))
    made.note(Invoke(4.0, "ann", 3, "send", "den", "ann", "b", "text b"))
    made.note(Ok(4.25, 3, "b", EPOCH, 8, "memory"))
    return made


def test_waits_are_from_the_first_time_something_was_sent() -> None:
    """However often it was sent again."""
    assert journal().waits() == [2.5, 0.25]
    assert journal().waits(since=2.0) == [0.25]
    assert [*journal().slow(1.0)] == [3.5]


def test_acks_are_told_apart() -> None:
    """By when they came, and by what they said."""
    made = journal()

    assert [ack.id for ack in made.acks()] == ["a", "b"]
    assert [ack.id for ack in made.acks("memory")] == ["b"]
    assert [ack.id for ack in made.acks(until=4.0)] == ["a"]


def test_tops_are_by_session() -> None:
    """The highest seq that was acknowledged in each."""
    assert journal().tops() == {Session("den", EPOCH): 8}


def test_entries_are_told_apart() -> None:
    """By their kind and by when they were noted."""
    made = journal()

    assert [close.code for close in made.of(Close)] == [1012]
    assert made.of(Close, since=3.0) == []
    assert made.next_op() != made.next_op()


def test_percentile_of_nothing_is_nothing() -> None:
    """And of something it is one of its values."""
    assert percentile([], 0.99) == 0
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
