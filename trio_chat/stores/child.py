"""A server as our child: a program, a directory it has to itself, and a life that ends with ours.

1. One directory, one server. The program that uses it holds `owner.lock`; the server and all its children hold
   `server.lock`. So a server starts only when nothing is left of the one before, however that one ended.
2. Starting and stopping are written once, as generators that yield how long to pause. `supervised` runs them
   under Trio, `serving` in a plain thread.
3. A supervised server that dies is started again, with growing delays: whoever uses it reconnects by itself.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from pathlib import Path
from signal import SIGCONT, SIGSTOP, Signals
from typing import ClassVar, TypeAlias, TypeVar

import msgspec
import trio
from typing_extensions import override

from trio_chat.errors import Misconfigured, SettingsError, TrioChatError, Unavailable
from trio_chat.stores.process import ChildProcess

_log = logging.getLogger(__name__)

Pauses: TypeAlias = Generator[float, None, None]
"""Steps to take with pauses between them, in seconds."""

_LONGEST_SOCKET_PATH = 107  # sockaddr_un holds 108 bytes, the last of them NUL
_GLANCE = 0.01
_PATIENCE_WITH_START = 300.0  # a long log to replay takes its time
_PATIENCE_WITH_PREDECESSOR = 20.0
_PATIENCE_WITH_STOP = 30.0  # above the sum of any server's `farewells`
_PATIENCE_IF_CANCELLED = 3.0
_FIRST_DELAY, _LONGEST_DELAY = 0.1, 5.0  # before a restart
_STEADY = 60.0  # who ran for so long starts with the first delay again


class ServerStatistics(msgspec.Struct, frozen=True):
    """What a server is doing.

    Attributes:
        pid: its process, None while there is none.
        starts: how often it was started, the first time included.
    """

    pid: int | None
    starts: int


class ChildServer(ABC):
    """A server program and its directory. Runs within `supervised` or `serving`; not for use by several threads.

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
        for pause in self.starting():
            time.sleep(pause)

    def stop(self) -> None:
        """End it as gently as it lets us. Blocks."""
        for pause in self.stopping():
            time.sleep(pause)

    def starting(self) -> Pauses:
        """Start it, and end when it answers. If the steps are not taken to their end, `stopping` comes next.

        Raises:
            SettingsError: this machine cannot run it.
            Misconfigured: it ended at once; the message quotes its log.
            Unavailable: its predecessor is still there, or it takes too long.
        """
        command = self.command()
        lock = _open_lock(self.directory / "server.lock")
        try:
            yield from until(lambda: _take(lock), _PATIENCE_WITH_PREDECESSOR)
            if not _take(lock):
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
            lock = _open_lock(self.directory / "owner.lock")
        except OSError as error:
            raise SettingsError([f"{setting}: cannot be used: {error}"]) from error
        try:
            if not _take(lock):
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


Server = TypeVar("Server", bound=ChildServer)


@contextmanager
def serving(server: Server) -> Generator[Server, None, None]:
    """Run a server for as long as the context, in a program without Trio. Nobody restarts it."""
    with server.owning():
        try:
            server.start()
            yield server
        finally:
            server.stop()


@asynccontextmanager
async def supervised(server: Server) -> AsyncGenerator[Server, None]:
    """Run a server for as long as the context, and start it again whenever it dies.

    It is ready when the context begins. Leaving ends it gently, within 30 s at most; cancelling, before or meanwhile,
    leaves it 3 s for that.
    Raises what `ChildServer.owning` and `ChildServer.starting` raise; what the block raises comes out as it is.
    """
    failure: Exception | None = None
    with server.owning():
        try:
            await _paced(server.starting())
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_keep_running, server, name=f"keep {server.name} running")
                try:
                    yield server
                except Exception as error:  # noqa: BLE001 - raised again below, outside the nursery's group
                    failure = error
                nursery.cancel_scope.cancel()
        finally:
            await _end(server)  # noqa: ASYNC102 - it bounds itself
    if failure is not None:
        raise failure


async def _end(server: ChildServer) -> None:
    """End a server gently, and at once if that takes too long. Cancelling shortens what is too long."""
    try:
        with trio.move_on_after(_PATIENCE_WITH_STOP):
            await _paced(server.stopping())
    finally:
        with trio.move_on_after(_PATIENCE_IF_CANCELLED, shield=True):
            if server.pid is not None:
                await _paced(server.stopping())
        server.kill()


async def _keep_running(server: ChildServer) -> None:
    """Start a server again whenever it ends. Cancelling leaves it as it is."""
    delay = 0.0
    while True:
        since = trio.current_time()
        code = await server.wait_ended()
        steady = trio.current_time() - since > _STEADY
        delay = _FIRST_DELAY if steady or not delay else min(2 * delay, _LONGEST_DELAY)
        _log.error("%s ended with exit code %d; it is started again in %.1f s", server.name, code, delay)
        await trio.sleep(delay)
        try:
            await _paced(server.starting())
        except (TrioChatError, OSError) as error:
            _log.error("%s", error)


async def _paced(pauses: Pauses) -> None:
    """Take the steps under Trio. Cancelling closes them."""
    await trio.lowlevel.checkpoint()
    with closing(pauses):
        for pause in pauses:
            await trio.sleep(pause)


def until(condition: Callable[[], bool], patience: float) -> Pauses:
    """Pause until the condition holds or `patience` seconds are over, whichever comes first."""
    deadline = time.monotonic() + patience
    while not condition() and time.monotonic() < deadline:
        yield _GLANCE


def read_text(path: Path) -> str:
    """Return what is in the file; nothing if there is none."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def write_durably(path: Path, text: str) -> None:
    """Replace the file's content so that a crash at any point leaves the old or the new one."""
    new = path.with_name(f"{path.name}.new")
    with new.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory survive a power failure."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _open_lock(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _take(lock: int) -> bool:
    """Lock the open file unless somebody else has; whoever inherits it holds the same lock."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
