"""The parts of a session by themselves."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from websockets.frames import Frame, Opcode

from trio_chat.clients.engine.clock import Clock
from trio_chat.clients.engine.judge import EngineRefused, judge, read_query
from trio_chat.clients.engine.polling import Overlap, Polling
from trio_chat.clients.engine.server import parcel

from .house import Caller


def test_query() -> None:
    """Of a query, three parameters count, and of those the last."""
    asked = read_query("EIO=3&t=x&EIO=4&sid=a%2Bb&transport=polling&b64=1")

    assert (asked.transport, asked.protocol, asked.sid) == ("polling", "4", "a+b")


def test_judge_upgrades() -> None:
    """A WebSocket for a session is let through whatever carries it; a plain request for one is not."""
    asked = read_query("EIO=4&sid=a&transport=websocket")
    judge(asked, "GET", "polling", upgrade=True)
    judge(asked, "GET", "websocket", upgrade=True)

    with pytest.raises(EngineRefused):
        judge(asked, "GET", "polling", upgrade=False)


class Owner:
    """Nobody."""

    def outbox_full(self) -> None:
        """Do nothing."""


async def test_cancelled_poll() -> None:
    """A poll that is cancelled takes nothing with it, and leaves room for another."""
    polling = Polling(Owner(), 100, 100)
    with trio.CancelScope() as scope:
        scope.cancel()
        polling.offer([b"4x"])
        await polling.next_body()

    assert await polling.next_body() == b"4x"
    assert polling.waiting == 0


async def test_overlapping_polls(nursery: trio.Nursery) -> None:
    """A second poll overlaps; the first one is not disturbed."""
    polling = Polling(Owner(), 100, 100)
    nursery.start_soon(polling.next_body)
    await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(Overlap):
        await polling.next_body()
    polling.offer([b"4x"])
    await trio.testing.wait_all_tasks_blocked()

    assert repr(polling) == "<Polling open packets=0 waiting=0>"


async def test_representations(caller: Caller) -> None:
    """What lives long says what it is, and no secret."""
    session = caller.session

    assert repr(caller.app) == "<PollingApp /engine.io/ max_payload=1000000>"
    assert repr(session._tasks) == "<Tasks open tasks=0>"
    assert repr(Clock(0.5)) == "<Clock time=0.000 tick=0.5>"
    assert caller.sid not in repr(session)


def test_parcel() -> None:
    """A parcel holds the same messages both ways."""
    made = parcel([b"a", b"bc"])

    assert made.packets == (b"4a", b"4bc")
    assert made.frames == Frame(Opcode.TEXT, b"4a").serialize(mask=False) + Frame(
        Opcode.TEXT, b"4bc"
    ).serialize(mask=False)
