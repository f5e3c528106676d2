"""The stream beneath trio-websocket, of a client that sends something else than plain texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from typing_extensions import override

from trio_chat.clients.handshake import canonical

if TYPE_CHECKING:
    from trio_chat.clients.handshake import Head
    from trio_chat.clients.transport import Link


class SlowLane(trio.abc.Stream):
    """The stream beneath one trio-websocket connection. Lives as long as the slow lane.

    It plays the handshake that is long over, and then hands on what is not for the fast lane. trio-websocket's reader
    task is the only one to receive. Closing it closes no socket: that is the link's to do.
    """

    __slots__ = ("_answered", "_head", "_link", "_opened", "_others", "_released")

    def __init__(self, link: Link, head: Head, others: bytes = b"") -> None:
        """Begin with a judged handshake, and what the client has sent for the slow lane so far."""
        self._link = link
        self._head = canonical(head)
        self._others = others
        self._answered = False
        self._opened = trio.Event()
        self._released = False

    def open(self) -> None:
        """Let the client's frames in. Before, trio-websocket sees its handshake only."""
        self._opened.set()

    @override
    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Put a whole frame behind what is already on its way. Never waits for the peer.

        Cancelling is safe: the frame is not sent then.
        """
        await trio.lowlevel.checkpoint()
        if self._answered:
            self._link.carry(bytes(data))
        # The client has had its answer to the handshake.
        self._answered = True

    @override
    async def wait_send_all_might_not_block(self) -> None:
        """Return at once: sending never blocks."""
        await trio.lowlevel.checkpoint()

    @override
    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return what is for trio-websocket; hand texts of the fast lane to the conversation on the way.

        Cancelling is safe.

        Args:
            max_bytes: not kept to. trio-websocket is told to let the stream choose.

        Returns:
            b"" when no more frames will be read: the peer has gone, or has broken the protocol.
        """
        if self._released:
            await trio.lowlevel.checkpoint()
            raise trio.ClosedResourceError("trio-websocket is done with this stream")
        if self._head:
            await trio.lowlevel.checkpoint()
            head, self._head = self._head, b""
            return head
        await self._opened.wait()
        others, self._others = self._others, b""
        return others or await self._link.receive()

    @override
    async def aclose(self) -> None:
        """Note that trio-websocket is done with the stream."""
        self._released = True
        await trio.lowlevel.checkpoint()
