"""Posting: numbers, ids, the window, and the same id again."""

from __future__ import annotations

import pytest

from trio_chat.errors import BadRequest, ReplyCode
from trio_chat.history import REMEMBERED_WINDOWS, Change, key_name
from trio_chat.message import Posted

from .house import EPOCH, NOON, a_history, delete, edit, ids, post, post_some

# --- posting


def test_new_history_is_empty() -> None:
    """A session begins with nothing, at position 0."""
    history = a_history()

    assert (history.top, history.floor, history.synced, history.messages) == (0, 0, 0, 0)
    assert history.snapshot() == ()


def test_post_gives_the_next_seq() -> None:
    """Events are numbered 1, 2, 3."""
    history = a_history()

    assert [post(history).seq for _ in range(3)] == [1, 2, 3]


def test_post_keeps_what_was_said() -> None:
    """The event of a post carries the whole message."""
    history = a_history()
    change = history.post(key="k", user="ann", role="assistant", content="hi", metadata={"a": 1}, now=NOON)

    assert isinstance(change.event, Posted)
    message = change.event.message
    assert (message.id, message.user_id, message.role, message.content) == ("k", "ann", "assistant", "hi")
    assert (message.metadata, message.timestamp, message.seq, message.rev) == ({"a": 1}, NOON, 1, 1)


def test_post_without_a_key_gets_an_id_of_its_own() -> None:
    """The server makes ids that differ."""
    history = a_history()
    names = {post(history).id for _ in range(3)}

    assert len(names) == 3


@pytest.mark.parametrize("limit", [1, 10])
def test_made_id_cannot_be_chosen(limit: int) -> None:
    """An id made here is nobody's to choose, whether its message is in the window, has left it, or is to come."""
    history = a_history(limit=limit)
    made = post(history).id
    post(history)

    for taken in (made, f"{EPOCH[-12:]}-99"):
        with pytest.raises(BadRequest, match="choose another"):
            post(history, key=taken, user="bob")


# --- the window


def test_window_keeps_the_newest() -> None:
    """A message above the limit pushes the oldest one out."""
    history = a_history(limit=3)
    post_some(history, 5)

    assert ids(history) == ["m3", "m4", "m5"]


def test_window_at_its_limit_keeps_all() -> None:
    """The limit may be reached."""
    history = a_history(limit=3)
    post_some(history, 3)

    assert ids(history) == ["m1", "m2", "m3"]


def test_deletion_leaves_a_free_place() -> None:
    """After a deletion the next post pushes nothing out."""
    history = a_history(limit=3)
    post_some(history, 3)
    delete(history, "m2")
    post(history, key="m5")

    assert ids(history) == ["m1", "m3", "m5"]


def test_what_left_the_window_never_comes_back() -> None:
    """Deleting a message does not bring back an older one."""
    history = a_history(limit=3)
    post_some(history, 4)
    delete(history, "m3")

    assert ids(history) == ["m2", "m4"]


def test_edit_does_not_move_a_message() -> None:
    """The window is in the order of posting."""
    history = a_history(limit=3)
    post_some(history, 3)
    edit(history, "m1")

    assert ids(history) == ["m1", "m2", "m3"]


def test_edited_message_leaves_in_its_turn() -> None:
    """An edit does not make a message younger."""
    history = a_history(limit=3)
    post_some(history, 3)
    edit(history, "m1")
    post(history, key="m5")

    assert ids(history) == ["m2", "m3", "m5"]


def test_window_of_one() -> None:
    """The smallest window holds the last message."""
    history = a_history(limit=1)
    post_some(history, 3)

    assert ids(history) == ["m3"]


# --- the same id again


def test_same_key_again() -> None:
    """A key posted twice gives the same event and no new one."""
    history = a_history()
    first = post(history, "one", key="k")
    again = post(history, "another text", key="k")

    assert (again.id, again.seq, again.event) == (first.id, first.seq, None)
    assert history.top == 1


def test_same_key_after_an_edit() -> None:
    """The ack of a repeated post names the event that posted the message, not its last change."""
    history = a_history()
    post(history, key="k")
    edit(history, "k")

    assert post(history, key="k") == Change("k", 1, None)


def test_same_key_after_the_message_left_the_window() -> None:
    """A late retry into a busy room is still the same message."""
    history = a_history(limit=2)
    post_some(history, 5)

    assert post(history, key="m1") == Change("m1", 1, None)


def test_same_key_after_the_message_was_deleted() -> None:
    """A retry does not bring a deleted message back."""
    history = a_history()
    post(history, key="k")
    delete(history, "k")

    assert post(history, key="k") == Change("k", 1, None)
    assert ids(history) == []


def test_id_made_here_as_a_key() -> None:
    """A client that repeats a post under the id it was told gets the same message."""
    history = a_history()
    made = post(history)

    assert post(history, key=made.id) == Change(made.id, made.seq, None)


def test_key_of_another_users_message() -> None:
    """An id that is somebody else's message is a conflict."""
    history = a_history()
    post(history, key="k", user="ann")

    with pytest.raises(BadRequest, match="another user") as caught:
        post(history, key="k", user="bob")
    assert caught.value.code is ReplyCode.CONFLICT
    assert history.top == 1


def test_key_of_another_users_message_that_left_the_window() -> None:
    """It is a conflict for as long as the id is remembered: nobody is told that an unposted message is there."""
    history = a_history(limit=1)
    post(history, key="k", user="ann")
    post(history, key="next", user="ann")

    with pytest.raises(BadRequest, match="another user"):
        post(history, "lost", key="k", user="bob")


def test_key_of_another_users_message_that_was_deleted() -> None:
    """A deletion does not give the id to somebody else either."""
    history = a_history()
    post(history, key="k", user="ann")
    delete(history, "k")

    with pytest.raises(BadRequest, match="another user"):
        post(history, "lost", key="k", user="bob")


def test_keys_are_remembered_for_ten_windows() -> None:
    """The oldest key is forgotten when there are more than ten windows of them."""
    history = a_history(limit=2)
    post_some(history, 2 * REMEMBERED_WINDOWS)

    remembered = history.keys()
    post(history, key="one more")

    left = history.keys()
    assert key_name("m1", "ann") in remembered
    assert key_name("m1", "ann") not in left


def test_forgotten_key_is_a_new_message() -> None:
    """A key that was forgotten can be used again."""
    history = a_history(limit=2)
    post_some(history, 2 * REMEMBERED_WINDOWS + 1)

    assert post(history, key="m1").event is not None


def test_ids_made_here_are_no_keys() -> None:
    """Only ids that clients chose are remembered."""
    history = a_history()
    post(history)

    assert dict(history.keys()) == {}


# --- the rest


def test_has() -> None:
    """`has` tells a message's seq while it is in the window."""
    history = a_history(limit=1)
    post_some(history, 2)

    assert (history.has("m1"), history.has("m2")) == (None, 2)


def test_repr_counts() -> None:
    """The one-line form has the counts an operator asks for."""
    history = a_history(limit=2)
    post_some(history, 3)

    assert repr(history) == f"<History {EPOCH} top=3 synced=0 floor=1 messages=2 left_over=1>"


def test_statistics_count() -> None:
    """Statistics say the same, as data."""
    history = a_history(limit=2)
    post_some(history, 3)
    delete(history, "m3")
    statistics = history.statistics()

    assert (statistics.top, statistics.floor, statistics.messages) == (4, 1, 1)
    assert (statistics.tombstones, statistics.left_over) == (1, 1)
