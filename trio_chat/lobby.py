"""The lobby finds or starts the actor of a room, supervises it, and forgets it when it retires.

1. `mail` is synchronous: between finding a room and putting mail into it nothing else can happen, so nobody ever
   holds a room that has retired.
2. A crash stays in its room; `supervision` says how.
3. Nurseries nest in the order of shutdown: rooms finish the mail they have, then the syncer makes its last round.
"""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import trio
from typing_extensions import override

from trio_chat.counts import TurnCounts
from trio_chat.errors import Unavailable
from trio_chat.gathering import Gathering
from trio_chat.live_view import LiveView
from trio_chat.mail import Leave, Look, View
from trio_chat.message import check_room
from trio_chat.paging import read_page
from trio_chat.room import Room
from trio_chat.seat import Seat, ask, ignore
from trio_chat.settings import Settings
from trio_chat.supervision import supervise
from trio_chat.syncer import Syncer
from trio_chat.traces import span

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from trio_chat.mail import Mail
    from trio_chat.message import Position
    from trio_chat.paging import Page
    from trio_chat.stores.base import Archive, HotStore
    from trio_chat.traces import Traces

logger = logging.getLogger(__name__)

# At the end: how long the rooms may take to finish the mail they have, and the syncer for its last round.
_DRAIN_SECONDS = 5.0
_LAST_ROUND_SECONDS = 5.0
# How many rooms are looked at in one go, which takes about a millisecond.
_SLICE = 250


class LobbyStatistics(msgspec.Struct, frozen=True):
    """Counts of one lobby.

    Attributes:
        rooms: those with an actor.
        members: in all of them.
        degraded: rooms whose newest events are in memory only.
        crashes: of actors, since the start.
        dirty: rooms with events that the archive is not known to have.
        unsynced: how many events these are.
        backlog: how many events nobody but this process has.
    """

    rooms: int
    members: int
    degraded: int
    crashes: int
    dirty: int
    unsynced: int
    backlog: int


class _Tally:
    """Adds up what rooms count. Lives for one look at them."""

    def __init__(self) -> None:
        self._rooms = self._members = self._degraded = self._dirty = self._unsynced = self._backlog = 0

    def add(self, room: Room) -> None:
        self._rooms += 1
        self._members += len(room.audience)
        self._degraded += room.ledger.degraded
        unsynced = room.ledger.history.unsynced
        self._dirty += unsynced > 0
        self._unsynced += unsynced
        self._backlog += room.ledger.backlog

    def statistics(self, crashes: int) -> LobbyStatistics:
        return LobbyStatistics(
            rooms=self._rooms,
            members=self._members,
            degraded=self._degraded,
            crashes=crashes,
            dirty=self._dirty,
            unsynced=self._unsynced,
            backlog=self._backlog,
        )


class Lobby:
    """All rooms of one process. Made by `open_lobby`; lives as long as that block."""

    def __init__(
        self,
        hot: HotStore,
        archive: Archive,
        settings: Settings,
        *,
        now: Callable[[], datetime],
        traces: Traces | None = None,
    ) -> None:
        self.hot = hot
        self.archive = archive
        self.settings = settings
        self.now = now
        self.rooms: dict[str, Room] = {}
        self.syncer = Syncer(hot, archive, settings, LiveView(self.rooms), traces)
        self.gathering = Gathering()
        """For whoever brings mail of many in one go: each room then takes its part as one turn."""
        self.counts = TurnCounts()
        self._traces = traces
        self._nursery: trio.Nursery | None = None
        self._finish_by: float | None = None
        """When the rooms are cut at the end, once they are to finish."""
        self._running = 0
        """How many rooms have a task."""
        self._finished = trio.Event()
        """Set when the last of them has ended after they were to finish."""
        self._crashes = 0

    @override
    def __repr__(self) -> str:
        return f"<Lobby rooms={len(self.rooms)} {self.syncer!r}>"

    def statistics(self) -> LobbyStatistics:
        """Return the current counts. Ten thousand rooms take tens of milliseconds; see `survey`."""
        tally = _Tally()
        for room in self.rooms.values():
            tally.add(room)
        return tally.statistics(self._crashes)

    async def survey(self, look: Callable[[Room], None] | None = None) -> LobbyStatistics:
        """Return the current counts, looking at some rooms at a time: clients do not wait for that.

        What changes meanwhile is counted before or after, and a room that has retired since as it was last. Cancelling is
        safe.

        Args:
            look: is shown each room besides.
        """
        tally = _Tally()
        for number, room in enumerate(list(self.rooms.values())):
            if number % _SLICE == 0:
                await trio.lowlevel.checkpoint()
            tally.add(room)
            if look is not None:
                look(room)
        await trio.lowlevel.checkpoint()
        return tally.statistics(self._crashes)

    def mail(self, room: str, mail: Mail) -> None:
        """Bring mail to a room, starting the room if need be. Synchronous; the room answers later.

        Raises:
            BadRequest: the room id is malformed.
            Unavailable: the room has too much mail (`overloaded`), or the lobby is closing.
        """
        found = self.rooms.get(room)
        if found is None or self._nursery is None:
            found = self._start(check_room(room))
        found.mail(mail)

    @asynccontextmanager
    async def join(
        self, room: str, *, user: str, resume: Position | None = None
    ) -> AsyncGenerator[Seat, None]:
        """Take a seat in a room; leaving the block leaves the room.

        Args:
            room: the room id.
            user: who sits there. The library trusts its program; nobody is authenticated.
            resume: the position up to which the program knows the room; see `Joined.recovered`.

        Raises:
            BadRequest: the room or the user id is malformed.
            Unavailable: the room is overloaded or closed.
        """
        seat = Seat(check_room(room), user, partial(self.mail, room), self.settings)
        try:
            await seat.take(resume)
            yield seat
        finally:
            seat.close()
            if (found := self.rooms.get(room)) is not None:
                found.mail(Leave(seat, True, ignore))

    async def history(self, room: str, before: Position | None = None, limit: int = 50) -> Page:
        """Return up to `limit` messages below a position, oldest first, from the window and then the archive.

        Cancelling is safe.
        """
        view = await ask(partial(self.mail, room), Look, View)
        with span(self._traces, "history.page", {"trio_chat.room": room}):
            return await read_page(room, view, before, limit, hot=self.hot, archive=self.archive)

    def _start(self, name: str) -> Room:
        if self._nursery is None:
            raise Unavailable("the server is stopping; come back shortly")
        room = self.rooms[name] = Room(
            name,
            hot=self.hot,
            archive=self.archive,
            archiver=self.syncer,
            settings=self.settings,
            now=self.now,
            forget=self._forget,
            gathering=self.gathering,
            counts=self.counts,
            traces=self._traces,
        )
        self._nursery.start_soon(self._run, room, name=f"room {name}")
        self._running += 1
        return room

    def _forget(self, room: Room) -> None:
        del self.rooms[room.name]

    async def watch_store(self) -> None:
        """Let every room look after its session whenever the hot store was away: it may be back without its data.

        Runs until cancelled; cancelling is safe.
        """
        while True:
            await self.hot.wait_health(False)
            logger.warning("the hot store is away; rooms go on in memory")
            await self.hot.wait_health(True)
            logger.info("the hot store is back")
            for room in list(self.rooms.values()):
                room.doubt()

    async def finish(self) -> None:
        """Take no more mail, and return when the rooms have answered what they have. They then rest until the end.

        For a program that has something to do for its members when all is answered, and before the block ends. Waits
        for nothing but answers, and for no longer than the stores may take: bound it. Cancelling is safe: the rooms
        still finish, and the end of the block waits for them.
        """
        self._begin_to_finish()
        await self._finished.wait()

    def _begin_to_finish(self) -> None:
        if self._finish_by is not None:
            return
        self._finish_by = trio.current_time() + _DRAIN_SECONDS
        self._nursery = None
        self.syncer.hurry()
        for room in self.rooms.values():
            room.finish()
        if not self._running:
            self._finished.set()

    def _note_crash(self) -> None:
        self._crashes += 1

    async def _run(self, room: Room) -> None:
        try:
            await supervise(room, self._note_crash)
        finally:
            self._running -= 1
            if not self._running and self._finish_by is not None:
                self._finished.set()

    @asynccontextmanager
    async def open_rooms(self) -> AsyncGenerator[None, None]:
        """Let rooms run inside the block. At its end they finish the mail they have, within 5 s of being told to."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                try:
                    yield
                finally:
                    self._begin_to_finish()
                    nursery.cancel_scope.deadline = self._finish_by or 0.0
        finally:
            for room in self.rooms.values():
                room.abandon(Unavailable("the server stopped before it could answer; come back shortly"))

    def unsaved(self) -> dict[str, int]:
        """Return the rooms with events that neither store has, and how many each has."""
        return {room.name: room.ledger.backlog for room in self.rooms.values() if room.ledger.backlog}


@asynccontextmanager
async def open_lobby(
    *,
    hot: HotStore,
    archive: Archive,
    settings: Settings | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    traces: Traces | None = None,
) -> AsyncGenerator[Lobby, None]:
    """Open a lobby over two stores, which must outlive the block.

    Leaving the block lets the rooms finish the mail they have, then archives what is dirty; each is bounded by
    5 s. Cancelling ends the rooms at once, where they are; the last round still happens, within its bound. What the
    block raises comes out as it is, not in a group.

    Args:
        hot: where sessions live while they are active.
        archive: where every message ends up.
        settings: expiry, window, limits; the defaults if None.
        now: the wall clock, for timestamps. A test may give it a virtual one.
        traces: who is told what took how long; None if nobody is.
    """
    failure: Exception | None = None
    async with trio.open_nursery() as syncing:
        lobby = Lobby(hot, archive, settings or Settings(), now=now, traces=traces)
        await syncing.start(lobby.syncer.run, name="syncer")
        syncing.start_soon(lobby.watch_store, name="hot store watch")
        try:
            async with lobby.open_rooms():
                try:
                    yield lobby
                except Exception as error:  # noqa: BLE001 - carried past the nurseries, which would wrap it
                    failure = error
        finally:
            with trio.move_on_after(_LAST_ROUND_SECONDS, shield=True):
                await lobby.syncer.sync_all()
            syncing.cancel_scope.cancel()
    if failure is not None:
        raise failure
