"""Servers and stores as processes: started, stopped, frozen and killed, with all that belongs to them."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM
from typing import TYPE_CHECKING

import trio
from typing_extensions import override

from trio_chat.stores.files import read_text
from trio_chat.stores.pauses import paced
from trio_chat.stores.process import ChildProcess

if TYPE_CHECKING:
    from collections.abc import Sequence
    from signal import Signals

    from trio_chat.stores.child import ChildServer
    from trio_chat.stores.embedded import EmbeddedPostgres

_GLANCE = 0.01
_PATIENCE_WITH_START = 30.0


class Server:
    """`trio-chat serve`, or another command, as a process. May be started again after it has ended.

    Args:
        directory: for its log.
        command: what Python runs.
    """

    def __init__(self, directory: Path, command: Sequence[str]) -> None:
        self.directory = directory
        self.log = directory / "log"
        self.command = list(command)
        self.starts = 0
        self._process: ChildProcess | None = None

    @override
    def __repr__(self) -> str:
        return f"<Server pid={self.pid} starts={self.starts}>"

    @property
    def pid(self) -> int | None:
        """Its process, None while there is none."""
        return self._process.pid if self._process else None

    @property
    def code(self) -> int | None:
        """Its exit code, None while it runs."""
        return self._process.code if self._process else None

    @property
    def said(self) -> str:
        """All it has logged, over all starts."""
        return read_text(self.log)

    @property
    def descriptors(self) -> int:
        """How many files and sockets it has open."""
        return len([*Path(f"/proc/{self.pid}/fd").iterdir()]) if self.pid else 0

    def spawn(self) -> None:
        """Start it, and do not wait for it. From Trio's own thread only: it ends with the thread that starts it."""
        self.directory.mkdir(parents=True, exist_ok=True)
        lock = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            command = [sys.executable, *self.command]
            self._process = ChildProcess(command, log=self.log, lock=lock, farewell=SIGKILL, uid=None)
        finally:
            os.close(lock)
        self.starts += 1

    async def start(self, announces: str = "listens on") -> None:
        """Start it, and return when it has said that it is ready. If cancelled it may be there or not.

        Raises:
            RuntimeError: it ended.
            trio.TooSlowError: it takes too long.
        """
        known = len(self.said)
        self.spawn()
        with trio.move_on_after(_PATIENCE_WITH_START):
            while self.pid is not None:
                if announces in self.said[known:]:
                    return
                await trio.sleep(_GLANCE)
        said = self.said[known:][-4000:]
        if self.pid is not None:
            raise trio.TooSlowError(f"the server is not ready after {_PATIENCE_WITH_START:g} s:\n{said}")
        raise RuntimeError(f"the server did not start:\n{said}")

    def send(self, number: Signals) -> None:
        """Send it a signal."""
        if self._process is not None:
            self._process.send(number)

    def kill(self) -> None:
        """End it as a crash of the machine's kernel would: at once."""
        if self._process is not None:
            self._process.kill()

    async def ended(self, patience: float) -> int | None:
        """Wait until it has ended. Returns its exit code, None if it did not in time."""
        if self._process is None:
            return None
        with trio.move_on_after(patience):
            return await self._process.wait_ended()
        return None

    async def stop(self, patience: float = 20.0) -> int | None:
        """Ask it to stop; see `ended`."""
        self.send(SIGTERM)
        return await self.ended(patience)


async def start(server: ChildServer) -> None:
    """Start one of the stores, and return when it answers. Cancelling leaves it half-way: `halt` it then."""
    await paced(server.starting())


async def halt(server: ChildServer) -> None:
    """End one of the stores, gently."""
    await paced(server.stopping())


def freeze_postgres(postgres: EmbeddedPostgres, *, thaw: bool = False) -> None:
    """Stop, or let go on, the Postgres and all the processes that serve its connections."""
    if postgres.pid is None:
        return
    for pid in [postgres.pid, *children(postgres.pid)]:
        os.kill(pid, SIGCONT if thaw else SIGSTOP)


def kill_tree(store: ChildServer) -> None:
    """Kill a store with all its processes, frozen or not, in the middle of whatever they do."""
    found = children(store.pid) if store.pid else []
    store.kill()
    for pid in found:
        with suppress(ProcessLookupError):
            os.kill(pid, SIGKILL)


def children(pid: int) -> list[int]:
    """Return the child processes of a process."""
    return [int(word) for word in read_text(Path(f"/proc/{pid}/task/{pid}/children")).split()]
