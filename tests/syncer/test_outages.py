"""A store is away, fails, or cannot tell what it should."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from trio_chat.live_rooms import NoRooms
from trio_chat.message import new_epoch
from trio_chat.settings import Settings
from trio_chat.stores.base import Batch, Session
from trio_chat.syncer import Syncer

if TYPE_CHECKING:
    from trio.testing import MockClock

    from trio_chat.stores.memory import Moment

from .house import LATER, NOON, Scene, a_post

# --- the archive is away


async def test_failing_rounds_back_off(autojump_clock: MockClock) -> None:
    """While the archive is away it is tried with growing, jittered pauses of at most eight seconds."""
    scene = Scene()
    await scene.session()
    scene.archive.set_healthy(False)
    async with scene.running():
        await trio.sleep(600)

    pauses = [
        later - sooner for sooner, later in zip(scene.archive.tried, scene.archive.tried[1:], strict=False)
    ]
    assert [0.5 * 2**n <= pause <= 2**n for n, pause in enumerate(pauses[:3])] == [True, True, True]
    assert all(4 <= pause <= 8 for pause in pauses[3:])
    assert scene.syncer.statistics().behind == len(scene.archive.tried)


async def test_archive_that_is_back(autojump_clock: MockClock) -> None:
    """Ten seconds after the archive is back, however long it was away, it has everything."""
    scene = Scene()
    session = await scene.session()
    scene.archive.set_healthy(False)
    async with scene.running():
        await trio.sleep(100)
        scene.archive.set_healthy(True)
        await trio.sleep(10)

        assert scene.archived(session) == [1, 2]
        assert scene.syncer.statistics().behind == 0


async def test_archive_that_is_away_for_days(autojump_clock: MockClock) -> None:
    """However many rounds failed, the next pause is as long as the longest."""
    scene = Scene()
    session = await scene.session()
    scene.archive.set_healthy(False)
    scene.syncer._behind = 100_000
    async with scene.running():
        await trio.sleep(100)
        scene.archive.set_healthy(True)
        await trio.sleep(10)

        assert scene.archived(session) == [1, 2]


async def test_kicks_do_not_break_the_pause(autojump_clock: MockClock) -> None:
    """A room that keeps kicking does not make a storm on an archive that is away."""
    scene = Scene()
    session = await scene.session()
    scene.archive.set_healthy(False)
    async with scene.running():
        for _ in range(1000):
            scene.syncer.kick(session)
            await trio.sleep(0.06)

        assert len(scene.archive.tried) <= 18


async def test_failed_kick_is_tried_again(autojump_clock: MockClock) -> None:
    """A kicked session that could not be archived does not wait for the interval when the archive is back."""
    scene = Scene()
    async with scene.running():
        await trio.sleep(1)
        session = await scene.session()
        scene.archive.set_healthy(False)
        scene.syncer.kick(session)
        await trio.sleep(1)
        scene.archive.set_healthy(True)
        await trio.sleep(10)

        assert scene.archived(session) == [1, 2]


async def test_unforeseen_failure_is_logged_and_tried_again(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A bug in a store does not end the syncer."""
    scene = Scene()
    session = await scene.session()

    async def fail(call: str, moment: Moment) -> None:
        scene.archive.interfere = None
        raise RuntimeError("a planted bug")

    scene.archive.interfere = fail
    async with scene.running():
        await trio.sleep(2)

    assert "RuntimeError at test_outages.py:" in caplog.text
    assert scene.archived(session) == [1, 2]


async def test_cancelled_round_can_be_made_again(autojump_clock: MockClock) -> None:
    """A round that is cancelled in the middle leaves everything as it was for the next one."""
    scene = Scene()
    session = await scene.session()

    async def hang(call: str, moment: Moment) -> None:
        await trio.sleep_forever()

    scene.archive.interfere = hang
    with trio.move_on_after(1):
        await scene.syncer.sync_all()
    scene.archive.interfere = None

    assert await scene.syncer.sync_all()
    assert scene.archived(session) == [1, 2]


@pytest.mark.parametrize("end", [True, False], ids=["ended", "not ended"])
@pytest.mark.parametrize("happens", ["another syncer", "away", "lost", "tail lost"])
async def test_session_is_gone_between_two_batches(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, happens: str, end: bool
) -> None:
    """A round ends though it does not find again what it has begun to archive."""
    scene.rooms.live = True
    session = await scene.session(count=120)
    if end:
        scene.archive.set_healthy(False)
        async with scene.running():
            assert not await scene.syncer.flush(session, ended=LATER)
        scene.archive.set_healthy(True)
    if happens == "another syncer":
        await scene.hot.end(session, 120, 0)
    another = Syncer(scene.hot, scene.archive, Settings(), NoRooms())
    mark, marked = scene.hot.mark_synced, 0

    async def mark_and_fail(*arguments: Any) -> None:
        nonlocal marked
        marked += 1
        assert marked < 10
        await mark(*arguments)
        if marked == 1:
            match happens:
                case "another syncer":
                    await another.sync_all()
                case "away":
                    scene.hot.set_healthy(False)
                case "lost":
                    scene.hot.lose_everything()
                case _:
                    scene.hot.lose_tail("r", 40)

    monkeypatch.setattr(scene.hot, "mark_synced", mark_and_fail)
    with trio.fail_after(5):
        await scene.syncer.sync_all()
    monkeypatch.undo()
    assert marked < 10, "the round did not end"
    scene.hot.set_healthy(True)

    assert await scene.syncer.sync_all()
    count = {"another syncer": 120, "away": 120, "lost": 50, "tail lost": 80}[happens]
    assert scene.archived(session) == [*range(1, count + 1)]


async def test_round_while_the_hot_store_was_away_is_not_whole(
    scene: Scene, autojump_clock: MockClock
) -> None:
    """It may have sessions that the round did not see, though it is back before the round ends."""
    seen = await scene.session("seen")
    unseen = await scene.session("unseen")
    scene.rooms.batches[seen] = Batch(seen, 2, (a_post(1), a_post(2)))
    scene.hot.set_healthy(False)

    async def come_back(call: str, moment: Moment) -> None:
        scene.hot.set_healthy(True)

    scene.archive.interfere = come_back
    await trio.sleep(60)
    assert not await scene.syncer.sync_all()
    assert (scene.archived(seen), scene.archived(unseen)) == ([1, 2], [])
    assert scene.syncer.statistics().lag == 60
    assert await scene.syncer.sync_all()
    assert scene.syncer.statistics().lag == 0


# --- what the hot store cannot tell


async def test_degraded_room_is_archived_from_memory(scene: Scene) -> None:
    """Events that are only in a room go to the archive from there."""
    session = await scene.session()
    scene.rooms.degraded.add(session)
    scene.rooms.batches[session] = Batch(session, 4, tuple(a_post(seq) for seq in range(1, 5)))
    await scene.syncer.sync_all()

    assert scene.archived(session) == [1, 2, 3, 4]
    assert (session, 4) in scene.rooms.marks


async def test_rooms_are_archived_while_the_hot_store_is_away(scene: Scene) -> None:
    """With the hot store away the rooms' memory is all there is, and it is enough."""
    session = await scene.session()
    scene.rooms.batches[session] = Batch(session, 2, (a_post(1), a_post(2)))
    scene.hot.set_healthy(False)
    await scene.syncer.sync_all()

    assert scene.archived(session) == [1, 2]


async def test_dirty_session_that_cannot_be_read_is_not_archived(scene: Scene) -> None:
    """With the hot store away, and a session that is only there, a round must not say that all is archived."""
    await scene.session()
    scene.hot.set_healthy(False)

    assert not await scene.syncer.sync_all()


async def test_hot_store_that_is_away_does_not_keep_the_syncer_busy(autojump_clock: MockClock) -> None:
    """Rounds that cannot read have pauses between them."""
    scene = Scene()
    await scene.session()
    scene.hot.set_healthy(False)
    async with scene.running():
        await trio.sleep(60)

    assert scene.syncer.statistics().rounds <= 61


async def test_hot_store_that_is_back_is_taken_up(autojump_clock: MockClock) -> None:
    """What is dirty in a hot store that was away at the start is archived soon after it is back."""
    scene = Scene()
    session = await scene.session()
    scene.hot.set_healthy(False)
    async with scene.running():
        await trio.sleep(5)
        scene.hot.set_healthy(True)
        await trio.sleep(10)

        assert scene.archived(session) == [1, 2]


async def test_session_the_hot_store_lost(scene: Scene) -> None:
    """A session the hot store does not know is archived from its room, which is told to look after it."""
    session = Session("r", new_epoch(NOON))
    scene.rooms.batches[session] = Batch(session, 2, (a_post(1), a_post(2)))
    await scene.syncer.sync_all()

    assert scene.archived(session) == [1, 2]
    assert scene.rooms.lost == [session]


async def test_end_of_a_session_only_memory_has(autojump_clock: MockClock) -> None:
    """The archive is told when a session ended, though the hot store never saw it."""
    scene = Scene()
    session = Session("r", new_epoch(NOON))
    scene.hot.set_healthy(False)
    async with scene.running():
        scene.rooms.batches[session] = Batch(session, 1, (a_post(1),))
        await scene.syncer.flush(session, ended=LATER)

    assert scene.archive.sessions[session].ended == LATER
