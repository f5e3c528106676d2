"""Connections in memory: streams that hold so many bytes, a listener for the real server, and switches that break them.

Nothing is lost or reordered on the way but by a cut, which is what TCP promises.
"""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import trio
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterator


class Pipe:
    """One direction of a connection. Lives as long as it.

    Args:
        room: how many bytes it takes before the sender has to wait.
    """

    def __init__(self, room: float) -> None:
        self._room = room
        self._held = bytearray()
        self._ended = False
        self._broken = False
        self._paused = False
        self._changed = trio.lowlevel.ParkingLot()

    @override
    def __repr__(self) -> str:
        return f"<Pipe held={len(self._held)}{' broken' if self._broken else ''}>"

    async def send(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of it. Cancelling may leave a part of it sent."""
        rest = memoryview(data)
        await trio.lowlevel.checkpoint()
        while rest:
            await self.wait_writable()
            if self._broken or self._ended:
                raise trio.BrokenResourceError("the connection is over")
            taken = rest[: int(min(len(rest), self._room - len(self._held)))]
            self._held += taken
            rest = rest[len(taken) :]
            self._changed.unpark_all()

    def send_nowait(self, data: bytes) -> None:
        """Send all of it at once, whatever it holds. Does nothing if the connection is over."""
        if not (self._broken or self._ended):
            self._held += data
            self._changed.unpark_all()

    async def wait_writable(self) -> None:
        """Return when it takes bytes, or never will. Cancelling is safe."""
        while len(self._held) >= self._room and not (self._broken or self._ended):
            await self._changed.park()

    async def receive(self) -> bytes:
        """Return the next bytes, b"" at the end. Cancelling is safe."""
        while self._paused or not (self._held or self._ended or self._broken):
            await self._changed.park()
        data, self._held = bytes(self._held), bytearray()
        self._changed.unpark_all()
        return data

    def end(self) -> None:
        """Send nothing more. What is under way arrives."""
        self._ended = True
        self._changed.unpark_all()

    def cut(self, arrive: int) -> None:
        """Break it: of what is under way so many bytes arrive."""
        if not self._broken:
            self._broken = True
            self._paused = False
            del self._held[arrive:]
            self._changed.unpark_all()

    def pause(self, paused: bool) -> None:
        """Let nothing arrive, or let it again."""
        self._paused = paused and not self._broken
        self._changed.unpark_all()


class _Wire:
    """What the server asks of the socket beneath a stream."""

    def __init__(self, stream: Stream) -> None:
        self.socket = self
        self._stream = stream

    def getpeername(self) -> str:
        return "in memory"

    def close(self) -> None:
        self._stream.close()


class Stream(trio.abc.Stream):
    """The server's end of a connection."""

    def __init__(self, incoming: Pipe, outgoing: Pipe) -> None:
        self.transport_stream = _Wire(self)
        self._incoming = incoming
        self._outgoing = outgoing
        self._closed = False

    @override
    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self._closed:
            raise trio.ClosedResourceError
        await self._outgoing.send(data)

    @override
    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()
        await self._outgoing.wait_writable()

    @override
    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if self._closed:
            raise trio.ClosedResourceError
        await trio.lowlevel.checkpoint()
        return await self._incoming.receive()

    def close(self) -> None:
        """End it. What was sent arrives."""
        self._closed = True
        self._outgoing.end()
        self._incoming.cut(0)

    @override
    async def aclose(self) -> None:
        self.close()
        await trio.lowlevel.checkpoint()


class Connection:
    """A client's end of a connection. Lives until `close` or `cut`.

    Attributes:
        up: what the client sends.
        down: what it is sent.
    """

    def __init__(self, room: float) -> None:
        self.up = Pipe(math.inf)
        self.down = Pipe(room)
        self.stream = Stream(self.up, self.down)

    @override
    def __repr__(self) -> str:
        return f"<Connection up={self.up!r} down={self.down!r}>"

    def cut(self, arrive: int = 0) -> None:
        """Break it, for both sides at once."""
        self.up.cut(0)
        self.down.cut(arrive)

    def close(self) -> None:
        """Be done with it. What was sent arrives; nothing is read any more."""
        self.up.end()
        self.down.cut(0)


class Network:
    """All connections to the process there is, or is not. Lives as long as a simulation.

    Args:
        room: how many bytes a connection takes on the way to a client.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._door: trio.MemorySendChannel[Stream] | None = None
        self._connections: list[Connection] = []

    @override
    def __repr__(self) -> str:
        return f"<Network {'open' if self._door else 'closed'} connections={len(self._connections)}>"

    def open(self) -> Listener:
        """Let clients in from now on, to this listener."""
        self._door, receive = trio.open_memory_channel[Any](math.inf)
        return Listener(receive)

    def connect(self) -> Connection | None:
        """Return a connection, or None if nobody listens."""
        if self._door is None:
            return None
        connection = Connection(self._room)
        try:
            self._door.send_nowait(connection.stream)
        except trio.BrokenResourceError:
            return None
        self._connections.append(connection)
        return connection

    def shut(self) -> None:
        """Let nobody in any more."""
        self._door = None

    def drop(self) -> None:
        """End every connection, and let nobody in: the process is gone. What it had sent arrives."""
        self.shut()
        for connection in self._taken():
            connection.stream.close()

    def _taken(self) -> Iterator[Connection]:
        taken, self._connections = self._connections, []
        yield from taken


class Listener(trio.abc.Listener[Stream]):
    """Where the server accepts connections."""

    def __init__(self, arrivals: trio.MemoryReceiveChannel[Stream]) -> None:
        self._arrivals = arrivals

    @override
    async def accept(self) -> Stream:
        return await self._arrivals.receive()

    @override
    async def aclose(self) -> None:
        """Turn away who has not been accepted."""
        with suppress(trio.WouldBlock, trio.EndOfChannel):
            while True:
                self._arrivals.receive_nowait().close()
        await self._arrivals.aclose()
