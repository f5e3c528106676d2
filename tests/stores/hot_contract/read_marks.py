"""Read marks: pending until they are archived, unless they were carried over from an earlier session."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from trio_chat.message import Receipt
from trio_chat.stores.base import Session

from .house import EPOCH, HOSTILE, NEWER, NOON, ROOM, SESSION, Hooks, posts, write, written

if TYPE_CHECKING:
    from trio_chat.stores.base import HotStore

EARLIER, LATER = NOON - timedelta(hours=1), NOON + timedelta(hours=1)


class ReadMarksContract(Hooks):
    """A pending read mark keeps its session, as an event does that the archive lacks."""

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
