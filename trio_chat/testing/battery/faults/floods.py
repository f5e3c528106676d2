"""Clients that send no end of what says nothing: pings, pongs, and noops of Engine.IO."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import trio
from typing_extensions import override

from trio_chat.testing.battery.fault import Fault
from trio_chat.testing.battery.journal import percentile
from trio_chat.testing.frames import frame, unframe

if TYPE_CHECKING:
    from trio_chat.testing.battery.scene import Scene

_LONG = 2.5
_MANY = 2000
"""How many are sent at once by who does not care."""
_BORNE = 100
"""How many a second by who does: two such seconds may fall into one of the server's."""
_BACK = 0.1
"""Seconds until who was cut is back: this is about signs, and not about handshakes."""
_RATE_LIMITED = 4429
_CLOSE, _PING, _PONG = 8, 9, 10
_SLOWER = 50.0  # milliseconds
_KINDS = {
    "pings": ("/ws", frame(b"", _PING)),
    "pongs": ("/ws", frame(b"", _PONG)),
    "noops": ("/socket.io/?EIO=4&transport=websocket", frame(b"6")),
}


async def flooded(scene: Scene) -> None:
    """C4: one client after the other sends as many of a kind as it can, beside one that sends as many as are borne.

    The former is cut, comes back soon, and goes on. The others wait hardly longer.
    """
    began = scene.begin()
    before = percentile(scene.journal.waits(until=began), 0.99) * 1000
    scene.note(f"p99 of the others before: {before:.1f} ms")
    for kind in _KINDS:
        meanwhile = await _be_flooded(scene, kind) * 1000
        scene.note(f"p99 meanwhile: {meanwhile:.1f} ms")
        what = f"milliseconds by which the p99 of the others is longer while there are {kind}"
        scene.require_at_most(_SLOWER, meanwhile - before, what)
    scene.heal()
    scene.require_no_errors()
    scene.require_calm()


async def _be_flooded(scene: Scene, kind: str) -> float:
    """Return the p99 of the others' waits meanwhile."""
    began = trio.current_time()
    greedy, mannerly = _Flood(kind, _MANY, 0.0), _Flood(kind, _BORNE, 1.0)
    with trio.move_on_after(_LONG):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(greedy.run, scene.machine.port)
            nursery.start_soon(mannerly.run, scene.machine.port)
    scene.note(f"{kind}: {greedy.sent} sent, cut {greedy.ends.total()} times")
    # Who is cut in the middle of sending may not get to hear why.
    told = greedy.ends[_RATE_LIMITED] > 0 and {*greedy.ends} <= {_RATE_LIMITED, None}
    scene.require(told, f"{kind}: who sent too many was cut with {dict(greedy.ends)}")
    scene.require(not mannerly.ends, f"{kind}: cut, though there were no more than are borne")
    return percentile(scene.journal.waits(since=began, until=trio.current_time()), 0.99)


class _Flood:
    """A client that sends signs, `size` of them every so many seconds, and comes back whenever it is cut.

    Attributes:
        sent: how many it has sent.
        ends: how often a connection ended with which code; None for none.
    """

    def __init__(self, kind: str, size: int, pause: float) -> None:
        self.kind = kind
        self.sent = 0
        self.ends = Counter[int | None]()
        self._path, self._sign = _KINDS[kind]
        self._size, self._pause = size, pause

    @override
    def __repr__(self) -> str:
        return f"<_Flood of {self.kind} sent={self.sent} ends={dict(self.ends)}>"

    async def run(self, port: int) -> None:
        """Send until cancelled."""
        while True:
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._pour, stream)
                    self.ends[await self._wait_end(stream)] += 1
                    nursery.cancel_scope.cancel()
            finally:
                stream.socket.close()
            await trio.sleep(_BACK)

    async def _pour(self, stream: trio.SocketStream) -> None:
        head = (
            f"GET {self._path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        try:
            await stream.send_all(head.encode())
            if self._path == "/ws":
                await stream.send_all(frame(b'{"type":"hello","user":"flood"}'))
            while True:
                await stream.send_all(self._sign * self._size)
                self.sent += self._size
                await trio.sleep(self._pause)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            await trio.sleep_forever()  # whoever reads learns of it

    async def _wait_end(self, stream: trio.SocketStream) -> int | None:
        """Read until the connection ends. Returns the close code, None if there is none."""
        buffer = bytearray()
        shaken = False
        while True:
            try:
                data = await stream.receive_some(65_536)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return None
            if not data:
                return None
            buffer += data
            if not shaken and (end := buffer.find(b"\r\n\r\n")) >= 0:
                del buffer[: end + 4]
                shaken = True
            while shaken and (found := unframe(buffer)) is not None:
                if found[0] == _CLOSE:
                    return int.from_bytes(found[1][:2])


FLOODS = (Fault("C4", "clients that flood with pings, pongs and noops", flooded),)
