"""What has happened since: the floor, and the law that what a client had at n, plus since(n), equals the snapshot."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from typing_extensions import override

from trio_chat.errors import BadRequest
from trio_chat.history import Change, History
from trio_chat.message import Deleted, Event

if TYPE_CHECKING:
    from collections.abc import Callable

from .house import EPOCH, a_history, delete, edit, every_story, post, post_some, seqs

# --- floor and since


def test_floor_is_the_highest_rev_that_left() -> None:
    """A message that was edited late and leaves takes the floor up to its last change."""
    history = a_history(limit=2)
    post_some(history, 2)
    edit(history, "m1")
    post_some(history, 1)

    assert history.floor == 3


def test_floor_never_falls() -> None:
    """A message with an older change that leaves later does not lower the floor."""
    history = a_history(limit=2)
    post_some(history, 2)
    edit(history, "m1")
    post_some(history, 2)

    assert history.floor == 3


def test_since_the_top_is_nothing() -> None:
    """Who has seen everything is told nothing."""
    history = a_history()
    post_some(history, 2)
    changes = history.since(2)

    assert changes is not None
    assert changes.events == ()


def test_since_zero_of_a_short_session_is_everything() -> None:
    """Who has seen nothing is told all, while nothing has left."""
    history = a_history()
    post_some(history, 3)
    changes = history.since(0)

    assert changes is not None
    assert seqs(changes.events) == [1, 2, 3]


def test_since_below_the_floor_is_a_gap() -> None:
    """Who has seen less than what has left cannot be told what they missed."""
    history = a_history(limit=2)
    post_some(history, 5)

    assert history.since(2) is None
    assert history.since(3) is not None


def test_since_above_the_top_is_a_gap() -> None:
    """A position that was never reached is somebody else's."""
    history = a_history()
    post_some(history, 2)

    assert history.since(3) is None


def test_since_a_negative_position_is_a_gap() -> None:
    """There is nothing before nothing."""
    assert a_history().since(-1) is None


def test_since_tells_todays_state() -> None:
    """A message posted and edited since comes once, as it reads now."""
    history = a_history()
    post(history, key="k")
    edit(history, "k", "two")
    edit(history, "k", "three")
    changes = history.since(0)

    assert changes is not None
    assert [(event.seq, event.message.content) for event in changes.events] == [(3, "three")]


def test_since_tells_deletions() -> None:
    """A message deleted since comes as a deletion."""
    history = a_history()
    post(history, key="k")
    delete(history, "k")
    changes = history.since(1)

    assert changes is not None
    [event] = changes.events
    assert isinstance(event, Deleted)


def test_first_of_an_empty_session() -> None:
    """A window without anything needs nothing up to the top."""
    history = a_history()

    assert history.first == 1


def test_first_is_the_oldest_message() -> None:
    """The window needs its oldest message's seq."""
    history = a_history(limit=2)
    post_some(history, 5)

    assert history.first == 4


def test_first_reaches_down_to_a_tombstone() -> None:
    """And that of a tombstone if that is older."""
    history = a_history(limit=3)
    post_some(history, 1)
    delete(history, "m1")
    post_some(history, 1)

    assert history.first == 2


# --- the law: what a client had at n, plus since(n), equals the snapshot


class Watched(History):
    """A history that notes its snapshot at every position."""

    def __init__(self, epoch: str, limit: int) -> None:
        super().__init__(epoch, limit)
        self.had = {0: self.snapshot()}

    @override
    def _apply(self, event: Event) -> Change:
        change = super()._apply(event)
        self.had[self.top] = self.snapshot()
        return change


@every_story
@pytest.mark.parametrize("limit", [1, 2, 3, 20])
def test_law(story: Callable[[History], None], limit: int) -> None:
    """What a client had at n, plus `since(n)`, equals the snapshot, for every n from the floor on."""
    history = Watched(EPOCH, limit)
    with suppress(BadRequest):  # in a small window a story ends early: what it would change has left
        story(history)

    for n in range(history.floor, history.top + 1):
        changes = history.since(n)
        assert changes is not None
        known = {message.seq: message for message in history.had[n]}
        for event in changes.events:
            if isinstance(event, Deleted):
                known.pop(event.message.seq, None)
            else:
                known[event.message.seq] = event.message
        assert [known[seq] for seq in sorted(known) if seq >= changes.first] == list(history.snapshot())


@every_story
def test_since_is_in_order_and_unique(story: Callable[[History], None]) -> None:
    """The events of `since` rise, and no message has two."""
    history = a_history()
    story(history)
    changes = history.since(history.floor)

    assert changes is not None
    assert seqs(changes.events) == sorted(set(seqs(changes.events)))
    assert len({event.message.seq for event in changes.events}) == len(changes.events)
