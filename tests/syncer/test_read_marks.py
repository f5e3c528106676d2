"""Read marks are archived with events and without."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec
import pytest

from trio_chat.message import Posted, Receipt, new_epoch
from trio_chat.stores.base import Batch, Session

if TYPE_CHECKING:
    from trio.testing import MockClock

    from trio_chat.stores.memory import Moment

from .house import LATER, NOON, Scene, a_post


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
