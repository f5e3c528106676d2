"""`trio-chat tail`: a room in the terminal, one line a message. A native client that resumes where it was."""

from __future__ import annotations

import json
import logging
import random
import re
import ssl
from contextlib import suppress
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import urlsplit

import trio
import trio_websocket
from rich.console import Console
from rich.text import Text

from trio_chat.errors import BadRequest, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_STYLES = {"user": "cyan", "assistant": "magenta", "system": "yellow"}
# Close codes from here on say: do not come back as you are.
_FINAL = 4500
_PAUSES = (0.5, 10.0)
_CONNECT_SECONDS = 10.0
_FAILURES = (
    OSError,
    trio.BrokenResourceError,
    trio.TooSlowError,
    trio_websocket.ConnectionClosed,
    trio_websocket.HandshakeError,
    Unavailable,
)
# A whole window comes as one message.
_LONGEST_MESSAGE = 1 << 30


async def follow(
    url: str, hello: Callable[[], dict[str, str]], room: str, console: Console | None = None
) -> None:
    """Print what is said in a room, and what has been said, until cancelled. Comes back after every disconnect.

    Args:
        url: where the server is, ``ws://`` or ``wss://``.
        hello: returns the request to begin a connection with.
        room: which one.
        console: where to print; the terminal if None.

    Raises:
        BadRequest: the server refuses the token or the room, or there is no such server.
    """
    tail = _Tail(room, console or Console(highlight=False, soft_wrap=True))
    low, high = _PAUSES
    pause = low
    while True:
        final: BadRequest | None = None
        try:
            await _visit(_Place.of(url), tail, hello())
        except* (*_FAILURES, BadRequest) as failures:
            final = _judge(url, failures)
        if final is not None:
            raise final
        pause = low if tail.take_progress() else min(pause * 2, high)
        await trio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - jitter, not a secret


def _judge(url: str, failure: BaseException) -> BadRequest | None:
    """Return the error to end with, or None if it is worth coming back."""
    while isinstance(failure, BaseExceptionGroup):
        failure = cast("BaseExceptionGroup[BaseException]", failure).exceptions[0]
    match failure:
        case BadRequest():
            return failure
        case trio_websocket.ConnectionClosed(reason=reason) if reason is not None and reason.code >= _FINAL:
            return BadRequest(f"{url}: {reason.reason or reason.name}")
        case trio_websocket.ConnectionClosed(reason=reason):
            logger.info("disconnected: %s", reason)
        case trio_websocket.ConnectionRejected(status_code=status, body=body):
            words = _plain((body or b"refused").decode(errors="replace").strip())
            if status < HTTPStatus.INTERNAL_SERVER_ERROR:
                return BadRequest(f"{url}: {words}")
            logger.warning("%s is not ready: %s", url, words)
        case Unavailable():
            logger.warning("%s", failure)
        case _:
            logger.warning(
                "cannot reach %s: %s", url, failure.__cause__ or str(failure) or type(failure).__name__
            )
    return None


class _Place(NamedTuple):
    """What a URL says about where to go."""

    secure: bool
    host: str
    port: int
    name: str
    resource: str

    @classmethod
    def of(cls, url: str) -> _Place:
        """Take a URL apart.

        Raises:
            BadRequest: it is not one of a WebSocket server.
        """
        with suppress(ValueError):
            parts = urlsplit(url)
            secure = parts.scheme == "wss"
            port = parts.port or (443 if secure else 80)
            if parts.scheme in {"ws", "wss"} and parts.hostname:
                resource = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
                return cls(secure, parts.hostname, port, parts.netloc.rpartition("@")[2], resource)
        raise BadRequest(f"{url}: expected ws:// or wss:// and a place")


async def _visit(place: _Place, tail: _Tail, hello: dict[str, str]) -> None:
    """Connect, and talk until the connection ends, which is always a failure. Cancelling closes the connection.

    The stream is ours rather than the library's: that one leaves it open if the server closes first.
    """
    with trio.fail_after(_CONNECT_SECONDS):
        plain = await trio.open_tcp_stream(place.host, place.port)
    stream: trio.SocketStream | trio.SSLStream[trio.SocketStream] = plain
    try:
        if place.secure:
            context = ssl.create_default_context()
            stream = trio.SSLStream(plain, context, server_hostname=place.host, https_compatible=True)
        async with trio.open_nursery() as nursery:
            with trio.fail_after(_CONNECT_SECONDS):
                if isinstance(stream, trio.SSLStream):
                    await stream.do_handshake()
                socket = await trio_websocket.wrap_client_stream(
                    nursery, stream, place.name, place.resource, max_message_size=_LONGEST_MESSAGE
                )
            await tail.talk(socket, hello)
    finally:
        await trio.aclose_forcefully(stream)


class _Tail:
    """One room on one console. Lives through reconnects: it knows the position."""

    def __init__(self, room: str, console: Console) -> None:
        self._room = room
        self._console = console
        self._position: dict[str, Any] | None = None
        self._progress = False

    def take_progress(self) -> bool:
        """Whether anything was heard of the room since the last call."""
        progress, self._progress = self._progress, False
        return progress

    async def talk(self, socket: trio_websocket.WebSocketConnection, hello: dict[str, str]) -> None:
        """Say hello, join, and print until the connection ends. Cancelling ends the connection.

        Raises:
            BadRequest: the server refuses for good.
            Unavailable: it refuses for now.
        """
        await socket.send_message(json.dumps(hello))
        join: dict[str, Any] = {"type": "room:join", "room": self._room}
        if self._position is not None:
            join["resume"] = self._position
        await socket.send_message(json.dumps(join))
        while True:
            self.show(json.loads(await socket.get_message()))

    def show(self, said: dict[str, Any]) -> None:
        """Print one thing the server said, if it is worth a line."""
        # "room:joined" names the position that is reached when what follows has been heard too.
        if "epoch" in said and "seq" in said and said["type"] != "room:joined":
            self._position = {"epoch": said["epoch"], "seq": said["seq"]}
            self._progress = True
        match said["type"]:
            case "messages:history":
                for message in said["messages"]:
                    self._line(message)
            case "message:new":
                self._line(said["message"])
            case "message:update":
                self._line(said["message"], "edited")
            case "message:delete":
                self._note(f"message {said['id']} was deleted")
            case "session:expired":
                self._note("the session expired; the next message starts a new one")
            case "error":
                # It asks for nothing but the room: without that there is nothing to wait for on this connection.
                refusal = Unavailable if said["temporary"] else BadRequest
                raise refusal(said["message"])
            case _:
                pass

    def _line(self, message: dict[str, Any], mark: str = "") -> None:
        when = datetime.fromisoformat(message["timestamp"]).astimezone()
        line = Text(f"{when:%H:%M:%S} ", style="dim")
        line.append(_plain(message["userId"]), style=f"bold {_STYLES.get(message['role'], 'cyan')}")
        if mark:
            line.append(f" ({mark})", style="dim italic")
        line.append(" ")
        line.append(_plain(message["content"]), style="default not dim")
        self._console.print(line)

    def _note(self, text: str) -> None:
        self._console.print(Text(f"-- {_plain(text)}", style="dim italic"))


def _plain(text: str) -> str:
    """Return the text without what could command the terminal or reorder the line."""
    return _CONTROL.sub("\ufffd", text)
