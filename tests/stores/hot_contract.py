"""What every `HotStore` does: the same facts for each implementation.

A test module derives a class from `HotStoreContract`, gives it a fixture `hot` with an empty store, and the hooks.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import trio

from trio_chat.message import Deleted, Edited, Event, Message, Posted, Receipt, new_epoch
from trio_chat.stores.base import Append, Conflict, Session

if TYPE_CHECKING:
    from trio_chat.stores.base import HotStore, Submitted

NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)
ROOM = "team-42/general"
OLDER, EPOCH, NEWER = (new_epoch(NOON + timedelta(hours=hours)) for hours in range(3))
SESSION = Session(ROOM, EPOCH)
EARLIER, LATER = NOON - timedelta(hours=1), NOON + timedelta(hours=1)
HOSTILE = ["a b", "*", "{x}", "a:b", "é…😀", "' OR 1=1", "-0", "e", "\\u0000", "1 2", "\u2028", "x" * 128]


def message(seq: int, rev: int | None = None, **changes: Any) -> Message:
    """Make the message that was posted as event `seq`."""
    fields: dict[str, Any] = {
        "id": f"m{seq}",
        "role": "user",
        "content": f"text {seq}",
        "timestamp": NOON + timedelta(seconds=min(seq, 10**6)),
        "metadata": {},
        "user_id": "u1",
    }
    return Message(**(fields | changes), seq=seq, rev=rev or seq)


def post(seq: int, **changes: Any) -> Posted:
    """Make the event that posts message `seq`."""
    return Posted(message(seq, **changes))


def edit(seq: int, of: int) -> Edited:
    """Make event `seq`, which edits message `of`."""
    return Edited(message(of, seq, content=f"text {of}, edited"), NOON + timedelta(seconds=seq))


def delete(seq: int, of: int) -> Deleted:
    """Make event `seq`, which deletes message `of`."""
    return Deleted(message(of, seq, content=""), NOON + timedelta(seconds=seq))


def write(*events: Event, session: Session = SESSION, expect: int = 0, **changes: Any) -> Append:
    """Make an append of some events, with everything else as simple as it can be."""
    top = events[-1].seq if events else expect
    fields: dict[str, Any] = {"expect": expect, "top": top, "first": 1, "floor": 0, "token": f"t{top}"}
    return Append(session=session, events=events, **(fields | changes))


def posts(low: int, high: int, **changes: Any) -> Append:
    """Make an append of the messages `low` to `high`."""
    return write(*map(post, range(low, high + 1)), **({"expect": low - 1} | changes))


async def seqs(hot: HotStore, room: str = ROOM) -> list[int]:
    """Return the seqs in the log of the room's current session."""
    stored = await hot.load(room)
    return [event.seq for event in stored.events] if stored else []


async def written(hot: HotStore, first: Append, *more: Append) -> None:
    """Append and see that it worked."""
    for each in (first, *more):
        assert await hot.append(each) is None


class Submission:
    """What is told of one submission."""

    def __init__(self) -> None:
        self.outcomes: list[Submitted] = []
        self._told = trio.Event()

    def note(self, outcome: Submitted) -> None:
        """Take what became of it."""
        self.outcomes.append(outcome)
        self._told.set()

    async def outcome(self) -> Submitted:
        """Return what became of it, which is told once."""
        with trio.fail_after(5):
            await self._told.wait()
        [outcome] = self.outcomes
        return outcome


def submitted(hot: HotStore, append: Append) -> Submission:
    """Submit an append."""
    submission = Submission()
    assert hot.submit(append, submission.note)
    return submission


class HotStoreContract:
    """The facts. `expires` and `set_aside` are how they look behind the store's back."""

    def expires(self, hot: HotStore, session: Session) -> bool:
        """Whether the session would go by itself if nobody touched it any more."""
        raise NotImplementedError

    def set_aside(self, hot: HotStore, room: str) -> int:
        """How many entries of the room are in quarantine."""
        raise NotImplementedError

    # Loading.

    async def test_unknown_room_has_no_session(self, hot: HotStore) -> None:
        """A room nobody wrote to has no session."""
        assert await hot.load(ROOM) is None

    async def test_loading_returns_what_was_written(self, hot: HotStore) -> None:
        """Everything of an append comes back from `load`, events equal to the last field."""
        receipts = {"u1": Receipt("m1", NOON)}
        events = (post(1, metadata={"a": [1, {"b": None}]}), edit(2, of=1), delete(3, of=1))
        await written(hot, write(*events, first=1, floor=2, keys=(("m1", 1),), receipts=receipts))

        stored = await hot.load(ROOM)

        assert stored is not None
        assert (stored.epoch, stored.top, stored.synced, stored.floor, stored.first) == (EPOCH, 3, 0, 2, 1)
        assert stored.events == events
        assert stored.keys == {"m1": 1}
        assert stored.receipts == receipts
        assert stored.unreadable == 0

    async def test_what_this_store_wrote_is_trusted(self, hot: HotStore) -> None:
        """A session is trusted by the store that wrote to it last."""
        await written(hot, posts(1, 1))

        stored = await hot.load(ROOM)

        assert stored is not None
        assert stored.trusted

    async def test_session_that_is_behind_is_not_trusted_until_it_has_caught_up(self, hot: HotStore) -> None:
        """Members know more of it than the store: nobody may continue it from what is there."""
        await written(hot, posts(1, 1))
        trusted: list[bool] = []
        for behind in (True, True, False, False):
            hot.note_behind(SESSION, behind)
            stored = await hot.load(ROOM)
            assert stored is not None
            trusted.append(stored.trusted)

        assert trusted == [False, False, True, True]

    async def test_idle_counts_from_the_last_append(self, hot: HotStore) -> None:
        """A session just written to has been idle for next to no time."""
        await written(hot, posts(1, 1))

        stored = await hot.load(ROOM)

        assert stored is not None
        assert 0 <= stored.idle < 5

    async def test_events_come_in_the_order_of_their_seq(self, hot: HotStore) -> None:
        """The order is numeric, not that of the digits."""
        await written(hot, posts(1, 8), posts(9, 12))

        assert await seqs(hot) == list(range(1, 13))

    # Opening.

    async def test_opening_again_is_a_conflict(self, hot: HotStore) -> None:
        """A session with something in it cannot be opened."""
        await written(hot, posts(1, 2))

        assert await hot.append(posts(1, 1, token="other")) == Conflict(EPOCH, 2, "t2")

    async def test_session_with_nothing_in_it_can_be_opened_again(self, hot: HotStore) -> None:
        """A session whose top is 0 is like none at all."""
        await written(hot, write(receipts={"u1": Receipt("m", NOON)}), posts(1, 1))

        assert await seqs(hot) == [1]

    async def test_no_session_to_continue(self, hot: HotStore) -> None:
        """An append that expects a session where there is none conflicts with nothing."""
        assert await hot.append(posts(6, 6)) == Conflict(None, 0, "")
        assert await hot.load(ROOM) is None

    async def test_newer_session_replaces_a_clean_one(self, hot: HotStore) -> None:
        """What the archive has of the older session is removed with it."""
        await written(hot, posts(1, 2))
        await hot.mark_synced([(SESSION, 2)])
        await written(hot, posts(1, 1, session=Session(ROOM, NEWER)))

        stored = await hot.load(ROOM)

        assert stored is not None
        assert (stored.epoch, stored.top) == (NEWER, 1)
        assert await hot.unsynced(SESSION, 10) is None
        assert await hot.dirty() == [Session(ROOM, NEWER)]

    async def test_dirty_session_outlives_its_successor(self, hot: HotStore) -> None:
        """What the archive lacks of the older session stays until it has it, then goes."""
        await written(hot, posts(1, 2), posts(1, 1, session=Session(ROOM, NEWER)))

        rest = await hot.unsynced(SESSION, 10)
        assert rest is not None
        assert [event.seq for event in rest.events] == [1, 2]
        assert set(await hot.dirty()) == {SESSION, Session(ROOM, NEWER)}

        await hot.mark_synced([(SESSION, 2)])
        assert await hot.unsynced(SESSION, 10) is None
        assert await seqs(hot) == [1]

    async def test_older_session_cannot_replace_a_newer_one(self, hot: HotStore) -> None:
        """Epochs sort by time, and time does not run backwards in a room."""
        await written(hot, posts(1, 3))

        assert await hot.append(posts(1, 1, session=Session(ROOM, OLDER))) == Conflict(EPOCH, 3, "t3")

    async def test_other_session_cannot_be_continued(self, hot: HotStore) -> None:
        """Only the current session takes appends, whatever their top."""
        await written(hot, posts(1, 3))

        for epoch in (OLDER, NEWER):
            assert await hot.append(posts(4, 4, session=Session(ROOM, epoch))) == Conflict(EPOCH, 3, "t3")

    # Comparing and appending.

    @pytest.mark.parametrize("expect", [1, 3, 100_000_000])
    async def test_other_top_is_a_conflict(self, hot: HotStore, expect: int) -> None:
        """An append that expects another top writes nothing of itself."""
        await written(hot, posts(1, 2))
        late = write(
            post(expect + 1),
            expect=expect,
            keys=(("new", 1),),
            receipts={"u": Receipt("m", NOON)},
            superseded=(1,),
        )

        assert await hot.append(late) == Conflict(EPOCH, 2, "t2")
        stored = await hot.load(ROOM)
        assert stored is not None
        assert (stored.top, len(stored.events), stored.keys, stored.receipts) == (2, 2, {}, {})

    async def test_repeated_append_is_known_by_its_token(self, hot: HotStore) -> None:
        """A writer whose answer was lost repeats the append and learns that it had arrived."""
        append = posts(1, 2, token="mine")
        await written(hot, append)

        assert await hot.append(append) == Conflict(EPOCH, 2, "mine")
        assert await seqs(hot) == [1, 2]

    async def test_what_is_submitted_is_written_without_waiting(self, hot: HotStore) -> None:
        """Who submits is told what became of it, later; submissions and appends go on from each other."""
        await written(hot, posts(1, 1))

        first = submitted(hot, posts(2, 2, token="a"))
        assert first.outcomes == []
        assert await first.outcome() is None
        assert await submitted(hot, posts(3, 3, token="b")).outcome() is None
        await written(hot, posts(4, 4))

        assert await seqs(hot) == [1, 2, 3, 4]

    async def test_submission_that_is_not_expected_is_a_conflict(self, hot: HotStore) -> None:
        """Nothing is written; the outcome is what `append` would have returned."""
        await written(hot, posts(1, 2, token="theirs"))

        assert await submitted(hot, posts(2, 3)).outcome() == Conflict(EPOCH, 2, "theirs")
        assert await seqs(hot) == [1, 2]

    async def test_append_continues_where_the_last_ended(self, hot: HotStore) -> None:
        """Appends whose expectation holds add up."""
        await written(hot, posts(1, 2), posts(3, 3), posts(4, 9))

        assert await seqs(hot) == list(range(1, 10))

    async def test_events_that_nobody_needs_may_be_left_out(self, hot: HotStore) -> None:
        """Seqs may have gaps in the log, and the top may be above the last entry."""
        await written(hot, write(post(2), post(5), top=7), posts(8, 8))

        assert await seqs(hot) == [2, 5, 8]

    async def test_session_of_which_all_events_may_be_left_out(self, hot: HotStore) -> None:
        """A top without any entry is no sign of something lost."""
        await written(hot, write(top=2))

        stored = await hot.load(ROOM)

        assert stored is not None
        assert (stored.top, stored.events, stored.unreadable, stored.trusted) == (2, (), 0, True)

    @pytest.mark.parametrize("synced", [0, 3], ids=["dirty", "clean"])
    @pytest.mark.parametrize("events", [(), (4,)], ids=["no entry", "one entry"])
    async def test_top_may_rise_above_the_last_entry(
        self, hot: HotStore, synced: int, events: tuple[int, ...]
    ) -> None:
        """Nor is a top above what came with it, while a session goes on."""
        await written(hot, posts(1, 3))
        await hot.mark_synced([(SESSION, synced)])
        await written(hot, write(*map(post, events), expect=3, top=6))

        stored = await hot.load(ROOM)

        assert stored is not None
        assert (stored.top, [event.seq for event in stored.events], stored.trusted) == (
            6,
            [1, 2, 3, *events],
            True,
        )

    async def test_append_without_events(self, hot: HotStore) -> None:
        """Receipts and the window's edges can change alone."""
        await written(
            hot, posts(1, 3), write(expect=3, first=2, floor=1, receipts={"u": Receipt("m3", NOON)})
        )

        stored = await hot.load(ROOM)

        assert stored is not None
        assert (stored.top, stored.first, stored.floor) == (3, 2, 1)
        assert stored.receipts == {"u": Receipt("m3", NOON)}

    async def test_superseded_entries_go(self, hot: HotStore) -> None:
        """Entries that a newer one replaces are dropped; unknown ones do not matter."""
        await written(hot, posts(1, 3), write(edit(4, of=2), expect=3, superseded=(2, 77)))

        assert await seqs(hot) == [1, 3, 4]

    async def test_trimming_spares_what_the_archive_lacks(self, hot: HotStore) -> None:
        """An entry below the window stays as long as it is not archived."""
        await written(hot, posts(1, 5), write(expect=5, first=4))

        assert await seqs(hot) == [1, 2, 3, 4, 5]

    async def test_trimming_spares_the_window(self, hot: HotStore) -> None:
        """An archived entry stays as long as the window needs it."""
        await written(hot, posts(1, 5))
        await hot.mark_synced([(SESSION, 5)])

        assert await seqs(hot) == [1, 2, 3, 4, 5]

    async def test_trimming_drops_what_nobody_needs(self, hot: HotStore) -> None:
        """Entries below the window go once they are archived, with the mark or with the next append."""
        await written(hot, posts(1, 5, first=3))
        await hot.mark_synced([(SESSION, 4)])
        assert await seqs(hot) == [3, 4, 5]

        await written(hot, write(expect=5, first=5))
        assert await seqs(hot) == [5]

    async def test_empty_window_keeps_what_the_archive_lacks(self, hot: HotStore) -> None:
        """A session without messages in its window still has entries to archive."""
        await written(hot, write(post(1), delete(2, of=1), first=0))
        assert await seqs(hot) == [1, 2]

        await hot.mark_synced([(SESSION, 1)])
        assert await seqs(hot) == [2]

    async def test_newest_keys_are_remembered(self, hot: HotStore) -> None:
        """Of the clients' ids the store keeps as many as it is told, the newest."""
        await written(hot, posts(1, 2, keys=(("a", 1), ("b", 2)), remember=3))
        await written(hot, posts(3, 4, keys=(("c", 3), ("d", 4)), remember=3))

        stored = await hot.load(ROOM)

        assert stored is not None
        assert stored.keys == {"b": 2, "c": 3, "d": 4}

    async def test_last_receipt_of_a_user_counts(self, hot: HotStore) -> None:
        """A user has one read mark."""
        await written(hot, posts(1, 2, receipts={"u": Receipt("m1", NOON), "v": Receipt("m1", NOON)}))
        await written(hot, write(expect=2, receipts={"u": Receipt("m2", NOON)}))

        stored = await hot.load(ROOM)

        assert stored is not None
        assert stored.receipts == {"u": Receipt("m2", NOON), "v": Receipt("m1", NOON)}

    async def test_hostile_texts_come_back_as_they_went(self, hot: HotStore) -> None:
        """Ids, users and contents are kept byte for byte, whatever they look like."""
        events = tuple(post(seq, id=text, content=text, user_id=text) for seq, text in enumerate(HOSTILE, 1))
        keys = tuple((text, seq) for seq, text in enumerate(HOSTILE, 1))
        receipts = {text: Receipt(text, NOON) for text in HOSTILE}
        await written(hot, write(*events, keys=keys, receipts=receipts))

        stored = await hot.load(ROOM)

        assert stored is not None
        assert stored.events == events
        assert stored.keys == dict(keys)
        assert stored.receipts == receipts

    async def test_long_messages_come_back_as_they_went(self, hot: HotStore) -> None:
        """The size of a message does not matter."""
        events = (post(1, content="All work and no play. " * 3000), post(2, content="\x01\x7f\n" * 20_000))
        await written(hot, write(*events))

        stored = await hot.load(ROOM)

        assert stored is not None
        assert stored.events == events

    # Marking as archived.

    async def test_session_is_dirty_until_the_archive_has_all_of_it(self, hot: HotStore) -> None:
        """The list of dirty sessions follows tops and marks."""
        assert await hot.dirty() == []
        await written(hot, posts(1, 3))
        assert await hot.dirty() == [SESSION]

        await hot.mark_synced([(SESSION, 2)])
        assert await hot.dirty() == [SESSION]

        await hot.mark_synced([(SESSION, 3)])
        assert await hot.dirty() == []

        await written(hot, posts(4, 4))
        assert await hot.dirty() == [SESSION]

    async def test_mark_is_never_lowered(self, hot: HotStore) -> None:
        """A mark that comes late changes nothing."""
        await written(hot, posts(1, 3))
        await hot.mark_synced([(SESSION, 2)])
        await hot.mark_synced([(SESSION, 1)])

        rest = await hot.unsynced(SESSION, 10)

        assert rest is not None
        assert rest.synced == 2

    async def test_mark_is_never_above_the_top(self, hot: HotStore) -> None:
        """The archive cannot have what was never written."""
        await written(hot, posts(1, 3))
        await hot.mark_synced([(SESSION, 99)])
        await written(hot, posts(4, 4))

        rest = await hot.unsynced(SESSION, 10)

        assert rest is not None
        assert (rest.synced, [event.seq for event in rest.events]) == (3, [4])

    async def test_marks_of_unknown_sessions_are_ignored(self, hot: HotStore) -> None:
        """Marking what is gone, or nothing at all, is no error."""
        await hot.mark_synced([(SESSION, 5), (Session("elsewhere", EPOCH), 1)])
        await hot.mark_synced([])

        assert await hot.load(ROOM) is None

    async def test_many_sessions_are_marked_at_once(self, hot: HotStore) -> None:
        """One call marks sessions of many rooms."""
        sessions = [Session(f"room-{number}", EPOCH) for number in range(20)]
        for session in sessions:
            await written(hot, posts(1, 2, session=session))

        await hot.mark_synced([(session, 2) for session in sessions[1:]])

        assert await hot.dirty() == sessions[:1]

    async def test_unsynced_is_what_lies_above_the_mark(self, hot: HotStore) -> None:
        """The archive is given what it lacks, and how far it then has everything."""
        await written(hot, posts(1, 5))
        await hot.mark_synced([(SESSION, 2)])

        rest = await hot.unsynced(SESSION, 10)

        assert rest is not None
        assert (rest.session, rest.synced, rest.upto, rest.top) == (SESSION, 2, 5, 5)
        assert [event.seq for event in rest.events] == [3, 4, 5]

    async def test_unsynced_comes_in_pieces(self, hot: HotStore) -> None:
        """A limit cuts at an entry; the mark to set is that entry's."""
        await written(hot, posts(1, 5))

        pieces: list[list[int]] = []
        while (rest := await hot.unsynced(SESSION, 2)) is not None and rest.synced < rest.top:
            pieces.append([event.seq for event in rest.events])
            await hot.mark_synced([(SESSION, rest.upto)])

        assert pieces == [[1, 2], [3, 4], [5]]

    async def test_left_out_events_count_as_archived_with_the_others(self, hot: HotStore) -> None:
        """If nothing is left above the last entry, the mark to set is the top."""
        await written(hot, write(post(1), post(3), top=6))

        rest = await hot.unsynced(SESSION, 2)

        assert rest is not None
        assert (rest.upto, rest.top) == (6, 6)

    async def test_unknown_session_has_nothing_unsynced(self, hot: HotStore) -> None:
        """There is no such session, and that is the answer."""
        assert await hot.unsynced(SESSION, 10) is None

    async def test_only_a_clean_session_expires(self, hot: HotStore) -> None:
        """The safety net holds exactly as long as the archive has everything."""
        await written(hot, posts(1, 1, keys=(("m1", 1),)))
        assert not self.expires(hot, SESSION)

        await hot.mark_synced([(SESSION, 1)])
        assert self.expires(hot, SESSION)

        await written(hot, write(expect=1, first=2))
        assert self.expires(hot, SESSION)
        assert await hot.dirty() == []

        await written(hot, posts(2, 2))
        assert not self.expires(hot, SESSION)

    # Read marks.

    async def test_read_mark_makes_a_session_dirty_until_it_is_archived(self, hot: HotStore) -> None:
        """A session whose events are all archived is dirty, and does not expire, while a read mark is not."""
        marks = {"u": Receipt("m1", NOON), "v": Receipt("m1", LATER)}
        await written(hot, posts(1, 1))
        await hot.mark_synced([(SESSION, 1)])
        await written(hot, write(expect=1, receipts=marks))

        assert await hot.dirty() == [SESSION]
        assert not self.expires(hot, SESSION)
        rest = await hot.unsynced(SESSION, 10)
        assert rest is not None
        assert (rest.synced, rest.upto, rest.events, rest.receipts) == (1, 1, (), marks)

        await hot.mark_synced([(SESSION, 1)], {SESSION: marks})
        assert await hot.dirty() == []
        assert self.expires(hot, SESSION)
        rest = await hot.unsynced(SESSION, 10)
        assert rest is not None
        assert rest.receipts == {}
        stored = await hot.load(ROOM)
        assert stored is not None
        assert stored.receipts == marks

    async def test_read_mark_that_changed_since_is_still_pending(self, hot: HotStore) -> None:
        """Only what the archive was given is archived, and of that only what is still so."""
        await written(hot, posts(1, 2, receipts={"u": Receipt("m1", NOON), "v": Receipt("m1", NOON)}))
        rest = await hot.unsynced(SESSION, 10)
        assert rest is not None
        await written(hot, write(expect=2, receipts={"u": Receipt("m2", LATER), "w": Receipt("m2", NOON)}))

        await hot.mark_synced([(SESSION, 2)], {SESSION: rest.receipts})

        rest = await hot.unsynced(SESSION, 10)
        assert rest is not None
        assert rest.receipts == {"u": Receipt("m2", LATER), "w": Receipt("m2", NOON)}
        assert await hot.dirty() == [SESSION]

    async def test_archived_read_marks_that_are_unknown_are_ignored(self, hot: HotStore) -> None:
        """Saying again what was archived, or of others, changes nothing."""
        marks = {"u": Receipt("m1", NOON)}
        await written(hot, posts(1, 1, receipts=marks))
        for _ in range(2):
            await hot.mark_synced([(SESSION, 1)], {SESSION: marks, Session("elsewhere", EPOCH): marks})

        assert await hot.dirty() == []
        assert await hot.load("elsewhere") is None

    async def test_pieces_of_a_session_bring_all_its_read_marks(self, hot: HotStore) -> None:
        """The limit is one of events."""
        marks = {f"u{number}": Receipt("m1", NOON) for number in range(5)}
        await written(hot, posts(1, 5, receipts=marks))

        rest = await hot.unsynced(SESSION, 2)

        assert rest is not None
        assert (rest.upto, rest.receipts) == (2, marks)

    async def test_carried_read_marks_are_not_pending(self, hot: HotStore) -> None:
        """Marks of an earlier session are kept with the new one, and are nothing that the archive lacks."""
        old, new = {"u": Receipt("x", EARLIER), "v": Receipt("x", EARLIER)}, {"u": Receipt("m1", NOON)}
        await written(hot, posts(1, 1, receipts=new, carried=old))

        stored, rest = await hot.load(ROOM), await hot.unsynced(SESSION, 10)

        assert stored is not None
        assert stored.receipts == old | new
        assert rest is not None
        assert rest.receipts == new

    async def test_carried_read_marks_make_no_session_dirty(self, hot: HotStore) -> None:
        """They expire with their session, or go when it ends."""
        await written(hot, posts(1, 1, carried={"u": Receipt("x", EARLIER)}))
        await hot.mark_synced([(SESSION, 1)])

        assert await hot.dirty() == []
        assert self.expires(hot, SESSION)

    async def test_session_with_a_pending_read_mark_ends_and_stays(self, hot: HotStore) -> None:
        """It is no longer current, and goes once the mark is archived."""
        marks = {"u": Receipt("m1", NOON)}
        await written(hot, posts(1, 1, receipts=marks))
        await hot.mark_synced([(SESSION, 1)])

        assert await hot.end(SESSION, 1, 0)
        assert await hot.load(ROOM) is None
        assert await hot.dirty() == [SESSION]
        assert not self.expires(hot, SESSION)

        await hot.mark_synced([(SESSION, 1)], {SESSION: marks})
        assert await hot.unsynced(SESSION, 10) is None
        assert await hot.dirty() == []

    async def test_session_with_a_pending_read_mark_outlives_its_successor(self, hot: HotStore) -> None:
        """A newer session removes only what is clean."""
        marks = {"u": Receipt("m1", NOON)}
        await written(hot, posts(1, 1, receipts=marks))
        await hot.mark_synced([(SESSION, 1)])
        await written(hot, posts(1, 1, session=Session(ROOM, NEWER)))

        rest = await hot.unsynced(SESSION, 10)

        assert rest is not None
        assert rest.receipts == marks
        assert set(await hot.dirty()) == {SESSION, Session(ROOM, NEWER)}

    async def test_hostile_read_marks_can_be_archived(self, hot: HotStore) -> None:
        """Whatever users and ids look like, what was archived is known again."""
        marks = {text: Receipt(text, NOON + timedelta(microseconds=1)) for text in HOSTILE}
        await written(hot, posts(1, 1, receipts=marks))
        rest = await hot.unsynced(SESSION, 10)
        assert rest is not None
        assert rest.receipts == marks

        await hot.mark_synced([(SESSION, 1)], {SESSION: rest.receipts})

        assert await hot.dirty() == []

    # Ending.

    async def test_clean_session_ends_at_once(self, hot: HotStore) -> None:
        """Nothing is left of a session that the archive has whole."""
        await written(hot, posts(1, 2))
        await hot.mark_synced([(SESSION, 2)])

        assert await hot.end(SESSION, 2, 0)
        assert await hot.load(ROOM) is None
        assert await hot.unsynced(SESSION, 10) is None

    async def test_dirty_session_ends_and_stays_until_it_is_archived(self, hot: HotStore) -> None:
        """It is no longer current, but nothing of it is lost."""
        await written(hot, posts(1, 2))

        assert await hot.end(SESSION, 2, 0)
        assert await hot.load(ROOM) is None
        assert await hot.dirty() == [SESSION]

        await hot.mark_synced([(SESSION, 1)])
        assert not self.expires(hot, SESSION)
        rest = await hot.unsynced(SESSION, 10)
        assert rest is not None
        assert [event.seq for event in rest.events] == [2]

        await hot.mark_synced([(SESSION, 2)])
        assert await hot.unsynced(SESSION, 10) is None
        assert await hot.dirty() == []

    async def test_session_with_another_top_goes_on(self, hot: HotStore) -> None:
        """Somebody has written meanwhile."""
        await written(hot, posts(1, 2))

        assert not await hot.end(SESSION, 1, 0)
        assert await seqs(hot) == [1, 2]

    async def test_session_that_is_not_idle_goes_on(self, hot: HotStore) -> None:
        """The store's own clock says since when nobody has written."""
        await written(hot, posts(1, 2))

        assert not await hot.end(SESSION, 2, 3600)
        assert await seqs(hot) == [1, 2]

    async def test_unknown_session_is_over(self, hot: HotStore) -> None:
        """What never was, and what has ended, is over."""
        assert await hot.end(SESSION, 3, 0)
        await written(hot, posts(1, 1))
        assert await hot.end(SESSION, 1, 0)

        assert await hot.end(SESSION, 1, 0)

    async def test_ending_an_older_session_spares_the_current_one(self, hot: HotStore) -> None:
        """A late end of a session does not touch its successor."""
        await written(hot, posts(1, 1), posts(1, 1, session=Session(ROOM, NEWER)))

        assert await hot.end(SESSION, 1, 0)
        assert await seqs(hot) == [1]

    async def test_ended_session_takes_no_appends(self, hot: HotStore) -> None:
        """Its room has no current session."""
        await written(hot, posts(1, 2))
        await hot.end(SESSION, 2, 0)

        assert await hot.append(posts(3, 3)) == Conflict(None, 0, "")

    async def test_new_session_follows_an_ended_one(self, hot: HotStore) -> None:
        """A room goes on in a new session while the archive still lacks the old one."""
        await written(hot, posts(1, 2))
        await hot.end(SESSION, 2, 0)
        await written(hot, posts(1, 1, session=Session(ROOM, NEWER)))

        assert await seqs(hot) == [1]
        assert set(await hot.dirty()) == {SESSION, Session(ROOM, NEWER)}

    async def test_ended_session_opened_again_loses_nothing(self, hot: HotStore) -> None:
        """A writer that outlived its session brings back its window; older entries to be archived are still there."""
        await written(hot, posts(1, 4, first=3))
        await hot.end(SESSION, 4, 0)
        await written(hot, write(post(3), post(4), post(5), first=3))

        rest = await hot.unsynced(SESSION, 10)

        assert rest is not None
        assert (rest.top, [event.seq for event in rest.events]) == (5, [1, 2, 3, 4, 5])
        assert await seqs(hot) == [1, 2, 3, 4, 5]

    # Setting aside.

    async def test_quarantined_entry_leaves_the_log(self, hot: HotStore) -> None:
        """The archive no longer meets an entry that it refused; a person does."""
        await written(hot, posts(1, 3))
        await hot.quarantine(SESSION, 2, "refused")

        assert await seqs(hot) == [1, 3]
        assert self.set_aside(hot, ROOM) == 1

    async def test_quarantining_again_changes_nothing(self, hot: HotStore) -> None:
        """An entry that is not there cannot be set aside."""
        await written(hot, posts(1, 3))
        for seq in (2, 2, 9):
            await hot.quarantine(SESSION, seq, "refused")

        assert await seqs(hot) == [1, 3]
        assert self.set_aside(hot, ROOM) == 1

    # Notes.

    async def test_unknown_note(self, hot: HotStore) -> None:
        """What nobody kept is not there, and can be discarded."""
        await hot.discard("a")

        assert await hot.kept("a") is None

    async def test_notes_are_kept_byte_for_byte(self, hot: HotStore) -> None:
        """Many at once, of any bytes, each under its own name."""
        notes = {"a": bytes(range(256)), "A": b"", "a-b_1": b"\r\n$3\r\nfoo", "x" * 128: b"y" * 100_000}
        await hot.keep({name: (note, 60.0) for name, note in notes.items()})

        assert {name: await hot.kept(name) for name in notes} == notes

    async def test_keeping_nothing(self, hot: HotStore) -> None:
        """No notes are no trouble, and change nothing."""
        await hot.keep({"a": (b"old", 60.0)})
        await hot.keep({})

        assert await hot.kept("a") == b"old"

    async def test_note_replaces_the_older_one(self, hot: HotStore) -> None:
        """A name has one note, with the newer time."""
        await hot.keep({"a": (b"old", 0.05), "b": (b"other", 60.0)})
        await hot.keep({"a": (b"new", 60.0)})
        await trio.sleep(0.1)

        assert await hot.kept("a") == b"new"
        assert await hot.kept("b") == b"other"

    async def test_note_is_forgotten_in_time(self, hot: HotStore) -> None:
        """Not before its time, and not after."""
        await hot.keep({"a": (b"short", 0.05), "b": (b"long", 60.0)})
        await trio.sleep(0.1)

        assert await hot.kept("a") is None
        assert await hot.kept("b") == b"long"

    async def test_discarded_note(self, hot: HotStore) -> None:
        """It is gone, and no other is."""
        await hot.keep({"a": (b"1", 60.0), "b": (b"2", 60.0)})
        await hot.discard("a")
        await hot.discard("a")

        assert await hot.kept("a") is None
        assert await hot.kept("b") == b"2"

    @pytest.mark.parametrize("name", ["", "x" * 129, "a b", "a:b", "a\n", "é", "*", "../a"])
    async def test_names_of_notes_are_plain(self, hot: HotStore, name: str) -> None:
        """A name that would need care is a mistake of the caller; nothing is kept."""
        for call in (hot.keep({"good": (b"1", 60.0), name: (b"2", 60.0)}), hot.kept(name), hot.discard(name)):
            with pytest.raises(ValueError, match="the name of a note"):
                await call
        assert await hot.kept("good") is None

    @pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan")])
    async def test_note_must_be_kept_for_some_time(self, hot: HotStore, seconds: float) -> None:
        """A note that is to be forgotten at once is a mistake of the caller."""
        with pytest.raises(ValueError, match="the time of a note"):
            await hot.keep({"a": (b"1", seconds)})

    async def test_notes_and_sessions_do_not_touch_each_other(self, hot: HotStore) -> None:
        """A room may be called what a note is called."""
        for room in ("note", "note:a", "a", "dirty"):
            await written(hot, posts(1, 1, session=Session(room, EPOCH)))
        await hot.keep(dict.fromkeys(("a", "note", "dirty", "now"), (b"1", 60.0)))
        await hot.discard("dirty")

        assert len(await hot.dirty()) == 4
        assert await seqs(hot, "note:a") == [1]
        assert await hot.kept("a") == b"1"

    # Side by side.

    async def test_rooms_do_not_touch_each_other(self, hot: HotStore) -> None:
        """Rooms whose names look like parts of one another have sessions of their own."""
        rooms = ["a", "a:b", "a:b:c", "a:now", "now", f"a:meta:{EPOCH}", "dirty", "a/b", "A", "a-", "@", "0"]
        for number, room in enumerate(rooms, 1):
            await written(hot, posts(1, number, session=Session(room, EPOCH), keys=((room, number),)))
        await hot.end(Session("a", EPOCH), 1, 0)
        await hot.mark_synced([(Session("a:b", EPOCH), 2), (Session("a", EPOCH), 1)])

        assert await hot.load("a") is None
        for number, room in enumerate(rooms[1:], 2):
            stored = await hot.load(room)
            assert stored is not None
            assert (stored.top, len(stored.events), stored.keys) == (number, number, {room: number})
        assert set(await hot.dirty()) == {Session(room, EPOCH) for room in rooms[2:]}

    async def test_cancelled_calls_leave_the_store_in_order(self, hot: HotStore) -> None:
        """After calls were cancelled at any moment, others get their own answers and the log has no holes."""
        top = 0
        for number in range(30):
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(hot.append, posts(top + 1, top + 1))
                    nursery.start_soon(hot.load, "elsewhere")
                    await trio.lowlevel.checkpoint()
                    for _ in range(number % 6):
                        await trio.lowlevel.checkpoint()
                    scope.cancel()
            stored = await hot.load(ROOM)
            top = stored.top if stored else 0
            assert await seqs(hot) == list(range(1, top + 1))

    # Health.

    async def test_store_that_answers_is_healthy(self, hot: HotStore) -> None:
        """A round trip works, and the flag says so without one."""
        await hot.probe()

        assert hot.healthy
        await hot.wait_health(True)
