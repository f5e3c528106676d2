"""A lobby finds rooms, starts them and forgets them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.rooms import heard, seqs
from trio_chat.errors import BadRequest
from trio_chat.lobby import open_lobby
from trio_chat.mail import Answer, Look
from trio_chat.seat import ignore
from trio_chat.settings import Settings
from trio_chat.stores.memory import MemoryArchive, MemoryHotStore

if TYPE_CHECKING:
    from trio.testing import MockClock


from .house import EXPIRY, Stores, mail_post, tasks

# --- finding and starting


async def test_room_is_started_by_its_first_mail(stores: Stores) -> None:
    """A room that is not there is started, and there is one of it."""
    async with stores.lobby() as lobby:
        assert lobby.rooms == {}
        mail_post(lobby)
        mail_post(lobby)
        await wait_all_tasks_blocked()

        assert list(lobby.rooms) == ["r"]
        assert "room r" in tasks()


async def test_members_of_a_room_meet(stores: Stores) -> None:
    """Everybody in a room hears it, and nobody hears another room."""
    async with (
        stores.lobby() as lobby,
        lobby.join("r", user="ann") as ann,
        lobby.join("r", user="bob") as bob,
        lobby.join("other", user="cat") as cat,
    ):
        await ann.post("hi")

        assert (seqs(heard(bob)), heard(cat)) == ([1], [])


@pytest.mark.parametrize("room", ["", "a b", "r" * 129, "r\n"])
async def test_malformed_room(stores: Stores, room: str) -> None:
    """A room of a malformed name is refused and not started."""
    async with stores.lobby() as lobby:
        with pytest.raises(BadRequest, match="room: expected"):
            lobby.mail(room, Look(ignore))

        assert lobby.rooms == {}


@pytest.mark.parametrize(("one", "other"), [("a:b", "a"), ("a", "A"), ("a/b", "a"), ("a.", "a")])
async def test_names_that_look_alike(stores: Stores, one: str, other: str) -> None:
    """Rooms with similar names are different rooms."""
    async with (
        stores.lobby() as lobby,
        lobby.join(one, user="ann") as ann,
        lobby.join(other, user="bob") as bob,
    ):
        await ann.post("hi")

        assert heard(bob) == []
        assert len(lobby.rooms) == 2


async def test_room_outlives_its_lobby_in_the_store(stores: Stores) -> None:
    """The next lobby finds the session as it was, down to the keys."""
    async with stores.lobby() as lobby, lobby.join("r", user="ann") as ann:
        first = await ann.post("one", key="k")
    async with stores.lobby() as lobby, lobby.join("r", user="ann") as ann:
        again = await ann.post("one", key="k")

        assert (again.epoch, again.seq, again.duplicate) == (first.epoch, first.seq, True)
        assert [message.content for message in ann.messages] == ["one"]


# --- retiring


async def test_idle_lobby_costs_nothing(stores: Stores, autojump_clock: MockClock) -> None:
    """When all rooms have retired there is neither a room nor a task of one, and the hot store is empty."""
    async with stores.lobby() as lobby:
        before = tasks()
        for number in range(5):
            async with lobby.join(f"r{number}", user="ann") as ann:
                await ann.post("hi")
        assert len(lobby.rooms) == 5
        await trio.sleep(EXPIRY + 1)

        assert (lobby.rooms, tasks()) == ({}, before)
        assert stores.hot.sessions() == {}
        assert all(stores.archived(f"r{number}") == ["hi"] for number in range(5))


async def test_room_that_was_only_looked_at_retires(stores: Stores, autojump_clock: MockClock) -> None:
    """A room in which nothing was said leaves no trace."""
    async with stores.lobby() as lobby:
        await lobby.history("r")
        assert list(lobby.rooms) == ["r"]
        await trio.sleep(EXPIRY + 1)

        assert lobby.rooms == {}
    assert (stores.hot.sessions(), stores.archive.sessions) == ({}, {})


async def test_room_without_anything_in_it_retires_soon(stores: Stores, autojump_clock: MockClock) -> None:
    """Who looks into one room after the other leaves none of them behind for longer than a minute."""
    async with stores.lobby() as lobby:
        async with lobby.join("quiet", user="ann"), lobby.join("loud", user="ann") as seat:
            await seat.post("hi")
            await trio.sleep(300)
            assert set(lobby.rooms) == {"quiet", "loud"}
        await trio.sleep(59)
        assert set(lobby.rooms) == {"quiet", "loud"}
        await trio.sleep(2)

        assert set(lobby.rooms) == {"loud"}


async def test_room_after_it_retired(stores: Stores, autojump_clock: MockClock) -> None:
    """A room that has retired begins a new session behind the old one, and its history has both."""
    async with stores.lobby() as lobby:
        async with lobby.join("r", user="ann") as ann:
            old = await ann.post("one")
        await trio.sleep(EXPIRY + 1)
        async with lobby.join("r", user="ann", resume=ann.position) as ann:
            assert (ann.messages, ann.joined.recovered) == ((), False)
            new = await ann.post("two")
        found = await lobby.history("r")

    assert (new.epoch > old.epoch, new.seq) == (True, 1)
    assert [one.message.content for one in found.messages] == ["one", "two"]


async def test_mail_at_the_very_moment_of_retiring(stores: Stores, autojump_clock: MockClock) -> None:
    """Whenever mail comes around the deadline, it is answered."""
    async with stores.lobby() as lobby:
        answers: list[list[Answer]] = []
        for number in range(40):
            mail_post(lobby, room=f"r{number}")
        for number in range(40):
            await trio.sleep_until(EXPIRY - 0.02 + number / 1000)
            answers.append(mail_post(lobby, room=f"r{number}"))
        await wait_all_tasks_blocked()

        assert [type(answer).__name__ for [answer] in answers] == ["Accepted"] * 40


# --- defaults and counts


async def test_lobby_with_defaults() -> None:
    """A program that gives only the two stores gets the defaults and the real clock."""
    async with open_lobby(hot=MemoryHotStore(), archive=MemoryArchive()) as lobby:
        async with lobby.join("r", user="ann") as ann:
            await ann.post("hi")
        async with lobby.join("r", user="ann") as ann:
            [message] = ann.messages

    assert lobby.settings == Settings()
    assert abs(message.timestamp - datetime.now(UTC)) < timedelta(minutes=1)


async def test_statistics_count(stores: Stores) -> None:
    """Statistics and the one-line form count rooms and members."""
    async with stores.lobby() as lobby, lobby.join("r", user="ann"), lobby.join("r", user="bob"):
        statistics = lobby.statistics()

        assert (statistics.rooms, statistics.members, statistics.degraded, statistics.crashes) == (1, 2, 0, 0)
        assert repr(lobby).startswith("<Lobby rooms=1 <Syncer ")
