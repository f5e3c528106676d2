"""An Engine.IO server that echoes, for the protocol's official test suite. Not part of the product.

Run it with ``python tests/clients/echo_engineio.py`` and the suite against it; see `docs/socketio.md`.

The suite wants binary messages echoed, which the product refuses. They are added here, outside of it: to the session,
and to the scanner of its WebSocket, which turns a binary frame into the text that polling has for it.
"""

from __future__ import annotations

import argparse
import base64
import struct
from collections.abc import Callable
from functools import partial
from typing import Any

import trio

from trio_chat.clients.engine.server import EngineLink, EngineServer, Parcel, parcel
from trio_chat.clients.frames import Scanner, unmask
from trio_chat.clients.server import ServerLimits, serve_clients

MAX_PAYLOAD = 1_000_000
LIMITS = ServerLimits(message_bytes=MAX_PAYLOAD)


class BinaryScanner(Scanner):
    """Takes short binary frames, each of which comes in one piece, as the suite sends them."""

    def feed(self, data: bytes) -> tuple[list[bytes], bytes]:
        """Take the next bytes, frame by frame as long as they are short and whole."""
        texts: list[bytes] = []
        others = b""
        while data:
            size = 6 + (data[1] & 0x7F) if len(data) > 5 and data[1] & 0x7F < 126 else len(data)
            frame, data = (data, b"") if self.unfinished or len(data) < size else (data[:size], data[size:])
            if frame[0] == 0x82 and len(frame) == size and not self.unfinished:
                texts.append(b"b" + base64.b64encode(unmask(frame[6:], frame[2:6])))
            else:
                more, rest = super().feed(frame)
                texts += more
                others += rest
        return texts, others


class BinaryLink(EngineLink):
    """A session that also takes binary messages."""

    def on_text(self, payload: bytes) -> None:
        """Take a packet."""
        conversation: Any = self._conversation
        if payload[:1] != b"b":
            super().on_text(payload)
        elif not self.closing:
            conversation.on_binary(base64.b64decode(payload[1:]))

    def take_body(self, body: bytes) -> None:
        """Take the packets of a request."""
        for record in body.split(b"\x1e"):
            if record[:1] == b"b":
                self.on_text(record)
            else:
                super().take_body(record)


def binary_parcel(data: bytes) -> Parcel:
    """Wrap a binary message of at most 125 bytes."""
    return Parcel(struct.pack("!BB", 0x82, len(data)) + data, (b"b" + base64.b64encode(data),))


class BinaryServer(EngineServer):
    """Its sessions take binary messages."""

    session_type = BinaryLink

    def _meet(self, link: Any) -> Any:
        link.scanner = BinaryScanner(MAX_PAYLOAD, 128)
        return super()._meet(link)


class Echo:
    """Says what it hears."""

    def __init__(self, link: EngineLink) -> None:
        self.link = link

    def on_text(self, payload: bytes) -> None:
        """Echo a text."""
        self.link.offer(parcel([payload]))

    def on_binary(self, payload: bytes) -> None:
        """Echo a binary message."""
        self.link.offer(binary_parcel(payload))

    def on_closed(self) -> None:
        """Do nothing."""


async def serve(
    factory: Callable[[Any], Any],
    path: str,
    port: int,
    *,
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve as the suites expect it: on loopback, with these times. Tells its port."""
    engine = BinaryServer(
        factory, path=path, limits=LIMITS, ping_interval=0.3, ping_timeout=0.2, max_payload=MAX_PAYLOAD
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(engine.run)
        server = await nursery.start(
            partial(
                serve_clients,
                await trio.open_tcp_listeners(port, host="localhost"),
                engine.routes,
                limits=LIMITS,
                http=engine.http,
                http_paths=engine.routes,
                admit=engine.admit,
            )
        )
        task_status.started(server.port)


def main(factory: Callable[[Any], Any], path: str) -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=3000)
    trio.run(serve, factory, path, parser.parse_args().port)


if __name__ == "__main__":
    main(Echo, "/engine.io/")
