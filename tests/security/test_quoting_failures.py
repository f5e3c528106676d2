"""Exceptions that quote what people say, raised by whatever a program or a driver brings: the log does not have it.

On memory stores and virtual time. What is searched is every record as a handler would write it, with its traceback.
"""

from __future__ import annotations

import asyncio  # noqa: TID251 - what is asked of the bridge is an asyncio function
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import trio
from typing_extensions import override

from trio_chat.cli import main
from trio_chat.errors import TrioChatError
from trio_chat.history import History
from trio_chat.lobby import Lobby, open_lobby
from trio_chat.mail import Post
from trio_chat.seat import PlainWire, Seat, ignore
from trio_chat.settings import Settings
from trio_chat.stores.bridge import open_bridge
from trio_chat.stores.memory import MemoryArchive, MemoryHotStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trio.testing import MockClock

    from trio_chat.mail import Answer, Hearing
    from trio_chat.stores.memory import Moment

WORD = "canary-said"


class Quoting(Exception):
    """Says what was said."""

    def __init__(self) -> None:
        super().__init__(f"cannot do anything with {WORD!r}")


def fail(*_: Any, **__: Any) -> Any:
    """Raise one, because of another, with one on its way."""
    try:
        raise Quoting  # noqa: TRY301 - as it comes out of a driver
    except Quoting as error:
        raise ExceptionGroup(WORD, [error]) from error


class Failing:
    """A store's hook that fails at one call."""

    def __init__(self, call: str) -> None:
        self.call = call

    async def __call__(self, call: str, moment: Moment) -> None:
        await trio.lowlevel.checkpoint()
        if (call, moment) == (self.call, "before"):
            fail()


class Mute(PlainWire):
    """A wire whose codec fails at a message."""

    @override
    def tell(self, hearings: Sequence[Hearing]) -> tuple[Hearing, ...]:
        if any(WORD in repr(hearing) for hearing in hearings):
            fail()
        return super().tell(hearings)


async def say(lobby: Lobby, answer: Callable[[Answer], None] = ignore) -> None:
    """Say the word in a room with a member, and let the room do what it can about it."""
    seat = Seat("r", "ann", lambda mail: lobby.mail("r", mail), lobby.settings)
    with suppress(TrioChatError):
        await seat.take(None)
    lobby.mail("r", Post("ann", "user", WORD, {WORD: WORD}, WORD, answer))
    await trio.sleep(400)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """All that was logged, as a handler writes it."""
    caplog.set_level(logging.DEBUG)
    formatter = logging.Formatter("%(levelname)s %(name)s %(message)s")
    return lambda: "\n".join(formatter.format(record) for record in caplog.records)


@pytest.mark.parametrize("call", ["load", "append", "unsynced", "mark_synced", "dirty", "write", "receipts"])
async def test_failing_store(call: str, said: Callable[[], str], autojump_clock: MockClock) -> None:
    """Whichever call fails."""
    hot = MemoryHotStore(durability="redis", interfere=Failing(call))
    archive = MemoryArchive(interfere=Failing(call))
    async with open_lobby(hot=hot, archive=archive, settings=Settings()) as lobby:
        with trio.move_on_after(1000):
            await say(lobby)

    assert "Quoting" in said()
    assert WORD not in said()


@pytest.mark.parametrize("what", ["the history", "who hears it", "who asked", "the codec"])
async def test_failing_hook(
    what: str, said: Callable[[], str], autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is given the message."""
    if what == "the history":
        monkeypatch.setattr(History, "post", fail)
    elif what == "who hears it":
        hear = Seat.hear
        monkeypatch.setattr(
            Seat,
            "hear",
            lambda self, parcel, droppable: fail() if WORD in repr(parcel) else hear(self, parcel, droppable),
        )
    elif what == "the codec":
        monkeypatch.setattr("trio_chat.seat._WIRE", Mute())
    hot = MemoryHotStore(durability="redis")
    async with open_lobby(hot=hot, archive=MemoryArchive(), settings=Settings()) as lobby:
        await say(lobby, fail if what == "who asked" else ignore)

    assert "Quoting" in said()
    assert WORD not in said()


async def test_failing_task_of_the_driver(said: Callable[[], str]) -> None:
    """What asyncio says of it names its kind."""

    async def work() -> None:
        asyncio.get_running_loop().call_soon(fail, WORD)
        await asyncio.sleep(0.01)

    async with open_bridge() as bridge:
        await bridge.run(work)

    assert "Quoting" in said()
    assert WORD not in said()


def test_failing_server(
    said: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What nobody expected ends it with a line and exit status 1."""
    monkeypatch.setattr("trio_chat.serve.open_app", fail)
    status = main(["serve", "--auth-mode", "insecure"])

    assert status == 1
    assert "the server failed in a way nobody expected: Quoting at test_quoting_failures.py:" in said()
    assert WORD not in said() + "".join(capsys.readouterr())
