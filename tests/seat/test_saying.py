"""Saying something from a seat, and what the room answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from trio_chat.errors import BadRequest, ReplyCode
from trio_chat.mail import Accepted, Changed, Done, Joined, Presence, ReadMark, Type, Typing
from trio_chat.seat import Seat, ask
from trio_chat.stores.memory import MemoryHotStore

from .house import Gate, a_lobby, listen

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio.testing import MockClock


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


OUTSIDE: dict[str, Callable[[Seat], Awaitable[object]]] = {
    "empty": lambda seat: seat.post(""),
    "long": lambda seat: seat.post("x" * 1025),
    "nul": lambda seat: seat.post("\x00"),
    "no key": lambda seat: seat.post("x", key=""),
    "long key": lambda seat: seat.post("x", key="k" * 129),
    "role": lambda seat: seat.post("x", role="tool"),
    "no json": lambda seat: seat.post("x", metadata={"a": object()}),
    "long json": lambda seat: seat.post("x", metadata={"a": "x" * 1025}),
    "empty edit": lambda seat: seat.edit("k", ""),
    "nan": lambda seat: seat.edit("k", "x", metadata={"a": float("nan")}),
}


@pytest.mark.parametrize("say", OUTSIDE.values(), ids=OUTSIDE)
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


async def test_answer_of_another_kind() -> None:
    """An answer that does not fit its question is a bug, and said to be one."""
    with pytest.raises(TypeError, match="expected Joined, got Done"):
        await ask(
            lambda mail: mail.answer(Done()),
            lambda answer: Type("ann", True, answer),
            Joined,
        )
