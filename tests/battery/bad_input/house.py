"""The real server over memory stores, on a real socket, and what can be seen of it from inside.

`open_house` runs it in the caller's event loop; a `House` runs it in a thread of its own, so that one server lasts for
many tests and is untroubled by what they do.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

import trio

from trio_chat import app
from trio_chat.app import App, open_app
from trio_chat.clients.auth import make_token
from trio_chat.settings import Settings
from trio_chat.stores.memory import MemoryArchive, MemoryHotStore
from trio_chat.stores.places import Stores

T = TypeVar("T")

SECRET = "a secret of the house, of more than 32 bytes"
ORIGIN = "https://chat.example.org"
PATIENCE = 10


@asynccontextmanager
async def memory_stores(_: Settings) -> AsyncIterator[Stores]:
    """Stand in for `open_stores`."""
    yield Stores(MemoryHotStore(durability="redis"), MemoryArchive(), "memory", "memory")


@asynccontextmanager
async def open_house(**changes: Any) -> AsyncIterator[App]:
    """Run a server that wants tokens, for as long as the block."""
    settings = Settings(**{"port": 0, "auth_secret": SECRET, **changes})
    with patch.object(app, "open_stores", memory_stores):
        async with open_app(settings) as running:
            yield running


class Escapes(logging.Handler):
    """Keeps every record that says that something of ours went wrong: an error, or anything with a traceback."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        if record.levelno >= logging.ERROR or record.exc_info:
            self.records.append(logging.Formatter().format(record))


class House:
    """See the module. Lives as long as its block.

    Args:
        settings: what is to be other than usual.
    """

    def __init__(self, **settings: Any) -> None:
        self.escapes = Escapes()
        self._settings = settings
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._live, name="house")
        self._token: trio.lowlevel.TrioToken | None = None
        self._failure: BaseException | None = None
        self._stop = trio.Event()

    def __enter__(self) -> House:
        """Start, and return when it listens."""
        logging.getLogger("trio_chat").addHandler(self.escapes)
        self._thread.start()
        assert self._ready.wait(PATIENCE), "it did not start"
        self._look()
        self.port = self.app.port
        return self

    def __exit__(self, *_: object) -> None:
        """Stop in good order."""
        logging.getLogger("trio_chat").removeHandler(self.escapes)
        if self._thread.is_alive():
            assert self._token is not None
            self._token.run_sync_soon(self._stop.set)
            self._thread.join(PATIENCE)
        self._look()
        assert not self._thread.is_alive(), "it did not stop"

    def _look(self) -> None:
        if self._failure is not None:
            raise AssertionError("the server has ended") from self._failure

    def _live(self) -> None:
        try:
            trio.run(self._serve)
        except Exception as failure:  # noqa: BLE001  # it is raised again where somebody looks
            self._failure = failure
        self._ready.set()

    async def _serve(self) -> None:
        async with open_house(**self._settings) as self.app:
            self._token = trio.lowlevel.current_trio_token()
            self._ready.set()
            await self._stop.wait()

    def ask(self, question: Callable[[], T]) -> T:
        """Have something looked up in the server's thread."""
        self._look()
        return trio.from_thread.run_sync(question, trio_token=self._token)

    def token(self, user: str = "eve", *rooms: str, **claims: Any) -> str:
        """Make a token, by default for all rooms."""
        return make_token(self.app.settings, user, rooms or ("*",), **claims)

    def resources(self) -> tuple[int, int, int]:
        """Return how many tasks there are besides those of rooms, how many descriptors, and how many clients."""

        def count() -> tuple[int, int, int]:
            tasks = trio.lowlevel.current_statistics().tasks_living - len(self.app.lobby.rooms)
            return tasks, len(list(Path("/proc/self/fd").iterdir())), self.app.clients.statistics().links

        return self.ask(count)

    def stored(self) -> dict[str, int]:
        """Return how many events each room's session has, in memory or in a store."""

        def count() -> dict[str, int]:
            rooms = self.app.lobby.rooms.values()
            return {room.name: room.ledger.history.top for room in rooms if room.ledger.history.top}

        return self.ask(count)

    def failed(self) -> list[str]:
        """Return everything that has escaped, or went wrong on our side."""
        failed = self.ask(lambda: self.app.clients.statistics().failed)
        crashes = self.ask(lambda: self.app.lobby.statistics().crashes)
        return [
            *self.escapes.records,
            *(["a connection failed"] if failed else []),
            *(["a room crashed"] if crashes else []),
        ]
