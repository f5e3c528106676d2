"""A server with a conversation that does what it is told, and clients that share no code with it.

`serve` starts a server on a loopback port; `dial` connects a client to it. A `Wire` speaks through the sans-IO
protocol of the `websockets` package, and can also say anything a real client never would.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import pytest
import trio
import trustme
from websockets.client import ClientProtocol
from websockets.frames import Close, Frame, Opcode
from websockets.http11 import Response
from websockets.uri import parse_uri

from trio_chat.clients.frames import text_frame
from trio_chat.clients.server import ClientServer, ServerLimits, serve_clients

PATIENCE = 5
"""Seconds after which a test that waits for the other side has failed."""


class Told:
    """A conversation that echoes, keeps what it heard, and obeys a few words.

    `fail` raises; `close` closes with 4501; `burst` is answered by what `burst` holds.
    """

    burst = b""

    def __init__(self, link: Any) -> None:
        self.link = link
        self.heard: list[bytes] = []
        self.closed = 0
        self.over = trio.Event()

    def on_text(self, payload: bytes) -> None:
        """Keep it, obey it or echo it."""
        assert not self.closed
        self.heard.append(payload)
        match payload:
            case b"fail":
                raise ValueError("a secret that must not be logged")
            case b"close":
                self.link.close(4501, "as you wish")
            case b"burst":
                self.link.offer(self.burst)
            case _:
                self.link.offer(text_frame(payload))

    def on_closed(self) -> None:
        """Count it."""
        self.closed += 1
        self.over.set()


class Served:
    """A running server and every conversation it had."""

    def __init__(
        self, server: ClientServer, conversations: list[Told], secure: ssl.SSLContext | None
    ) -> None:
        self.server = server
        self.conversations = conversations
        self.client_context = secure

    @property
    def last(self) -> Told:
        """The newest conversation."""
        return self.conversations[-1]


class Wire:
    """A client. Everything it expects must come within `PATIENCE`."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.protocol = ClientProtocol(parse_uri("ws://server/ws"), max_size=None)
        self.events: list[Any] = []
        self.raw = b""

    async def send(self, data: bytes) -> None:
        """Send any bytes."""
        with trio.fail_after(PATIENCE):
            await self.stream.send_all(data)

    async def shake_hands(self, path: str = "/ws") -> None:
        """Open the WebSocket."""
        request = self.protocol.connect()
        request.path = path
        self.protocol.send_request(request)
        await self._flush()
        response = await self.next()

        assert isinstance(response, Response), response
        assert response.status_code == 101, response
        assert self.protocol.handshake_exc is None

    async def say(self, text: str) -> None:
        """Send a text."""
        self.protocol.send_text(text.encode())
        await self._flush()

    async def say_frame(self, opcode: Opcode, data: bytes = b"", *, fin: bool = True) -> None:
        """Send a frame the protocol of a proper client knows nothing of."""
        frame = bytearray(Frame(opcode, data).serialize(mask=True))
        frame[0] = fin << 7 | opcode
        await self.send(bytes(frame))

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Send a Close frame."""
        self.protocol.send_close(code, reason)
        await self._flush()

    async def next(self) -> Any:
        """Return the next event (a response or a frame), or None at the end of the stream."""
        with trio.fail_after(PATIENCE):
            while not self.events:
                try:
                    data = await self.stream.receive_some()
                except trio.BrokenResourceError:
                    data = b""
                if not data:
                    return None
                self.raw += data
                self.protocol.receive_data(data)
                self.events += self.protocol.events_received()
                await self._flush()
            return self.events.pop(0)

    async def expect_text(self, text: str) -> None:
        """Expect this text and no other frame."""
        frame = await self.next()

        assert frame == Frame(Opcode.TEXT, text.encode())

    async def expect_echo(self, text: str = "are you there?") -> None:
        """Say something and expect it back."""
        await self.say(text)
        await self.expect_text(text)

    async def expect_close(self, code: int) -> str:
        """Expect a Close frame and then the end of the stream; return the reason."""
        frame = await self.next()
        assert isinstance(frame, Frame), frame
        assert frame.opcode is Opcode.CLOSE, frame
        close = Close.parse(frame.data)

        assert close.code == code, close
        await self.expect_end()
        return close.reason

    async def expect_end(self) -> None:
        """Expect the stream to end without another word."""
        assert await self.next() is None

    async def expect_response(self, status: int) -> bytes:
        """Expect a plain HTTP response and then the end of the stream; return all of it."""
        with trio.fail_after(PATIENCE):
            data = b""
            while chunk := await self.stream.receive_some():
                data += chunk

        assert data.startswith(b"HTTP/1.1 %d " % status), data
        return data

    async def _flush(self) -> None:
        for data in self.protocol.data_to_send():
            if data:
                try:
                    await self.send(data)
                except trio.BrokenResourceError:
                    return


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


@pytest.fixture
async def serve(
    nursery: trio.Nursery, authority: trustme.CA
) -> AsyncIterator[Callable[..., Awaitable[Served]]]:
    """Give a function that starts a server: plain or TLS, with any conversation, with other limits."""

    async def start(
        *, secure: bool = False, conversation: Callable[[Any], Any] = Told, limits: Any = None, **options: Any
    ) -> Served:
        conversations: list[Any] = []
        client_context = None
        if secure:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            authority.issue_cert("server").configure_cert(context)
            client_context = ssl.create_default_context()
            authority.configure_trust(client_context)
            listeners: Any = await trio.open_ssl_over_tcp_listeners(
                0, context, host="127.0.0.1", https_compatible=True
            )
        else:
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")

        def meet(link: Any) -> Any:
            told = conversation(link)
            conversations.append(told)
            return told

        server = await nursery.start(
            partial(serve_clients, listeners, {"/ws": meet}, limits=ServerLimits(**(limits or {})), **options)
        )
        return Served(server, conversations, client_context)

    yield start
    nursery.cancel_scope.cancel()


@pytest.fixture
async def dial() -> AsyncIterator[Callable[..., Awaitable[Wire]]]:
    """Give a function that connects a client to a served server, with its handshake or without."""
    async with AsyncExitStack() as wires:

        async def connect(served: Served, *, shake: bool = True, receive_buffer: int | None = None) -> Wire:
            sock = trio.socket.socket()
            if receive_buffer is not None:
                sock.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, receive_buffer)
            await sock.connect(("127.0.0.1", served.server.port))
            stream: Any = trio.SocketStream(sock)
            if served.client_context is not None:
                stream = trio.SSLStream(
                    stream, served.client_context, server_hostname="server", https_compatible=True
                )
            wires.push_async_callback(trio.aclose_forcefully, stream)
            wire = Wire(stream)
            if shake:
                await wire.shake_hands()
            return wire

        yield connect
