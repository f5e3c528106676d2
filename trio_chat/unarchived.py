"""What the archive lacks of a session: as the hot store has it, or else the live room.

What the hot store cannot tell (it is away, it refuses a degraded room, it has lost the session) is taken from the memory
of the room, and so is what it has lost of a session: together they have more than either.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec
from typing_extensions import override

from trio_chat.stores.base import Batch

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from trio_chat.live_rooms import LiveRooms
    from trio_chat.message import Event, Receipt
    from trio_chat.stores.base import HotStore, Session, Unsynced

logger = logging.getLogger(__name__)

# More events than there are of a session.
_ALL = 1_000_000_000


class Unarchived:
    """See the module. Lives as long as its syncer.

    Args:
        hot: where sessions are read from.
        rooms: the live rooms of this process.
    """

    def __init__(self, hot: HotStore, rooms: LiveRooms) -> None:
        self._hot = hot
        self._rooms = rooms
        self._given: dict[Session, Mapping[str, Receipt]] = {}
        """The read marks last archived of sessions: rooms keep theirs for the hot store, and show them again."""
        self._torn: set[Session] = set()
        """Of which sessions it was said that the hot store has lost some."""

    @override
    def __repr__(self) -> str:
        return f"<Unarchived given={len(self._given)}>"

    def note_archived(self, batch: Batch) -> None:
        """Know that the archive has this."""
        if batch.receipts:
            self._given[batch.session] = batch.receipts

    def forget_others(self, sessions: Collection[Session]) -> None:
        """Forget all sessions but these."""
        self._given = {session: marks for session, marks in self._given.items() if session in sessions}
        self._torn.intersection_update(sessions)

    async def read(self, session: Session, ended: datetime | None, limit: int) -> tuple[Batch | None, int]:
        """Return what is to be archived of a session that has `ended`, None if nothing, and how far to go on with it.

        These are at most `limit` events.

        Cancelling is safe.
        """
        found = await self._find(session, limit)
        if found is None:
            # A clean session that has ended is nowhere any more; that it has is still to be told.
            return (Batch(session, 0, (), ended) if ended else None), 0
        if not (found.events or found.receipts or ended or found.upto > found.synced):
            return None, found.top
        return Batch(session, found.upto, found.events, ended, found.receipts), found.top

    async def is_kept(self, session: Session) -> bool:
        """Return whether the hot store is sure to have what the archive lacks of the session of a live room.

        Cancelling is safe.
        """
        if not self._hot.healthy or self._rooms.is_degraded(session):
            return False
        await self._find(session, _ALL)
        return session not in self._torn

    async def _find(self, session: Session, limit: int) -> Unsynced | None:
        memory = self._rooms.memory(session)
        written, known = (0, 0) if memory is None else (memory.written, memory.synced)
        if not self._hot.healthy or self._rooms.is_degraded(session):
            return self._held(session, limit)
        found = await self._hot.unsynced(session, limit)
        if found is None:
            self._torn.add(session)
            self._rooms.note_lost(session)
            return self._held(session, limit, partly=True)
        both = self._mend(found, written, limit)
        known = max(known, found.synced)
        if both.upto > known and not (both.events or found.unreadable):
            logger.error(
                "room %s: events %d to %d of session %s are nowhere any more",
                session.room, known + 1, both.upto, session.epoch,
            )  # fmt: skip
        return both

    def _held(self, session: Session, limit: int, *, partly: bool = False) -> Unsynced | None:
        """Return what the live room has, as far as it is news."""
        held = self._rooms.held(session, limit, partly=partly)
        if held is not None and held.receipts and held.receipts == self._given.get(session):
            held = msgspec.structs.replace(held, receipts={}) if held.upto > held.synced else None
        return held

    def _mend(self, found: Unsynced, written: int, limit: int) -> Unsynced:
        """Return what the hot store has of a session and what the live room has, at most `limit` events in all.

        What is superseded leaves the room's memory first, so whatever is there now was there when the store was read.

        Args:
            found: what the hot store has.
            written: up to where it had everything before.
            limit: see `read`.
        """
        memory = self._rooms.memory(found.session)
        if memory is None:
            return found
        # Another syncer that has marked the store did not know what this room has.
        low = min(found.synced, memory.synced)
        top = found.top if found.top >= written else max(found.top, memory.vouched)
        high = top if found.upto == found.top else found.upto
        there = {event.seq: event for event in found.events}
        events: list[Event] = []
        lost: list[int] = []
        for seq in range(low + 1, high + 1):
            if found.top < seq <= memory.synced:
                continue  # The store has no place for a mark there, and the room knows that it is archived.
            event = there.get(seq)
            if event is None and (event := memory.find(seq)) is not None:
                if seq > memory.vouched:
                    high = top = seq - 1  # It may only be on its way: it is for the next round.
                    break
                if seq > found.synced:
                    lost.append(seq)
            if event is not None:
                events.append(event)
            if len(events) == limit:
                high = seq
                break
        self._note_loss(found, lost, written)
        return msgspec.structs.replace(found, synced=low, upto=high, top=top, events=tuple(events))

    def _note_loss(self, found: Unsynced, lost: Sequence[int], written: int) -> None:
        """Let the room give back what the hot store has lost, and say so once."""
        session = found.session
        if not lost and found.top >= written:
            self._torn.discard(session)
            return
        if session not in self._torn:
            self._torn.add(session)
            logger.warning(
                "room %s: the hot store has lost events of session %s, from %d on; it gets back what the room has",
                session.room, session.epoch, lost[0] if lost else found.top + 1,
            )  # fmt: skip
        if lost and lost[0] <= found.top:
            self._rooms.note_torn(session)
        else:
            self._rooms.note_lost(session)
