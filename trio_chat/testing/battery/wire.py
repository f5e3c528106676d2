"""The native wire as a client speaks it, over a WebSocket of its own: nothing here comes from the server's code.

One buffer, no tasks. It answers pings while it is read.
"""

from __future__ import annotations

from typing import Any, Self

import msgspec
import trio
from typing_extensions import override

from trio_chat.testing.frames import CLOSE, PING, PONG, TEXT, frame, unframe

_CHUNK = 65_536
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
        await self._send(frame(b"", PING))

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
            if opcode == TEXT:
                said.append(_decode(payload))
            elif opcode == PING:
                await self._send(frame(payload, PONG))
            elif opcode == PONG:
                self.pongs += 1
            elif opcode == CLOSE:
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
