"""Join a room, print what was said and what is said, say one line, and leave when the room has it.

$ pip install 'python-socketio[client]'
$ python socket_io.py http://127.0.0.1:8000 ada team-42 "hello, bob"
"""

from __future__ import annotations

import queue
import sys
import uuid
from typing import Any

import socketio


class Talk:
    """One line, from connecting to leaving."""

    def __init__(self, room: str, line: str) -> None:
        self.room = room
        # With an id of its own a message may be sent again, and is there once.
        self.message = {"teamId": room, "content": line, "id": str(uuid.uuid4())}
        self.over: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.client = socketio.Client()
        self.client.on("connect", self.join)
        self.client.on("connect_error", self.refused)
        self.client.on("messages:history", self.show_all)
        self.client.on("message:new", self.show)
        self.client.on("room:error", lambda text, *_: self.over.put(text))

    def run(self, url: str, user: str) -> str | None:
        """Return when the room has the line; what went wrong, if something did."""
        try:
            # For a server started with AUTH_MODE=insecure. Any other wants `{"token": token}`.
            self.client.connect(f"{url}?recovery=0", auth={"userId": user}, wait_timeout=10)
            return self.over.get()
        except socketio.exceptions.ConnectionError as error:
            return str(error) if self.over.empty() else self.over.get()
        finally:
            self.client.disconnect()

    def join(self) -> None:
        # After a lost connection too: this library knows no recovery.
        self.client.emit("room:join", self.room, callback=self.joined)

    def joined(self, answer: dict[str, Any]) -> None:
        self.check(answer)
        if answer["ok"]:
            self.client.emit("message:send", self.message, callback=self.check)

    def check(self, answer: dict[str, Any]) -> None:
        if not answer["ok"]:
            self.over.put(answer["error"]["message"])

    def refused(self, error: Any) -> None:
        # What the server says is an object; a text is the network's fault.
        if isinstance(error, dict):
            self.over.put(error["message"])

    def show_all(self, messages: list[dict[str, Any]]) -> None:
        for message in messages:
            self.show(message)

    def show(self, message: dict[str, Any]) -> None:
        print(f"{message['userId']}: {message['content']}", flush=True)
        if message["id"] == self.message["id"]:
            self.over.put(None)


if __name__ == "__main__":
    url, user, room, line = sys.argv[1:]
    sys.exit(Talk(room, line).run(url, user))
