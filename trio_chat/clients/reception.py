"""Where a new connection says what it wants: its requests are read and judged, until it is known who takes it.

That is a conversation, for a proper WebSocket handshake, or the HTTP application, for as long as other requests come.
Whoever has nothing proper to ask for is turned away.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeAlias

import trio
from typing_extensions import override

from trio_chat.clients.handshake import (
    HeadReader,
    Refused,
    Request,
    check_upgrade,
    split_target,
    wants_websocket,
)
from trio_chat.clients.transport import Conversation, Link

if TYPE_CHECKING:
    from trio_chat.clients.channel import Channel
    from trio_chat.clients.handshake import Head
    from trio_chat.clients.limits import ServerLimits

Route: TypeAlias = Callable[[Link], Conversation]
HttpApp: TypeAlias = Callable[[trio.abc.Stream, bytes], Awaitable[bytes | None]]
Admit: TypeAlias = Callable[[Request], None]

_UNREAD: Final = 262_144
"""How many bytes of a refused request are still read."""


class Reception:
    """See the module. Lives as long as its server.

    Args:
        routes: by path, what makes a conversation of a link.
        limits: what a client may cost.
        http: takes requests for any other path; see `serve_clients`.
        http_paths: those among `routes` where requests that ask for no WebSocket go to `http`, too.
        admit: looks at each proper handshake; raises `Refused` to turn it away.
    """

    def __init__(
        self,
        routes: Mapping[str, Route],
        limits: ServerLimits,
        *,
        http: HttpApp | None,
        http_paths: Container[str],
        admit: Admit,
    ) -> None:
        self._routes = routes
        self._limits = limits
        self._http = http
        self._http_paths = http_paths
        self._admit = admit

    @override
    def __repr__(self) -> str:
        return f"<Reception {' '.join(self._routes)}>"

    async def receive(self, channel: Channel) -> tuple[Route, Head, Request] | None:
        """Return who takes the connection, and its handshake; None if it came to nothing or was for the HTTP application.

        Cancelling ends the connection.

        Raises:
            Refused: it is neither.
        """
        received = b""
        while True:
            reader = HeadReader(self._limits.request_head)
            head = await self._read_head(channel, reader, received)
            if head is None:
                return None
            path, query = split_target(head)
            route = self._route(path, head)
            if route is not None:
                request = Request(path, query, head.headers, channel.peer, channel.secure)
                check_upgrade(head)
                self._admit(request)
                return route, head, request
            if self._http is None:
                raise Refused(
                    404, f"Nothing is here. WebSocket clients connect to {', '.join(self._routes)}."
                )
            received = await self._http(channel.stream(), reader.received) or b""
            if not received:
                return None

    async def refuse(self, channel: Channel, refused: Refused) -> None:
        """Send the answer and let the client read it: what it still sends is thrown away, up to a point.

        Cancelling ends the connection.
        """
        rest = memoryview(refused.response())
        with suppress(OSError, trio.BrokenResourceError), trio.move_on_after(self._limits.close_timeout):
            while rest:
                await channel.wait_writable()
                rest = rest[await channel.send([rest]) :]
            channel.half_close()
            unread = _UNREAD
            while unread > 0 and (data := await channel.receive()):
                unread -= len(data)

    def _route(self, path: str, head: Head) -> Route | None:
        """Return who takes the request as a WebSocket handshake; None if the HTTP application is to take it."""
        route = self._routes.get(path)
        if route is not None and path in self._http_paths:
            return route if wants_websocket(head) else None
        return route

    async def _read_head(self, channel: Channel, reader: HeadReader, received: bytes) -> Head | None:
        """Read until the head is complete; None if the client left or never said a word."""
        head: Head | None = None
        with trio.move_on_after(self._limits.handshake_timeout) as patience:
            head = await read_head(reader, received, channel.receive)
        if patience.cancelled_caught and reader.received:
            raise Refused(408, f"Expected a request within {self._limits.handshake_timeout:g} seconds.")
        return head


async def read_head(
    reader: HeadReader, received: bytes, receive: Callable[[], Awaitable[bytes]]
) -> Head | None:
    """Read until the head is complete; None if it does not come to that, for `receive` returns b"".

    Cancelling is safe if it is so for `receive`: the reader knows what has come.

    Raises:
        Refused: it is no proper head.
    """
    head = reader.feed(received) if received else None
    while head is None:
        data = await receive()
        if not data:
            return None
        head = reader.feed(data)
    return head
