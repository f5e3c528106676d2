"""Perform scripts against real rooms over memory stores, on virtual time.

1. A *stage* has two stores, which stay, and one lobby after another over them, as a machine has processes.
2. Commands are performed one by one: the next begins when everything the one before set off has come to rest,
   without time passing. Time passes in `Sleep`, `Mend` and `Restart` alone.
3. Everything goes into the `Record`.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, assert_never

import trio
from trio.testing import MockClock, wait_all_tasks_blocked
from typing_extensions import override

from trio_chat.settings import Settings
from trio_chat.stores.memory import MemoryArchive, MemoryHotStore
from trio_chat.testing import script as do
from trio_chat.testing.clients import Clients
from trio_chat.testing.faults import Faults
from trio_chat.testing.process import Process
from trio_chat.testing.record import Asked, Mended, Record, Vanished

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable

    from trio_chat.lobby import Lobby
    from trio_chat.mail import Mail
    from trio_chat.stores.base import Session
    from trio_chat.stores.memory import Moment

SMALL = Settings(
    session_expiry_seconds=60,
    max_messages_per_session=5,
    session_sync_interval_seconds=20,
    sync_after_events=4,
    backlog_limit=20,
)
"""Settings under which a short script meets every limit: a window of 5 messages, expiry after a minute."""

START = 1 / 32
"""How many seconds a process needs to start; within the same millisecond two epochs would not sort by time."""

# Longer than the syncer's longest pause between two attempts.
_CATCH_UP = 90.0


class Stage:
    """Two stores, and one lobby after another over them, as a machine has processes. Made by `open_stage`; lives as long as that block.

    Attributes:
        hot: the hot store.
        archive: the archive.
        faults: the switches of the stores, by "hot" and "archive".
        record: what has happened so far.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        settings: Settings,
        hot: MemoryHotStore,
        archive: MemoryArchive,
        beside: Callable[[Lobby], Awaitable[object]] | None,
    ) -> None:
        self.hot = hot
        self.archive = archive
        self.faults: dict[do.StoreName, Faults] = {
            "hot": Faults(hot, timeout=1.0, seen=self._keep_watch),
            "archive": Faults(archive, timeout=5.0),
        }
        self.record = Record(settings, hot, archive)
        self._nursery = nursery
        self._settings = settings
        self._beside = beside
        self._process = Process(beside)
        self._step = 0
        self._clients = Clients(self.record, self._send)
        self._tops: dict[Session, int] = {}

    @override
    def __repr__(self) -> str:
        return f"<Stage steps={self._step} {self._clients!r} {self.lobby!r}>"

    @property
    def lobby(self) -> Lobby:
        """The lobby of the current process."""
        return self._process.lobby

    def _send(self, room: str, mail: Mail) -> None:
        self.lobby.mail(room, mail)

    def now(self) -> datetime:
        """Return the wall clock of the stage, which goes with Trio's."""
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=trio.current_time())

    async def perform(self, *commands: do.AnyCommand) -> None:
        """Perform commands, one after the other. Cancelling leaves the last one half done."""
        for command in commands:
            self._note(command)
            await self._act(command)
            await wait_all_tasks_blocked()

    def _note(self, command: do.AnyCommand) -> None:
        self._step += 1
        self.record.add(Asked(trio.current_time(), self._step, command))

    async def _act(self, command: do.AnyCommand) -> None:
        match command:
            case do.Sleep():
                await trio.sleep(command.seconds)
            case do.Restart() | do.Kill():
                await self.end(command)
                await trio.sleep(START)
                await self.begin()
            case do.Mend():
                await self._mend()
            case do.Together():
                for request in command.requests:
                    self._note(request)
                    self._clients.request(self._step, request)
            case do.Crash():
                self._crash(command)
            case do.LoseData():
                await self._lose_data(command)
            case do.Down() | do.Up() | do.Freeze() | do.Trouble():
                self._meddle(command)
            case _:
                self._clients.request(self._step, command)

    # --- processes

    async def begin(self) -> None:
        """Start a process."""
        self._process = Process(self._beside)
        await self._nursery.start(
            self._process.run, self.hot, self.archive, self._settings, self.now, name="process"
        )

    async def end(self, command: do.Restart | do.Kill) -> None:
        """End the process, in order or not."""
        if isinstance(command, do.Kill):
            ended = await self._process.kill(self.faults.values())
        else:
            ended = await self._process.stop(command.patience)
        self._clients.disconnect()
        self.record.add(ended)

    # --- faults

    def _crash(self, command: do.Crash) -> None:
        match command.where:
            case "deciding":
                self._clients.poison(command.room)
            case "writing":
                self.faults["hot"].fail("append", error=RuntimeError)
            case "written":
                self.faults["hot"].fail("append", moment="after", error=RuntimeError)
            case "telling changes":
                self._clients.mine(command.room, changes=True)
            case "telling others":
                self._clients.mine(command.room, changes=False)
            case _:
                assert_never(command.where)

    async def _mend(self) -> None:
        for faults in self.faults.values():
            faults.up()
        await trio.sleep(_CATCH_UP + self._settings.session_sync_interval_seconds)
        await wait_all_tasks_blocked()
        dirty = [
            session
            for session, (top, synced) in self.hot.sessions().items()
            if top > synced or self.hot.pending(session)
        ]
        self.record.add(Mended(trio.current_time(), dirty, self.lobby.unsaved()))

    def _meddle(self, command: do.Down | do.Up | do.Freeze | do.Trouble) -> None:
        match command:
            case do.Down():
                self.faults[command.store].down()
            case do.Up():
                self.faults[command.store].up()
            case do.Freeze():
                self.faults[command.store].pause()
            case do.Trouble():
                self.faults[command.store].plan(command.fates)
            case _:
                assert_never(command)

    async def _lose_data(self, command: do.LoseData) -> None:
        noticed = self.hot.healthy and not command.unnoticed
        if noticed:
            self.hot.set_healthy(False)
            await wait_all_tasks_blocked()
        if command.tail is None:
            self.hot.lose_everything()
        else:
            with suppress(KeyError):  # the room has no session
                self.hot.lose_tail(command.room, command.tail)
        if noticed:
            self.hot.set_healthy(True)
        self._tops = {session: top for session, (top, _) in self.hot.sessions().items()}

    def _keep_watch(self, _call: str, _moment: Moment) -> None:
        """Note every session that the hot store lets go of."""
        sessions = self.hot.sessions()
        for session in self._tops.keys() - sessions.keys():
            known = self.archive.sessions.get(session)
            archived = known.top if known is not None else 0
            self.record.add(Vanished(trio.current_time(), session, self._tops[session], archived))
        self._tops = {session: top for session, (top, _) in sessions.items()}


@asynccontextmanager
async def open_stage(
    *,
    settings: Settings = SMALL,
    hot: MemoryHotStore | None = None,
    archive: MemoryArchive | None = None,
    beside: Callable[[Lobby], Awaitable[object]] | None = None,
) -> AsyncGenerator[Stage, None]:
    """Open a stage with a process running. Leaving the block stops it in order; cancelling ends it at once.

    Args:
        settings: of the rooms.
        hot: a hot store; by default one that promises "redis".
        archive: an archive.
        beside: started in every process with its lobby, and cancelled before the process stops: a bot under test.
    """
    hot = hot or MemoryHotStore(expiry=settings.session_expiry_seconds, durability="redis")
    async with trio.open_nursery() as nursery:
        stage = Stage(nursery, settings, hot, archive or MemoryArchive(), beside)
        await stage.begin()
        yield stage
        await stage.end(do.Restart())


def play(
    script: Iterable[do.AnyCommand],
    *,
    settings: Settings = SMALL,
    hot: MemoryHotStore | None = None,
    archive: MemoryArchive | None = None,
    beside: Callable[[Lobby], Awaitable[object]] | None = None,
) -> Record:
    """Perform a script on a stage of its own, in a Trio run of its own, on virtual time. Takes milliseconds.

    Not to be called inside a Trio run; there `open_stage` is. The arguments are those of `open_stage`.
    """

    async def perform() -> Record:
        async with open_stage(settings=settings, hot=hot, archive=archive, beside=beside) as stage:
            await stage.perform(*script)
        return stage.record

    return trio.run(perform, clock=MockClock(autojump_threshold=0))
