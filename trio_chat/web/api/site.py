"""The API as one route of the web application: everything at `/api/v1/` is answered here, and with JSON.

1. In this order a request is judged: page, path, method, token, rate, role, query, body. Who has no token learns nothing but
   the operations there are, which `openapi.json` tells anybody.
2. A request's failure ends here, and so does a client that leaves: nothing of it is the room's business.
3. Nothing waits without a limit: a body `FRAME_TIMEOUT`, a room and its stores `_PATIENCE`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

import msgspec
import trio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from typing_extensions import override

from trio_chat.clients.handshake import Refused
from trio_chat.clients.handshake import Request as Handshake
from trio_chat.errors import BadRequest, TrioChatError
from trio_chat.failures import describe
from trio_chat.web.api import operators, overview, rooms, sessions
from trio_chat.web.api.calls import Call, Moments, Operation, Server
from trio_chat.web.api.openapi import make_openapi
from trio_chat.web.api.problems import (
    Refusal,
    failed,
    forbidden,
    not_found,
    refusal_of,
    too_fast,
    unauthorized,
    unavailable,
)
from trio_chat.web.api.rates import Rates
from trio_chat.web.api.reading import check_no_body, parameters, read_body, read_query, split_path
from trio_chat.web.assets import make_asset
from trio_chat.web.asyncapi import make_asyncapi

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from starlette.types import Receive, Scope, Send

    from trio_chat.clients.auth import Authenticator, Identity
    from trio_chat.clients.registry import Registry
    from trio_chat.lobby import Lobby

logger = logging.getLogger(__name__)

PREFIX: Final = "/api/v1"
OPERATIONS: Final[Sequence[Operation]] = (
    *rooms.OPERATIONS,
    *sessions.OPERATIONS,
    *operators.OPERATIONS,
    *overview.OPERATIONS,
)

_RAW: Final = PREFIX.encode() + b"/"
_JSON: Final = "application/json"
_PATIENCE: Final = 15.0
"""How many seconds a room and its stores have. Longer than a room's pause after a crash, and than its stores' limits."""
_PREFLIGHT: Final = {
    "Access-Control-Allow-Headers": "authorization, content-type",
    "Access-Control-Max-Age": "600",
}
_NOBODY: Final = Response(status_code=400)
"""For a client that has left."""


class ApiSite(BaseRoute):
    """The route. Lives as long as the server.

    Args:
        lobby: where the rooms are; its settings count.
        authenticator: tells who asks.
        registry: knows who is connected.
        admit: judges a page's origin; raises `Refused`.
        moment: returns the statistics of the server's parts, and shows each room to whoever asks.
    """

    def __init__(
        self,
        lobby: Lobby,
        authenticator: Authenticator,
        registry: Registry,
        admit: Callable[[Handshake], None],
        moment: Moments,
    ) -> None:
        settings = lobby.settings
        self._server = Server(lobby, authenticator, registry, moment, trio.current_time())
        self._admit = admit
        self._settings = settings
        self._origins = frozenset(map(str.lower, settings.allowed_origins or ()))
        self._rates = Rates(settings.request_rate, settings.request_burst)
        documents = {"openapi.json": make_openapi(OPERATIONS, PREFIX), "asyncapi.json": make_asyncapi()}
        self._documents = {
            name: make_asset(name, msgspec.json.encode(content)) for name, content in documents.items()
        }

    @override
    def __repr__(self) -> str:
        return f"<ApiSite {PREFIX} {self._rates!r}>"

    @override
    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Take every path below the prefix, as it was sent."""
        ours = scope["type"] == "http" and scope["raw_path"].startswith(_RAW)
        return (Match.FULL, {}) if ours else (Match.NONE, {})

    @override
    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Cancelling leaves the outcome unknown."""
        request = Request(scope, receive)
        response = await self._answer(request)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        try:
            response = await self._respond(request)
        except Refusal as refusal:
            response = _explain(refusal)
        except TrioChatError as error:
            response = _explain(refusal_of(error))
        except ClientDisconnect:
            return _NOBODY
        except Exception as failure:  # noqa: BLE001 - it ends here, and is logged
            logger.error("a request to the API failed: %s", describe(failure))  # noqa: TRY400 - it may quote somebody
            response = _explain(failed())
        self._let_read(request, response)
        return response

    async def _respond(self, request: Request) -> Response:
        self._admit_origin(request)
        path = split_path(request.scope["raw_path"].removeprefix(_RAW))
        found = _find(path or [])
        document = self._documents.get("/".join(path or []))
        methods = ["GET"] if document is not None else [operation.method for operation, _ in found]
        if not methods:
            raise not_found("nothing is at this path; see openapi.json")
        allowed = ", ".join([*methods, *(["HEAD"] if "GET" in methods else []), "OPTIONS"])
        method = "GET" if request.method == "HEAD" else request.method
        if method == "OPTIONS":
            return self._preflight(request, allowed)
        if method not in methods:
            raise Refusal(405, f"expected one of the methods {allowed}", headers={"Allow": allowed})
        if document is not None:
            return document.respond(request)
        operation, names = next(one for one in found if one[0].method == method)
        return await self._carry_out(request, operation, names)

    async def _carry_out(self, request: Request, operation: Operation, names: Mapping[str, str]) -> Response:
        call = await self._judge(request, operation, names)
        with trio.move_on_after(_PATIENCE):
            reply = await operation.handler(call)
            return _encode(reply.status, reply.content)
        raise unavailable("no answer came in time, so the outcome is unknown: repeat with the same id")

    async def _judge(self, request: Request, operation: Operation, names: Mapping[str, str]) -> Call:
        """Return what is asked, all of it found to be right. Cancelling is safe."""
        identity = self._identify(request)
        if wait := self._rates.take(identity.user):
            raise too_fast(self._settings.request_rate, wait)
        if operation.admin and not identity.may_administer:
            raise forbidden("this takes a token with the role admin")
        query: object = read_query(request.scope["query_string"], operation.query)
        call = Call(self._server, identity, names, query, None)
        if operation.body is None:
            check_no_body(request.headers)
            return call
        if "room" in names:
            call.room()  # nobody's body is read for nothing
        body: object = await read_body(
            request,
            operation.body,
            limit=self._settings.max_message_bytes,
            seconds=self._settings.frame_timeout,
        )
        return msgspec.structs.replace(call, body=body)

    def _identify(self, request: Request) -> Identity:
        """Return who asks (RFC 6750, section 2.1).

        Raises:
            Refusal: nobody whom we know.
        """
        given = request.headers.getlist("authorization")
        scheme, _, value = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        try:
            if scheme.lower() == "bearer":
                return self._server.authenticator.authenticate(value.strip(" "))
            if scheme.lower() == "user" and self._settings.auth_mode == "insecure":
                return self._server.authenticator.insecure(unquote(value.strip(" "), errors="strict"))
        except (BadRequest, UnicodeDecodeError):
            raise unauthorized("token: not accepted; ask with a new one", given=True) from None
        raise unauthorized("expected the header Authorization: Bearer TOKEN", given=False)

    # --- browsers

    def _admit_origin(self, request: Request) -> None:
        headers = {
            name: request.headers.get(name.decode(), "").encode("latin-1") for name in (b"origin", b"host")
        }
        try:
            self._admit(Handshake(PREFIX, "", headers, "", False))
        except Refused as refused:
            raise forbidden(refused.text) from None

    def _preflight(self, request: Request, allowed: str) -> Response:
        headers = {"Allow": allowed}
        if self._is_listed(request):
            headers |= {"Access-Control-Allow-Methods": allowed, **_PREFLIGHT}
        return Response(status_code=204, headers=headers)

    def _is_listed(self, request: Request) -> bool:
        return request.headers.get("origin", "").lower() in self._origins

    def _let_read(self, request: Request, response: Response) -> None:
        """Let a page of another origin read the answer, if it is one of ALLOWED_ORIGINS."""
        response.headers.setdefault("Cache-Control", "no-store")
        if self._origins:
            response.headers.add_vary_header("Origin")
        if self._is_listed(request):
            response.headers["Access-Control-Allow-Origin"] = request.headers["origin"]
            response.headers["Access-Control-Expose-Headers"] = "Retry-After, WWW-Authenticate"


def _find(path: Sequence[str]) -> list[tuple[Operation, Mapping[str, Any]]]:
    """Return what can be asked of a path, and what stands in it for names."""
    return [
        (operation, names)
        for operation in OPERATIONS
        if (names := parameters(path, operation.template)) is not None
    ]


def _explain(refusal: Refusal) -> Response:
    return _encode(refusal.status, refusal.problem, refusal.headers)


def _encode(status: int, content: msgspec.Struct, headers: Mapping[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(content), status, headers=headers, media_type=_JSON)
