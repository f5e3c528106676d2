"""Editing and deleting."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from trio_chat.errors import BadRequest, Gone, ReplyCode
from trio_chat.history import Change
from trio_chat.message import Deleted, Edited

if TYPE_CHECKING:
    from collections.abc import Callable

from .house import LATER, NOON, a_history, delete, edit, ids, post, post_some

# --- editing


def test_edit_changes_the_content() -> None:
    """An edited message reads differently, and keeps its place, author and time."""
    history = a_history()
    post(history, "one", key="k")
    change = edit(history, "k", "two")
    [message] = history.snapshot()

    assert isinstance(change.event, Edited)
    assert (change.seq, change.event.at, change.event.message) == (2, LATER, message)
    assert (message.content, message.seq, message.rev) == ("two", 1, 2)
    assert (message.user_id, message.timestamp) == ("ann", NOON)


def test_edit_without_metadata_keeps_it() -> None:
    """None leaves the metadata alone."""
    history = a_history()
    history.post(key="k", user="ann", role="user", content="one", metadata={"a": 1}, now=NOON)
    edit(history, "k", "two", metadata=None)

    assert history.snapshot()[0].metadata == {"a": 1}


def test_edit_with_metadata_replaces_it() -> None:
    """Metadata that is given replaces the old one whole, the empty one too."""
    history = a_history()
    history.post(key="k", user="ann", role="user", content="one", metadata={"a": 1}, now=NOON)
    edit(history, "k", "two", metadata={})

    assert history.snapshot()[0].metadata == {}


def test_metadata_alone_can_be_edited() -> None:
    """The same text with other metadata is an event."""
    history = a_history()
    post(history, "one", key="k")

    assert edit(history, "k", "one", metadata={"a": 1}).event is not None


def test_same_edit_twice() -> None:
    """An edit that changes nothing is no event, and its ack is the same as the first one's."""
    history = a_history()
    post(history, "one", key="k")
    first = edit(history, "k", "two", metadata={"a": 1})
    again = edit(history, "k", "two", metadata={"a": 1})

    assert again == Change("k", first.seq, None)
    assert history.top == 2


def test_edit_to_the_text_of_the_post() -> None:
    """An edit to what the message said anyway acknowledges the post."""
    history = a_history()
    post(history, "one", key="k")

    assert edit(history, "k", "one") == Change("k", 1, None)


@pytest.mark.parametrize(("old", "new"), [(1, True), (0, False), ([0], [False])])
def test_metadata_that_only_python_takes_for_equal(old: object, new: object) -> None:
    """`true` and 1 differ in JSON: such an edit is an event."""
    history = a_history()
    history.post(key="k", user="ann", role="user", content="one", metadata={"a": old}, now=NOON)
    edit(history, "k", "one", metadata={"a": new})

    assert repr(history.snapshot()[0].metadata) == repr({"a": new})


def test_metadata_in_another_order() -> None:
    """The members of a JSON object have no order: putting them otherwise is no event."""
    history = a_history()
    history.post(
        key="k", user="ann", role="user", content="one", metadata={"a": 1, "b": {"c": 2, "d": 3}}, now=NOON
    )

    assert edit(history, "k", "one", metadata={"b": {"d": 3, "c": 2}, "a": 1}).event is None


def test_edit_of_somebody_elses_message() -> None:
    """Only its author changes a message."""
    history = a_history()
    post(history, key="k", user="ann")

    with pytest.raises(BadRequest, match="somebody else") as caught:
        edit(history, "k", user="bob")
    assert caught.value.code is ReplyCode.FORBIDDEN


def test_moderator_edits_anybodys() -> None:
    """A moderator may change anybody's message, which stays its author's."""
    history = a_history()
    post(history, key="k", user="ann")
    edit(history, "k", "tidied", user="mod", moderator=True)

    assert (history.snapshot()[0].content, history.snapshot()[0].user_id) == ("tidied", "ann")


@pytest.mark.parametrize("change", [edit, delete])
def test_change_of_an_unknown_message(change: Callable[..., Change]) -> None:
    """A message that never was cannot be changed."""
    with pytest.raises(BadRequest, match="among the newest 3") as caught:
        change(a_history(limit=3), "nothing")

    assert caught.value.code is ReplyCode.NOT_FOUND


@pytest.mark.parametrize("change", [edit, delete])
def test_change_of_a_message_that_left_the_window(change: Callable[..., Change]) -> None:
    """Only the messages of the window can be changed, by moderators too."""
    history = a_history(limit=2)
    post_some(history, 3)

    with pytest.raises(BadRequest, match="among the newest 2"):
        change(history, "m1", moderator=True)


def test_edit_of_a_deleted_message() -> None:
    """A deleted message is gone."""
    history = a_history()
    post(history, key="k")
    delete(history, "k")

    with pytest.raises(Gone, match="was deleted"):
        edit(history, "k")


def test_refused_change_uses_no_seq() -> None:
    """Numbers have no holes: what is refused gets none."""
    history = a_history()
    post(history, key="k", user="ann")
    with pytest.raises(BadRequest, match="somebody else"):
        edit(history, "k", user="bob")

    assert post(history).seq == 2


# --- deleting


def test_delete_leaves_nothing_to_read() -> None:
    """A deletion carries who and when, and neither content nor metadata."""
    history = a_history()
    history.post(key="k", user="ann", role="user", content="one", metadata={"a": 1}, now=NOON)
    change = delete(history, "k")

    assert isinstance(change.event, Deleted)
    message = change.event.message
    assert (message.content, message.metadata, message.id, message.user_id) == ("", {}, "k", "ann")
    assert (message.seq, message.rev, change.event.at) == (1, 2, LATER)
    assert ids(history) == []


def test_delete_of_somebody_elses_message() -> None:
    """Only its author deletes a message."""
    history = a_history()
    post(history, key="k", user="ann")

    with pytest.raises(BadRequest, match="somebody else") as caught:
        delete(history, "k", user="bob")
    assert caught.value.code is ReplyCode.FORBIDDEN


def test_moderator_deletes_anybodys() -> None:
    """A moderator may delete anybody's message."""
    history = a_history()
    post(history, key="k", user="ann")
    delete(history, "k", user="mod", moderator=True)

    assert ids(history) == []


def test_delete_twice() -> None:
    """Deleting again is no event, and its ack is the same as the first one's."""
    history = a_history()
    post_some(history, 2)
    first = delete(history, "m1")
    delete(history, "m2")

    assert delete(history, "m1") == Change("m1", first.seq, None)
    assert history.top == 4


def test_delete_again_after_the_tombstone_left() -> None:
    """A deletion nobody remembers any more is of an unknown message."""
    history = a_history(limit=1)
    post(history, key="k")
    delete(history, "k")
    post(history, key="l")
    delete(history, "l")

    with pytest.raises(BadRequest, match="no message of this id"):
        delete(history, "k")


def test_tombstones_are_bounded() -> None:
    """A room where everything is deleted holds as many tombstones as messages, and raises its floor."""
    history = a_history(limit=2)
    for _ in range(5):
        change = post(history)
        delete(history, change.id)

    assert history.statistics().tombstones == 2
    assert history.floor == 6


def test_tombstone_below_the_floor_leaves() -> None:
    """A deletion that everybody who can resume has seen needs no tombstone."""
    history = a_history(limit=2)
    post_some(history, 2)
    delete(history, "m1")
    edit(history, "m2")
    post_some(history, 2)

    assert history.floor == 4
    assert history.statistics().tombstones == 0
