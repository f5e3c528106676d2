"""Taking a seat, what it shows, and leaving it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_chat.errors import BadRequest, Unavailable
from trio_chat.mail import Changed, Presence
from trio_chat.message import Message, Position
from trio_chat.seat import Seat
from trio_chat.stores.memory import MemoryHotStore

from .house import Gate, a_lobby, listen

if TYPE_CHECKING:
    from trio.testing import MockClock


# --- taking a seat


async def test_seat_knows_the_room() -> None:
    """A seat shows the window, the position and the read marks as they were when it was taken."""
    async with a_lobby() as lobby:
        async with lobby.join("r", user="ann") as ann:
            await ann.post("one", key="k")
            await ann.read("k")
        async with lobby.join("r", user="bob") as bob:
            assert (bob.room, bob.user) == ("r", "bob")
            assert [message.content for message in bob.messages] == ["one"]
            assert bob.position == Position(bob.joined.epoch, 1)
            assert bob.receipts["ann"].message_id == "k"


async def test_messages_are_messages() -> None:
    """What a seat shows of the window are the messages themselves."""
    async with a_lobby() as lobby:
        async with lobby.join("r", user="ann") as ann:
            await ann.post("hi")
        async with lobby.join("r", user="ann") as ann:
            assert [type(message) for message in ann.messages] == [Message]


async def test_seat_resumes() -> None:
    """A program that comes back with its position gets what it missed, and no window."""
    async with a_lobby() as lobby:
        async with lobby.join("r", user="ann") as ann:
            await ann.post("one")
        async with lobby.join("r", user="ann") as ann:
            left_at = ann.position
            await ann.post("two")
        async with lobby.join("r", user="ann", resume=left_at) as ann:
            assert ann.joined.recovered
            assert [event.message.content for event in ann.joined.changes] == ["two"]
            assert ann.messages == ()


@pytest.mark.parametrize(("room", "user"), [("no room", "ann"), ("", "ann"), ("r", ""), ("r", "a\n")])
async def test_malformed_names(room: str, user: str) -> None:
    """A malformed room or user is refused, and no room is started for it."""
    async with a_lobby() as lobby:
        with pytest.raises(BadRequest):
            async with lobby.join(room, user=user):
                pass

        assert lobby.rooms == {}


async def test_cancelled_join_leaves_nobody_behind(autojump_clock: MockClock) -> None:
    """A program that gives up joining is not in the room."""
    hot = MemoryHotStore()
    async with a_lobby(hot) as lobby, lobby.join("r", user="ann") as ann, trio.open_nursery() as nursery:
        gate = Gate(hot)
        nursery.start_soon(ann.post, "hi")
        await wait_all_tasks_blocked()
        with trio.move_on_after(1):
            async with lobby.join("r", user="bob"):
                pytest.fail("nobody answered")
        gate.opened.set()
        await wait_all_tasks_blocked()

        assert [member.user for member in lobby.rooms["r"].audience] == ["ann"]


async def test_repr_tells_the_state() -> None:
    """The one-line form says who sits where, how much waits, and whether the seat was left."""
    async with a_lobby() as lobby:
        async with lobby.join("r", user="ann") as ann:
            await ann.post("hi")
            assert repr(ann) == "<Seat ann in r waiting=1>"
        assert repr(ann) == "<Seat ann in r waiting=1 left>"


# --- leaving


async def test_leaving_is_heard() -> None:
    """The others hear who came and who left."""
    async with a_lobby() as lobby, lobby.join("r", user="ann") as ann:
        async with lobby.join("r", user="bob"):
            pass
        heard = await listen(ann, 2)

    assert [(hearing.user, hearing.active) for hearing in heard if isinstance(hearing, Presence)] == [
        ("bob", True),
        ("bob", False),
    ]


async def test_leaving_while_the_room_writes(caplog: pytest.LogCaptureFixture) -> None:
    """A seat left while a turn is being written is gone afterwards, quietly, and the others hear it."""
    hot = MemoryHotStore()
    async with a_lobby(hot) as lobby, lobby.join("r", user="ann") as ann, trio.open_nursery() as nursery:
        async with lobby.join("r", user="bob"):
            gate = Gate(hot)
            nursery.start_soon(ann.post, "hi")
            await wait_all_tasks_blocked()
        gate.opened.set()
        heard = await listen(ann, 3)

    assert [type(hearing) for hearing in heard] == [Presence, Changed, Presence]
    assert caplog.records == []


async def test_cancelled_block_leaves(autojump_clock: MockClock) -> None:
    """Whatever ends the block, its seat is left."""
    async with a_lobby() as lobby, lobby.join("r", user="ann"):
        with trio.move_on_after(1):
            async with lobby.join("r", user="bob"):
                await trio.sleep_forever()
        await wait_all_tasks_blocked()

        assert [member.user for member in lobby.rooms["r"].audience] == ["ann"]


# --- staying longer than the lobby


async def test_seat_of_a_closed_lobby() -> None:
    """A seat that outlives its lobby is told so at once, whatever it asks, and not left waiting."""
    async with a_lobby() as lobby:
        seat = Seat("r", "ann", lambda mail: lobby.mail("r", mail), lobby.settings)
        await seat.take(None)

    with trio.fail_after(1):
        for asking in (
            seat.post("hi"),
            seat.edit("k", "x"),
            seat.delete("k"),
            seat.typing(),
            seat.touch(),
            seat.read("k"),
        ):
            with pytest.raises(Unavailable, match="stopping"):
                await asking


async def test_waiting_for_a_lobby_that_is_cancelled(autojump_clock: MockClock) -> None:
    """Whoever waits for an answer from outside when the lobby is cancelled is told that none will come."""
    hot = MemoryHotStore()
    errors: list[Exception] = []
    async with trio.open_nursery() as outside:
        with trio.CancelScope() as scope:
            async with a_lobby(hot) as lobby:
                seat = Seat("r", "ann", lambda mail: lobby.mail("r", mail), lobby.settings)
                await seat.take(None)

                async def wait() -> None:
                    try:
                        await seat.post("hi")
                    except Unavailable as error:
                        errors.append(error)

                Gate(hot)
                outside.start_soon(wait)
                await wait_all_tasks_blocked()
                scope.cancel()
        with trio.move_on_after(1):
            await wait_all_tasks_blocked()
            await trio.sleep(0.5)
        outside.cancel_scope.cancel()

    assert len(errors) == 1
