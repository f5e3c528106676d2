"""What a seat hears, how a program listens, and what piles up while it does not."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
import trio

from trio_chat import seat as seat_module
from trio_chat.errors import ReplyCode, Unavailable
from trio_chat.mail import Changed, Closed, Expired, Hearing, Presence, Typing
from trio_chat.seat import PlainWire, Seat

from .house import a_lobby, listen, listen_to_the_end

if TYPE_CHECKING:
    from trio.testing import MockClock


# --- listening


async def test_own_messages_are_heard() -> None:
    """A sender hears its own message like everybody."""
    async with a_lobby() as lobby, lobby.join("r", user="ann") as ann:
        await ann.post("hi")
        [heard] = await listen(ann, 1)

    assert isinstance(heard, Changed)
    assert heard.event.message.content == "hi"


async def test_seat_learns_who_types() -> None:
    """Whoever sits down learns which others type, and hears when they have stopped."""
    async with a_lobby() as lobby, lobby.join("r", user="ann") as ann:
        await ann.typing()
        async with lobby.join("r", user="bob") as bob, lobby.join("r", user="ann") as ann_too:
            await ann.post("hi")
            heard = await listen(bob, 2)

    assert (bob.joined.typing, ann_too.joined.typing) == (("ann",), ())
    assert [type(hearing) for hearing in heard] == [Changed, Typing]
    assert heard[1] == Typing("ann", False)


async def test_expiry_is_heard(autojump_clock: MockClock) -> None:
    """A seat stays over the end of a session, and hears it."""
    async with a_lobby() as lobby, lobby.join("r", user="ann") as ann:
        await ann.post("hi")
        await trio.sleep(1201)
        await ann.post("again")
        heard = await listen(ann, 3)

    assert [type(hearing) for hearing in heard] == [Changed, Expired, Changed]


async def test_events_end_when_the_seat_is_left() -> None:
    """Whoever listens is done when the block of the seat ends."""
    async with a_lobby() as lobby, trio.open_nursery() as nursery:
        heard: list[list[Hearing]] = []

        async def keep(seat: Seat) -> None:
            heard.append(await listen_to_the_end(seat))

        async with lobby.join("r", user="ann") as ann:
            nursery.start_soon(keep, ann)  # noqa: ASYNC111 - it is to end with the seat
            await ann.post("hi")

    assert [type(hearing) for hearing in heard[0]] == [Changed]


async def test_events_end_when_the_room_is_closed() -> None:
    """A closed room says so, and nothing comes behind it."""
    async with a_lobby() as lobby, lobby.join("r", user="ann") as ann:
        await ann.post("hi")
        lobby.rooms["r"].close("enough")

        assert [type(hearing) for hearing in await listen_to_the_end(ann)] == [Changed, Closed]


async def test_listening_again_goes_on(autojump_clock: MockClock) -> None:
    """A program that stopped listening for a moment misses nothing."""
    async with a_lobby() as lobby, lobby.join("r", user="ann") as ann:
        await ann.post("one")
        await listen(ann, 1)
        with trio.move_on_after(1):
            await listen(ann, 1)
        await ann.post("two")
        [heard] = await listen(ann, 1)

    assert isinstance(heard, Changed)
    assert heard.event.message.content == "two"


async def test_listening_can_stop_at_any_hearing(recwarn: pytest.WarningsRecorder) -> None:
    """A loop over the hearings may be left with `break`, without a warning."""
    async with a_lobby() as lobby, lobby.join("r", user="ann") as ann:
        await ann.post("one")
        await ann.post("two")
        async for hearing in ann.events():
            assert isinstance(hearing, Changed)
            break
        await trio.lowlevel.checkpoint()
        [heard] = await listen(ann, 1)

    assert isinstance(heard, Changed)
    assert heard.event.seq == 2
    assert [str(warning.message) for warning in recwarn] == []


def test_wire_of_seats_is_plain() -> None:
    """A seat's parcel is the hearings themselves, in every room."""
    wire = PlainWire()
    hearings = [Expired("e1"), Expired("e2")]

    assert wire.voice("r").tell(hearings) == tuple(hearings)


# --- letting too much pile up


@pytest.fixture
def small_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seat_module, "BUFFER", 3)


@pytest.mark.usefixtures("small_buffer")
async def test_seat_that_does_not_listen_is_put_out(caplog: pytest.LogCaptureFixture) -> None:
    """More durable hearings than a seat can hold put it out; it hears what it had, then why."""
    async with a_lobby() as lobby, lobby.join("r", user="ann") as ann, lobby.join("r", user="bob") as bob:
        with caplog.at_level(logging.CRITICAL):
            for _ in range(4):
                await ann.post("hi")
                await listen(ann, 1)
        heard = await listen(bob, 3)
        with pytest.raises(Unavailable, match="piled up") as caught:
            await listen(bob, 1)

        assert caught.value.code is ReplyCode.OVERLOADED
        assert [hearing.event.seq for hearing in heard if isinstance(hearing, Changed)] == [1, 2, 3]
        assert [member.user for member in lobby.rooms["r"].audience] == ["ann"]


@pytest.mark.usefixtures("small_buffer")
async def test_others_hear_who_was_put_out(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody seems to be here who is not."""
    async with a_lobby() as lobby, lobby.join("r", user="ann") as ann, lobby.join("r", user="bob"):
        with caplog.at_level(logging.CRITICAL):
            heard: list[Hearing] = await listen(ann, 1)
            for _ in range(4):
                await ann.post("hi")
                heard += await listen(ann, 1)
            heard += await listen(ann, 1)

    assert [(hearing.user, hearing.active) for hearing in heard if isinstance(hearing, Presence)] == [
        ("bob", True),
        ("bob", False),
    ]


@pytest.mark.usefixtures("small_buffer")
async def test_seat_that_was_put_out_does_not_type(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever is put out because it does not read has stopped typing."""
    async with a_lobby() as lobby, lobby.join("r", user="ann") as ann, lobby.join("r", user="bob") as bob:
        await bob.typing()
        heard = await listen(ann, 2)
        with caplog.at_level(logging.CRITICAL):
            for _ in range(4):
                await ann.post("hi")
                heard += await listen(ann, 1)
        heard += await listen(ann, 2)

    assert [hearing.active for hearing in heard if isinstance(hearing, Typing)] == [True, False]


@pytest.mark.usefixtures("small_buffer")
async def test_droppable_hearings_are_dropped() -> None:
    """Typing that nobody listens to is dropped, and costs nobody the seat."""
    async with a_lobby() as lobby, lobby.join("r", user="ann") as ann, lobby.join("r", user="bob") as bob:
        for _ in range(10):
            await ann.typing()
        heard = await listen(bob, 3)
        await ann.post("hi")
        [last] = await listen(bob, 1)

    assert [type(hearing) for hearing in heard] == [Typing] * 3
    assert isinstance(last, Changed)
