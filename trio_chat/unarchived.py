"""What the archive lacks of a session: as the hot store has it, or else the live room.

What the hot store cannot tell (it is away, it refuses a degraded room, it has lost the session or some of it) is taken
from the memory of the room.
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

        Of what the hot store has these are at most `limit` events.

        Cancelling is safe.
        """
        if self._hot.healthy and not self._rooms.is_degraded(session):
            found = await self._hot.unsynced(session, limit)
            if found is not None and (held := self._torn(found)) is not None:
                return msgspec.structs.replace(held, ended=ended), max(held.top, found.top)
            if found is not None:
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
            return msgspec.structs.replace(held, ended=ended), held.top
        # A clean session that has ended is nowhere any more; that it has is still to be told.
        return (Batch(session, 0, (), ended) if ended else None), 0

    def _torn(self, found: Unsynced) -> Batch | None:
        """Return what the live room has of a session if the hot store lacks some of that, else None.

        What is superseded leaves the room's memory first, so whatever is there now was there when it was read.
        """
        there = {event.seq for event in found.events}
        held = self._rooms.held(found.session)
        events = () if held is None else held.events
        lacking = [
            event.seq for event in events if found.synced < event.seq <= found.upto and event.seq not in there
        ]
        if held is None or not lacking:
            return None
        logger.warning(
            "room %s: the hot store has lost %d events of session %s (%d to %d); the room has them",
            found.session.room, len(lacking), found.session.epoch, lacking[0], lacking[-1],
        )  # fmt: skip
        self._rooms.note_torn(found.session)
        return held
