"""The wall clock is set back between two processes: sessions still follow each other, and nothing told is lost."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock

from tests.rooms import archived
from trio_chat.lobby import Lobby, open_lobby
from trio_chat.mail import Changed, Expired
from trio_chat.message import is_epoch, new_epoch
from trio_chat.settings import Settings
from trio_chat.stores.base import Session
from trio_chat.stores.memory import MemoryArchive, MemoryHotStore

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
AHEAD, RIGHT, BEHIND = timedelta(hours=1), timedelta(0), timedelta(hours=-1)


class World:
    """Two stores, and processes one after the other, each with a wall clock of its own."""

    def __init__(self) -> None:
        self.hot = MemoryHotStore(durability="redis")
        self.archive = MemoryArchive()

    @asynccontextmanager
    async def process(self, clock: timedelta) -> AsyncGenerator[Lobby, None]:
        """Be a process whose clock is wrong by so much."""

        def now() -> datetime:
            return NOON + clock + timedelta(seconds=trio.current_time())

        async with open_lobby(hot=self.hot, archive=self.archive, settings=Settings(), now=now) as lobby:
            yield lobby

    def archived(self) -> set[str]:
        """Return what the archive has."""
        return set(archived(self.archive))


@pytest.fixture
async def world() -> World:
    return World()


async def paged(lobby: Lobby) -> list[str]:
    """Read the room backwards to its beginning, one message a page."""
    found: list[str] = []
    before = None
    while True:
        page = await lobby.history("r", before, 1)
        found[:0] = [one.message.content for one in page.messages]
        before = page.before
        if before is None:
            return found


async def say(lobby: Lobby, *contents: str) -> Session:
    async with lobby.join("r", user="ann") as ann:
        epoch = [(await ann.post(content)).epoch for content in contents][-1]
    return Session("r", epoch)


async def test_history_of_a_session_from_the_future_is_seen(world: World, autojump_clock: MockClock) -> None:
    """The store has ended it; the archive knows its epoch, and the next one is above that."""
    async with world.process(AHEAD) as lobby:
        first = await say(lobby, "one", "two")
        await trio.sleep(2000)
    async with world.process(BEHIND) as lobby:
        second = await say(lobby, "three")

        assert await paged(lobby) == ["one", "two", "three"]
        assert second > first


async def test_session_begun_without_the_store_comes_behind_what_the_archive_has(
    world: World, autojump_clock: MockClock
) -> None:
    """So that the store, when it is back, takes it as the next one."""
    async with world.process(AHEAD) as lobby:
        first = await say(lobby, "one")
    world.hot.set_healthy(False)
    async with world.process(BEHIND) as lobby, lobby.join("r", user="ann") as ann:
        accepted = await ann.post("two")
        world.hot.set_healthy(True)
        await trio.sleep(5)

        assert (await ann.post("three")).epoch == accepted.epoch > first.epoch
        assert await paged(lobby) == ["one", "two", "three"]


async def test_what_was_told_while_the_store_was_away_with_a_session_from_the_future(
    world: World, autojump_clock: MockClock
) -> None:
    """Of that nobody else knows. The room goes on with it once the archive has what was told, and not before."""
    world.archive.set_healthy(False)
    async with world.process(AHEAD) as lobby:
        first = await say(lobby, "one")
    world.hot.set_healthy(False)
    async with world.process(BEHIND) as lobby, lobby.join("r", user="ann") as ann:
        accepted = await ann.post("two")
        world.hot.set_healthy(True)
        await trio.sleep(60)
        assert (await ann.post("three")).durability == "memory"
        world.archive.set_healthy(True)
        await trio.sleep(60)
        later = await ann.post("four")
        told = [ann._hearings.receive_nowait() for _ in range(ann._hearings.statistics().current_buffer_used)]

        assert (later.epoch, later.durability) == (first.epoch, "redis")
        assert sorted(await paged(lobby)) == ["four", "one", "three", "two"]

    assert world.archived() == {"one", "two", "three", "four"}
    contents = [
        hearing.event.message.content if isinstance(hearing, Changed) else hearing for hearing in told
    ]
    assert contents == ["two", "three", Expired(accepted.epoch), "one", "four"]


async def test_clock_that_goes_back_while_a_room_is_away(world: World, autojump_clock: MockClock) -> None:
    """The same process, the same room, a session each."""
    clock = AHEAD

    def now() -> datetime:
        return NOON + clock + timedelta(seconds=trio.current_time())

    async with open_lobby(hot=world.hot, archive=world.archive, settings=Settings(), now=now) as lobby:
        await say(lobby, "one")
        await trio.sleep(2000)
        assert not lobby.rooms
        clock = BEHIND
        await say(lobby, "two")

        assert await paged(lobby) == ["one", "two"]


@pytest.mark.parametrize("year", [10000, 10889])
def test_epoch_after_the_end_of_time_is_none(year: int) -> None:
    """Nobody could say when it began, nor make a later one."""
    last = "e677d21f-dbff-7000-8000-000000000000"
    assert is_epoch(last)
    first = {10000: "e677d21f-dc00-7000-8000-000000000000", 10889: "ffffffff-ffff-7fff-bfff-ffffffffffff"}

    assert not is_epoch(first[year])
    assert new_epoch(NOON) < last
