"""When a client is pinged, and when it is gone. Time is virtual, except over a WebSocket."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from trio_chat.clients.engine.clock import Clock
from trio_chat.clients.engine.server import parcel

from .house import Caller, dial_websocket


async def test_pings(caller: Caller, autojump_clock: trio.testing.MockClock) -> None:
    """A client that answers is pinged every `ping_interval`, a tick early at most, for ever."""
    for _ in range(100):
        before = trio.current_time()
        assert await caller.call() == (200, b"2")
        assert 24 <= trio.current_time() - before <= 25
        assert await caller.call("POST", b"3") == (200, b"ok")


async def test_no_pong(caller: Caller, autojump_clock: trio.testing.MockClock) -> None:
    """A client that does not answer is gone after `ping_timeout`; its poll is told."""
    assert await caller.call() == (200, b"2")
    before = trio.current_time()

    assert await caller.call() == (200, b"1")
    assert 20 <= trio.current_time() - before <= 21
    assert (await caller.call())[0] == 400


async def test_messages_are_no_pongs(caller: Caller, autojump_clock: trio.testing.MockClock) -> None:
    """Messages do not stand for the answer, as in the reference."""
    assert await caller.call() == (200, b"2")
    for _ in range(25):
        await caller.call("POST", b"4quiet")
        await trio.sleep(1)

    assert (await caller.call())[0] == 400


async def test_nobody_polls(caller: Caller, autojump_clock: trio.testing.MockClock) -> None:
    """A session that nobody polls is gone in time: no later than the client was told, and a tick early at most."""
    await trio.sleep(43.5)
    assert await caller.call("POST", b"4quiet") == (200, b"ok")
    await trio.sleep(1.5)

    assert (await caller.call())[0] == 400
    assert not caller.engine.sessions


@pytest.mark.parametrize("exempt", [False, True])
async def test_nobody_fetches(caller: Caller, autojump_clock: trio.testing.MockClock, exempt: bool) -> None:
    """A client that does not fetch what waits for it is gone after `outbox_stall`, histories or not."""
    session = caller.session
    session.offer(parcel([b"hello"]), exempt=exempt)
    await trio.sleep(9.5)
    await caller.call("POST", b"4quiet")
    assert not session.closing
    await trio.sleep(2.5)

    assert session.closing
    assert session.statistics().waiting == 0
    assert await caller.call() == (200, b"1")
    assert not caller.engine.sessions


async def test_slow_fetching(caller: Caller, autojump_clock: trio.testing.MockClock) -> None:
    """A client that fetches something now and then may go on, however much waits all the time."""
    session = caller.session
    session.offer(parcel([b"x" * 700_000] * 10), exempt=True)
    for _ in range(9):
        await trio.sleep(9.5)
        assert (await caller.call())[0] == 200
        await caller.call("POST", b"3")
    assert session._polling.exempt

    assert not session.closing


async def test_slow_answer(caller: Caller, autojump_clock: trio.testing.MockClock) -> None:
    """A body that is on its way counts as being fetched, however long that takes and whatever waits behind it."""
    session = caller.session
    session.offer(parcel([b"x" * 700_000] * 2), exempt=True)
    caller.delay = 7.0  # for the head, and for the body
    assert (await caller.call())[0] == 200
    assert not session.closing
    caller.delay = 0.0
    await trio.sleep(9)

    assert (await caller.call())[0] == 200


async def test_ping_that_waits(caller: Caller, autojump_clock: trio.testing.MockClock) -> None:
    """For a ping the client has `ping_timeout`, as it was told, even if that is longer."""
    await trio.sleep(24 + 19)

    assert not caller.session.closing


async def test_pings_over_websocket(start: Any, dial: Any, upgrade: Any) -> None:
    """Over a WebSocket it is the same, whether the session began there or moved. Waits for two pings."""
    served = await start(ping_interval=0.1, ping_timeout=0.1)
    wire = await dial_websocket(dial, served)
    sid = await served.open()
    moved = await upgrade(served, sid)
    await moved.say("5")

    async def answer_once(client: Any) -> None:
        await client.expect_text("2")
        await client.say("3")
        await client.expect_text("2")
        await client.expect_end()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer_once, wire)
        nursery.start_soon(answer_once, moved)
    for told in served.told:
        await told.expect_over()


async def test_clock_stands_still(autojump_clock: trio.testing.MockClock) -> None:
    """Time in which the program stood still is not counted."""
    clock = Clock(0.1)
    assert clock.now() == 0
    await trio.sleep(0.1)
    assert clock.advance() == pytest.approx(0.1)
    await trio.sleep(60)

    assert clock.now() == pytest.approx(0.3)
    assert clock.advance() == pytest.approx(0.3)
