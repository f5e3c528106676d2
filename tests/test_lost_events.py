"""The hot store loses events of a live room, whatever else goes on: what the room has of them reaches the archive.

A whole lobby over stores in memory. What a person may do to a real Redis is in `test_lost_keys`.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from tests.rooms import archived, now
from tests.syncer.house import AnArchive
from trio_chat.live_rooms import NoRooms
from trio_chat.lobby import Lobby, open_lobby
from trio_chat.settings import Settings
from trio_chat.stores.memory import MemoryHotStore
from trio_chat.syncer import Syncer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock

    from trio_chat.seat import Seat
    from trio_chat.stores.memory import Moment


class Gate:
    """Holds calls of a store back, once it is shut."""

    def __init__(self, call: str, moment: Moment) -> None:
        self._held = (call, moment)
        self._open = trio.Event()
        self._open.set()

    async def __call__(self, call: str, moment: Moment) -> None:
        if (call, moment) == self._held:
            await self._open.wait()

    def shut(self) -> None:
        self._open = trio.Event()

    def open(self) -> None:
        self._open.set()


class Place:
    """Two stores, and lobbies over them that archive only at their end and when they are told to."""

    def __init__(self) -> None:
        self.hot = MemoryHotStore(durability="redis")
        self.archive = AnArchive()

    @asynccontextmanager
    async def lobby(self, **settings: int) -> AsyncIterator[Lobby]:
        patient = {"session_sync_interval_seconds": 10**6, **settings}
        async with open_lobby(
            hot=self.hot, archive=self.archive, settings=Settings(**patient), now=now
        ) as lobby:
            yield lobby

    def archived(self) -> list[str]:
        return archived(self.archive)


@pytest.fixture
def place() -> Place:
    return Place()


async def say(seat: Seat, last: int) -> None:
    """Post 1, 2, ... up to `last`."""
    for number in range(1, last + 1):
        await seat.post(str(number))


async def test_while_an_edit_is_on_its_way(autojump_clock: MockClock, place: Place) -> None:
    """What it supersedes is not there any more; what comes behind that is not passed over."""
    place.hot.interfere = gate = Gate("append", "before")
    async with place.lobby() as lobby, lobby.join("r", user="ann") as ann, trio.open_nursery() as nursery:
        await say(ann, 6)
        room = lobby.rooms["r"]
        third = room.ledger.history.snapshot()[2]
        place.hot.lose_entries("r", [2, 4, 5])
        gate.shut()
        nursery.start_soon(ann.edit, third.id, "3 again")
        await trio.sleep(0.1)
        await lobby.syncer.sync_all()
        assert place.archived() == ["1", "2", "3"]
        gate.open()
        await trio.sleep(1)
        await lobby.syncer.sync_all()

        assert place.archived() == ["1", "2", "3 again", "4", "5", "6"]


async def test_before_its_answer_came(autojump_clock: MockClock, place: Place) -> None:
    """The archive is not said to have what nobody has been told of, and does not have it."""
    place.hot.interfere = gate = Gate("append", "after")
    async with place.lobby() as lobby, lobby.join("r", user="ann") as ann:
        await say(ann, 6)
        gate.shut()
        async with trio.open_nursery() as nursery:
            reached: list[str] = []

            async def post() -> None:
                reached.append((await ann.post("7")).durability)

            nursery.start_soon(post)
            await trio.sleep(0.1)
            place.hot.lose_entries("r", [7])
            await lobby.syncer.sync_all()
            assert place.archived() == ["1", "2", "3", "4", "5", "6"]
            gate.open()
        assert reached == ["redis"]
        await lobby.syncer.sync_all()

        assert place.archived() == ["1", "2", "3", "4", "5", "6", "7"]


async def test_another_syncer_has_passed_it(autojump_clock: MockClock, place: Place) -> None:
    """As `trio-chat sync` does: it knows no room. The room's own has what was marked as archived."""
    async with place.lobby() as lobby, lobby.join("r", user="ann") as ann:
        await say(ann, 6)
        room = lobby.rooms["r"]
        place.hot.lose_entries("r", [2, 4])
        assert await Syncer(place.hot, place.archive, Settings(), NoRooms()).sync_all()
        assert place.archived() == ["1", "3", "5", "6"]
        await lobby.syncer.sync_all()

        assert place.archived() == ["1", "2", "3", "4", "5", "6"]
        assert room.ledger.history.synced == 6


@pytest.mark.parametrize("end", ["the lobby ends", "the session expires"])
@pytest.mark.parametrize("hole", [[], [2]], ids=["whole", "with a hole"])
async def test_store_went_back(autojump_clock: MockClock, place: Place, hole: list[int], end: str) -> None:
    """Nobody posts any more that would find it out."""
    async with place.lobby() as lobby:
        async with lobby.join("r", user="ann") as ann:
            await say(ann, 6)
        place.hot.lose_tail("r", 3)
        place.hot.lose_entries("r", hole)
        if end == "the session expires":
            await trio.sleep(3600)
            assert not lobby.rooms

    assert place.archived() == ["1", "2", "3", "4", "5", "6"]


async def test_store_that_went_back_gets_it_again(autojump_clock: MockClock, place: Place) -> None:
    """Holes and end: the room gives back everything once a round has found it out."""
    async with place.lobby() as lobby, lobby.join("r", user="ann") as ann:
        await say(ann, 6)
        room = lobby.rooms["r"]
        place.hot.lose_tail("r", 3)
        place.hot.lose_entries("r", [2])
        await lobby.syncer.sync_all()
        await trio.sleep(1)
        stored = await place.hot.load("r")

        assert stored is not None
        assert [event.seq for event in stored.events] == [1, 2, 3, 4, 5, 6]
        assert stored.epoch == room.ledger.session.epoch


async def test_everything_of_a_room_that_remembers_the_newest(
    autojump_clock: MockClock, place: Place
) -> None:
    """They are all there is, and are archived."""
    small = {"max_messages_per_session": 4, "backlog_limit": 4, "sync_after_events": 4}
    async with place.lobby(**small) as lobby, lobby.join("r", user="ann") as ann:
        place.archive.set_healthy(False)
        await say(ann, 20)
        room = lobby.rooms["r"]
        assert not room.ledger.history.complete
        place.archive.set_healthy(True)
        place.hot.lose_everything()

    assert place.archived() == [str(seq) for seq in range(13, 21)]


LOSSES = {
    "everything": lambda hot: hot.lose_everything(),
    "the end": lambda hot: hot.lose_tail("r", 3),
    "some": lambda hot: hot.lose_entries("r", [2, 4]),
}


@pytest.mark.parametrize("lost", LOSSES)
async def test_just_before_the_session_expires_while_the_archive_is_away(
    autojump_clock: MockClock, place: Place, lost: str
) -> None:
    """The session does not end before the store is sure to have it."""
    async with place.lobby() as lobby:
        async with lobby.join("r", user="ann") as ann:
            await say(ann, 6)
            left = trio.current_time()
        session = lobby.rooms["r"].ledger.session
        place.archive.set_healthy(False)
        lobby.syncer.kick(session)
        await trio.sleep_until(left + 1199.9)  # it is known to be away, and nobody looks for some seconds
        LOSSES[lost](place.hot)
        await trio.sleep(60)
        assert not lobby.rooms
        place.archive.set_healthy(True)
        await trio.sleep(60)

    assert place.archived() == ["1", "2", "3", "4", "5", "6"]


async def test_expiry_while_both_stores_are_away(autojump_clock: MockClock, place: Place) -> None:
    """Nobody knows what comes back: the room waits, and has what did not."""
    async with place.lobby() as lobby:
        async with lobby.join("r", user="ann") as ann:
            await say(ann, 6)
        place.archive.set_healthy(False)
        place.hot.set_healthy(False)
        await trio.sleep(3600)
        place.hot.lose_tail("r", 3)
        place.hot.set_healthy(True)
        await trio.sleep(60)
        assert not lobby.rooms
        place.archive.set_healthy(True)
        await trio.sleep(60)

    assert place.archived() == ["1", "2", "3", "4", "5", "6"]


async def test_expiry_while_the_store_is_away_and_has_what_nobody_else_has(
    autojump_clock: MockClock, place: Place
) -> None:
    """The archive is there, but the room cannot tell it everything: it waits for the store."""
    small = {"max_messages_per_session": 4, "backlog_limit": 4, "sync_after_events": 4}
    async with place.lobby(**small) as lobby:
        async with lobby.join("r", user="ann") as ann:
            place.archive.set_healthy(False)
            await say(ann, 20)
        place.hot.set_healthy(False)
        place.archive.set_healthy(True)
        await trio.sleep(3600)
        assert lobby.rooms
        place.hot.set_healthy(True)
        await trio.sleep(60)
        assert not lobby.rooms

    assert place.archived() == [str(seq) for seq in range(1, 21)]


@pytest.mark.parametrize("archive", ["there", "away"])
async def test_idle_process_does_not_end_the_session_of_another(
    autojump_clock: MockClock, place: Place, archive: str
) -> None:
    """Somebody talks there: the store says so by its own clock."""
    async with place.lobby() as idle, place.lobby() as busy:
        async with idle.join("r", user="ann") as ann:
            await say(ann, 2)
        session = idle.rooms["r"].ledger.session
        place.archive.set_healthy(archive == "there")
        async with busy.join("r", user="bob") as bob:
            assert bob.joined.epoch == session.epoch
            for number in range(3, 9):
                await bob.post(str(number))
                await trio.sleep(600)
                stored = await place.hot.load("r")
                assert stored is not None
                assert stored.epoch == session.epoch
        place.archive.set_healthy(True)

    assert place.archived() == [str(seq) for seq in range(1, 9)]


async def test_store_that_went_back_to_what_is_archived(
    autojump_clock: MockClock, place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is lost, and nothing is said to be."""
    async with place.lobby() as lobby, lobby.join("r", user="ann") as ann:
        await say(ann, 6)
        await lobby.syncer.sync_all()
        session = lobby.rooms["r"].ledger.session
        place.hot.lose_tail("r", 3)
        place.hot._sessions[session].synced = 3
        assert await lobby.syncer.flush(session)

    assert "nowhere" not in caplog.text
    assert place.archived() == ["1", "2", "3", "4", "5", "6"]


async def test_in_small_batches(
    autojump_clock: MockClock, place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    """However much was lost, those who are here are not to notice. It is said once."""
    async with place.lobby() as lobby, lobby.join("r", user="ann") as ann:
        await say(ann, 130)
        place.hot.lose_entries("r", range(1, 131))
        place.hot.interfere = gate = Gate("append", "before")
        gate.shut()  # it is not mended meanwhile
        await lobby.syncer.sync_all()
        gate.open()

        assert [len(batch.events) for batches in place.archive.written for batch in batches] == [50, 50, 30]
        assert place.archived() == [str(seq) for seq in range(1, 131)]
        assert caplog.text.count("has lost events") == 1
