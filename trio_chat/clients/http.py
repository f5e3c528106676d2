"""HTTP requests on a connection the client server has accepted: an ASGI application on hypercorn's Trio side.

1. hypercorn brings the protocol (h11, keep-alive, ASGI) and its task group; the socket, its limits and its end stay
   ours. `_Connection` does what hypercorn's `TCPServer` does for a socket of its own, for a stream from which a head
   has been read already.
2. One connection is one task, and one more for each request while it is answered.
3. hypercorn gets to see one request at a time, each in an `_Http1` of its own, and only after its head was judged as
   the connection's first was. What comes behind a request waits here, so that we go on reading and notice when the
   client leaves; of that, `_AHEAD` bytes may come before the answer is out.
4. Nothing waits without a limit: between requests `_KEEP_ALIVE`, a response that makes no progress
   `ServerLimits.outbox_stall`, the end `ServerLimits.close_timeout`. How long a request may take is the application's
   business.
5. A response that could not be sent cancels its request: the application's `send` never seems to have succeeded.
6. A proxy may send a WebSocket handshake on a connection it has used for requests: that goes back to the server.
7. HTTP/1.1 only. An offer to speak anything else is overlooked, as RFC 9110 allows.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import h11
import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from typing_extensions import override

from trio_chat.clients.handshake import HeadReader, Refused, wants_websocket
from trio_chat.clients.reception import read_head
from trio_chat.failures import describe

if TYPE_CHECKING:
    from trio_chat.clients.limits import ServerLimits

logger = logging.getLogger(__name__)

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
"""An ASGI 3 application. It is asked for ``http`` only."""

_RECEIVE: Final = 65_536
_SLICE: Final = 65_536
# Longer than the time between two pings, so that a client that polls can answer them on the connection it has.
_KEEP_ALIVE: Final = 30.0
_AHEAD: Final = 65_536
_UNREAD: Final = 1_048_576
"""How many bytes are still read after an answer that was the last."""


class HttpSide:
    """Serves an ASGI application to connections of `serve_clients`. Lives as long as the server."""

    def __init__(self, app: Application, limits: ServerLimits) -> None:
        """Make what `serve_clients` takes as `http`."""
        self._app = app
        self._limits = limits
        self._context = WorkerContext(None)
        self._config = Config()
        self._config.accesslog = self._config.errorlog = None
        self._config.include_server_header = False
        self._config.h11_max_incomplete_size = limits.request_head
        # With a bound, an answer given before the whole body was read would wait for itself for ever.
        self._config.max_app_queue_size = _UNBOUNDED
        self._connections = 0
        self._requests = 0
        self._quiet: trio.Event | None = None

    @override
    def __repr__(self) -> str:
        return f"<HttpSide connections={self._connections} requests={self._requests}>"

    async def wait_quiet(self) -> None:
        """Return when no request is being answered. Cancelling is safe."""
        await trio.lowlevel.checkpoint()
        while self._requests:
            self._quiet = self._quiet or trio.Event()
            await self._quiet.wait()

    async def serve(self, stream: trio.abc.Stream, received: bytes) -> bytes:
        """Answer requests until either side has had enough. Does not close the stream.

        Cancelling cuts the connection and cancels the request that is being answered.

        Returns:
            What was read of a WebSocket handshake that followed; b"" if the connection is over.
        """
        self._connections += 1
        try:
            return await _Connection(self._contained, stream, self._config, self._context, self._limits).run(
                received
            )
        finally:
            self._connections -= 1

    async def _contained(
        self,
        scope: Any,
        receive: Any,
        send: Any,
        sync_spawn: object,  # noqa: ARG002  # what hypercorn calls with
        call_soon: object,  # noqa: ARG002
    ) -> None:
        """Run the application for one request; if it fails, hypercorn answers 500."""
        self._requests += 1
        try:
            await self._app(scope, receive, send)
        except* Exception as failure:  # noqa: BLE001  # whatever it is, it concerns this request only
            _note(failure)
        finally:
            self._requests -= 1
            if not self._requests and self._quiet is not None:
                self._quiet.set()
                self._quiet = None


def _note(failure: BaseException) -> None:
    logger.error("an HTTP request failed: %s", describe(failure))


# hypercorn's annotation wants an int; Trio, whom it hands it to, wants an int or this.
_UNBOUNDED: Final[Any] = math.inf


class _OneRequest(h11.Connection):
    """An h11 connection that reads no further than the end of its request.

    Attributes:
        read: whether that was reached.
    """

    read = False

    @override
    def next_event(self) -> Any:
        """Return the next event of the request. Behind its end nothing ever comes."""
        if self.read:
            return h11.NEED_DATA
        event = super().next_event()
        self.read = isinstance(event, h11.EndOfMessage)
        return event


class _Http1(H11Protocol):
    """hypercorn's HTTP/1.1 for one request and nothing else: neither HTTP/2 nor its WebSockets."""

    def __init__(self, app: Any, config: Config, *rest: Any) -> None:
        super().__init__(app, config, *rest)
        self._one = _OneRequest(h11.SERVER, max_incomplete_event_size=config.h11_max_incomplete_size)
        self.connection = self._one

    @property
    def ahead(self) -> bytes:
        """What has come behind the request, as far as that was read."""
        return self._one.trailing_data[0] if self._one.read else b""

    @override
    async def _check_protocol(self, event: h11.Request) -> None:
        """Overlook an offer of HTTP/2, whichever way it is made."""

    @override
    async def _create_stream(self, request: h11.Request) -> None:
        """Begin an HTTP request, whatever it would like to become."""
        headers = [(name, value) for name, value in request.headers if name != b"upgrade"]
        await super()._create_stream(
            h11.Request(
                method=request.method,
                target=request.target,
                headers=headers,
                http_version=request.http_version,
            )
        )


class _Connection:
    """One connection. Lives as long as `run`."""

    def __init__(
        self, app: Any, stream: trio.abc.Stream, config: Config, context: WorkerContext, limits: ServerLimits
    ) -> None:
        self._app = app
        self._stream = stream
        self._config = config
        self._context = context
        self._limits = limits
        self._sending = trio.Lock()
        self._everything = trio.CancelScope()
        self._reading = trio.CancelScope()
        self._patience = trio.CancelScope()
        self._until = math.inf
        """When to stop waiting for bytes."""
        self._protocol: _Http1 | None = None
        """That of the request that is being answered, or was last."""
        self._answered = False
        self._lost = False

    async def run(self, received: bytes) -> bytes:
        """See `HttpSide.serve`."""
        handshake = b""
        try:
            with self._everything:
                async with TaskGroup() as group:
                    with self._reading:
                        handshake = await self._read(group, received)
                    if self._protocol is not None:
                        await self._protocol.handle(Closed())
        except* h11.LocalProtocolError:
            # hypercorn would finish a response that cannot be finished any more.
            if not self._lost:
                raise
        finally:
            self._protocol = None  # it refers to us
        if not handshake and not self._lost:
            await self._linger()
        return handshake

    async def _read(self, group: TaskGroup, received: bytes) -> bytes:
        """Answer requests until the end, or until a WebSocket handshake comes; return what was read of that."""
        behind: bytes | None = received
        first = True
        try:
            while behind is not None:
                reader = HeadReader(self._limits.request_head)
                head = await read_head(reader, behind, self._receive)
                if head is None:
                    break
                # The server has judged the first one and knows better.
                if wants_websocket(head) and not first:
                    return reader.received
                first = False
                behind = await self._answer(group, reader.received)
        except Refused as refused:
            await self._write(refused.response())
        return b""

    async def _answer(self, group: TaskGroup, received: bytes) -> bytes | None:
        """Have a request answered; return what has come behind it, None if it is the last.

        Args:
            group: where it is answered.
            received: its head, and whatever has come behind that.
        """
        self._protocol = protocol = self._begin(group)
        self._answered = False
        self._until = math.inf
        while received and len(protocol.ahead) <= _AHEAD:
            await protocol.handle(RawData(received))
            received = b"" if self._answered else await self._receive()
            if self._answered:
                return protocol.ahead + received
        return None

    def _begin(self, group: TaskGroup) -> _Http1:
        secure = isinstance(self._stream, trio.SSLStream)
        sock: Any = _socket_of(self._stream)
        return _Http1(
            self._app,
            self._config,
            self._context,
            group,
            ConnectionState({}),
            secure,
            _address(sock.getpeername),
            _address(sock.getsockname),
            self._send,
        )

    async def _receive(self) -> bytes:
        """Return the next bytes, b"" if none will come or none came in time."""
        with (
            suppress(trio.BrokenResourceError, trio.ClosedResourceError),
            trio.CancelScope(deadline=self._until) as self._patience,
        ):
            return bytes(await self._stream.receive_some(_RECEIVE))
        return b""

    async def _send(self, event: Event) -> None:
        """Do what the protocol asks for. It is called from the reader and from the application's task."""
        match event:
            case RawData(data=data):
                async with self._sending:
                    await self._write(data)
            case Updated(idle=idle):
                if idle:
                    self._note_answer()
            case _:
                self._reading.cancel()

    def _note_answer(self) -> None:
        """Know that the answer is out; the connection stays for another request."""
        self._answered = True
        self._until = self._patience.deadline = trio.current_time() + _KEEP_ALIVE
        if self._protocol is not None and self._protocol.ahead:
            self._patience.cancel()  # that may be one already

    async def _write(self, data: bytes) -> None:
        stall = self._limits.outbox_stall or math.inf
        try:
            for start in range(0, len(data), _SLICE):
                with trio.fail_after(stall):
                    await self._stream.send_all(data[start : start + _SLICE])
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            self._cut()
            await trio.lowlevel.checkpoint()  # where whoever sends is cancelled
        except trio.Cancelled:
            self._cut()  # half a response may be out
            raise

    def _cut(self) -> None:
        self._lost = True
        self._everything.cancel()

    async def _linger(self) -> None:
        """End in good order: closing with bytes unread would reset the connection before the answer is read.

        Nobody is read for ever: what is still unread then was not going to end.
        """
        with (
            trio.move_on_after(self._limits.close_timeout),
            suppress(trio.BrokenResourceError, trio.ClosedResourceError),
        ):
            if isinstance(self._stream, trio.abc.HalfCloseableStream):
                await self._stream.send_eof()
            unread = _UNREAD
            while unread > 0 and (data := await self._stream.receive_some(_RECEIVE)):
                unread -= len(data)


def _socket_of(stream: trio.abc.Stream) -> Any:
    wrapped: Any = stream
    return wrapped.transport_stream.socket if isinstance(stream, trio.SSLStream) else wrapped.socket


def _address(name: Callable[[], Any]) -> tuple[str, int] | None:
    """Return host and port; None for a Unix socket, or if the other end has gone."""
    try:
        address: Any = name()
    except OSError:
        return None
    return None if isinstance(address, (str, bytes)) else (str(address[0]), int(address[1]))
