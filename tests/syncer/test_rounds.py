"""A round: what it archives, in which batches, and what the hot store and the rooms know afterwards."""

from __future__ import annotations

import itertools
import logging
from typing import TYPE_CHECKING

import pytest

from trio_chat import open_lobby
from trio_chat.errors import Unavailable
from trio_chat.live_rooms import NoRooms
from trio_chat.message import new_epoch
from trio_chat.settings import Settings
from trio_chat.stores.base import Batch, Session
from trio_chat.stores.memory import MemoryHotStore
from trio_chat.syncer import Syncer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio_chat.stores.memory import Moment

from .house import NOON, AnArchive, Scene, a_post

# --- a round


async def test_round_archives_what_is_dirty(scene: Scene) -> None:
    """After a round the archive has everything, and the hot store and the rooms know it."""
    session = await scene.session()

    assert await scene.syncer.sync_all()
    assert scene.archived(session) == [1, 2]
    assert await scene.hot.dirty() == []
    assert scene.rooms.marks == [(session, 2)]


async def test_what_is_nowhere_any_more_is_logged(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """The session whose entries are gone, and no other one. The archive is told as much as there is."""
    session, well = await scene.session(), await scene.session("well")
    scene.hot.lose_entries("r", [1, 2])
    await scene.syncer.sync_all()

    assert (scene.archived(session), scene.archived(well)) == ([], [1, 2])
    errors = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert errors == [f"room r: events 1 to 2 of session {session.epoch} are nowhere any more"]


async def test_round_with_nothing_to_do(scene: Scene) -> None:
    """A clean store costs the archive nothing."""
    assert await scene.syncer.sync_all()
    assert scene.archive.tried == []


async def test_many_rooms_are_one_write(scene: Scene) -> None:
    """Rooms share a transaction."""
    sessions = [await scene.session(f"r{n}") for n in range(20)]
    await scene.syncer.sync_all()

    assert len(scene.archive.written) == 1
    assert {batch.session for batch in scene.archive.written[0]} == {*sessions}


async def test_second_round_writes_only_what_is_new(scene: Scene) -> None:
    """What the archive has is not written again."""
    session = await scene.session()
    await scene.syncer.sync_all()
    await scene.add(session, 3)
    await scene.syncer.sync_all()

    assert [event.seq for event in scene.archive.written[1][0].events] == [3]


async def test_large_session_is_written_in_batches(scene: Scene) -> None:
    """More than 1000 events are several transactions; each raises the mark."""
    session = await scene.session(count=1001)
    await scene.syncer.sync_all()

    assert [len(batches[0].events) for batches in scene.archive.written] == [1000, 1]
    assert scene.rooms.marks == [(session, 1000), (session, 1001)]


async def test_small_batches_while_there_are_live_rooms(scene: Scene) -> None:
    """Those who talk are not to notice: little is read and written at a time. All of it arrives."""
    scene.rooms.live = True
    sessions = [await scene.session(f"r{n}", 120) for n in range(6)]
    await scene.syncer.sync_all()

    written = [[len(batch.events) for batch in batches] for batches in scene.archive.written]
    assert written == [[50] * 4, [50] * 4, [20] * 4 + [50] * 2, [50] * 2, [20] * 2]
    assert all(scene.archived(session) == [*range(1, 121)] for session in sessions)


async def test_small_batches_from_memory(scene: Scene) -> None:
    """So it is with what only a live room has."""
    scene.rooms.live = True
    scene.hot.set_healthy(False)
    session = Session("r", new_epoch(NOON))
    scene.rooms.batches[session] = Batch(session, 120, tuple(a_post(seq) for seq in range(1, 121)))
    await scene.syncer.sync_all()

    assert [len(batches[0].events) for batches in scene.archive.written] == [50, 50, 20]
    assert scene.rooms.marks == [(session, 50), (session, 100), (session, 120)]
    assert scene.archived(session) == [*range(1, 121)]


async def test_large_batches_when_everybody_is_on_their_way_out(scene: Scene) -> None:
    """The last round has little time."""
    scene.rooms.live = True
    session = await scene.session(count=900)
    scene.syncer.hurry()
    await scene.syncer.sync_all()

    assert [len(batches[0].events) for batches in scene.archive.written] == [900]
    assert scene.rooms.marks == [(session, 900)]


async def test_lobby_hurries_at_the_end() -> None:
    """The end of a lobby with live rooms archives them in large batches."""
    archive = AnArchive()
    async with (
        open_lobby(hot=MemoryHotStore(), archive=archive) as lobby,
        lobby.join("r", user="ada") as seat,
    ):
        for number in range(120):
            await seat.post(str(number))

    assert [len(batches[0].events) for batches in archive.written] == [120]


async def test_round_ends_though_a_session_grows(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes while the round is on its way is for the next one."""
    scene.rooms.live = True
    session = await scene.session(count=60)
    write, seqs = scene.archive.write, itertools.count(61)

    async def write_slowly(batches: Sequence[Batch]) -> int:
        assert len(scene.archive.written) < 10
        for _ in range(50):
            await scene.add(session, next(seqs))
        return await write(batches)

    monkeypatch.setattr(scene.archive, "write", write_slowly)
    await scene.syncer.sync_all()

    assert len(scene.archive.written) == 2
    assert len(scene.archived(session)) == 100


async def test_large_round_is_written_in_batches(scene: Scene) -> None:
    """Many rooms with much to archive are several transactions too, and none is left out."""
    sessions = [await scene.session(f"r{n}", 3000) for n in range(4)]
    await scene.syncer.sync_all()

    assert [sum(len(batch.events) for batch in batches) for batches in scene.archive.written] == [
        4000,
        4000,
        4000,
    ]
    assert all(len(scene.archive.rows(session)) == 3000 for session in sessions)


async def test_session_of_superseded_entries_becomes_clean(scene: Scene) -> None:
    """A session whose entries are all gone still becomes clean."""
    session = await scene.session(count=1)
    await scene.hot.quarantine(session, 1, "unreadable")
    await scene.syncer.sync_all()

    assert await scene.hot.dirty() == []
    assert scene.archive.sessions[session].top == 1


async def test_ended_session_is_removed(scene: Scene) -> None:
    """A session that ended while the archive was away is gone from the hot store once it is archived."""
    session = await scene.session()
    await scene.hot.end(session, 2, 0)
    await scene.syncer.sync_all()

    assert scene.archived(session) == [1, 2]
    assert scene.hot.sessions() == {}


async def test_replayed_round_changes_nothing(scene: Scene) -> None:
    """A round whose mark was lost is made again, and there is still one of each."""
    session = await scene.session()

    async def fail(call: str, moment: Moment) -> None:
        if call == "mark_synced" and moment == "before":
            raise Unavailable("lost")

    scene.hot.interfere = fail
    assert not await scene.syncer.sync_all()
    scene.hot.interfere = None
    assert await scene.syncer.sync_all()

    assert scene.archived(session) == [1, 2]
    assert scene.syncer.statistics().messages == 2


async def test_events_that_come_during_a_round_are_not_marked(scene: Scene) -> None:
    """A mark never covers an event that was not in the batch."""
    session = await scene.session()

    async def add(call: str, moment: Moment) -> None:
        if call == "write" and moment == "after":
            scene.archive.interfere = None
            await scene.add(session, 3)

    scene.archive.interfere = add
    await scene.syncer.sync_all()

    assert scene.hot.sessions()[session] == (3, 2)
    assert scene.rooms.marks == [(session, 2)]


# --- refused rows


async def test_refused_row_is_set_aside(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """One row the archive will never take is found, put where a person can look at it, and holds up nobody."""
    sessions = [await scene.session(f"r{n}", 5) for n in range(5)]
    await scene.add(sessions[2], 6, "poison")
    await scene.add(sessions[2], 7)
    scene.archive.refuse = lambda event: event.message.content == "poison"
    with caplog.at_level(logging.ERROR):
        assert await scene.syncer.sync_all()

    assert [scene.archived(session) for session in sessions] == [
        [1, 2, 3, 4, 5],
        [1, 2, 3, 4, 5],
        [1, 2, 3, 4, 5, 7],
        [1, 2, 3, 4, 5],
        [1, 2, 3, 4, 5],
    ]
    assert [(session, seq) for session, seq, _ in scene.hot.quarantined] == [(sessions[2], 6)]
    assert await scene.hot.dirty() == []
    assert scene.syncer.statistics().refused == 1
    assert "the archive refuses message m6" in caplog.text


async def test_refused_text_is_not_logged(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """A log has no message in it, not even one that nobody can store."""
    await scene.session(count=1, content="a secret text")
    scene.archive.refuse = lambda event: True
    with caplog.at_level(logging.DEBUG):
        await scene.syncer.sync_all()

    assert "a secret text" not in caplog.text


async def test_several_refused_rows(scene: Scene) -> None:
    """Each is found."""
    session = await scene.session(count=20)
    bad = {3, 4, 11, 20}
    scene.archive.refuse = lambda event: event.seq in bad
    await scene.syncer.sync_all()

    assert scene.archived(session) == [seq for seq in range(1, 21) if seq not in bad]
    assert {seq for _, seq, _ in scene.hot.quarantined} == bad


async def test_everything_is_refused(scene: Scene) -> None:
    """An archive that takes nothing does not keep the syncer for ever."""
    await scene.session(count=4)
    scene.archive.refuse = lambda event: True

    assert await scene.syncer.sync_all()
    assert scene.syncer.statistics().refused == 4


# --- counting


async def test_statistics_count(scene: Scene) -> None:
    """Statistics and the one-line form say how far the syncer is."""
    await scene.session(count=3)
    await scene.syncer.sync_all()
    statistics = scene.syncer.statistics()

    assert (statistics.rounds, statistics.messages, statistics.refused, statistics.behind) == (1, 3, 0, 0)
    assert repr(scene.syncer) == "<Syncer rounds=1 messages=3 behind=0>"


async def test_syncer_without_rooms() -> None:
    """A syncer on its own, as a command has it, archives what the hot store has."""
    scene = Scene()
    session = await scene.session()
    syncer = Syncer(scene.hot, scene.archive, Settings(), NoRooms())
    syncer.kick(Session("r", new_epoch(NOON)))

    assert await syncer.sync_all()
    assert scene.archived(session) == [1, 2]
