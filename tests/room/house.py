"""A room that runs, its stores, and people who talk to it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import trio

from tests.rooms import now
from trio_chat.errors import Unavailable
from trio_chat.gathering import Gathering
from trio_chat.mail import Answer, Post, Typing
from trio_chat.message import Position
from trio_chat.room import Room
from trio_chat.seat import Seat
from trio_chat.settings import Settings
from trio_chat.stores.base import Session
from trio_chat.stores.memory import MemoryHotStore

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from trio_chat.stores.memory import Moment


EXPIRY = 1200.0


class AnArchiver:
    """Who archives: keeps what it was asked, and takes its time if told to."""

    def __init__(self) -> None:
        self.kicked: list[Session] = []
        self.flushed: list[tuple[Session, datetime | None]] = []
        self.takes = 0.0
        self.kept = True

    def kick(self, session: Session) -> None:
        """Archive soon."""
        self.kicked.append(session)

    async def flush(self, session: Session, *, ended: datetime | None = None) -> bool:
        """Archive now."""
        self.flushed.append((session, ended))
        await trio.sleep(self.takes)
        return True

    async def is_kept(self, session: Session) -> bool:
        """Say what the test says."""
        return self.kept


class AStore(MemoryHotStore):
    """A hot store with a gate before and a gate behind every append, and one switch that makes them fail."""

    def __init__(self) -> None:
        super().__init__(durability="redis", interfere=self._meet)
        self.appends = 0
        self.failing = False
        self.gates: dict[Moment, trio.Event] = {}

    async def _meet(self, call: str, moment: Moment) -> None:
        if call != "append":
            return
        self.appends += moment == "before"
        if moment in self.gates:
            await self.gates[moment].wait()
        if self.failing and moment == "before":
            raise Unavailable("the store takes nothing")

    def shut(self, moment: Moment = "before") -> trio.Event:
        """Let appends wait at a moment, until the event is set."""
        self.gates[moment] = trio.Event()
        return self.gates[moment]

    def crash_once(self, at: Moment = "before") -> None:
        """Plant a bug: the next call raises, before or after it has done its work."""

        async def crash(call: str, moment: Moment) -> None:
            if moment == at:
                self.interfere = self._meet
                raise RuntimeError("a planted bug")

        self.interfere = crash


class Scene:
    """A room that runs, its stores, and people who talk to it."""

    def __init__(self, nursery: trio.Nursery, hot: AStore, settings: Settings) -> None:
        self.hot = hot
        self.archiver = AnArchiver()
        self.settings = settings
        self.nursery = nursery
        self.gathering = Gathering()
        self.forgotten: list[Room] = []
        self.room = self.another()
        self.ended: list[Room] = []
        self.over = trio.Event()

    def another(self) -> Room:
        """Make a room of the same name over the same stores."""
        return Room(
            "r",
            hot=self.hot,
            archiver=self.archiver,
            settings=self.settings,
            now=now,
            forget=self.forgotten.append,
            gathering=self.gathering,
        )

    async def run(self, room: Room) -> None:
        """Run a room, and note that it ended and when."""
        await room.run()
        self.ended.append(room)
        self.over.set()

    async def seat(self, user: str, resume: Position | None = None) -> Seat:
        """Take a seat."""
        seat = Seat("r", user, self.room.mail, self.settings)
        await seat.take(resume)
        return seat

    def post(self, content: str = "hi", key: str | None = None, user: str = "ann") -> list[Answer]:
        """Mail a post and return the list its answer will be in."""
        answers: list[Answer] = []
        self.room.mail(Post(user, "user", content, {}, key, answers.append))
        return answers

    @property
    def session(self) -> Session:
        """The room's current session."""
        return self.room.ledger.session

    async def stored(self) -> list[int]:
        """Return the seqs the hot store has of the current session."""
        return [event.seq for event in self.hot.log(self.session)]


@asynccontextmanager
async def open_scene(hot: AStore | None = None, **settings: Any) -> AsyncGenerator[Scene, None]:
    """Run a room for the length of the block."""
    async with trio.open_nursery() as nursery:
        chosen = Settings(**{"max_messages_per_session": 10, **settings})
        scene = Scene(nursery, hot or AStore(), chosen)
        nursery.start_soon(scene.run, scene.room)
        yield scene
        nursery.cancel_scope.cancel()


async def said_of_typing(seat: Seat, until: float) -> list[tuple[float, str, bool]]:
    """Listen until a time. Returns who started or stopped typing, and when that was heard."""
    found: list[tuple[float, str, bool]] = []
    with trio.move_on_at(until):
        async for hearing in seat.events():
            match hearing:
                case Typing(user, active):
                    found.append((trio.current_time(), user, active))
                case _:
                    pass
    return found
