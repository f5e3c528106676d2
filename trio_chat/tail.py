"""`trio-chat tail`: a room in the terminal, one line a message. A native client that resumes where it was."""

from __future__ import annotations

import json
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

import trio
import trio_websocket
from rich.console import Console

from trio_chat.errors import BadRequest, Unavailable
from trio_chat.jitter import between
from trio_chat.lane import LaneStream
from trio_chat.place import CONNECT_SECONDS, FAILURES, Place, dial, explain
from trio_chat.transcript import Transcript

if TYPE_CHECKING:
    from collections.abc import Callable

# Close codes from here on say: do not come back as you are.
_FINAL = 4500
_PAUSES = (0.5, 10.0)
# A whole window comes as one message.
_LONGEST_MESSAGE = 1 << 30


async def follow(
    url: str, hello: Callable[[], dict[str, str]], room: str, console: Console | None = None
) -> None:
    """Print what is said in a room, and what has been said, until cancelled. Comes back after every disconnect.

    Args:
        url: where the server is; without a path it is `/ws`.
        hello: returns the request to begin a connection with.
        room: which one.
        console: where to print; the terminal if None.

    Raises:
        BadRequest: the server refuses the token or the room, or there is no such server.
    """
    console = console or Console(highlight=False, soft_wrap=True)
    place = Place.of(url, "/ws")
    tail = _Tail(room, url, Transcript(console, datetime.now().astimezone().date()))
    low, high = _PAUSES
    pause = low
    while True:
        final: BadRequest | None = None
        try:
            await _visit(place, tail, hello())
        except* FAILURES as failures:
            final = _judge(url, failures)
            if final is None:
                tail.lose(explain(failures).text)
        if final is not None:
            raise final
        pause = low if tail.take_progress() else min(pause * 2, high)
        await trio.sleep(pause * between(0.5, 1))


def _judge(url: str, failure: BaseException) -> BadRequest | None:
    """Return the error to end with, or None if it is worth coming back."""
    while isinstance(failure, BaseExceptionGroup):
        failure = cast("BaseExceptionGroup[BaseException]", failure).exceptions[0]
    match failure:
        case BadRequest():
            return failure
        case trio_websocket.ConnectionClosed(reason=reason) if reason is not None and reason.code >= _FINAL:
            return BadRequest(f"{url}: {explain(failure).text}")
        case trio_websocket.ConnectionRejected(status_code=status) if (
            status < HTTPStatus.INTERNAL_SERVER_ERROR
        ):
            return BadRequest(f"{url}: {explain(failure).text}")
        case _:
            return None


async def _visit(place: Place, tail: _Tail, hello: dict[str, str]) -> None:
    """Connect, and talk until the connection ends, which is always a failure. Cancelling closes the connection.

    The stream is ours rather than the library's: that one leaves it open if the server closes first, and waits for ever
    for the rest of a handshake.
    """
    with trio.fail_after(CONNECT_SECONDS):
        stream = await dial(place)
    try:
        async with trio.open_nursery() as nursery:
            socket: trio_websocket.WebSocketConnection | None = None
            with trio.fail_after(CONNECT_SECONDS), trio.CancelScope() as opening:
                # Any stream will do, though its annotation names two.
                lane = cast("trio.SocketStream", LaneStream(stream, None, opening.cancel))
                socket = await trio_websocket.wrap_client_stream(
                    nursery, lane, place.name, place.resource, max_message_size=_LONGEST_MESSAGE
                )
            if socket is None:
                raise Unavailable("the connection was cut during the handshake")
            await tail.talk(socket, hello)
    finally:
        await trio.aclose_forcefully(stream)


class _Tail:
    """One room on one transcript. Lives through reconnects: it knows the position, and whether it is connected."""

    def __init__(self, room: str, url: str, transcript: Transcript) -> None:
        self._room = room
        self._url = url
        self._transcript = transcript
        self._position: dict[str, Any] | None = None
        self._progress = False
        self._lost = ""
        """Why there is no connection, as it was told."""

    def take_progress(self) -> bool:
        """Whether anything was heard of the room since the last call."""
        progress, self._progress = self._progress, False
        return progress

    def lose(self, why: str) -> None:
        """Tell that there is no connection, once for each reason."""
        if why != self._lost:
            self._lost = why
            self._transcript.note(f"{self._url}: {why}; trying again")

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
            self._hear(json.loads(await socket.get_message()))

    def _hear(self, said: dict[str, Any]) -> None:
        match said["type"]:
            case "room:joined":
                self._arrive(said)
            case "error":
                # It asks for nothing but the room: without that there is nothing to wait for on this connection.
                if said["temporary"]:
                    raise Unavailable(said["message"])
                raise BadRequest(f"{self._room} at {self._url}: {said['message']}")
            case _ if "epoch" in said and "seq" in said:
                # "room:joined" names the position that is reached when what follows has been heard too.
                self._position = {"epoch": said["epoch"], "seq": said["seq"]}
                self._progress = True
            case _:
                pass
        self._transcript.show(said)

    def _arrive(self, joined: dict[str, Any]) -> None:
        if self._position is None:
            self._transcript.note(f"{self._room} at {self._url}; here: {', '.join(joined['members'])}")
        elif not joined["recovered"]:
            self._transcript.note(
                "connected again; what follows is the whole room, since what was missed cannot be told"
            )
        elif self._lost:
            self._transcript.note("connected again")
        self._lost = ""
