"""Where a client of ours connects to, how, and what it says when that does not last."""

from __future__ import annotations

import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, cast
from urllib.parse import urlsplit

import trio
import trio_websocket

from trio_chat.errors import BadRequest, CloseCode, ReplyCode, Unavailable
from trio_chat.failures import why_unreachable

if TYPE_CHECKING:
    from collections.abc import Mapping

CONNECT_SECONDS = 10.0
"""How long a connection may take, until it is open and again until the server knows who it is."""

FAILURES = (
    OSError,
    trio.BrokenResourceError,
    trio.TooSlowError,
    trio_websocket.ConnectionClosed,
    trio_websocket.HandshakeError,
    BadRequest,
    Unavailable,
)
"""What may end a connection."""

_SCHEMES = {"ws": False, "http": False, "wss": True, "https": True}
_OURS = {"", "/", "/ws", "/socket.io", "/socket.io/"}
_CODES: Mapping[int, str] = {
    CloseCode.RATE_LIMITED: ReplyCode.RATE_LIMITED,
    CloseCode.TOO_MANY_CONNECTIONS: ReplyCode.TOO_MANY_CONNECTIONS,
    CloseCode.UNAUTHORIZED: ReplyCode.UNAUTHORIZED,
}


class Place(NamedTuple):
    """Where to connect to."""

    secure: bool
    host: str
    port: int
    name: str
    resource: str

    @classmethod
    def of(cls, url: str, usual: str) -> Place:
        """Take a URL apart. One without a path means the `usual` one.

        Raises:
            BadRequest: it is not one of a WebSocket server.
        """
        with suppress(ValueError):
            parts = urlsplit(url)
            if parts.scheme in _SCHEMES and parts.hostname:
                secure = _SCHEMES[parts.scheme]
                resource = parts.path + (f"?{parts.query}" if parts.query else "")
                # Which of our own two paths it is follows from the wire, so that one URL is enough for both.
                if resource in _OURS:
                    resource = usual
                port = parts.port or (443 if secure else 80)
                return cls(secure, parts.hostname, port, parts.netloc.rpartition("@")[2], resource)
        raise BadRequest(f"{url}: expected ws://HOST:PORT or wss://HOST:PORT")


class Ended(NamedTuple):
    """How a connection ended: a text for people and, if that says why, a reply code for advice."""

    text: str
    code: str = ""


async def dial(place: Place) -> trio.abc.Stream:
    """Connect, and speak TLS if it is to be. The caller owns the stream. Cancelling closes what was opened."""
    plain = await trio.open_tcp_stream(place.host, place.port)
    if not place.secure:
        return plain
    context = ssl.create_default_context()
    secured = trio.SSLStream(plain, context, server_hostname=place.host, https_compatible=True)
    try:
        await secured.do_handshake()
    except BaseException:
        await trio.aclose_forcefully(plain)
        raise
    return secured


def explain(failure: BaseException) -> Ended:
    """Say in one line what has ended a connection."""
    while isinstance(failure, BaseExceptionGroup):
        failure = cast("BaseExceptionGroup[BaseException]", failure).exceptions[0]
    match failure:
        case trio_websocket.ConnectionClosed(reason=None):
            return Ended("the connection was cut")
        case trio_websocket.ConnectionClosed(reason=reason) if reason is not None:
            code = int(reason.code)
            return Ended(
                f"closed by the server with {code}: {reason.reason or reason.name}", _CODES.get(code, "")
            )
        case trio_websocket.ConnectionRejected(status_code=status, body=body):
            words = (body or b"").decode(errors="replace").strip()
            return Ended(f"the server answered with HTTP status {status}: {_plain(words)}")
        case trio.TooSlowError():
            return Ended(f"no answer within {CONNECT_SECONDS:g} s")
        case BadRequest() | Unavailable():
            return Ended(str(failure))
        case _:
            return Ended(f"cannot be reached: {why_unreachable(failure)}")


def _plain(text: str) -> str:
    """Return the first of what may be a whole page, fit for a terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text[:200]).strip()
