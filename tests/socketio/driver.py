"""Socket.IO clients of the `python-socketio` package, driven by a test. What is said is in `drivers.py`."""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import engineio
import socketio

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 10
"""Seconds that a first connection may take; a busy machine needs more than the one that is the default."""

_lock = threading.Lock()


def say(**line: Any) -> None:
    """Write a line, whichever thread it comes from."""
    with _lock:
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


class InOrder(engineio.Client):
    """Has one thread for all that the server says.

    The package starts a thread for each packet, so that packets can overtake each other after they have arrived.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._packets: queue.Queue[Callable[[], object]] = queue.Queue()
        threading.Thread(target=self._take, daemon=True).start()

    def start_background_task(self, target: Callable[..., object], *args: Any, **kwargs: Any) -> Any:
        """Start a thread, or have the one for packets take it."""
        if target != self.handlers["message"]:
            return super().start_background_task(target, *args, **kwargs)
        return self._packets.put(partial(target, *args, **kwargs))

    def _take(self) -> None:
        while True:
            self._packets.get()()


class Client(socketio.Client):
    """A client with the package's default options."""

    def _engineio_client_class(self) -> type[engineio.Client]:
        return InOrder


class Driven:
    """A client and what a test may do with it.

    Args:
        name: what the test calls it.
    """

    def __init__(self, name: str) -> None:
        self._sio = Client()
        self._connect: Callable[[], None] = lambda: None
        self._tell = partial(say, client=name)
        self._sio.on("*", self._heard)
        self._sio.on("connect", self._connected)
        self._sio.on("connect_error", lambda error: self._heard("connect_error", error))
        self._sio.on("disconnect", lambda reason: self._heard("disconnect", reason))

    def open(
        self, answer: Callable[..., None], url: str, auth: dict[str, str], transports: list[str] | None
    ) -> None:
        self._connect = partial(
            self._sio.connect, url, auth=auth, transports=transports, wait_timeout=PATIENCE
        )
        self.reopen(answer)

    def reopen(self, answer: Callable[..., None]) -> None:
        threading.Thread(target=self._try_to_connect, daemon=True).start()
        answer(None)

    def emit(self, answer: Callable[..., None], event: str, *args: Any) -> None:
        self._sio.emit(event, args)
        answer(None)

    def ask(self, answer: Callable[..., None], event: str, *args: Any) -> None:
        self._sio.emit(event, args, callback=lambda *said: answer(said))

    def state(self, answer: Callable[..., None]) -> None:
        answer(self._state())

    def close(self, answer: Callable[..., None]) -> None:
        self._sio.disconnect()
        answer(None)

    def _state(self) -> dict[str, Any]:
        sid = self._sio.get_sid()
        # The package knows no recovery.
        return {
            "connected": sid is not None,
            "recovered": False,
            "id": sid,
            "pid": None,
            "transport": self._sio.transport(),
        }

    def _try_to_connect(self) -> None:
        with suppress(socketio.exceptions.ConnectionError):  # told as `connect_error`
            self._connect()

    def _heard(self, event: str, *args: Any) -> None:
        self._tell(event=event, args=args)

    def _connected(self) -> None:
        state = self._state()
        self._heard("connect", state)
        # It enters only when it has upgraded.
        if state["transport"] == "websocket" and self._sio.connection_transports is None:
            self._heard("upgrade", "websocket")


def main() -> None:
    """Do what the lines say, until there are no more."""
    clients: dict[str, Driven] = {}
    for line in sys.stdin:
        told = json.loads(line)
        name = told["client"]
        client = clients.get(name) or clients.setdefault(name, Driven(name))
        answer = partial(_answer, told["ref"])
        getattr(client, told["deed"])(answer, *told["args"])
    os._exit(0)


def _answer(ref: int, answer: Any) -> None:
    say(ref=ref, answer=answer)


if __name__ == "__main__":
    main()
