"""The native wire as a client speaks it, over a WebSocket of its own: nothing here comes from the server's code.

One buffer, no tasks. It answers pings while it is read.
"""

from __future__ import annotations

import struct
from typing import Any, Self

import msgspec
import trio
from typing_extensions import override

_CHUNK = 65_536
_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10
_KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # the sample of RFC 6455; it need not be secret
_HEADS = 65_536

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Gone(Exception):
    """The connection has ended. `code` is the close code, 1006 for none."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Wire:
    """A connection. Lives from `open` to `abort`, or until `receive` raises `Gone`."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._buffer = bytearray()
        self._gone: Gone | None = None
        self._sending = trio.Lock()
        self.pongs = 0

    @override
    def __repr__(self) -> str:
        return f"<Wire buffered={len(self._buffer)}>"

    @classmethod
    async def open(cls, port: int, *, patience: float = 10.0) -> Self:
        """Connect to 127.0.0.1 and shake hands. Cancelling ends the connection.

        Raises:
            Gone: nobody is there, or the server does not want us.
        """
        try:
            with trio.fail_after(patience):
                stream = await trio.open_tcp_stream("127.0.0.1", port)
        except (OSError, trio.TooSlowError):
            raise Gone(1006) from None
        wire = cls(stream)
        try:
            with trio.fail_after(patience):
                await wire._shake_hands(port)
        except (trio.TooSlowError, trio.BrokenResourceError):
            wire.abort()
            raise Gone(1006) from None
        except BaseException:
            wire.abort()
            raise
        return wire

    async def _shake_hands(self, port: int) -> None:
        head = (
            f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {_KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        await self.stream.send_all(head.encode())
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > _HEADS:
                raise Gone(1006)
            await self._read()
        if not self._buffer.startswith(b"HTTP/1.1 101"):
            raise Gone(1006)
        del self._buffer[: end + 4]

    async def say(self, kind: str, **fields: Any) -> None:
        """Send a request. Cancelling leaves the connection unusable. Raises `Gone`."""
        await self._send(frame(_encode({"type": kind, **fields})))

    async def ping(self) -> None:
        """Send a ping; `pongs` counts the answers. Raises `Gone`."""
        await self._send(frame(b"", _PING))

    async def receive(self) -> list[dict[str, Any]]:
        """Wait for what the server says next, and return all of it that is here. Cancelling is safe.

        Raises:
            Gone: it has nothing more to say.
        """
        while True:
            said: list[dict[str, Any]] = []
            try:
                await self._take_frames(said)
            except Gone as gone:
                self._gone = gone
            if said:
                # Also what came right before the end.
                return said
            if self._gone is not None:
                raise self._gone
            await self._read()

    async def _take_frames(self, said: list[dict[str, Any]]) -> None:
        while (found := unframe(self._buffer)) is not None:
            opcode, payload = found
            if opcode == _TEXT:
                said.append(_decode(payload))
            elif opcode == _PING:
                await self._send(frame(payload, _PONG))
            elif opcode == _PONG:
                self.pongs += 1
            elif opcode == _CLOSE:
                raise Gone(int.from_bytes(payload[:2]) if len(payload) > 1 else 1005)

    def abort(self) -> None:
        """End the connection at once, without goodbye."""
        self.stream.socket.close()

    async def _read(self) -> None:
        try:
            data = await self.stream.receive_some(_CHUNK)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            data = b""
        if not data:
            raise Gone(1006)
        self._buffer += data

    async def _send(self, data: bytes) -> None:
        async with self._sending:
            try:
                await self.stream.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                raise Gone(1006) from None


def frame(payload: bytes, opcode: int = _TEXT) -> bytes:
    """Return a whole frame as clients send it. Its mask is zero, which is a mask as good as any on a loopback."""
    size = len(payload)
    if size < 126:  # noqa: PLR2004 - RFC 6455, section 5.2, as are the other numbers
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | size)
    elif size < 65_536:  # noqa: PLR2004
        head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, size)
    return head + b"\0\0\0\0" + payload


def unframe(buffer: bytearray) -> tuple[int, bytes] | None:
    """Take a whole, unmasked frame off the front of the buffer; None if there is none yet."""
    if len(buffer) < 2:  # noqa: PLR2004
        return None
    size, start = buffer[1] & 0x7F, 2
    if size >= 126:  # noqa: PLR2004
        start = 4 if size == 126 else 10  # noqa: PLR2004
        if len(buffer) < start:
            return None
        size = int.from_bytes(buffer[2:start])
    if len(buffer) < start + size:
        return None
    opcode, payload = buffer[0] & 0x0F, bytes(buffer[start : start + size])
    del buffer[: start + size]
    return opcode, payload
