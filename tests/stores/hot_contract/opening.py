"""Loading and opening: what a room has of its current session, and which session may be opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trio_chat.message import Receipt
from trio_chat.stores.base import Conflict, Session

from .house import EPOCH, NEWER, NOON, OLDER, ROOM, SESSION, delete, edit, post, posts, seqs, write, written

if TYPE_CHECKING:
    from trio_chat.stores.base import HotStore


class OpeningContract:
    """A room has one current session, the newest; what is loaded is what was written."""

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
