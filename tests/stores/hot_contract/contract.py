"""What every `HotStore` does: the same facts for each implementation.

A test module derives a class from `HotStoreContract`, gives it a fixture `hot` with an empty store, and the hooks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from trio_chat.stores.base import Session

from .appending import AppendingContract
from .ending import EndingContract
from .house import EPOCH, ROOM, posts, seqs, written
from .keeping import KeepingContract
from .marking import MarkingContract
from .notes import NotesContract
from .opening import OpeningContract
from .read_marks import ReadMarksContract

if TYPE_CHECKING:
    from trio_chat.stores.base import HotStore


class HotStoreContract(
    OpeningContract,
    AppendingContract,
    KeepingContract,
    MarkingContract,
    ReadMarksContract,
    EndingContract,
    NotesContract,
):
    """All facts: those of each idea, and here those of the store as a whole."""

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

    async def test_store_that_answers_is_healthy(self, hot: HotStore) -> None:
        """A round trip works, and the flag says so without one."""
        await hot.probe()

        assert hot.healthy
        await hot.wait_health(True)
