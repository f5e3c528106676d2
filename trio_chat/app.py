"""The server, wired together.

How the blocks nest is the order of shutdown, from the inside: nobody new is admitted, rooms take no more requests
and answer those they have, clients are told to come back (1012), the syncer makes its last round, stores are closed,
embedded servers end.
"""

from __future__ import annotations

import logging
import ssl
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import trio

from trio_chat.clients.auth import Authenticator, with_secret
from trio_chat.clients.engine.server import EngineServer
from trio_chat.clients.handshake import Refused
from trio_chat.clients.limits import ServerLimits
from trio_chat.clients.native_connection import NativeConnection
from trio_chat.clients.patience import Patience
from trio_chat.clients.recovery import Recoveries
from trio_chat.clients.registry import Registry
from trio_chat.clients.server import ClientServer, serve_clients
from trio_chat.clients.socketio_conversation import Hall, SocketIOConversation
from trio_chat.errors import SettingsError
from trio_chat.lobby import Lobby, open_lobby
from trio_chat.settings import Settings
from trio_chat.stores.places import Stores, open_stores
from trio_chat.stores.rivals import Rivals
from trio_chat.stores.traced import traced
from trio_chat.traces import open_traces
from trio_chat.web.api.site import ApiSite
from trio_chat.web.app import make_web_app
from trio_chat.web.metrics import Servers
from trio_chat.web.operations import Operations, operations_routes

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from trio_chat.clients.handshake import Request
    from trio_chat.clients.transport import Link

logger = logging.getLogger(__name__)

PATH = "/ws"
SOCKET_IO_PATH = "/socket.io/"

# Engine.IO cannot do without pings.
_PING_SECONDS = 25.0
# How long the end may take to note the rooms of clients that will come back to the next process.
_NOTING_SECONDS = 1.0


class App(msgspec.Struct, frozen=True):
    """A running server. Lives as long as the block of `open_app`."""

    settings: Settings
    stores: Stores
    lobby: Lobby
    clients: ClientServer
    engine: EngineServer
    registry: Registry
    authenticator: Authenticator

    @property
    def port(self) -> int:
        """The TCP port it listens on."""
        return self.clients.port

    @property
    def url(self) -> str:
        """Where native clients connect to."""
        return url_of(self.settings, self.port)

    @property
    def socket_io_url(self) -> str:
        """What Socket.IO clients are given; they find `SOCKET_IO_PATH` themselves."""
        return "http" + self.url.removeprefix("ws").removesuffix(PATH)

    @property
    def page_url(self) -> str:
        """Where people find the chat page."""
        return f"{self.socket_io_url}/"

    def revoke(self, user: str) -> int:
        """Withdraw a user's access: end every connection, and accept no token that was made until now.

        This process alone knows, until it ends: whoever makes the tokens must make no more of them. Returns how many
        connections there were.
        """
        self.authenticator.revoke(user)
        return self.registry.revoke(user)


def url_of(settings: Settings, port: int) -> str:
    """Return where native clients connect to, if the server listens on this port."""
    scheme = "wss" if settings.tls_cert else "ws"
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{scheme}://{host}:{port}{PATH}"


@asynccontextmanager
async def open_app(settings: Settings) -> AsyncGenerator[App, None]:
    """Run a server for as long as the block. It accepts clients when the block begins.

    Leaving the block shuts down in order, each step bounded in time. Cancelling does the same, but cuts the
    clients at once.

    Args:
        settings: everything. In token mode without a key, the secret of the data directory is used, and made if
            there is none.

    Raises:
        SettingsError: a certificate, a key or the address cannot be used.
        Misconfigured: a store answers, but not to us.
    """
    settings = with_secret(settings)
    authenticator = Authenticator(settings)
    tls = load_tls(settings)
    async with open_traces(settings) as traces, open_stores(settings) as stores:
        hot, archive = traced(stores.hot, stores.archive, traces)
        async with open_lobby(hot=hot, archive=archive, settings=settings, traces=traces) as lobby:
            registry = Registry(settings.max_connections_per_user)
            recoveries = Recoveries(stores.hot, settings.session_expiry_seconds)
            patience = Patience(settings.hello_timeout)
            hall = Hall(lobby, authenticator, registry, recoveries, patience)
            operations = Operations(settings, stores, lobby)
            engine = _engine(settings, hall, operations)

            def converse(link: Link) -> NativeConnection:
                return NativeConnection(link, lobby, authenticator, registry, patience)

            # Bound last: whoever can connect is served.
            listeners = await open_listeners(settings, tls)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(registry.watch, name="tokens")
                nursery.start_soon(patience.run, name="patience")
                nursery.start_soon(recoveries.run, name="recoveries")
                nursery.start_soon(Rivals(stores.hot, settings.redis_prefix).run, name="rivals")
                await nursery.start(engine.run, name="engine.io")
                clients: ClientServer = await nursery.start(
                    partial(
                        serve_clients,
                        listeners,
                        {PATH: converse, **engine.routes},
                        limits=_limits(settings),
                        http=engine.http,
                        http_paths=engine.routes,
                        admit=engine.admit,
                        gathering=lobby.gathering,
                    ),
                    name="clients",
                )
                operations.servers = Servers(clients, engine, registry, recoveries, authenticator)
                try:
                    yield App(settings, stores, lobby, clients, engine, registry, authenticator)
                    await _answer_all(engine, clients, lobby)
                    await engine.aclose()
                    await clients.aclose()
                    with trio.move_on_after(_NOTING_SECONDS):
                        await recoveries.write()
                finally:
                    nursery.cancel_scope.cancel()


async def _answer_all(engine: EngineServer, clients: ClientServer, lobby: Lobby) -> None:
    """Let everybody have the answer to what they have asked, and refuse what they ask meanwhile.

    Who asked in vain asks again after coming back, and a session that cannot be continued would have that twice.
    Cancelling is safe.
    """
    engine.admit_nobody()
    clients.admit_nobody()
    # A turn that is on its way to Redis, and the mail behind it, which is the next one.
    with trio.move_on_after(2 * lobby.settings.redis_timeout):
        await lobby.finish()


def _engine(settings: Settings, hall: Hall, operations: Operations) -> EngineServer:
    admit = partial(_check_origin, settings)
    api = ApiSite(hall.lobby, hall.authenticator, hall.registry, admit, operations.moment)
    return EngineServer(
        partial(SocketIOConversation, hall=hall),
        path=SOCKET_IO_PATH,
        limits=_limits(settings),
        ping_interval=settings.ping_interval_seconds or _PING_SECONDS,
        ping_timeout=settings.ping_timeout_seconds,
        max_payload=settings.max_message_bytes,
        admit=admit,
        listed=settings.allowed_origins or (),
        fallback=make_web_app(settings, *operations_routes(operations), api),
    )


def _limits(settings: Settings) -> ServerLimits:
    return ServerLimits(
        handshake_timeout=settings.handshake_timeout,
        request_head=settings.request_head_bytes,
        message_bytes=settings.max_message_bytes,
        fragments=settings.max_fragments,
        frame_timeout=settings.frame_timeout,
        outbox_bytes=settings.outbox_bytes,
        outbox_stall=settings.outbox_stall_seconds,
        ping_interval=settings.ping_interval_seconds,
        ping_timeout=settings.ping_timeout_seconds,
        close_timeout=settings.close_timeout_seconds,
        connections=settings.max_connections or None,
    )


def _check_origin(settings: Settings, request: Request) -> None:
    """Refuse browsers on foreign pages. Who is no browser names no origin and may come.

    Without a list every page may, since a token, unlike a cookie, is not sent unasked; but where no token is needed,
    only a page of this very host and port.
    """
    origin = request.headers.get(b"origin", b"").decode("latin-1").lower()
    if not origin:
        return
    if settings.allowed_origins is not None:
        if origin not in map(str.lower, settings.allowed_origins):
            raise Refused(403, "This page's origin is not one of ALLOWED_ORIGINS.")
    elif settings.auth_mode == "insecure":
        host = request.headers.get(b"host", b"").decode("latin-1").lower()
        if origin.partition("://")[2] != host:
            raise Refused(
                403, "With AUTH_MODE=insecure a page of another origin must be one of ALLOWED_ORIGINS."
            )


def load_tls(settings: Settings) -> ssl.SSLContext | None:
    """Return the TLS context of the settings, or None if they name no certificate.

    Raises:
        SettingsError: the certificate or the key cannot be used.
    """
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        # An empty password, for otherwise an encrypted key would be asked for on the terminal.
        context.load_cert_chain(settings.tls_cert, settings.tls_key, password="")
    except (OSError, ValueError) as error:
        names = f"TLS_CERT={settings.tls_cert} TLS_KEY={settings.tls_key}"
        raise SettingsError(
            [f"{names}: expected a certificate and its key as PEM, not encrypted: {error}"]
        ) from error
    return context


async def open_listeners(
    settings: Settings, tls: ssl.SSLContext | None
) -> list[trio.SocketListener] | list[trio.SSLListener[trio.SocketStream]]:
    """Bind the address, with TLS if there is a context for it. Cancelling is safe.

    Raises:
        SettingsError: the address cannot be used.
    """
    try:
        listeners = await trio.open_tcp_listeners(settings.port, host=settings.host)
    except OSError as error:
        raise SettingsError(
            [f"HOST={settings.host} PORT={settings.port}: cannot listen there: {error.strerror or error}"]
        ) from error
    if tls is None:
        return listeners
    return [trio.SSLListener(listener, tls, https_compatible=True) for listener in listeners]
