"""The way to somebody who hears both a message and the answer to it is held while they are let out."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio

from trio_chat.lobby import open_lobby
from trio_chat.mail import Changed, Join, Joined, Post
from trio_chat.settings import Settings
from trio_chat.stores.memory import MemoryArchive, MemoryHotStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

    from trio_chat.mail import Answer, Hearing


class AVoice:
    """Says hearings as they are, or fails at changes."""

    def __init__(self) -> None:
        self.failing = False

    def voice(self, room: str) -> AVoice:
        """Speak in all rooms alike."""
        return self

    def tell(self, hearings: Sequence[Hearing]) -> Sequence[Hearing]:
        """Wrap nothing."""
        if self.failing and isinstance(hearings[0], Changed):
            self.failing = False
            raise RuntimeError("a voice that fails")
        return hearings

    def told(self, parcel: object) -> None:
        """Note nothing."""


class AMember:
    """Writes down what it hears, what it is answered, and when it is held."""

    user = "ann"

    def __init__(self) -> None:
        self.wire = AVoice()
        self.diary: list[str] = []
        self.answered = trio.Event()

    def hear(self, parcel: Sequence[Hearing], droppable: bool) -> None:
        """Write it down."""
        self.diary.extend(type(hearing).__name__ for hearing in parcel)

    def take(self, answer: Answer) -> None:
        """Write it down."""
        self.diary.append(type(answer).__name__)
        if not isinstance(answer, Joined):
            self.answered.set()

    def put_out(self, room: str, *, told: bool) -> None:
        """Nothing."""

    def hold(self) -> None:
        """Write it down."""
        self.diary.append("hold")

    def let_go(self) -> None:
        """Write it down."""
        self.diary.append("let go")


async def say(member: AMember) -> list[str]:
    """Join and post; return what happened until there was an answer."""
    async with open_lobby(hot=MemoryHotStore(), archive=MemoryArchive(), settings=Settings()) as lobby:
        lobby.mail("r", Join(member, None, member.take))
        lobby.mail("r", Post("ann", "user", "hello", {}, None, member.take, outlet=member))
        with trio.fail_after(5):
            await member.answered.wait()
        return member.diary


async def test_held_from_the_message_to_the_answer() -> None:
    """Both go out together, and nothing is held longer."""
    diary = await say(AMember())

    assert diary[diary.index("hold") :] == ["hold", "Changed", "Accepted", "let go"]
    assert diary.count("hold") == 1


async def test_let_go_whatever_fails(caplog: pytest.LogCaptureFixture) -> None:
    """A room that cannot tell its members of a message does not keep the sender from hearing anything else."""
    member = AMember()
    member.wire.failing = True
    with caplog.at_level(logging.CRITICAL):
        diary = await say(member)

    assert diary[diary.index("hold") :][:3] == ["hold", "let go", "Unavailable"]
