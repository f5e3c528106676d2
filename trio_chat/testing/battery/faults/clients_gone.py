"""Clients that come and go in the worst ways."""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import trio

from trio_chat.testing.battery.fault import Fault
from trio_chat.testing.battery.faults.redis_trouble import ask
from trio_chat.testing.battery.faults.trapdoor import TRAPPED, count_tasks
from trio_chat.testing.battery.waits import p99
from trio_chat.testing.frames import frame

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio_chat.testing.battery.scene import Scene

_CUTS = 1000
_SETTLED = 5.0
_AT_ONCE = 50
_TURNS = 3
_LOUD = 4.0
_CUT = 10.0
_SLOWER = 10.0  # milliseconds


async def cut_anywhere(scene: Scene) -> None:
    """C1: a thousand clients cut before, in and after the handshake, and in a frame."""
    server = scene.machine.server
    tasks, descriptors = await count_tasks(scene), server.descriptors
    chance = random.Random(1)  # noqa: S311 - no secret
    limit = trio.CapacityLimiter(_AT_ONCE)
    scene.begin()
    async with trio.open_nursery() as nursery:
        for number in range(_CUTS):
            await limit.acquire_on_behalf_of(number)
            nursery.start_soon(_cut, scene.machine.port, number, chance.random(), limit)
    over = scene.heal()
    scene.require_calm()
    later = await count_tasks(scene)
    patience = _SETTLED + scene.grace
    while trio.current_time() - over < patience and (later > tasks or server.descriptors > descriptors):
        await trio.sleep(0.1)
        later = await count_tasks(scene)
    scene.note(f"tasks {tasks} -> {later}, descriptors {descriptors} -> {server.descriptors}")
    scene.require(later <= tasks, f"{later - tasks} tasks are left")
    scene.require(server.descriptors <= descriptors, "descriptors are left")
    scene.require_at_most(_SETTLED, trio.current_time() - over, "seconds until nothing is left of them")


async def _cut(port: int, number: int, chance: float, limit: trio.CapacityLimiter) -> None:
    """Say some of what a client says, then break the connection, in one of two ways."""
    said = b"".join(
        (
            _HANDSHAKE,
            frame(b'{"type":"hello","user":"cut-%d"}' % number),
            frame(b'{"type":"room:join","room":"room-%d"}' % (number % 20)),
            frame(b'{"type":"message:send","room":"room-%d","content":"%s"}' % (number % 20, b"x" * 200)),
        )
    )
    # The message's own last byte is never sent: nobody shall have to look for it.
    part = said[: int(chance * len(said))]
    try:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        await stream.send_all(part)
        if number % 3:
            await trio.sleep(chance / 20)
        if number % 2:
            stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, bytes([1, 0, 0, 0, 0, 0, 0, 0]))
        stream.socket.close()
    finally:
        limit.release_on_behalf_of(number)


_HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


async def slow_readers(scene: Scene) -> None:
    """C2: readers at 0 and at 1 KB/s, in a room where much is said. They are cut, and nobody else notices.

    Three rooms with such readers take turns with three that are as loud and have none: what loud rooms cost by
    themselves, the others pay in both.
    """
    scene.begin()
    await compare(scene, _TURNS)
    scene.require_calm()


async def compare(scene: Scene, turns: int) -> None:
    """Let rooms be loud without slow readers and with some, in turns, and complain if the others notice those."""
    without: list[float] = []
    beside: list[float] = []
    for turn in range(turns):
        without.append(await _be_loud(scene, f"big-{turn}", ()))
        beside.append(await _be_loud(scene, f"big-slow-{turn}", (0, 1000)))
    scene.heal()
    told = ", ".join(f"{one:.1f} -> {other:.1f}" for one, other in zip(without, beside, strict=True))
    scene.note(f"p99 of the others without them and beside them: {told} ms")
    scene.require_at_most(
        _SLOWER, added(without, beside), "milliseconds by which the p99 of the others is longer"
    )


def added(without: Sequence[float], beside: Sequence[float]) -> float:
    """Return what something adds to a time that was measured without it and beside it, several times each.

    Whatever else the machine does only adds to either, now and then. What is measured is there each time: so the least
    of each is compared. The medians are, too: what adds to most of the times but not to all is found out as well.
    """
    return max(min(beside) - min(without), median(beside) - median(without))


async def _be_loud(scene: Scene, room: str, rates: Sequence[int]) -> float:
    """Let a new room be loud, before readers of these rates, until they are cut. Returns the p99 of everybody else's waits.

    In milliseconds.
    """
    load = scene.load
    talkers = load.add(room, 2)
    await scene.wait_until(lambda: all(client.live for client in talkers), 5, "the talkers are in")
    slow = [_Slow(rate) for rate in rates]
    async with trio.open_nursery() as nursery:
        for one in slow:
            await nursery.start(one.read, scene.machine.port, room)
        began = trio.current_time()
        nursery.start_soon(load.talk, talkers, 50.0)
        await trio.sleep(_LOUD)
        await scene.wait_until(lambda: all(one.stayed for one in slow), _CUT - _LOUD, "slow readers are cut")
        nursery.cancel_scope.cancel()
    for one in slow:
        scene.note(f"{one.rate} B/s: cut after {one.stayed:.1f} s")
    return await p99(scene, began, lambda ack: not ack.room.startswith("big"))


class _Slow:
    """A client that reads so many bytes a second. `stayed` is how many seconds it took until it was cut, 0 before."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.stayed = 0.0

    async def read(
        self, port: int, room: str, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Be in the room until the server has given up.

        It may not be able to say so to somebody who does not read; so the kernel is asked, in a thread, whether it has.
        """
        with trio.socket.socket() as sock:
            sock.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 4096)
            await sock.connect(("127.0.0.1", port))
            await sock.send(_HANDSHAKE + frame(b'{"type":"hello","user":"slow"}'))
            await sock.send(frame(b'{"type":"room:join","room":"%s"}' % room.encode()))
            await sock.recv(1)
            task_status.started()
            came, own = trio.current_time(), sock.getsockname()[1]
            with suppress(OSError):
                while await trio.to_thread.run_sync(_is_connected, port, own):
                    if self.rate:
                        await sock.recv(self.rate // 5)
                    await trio.sleep(0.2)
        self.stayed = trio.current_time() - came


def _is_connected(server: int, client: int) -> bool:
    """Whether the kernel has a connection between these ports of 127.0.0.1 that its server has not closed."""
    connection = f" 0100007F:{server:04X} 0100007F:{client:04X} 01 "
    return connection in Path("/proc/net/tcp").read_text()


async def crowd(scene: Scene) -> None:
    """C3: the server dies under a thousand clients, and all come back at once."""
    machine, rooms = scene.machine, {*scene.load.rooms}
    await scene.wait_until(
        lambda: rooms <= {ack.room for ack in scene.journal.acked}, 10, "something is said in every room"
    )
    scene.begin()
    machine.server.kill()
    await ask(scene, lambda client: client.config_resetstat())
    await machine.server.start()
    up = scene.heal()
    await scene.wait_back(since=up)
    stats = await ask(scene, lambda client: client.info("commandstats"))
    loads = stats.get("cmdstat_multi", {}).get("calls", 0)
    scene.note(f"{loads} loads for {scene.fault.rooms} rooms")
    starving = await scene.bear_starving()
    once = loads == scene.fault.rooms
    scene.require(once, f"{loads} loads for {scene.fault.rooms} rooms", late=starving)


SLOW_READERS = {
    "outbox-stall-seconds": "5",
    "ping-interval-seconds": "25",
    "ping-timeout-seconds": "10",
}
CLIENTS_GONE = (
    Fault("C1", "1,000 clients cut at random points", cut_anywhere, program=TRAPPED),
    Fault(
        "C2",
        "readers at 0 and 1 KB/s among 200",
        slow_readers,
        alone=True,
        settings=SLOW_READERS,
    ),
    Fault(
        "C3",
        "1,000 clients reconnect at once",
        crowd,
        clients=50,
        rate=20,
        # A thousand clients in one process keep the proxy in it waiting, and this is not about Redis.
        settings={"redis-timeout": "5"},
    ),
)
