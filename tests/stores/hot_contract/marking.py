"""Marking as archived: how far the archive has a session, and what it lacks of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trio_chat.stores.base import Session

from .house import EPOCH, ROOM, SESSION, Hooks, post, posts, write, written

if TYPE_CHECKING:
    from trio_chat.stores.base import HotStore


class MarkingContract(Hooks):
    """A mark rises, up to the top; a session below its top is dirty and does not expire."""

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
