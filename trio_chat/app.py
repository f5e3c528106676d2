"""The server, wired together.

How the blocks nest is the order of shutdown, from the inside: clients are told to come back (1012), rooms finish
the mail they have, the syncer makes its last round, stores are closed, embedded servers end.
"""

from __future__ import annotations

import logging
import socket
import ssl
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import trio

from trio_chat.clients.auth import Authenticator
from trio_chat.clients.connection import Connection
from trio_chat.clients.handshake import Refused
from trio_chat.clients.registry import Registry
from trio_chat.clients.server import ClientServer, serve_clients
from trio_chat.clients.transport import ServerLimits
from trio_chat.errors import SettingsError
from trio_chat.lobby import Lobby, open_lobby
from trio_chat.settings import Settings, mask_url
from trio_chat.stores.base import Archive, HotStore
from trio_chat.stores.child import ChildServer, supervised
from trio_chat.stores.embedded import EmbeddedPostgres, EmbeddedValkey
from trio_chat.stores.postgres import open_postgres_archive
from trio_chat.stores.redis import open_redis

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from trio_chat.clients.handshake import Request
    from trio_chat.clients.transport import Link

logger = logging.getLogger(__name__)

PATH = "/ws"


class Stores(msgspec.Struct, frozen=True):
    """The two stores and where they are, without passwords."""

    hot: HotStore
    archive: Archive
    hot_place: str
    archive_place: str


class App(msgspec.Struct, frozen=True):
    """A running server. Lives as long as the block of `open_app`."""

    settings: Settings
    stores: Stores
    lobby: Lobby
    clients: ClientServer
    registry: Registry

    @property
    def port(self) -> int:
        """The TCP port it listens on."""
        return self.clients.port

    @property
    def url(self) -> str:
        """Where native clients connect to."""
        scheme = "wss" if self.settings.tls_cert else "ws"
        host = f"[{self.settings.host}]" if ":" in self.settings.host else self.settings.host
        return f"{scheme}://{host}:{self.port}{PATH}"


@asynccontextmanager
async def open_hot(
    settings: Settings, *, require: bool = False, beside: bool = False
) -> AsyncGenerator[tuple[HotStore, str], None]:
    """Open the Redis the settings name, or a private Valkey; see `open_stores`. Yields the store and its place."""
    async with AsyncExitStack() as stack:
        url, place = settings.redis_url, mask_url(settings.redis_url or "")
        incarnation: Callable[[], str] | None = None
        if url is None:
            valkey = EmbeddedValkey(settings.data_dir)
            if not (beside and _answers(valkey)):
                await stack.enter_async_context(supervised(valkey))
                incarnation = partial(getattr, valkey, "incarnation")
            url, place = valkey.url, f"private Valkey in {valkey.directory}"
        hot = await stack.enter_async_context(
            open_redis(
                url,
                prefix=settings.redis_prefix,
                expiry=settings.session_expiry_seconds,
                timeout=settings.redis_timeout,
                incarnation=incarnation() if incarnation else None,
                require=require,
            )
        )
        yield hot, place


@asynccontextmanager
async def open_archive(
    settings: Settings, *, require: bool = False, beside: bool = False
) -> AsyncGenerator[tuple[Archive, str], None]:
    """Open the Postgres the settings name, or a private one; see `open_stores`. Yields the archive and its place."""
    async with AsyncExitStack() as stack:
        url, place = settings.database_url, mask_url(settings.database_url or "")
        if url is None:
            postgres = EmbeddedPostgres(settings.data_dir)
            if not (beside and _answers(postgres)):
                await stack.enter_async_context(supervised(postgres))
            url, place = postgres.url, f"private Postgres in {postgres.directory}"
        archive = await stack.enter_async_context(
            open_postgres_archive(url, timeout=settings.database_timeout, require=require)
        )
        yield archive, place


def _answers(server: ChildServer) -> bool:
    """Whether a private server of another process can be used."""
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(server.socket))
        except OSError:
            return False
    return True


@asynccontextmanager
async def open_stores(
    settings: Settings, *, require: bool = False, beside: bool = False
) -> AsyncGenerator[Stores, None]:
    """Open the stores the settings name, or private ones under the data directory.

    Args:
        settings: which stores, and how long a call may take.
        require: whether both must be there. If not, a store that is away is waited for in the background.
        beside: use the private servers of a process that already runs, if there is one.

    Raises:
        Misconfigured: a store answers, but not to us.
        Unavailable: `require`, and one is away.
        SettingsError: there is no URL, and a private one cannot be started.
    """
    async with open_hot(settings, require=require, beside=beside) as (hot, hot_place):
        async with open_archive(settings, require=require, beside=beside) as (archive, archive_place):
            logger.info("stores connected: %s, %s", hot_place, archive_place)
            yield Stores(hot, archive, hot_place, archive_place)


@asynccontextmanager
async def open_app(settings: Settings) -> AsyncGenerator[App, None]:
    """Run a server for as long as the block. It accepts clients when the block begins.

    Leaving the block shuts down in order, each step bounded in time. Cancelling does the same, but cuts the
    clients at once.

    Raises:
        SettingsError: an address, a certificate or a key cannot be used.
        Misconfigured: a store answers, but not to us.
    """
    authenticator = Authenticator(settings)
    async with open_stores(settings) as stores:
        async with open_lobby(hot=stores.hot, archive=stores.archive, settings=settings) as lobby:
            registry = Registry(settings.max_connections_per_user)

            def converse(link: Link) -> Connection:
                return Connection(link, lobby, authenticator, registry)

            # Bound last: whoever can connect is served.
            listeners = await open_listeners(settings)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(registry.watch, name="tokens")
                clients: ClientServer = await nursery.start(
                    partial(
                        serve_clients,
                        listeners,
                        {PATH: converse},
                        limits=_limits(settings),
                        admit=partial(_check_origin, settings.allowed_origins),
                    ),
                    name="clients",
                )
                try:
                    yield App(settings, stores, lobby, clients, registry)
                    await clients.aclose()
                finally:
                    nursery.cancel_scope.cancel()


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


def _check_origin(allowed: tuple[str, ...] | None, request: Request) -> None:
    """Refuse browsers on foreign pages. Without a list everybody may come: tokens, unlike cookies, are not sent unasked."""
    origin = request.headers.get(b"origin")
    if allowed is not None and origin is not None and origin.decode("latin-1") not in allowed:
        raise Refused(403, "This page's origin is not one of ALLOWED_ORIGINS.")


async def open_listeners(
    settings: Settings,
) -> list[trio.SocketListener] | list[trio.SSLListener[trio.SocketStream]]:
    """Bind the address, with TLS if there is a certificate.

    Raises:
        SettingsError: the address, the certificate or the key cannot be used.
    """
    try:
        listeners = await trio.open_tcp_listeners(settings.port, host=settings.host)
    except OSError as error:
        raise SettingsError(
            [f"HOST={settings.host} PORT={settings.port}: cannot listen there: {error.strerror or error}"]
        ) from error
    if settings.tls_cert is None or settings.tls_key is None:
        return listeners
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(
            [f"TLS_CERT={settings.tls_cert}: not a certificate with its TLS_KEY: {error}"]
        ) from error
    return [trio.SSLListener(listener, context, https_compatible=True) for listener in listeners]
