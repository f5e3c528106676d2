"""The syncer actor: rounds, kicks, flushes, backoff, refused rows, and what the hot store cannot tell."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import trio
from trio.testing import wait_all_tasks_blocked
from typing_extensions import override

from trio_chat.errors import Unavailable
from trio_chat.live_rooms import NoRooms
from trio_chat.message import Message, Posted, Receipt, new_epoch
from trio_chat.settings import Settings
from trio_chat.stores.base import Append, Batch, Refused, Session
from trio_chat.stores.memory import MemoryArchive, MemoryHotStore
from trio_chat.syncer import Syncer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Sequence

    from trio.testing import MockClock

    from trio_chat.stores.memory import Moment

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = datetime(2026, 3, 1, 13, tzinfo=UTC)
INTERVAL = 300.0


def a_post(seq: int, content: str = "hi") -> Posted:
    """Make the event of a seq."""
    return Posted(
        Message(
            id=f"m{seq}",
            role="user",
            content=content,
            timestamp=NOON,
            metadata={},
            user_id="ann",
            seq=seq,
            rev=seq,
        )
    )


class AnArchive(MemoryArchive):
    """An archive that notes when it was written to, and with what."""

    def __init__(self) -> None:
        super().__init__()
        self.tried: list[float] = []
        self.written: list[Sequence[Batch]] = []
        self.refused_users: set[str] = set()

    @override
    async def write(self, batches: Sequence[Batch]) -> int:
        """Write, and note it."""
        self.tried.append(trio.current_time())
        if any(batch.receipts.keys() & self.refused_users for batch in batches):
            raise Refused("a read mark is refused")
        changed = await super().write(batches)
        self.written.append(batches)
        return changed


class LiveRooms(NoRooms):
    """Rooms of this process, as far as a test says so."""

    def __init__(self) -> None:
        self.batches: dict[Session, Batch] = {}
        self.degraded: set[Session] = set()
        self.lost: list[Session] = []
        self.marks: list[tuple[Session, int]] = []

    @override
    def unsynced(self) -> Collection[Session]:
        """Return what is held."""
        return list(self.batches)

    @override
    def held(self, session: Session) -> Batch | None:
        """Return it."""
        return self.batches.get(session)

    @override
    def is_degraded(self, session: Session) -> bool:
        """Return what the test says."""
        return session in self.degraded

    @override
    def note_lost(self, session: Session) -> None:
        """Note it."""
        self.lost.append(session)

    @override
    def note_synced(self, session: Session, seq: int) -> None:
        """Note it."""
        self.marks.append((session, seq))
        if (held := self.batches.get(session)) is not None and held.top <= seq:
            del self.batches[session]


class Scene:
    """A syncer between two stores."""

    def __init__(self, **settings: Any) -> None:
        self.hot = MemoryHotStore()
        self.archive = AnArchive()
        self.rooms = LiveRooms()
        self.syncer = Syncer(self.hot, self.archive, Settings(**settings), self.rooms)

    async def session(self, room: str = "r", count: int = 2, *, content: str = "hi") -> Session:
        """Put a dirty session into the hot store."""
        session = Session(room, new_epoch(NOON))
        events = tuple(a_post(seq, content) for seq in range(1, count + 1))
        assert await self.hot.append(Append(session, 0, count, 1, 0, events)) is None
        return session

    async def add(self, session: Session, seq: int, content: str = "hi") -> None:
        """Add one event to a session."""
        write = Append(session, seq - 1, seq, 1, 0, (a_post(seq, content),))
        assert await self.hot.append(write) is None

    async def read(self, session: Session, top: int, *users: str, seconds: float = 0) -> dict[str, Receipt]:
        """Let users read up to the session's top."""
        receipt = Receipt(f"m{top}", NOON + timedelta(seconds=seconds))
        receipts = dict.fromkeys(users, receipt)
        assert await self.hot.append(Append(session, top, top, 1, 0, (), receipts=receipts)) is None
        return receipts

    def archived(self, session: Session) -> list[int]:
        """Return the seqs the archive has of a session."""
        return sorted(self.archive.rows(session))

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[trio.Nursery, None]:
        """Let the syncer run inside the block."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.syncer.run)
            yield nursery
            nursery.cancel_scope.cancel()


@pytest.fixture
async def scene() -> Scene:
    return Scene()


# --- a round


async def test_round_archives_what_is_dirty(scene: Scene) -> None:
    """After a round the archive has everything, and the hot store and the rooms know it."""
    session = await scene.session()

    assert await scene.syncer.sync_all()
    assert scene.archived(session) == [1, 2]
    assert await scene.hot.dirty() == []
    assert scene.rooms.marks == [(session, 2)]


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
    """More than 5000 events are several transactions; each raises the mark."""
    session = await scene.session(count=5001)
    await scene.syncer.sync_all()

    assert [len(batches[0].events) for batches in scene.archive.written] == [5000, 1]
    assert scene.rooms.marks == [(session, 5000), (session, 5001)]


async def test_large_round_is_written_in_batches(scene: Scene) -> None:
    """Many rooms with much to archive are several transactions too, and none is left out."""
    sessions = [await scene.session(f"r{n}", 3000) for n in range(4)]
    await scene.syncer.sync_all()

    assert [sum(len(batch.events) for batch in batches) for batches in scene.archive.written] == [6000, 6000]
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


# --- read marks


async def test_read_marks_are_archived_with_events(scene: Scene) -> None:
    """Both go in one batch, and the session is clean after it."""
    session = await scene.session()
    marks = await scene.read(session, 2, "ann", "bob")
    await scene.syncer.sync_all()

    assert len(scene.archive.written) == 1
    assert scene.archive.marks("r") == marks
    assert await scene.hot.dirty() == []


async def test_read_marks_alone_are_archived(scene: Scene) -> None:
    """A session that was clean is archived for a read mark, and then is clean again."""
    session = await scene.session()
    await scene.syncer.sync_all()
    marks = await scene.read(session, 2, "ann")
    await scene.syncer.sync_all()
    await scene.syncer.sync_all()

    assert [batch.events for batch in scene.archive.written[1]] == [()]
    assert len(scene.archive.written) == 2
    assert scene.archive.marks("r") == marks
    assert await scene.hot.dirty() == []


async def test_read_mark_that_changes_during_a_round(scene: Scene) -> None:
    """It is archived by the next one."""
    session = await scene.session()
    await scene.read(session, 2, "ann", "bob")
    changed: dict[str, Receipt] = {}

    async def change(call: str, moment: Moment) -> None:
        if call == "write" and moment == "after":
            scene.archive.interfere = None
            changed.update(await scene.read(session, 2, "ann", seconds=1))

    scene.archive.interfere = change
    await scene.syncer.sync_all()
    assert scene.hot.pending(session) == changed

    await scene.syncer.sync_all()
    assert scene.archive.marks("r")["ann"] == changed["ann"]
    assert await scene.hot.dirty() == []


async def test_ended_session_is_removed_with_its_read_marks(scene: Scene) -> None:
    """One that was clean but for a mark when it ended is gone once that is archived."""
    session = await scene.session()
    await scene.syncer.sync_all()
    marks = await scene.read(session, 2, "ann")
    await scene.hot.end(session, 2, 0)
    await scene.syncer.sync_all()

    assert scene.archive.marks("r") == marks
    assert scene.hot.sessions() == {}


async def test_many_read_marks_are_written_in_batches(scene: Scene) -> None:
    """They count like events."""
    for number in range(4):
        session = await scene.session(f"r{number}", 1)
        await scene.read(session, 1, *(f"u{user}" for user in range(3000)))
    await scene.syncer.sync_all()

    assert [len(batches) for batches in scene.archive.written] == [2, 2]
    assert await scene.hot.dirty() == []


async def test_read_marks_in_memory_are_archived_while_the_hot_store_is_away(scene: Scene) -> None:
    """A live room's marks that no store has go to the archive from there."""
    session = await scene.session()
    marks = {"ann": Receipt("m2", NOON)}
    scene.rooms.batches[session] = Batch(session, 2, (), receipts=marks)
    scene.hot.set_healthy(False)
    await scene.syncer.sync_all()

    assert scene.archive.marks("r") == marks


async def test_read_marks_in_memory_are_archived_once(scene: Scene) -> None:
    """A room shows its marks until the hot store has them; only what is new of them is written."""
    session = Session("r", new_epoch(NOON))
    scene.hot.set_healthy(False)
    for events, marks in (
        ((), {"ann": Receipt("m1", NOON)}),
        ((), {"ann": Receipt("m1", NOON)}),
        ((a_post(2),), {"ann": Receipt("m1", NOON)}),
        ((), {"ann": Receipt("m2", LATER)}),
    ):
        scene.rooms.batches[session] = Batch(session, 2, events, receipts=marks)
        await scene.syncer.sync_all()

    written = [batch for batches in scene.archive.written for batch in batches]
    assert [(len(batch.events), len(batch.receipts)) for batch in written] == [(0, 1), (1, 0), (0, 1)]
    assert scene.archive.marks("r") == {"ann": Receipt("m2", LATER)}


async def test_end_of_a_session_whose_read_marks_were_archived_from_memory(
    autojump_clock: MockClock,
) -> None:
    """It is told, though there is nothing new beside it."""
    scene = Scene()
    session = Session("r", new_epoch(NOON))
    scene.hot.set_healthy(False)
    async with scene.running():
        for ended in (None, LATER):
            scene.rooms.batches[session] = Batch(session, 1, (), receipts={"ann": Receipt("m1", NOON)})
            await scene.syncer.flush(session, ended=ended)

    assert scene.archive.sessions[session] == Batch(session, 1, (), LATER)


async def test_refused_read_mark_is_let_go_of(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """A mark the archive will never take is found and reported; events and other marks are archived."""
    session, other = await scene.session(count=5), await scene.session("other")
    users = [f"u{number}" for number in range(9)]
    await scene.read(session, 5, *users)
    await scene.read(other, 2, *users)
    scene.archive.refused_users = {"u3"}
    with caplog.at_level(logging.ERROR):
        assert await scene.syncer.sync_all()

    assert (scene.archived(session), scene.archived(other)) == ([1, 2, 3, 4, 5], [1, 2])
    for room in ("r", "other"):
        assert scene.archive.marks(room).keys() == {*users} - {"u3"}
    assert (await scene.hot.dirty(), scene.hot.quarantined) == ([], [])
    assert caplog.text.count("the archive refuses the read mark of 'u3'") == 2
    assert scene.syncer.statistics().refused == 2


async def test_refused_event_beside_read_marks(scene: Scene) -> None:
    """It is set aside alone."""
    session = await scene.session(count=1)
    marks = await scene.read(session, 1, "ann")
    scene.archive.refuse = lambda event: True
    await scene.syncer.sync_all()

    assert [seq for _, seq, _ in scene.hot.quarantined] == [1]
    assert scene.archive.marks("r") == marks
    assert await scene.hot.dirty() == []


async def test_message_whose_place_another_has_is_reported_and_set_aside(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    """The log names the room, the session and the number; the rest is archived, and what was there stays."""
    session = await scene.session(count=5)
    stranger = Posted(msgspec.structs.replace(a_post(2).message, id="x", content="canary"))
    await scene.archive.write([Batch(session, 2, (stranger,))])
    with caplog.at_level(logging.ERROR):
        assert await scene.syncer.sync_all()

    rows = scene.archive.rows(session)
    assert {seq: event.message.id for seq, event in rows.items()} == {
        1: "m1",
        2: "x",
        3: "m3",
        4: "m4",
        5: "m5",
    }
    assert (
        f"room r: the archive refuses message m2 (session {session.epoch}, event 2): another" in caplog.text
    )
    assert "canary" not in caplog.text
    assert [seq for _, seq, _ in scene.hot.quarantined] == [2]
    assert scene.syncer.statistics().refused == 1


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

    assert "RuntimeError at test_syncer.py:" in caplog.text
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
