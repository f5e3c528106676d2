"""From a URL to a stream on which a RESP server takes our commands.

1. A URL is read by `redis.connection.parse_url`; what it would silently ignore is refused, because a misspelt
   option may be the one that asks for a certificate to be checked.
2. Every failure is told apart by who must act: `Misconfigured` for what only an operator can change (the URL,
   credentials, certificates, a server of another kind), `Unavailable` for what may pass.
3. No text made here contains the password.
"""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
import trio
from redis import connection
from typing_extensions import override

from trio_chat.errors import Misconfigured, TrioChatError, Unavailable
from trio_chat.failures import why_unreachable
from trio_chat.stores.resp_wire import (
    ErrorReply,
    Meaning,
    ProtocolError,
    Replies,
    as_exception,
    meaning_of,
    pack,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_PLACE: Final = {"host", "port", "path", "db", "username", "password", "client_name", "connection_class"}
_TLS: Final = {
    "ssl_ca_certs",
    "ssl_ca_path",
    "ssl_ca_data",
    "ssl_cert_reqs",
    "ssl_check_hostname",
    "ssl_certfile",
    "ssl_keyfile",
    "ssl_password",
}
_DB = re.compile(r"/?[0-9]*/?")
# It has no annotations.
_parse_url = cast("Callable[[str], dict[str, Any]]", connection.parse_url)  # pyright: ignore[reportUnknownMemberType]
_CHUNK: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class Target:
    """Where a server is and who we are to it.

    Attributes:
        host: name or address; empty for a unix socket.
        port: TCP port.
        path: of a unix socket, or None.
        db: the database to select.
        username: of an ACL user, or None for the default one.
        password: or None.
        name: what CLIENT LIST shows.
        tls: the context to wrap the stream with, or None.
    """

    host: str = "localhost"
    port: int = 6379
    path: str | None = None
    db: int = 0
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    name: str = "trio-chat"
    tls: ssl.SSLContext | None = None

    @override
    def __str__(self) -> str:
        return self.path if self.path is not None else f"{self.host}:{self.port}"


class Server(msgspec.Struct, frozen=True):
    """What a server says about itself; empty texts if it would not say.

    Attributes:
        run_id: another one after every restart.
        replication: the id of its replication history: another one after every restart, and after every time it was
            a replica, when it may have taken over older data than it had.
        version: of Redis, or the one that a relative of Redis is compatible with.
        mode: ``standalone``, ``cluster`` or ``sentinel``.
    """

    run_id: str = ""
    replication: str = ""
    version: str = ""
    mode: str = ""

    @property
    def history(self) -> str:
        """What names one unbroken history of writes; "" if it would not say."""
        return f"{self.run_id} {self.replication}".strip()


def parse_target(url: str, *, name: str = "trio-chat", tls: ssl.SSLContext | None = None) -> Target:
    """Read a URL: `redis://`, `rediss://` (TLS) or `unix://`, with credentials, database and TLS options.

    Args:
        url: as redis-py takes it.
        name: the connection's name if the URL has no `client_name`.
        tls: replaces the context that a `rediss://` URL's options describe.

    Raises:
        Misconfigured: the URL cannot be used.
    """
    options = _options(url)
    if url.startswith("unix://") and not options.get("path"):
        raise Misconfigured("the Redis URL names no socket; expected unix:///path/of/the.sock")
    if "username" in options and "password" not in options:
        raise Misconfigured(
            "the Redis URL names a user without a password; expected redis://user:password@host"
        )
    return Target(
        host=options.get("host", "localhost"),
        port=options.get("port", 6379),
        path=options.get("path"),
        db=options.get("db", 0),
        username=options.get("username"),
        password=options.get("password"),
        name=options.get("client_name", name),
        tls=(tls or _context(options)) if url.startswith("rediss://") else None,
    )


def _options(url: str) -> dict[str, Any]:
    try:
        options = _parse_url(url)
    except ValueError as error:
        # The text may quote a piece of a password that holds an unescaped character.
        if url.startswith(("redis://", "rediss://", "unix://")):
            problem = "has a part that cannot be read; percent-encode special characters of the password"
        else:
            problem = "must begin with redis://, rediss:// or unix://"
        raise Misconfigured(f"the Redis URL {problem} ({type(error).__name__})") from None
    tls = _TLS if url.startswith("rediss://") else set[str]()
    if unknown := sorted(set(options) - _PLACE - tls):
        raise Misconfigured(f"the Redis URL has options that are not known here: {', '.join(unknown)}")
    path = url.partition("://")[2].partition("?")[0].partition("/")[2]
    if not url.startswith("unix://") and _DB.fullmatch(path) is None:
        raise Misconfigured("the Redis URL's path must be the number of a database, such as /0")
    return options


def _context(options: Mapping[str, Any]) -> ssl.SSLContext:
    demanded = options.get("ssl_cert_reqs", "required")
    if demanded not in {"none", "optional", "required"}:
        raise Misconfigured("the Redis URL's ssl_cert_reqs must be none, optional or required")
    try:
        context = ssl.create_default_context(
            cafile=options.get("ssl_ca_certs"),
            capath=options.get("ssl_ca_path"),
            cadata=options.get("ssl_ca_data"),
        )
        if (certificate := options.get("ssl_certfile")) is not None:
            context.load_cert_chain(certificate, options.get("ssl_keyfile"), options.get("ssl_password"))
    except (OSError, ValueError) as error:
        raise Misconfigured(f"the Redis URL's certificates cannot be read: {error}") from None
    if demanded != "required" or not options.get("ssl_check_hostname", True):
        context.check_hostname = False
    context.verify_mode = ssl.VerifyMode[f"CERT_{demanded.upper()}"]
    return context


async def connect(target: Target) -> tuple[trio.abc.Stream, Server]:
    """Open a stream, introduce ourselves and hear who is there. The caller owns the stream.

    Cancelling closes what was opened; it is the caller who bounds the time.

    Raises:
        Unavailable: nobody is there, or not yet ready.
        Misconfigured: somebody is there who will never talk to us as we are.
    """
    stream = await _open(target)
    try:
        return stream, await _greet(stream, target)
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise


async def _open(target: Target) -> trio.abc.Stream:
    try:
        if target.path is not None:
            return await trio.open_unix_socket(target.path)
        plain = await trio.open_tcp_stream(target.host, target.port)
    except PermissionError as error:
        raise Misconfigured(f"Redis at {target}: {error.strerror}") from error
    except (OSError, ValueError) as error:
        raise Unavailable(f"no Redis at {target}: {why_unreachable(error)}") from error
    if target.tls is None:
        return plain
    return await _wrapped(plain, target, target.tls)


async def _wrapped(plain: trio.SocketStream, target: Target, context: ssl.SSLContext) -> trio.abc.Stream:
    stream = trio.SSLStream(plain, context, server_hostname=target.host)
    try:
        await stream.do_handshake()
    except trio.BrokenResourceError as error:
        await trio.aclose_forcefully(plain)
        raise _tls_failure(target, error) from error
    except BaseException:
        await trio.aclose_forcefully(plain)
        raise
    return stream


def _tls_failure(target: Target, error: trio.BrokenResourceError) -> TrioChatError:
    cause = error.__cause__
    if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError):
        return Misconfigured(f"TLS with Redis at {target} failed: {cause.reason or cause}")
    return Unavailable(f"Redis at {target} closed the connection during the TLS handshake")


async def _greet(stream: trio.abc.Stream, target: Target) -> Server:
    commands = _introduction(target)
    try:
        await stream.send_all(pack(commands))
        replies = await _replies(stream, len(commands))
    except ProtocolError as error:
        raise Misconfigured(f"what listens at {target} is not a Redis server") from error
    except trio.BrokenResourceError as error:
        raise Unavailable(f"Redis at {target} broke the connection during the handshake") from error
    answers = dict(zip((command[0] for command in commands), replies, strict=True))
    for name in ("AUTH", "SELECT", "PING"):
        _check(name, answers.get(name))
    return _server(answers["INFO"])


def _introduction(target: Target) -> list[tuple[str, ...]]:
    commands: list[tuple[str, ...]] = []
    if target.password is not None:
        commands.append(("AUTH", *filter(None, [target.username]), target.password))
    if target.db:
        commands.append(("SELECT", str(target.db)))
    # A user may be forbidden these two; nothing but comfort depends on the first.
    commands += [("CLIENT", "SETNAME", target.name), ("INFO",)]
    # A server that cannot serve yet says so to a PING, not to the others.
    return [*commands, ("PING",)]


async def _replies(stream: trio.abc.Stream, count: int) -> list[Any]:
    parser = Replies()
    replies: list[Any] = []
    while data := await stream.receive_some(_CHUNK):
        replies += parser.feed(data)
        if len(replies) > count:
            raise Unavailable("Redis answered more than it was asked; the connection is given up")
        if len(replies) == count:
            return replies
    if replies and isinstance(replies[0], ErrorReply):
        # A server that is full says so and hangs up before it has read anything.
        raise as_exception(str(replies[0]))
    raise trio.BrokenResourceError


def _check(name: str, answer: object) -> None:
    if not isinstance(answer, ErrorReply):
        return
    if meaning_of(str(answer)) is Meaning.OTHER:
        raise Misconfigured(f"Redis refused {name}: {str(answer)[:200]}")
    raise as_exception(str(answer))


def _server(info: object) -> Server:
    if not isinstance(info, bytes):
        return Server()
    lines = info.decode(errors="replace").splitlines()
    said = dict(line.split(":", 1) for line in lines if ":" in line)
    mode = said.get("redis_mode") or said.get("server_mode", "")  # the latter is Valkey's
    replication = said.get("master_replid", "")
    return Server(said.get("run_id", ""), replication, said.get("redis_version", ""), mode)
