"""Accept clients, judge their handshakes, and contain each connection's failure in one place.

1. `serve_clients` runs until it is cancelled, which cuts everything, or until `ClientServer.aclose` has ended it in
   good order: no new clients, a Close frame to each, a bounded wait, then the cut.
2. Every connection is one task, which rests while one `Poller` reads for all. Whatever `Exception` comes out of it
   is logged in `ClientServer._contain`, without its message, and ends that connection only.
3. One ticking task looks after the time limits of all connections, so that an idle one costs no task for that.
4. Running out of descriptors or memory pauses the accepting; it never ends it.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec
import trio
from typing_extensions import override

from trio_chat.clients.channel import Channel, PlainChannel, Secure, SecureChannel
from trio_chat.clients.handshake import Head, Refused, Request
from trio_chat.clients.limits import ServerLimits
from trio_chat.clients.poller import Poller
from trio_chat.clients.reception import Admit, HttpApp, Reception, Route
from trio_chat.clients.transport import Link
from trio_chat.errors import CloseCode
from trio_chat.failures import describe

if TYPE_CHECKING:
    from trio_chat.gathering import Gathering

__all__ = ["ClientServer", "ServerLimits", "ServerStatistics", "serve_clients"]

logger = logging.getLogger(__name__)

Listener: TypeAlias = "trio.SocketListener | trio.SSLListener[trio.SocketStream]"
_PAUSE: Final = 0.1
_SLOWEST_TICK: Final = 1.0


class ServerStatistics(msgspec.Struct, frozen=True):
    """A server at one moment, and since its start.

    Attributes:
        links: clients connected now, those saying goodbye included.
        accepted: connections accepted.
        opened: handshakes that succeeded.
        refused: requests that were answered with an HTTP status.
        failed: connections ended by an error of ours.
        closed: connections that we closed, by code.
    """

    links: int
    accepted: int
    opened: int
    refused: int
    failed: int
    closed: Mapping[int, int] = {}


async def serve_clients(
    listeners: Sequence[Listener],
    routes: Mapping[str, Route],
    *,
    limits: ServerLimits | None = None,
    http: HttpApp | None = None,
    http_paths: Container[str] = (),
    admit: Admit | None = None,
    gathering: Gathering | None = None,
    task_status: trio.TaskStatus[ClientServer] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve WebSocket clients until cancelled, or until `ClientServer.aclose` was called.

    Cancelling cuts every connection; each conversation still hears `on_closed`.

    Args:
        listeners: plain or TLS; closed in the end.
        routes: by path, what makes a conversation of a link. It may offer frames at once.
        limits: what a client may cost.
        http: takes requests for any other path: a stream, and what has been read of it so far. It returns what
            it has read of a WebSocket handshake that followed, the stream being as it was; if nothing, the stream is
            closed. Without it they get a 404.
        http_paths: those among `routes` where requests that ask for no WebSocket go to `http`, too.
        admit: looks at each proper handshake before it is answered; raises `Refused` to turn it away.
        gathering: lasts while clients that have said something are read, all in one go.
        task_status: told the server once it accepts.
    """
    with closing(Poller(gathering)) as poller:
        async with trio.open_nursery() as connections:
            server = ClientServer(
                connections,
                poller,
                listeners,
                routes,
                limits=limits or ServerLimits(),
                http=http,
                http_paths=http_paths,
                admit=admit,
            )
            connections.start_soon(poller.run, name="poller")
            connections.start_soon(server.accept_clients)
            connections.start_soon(server.tick)
            task_status.started(server)


class ClientServer:
    """The connections of one `serve_clients`. Lives as long as it."""

    def __init__(
        self,
        connections: trio.Nursery,
        poller: Poller,
        listeners: Sequence[Listener],
        routes: Mapping[str, Route],
        *,
        limits: ServerLimits,
        http: HttpApp | None,
        http_paths: Container[str],
        admit: Admit | None,
    ) -> None:
        """Make a server; its tasks live in the nursery `connections`. See `serve_clients`."""
        self._connections = connections
        self._poller = poller
        self._listeners = listeners
        self._limits = limits
        self._admit = admit
        self._reception = Reception(routes, limits, http=http, http_paths=http_paths, admit=self._judge)
        self._links: set[Link] = set()
        self._accepting = trio.CancelScope()
        self._stopping = False
        self._empty = trio.Event()
        self._accepted = self._opened = self._refused = self._failed = 0
        self._closed: Counter[int] = Counter()

    @override
    def __repr__(self) -> str:
        state = "stopping" if self._stopping else "accepting"
        return (
            f"<ClientServer {state} links={len(self._links)} accepted={self._accepted} failed={self._failed}>"
        )

    @property
    def port(self) -> int:
        """The TCP port of the first listener. Raises `LookupError` if that is no TCP listener."""
        listener = self._listeners[0]
        beneath = listener.transport_listener if isinstance(listener, trio.SSLListener) else listener
        if not isinstance(beneath, trio.SocketListener) or beneath.socket.family == trio.socket.AF_UNIX:
            raise LookupError(f"{beneath!r} has no port")
        return int(beneath.socket.getsockname()[1])

    @property
    def links(self) -> frozenset[Link]:
        """The clients connected now, those saying goodbye included."""
        return frozenset(self._links)

    def statistics(self) -> ServerStatistics:
        """Return the counts as they are now."""
        return ServerStatistics(
            links=len(self._links),
            accepted=self._accepted,
            opened=self._opened,
            refused=self._refused,
            failed=self._failed,
            closed=dict(self._closed),
        )

    def close_all(self, code: int, reason: str = "") -> None:
        """Begin to close every link. Does not wait, and does not keep new ones from coming."""
        for link in tuple(self._links):
            link.close(code, reason)

    def admit_nobody(self) -> None:
        """Turn every new client away from now on. Who is connected stays."""
        self._stopping = True

    async def aclose(
        self, code: int = CloseCode.SERVICE_RESTART, reason: str = "the server restarts", grace: float = 2.0
    ) -> None:
        """Accept nobody any more, close every link, wait at most `grace` seconds for that, then cut the rest.

        `serve_clients` returns afterwards. Cancelling cuts at once.
        """
        self.admit_nobody()
        self._accepting.cancel()
        self.close_all(code, reason)
        try:
            with trio.move_on_after(grace):
                if self._links:
                    await self._empty.wait()
        finally:
            self._connections.cancel_scope.cancel()

    async def accept_clients(self) -> None:
        """Accept on every listener until cancelled or stopped by `aclose`."""
        with self._accepting:
            async with trio.open_nursery() as accepting:
                for listener in self._listeners:
                    accepting.start_soon(self._accept, listener)

    async def _accept(self, listener: Listener) -> None:
        """Accept until cancelled, then close the listener."""
        paused = False
        async with listener:
            while True:
                try:
                    stream = await listener.accept()
                except OSError as error:
                    paused = paused or _note_pause(error)
                    await trio.sleep(_PAUSE)
                    continue
                paused = paused and _note_resumption()
                self._accepted += 1
                self._connections.start_soon(self._contain, stream)

    async def tick(self) -> None:
        """Look after every link's time limits. Time in which the program stood still is not held against clients."""
        tick = _tick_of(self._limits)
        clock = 0.0
        before = trio.current_time()
        while True:
            await trio.sleep(tick)
            now = trio.current_time()
            clock += min(now - before, 2 * tick)
            before = now
            self._check(clock)

    def _check(self, now: float) -> None:
        # Not in the loop above, whose variables would keep the last link in memory after its end.
        for link in tuple(self._links):
            link.check(now)

    async def _contain(self, stream: trio.SocketStream | Secure) -> None:
        """Serve one connection. The one place where its failure ends."""
        try:
            with closing(self._channel(stream)) as channel:
                await self._serve(channel)
        except* Exception as failure:  # noqa: BLE001  # whatever it is, it concerns this connection only
            self._fail(failure)

    def _channel(self, stream: trio.SocketStream | Secure) -> Channel:
        if isinstance(stream, trio.SocketStream):
            return PlainChannel(stream, self._poller)
        return SecureChannel(stream)

    def _fail(self, failure: BaseException) -> None:
        self._failed += 1
        logger.error("a connection failed and was cut: %s", describe(failure))

    async def _serve(self, channel: Channel) -> None:
        try:
            upgrade = await self._reception.receive(channel)
        except Refused as refused:
            self._refused += 1
            logger.info(
                "a connection was refused: %d",
                refused.status,
                extra={"event": "refused", "status": refused.status},
            )
            await self._reception.refuse(channel, refused)
            return
        if upgrade is not None:
            await self._serve_link(channel, *upgrade)

    async def _serve_link(self, channel: Channel, route: Route, head: Head, request: Request) -> None:
        """Run one client's link. Cancelling cuts it."""
        self._opened += 1
        async with trio.open_nursery() as pumps:
            link = Link(request, channel, self._limits, pumps)
            self._links.add(link)
            try:
                await link.run(route, head)
            finally:
                # It is over, said or not; what it refers to is let go.
                link.cut()
                self._links.discard(link)
                if link.code is not None:
                    self._closed[link.code] += 1
                if self._stopping and not self._links:
                    self._empty.set()
            pumps.cancel_scope.cancel()

    def _judge(self, request: Request) -> None:
        """Refuse a handshake that comes at a bad time."""
        if self._stopping:
            raise Refused(503, "The server restarts. Come back in a moment.", {"Retry-After": "1"})
        if self._limits.connections and len(self._links) >= self._limits.connections:
            raise Refused(
                503, "The server has as many clients as it takes. Come back later.", {"Retry-After": "5"}
            )
        if self._admit is not None:
            self._admit(request)


def _tick_of(limits: ServerLimits) -> float:
    """Return how often to look: four times within the shortest limit, at least once a second."""
    times = (limits.frame_timeout, limits.outbox_stall, limits.ping_interval, limits.ping_timeout)
    return min([_SLOWEST_TICK, *(time / 4 for time in times if time)])


def _note_pause(error: OSError) -> bool:
    logger.error("cannot accept clients: %s; trying again every %s s", error, _PAUSE)
    return True


def _note_resumption() -> bool:
    logger.warning("accepting clients again")
    return False
