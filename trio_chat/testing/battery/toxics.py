"""What a proxy may do to the bytes of a connection, and how it does that to sockets."""

from __future__ import annotations

import os
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass, field

import trio

_ABORT = struct.pack("ii", 1, 0)  # SO_LINGER with no time: closing resets


@dataclass
class Toxics:
    """What happens to bytes on one way.

    Attributes:
        latency: seconds each byte takes, and up to `jitter` more; order is kept.
        piece: the largest piece in which bytes are sent on; 0 for as they come.
        hole: whether bytes are kept back until this is over.
        swallow: whether bytes disappear.
        cut: a connection is reset after a number of bytes between these, in the middle of whatever that is.
    """

    latency: float = 0.0
    jitter: float = 0.0
    piece: int = 0
    hole: bool = False
    swallow: bool = False
    cut: tuple[int, int] | None = None


@dataclass(eq=False)
class Link:
    """One connection through the proxy."""

    client: trio.SocketStream
    server: trio.SocketStream
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    maimed: bool = False
    """Whether it lacks bytes that were swallowed."""
    over: bool = False
    """Whether it was reset."""
    left: int | None = None
    """How many bytes may pass before it is cut, once that is decided."""


async def send_piece(sink: trio.SocketStream, piece: bytes) -> None:
    """Send a few bytes. Cancelling ends the connection."""
    # Trio's own send is a checkpoint each time, which would make single bytes cost more than they should.
    try:
        sent = os.write(sink.socket.fileno(), piece)
    except BlockingIOError:
        sent = 0
    if sent < len(piece):
        await sink.send_all(piece[sent:])


def abort(sock: trio.socket.SocketType) -> None:
    """Close a socket so that its peer finds the connection reset."""
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
    sock.close()
