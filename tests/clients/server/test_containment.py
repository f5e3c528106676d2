"""What a client does, or what fails on its behalf, is noticed by no other."""

from __future__ import annotations

import os
import random
import resource
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio
from websockets.frames import Frame, Opcode

from tests.waiting import wait_for

from .house import handshake

# --- what fails


class Broken:
    """A conversation that fails where it is told to."""

    def __init__(self, link: Any, where: str) -> None:
        self.where = where
        self.link = link
        self.fail("constructor")

    def fail(self, where: str) -> None:
        """Fail if this is the place."""
        if where == self.where:
            raise ValueError("a secret")

    def on_text(self, payload: bytes) -> None:
        """Start a task that closes."""
        self.fail("text")
        self.link.start_soon(self.task)

    def on_closed(self) -> None:
        """Perhaps fail."""
        self.fail("closed")

    async def task(self) -> None:
        """Close, or fail in a nursery of its own."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            self.fail("task")
            self.link.close(1000)


@pytest.mark.parametrize("lane", ["fast", "slow"])
@pytest.mark.parametrize("where", ["constructor", "text", "task", "closed"])
async def test_containment(
    serve: Any, dial: Any, caplog: pytest.LogCaptureFixture, where: str, lane: str
) -> None:
    """A conversation that fails, wherever it does, ends its own connection only, and is logged without content."""
    failing = True

    def meet(link: Any) -> Broken:
        return Broken(link, where if failing else "")

    served = await serve(conversation=meet)
    wire = await dial(served)
    if where == "constructor":
        pass  # the end is on its way already
    elif lane == "slow":
        await wire.say_frame(Opcode.TEXT, b"x", fin=False)
        await wire.say_frame(Opcode.CONT, b"x", fin=True)
    else:
        await wire.say("x")
    await wire.expect_close(1000 if where == "closed" else 1011)
    failing = False
    other = await dial(served)
    await other.say("x")

    await other.expect_close(1000)
    assert "ValueError at test_containment.py:" in caplog.text
    assert "secret" not in caplog.text


async def test_other_links_do_not_notice(serve: Any, dial: Any) -> None:
    """A client next to one that failed goes on echoing, and the tasks are back to where they were."""
    served = await serve()
    other = await dial(served)
    tasks = trio.lowlevel.current_statistics().tasks_living
    wire = await dial(served)
    await wire.say("fail")
    await wire.expect_close(1011)
    await wire.stream.aclose()

    await other.expect_echo()
    await wait_for(lambda: trio.lowlevel.current_statistics().tasks_living == tasks)


async def test_failing_http_application(serve: Any, dial: Any, caplog: pytest.LogCaptureFixture) -> None:
    """An HTTP application that fails ends its connection only, and is logged without what it said."""

    async def application(stream: trio.abc.Stream, received: bytes) -> None:
        await trio.lowlevel.checkpoint()
        raise RuntimeError("a secret")

    served = await serve(http=application)
    wire = await dial(served, shake=False)
    await wire.send(handshake("GET / HTTP/1.1"))
    with trio.fail_after(2):
        assert await wire.stream.receive_some() == b""
    await (await dial(served)).expect_echo()

    assert served.server.statistics().failed == 1
    assert "RuntimeError" in caplog.text
    assert "secret" not in caplog.text


# --- clients that vanish or talk nonsense


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_clients_cut_anywhere(serve: Any, dial: Any) -> None:
    """Clients that vanish in the middle of anything leave no task and no descriptor, and nothing escapes."""
    served = await serve()
    other = await dial(served)
    await other.expect_echo()
    stream = handshake() + Frame(Opcode.TEXT, b"x" * 50).serialize(mask=True) * 2
    tasks, descriptors = trio.lowlevel.current_statistics().tasks_living, open_descriptors()
    for size in range(0, len(stream), 3):
        victim = await trio.open_tcp_stream("127.0.0.1", served.server.port)
        if size % 2:
            victim.socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await victim.send_all(stream[:size])
        await victim.aclose()

    await wait_for(lambda: trio.lowlevel.current_statistics().tasks_living == tasks)
    assert open_descriptors() == descriptors
    assert served.server.statistics().failed == 0
    await other.expect_echo()


def mutated(chance: random.Random) -> bytes:
    """A handshake and some frames, with a few mistakes."""
    stream = bytearray(handshake() + b"".join(bytes(Frame(op, b"x").serialize(mask=True)) for op in Opcode))
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(stream))
        stream[at : at + chance.randint(0, 3)] = chance.randbytes(chance.randint(0, 4))
    return bytes(stream)


@pytest.mark.parametrize("seed", range(10))
async def test_fuzz(serve: Any, dial: Any, seed: int) -> None:
    """Mutated handshakes and frames are answered or dropped; nothing escapes, and a second client echoes.

    Takes a while for the number of its clients.
    """
    chance = random.Random(seed)
    served = await serve()
    other = await dial(served)
    for _ in range(1000):
        stream = mutated(chance)
        async with await trio.open_tcp_stream("127.0.0.1", served.server.port) as victim:
            await victim.send_all(stream)
            await victim.send_eof()
            with trio.fail_after(2), suppress(trio.BrokenResourceError):
                while await victim.receive_some():
                    pass
        await other.expect_echo()

    assert served.server.statistics().failed == 0


# --- trouble of the whole program


async def test_out_of_descriptors(serve: Any, dial: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Without descriptors the accepting pauses, says so once, and goes on when there are some again.

    Takes as long as the pause.
    """
    served = await serve()
    other = await dial(served)
    waiting = trio.socket.socket()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.open("/dev/null", os.O_RDONLY)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        await waiting.connect(("127.0.0.1", served.server.port))
        await wait_for(lambda: "cannot accept" in caplog.text)
        await trio.sleep(0.15)
        await other.expect_echo()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    stream = trio.SocketStream(waiting)
    await stream.send_all(handshake())
    with trio.fail_after(2):
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 101 ")

    assert caplog.text.count("cannot accept") == 1
    assert "accepting clients again" in caplog.text
    await stream.aclose()


async def test_program_that_stood_still(serve: Any, dial: Any) -> None:
    """Time in which the program stood still is not held against the clients."""
    served = await serve(limits={"ping_interval": 0.1, "ping_timeout": 0.1})
    wires = [await dial(served) for _ in range(3)]
    for _ in range(3):
        time.sleep(0.3)  # noqa: ASYNC251 - so does a program stand still
        await trio.lowlevel.checkpoint()
    for wire in wires:
        assert (await wire.next()).opcode is Opcode.PING

    assert len(served.server.links) == 3
