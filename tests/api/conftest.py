"""A server on memory stores with a real port, and a client that sends whatever it is told to."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from urllib.parse import quote

import h11
import pytest
import trio

from trio_chat import Lobby, MemoryArchive, MemoryHotStore, Settings, open_lobby
from trio_chat.app import _check_origin, _limits
from trio_chat.clients.auth import Authenticator, make_token
from trio_chat.clients.http import HttpSide
from trio_chat.clients.native_connection import NativeConnection
from trio_chat.clients.patience import Patience
from trio_chat.clients.registry import Registry
from trio_chat.clients.server import serve_clients
from trio_chat.stores.places import Stores
from trio_chat.web.api.site import ApiSite
from trio_chat.web.app import make_web_app
from trio_chat.web.health import Readiness
from trio_chat.web.metrics import Metrics

PATIENCE = 5
ROOM = "team-42/general"


class Answer:
    """A whole answer."""

    def __init__(self, head: h11.Response, body: bytes) -> None:
        self.status = head.status_code
        self.headers = {name.decode(): value.decode("latin-1") for name, value in head.headers}
        self.body = body

    @property
    def said(self) -> Any:
        """The JSON of it."""
        assert self.headers["content-type"] == "application/json"
        return json.loads(self.body)

    @property
    def outcome(self) -> tuple[int, str]:
        """Status and code of a refusal, whose shape is always the same."""
        assert self.said.keys() == {"code", "message", "temporary"}
        return self.status, self.said["code"]


class Site:
    """A server and its client. Lives as long as the block of `serving`."""

    def __init__(self, settings: Settings, lobby: Lobby, registry: Registry, port: int) -> None:
        self.settings = settings
        self.lobby = lobby
        self.registry = registry
        self.port = port

    def token(self, user: str = "ada", rooms: tuple[str, ...] = ("team-42/*",), *roles: str) -> str:
        """Make a token."""
        return make_token(self.settings, user, rooms, roles)

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = "",
        raw: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Make a request on a connection of its own.

        Args:
            method: of HTTP.
            path: below `/api/v1`, as it is to be sent.
            body: to be sent as JSON; None for none.
            token: None for none; ada's by default.
            raw: a body as it is.
            headers: further ones, or others.
        """
        sent = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        given = {"host": f"127.0.0.1:{self.port}"}
        if token is not None:
            given["authorization"] = f"Bearer {token or self.token()}"
        if sent:
            given |= {"content-type": "application/json", "content-length": str(len(sent))}
        head = {**given, **(headers or {})}
        lines = "".join(f"{name}: {text}\r\n" for name, text in head.items())
        async with self.connect() as stream:
            await stream.send_all(f"{method} /api/v1{path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + sent)
            return await read_answer(stream, method)

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[trio.SocketStream]:
        """Connect, for at most `PATIENCE`."""
        with trio.fail_after(PATIENCE):
            async with await trio.open_tcp_stream("127.0.0.1", self.port) as stream:
                yield stream

    async def post(
        self, content: str = "hello", room: str = ROOM, *, token: str = "", **fields: Any
    ) -> Answer:
        """Post a message."""
        return await self.ask("POST", f"{at(room)}/messages", {"content": content, **fields}, token=token)


def at(room: str) -> str:
    """Return the path of a room."""
    return f"/rooms/{quote(room, safe='')}"


async def read_answer(stream: trio.SocketStream, method: str = "GET") -> Answer:
    """Read one answer; what comes behind it is lost."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("host", "x")]))
    client.send(h11.EndOfMessage())
    head, body = None, b""
    while True:
        match client.next_event():
            case h11.NEED_DATA:
                client.receive_data(await stream.receive_some())
            case h11.Response() as head:
                pass
            case h11.Data(data=data):
                body += data
            case h11.EndOfMessage():
                assert head is not None
                return Answer(head, body)
            case event:
                raise AssertionError(event)


@asynccontextmanager
async def serving(**changes: Any) -> AsyncIterator[Site]:
    """Run a server with the API, the page and the native wire."""
    given = {"auth_secret": "s" * 32, "requests_per_second": 0.0, **changes}
    hot, archive = given.pop("hot", None) or MemoryHotStore(durability="redis"), MemoryArchive()
    settings = Settings(**given)
    async with open_lobby(hot=hot, archive=archive, settings=settings) as lobby:
        authenticator, patience = Authenticator(settings), Patience(settings.hello_timeout)
        registry = Registry(settings.max_connections_per_user)
        limit = settings.longest_sync_lag
        readiness = Readiness(hot, archive, lobby.syncer, limit)
        metrics = Metrics(Stores(hot, archive, "memory", "memory"), lobby, readiness, limit)
        admit = partial(_check_origin, settings)
        api = ApiSite(lobby, authenticator, registry, admit, metrics.moment)
        http = HttpSide(make_web_app(settings, api), _limits(settings))

        def converse(link: Any) -> NativeConnection:
            return NativeConnection(link, lobby, authenticator, registry, patience)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(patience.run)
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            serve = partial(
                serve_clients, listeners, {"/ws": converse}, limits=_limits(settings), http=http.serve
            )
            server = await nursery.start(serve)
            yield Site(settings, lobby, registry, server.port)
            nursery.cancel_scope.cancel()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """A server at its defaults, but for the rate of requests."""
    async with serving() as site:
        yield site
