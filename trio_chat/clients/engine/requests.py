"""An ASGI application for the sessions that poll, and for nothing else.

1. ``GET`` without a sid opens a session; with one it waits for packets. ``POST`` brings packets. There is one of
   each at a time; a second one ends the session, and so does a client that leaves in the middle of one, for then
   nobody knows which packets have arrived.
2. Another origin's page gets to see an answer if `admit` lets its request pass, and may send credentials along if its
   origin is `listed`. A request without an origin does not come from a page.
"""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

import trio
from typing_extensions import override

from trio_chat.clients.engine.judge import JSON, EngineRefused, judge, read_query
from trio_chat.clients.engine.polling import Overlap
from trio_chat.clients.engineio import Refusal
from trio_chat.clients.handshake import Request
from trio_chat.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Collection

    from trio_chat.clients.engine.session import EngineLink
    from trio_chat.clients.http import Application, Receive, Scope, Send

Headers: TypeAlias = "list[tuple[bytes, bytes]]"

_TEXT: Final = b"text/plain; charset=UTF-8"
_PREFLIGHT_SECONDS: Final = b"600"
_POLL_BODY: Final = 65_536
"""How many bytes of a body that nobody wants are read while a poll waits."""
_ONE_AT_A_TIME: Final = "expected one request of a kind at a time"


class Sessions(Protocol):
    """What the application needs of the server. None of it waits."""

    path: str

    def find(self, sid: str) -> EngineLink | None:
        """Return the session of that name."""
        ...

    def open(self, request: Request) -> EngineLink:
        """Begin a session that polls. Raises `EngineRefused`."""
        ...

    def admit_origin(self, request: Request) -> None:
        """Raise `EngineRefused` if this page may not come."""
        ...

    def note_refusal(self) -> None:
        """Count a request that was turned away."""
        ...


class PollingApp:
    """The ASGI application. Lives as long as the server."""

    def __init__(
        self,
        sessions: Sessions,
        *,
        max_payload: int,
        body_timeout: float | None,
        listed: Collection[str],
        fallback: Application | None,
    ) -> None:
        """Make the application.

        Args:
            sessions: the sessions.
            max_payload: how many bytes a request may bring.
            body_timeout: how many seconds that may take; None or 0 for any number.
            listed: the origins, in lower case, whose pages may send credentials along.
            fallback: takes requests for other paths.
        """
        self._sessions = sessions
        self._max_payload = max_payload
        self._body_timeout = body_timeout or math.inf
        self._listed = listed
        self._fallback = fallback

    @override
    def __repr__(self) -> str:
        return f"<PollingApp {self._sessions.path} max_payload={self._max_payload}>"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Cancelling ends the session it is for."""
        if scope["path"] == self._sessions.path:
            await self._serve(_request(scope), scope["method"], receive, send)
        elif self._fallback is not None:
            await self._fallback(scope, receive, send)
        else:
            await _respond(send, HTTPStatus.NOT_FOUND, b"Nothing is here.\n", [])

    async def _serve(self, request: Request, method: str, receive: Receive, send: Send) -> None:
        headers: Headers = [(b"cache-control", b"no-store")]
        try:
            headers += self._cross_origin(request)
            if method == "OPTIONS":
                await _respond(send, HTTPStatus.NO_CONTENT, b"", [*headers, *_preflight(request)])
            else:
                await self._serve_session(request, method, receive, send, headers)
        except EngineRefused as refused:
            self._sessions.note_refusal()
            extra = [(name.lower().encode(), value.encode()) for name, value in refused.headers.items()]
            await _respond(send, refused.status, refused.body, [*headers, *extra], JSON.encode())

    def _cross_origin(self, request: Request) -> Headers:
        """Return what lets a page read the answer. Raises `EngineRefused` if it may not."""
        self._sessions.admit_origin(request)
        origin = request.headers.get(b"origin")
        if not origin:
            return []
        headers = [(b"access-control-allow-origin", origin), (b"vary", b"Origin")]
        if origin.decode("latin-1").lower() in self._listed:
            headers.append((b"access-control-allow-credentials", b"true"))
        return headers

    async def _serve_session(
        self, request: Request, method: str, receive: Receive, send: Send, headers: Headers
    ) -> None:
        asked = read_query(request.query)
        session = self._sessions.find(asked.sid)
        judge(asked, method, session.transport if session else None, upgrade=False)
        if session is None:
            session = self._sessions.open(request)
            await _deliver(session, session.first_body(), send, headers)
        elif method == "GET":
            await _serve_poll(session, receive, send, headers)
        else:
            await self._serve_post(session, request, receive)
            await _respond(send, HTTPStatus.OK, b"ok", headers)

    async def _serve_post(self, session: EngineLink, request: Request, receive: Receive) -> None:
        if session.posting:
            session.lose_request()
            raise EngineRefused(Refusal.BAD_REQUEST, _ONE_AT_A_TIME)
        session.posting = True
        body = None
        try:
            with trio.move_on_after(self._body_timeout):
                body = await self._read_body(request, receive)
        except trio.Cancelled:
            session.lose_request()
            raise
        finally:
            session.posting = False
        if body is None:
            session.lose_request()
            raise EngineRefused(
                Refusal.BAD_REQUEST, "expected the whole body, and sooner", status=HTTPStatus.REQUEST_TIMEOUT
            )
        # It may have ended, or moved, since the body began.
        judge(read_query(request.query), "POST", self._carrier(session), upgrade=False)
        try:
            session.take_body(body)
        except BadRequest as error:
            raise EngineRefused(Refusal.BAD_REQUEST, str(error)) from None

    def _carrier(self, session: EngineLink) -> str | None:
        return session.transport if self._sessions.find(session.sid) is session else None

    async def _read_body(self, request: Request, receive: Receive) -> bytes | None:
        """Return a body; None if the client left in the middle of it.

        Raises:
            EngineRefused: it is too large. Nothing was taken; the session goes on.
        """
        announced = request.headers.get(b"content-length", b"")
        size = int(announced) if announced.isdigit() else 0  # h11 has judged it
        body = bytearray()
        while True:
            if max(size, len(body)) > self._max_payload:
                text = f"expected at most {self._max_payload} bytes in one request"
                raise EngineRefused(Refusal.BAD_REQUEST, text, status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            message = await receive()
            if message["type"] != "http.request":
                return None
            body += message["body"]
            if not message["more_body"] and len(body) <= self._max_payload:
                return bytes(body)


async def _serve_poll(session: EngineLink, receive: Receive, send: Send, headers: Headers) -> None:
    """Wait until there is something to say, or until the client has gone or does not stop talking."""
    body = None
    overlap = False
    watch = _Watch()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch.run, receive, nursery.cancel_scope)
            try:
                body = await session.next_body()
            except Overlap:
                overlap = True
            nursery.cancel_scope.cancel()
    finally:
        if body is None:
            session.lose_request()
    if overlap:
        raise EngineRefused(Refusal.BAD_REQUEST, _ONE_AT_A_TIME)
    if body is not None:
        await _deliver(session, body, send, headers)
    elif watch.too_much:
        text = "expected no body in a request for packets"
        raise EngineRefused(Refusal.BAD_REQUEST, text, status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE)


class _Watch:
    """Looks after the client of one poll that waits."""

    too_much = False

    async def run(self, receive: Receive, waiting: trio.CancelScope) -> None:
        """Cancel what waits once the client has gone, or has sent more of a body than a mistake explains."""
        size = 0
        while (message := await receive())["type"] == "http.request":
            size += len(message["body"])
            if size > _POLL_BODY:
                self.too_much = True
                break
        waiting.cancel()


async def _deliver(session: EngineLink, body: bytes, send: Send, headers: Headers) -> None:
    """Send packets. Cancelling ends the session: they may not have arrived."""
    delivered = False
    session.fetching += 1
    try:
        await _respond(send, HTTPStatus.OK, body, headers)
        delivered = True
    finally:
        session.fetching -= 1
        if not delivered:
            session.lose_request()


async def _respond(
    send: Send, status: HTTPStatus, body: bytes, headers: Headers, kind: bytes = _TEXT
) -> None:
    if status != HTTPStatus.NO_CONTENT:
        headers = [(b"content-type", kind), (b"content-length", b"%d" % len(body)), *headers]
    await send({"type": "http.response.start", "status": status.value, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _preflight(request: Request) -> Headers:
    headers = [
        (b"access-control-allow-methods", b"GET, POST"),
        (b"access-control-max-age", _PREFLIGHT_SECONDS),
    ]
    wanted = request.headers.get(b"access-control-request-headers")
    if wanted:
        headers.append((b"access-control-allow-headers", wanted))
    return headers


def _request(scope: Scope) -> Request:
    """Return how the client asked."""
    headers: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        headers[name] = headers[name] + b", " + value if name in headers else value
    query = scope["query_string"].decode("latin-1")
    return Request(scope["path"], query, headers, _peer(scope["client"]), scope["scheme"] == "https")


def _peer(client: tuple[str, int] | None) -> str:
    if client is None:
        return "unix"
    host, port = client
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
