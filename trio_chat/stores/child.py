"""A server as our child: a program, a directory it has to itself, and a life that ends with ours.

1. One directory, one server. The program that uses it holds `owner.lock`; the server and all its children hold
   `server.lock`. So a server starts only when nothing is left of the one before, however that one ended.
2. Starting and stopping are written once, as generators that yield how long to pause. `supervision.supervised` runs
   them under Trio, `supervision.serving` in a plain thread.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from contextlib import contextmanager, suppress
from pathlib import Path
from signal import SIGCONT, SIGSTOP, Signals
from typing import TYPE_CHECKING, ClassVar

import msgspec
from typing_extensions import override

from trio_chat.errors import Misconfigured, SettingsError, TrioChatError, Unavailable
from trio_chat.stores.files import open_lock, read_text, sync_directory, take_lock
from trio_chat.stores.pauses import Pauses, take_steps, until
from trio_chat.stores.process import ChildProcess

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

_log = logging.getLogger(__name__)

_LONGEST_SOCKET_PATH = 107  # sockaddr_un holds 108 bytes, the last of them NUL
_PATIENCE_WITH_START = 300.0  # a long log to replay takes its time
_PATIENCE_WITH_PREDECESSOR = 20.0


class ServerStatistics(msgspec.Struct, frozen=True):
    """What a server is doing.

    Attributes:
        pid: its process, None while there is none.
        starts: how often it was started, the first time included.
    """

    pid: int | None
    starts: int


class ChildServer(ABC):
    """A server program and its directory. Runs within `supervision.supervised` or `supervision.serving`; not for use by several threads.

    Args:
        data_dir: holds one directory for each server; made if missing, its parents untouched.
        settings: more of the server's own settings, or others than ours.
        port: a TCP port on 127.0.0.1 to listen on; by default there is only a Unix socket.
    """

    name: ClassVar[str]
    """What people call it. In small letters, the name of its directory."""
    replaces: ClassVar[str]
    """The setting that makes it needless."""
    farewells: ClassVar[tuple[tuple[Signals, float], ...]]
    """How to end it: signals, the gentlest first, and how many seconds each is given."""
    niceness: ClassVar[int] = 0
    """How far it gives way to the programs beside it, see nice(1)."""

    def __init__(
        self, data_dir: Path, *, settings: Mapping[str, str] | None = None, port: int | None = None
    ) -> None:
        self.directory = data_dir.absolute() / self.name.lower()
        self.log = self.directory / f"{self.name.lower()}.log"
        self.sockets = self.directory
        self.settings = dict(settings or {})
        self.port = port
        self._child: ChildProcess | None = None
        self._starts = 0

    @override
    def __repr__(self) -> str:
        return f"<{self.name} pid={self.pid} starts={self._starts} {self.directory}>"

    def statistics(self) -> ServerStatistics:
        """Return its counts."""
        return ServerStatistics(self.pid, self._starts)

    @property
    @abstractmethod
    def url(self) -> str:
        """Where it is to be reached while it runs. The same after a restart."""

    @property
    @abstractmethod
    def socket(self) -> Path:
        """The path of its Unix socket."""

    @abstractmethod
    def preparing(self, lock: int) -> Pauses:
        """Do what comes before each start, while nothing else runs in the directory. `lock` is for `spawn`."""

    @abstractmethod
    def command(self) -> list[str]:
        """Return the command line. Raises `SettingsError` if the program is not installed."""

    @abstractmethod
    def ready(self) -> bool:
        """Whether the running process answers."""

    def account(self) -> int | None:
        """Return the uid to appear as in a user namespace, or None if no namespace is needed."""
        return None

    @property
    def pid(self) -> int | None:
        """Its process, ready or not; None while there is none."""
        return self._child.pid if self._child else None

    def kill(self) -> None:
        """End it at once, as a crash would. Blocks for as long as the kernel needs."""
        if self._child is not None:
            self._child.kill()

    def pause(self) -> None:
        """Freeze its main process: connections stay, nothing is answered."""
        self._send(SIGSTOP)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        self._send(SIGCONT)

    def start(self) -> None:
        """Start it and return when it answers. Blocks; see `starting` for the errors."""
        take_steps(self.starting())

    def stop(self) -> None:
        """End it as gently as it lets us. Blocks."""
        take_steps(self.stopping())

    def starting(self) -> Pauses:
        """Start it, and end when it answers. If the steps are not taken to their end, `stopping` comes next.

        Raises:
            SettingsError: this machine cannot run it.
            Misconfigured: it ended at once; the message quotes its log.
            Unavailable: its predecessor is still there, or it takes too long.
        """
        command = self.command()
        lock = open_lock(self.directory / "server.lock")
        try:
            yield from until(lambda: take_lock(lock), _PATIENCE_WITH_PREDECESSOR)
            if not take_lock(lock):
                raise Unavailable(
                    f"an earlier {self.name} does not end; it holds {self.directory}/server.lock"
                )
            yield from self.preparing(lock)
            self._rotate_log()
            self.spawn(command, lock)
        finally:
            os.close(lock)
        self._starts += 1
        yield from until(lambda: self.pid is None or self.ready(), _PATIENCE_WITH_START)
        if self.pid is None or not self.ready():
            raise self.failure("did not start")
        _log.info("%s is ready in %s", self.name, self.directory)

    def stopping(self) -> Pauses:
        """End it as gently as it lets us. Nothing happens if it does not run."""
        for signal, patience in self.farewells:
            self._send(signal)
            self._send(SIGCONT)  # while paused it would take no signal but SIGKILL
            yield from until(lambda: self.pid is None, patience)

    async def wait_ended(self) -> int:
        """Wait until its process has ended, and return the exit code. Cancelling is safe."""
        if self._child is None:
            raise RuntimeError(f"{self.name} was never started")
        return await self._child.wait_ended()

    def spawn(self, command: list[str], lock: int) -> ChildProcess:
        """Start a program of this server's, which holds `lock` until it ends."""
        farewell = self.farewells[0][0]
        self._child = ChildProcess(
            command,
            log=self.log,
            lock=lock,
            farewell=farewell,
            uid=self.account(),
            niceness=self.niceness,
        )
        return self._child

    def failure(self, what: str) -> TrioChatError:
        """End what may be left of the process, and return the error that says why."""
        code = self._child.code if self._child else None
        self.kill()
        if self._child and self._child.lacks_namespace:
            why = "not set, and the one that comes with trio-chat neither runs as this user nor may use a user namespace"
            return SettingsError([f"{self.replaces}: {why}. Set it, or start as an ordinary user"])
        if code is None:
            return Unavailable(f"{self.name} {what} within {_PATIENCE_WITH_START:.0f} s; see {self.log}")
        end = "\n".join(read_text(self.log).splitlines()[-8:])
        return Misconfigured(f"{self.name} {what} (exit code {code}). The end of {self.log}:\n{end}")

    @contextmanager
    def owning(self) -> Generator[None, None, None]:
        """Own the directory, so that no other program starts a server in it.

        Raises:
            SettingsError: another program owns it, or it cannot be used.
        """
        setting = f"DATA_DIR={self.directory.parent}"
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = open_lock(self.directory / "owner.lock")
        except OSError as error:
            raise SettingsError([f"{setting}: cannot be used: {error}"]) from error
        try:
            if not take_lock(lock):
                raise SettingsError(
                    [f"{setting}: in use by another process, which holds {self.directory}/owner.lock"]
                )
            with self._short_sockets():
                yield
        finally:
            os.close(lock)

    @contextmanager
    def _short_sockets(self) -> Generator[None, None, None]:
        """Keep the sockets elsewhere if the kernel would not take their path, or Postgres would take it for several."""
        if len(os.fsencode(self.socket)) <= _LONGEST_SOCKET_PATH and "," not in str(self.socket):
            yield
            return
        self.sockets = Path(tempfile.mkdtemp(prefix="trio-chat-"))
        try:
            yield
        finally:
            shutil.rmtree(self.sockets, ignore_errors=True)
            self.sockets = self.directory

    def _send(self, signal: Signals) -> None:
        if self._child is not None:
            self._child.send(signal)

    def _rotate_log(self) -> None:
        """Begin a new log. That of the run before is kept: there are two at most."""
        with suppress(FileNotFoundError):
            self.log.replace(self.log.with_suffix(".log.old"))
            sync_directory(self.directory)
