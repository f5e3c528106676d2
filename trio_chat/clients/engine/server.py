"""Engine.IO 4: sessions over WebSocket and HTTP long-polling, and moving from the second to the first.

What Socket.IO stands on; it knows nothing of events and rooms. A reader goes on in `session`.

1. `EngineServer` knows every session by its sid. It is wired into `serve_clients` in four places::

       engine = EngineServer(factory, limits=limits)
       nursery.start_soon(engine.run)
       serve_clients(listeners, {**engine.routes}, limits=limits,
                     http=engine.http, http_paths=engine.routes, admit=engine.admit)

2. A WebSocket-only session costs no task of its own. One ticking task looks after the time limits of all sessions.
3. A session's failure, or that of one of its tasks, ends that session only.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import msgspec
import trio
from typing_extensions import override

from trio_chat.clients.engine.clock import Clock
from trio_chat.clients.engine.judge import EngineRefused, judge, read_query
from trio_chat.clients.engine.requests import PollingApp
from trio_chat.clients.engine.session import EngineLink
from trio_chat.clients.engine.terms import (
    EngineConversation,
    EngineLinkStatistics,
    EngineTerms,
    Parcel,
    parcel,
)
from trio_chat.clients.engine.upgrade import Probe
from trio_chat.clients.engineio import Refusal
from trio_chat.clients.handshake import Refused, Request
from trio_chat.clients.http import HttpSide
from trio_chat.clients.limits import ServerLimits
from trio_chat.errors import CloseCode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from trio_chat.clients.http import Application
    from trio_chat.clients.transport import Conversation, Link

__all__ = [
    "EngineConversation",
    "EngineLink",
    "EngineLinkStatistics",
    "EngineServer",
    "EngineStatistics",
    "Parcel",
    "parcel",
]

_SID_BYTES: Final = 18
_SLOWEST_TICK: Final = 1.0


class EngineStatistics(msgspec.Struct, frozen=True):
    """The sessions at one moment, and since the start.

    Attributes:
        polling: sessions that poll now, those whose end is still to be fetched included.
        websocket: sessions over a WebSocket now.
        opened: sessions begun.
        refused: polling requests turned away.
        closed: polling sessions that we ended, by code. Those over WebSockets are `ServerStatistics`'.
    """

    polling: int
    websocket: int
    opened: int
    refused: int
    closed: Mapping[int, int] = {}


class EngineServer:
    """All sessions; see the module. Lives as long as `run`.

    Attributes:
        path: where clients connect to.
        session_type: what sessions are made of.
    """

    session_type: type[EngineLink] = EngineLink

    def __init__(
        self,
        factory: Callable[[EngineLink], EngineConversation],
        *,
        path: str = "/socket.io/",
        limits: ServerLimits | None = None,
        ping_interval: float = 25.0,
        ping_timeout: float = 20.0,
        upgrade_timeout: float = 10.0,
        max_payload: int = 1_000_000,
        admit: Callable[[Request], None] | None = None,
        listed: Collection[str] = (),
        fallback: Application | None = None,
    ) -> None:
        """Make a server without sessions.

        Args:
            factory: makes a session's conversation.
            path: where clients connect to.
            limits: those of `serve_clients`. Here count `connections` (as many sessions), `outbox_bytes`,
                `outbox_stall`, `frame_timeout` (for a request's body), `request_head` and `close_timeout`.
            ping_interval: the seconds between two pings.
            ping_timeout: the seconds a pong may take.
            upgrade_timeout: the seconds moving to a WebSocket may take.
            max_payload: the bytes a polling request may bring or fetch.
            admit: looks at every request and handshake, whatever its path; raises `Refused` to turn it away. Whoever
                passes and names an origin is told that its page may read the answer.
            listed: the origins whose pages may send credentials along.
            fallback: takes requests for other paths.
        """
        limits = limits or ServerLimits()
        self.path = path
        self._factory = factory
        self._limits = limits
        self._terms = EngineTerms(
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
            upgrade_timeout=upgrade_timeout,
            max_payload=max_payload,
            outbox_bytes=limits.outbox_bytes,
            outbox_stall=limits.outbox_stall,
            close_timeout=limits.close_timeout,
        )
        self._admit = admit
        app = PollingApp(
            self,
            max_payload=max_payload,
            body_timeout=limits.frame_timeout,
            listed=frozenset(map(str.lower, listed)),
            fallback=fallback,
        )
        self._http = HttpSide(app, limits)
        self._clock = Clock(min(_SLOWEST_TICK, ping_interval / 8, ping_timeout / 8, upgrade_timeout / 8))
        self._sessions: dict[str, EngineLink] = {}
        self._home: trio.Nursery | None = None
        self._running = False
        self._empty = trio.Event()
        """Set when the last session is forgotten after no more may begin."""
        self._opened = self._refused = 0
        self._closed: Counter[int] = Counter()

    @override
    def __repr__(self) -> str:
        state = "running" if self._running else "stopped"
        return f"<EngineServer {state} sessions={len(self._sessions)} opened={self._opened}>"

    @property
    def routes(self) -> Mapping[str, Callable[[Link], Conversation]]:
        """The WebSocket side, for `serve_clients`; its paths are those of the HTTP side, too."""
        return {self.path: self._meet}

    @property
    def sessions(self) -> frozenset[EngineLink]:
        """The sessions that are known now."""
        return frozenset(self._sessions.values())

    def statistics(self) -> EngineStatistics:
        """Return the counts as they are now."""
        polling = sum(session.transport == "polling" for session in self._sessions.values())
        return EngineStatistics(
            polling=polling,
            websocket=len(self._sessions) - polling,
            opened=self._opened,
            refused=self._refused,
            closed=dict(self._closed),
        )

    def close_all(self, code: int, reason: str = "") -> None:
        """Begin to close every session. Does not wait, and does not keep new ones from coming."""
        for session in self.sessions:
            session.close(code, reason)

    def admit_nobody(self) -> None:
        """Begin no session any more. Those that there are go on."""
        self._running = False

    async def aclose(
        self, code: int = CloseCode.SERVICE_RESTART, reason: str = "the server restarts", grace: float = 2.0
    ) -> None:
        """Begin no session any more, close every one, and wait at most `grace` seconds for polling clients to fetch that.

        To be called before `ClientServer.aclose`, which waits for WebSockets only. Cancelling stops the waiting.
        """
        self.admit_nobody()
        self.close_all(code, reason)
        with trio.move_on_after(grace):
            if self._sessions:
                await self._empty.wait()
            await self._http.wait_quiet()

    def admit(self, request: Request) -> None:
        """Judge a WebSocket handshake, for `serve_clients`. On other paths only the `admit` that was given counts.

        Raises:
            Refused: it is turned away.
        """
        if request.path != self.path:
            if self._admit is not None:
                self._admit(request)
            return
        self.admit_origin(request)
        asked = read_query(request.query)
        session = self.find(asked.sid)
        judge(asked, "GET", session.transport if session else None, upgrade=True)
        if session is None:
            self._check_room()

    async def http(self, stream: trio.abc.Stream, received: bytes) -> bytes:
        """Answer HTTP requests, for `serve_clients`. Cancelling cuts the connection.

        Returns:
            What was read of a WebSocket handshake that followed; b"" if the connection is over.
        """
        return await self._http.serve(stream, received)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Let sessions live until cancelled, which cuts them all; each conversation still hears `on_closed`."""
        async with trio.open_nursery() as home:
            self._home = home
            self._running = True
            task_status.started()
            try:
                await self._tick()
            finally:
                self._running = False
                for session in self.sessions:
                    session.cut()

    # --- what sessions and requests need

    def now(self) -> float:
        """Return the time, by a clock that does not count when the program stood still."""
        return self._clock.now()

    def spawn(self, fn: Callable[..., Awaitable[object]], *args: object) -> None:
        """Start a task that lives no longer than the server."""
        if self._home is not None:
            self._home.start_soon(fn, *args)

    def forget(self, session: EngineLink) -> None:
        """Know a sid no longer."""
        self._sessions.pop(session.sid, None)
        if not self._running and not self._sessions:
            self._empty.set()

    def find(self, sid: str) -> EngineLink | None:
        """Return the session of that name, if its time is not up."""
        session = self._sessions.get(sid)
        if session is not None:
            # The tick may be late; the client was told when it ends.
            session.check(self.now(), -1.0)
        return self._sessions.get(sid)

    def open(self, request: Request) -> EngineLink:
        """Begin a session that polls. Raises `EngineRefused` if there is no room for it."""
        self._check_room()
        return self._begin(request, None)

    def admit_origin(self, request: Request) -> None:
        """Raise `EngineRefused` if a page may not come."""
        try:
            if self._admit is not None:
                self._admit(request)
        except Refused as refused:
            raise EngineRefused(
                Refusal.FORBIDDEN, refused.text, status=refused.status, headers=refused.headers
            ) from None

    def note_refusal(self) -> None:
        """Count a request that was turned away."""
        self._refused += 1

    def note_close(self, code: int) -> None:
        """Count a polling session that we end."""
        self._closed[code] += 1

    def _check_room(self) -> None:
        if not self._running:
            raise EngineRefused(
                Refusal.BAD_REQUEST,
                "The server restarts. Come back in a moment.",
                status=503,
                headers={"Retry-After": "1"},
            )
        if self._limits.connections and len(self._sessions) >= self._limits.connections:
            raise EngineRefused(
                Refusal.BAD_REQUEST,
                "The server has as many clients as it takes. Come back later.",
                status=503,
                headers={"Retry-After": "5"},
            )

    def _begin(self, request: Request, link: Link | None) -> EngineLink:
        session = self.session_type(self, request, secrets.token_urlsafe(_SID_BYTES), self._terms, link)
        self._sessions[session.sid] = session
        self._opened += 1
        session.begin(self._factory)
        return session

    def _meet(self, link: Link) -> Conversation:
        """Make the conversation of a WebSocket: a session, or a probe of one that polls."""
        sid = read_query(link.request.query).sid
        if not self._running:
            link.close(CloseCode.SERVICE_RESTART, "the server restarts")
        elif not sid:
            return self._begin(link.request, link)
        return Probe(link, self.find(sid), self.now() + self._terms.upgrade_timeout)

    async def _tick(self) -> None:
        while True:
            await trio.sleep(self._clock.tick)
            self._check(self._clock.advance())

    def _check(self, now: float) -> None:
        # Not in the loop above, whose variables would keep the last session in memory after its end.
        # A ping goes out at the last tick before it is due, so that no promise is broken.
        horizon = now + self._clock.tick
        for session in self.sessions:
            session.check(now, horizon)
