"""What carries one client's bytes: a plain socket, or a TLS stream.

A channel is one way in and one way out, without an opinion about what it carries. It is closed synchronously.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trio_chat.clients.outbox import Data
    from trio_chat.clients.poller import Poller

Secure: TypeAlias = "trio.SSLStream[trio.SocketStream]"

_RECEIVE: Final = 16384
# No such flag everywhere; Python ignores the signal anyway.
_NO_SIGNAL: Final[int] = getattr(socket, "MSG_NOSIGNAL", 0)


class PlainChannel:
    """A plain socket. It takes bytes without waiting, so that most frames need no task to go out."""

    __slots__ = ("_poller", "_socket")

    secure = False
    batch = 262_144

    def __init__(self, stream: trio.SocketStream, poller: Poller) -> None:
        """Take the socket out of a stream, which is of no use afterwards. TCP_NODELAY is on: the stream did that."""
        self._poller = poller
        self._socket = socket.socket(fileno=stream.socket.detach())
        self._socket.setblocking(False)

    @property
    def send_now(self) -> Callable[[Data], int]:
        """The socket's own way to send what it takes at once. Python ignores the signal of a broken pipe."""
        return self._socket.send

    @property
    def peer(self) -> str:
        """The address of the other end."""
        return _peer(self._socket)

    async def wait_writable(self) -> None:
        """Return when the socket takes bytes. Cancelling is safe."""
        await trio.lowlevel.wait_writable(self._socket)

    async def send(self, pieces: Sequence[Data]) -> int:
        """Send what the socket takes at once, which may be nothing; never waits."""
        try:
            return self._socket.sendmsg(pieces, (), _NO_SIGNAL)
        except BlockingIOError:
            return 0

    async def receive(self) -> bytes:
        """Return the next bytes, b"" if none will come, for whatever reason. Cancelling is safe."""
        while True:
            try:
                await trio.lowlevel.wait_readable(self._socket)
                return self._socket.recv(_RECEIVE)
            except BlockingIOError:
                continue  # woken up for nothing
            except (OSError, trio.ClosedResourceError):
                return b""

    async def pour(self, take: Callable[[bytes], bool]) -> None:
        """Call `take` with what comes until it returns False; with b"" if nothing will come. Cancelling is safe."""
        await self._poller.pour(self._socket, take)

    def half_close(self) -> None:
        """Tell the peer that nothing more will come."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close the socket. Whoever waits for it is woken."""
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()

    def stream(self) -> trio.abc.Stream:
        """Turn this into an ordinary stream, which owns the socket from now on."""
        return trio.SocketStream(trio.socket.from_stdlib_socket(self._socket))


class SecureChannel:
    """A TLS stream. Only a task can write to it, so everything goes through the pump."""

    __slots__ = ("_stream",)

    secure = True
    batch = 16_384
    """One record of TLS, so that progress is seen early."""

    def __init__(self, stream: Secure) -> None:
        """Take over a stream. Its handshake happens when it is first used."""
        self._stream = stream

    @property
    def peer(self) -> str:
        """The address of the other end."""
        return _peer(self._stream.transport_stream.socket)

    @property
    def send_now(self) -> Callable[[Data], int]:
        """Sends nothing: a TLS stream takes no bytes without waiting."""
        return _send_nothing

    async def wait_writable(self) -> None:
        """Return when the socket takes bytes. Cancelling is safe."""
        await self._stream.wait_send_all_might_not_block()

    async def send(self, pieces: Sequence[Data]) -> int:
        """Send all of it. Cancelling breaks the stream."""
        data = b"".join(pieces)
        await self._stream.send_all(data)
        return len(data)

    async def receive(self) -> bytes:
        """Return the next bytes, b"" if none will come, for whatever reason. Cancelling is safe after the handshake."""
        try:
            return bytes(await self._stream.receive_some(_RECEIVE))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return b""

    async def pour(self, take: Callable[[bytes], bool]) -> None:
        """Call `take` with what comes until it returns False; with b"" if nothing will come.

        Cancelling is safe after the handshake.
        """
        while take(data := await self.receive()) and data:
            pass

    def half_close(self) -> None:
        """Do nothing: TLS has no half of a connection to close."""

    def close(self) -> None:
        """Close the socket beneath."""
        self._stream.transport_stream.socket.close()

    def stream(self) -> trio.abc.Stream:
        """Return the stream itself."""
        return self._stream


def _send_nothing(_: Data) -> int:
    return 0


Channel: TypeAlias = PlainChannel | SecureChannel


def _peer(sock: socket.socket | trio.socket.SocketType) -> str:
    try:
        address: Any = sock.getpeername()
    except OSError:
        return "gone"
    if isinstance(address, (str, bytes)):
        return "unix"
    host, port = str(address[0]), str(address[1])
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
