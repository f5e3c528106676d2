"""What carries texts: a WebSocket, or HTTP requests. They share no code with the server."""

from __future__ import annotations

import json
from contextlib import suppress
from urllib.parse import urlsplit

import trio
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.uri import parse_uri

PATIENCE = 8
"""Seconds after which a test that waits for the other side has failed."""


class Ended(Exception):
    """The server has ended the connection."""

    def __init__(self, code: int | None) -> None:
        super().__init__(code)
        self.code = code
        """The close code; None where the transport has none."""


class WebSocket:
    """A WebSocket. Lives until either side ends it."""

    def __init__(self, stream: trio.SocketStream, url: str) -> None:
        self._stream = stream
        self._protocol = ClientProtocol(parse_uri(url), max_size=None)

    @classmethod
    async def open(cls, url: str) -> WebSocket:
        """Connect and shake hands."""
        place = urlsplit(url)
        carrier = cls(await trio.open_tcp_stream(place.hostname or "", place.port or 80), url)
        carrier._protocol.send_request(carrier._protocol.connect())
        await carrier._flush()
        await carrier.receive()
        return carrier

    async def send(self, text: str) -> None:
        """Send a text."""
        self._protocol.send_text(text.encode())
        await self._flush()

    async def receive(self) -> list[str]:
        """Return the texts that come next, if any. Raises `Ended`."""
        try:
            data = await self._stream.receive_some()
        except trio.BrokenResourceError:
            data = b""
        if data:
            self._protocol.receive_data(data)
        events = self._protocol.events_received()
        await self._flush()
        texts = [
            bytes(event.data).decode()
            for event in events
            if isinstance(event, Frame) and event.opcode is Opcode.TEXT
        ]
        # The texts first: the next call finds the end again.
        if not texts and (not data or self._protocol.close_rcvd is not None):
            close = self._protocol.close_rcvd
            raise Ended(close.code if close is not None else 1006)
        return texts

    async def cut(self) -> None:
        """Lose the connection."""
        self.drop()
        await trio.lowlevel.checkpoint()

    def drop(self) -> None:
        """Lose the connection, at once."""
        self._stream.socket.close()

    async def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            try:
                if data:
                    await self._stream.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return


class Polling:
    """Engine.IO by HTTP requests, each over a connection of its own. Lives until either side ends it."""

    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        self._host, self._port = place.hostname or "", place.port or 80
        self._target = f"{place.path}?EIO=4&transport=polling"
        self._over = False

    @classmethod
    async def open(cls, url: str) -> Polling:
        """Begin a session."""
        carrier = cls(url)
        (text,) = await carrier.receive()
        carrier._target += f"&sid={json.loads(text[1:])['sid']}"
        return carrier

    async def send(self, text: str) -> None:
        """Send a text. If it is not taken, that is the end, which `receive` raises."""
        try:
            await self._request("POST", text.encode())
        except Ended:
            self._over = True

    async def receive(self) -> list[str]:
        """Return the texts that come next. Raises `Ended`."""
        if self._over:
            raise Ended(None)
        return (await self._request("GET")).decode().split("\x1e")

    async def cut(self) -> None:
        """Lose a request in the middle, if anybody is there to take it."""
        with suppress(OSError):
            stream = await self._begin("GET")
            await trio.aclose_forcefully(stream)

    def drop(self) -> None:
        """Be gone; no request is on its way."""

    async def _begin(self, method: str, body: bytes = b"") -> trio.SocketStream:
        stream = await trio.open_tcp_stream(self._host, self._port)
        head = (
            f"{method} {self._target} HTTP/1.1\r\nHost: server\r\nConnection: close\r\n"
            f"Content-Type: text/plain;charset=UTF-8\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        await stream.send_all(head.encode() + body)
        return stream

    async def _request(self, method: str, body: bytes = b"") -> bytes:
        async with await self._begin(method, body) as stream:
            answer = b"".join([part async for part in stream])
        head, _, said = answer.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 "):
            raise Ended(None)
        return said


Carrier = WebSocket | Polling
