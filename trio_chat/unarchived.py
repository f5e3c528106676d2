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
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from trio_chat.live_rooms import LiveRooms
    from trio_chat.message import Receipt
    from trio_chat.stores.base import HotStore, Session, Unsynced

logger = logging.getLogger(__name__)


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

    async def read(self, session: Session, ended: datetime | None, limit: int) -> tuple[Batch | None, int]:
        """Return what is to be archived of a session that has `ended`, None if nothing, and its top.

        These are at most `limit` events.

        Cancelling is safe.
        """
        if self._hot.healthy and not self._rooms.is_degraded(session):
            found = await self._hot.unsynced(session, limit)
            if found is not None:
                found = self._mend(found, limit)
                if found.upto > found.synced and not (found.events or found.unreadable):
                    logger.error(
                        "room %s: events %d to %d of session %s are nowhere any more",
                        session.room, found.synced + 1, found.upto, session.epoch,
                    )  # fmt: skip
                if not (found.events or found.receipts or ended or found.upto > found.synced):
                    return None, found.top
                return Batch(session, found.upto, found.events, ended, found.receipts), found.top
            self._rooms.note_lost(session)
        held = self._rooms.held(session)
        if held is not None and held.receipts and held.receipts == self._given.get(session):
            held = msgspec.structs.replace(held, receipts={}) if held.events else None
        if held is not None:
            events = held.events[:limit]
            upto = events[-1].seq if len(events) < len(held.events) else held.top
            return Batch(session, upto, events, ended, held.receipts), held.top
        # A clean session that has ended is nowhere any more; that it has is still to be told.
        return (Batch(session, 0, (), ended) if ended else None), 0

    def _mend(self, found: Unsynced, limit: int) -> Unsynced:
        """Return what the hot store has, and what it lacks of it and the live room has, at most `limit` events in all.

        What is superseded leaves the room's memory first, so whatever is there now was there when it was read.
        """
        there = {event.seq for event in found.events}
        absent = (seq for seq in range(found.synced + 1, found.upto + 1) if seq not in there)
        held = self._rooms.remembered(found.session, absent)
        if held is None or not held.events:
            return found
        logger.warning(
            "room %s: the hot store has lost events of session %s, %d from %d to %d; the room has these",
            found.session.room, found.session.epoch, len(held.events), held.events[0].seq, held.events[-1].seq,
        )  # fmt: skip
        self._rooms.note_torn(found.session)
        events = sorted((*found.events, *held.events), key=lambda event: event.seq)
        upto = min(found.upto, held.top)
        if len(events) > limit:
            upto = min(upto, events[limit - 1].seq)
        return msgspec.structs.replace(
            found, events=tuple(event for event in events if event.seq <= upto), upto=upto
        )
