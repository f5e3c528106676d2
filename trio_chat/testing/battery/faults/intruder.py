"""Somebody who sends as fast as the line takes it, and comes back whenever they are cut. What they send others say."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter

import trio
from typing_extensions import override

from trio_chat.testing.frames import CLOSE, TEXT, unframe

_BACK = 0.1
"""Seconds until who was cut is back: this is about what is sent, and not about handshakes."""


class Intruder(ABC):
    """See the module. Lives as long as `run`.

    Args:
        path: where it connects.

    Attributes:
        ends: how often a connection ended with which close code; None for none.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self.ends = Counter[int | None]()

    @override
    def __repr__(self) -> str:
        return f"<{type(self).__name__} ends={dict(self.ends)}>"

    @abstractmethod
    async def pour(self, stream: trio.SocketStream) -> None:
        """Send until cancelled."""

    def hear(self, text: bytes) -> None:  # noqa: B027 - many do not listen
        """Take what the server says."""

    def note_end(self) -> None:  # noqa: B027 - nor do they mind
        """Know that the connection is over; of it nothing more is heard."""

    async def run(self, port: int) -> None:
        """Send until cancelled."""
        while True:
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._send, stream)
                    self.ends[await self._wait_end(stream)] += 1
                    nursery.cancel_scope.cancel()
            finally:
                stream.socket.close()
                self.note_end()
            await trio.sleep(_BACK)

    async def _send(self, stream: trio.SocketStream) -> None:
        head = (
            f"GET {self._path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        try:
            await stream.send_all(head.encode())
            await self.pour(stream)
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
                opcode, payload = found
                if opcode == CLOSE:
                    return int.from_bytes(payload[:2])
                if opcode == TEXT:
                    self.hear(payload)
