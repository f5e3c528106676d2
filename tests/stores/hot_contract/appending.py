"""Appending: what is written and what conflicts, and how far the top rises."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from trio_chat.message import Receipt
from trio_chat.stores.base import Conflict

from .house import EPOCH, NOON, ROOM, SESSION, post, posts, seqs, submitted, write, written

if TYPE_CHECKING:
    from trio_chat.stores.base import HotStore


class AppendingContract:
    """An append, or a submission, is written as a whole where its expectation holds, else not at all."""

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
