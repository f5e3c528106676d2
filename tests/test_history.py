"""One session's bounded log: the window, the log, what is left over, and the law that ties them."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from typing_extensions import override

from trio_chat.errors import BadRequest, Gone, ReplyCode
from trio_chat.history import REMEMBERED_WINDOWS, Change, History, key_name
from trio_chat.message import Deleted, Edited, Event, Posted

if TYPE_CHECKING:
    from collections.abc import Callable

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = datetime(2026, 3, 1, 13, tzinfo=UTC)
EPOCH = "019ca8f8-6c00-7abc-8def-0123456789ab"


def a_history(limit: int = 3) -> History:
    return History(EPOCH, limit)


def post(history: History, content: str = "hi", *, key: str | None = None, user: str = "ann") -> Change:
    return history.post(key=key, user=user, role="user", content=content, metadata={}, now=NOON)


def post_some(history: History, count: int) -> None:
    """Post messages with the ids m1, m2, ... by the seq each one gets."""
    for _ in range(count):
        post(history, f"text {history.top + 1}", key=f"m{history.top + 1}")


def edit(
    history: History,
    message_id: str,
    content: str = "edited",
    *,
    user: str = "ann",
    moderator: bool = False,
    metadata: dict[str, Any] | None = None,
) -> Change:
    return history.edit(
        message_id, user=user, moderator=moderator, content=content, metadata=metadata, now=LATER
    )


def delete(history: History, message_id: str, *, user: str = "ann", moderator: bool = False) -> Change:
    return history.delete(message_id, user=user, moderator=moderator, now=LATER)


def ids(history: History) -> list[str]:
    return [message.id for message in history.snapshot()]


def seqs(events: tuple[Event, ...]) -> list[int]:
    return [event.seq for event in events]


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

    assert key_name("m1", "ann") in remembered
    assert key_name("m1", "ann") not in history.keys()  # noqa: SIM118 - a method, not a dictionary's


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


def the_quiet(history: History) -> None:
    post_some(history, 3)


def the_busy(history: History) -> None:
    post_some(history, 11)


def the_emptied(history: History) -> None:
    post_some(history, 3)
    for name in ("m2", "m3", "m1"):
        delete(history, name)


def the_emptied_often(history: History) -> None:
    for _ in range(6):
        change = post(history)
        delete(history, change.id)


def the_edited(history: History) -> None:
    post_some(history, 4)
    edit(history, "m2", "a")
    edit(history, "m4", "b")
    edit(history, "m2", "c")


def the_edited_and_pushed_out(history: History) -> None:
    post_some(history, 3)
    edit(history, "m1", "late")
    post_some(history, 1)
    edit(history, "m3", "later")
    post_some(history, 2)


def the_deleted_old_edited_young(history: History) -> None:
    post_some(history, 3)
    delete(history, "m1")
    edit(history, "m2", "x")
    post_some(history, 2)
    delete(history, "m6")
    post_some(history, 1)
    edit(history, "m3" if history.has("m3") else "m7", "y")


def the_posted_and_deleted(history: History) -> None:
    post_some(history, 2)
    post(history, key="gone")
    delete(history, "gone")
    post_some(history, 2)


def the_tombstone_first(history: History) -> None:
    post_some(history, 2)
    delete(history, "m1")
    delete(history, "m2")
    post_some(history, 3)


def the_nothing(history: History) -> None:
    assert history.top == 0


STORIES = [
    the_nothing,
    the_quiet,
    the_busy,
    the_emptied,
    the_emptied_often,
    the_edited,
    the_edited_and_pushed_out,
    the_deleted_old_edited_young,
    the_posted_and_deleted,
    the_tombstone_first,
]
every_story = pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)


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


# --- entries, left over, synced


def test_entries_hold_what_left_the_window() -> None:
    """Until the archive has them, messages that left the window are still entries, in order."""
    history = a_history(limit=2)
    post_some(history, 5)

    assert seqs(history.entries(0)) == [1, 2, 3, 4, 5]


def test_entries_above() -> None:
    """Only what is above the given seq."""
    history = a_history(limit=2)
    post_some(history, 5)

    assert seqs(history.entries(2)) == [3, 4, 5]
    assert seqs(history.entries(3)) == [4, 5]
    assert seqs(history.entries(5)) == []


def test_entries_leave_out_the_superseded() -> None:
    """The latest event of a message says everything."""
    history = a_history()
    post_some(history, 2)
    edit(history, "m1")

    assert seqs(history.entries(0)) == [2, 3]


def test_entries_hold_tombstones_that_left() -> None:
    """A deletion the archive does not know stays an entry, though its tombstone is gone."""
    history = a_history(limit=1)
    for _ in range(3):
        change = post(history)
        delete(history, change.id)

    assert seqs(history.entries(0)) == [2, 4, 6]


def test_mark_synced_lets_go_of_what_is_left_over() -> None:
    """What the archive has need not be kept for it."""
    history = a_history(limit=2)
    post_some(history, 5)
    history.mark_synced(2)

    assert seqs(history.entries(0)) == [3, 4, 5]
    assert history.unsynced == 3


def test_mark_synced_never_falls() -> None:
    """A late mark changes nothing."""
    history = a_history()
    post_some(history, 3)
    history.mark_synced(3)
    history.mark_synced(1)

    assert history.synced == 3


def test_mark_synced_stays_below_the_top() -> None:
    """A mark above the top is the top."""
    history = a_history()
    post_some(history, 2)
    history.mark_synced(99)

    assert history.synced == 2


def test_what_is_synced_is_not_left_over() -> None:
    """A message the archive has leaves the window without a trace."""
    history = a_history(limit=2)
    post_some(history, 2)
    history.mark_synced(2)
    post_some(history, 2)

    assert history.statistics().left_over == 0


def test_mark_synced_leaves_the_window_alone() -> None:
    """The window is for those who join, whatever the archive has."""
    history = a_history(limit=2)
    post_some(history, 3)
    history.mark_synced(3)

    assert ids(history) == ["m2", "m3"]


# --- forget and complete


def test_new_history_is_complete() -> None:
    """As long as nothing is forgotten, everything unsynced is here."""
    history = a_history(limit=1)
    post_some(history, 5)

    assert history.complete


def test_forget_lets_go_of_the_oldest_written() -> None:
    """Beyond the newest few, left over events that the hot store has are forgotten, the oldest first."""
    history = a_history(limit=1)
    post_some(history, 6)
    history.forget(written=6, keep=2)

    assert seqs(history.entries(0)) == [4, 5, 6]
    assert not history.complete


def test_forget_keeps_what_is_not_written() -> None:
    """What nobody else has is never forgotten."""
    history = a_history(limit=1)
    post_some(history, 6)
    history.forget(written=1, keep=0)

    assert seqs(history.entries(0)) == [2, 3, 4, 5, 6]


def test_forget_within_bounds() -> None:
    """Few left over events are all kept."""
    history = a_history(limit=1)
    post_some(history, 4)
    history.forget(written=4, keep=3)

    assert history.complete
    assert seqs(history.entries(0)) == [1, 2, 3, 4]


def test_complete_again_after_a_sync() -> None:
    """Once the archive has what was forgotten, the rest is complete again."""
    history = a_history(limit=1)
    post_some(history, 6)
    history.forget(written=6, keep=2)
    history.mark_synced(2)

    assert not history.complete
    history.mark_synced(3)
    assert history.complete


# --- superseded


def test_superseded_seqs_are_told_once() -> None:
    """A store is told once which entries it need not keep."""
    history = a_history()
    post_some(history, 2)
    edit(history, "m1")
    edit(history, "m1", "again")
    delete(history, "m2")

    assert history.superseded == [1, 3, 2]
    assert history.take_superseded() == (1, 3, 2)
    assert history.take_superseded() == ()


def test_leaving_the_window_supersedes_nothing() -> None:
    """What left is still for the archive."""
    history = a_history(limit=1)
    post_some(history, 3)

    assert history.take_superseded() == ()


# --- restoring


def restored(history: History, events: tuple[Event, ...] | None = None) -> History:
    return History.restore(
        history.epoch,
        history.limit,
        top=history.top,
        synced=history.synced,
        floor=history.floor,
        first=history.first,
        events=history.entries(0) if events is None else events,
        keys=dict(history.keys()),
    )


def assert_same(one: History, other: History) -> None:
    assert one.statistics() == other.statistics()
    assert (one.epoch, one.first, one.snapshot()) == (other.epoch, other.first, other.snapshot())
    assert [one.since(n) for n in range(-1, one.top + 2)] == [other.since(n) for n in range(-1, one.top + 2)]
    assert [one.entries(n) for n in range(one.top + 1)] == [other.entries(n) for n in range(one.top + 1)]
    assert list(one.keys().items()) == list(other.keys().items())


@every_story
@pytest.mark.parametrize("synced", [0, 2, 5, 100])
def test_restored_equals_the_original(story: Callable[[History], None], synced: int) -> None:
    """A history rebuilt from what it told a store is the same history, whatever had been archived of it."""
    history = a_history()
    story(history)
    history.mark_synced(synced)

    assert_same(restored(history), history)


@every_story
def test_restored_goes_on_as_the_original(story: Callable[[History], None]) -> None:
    """What happens after a restart happens as it would have without one."""
    history = a_history()
    story(history)
    copy = restored(history)
    for one in (history, copy):
        post(one, key="after")
        post(one)
        edit(one, "after", "and edited")
        post(one)
        post(one)

    assert_same(copy, history)


@every_story
def test_restored_twice(story: Callable[[History], None]) -> None:
    """Restoring what was restored changes nothing."""
    history = a_history()
    story(history)

    assert_same(restored(restored(history)), history)


def test_restored_from_events_in_any_order() -> None:
    """A store may give the events in any order."""
    history = a_history()
    the_edited(history)

    assert_same(restored(history, history.entries(0)[::-1]), history)


def test_restored_in_spite_of_superseded_entries() -> None:
    """An entry that should have been dropped does no harm: the latest event of a message counts."""
    history = a_history()
    old = post(history, "one", key="k").event
    edit(history, "k", "two")
    gone = post(history, key="l").event
    delete(history, "l")
    assert old is not None
    assert gone is not None

    assert_same(restored(history, (old, gone, *history.entries(0))), history)


def test_restored_in_spite_of_synced_entries_that_left() -> None:
    """An entry that is neither in the window nor needed by the archive does no harm."""
    history = a_history(limit=2)
    post_some(history, 4)
    everything = history.entries(0)
    history.mark_synced(2)

    assert_same(restored(history, everything), history)


def test_restored_without_an_entry() -> None:
    """An entry that could not be read is missing, and nothing else."""
    history = a_history()
    post_some(history, 3)
    copy = restored(history, (*history.entries(0)[:1], *history.entries(0)[2:]))

    assert ids(copy) == ["m1", "m3"]
    assert post(copy).seq == 4


def test_restored_remembers_keys() -> None:
    """A retry after a restart is still the same message."""
    history = a_history(limit=1)
    post_some(history, 3)

    assert post(restored(history), key="m1") == Change("m1", 1, None)


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
