"""A program's handle on one membership: what it says, what it hears, and how it leaves."""

from __future__ import annotations

import logging
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.rooms import now
from trio_chat import seat as seat_module
from trio_chat.errors import BadRequest, ReplyCode, Unavailable
from trio_chat.lobby import Lobby, open_lobby
from trio_chat.mail import (
    Accepted,
    Changed,
    Closed,
    Done,
    Expired,
    Hearing,
    Joined,
    Presence,
    ReadMark,
    Type,
    Typing,
)
from trio_chat.message import Message, Position
from trio_chat.seat import PlainWire, Seat, ask
from trio_chat.settings import Settings
from trio_chat.stores.memory import MemoryArchive, MemoryHotStore

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from trio.testing import MockClock

    from trio_chat.stores.memory import Moment


@asynccontextmanager
async def a_lobby(hot: MemoryHotStore | None = None, **settings: Any) -> AsyncGenerator[Lobby, None]:
    """Open a lobby over memory stores."""
    async with open_lobby(
        hot=hot or MemoryHotStore(), archive=MemoryArchive(), settings=Settings(**settings), now=now
    ) as lobby:
        yield lobby


async def listen(seat: Seat, count: int) -> list[Hearing]:
    """Wait for so many hearings."""
    found: list[Hearing] = []
    async with aclosing(seat.events()) as events:
        while len(found) < count:
            found.append(await anext(events))
    return found


async def listen_to_the_end(seat: Seat) -> list[Hearing]:
    """Wait for all hearings until the end."""
    return [hearing async for hearing in seat.events()]


class Gate:
    """Holds back every append of a store until it is opened."""

    def __init__(self, hot: MemoryHotStore) -> None:
        self.opened = trio.Event()
        hot.interfere = self._hold

    async def _hold(self, call: str, moment: Moment) -> None:
        if call == "append" and moment == "before":
            await self.opened.wait()


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


# --- saying something


async def test_post_returns_the_ack() -> None:
    """A post returns when the store has it, with its position."""
    async with a_lobby(MemoryHotStore(durability="redis")) as lobby, lobby.join("r", user="ann") as ann:
        accepted = await ann.post("hi", key="k", role="assistant", metadata={"a": 1})
        [message] = (await lobby.history("r")).messages

    assert accepted == Accepted("k", ann.joined.epoch, 1, "redis", False)
    assert (message.message.role, message.message.metadata) == ("assistant", {"a": 1})


async def test_edit_delete_type_touch_and_read() -> None:
    """Everything a member can do a seat can do, and another seat hears it."""
    async with a_lobby() as lobby, lobby.join("r", user="ann") as ann, lobby.join("r", user="bob") as bob:
        await ann.post("one", key="k")
        edited = await ann.edit("k", "two", metadata={"a": 1})
        await ann.typing()
        await ann.typing(False)
        await ann.touch()
        await ann.read("k")
        deleted = await ann.delete("k")
        heard = await listen(bob, 7)

    assert (edited.seq, deleted.seq) == (2, 3)
    assert [type(hearing) for hearing in heard] == [
        Changed,
        Changed,
        Typing,
        Typing,
        Presence,
        ReadMark,
        Changed,
    ]
    assert [hearing.active for hearing in heard if isinstance(hearing, Typing)] == [True, False]


async def test_moderator() -> None:
    """A moderator's seat changes anybody's message, if it says so."""
    async with a_lobby() as lobby, lobby.join("r", user="ann") as ann, lobby.join("r", user="mod") as mod:
        await ann.post("one", key="k")
        with pytest.raises(BadRequest) as caught:
            await mod.edit("k", "two")
        await mod.edit("k", "two", moderator=True)
        await mod.delete("k", moderator=True)

    assert caught.value.code is ReplyCode.FORBIDDEN


@pytest.mark.parametrize(
    "say",
    [
        lambda seat: seat.post(""),
        lambda seat: seat.post("x" * 1025),
        lambda seat: seat.post("\x00"),
        lambda seat: seat.post("x", key=""),
        lambda seat: seat.post("x", key="k" * 129),
        lambda seat: seat.post("x", role="tool"),
        lambda seat: seat.post("x", metadata={"a": object()}),
        lambda seat: seat.post("x", metadata={"a": "x" * 1025}),
        lambda seat: seat.edit("k", ""),
        lambda seat: seat.edit("k", "x", metadata={"a": float("nan")}),
    ],
    ids=["empty", "long", "nul", "no key", "long key", "role", "no json", "long json", "empty edit", "nan"],
)
async def test_outside_the_limits(say: Callable[[Seat], Awaitable[object]]) -> None:
    """What is outside the limits never reaches the room."""
    async with a_lobby(max_message_bytes=1024) as lobby, lobby.join("r", user="ann") as ann:
        with pytest.raises(BadRequest):
            await say(ann)

        assert lobby.rooms["r"].ledger.history.top == 0


async def test_refusal_is_raised() -> None:
    """What the room refuses is raised, with its code."""
    async with a_lobby() as lobby, lobby.join("r", user="ann") as ann:
        with pytest.raises(BadRequest) as caught:
            await ann.read("nothing")

    assert caught.value.code is ReplyCode.NOT_FOUND


async def test_program_keeps_its_metadata() -> None:
    """A program may go on changing the dictionary it gave."""
    async with a_lobby() as lobby, lobby.join("r", user="ann") as ann:
        metadata = {"tags": ["a"]}
        await ann.post("one", metadata=metadata)
        metadata["tags"].append("b")
        [message] = (await lobby.history("r")).messages

    assert message.message.metadata == {"tags": ["a"]}


async def test_cancelled_post_with_a_key_can_be_repeated(autojump_clock: MockClock) -> None:
    """A post that was cancelled in the middle may have been carried out; the same key never makes two of it."""
    hot = MemoryHotStore()
    async with a_lobby(hot) as lobby, lobby.join("r", user="ann") as ann:
        gate = Gate(hot)
        with trio.move_on_after(1) as scope:
            await ann.post("one", key="k")
        gate.opened.set()
        accepted = await ann.post("one", key="k")
        found = await lobby.history("r")

    assert scope.cancelled_caught
    assert (accepted.seq, accepted.duplicate) == (1, True)
    assert [one.message.content for one in found.messages] == ["one"]


async def test_cancelled_post_does_not_hurt_the_next(autojump_clock: MockClock) -> None:
    """After a cancelled post the seat goes on as before, and no answer is mistaken for another."""
    hot = MemoryHotStore()
    async with a_lobby(hot) as lobby, lobby.join("r", user="ann") as ann:
        gate = Gate(hot)
        with trio.move_on_after(1):
            await ann.post("one", key="k1")
        gate.opened.set()

        assert (await ann.post("two", key="k2")).id == "k2"


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


async def test_answer_of_another_kind() -> None:
    """An answer that does not fit its question is a bug, and said to be one."""
    with pytest.raises(TypeError, match="expected Joined, got Done"):
        await ask(
            lambda mail: mail.answer(Done()),
            lambda answer: Type("ann", True, answer),
            Joined,
        )


# --- hearing


async def test_own_messages_are_heard() -> None:
    """A sender hears its own message like everybody."""
    async with a_lobby() as lobby, lobby.join("r", user="ann") as ann:
        await ann.post("hi")
        [heard] = await listen(ann, 1)

    assert isinstance(heard, Changed)
    assert heard.event.message.content == "hi"


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


async def test_expiry_is_heard(autojump_clock: MockClock) -> None:
    """A seat stays over the end of a session, and hears it."""
    async with a_lobby() as lobby, lobby.join("r", user="ann") as ann:
        await ann.post("hi")
        await trio.sleep(1201)
        await ann.post("again")
        heard = await listen(ann, 3)

    assert [type(hearing) for hearing in heard] == [Changed, Expired, Changed]


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


# --- the rest


def test_wire_of_seats_is_plain() -> None:
    """A seat's parcel is the hearings themselves, in every room."""
    wire = PlainWire()
    hearings = [Expired("e1"), Expired("e2")]

    assert wire.voice("r").tell(hearings) == tuple(hearings)


async def test_repr_tells_the_state() -> None:
    """The one-line form says who sits where, how much waits, and whether the seat was left."""
    async with a_lobby() as lobby:
        async with lobby.join("r", user="ann") as ann:
            await ann.post("hi")
            assert repr(ann) == "<Seat ann in r waiting=1>"
        assert repr(ann) == "<Seat ann in r waiting=1 left>"


async def test_messages_are_messages() -> None:
    """What a seat shows of the window are the messages themselves."""
    async with a_lobby() as lobby:
        async with lobby.join("r", user="ann") as ann:
            await ann.post("hi")
        async with lobby.join("r", user="ann") as ann:
            assert [type(message) for message in ann.messages] == [Message]
