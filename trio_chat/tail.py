"""`trio-chat tail`: a room in the terminal, one line a message. A native client that resumes where it was."""

from __future__ import annotations

import json
import logging
import random
import re
from datetime import datetime
from typing import Any

import trio
import trio_websocket
from rich.console import Console
from rich.text import Text

from trio_chat.errors import BadRequest

logger = logging.getLogger(__name__)

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_STYLES = {"user": "cyan", "assistant": "magenta", "system": "yellow"}
# Close codes from here on say: do not come back as you are.
_FINAL = 4500


async def follow(url: str, hello: dict[str, str], room: str, console: Console | None = None) -> None:
    """Print what is said in a room, and what has been said, until cancelled. Comes back after every disconnect.

    Raises:
        BadRequest: the server refuses the token or the room.
    """
    tail = _Tail(room, console or Console(highlight=False))
    pause = 0.5
    while True:
        try:
            async with trio_websocket.open_websocket_url(url) as socket:
                pause = 0.5
                await tail.talk(socket, hello)
        except trio_websocket.ConnectionClosed as closed:
            if closed.reason is not None and closed.reason.code >= _FINAL:
                raise BadRequest(f"{url}: {closed.reason.reason or closed.reason.name}") from None
            logger.info("disconnected: %s", closed.reason)
        except (OSError, trio_websocket.HandshakeError) as error:
            logger.warning("cannot reach %s: %s", url, error)
        await trio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - jitter, not a secret
        pause = min(pause * 2, 10)


class _Tail:
    """One room on one console. Lives through reconnects: it knows the position."""

    def __init__(self, room: str, console: Console) -> None:
        self._room = room
        self._console = console
        self._position: dict[str, Any] | None = None

    async def talk(self, socket: trio_websocket.WebSocketConnection, hello: dict[str, str]) -> None:
        """Say hello, join, and print until the connection ends."""
        await socket.send_message(json.dumps(hello))
        join: dict[str, Any] = {"type": "room:join", "room": self._room}
        if self._position is not None:
            join["resume"] = self._position
        await socket.send_message(json.dumps(join))
        while True:
            self.show(json.loads(await socket.get_message()))

    def show(self, said: dict[str, Any]) -> None:
        """Print one thing the server said, if it is worth a line."""
        if "epoch" in said and "seq" in said and said["type"] != "ack":
            self._position = {"epoch": said["epoch"], "seq": said["seq"]}
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
            case "error" if not said["temporary"]:
                raise BadRequest(said["message"])
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
