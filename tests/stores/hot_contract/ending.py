"""Ending sessions, and setting single entries aside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trio_chat.stores.base import Conflict, Session

from .house import NEWER, ROOM, SESSION, Hooks, post, posts, seqs, write, written

if TYPE_CHECKING:
    from trio_chat.stores.base import HotStore


class EndingContract(Hooks):
    """What ends is no longer current; what the archive lacks of it is lost by no end."""

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
