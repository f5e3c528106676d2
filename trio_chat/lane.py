"""A short cut for texts: taken from the stream before trio-websocket would see them.

1. The head of the answer to the handshake goes to trio-websocket, as does everything if the server does not switch
   protocols.
2. After it a whole, unfragmented text frame is handed to the listener at once, without a task switch. Measured, that
   is what makes a bench in Python fast enough to be of use.
3. Every other frame goes to trio-websocket, which answers pings and closes. The first one of those that carries data
   (a fragment, a binary message) ends the short cut for good, so that messages keep their order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from typing_extensions import override

from trio_chat.clients.frames import TEXT

if TYPE_CHECKING:
    from collections.abc import Callable

_RECEIVE = 65_536
_HEAD_END = b"\r\n\r\n"
_SWITCHING = b"HTTP/1.1 101 "
_CONTROL = 0x08
_TWO_BYTES, _EIGHT_BYTES = 126, 127


class Sieve:
    """Tells a server's texts from everything else. Pure. Lives as long as a connection."""

    __slots__ = ("_held", "_in_head", "_open", "_skip")

    def __init__(self) -> None:
        self._held: bytes = b""
        self._in_head = True
        self._open = True
        self._skip = 0
        """How many bytes of the current frame are still to be handed on."""

    @override
    def __repr__(self) -> str:
        state = "head" if self._in_head else "open" if self._open else "shut"
        return f"<Sieve {state} held={len(self._held)}>"

    def feed(self, data: bytes) -> tuple[list[bytes], bytes]:
        """Take the next bytes. Returns whole texts, in order, and the bytes for trio-websocket. The texts come first."""
        if not self._open:
            return [], data
        data = self._held + data
        self._held = b""
        if not self._in_head:
            return self._scan(data, 0)
        if not data.startswith(_SWITCHING[: len(data)]):
            self._open = False
            return [], data
        end = data.find(_HEAD_END)
        if end < 0:
            self._held = data
            return [], b""
        self._in_head = False
        return self._scan(data, end + len(_HEAD_END))

    def _scan(self, data: bytes, at: int) -> tuple[list[bytes], bytes]:
        texts: list[bytes] = []
        others = [data[:at]]
        size = len(data)
        while at < size:
            if self._skip:
                stop = min(at + self._skip, size)
                others.append(data[at:stop])
                self._skip -= stop - at
                at = stop
                continue
            start, stop = _bounds(data, at)
            first = data[at]
            if first == TEXT:
                if not start or stop > size:
                    self._held = data[at:]
                    break
                texts.append(data[start:stop])
                at = stop
            elif first & _CONTROL:
                if not start:
                    self._held = data[at:]
                    break
                self._skip = stop - at
            else:
                self._open = False
                others.append(data[at:])
                break
        return texts, b"".join(others)


def _bounds(data: bytes, at: int) -> tuple[int, int]:
    """Return where the payload of the frame at `at` begins and ends; zeros if its header is not complete."""
    size = len(data) - at
    if size < 2:  # noqa: PLR2004 - what every header has
        return 0, 0
    length = data[at + 1]
    if length < _TWO_BYTES:
        return at + 2, at + 2 + length
    start = at + (4 if length == _TWO_BYTES else 10)
    if len(data) < start:
        return 0, 0
    return start, start + int.from_bytes(data[at + 2 : start], "big")


class LaneStream(trio.abc.Stream):
    """The stream trio-websocket stands on: everything but texts. Owns the one beneath it.

    Args:
        stream: what carries the connection.
        listen: called with the texts that came at once, in order. It must not fail. None takes no short cut.
        on_end: called when nothing more will come. trio-websocket would wait for ever for the rest of a handshake.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        listen: Callable[[list[bytes]], None] | None,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        self._stream = stream
        self._listen = listen
        self._on_end = on_end
        self._sieve = Sieve()

    @override
    def __repr__(self) -> str:
        return f"<LaneStream {self._sieve!r} on {self._stream!r}>"

    @override
    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return the next bytes that are no text, at least one unless the stream has ended. Cancelling is safe."""
        while True:
            try:
                data = bytes(await self._stream.receive_some(_RECEIVE))
            except trio.BrokenResourceError:
                self._on_end()
                raise
            if not data:
                self._on_end()
                return b""
            if self._listen is None:
                return data
            texts, others = self._sieve.feed(data)
            if texts:
                self._listen(texts)
            if others:
                return others

    @override
    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send everything. Cancelling leaves the connection unusable."""
        await self._stream.send_all(data)

    @override
    async def wait_send_all_might_not_block(self) -> None:
        """Return when there is room. Cancelling is safe."""
        await self._stream.wait_send_all_might_not_block()

    @override
    async def aclose(self) -> None:
        """Close the stream."""
        await self._stream.aclose()
