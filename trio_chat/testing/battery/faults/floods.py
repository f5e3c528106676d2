"""Clients that send no end of what says nothing: pings, pongs, and noops of Engine.IO."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from typing_extensions import override

from trio_chat.testing.battery.fault import Fault
from trio_chat.testing.battery.faults.intruder import Intruder
from trio_chat.testing.battery.journal import percentile
from trio_chat.testing.battery.waits import p99
from trio_chat.testing.frames import PING, PONG, frame

if TYPE_CHECKING:
    from trio_chat.testing.battery.scene import Scene

_LONG = 2.5
_MANY = 2000
"""How many are sent at once by who does not care."""
_BORNE = 100
"""How many a second by who does: two such seconds may fall into one of the server's."""
_RATE_LIMITED = 4429
_SLOWER = 50.0  # milliseconds
_HELLO = frame(b'{"type":"hello","user":"flood"}')
_KINDS = {
    "pings": ("/ws", _HELLO, frame(b"", PING)),
    "pongs": ("/ws", _HELLO, frame(b"", PONG)),
    "noops": ("/socket.io/?EIO=4&transport=websocket", b"", frame(b"6")),
}
"""Where a client connects, what it begins with, and the sign."""


async def flooded(scene: Scene) -> None:
    """C4: one client after the other sends as many of a kind as it can, beside one that sends as many as are borne.

    The former is cut, comes back soon, and goes on. The others wait hardly longer.
    """
    began = scene.begin()
    before = percentile(scene.journal.waits(until=began), 0.99) * 1000
    scene.note(f"p99 of the others before: {before:.1f} ms")
    for kind in _KINDS:
        meanwhile = await _be_flooded(scene, kind)
        scene.note(f"p99 meanwhile: {meanwhile:.1f} ms")
        what = f"milliseconds by which the p99 of the others is longer while there are {kind}"
        scene.require_at_most(_SLOWER, meanwhile - before, what)
    scene.heal()
    scene.require_no_errors()
    scene.require_calm()


async def _be_flooded(scene: Scene, kind: str) -> float:
    """Return the p99 of the others' waits meanwhile, in milliseconds."""
    began = trio.current_time()
    greedy, mannerly = _Signs(kind, _MANY, 0.0), _Signs(kind, _BORNE, 1.0)
    with trio.move_on_after(_LONG):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(greedy.run, scene.machine.port)
            nursery.start_soon(mannerly.run, scene.machine.port)
    meanwhile = await p99(scene, began, lambda _: True)
    scene.note(f"{kind}: {greedy.sent} sent, cut {greedy.ends.total()} times")
    # Who is cut in the middle of sending may not get to hear why.
    told = greedy.ends[_RATE_LIMITED] > 0 and {*greedy.ends} <= {_RATE_LIMITED, None}
    scene.require(told, f"{kind}: who sent too many was cut with {dict(greedy.ends)}")
    scene.require(not mannerly.ends, f"{kind}: cut, though there were no more than are borne")
    return meanwhile


class _Signs(Intruder):
    """Sends signs of a kind, `size` of them every so many seconds. `sent` is how many it has sent."""

    def __init__(self, kind: str, size: int, pause: float) -> None:
        path, self._hello, self._sign = _KINDS[kind]
        super().__init__(path)
        self.sent = 0
        self._size, self._pause = size, pause

    @override
    async def pour(self, stream: trio.SocketStream) -> None:
        """Send until cancelled."""
        if self._hello:
            await stream.send_all(self._hello)
        while True:
            await stream.send_all(self._sign * self._size)
            self.sent += self._size
            await trio.sleep(self._pause)


FLOODS = (Fault("C4", "clients that flood with pings, pongs and noops", flooded),)
