"""A network between clients and a server that can fail: a TCP proxy on loopback."""

from __future__ import annotations

import socket
import struct
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_ABORT = struct.pack("ii", 1, 0)
"""For `SO_LINGER`: closing resets, and what is on its way is lost."""


class Network:
    """Carries connections to a server. Lives as long as the block of `network_to`.

    Args:
        host: of the server.
        port: of the server.
    """

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._links: dict[trio.SocketStream, trio.SocketStream] = {}
        self._ghosts: list[trio.SocketStream] = []
        self._mute = False

    def cut(self) -> None:
        """Reset all connections, at both ends. New ones may be made at once."""
        self._mute = False
        for ends in list(self._links.items()):
            for end in ends:
                _reset(end)

    def vanish(self) -> None:
        """Reset all connections at the clients' end. The server is not told, and goes on believing in them."""
        self._mute = False
        for client, server in list(self._links.items()):
            self._ghosts.append(server)
            _reset(client)

    def close(self) -> None:
        """End what has vanished."""
        for server in self._ghosts:
            server.socket.close()

    def mute(self) -> None:
        """Lose everything the server says, until all connections are cut."""
        self._mute = True

    async def carry(self, client: trio.SocketStream) -> None:
        """Carry a connection until either end closes it. Cancelling closes both."""
        try:
            server = await trio.open_tcp_stream(*self._server)
        except OSError:
            return
        self._links[client] = server
        try:
            async with trio.open_nursery() as nursery:
                for ends in ((client, server), (server, client)):
                    nursery.start_soon(self._pump, *ends, nursery.cancel_scope)
        finally:
            del self._links[client]
            if server not in self._ghosts:
                server.socket.close()

    async def _pump(self, source: trio.SocketStream, sink: trio.SocketStream, over: trio.CancelScope) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async for part in source:
                if not (self._mute and sink in self._links):
                    await sink.send_all(part)
        over.cancel()


def _reset(stream: trio.SocketStream) -> None:
    if stream.socket.fileno() >= 0:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
        stream.socket.close()


@asynccontextmanager
async def network_to(url: str) -> AsyncIterator[tuple[Network, str]]:
    """Have a network to a server for as long as the block, which gets it and the URL to use instead."""
    place = urlsplit(url)
    assert place.hostname is not None
    assert place.port is not None
    network = Network(place.hostname, place.port)
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, network.carry, 0, host="127.0.0.1")
        listeners: list[trio.SocketListener] = await nursery.start(serve)
        port = listeners[0].socket.getsockname()[1]
        try:
            yield network, f"http://127.0.0.1:{port}"
        finally:
            network.close()
            nursery.cancel_scope.cancel()
