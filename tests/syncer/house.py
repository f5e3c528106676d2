"""A syncer between two stores, and the rooms of its process."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import trio
from typing_extensions import override

from trio_chat.live_rooms import NoRooms
from trio_chat.message import Message, Posted, Receipt, new_epoch
from trio_chat.settings import Settings
from trio_chat.stores.base import Append, Batch, Refused, Session, Unsynced
from trio_chat.stores.memory import MemoryArchive, MemoryHotStore
from trio_chat.syncer import Syncer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Sequence


NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = datetime(2026, 3, 1, 13, tzinfo=UTC)


def a_post(seq: int, content: str = "hi") -> Posted:
    """Make the event of a seq."""
    return Posted(
        Message(
            id=f"m{seq}",
            role="user",
            content=content,
            timestamp=NOON,
            metadata={},
            user_id="ann",
            seq=seq,
            rev=seq,
        )
    )


class AnArchive(MemoryArchive):
    """An archive that notes when it was written to, and with what."""

    def __init__(self) -> None:
        super().__init__()
        self.tried: list[float] = []
        self.written: list[Sequence[Batch]] = []
        self.refused_users: set[str] = set()

    @override
    async def write(self, batches: Sequence[Batch]) -> int:
        """Write, and note it."""
        self.tried.append(trio.current_time())
        if any(batch.receipts.keys() & self.refused_users for batch in batches):
            raise Refused("a read mark is refused")
        changed = await super().write(batches)
        self.written.append(batches)
        return changed


class LiveRooms(NoRooms):
    """Rooms of this process, as far as a test says so."""

    def __init__(self) -> None:
        self.batches: dict[Session, Batch] = {}
        self.degraded: set[Session] = set()
        self.lost: list[Session] = []
        self.marks: list[tuple[Session, int]] = []
        self.live = False

    @override
    def busy(self) -> bool:
        """Return what the test says."""
        return self.live

    @override
    def unsynced(self) -> Collection[Session]:
        """Return what is held."""
        return list(self.batches)

    @override
    def held(self, session: Session, limit: int, *, partly: bool = False) -> Unsynced | None:
        """Return it."""
        if (batch := self.batches.get(session)) is None:
            return None
        events = batch.events[:limit]
        upto = events[-1].seq if len(events) < len(batch.events) else batch.top
        synced = events[0].seq - 1 if events else batch.top
        return Unsynced(session, synced, upto, batch.top, events, receipts=batch.receipts)

    @override
    def is_degraded(self, session: Session) -> bool:
        """Return what the test says."""
        return session in self.degraded

    @override
    def note_lost(self, session: Session) -> None:
        """Note it."""
        self.lost.append(session)

    @override
    def note_synced(self, session: Session, seq: int) -> None:
        """Note it."""
        self.marks.append((session, seq))
        if (held := self.batches.pop(session, None)) is not None and held.top > seq:
            left = tuple(event for event in held.events if event.seq > seq)
            self.batches[session] = Batch(session, held.top, left, receipts=held.receipts)


class Scene:
    """A syncer between two stores."""

    def __init__(self, **settings: Any) -> None:
        self.hot = MemoryHotStore()
        self.archive = AnArchive()
        self.rooms = LiveRooms()
        self.syncer = Syncer(self.hot, self.archive, Settings(**settings), self.rooms)

    async def session(self, room: str = "r", count: int = 2, *, content: str = "hi") -> Session:
        """Put a dirty session into the hot store."""
        session = Session(room, new_epoch(NOON))
        events = tuple(a_post(seq, content) for seq in range(1, count + 1))
        assert await self.hot.append(Append(session, 0, count, 1, 0, events)) is None
        return session

    async def add(self, session: Session, seq: int, content: str = "hi") -> None:
        """Add one event to a session."""
        write = Append(session, seq - 1, seq, 1, 0, (a_post(seq, content),))
        assert await self.hot.append(write) is None

    async def read(self, session: Session, top: int, *users: str, seconds: float = 0) -> dict[str, Receipt]:
        """Let users read up to the session's top."""
        receipt = Receipt(f"m{top}", NOON + timedelta(seconds=seconds))
        receipts = dict.fromkeys(users, receipt)
        assert await self.hot.append(Append(session, top, top, 1, 0, (), receipts=receipts)) is None
        return receipts

    def archived(self, session: Session) -> list[int]:
        """Return the seqs the archive has of a session."""
        return sorted(self.archive.rows(session))

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[trio.Nursery, None]:
        """Let the syncer run inside the block."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.syncer.run)
            yield nursery
            nursery.cancel_scope.cancel()
