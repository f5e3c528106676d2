"""A room whose store is away, was away or lost something; and what the archive is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from trio.testing import wait_all_tasks_blocked

from tests.rooms import heard, seqs
from trio_chat.mail import Closed

if TYPE_CHECKING:
    from trio.testing import MockClock


from .house import AStore, open_scene

# --- degraded


async def test_degraded_room_goes_on() -> None:
    """With the store away everybody hears, and acks say that it is in memory."""
    async with open_scene() as scene:
        bob, ann = await scene.seat("bob"), await scene.seat("ann")
        scene.hot.set_healthy(False)
        accepted = await ann.post("hi")

        assert accepted.durability == "memory"
        assert seqs(heard(bob)) == [1]
        assert scene.room.statistics().degraded


async def test_degraded_room_heals_by_itself(autojump_clock: MockClock) -> None:
    """Once the store is back the events are there within a second, in order, though nobody speaks."""
    async with open_scene() as scene:
        ann = await scene.seat("ann")
        scene.hot.set_healthy(False)
        for _ in range(3):
            await ann.post("hi")
        scene.hot.set_healthy(True)
        await trio.sleep(1)
        await wait_all_tasks_blocked()

        assert await scene.stored() == [1, 2, 3]
        assert not scene.room.statistics().degraded
        assert (await ann.post("hi")).durability == "redis"


async def test_room_that_began_degraded_finds_its_session(autojump_clock: MockClock) -> None:
    """A room opened while the store is away, in which nothing was said, shows the stored session when it is back."""
    hot = AStore()
    async with open_scene(hot) as scene:
        for number in range(1, 4):
            await (await scene.seat("ann")).post(f"text {number}", key=f"k{number}")
        epoch = scene.session.epoch
    hot.set_healthy(False)
    async with open_scene(hot) as scene:
        seat = await scene.seat("bob")
        hot.set_healthy(True)
        await trio.sleep(1)
        await wait_all_tasks_blocked()

        assert scene.session.epoch == epoch
        assert seqs(heard(seat)) == [1, 2, 3]


async def test_room_that_began_degraded_tells_no_part_of_a_window(autojump_clock: MockClock) -> None:
    """If events alone cannot tell the window, who joined then is put out, to come back for all of it."""
    hot = AStore()
    async with open_scene(hot, max_messages_per_session=3) as scene:
        ann = await scene.seat("ann")
        for number in range(1, 4):
            await ann.post(f"text {number}", key=f"k{number}")
        await ann.edit("k1", "late")
        await ann.post("text 5", key="k5")
    hot.set_healthy(False)
    async with open_scene(hot, max_messages_per_session=3) as scene:
        seat = await scene.seat("bob")
        hot.set_healthy(True)
        await trio.sleep(1)
        await wait_all_tasks_blocked()
        again = await scene.seat("bob")

        assert [type(hearing) for hearing in heard(seat)] == [Closed]
        assert [message.id for message in again.messages] == ["k2", "k3", "k5"]


async def test_doubtful_room_looks_after_its_session() -> None:
    """A room that is told to doubt writes its session anew if the store lost it, though nobody speaks."""
    async with open_scene() as scene:
        ann = await scene.seat("ann")
        await ann.post("hi")
        scene.hot.lose_everything()
        scene.room.doubt()
        await wait_all_tasks_blocked()

        assert await scene.stored() == [1]


async def test_unsynced_holds_back_what_is_not_let_out() -> None:
    """The archive is never given an event that the room may still have to take back."""
    async with open_scene() as scene:
        await (await scene.seat("ann")).post("hi")
        gate = scene.hot.shut()
        scene.post()
        await wait_all_tasks_blocked()
        batch = scene.room.unsynced()

        assert scene.room.ledger.history.top == 2
        assert batch is not None
        assert (batch.top, [event.seq for event in batch.events]) == (1, [1])
        gate.set()


# --- the syncer


async def test_room_that_runs_ahead_kicks_the_syncer() -> None:
    """At so many unsynced events, not before, the archive is to get them sooner."""
    async with open_scene(sync_after_events=3) as scene:
        ann = await scene.seat("ann")
        await ann.post("hi")
        await ann.post("hi")
        assert scene.archiver.kicked == []
        await ann.post("hi")

        assert scene.archiver.kicked == [scene.session]
