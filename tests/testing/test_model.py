"""The model says what a room should show."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from trio_chat.message import Deleted, Edited, Event, Message, Posted
from trio_chat.testing import Model, caught_up, line_of
from trio_chat.testing.model import Window

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def model(limit: int, *posts: str) -> Model:
    """Return a model with these messages, whose ids are their contents."""
    made = Model(limit)
    for text in posts:
        made.post(text, "ann", "user", text, {})
    return made


def ids(window: Window) -> list[str]:
    """Return the ids of a window."""
    return [line.id for line in window]


def message(seq: int, rev: int, content: str = "x") -> Message:
    """Make a message."""
    return Message(
        id=f"m{seq}",
        role="user",
        content=content,
        timestamp=NOW,
        metadata={},
        user_id="ann",
        seq=seq,
        rev=rev,
    )


def test_window_is_the_newest_messages() -> None:
    """The oldest leaves when there are too many."""
    assert ids(model(2, "a", "b", "c").window) == ["b", "c"]


def test_what_has_left_does_not_come_back() -> None:
    """A deletion leaves a free place."""
    made = model(2, "a", "b", "c")
    made.delete("b")

    assert ids(made.window) == ["c"]


def test_edited_message_stays_where_it_is() -> None:
    """Only its content changes, and its metadata if there are any."""
    made = model(2, "a", "b")
    line = made.edit("a", "new", None)

    assert made.window[0] is line
    assert (line.content, line.metadata, line.seq, line.rev) == ("new", {}, 1, 3)


def test_every_window_is_remembered() -> None:
    """As it was after each event."""
    made = model(2, "a", "b")
    made.delete("a")

    assert list(map(ids, made.windows)) == [[], ["a"], ["a", "b"], ["b"]]


def test_floor_is_the_newest_event_that_is_forgotten() -> None:
    """Of a message that has left, or a deletion that is too long ago."""
    made = model(2, "a", "b")
    made.edit("a", "new", None)
    made.post("c", "ann", "user", "c", {})
    assert made.floor == 3
    for name in ("b", "c"):
        made.delete(name)
    assert made.deleted == {"b": 5, "c": 6}
    made.post("d", "ann", "user", "d", {})
    made.delete("d")

    assert made.floor == 5
    assert made.deleted == {"c": 6, "d": 8}


@pytest.mark.parametrize("change", ["edit", "delete"])
def test_only_what_is_in_the_window_can_be_changed(change: str) -> None:
    """Who tries is told."""
    made = model(1, "a", "b")

    with pytest.raises(KeyError, match="'a'"):
        made.edit("a", "x", None) if change == "edit" else made.delete("a")


def test_client_catches_up() -> None:
    """With what is new, changed and gone, and what has left the window."""
    had = tuple(line_of(message(seq, seq)) for seq in (1, 2, 3))
    new = message(6, 6)
    changes: list[Event] = [Deleted(message(2, 4), NOW), Edited(message(3, 5, "y"), NOW), Posted(new)]

    assert caught_up(had, changes, 3) == (line_of(message(3, 5, "y")), line_of(new))
