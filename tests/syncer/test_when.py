"""When there is a round: at the start, after an interval, for a kick, for a flush."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from trio.testing import wait_all_tasks_blocked

if TYPE_CHECKING:
    from trio.testing import MockClock

    from trio_chat.stores.memory import Moment

from .house import LATER, Scene

INTERVAL = 300.0


# --- when


async def test_start_takes_up_what_was_left(scene: Scene) -> None:
    """What a killed process left dirty is archived at once."""
    session = await scene.session()
    async with scene.running():
        await wait_all_tasks_blocked()

        assert scene.archived(session) == [1, 2]


async def test_interval(autojump_clock: MockClock) -> None:
    """What is new is archived every five minutes, not earlier."""
    scene = Scene()
    async with scene.running():
        await trio.sleep(1)
        session = await scene.session()
        await trio.sleep(INTERVAL - 2)
        assert scene.archived(session) == []
        await trio.sleep(2)

        assert scene.archived(session) == [1, 2]


async def test_kick_is_soon(autojump_clock: MockClock) -> None:
    """A kicked session is archived now; others wait for their interval."""
    scene = Scene()
    async with scene.running():
        await trio.sleep(1)
        kicked, other = await scene.session("kicked"), await scene.session("other")
        scene.syncer.kick(kicked)
        await wait_all_tasks_blocked()

        assert (scene.archived(kicked), scene.archived(other)) == ([1, 2], [])


async def test_kick_does_not_move_the_interval(autojump_clock: MockClock) -> None:
    """However often one room is kicked, the others are archived in time."""
    scene = Scene()
    async with scene.running():
        await trio.sleep(1)
        kicked, other = await scene.session("kicked"), await scene.session("other")
        for seq in range(3, 8):
            scene.syncer.kick(kicked)
            await trio.sleep(INTERVAL / 5)
            await scene.add(kicked, seq)

        assert scene.archived(other) == [1, 2]


async def test_kick_during_a_round(autojump_clock: MockClock) -> None:
    """A session kicked while a round is on its way is in the next one."""
    scene = Scene()
    first = await scene.session("first")

    async def slow(call: str, moment: Moment) -> None:
        await trio.sleep(1)

    scene.archive.interfere = slow
    async with scene.running():
        await trio.sleep(1.5)
        second = await scene.session("second")
        scene.syncer.kick(second)
        await trio.sleep(5)

        assert (scene.archived(first), scene.archived(second)) == ([1, 2], [1, 2])


async def test_kick_after_a_round_that_somebody_else_made(autojump_clock: MockClock) -> None:
    """A round made from outside, while the actor waits, does not make it deaf to kicks."""
    scene = Scene()
    async with scene.running():
        await trio.sleep(1)
        await scene.syncer.sync_all()
        session = await scene.session()
        scene.syncer.kick(session)
        await trio.sleep(1)

        assert scene.archived(session) == [1, 2]


# --- flushing


async def test_flush_returns_when_the_archive_has_it(autojump_clock: MockClock) -> None:
    """A flush waits for its round."""
    scene = Scene()
    async with scene.running():
        await trio.sleep(1)
        session = await scene.session()

        assert await scene.syncer.flush(session)
        assert scene.archived(session) == [1, 2]


async def test_flush_notes_the_end(autojump_clock: MockClock) -> None:
    """A flush at the expiry tells the archive when the session ended, though there is nothing else to tell."""
    scene = Scene()
    async with scene.running():
        session = await scene.session()
        await scene.syncer.flush(session)
        await scene.syncer.flush(session, ended=LATER)

        assert scene.archive.sessions[session].ended == LATER


async def test_end_that_is_noted_during_a_round(autojump_clock: MockClock) -> None:
    """An end noted while a round with that session is on its way is told by the next one."""
    scene = Scene()
    session = await scene.session()

    async def slow(call: str, moment: Moment) -> None:
        if moment == "before":
            await trio.sleep(1)

    scene.archive.interfere = slow
    async with scene.running():
        await trio.sleep(0.5)
        assert await scene.syncer.flush(session, ended=LATER)

        assert scene.archive.sessions[session].ended == LATER


async def test_end_that_is_noted_while_a_clean_session_is_read(autojump_clock: MockClock) -> None:
    """An end noted while a round finds nothing to archive of that session is told by the next one."""
    scene = Scene()
    session = await scene.session()
    await scene.syncer.sync_all()

    async def slow(call: str, moment: Moment) -> None:
        if (call, moment) == ("unsynced", "after"):
            await trio.sleep(1)

    async with scene.running():
        await trio.sleep(1)
        scene.hot.interfere = slow
        scene.syncer.kick(session)
        await trio.sleep(0.5)
        assert await scene.syncer.flush(session, ended=LATER)

        assert scene.archive.sessions[session].ended == LATER


async def test_flushes_share_a_round(autojump_clock: MockClock) -> None:
    """Rooms that expire together are one transaction."""
    scene = Scene()
    async with scene.running() as nursery:
        await trio.sleep(1)
        for session in [await scene.session(f"r{number}") for number in range(10)]:
            nursery.start_soon(scene.syncer.flush, session)
        await trio.sleep(1)

        assert len(scene.archive.written) == 1


async def test_flush_is_bounded(autojump_clock: MockClock) -> None:
    """A flush waits five seconds for an archive that hangs, no longer, and says no."""
    scene = Scene()

    async def hang(call: str, moment: Moment) -> None:
        await trio.sleep_forever()

    scene.archive.interfere = hang
    async with scene.running():
        await trio.sleep(1)
        session = await scene.session()
        assert not await scene.syncer.flush(session)

        assert trio.current_time() == 6


async def test_flush_of_a_failing_archive(autojump_clock: MockClock) -> None:
    """A flush whose round fails says no at once, and the next one does not even try."""
    scene = Scene()
    async with scene.running():
        await trio.sleep(1)
        scene.archive.set_healthy(False)
        session = await scene.session()
        assert not await scene.syncer.flush(session)
        assert not await scene.syncer.flush(session)

        assert (trio.current_time(), len(scene.archive.tried)) == (1, 1)


async def test_end_is_remembered_while_the_archive_is_away(autojump_clock: MockClock) -> None:
    """When the archive is back it is told when the session ended, though nobody asks again."""
    scene = Scene()
    async with scene.running():
        await trio.sleep(1)
        scene.archive.set_healthy(False)
        session = await scene.session()
        await scene.syncer.flush(session, ended=LATER)
        await scene.hot.end(session, 2, 0)
        scene.archive.set_healthy(True)
        await trio.sleep(INTERVAL)

        assert scene.archive.sessions[session].ended == LATER


async def test_end_of_a_session_that_was_clean_already(autojump_clock: MockClock) -> None:
    """The archive is told when a session ended, though the hot store has removed it since."""
    scene = Scene()
    session = await scene.session()
    await scene.syncer.sync_all()
    scene.archive.set_healthy(False)
    async with scene.running():
        await scene.syncer.flush(session, ended=LATER)
        await scene.hot.end(session, 2, 0)
        scene.archive.set_healthy(True)
        await trio.sleep(INTERVAL)

        assert scene.hot.sessions() == {}
        assert scene.archive.sessions[session].ended == LATER
