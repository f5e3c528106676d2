"""The rooms of a lobby, as its syncer sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from trio_chat.live_rooms import Memory

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trio_chat.room import Room
    from trio_chat.stores.base import Session, Unsynced


class LiveView:
    """See the module: `LiveRooms` of a lobby. Lives as long as it.

    Args:
        rooms: by name; the lobby's own.
    """

    def __init__(self, rooms: Mapping[str, Room]) -> None:
        self._rooms = rooms

    @override
    def __repr__(self) -> str:
        return f"<LiveView rooms={len(self._rooms)}>"

    def _find(self, session: Session) -> Room | None:
        room = self._rooms.get(session.room)
        return room if room is not None and room.ledger.session == session else None

    def busy(self) -> bool:
        """See `LiveRooms`."""
        return bool(self._rooms)

    def unsynced(self) -> list[Session]:
        """See `LiveRooms`."""
        # Read marks alone may be waiting, too.
        return [
            room.ledger.session
            for room in self._rooms.values()
            if room.ledger.history.unsynced or room.unsynced(limit=1) is not None
        ]

    def held(self, session: Session, limit: int, *, partly: bool = False) -> Unsynced | None:
        """See `LiveRooms`."""
        room = self._find(session)
        return None if room is None else room.unsynced(limit, partly=partly)

    def memory(self, session: Session) -> Memory | None:
        """See `LiveRooms`."""
        if (room := self._find(session)) is None:
            return None
        history = room.ledger.history
        return Memory(history.synced, room.ledger.written, room.vouched, history.find)

    def is_degraded(self, session: Session) -> bool:
        """See `LiveRooms`."""
        room = self._find(session)
        return room is not None and room.ledger.degraded

    def note_lost(self, session: Session) -> None:
        """See `LiveRooms`."""
        if (room := self._find(session)) is not None:
            room.doubt()

    def note_torn(self, session: Session) -> None:
        """See `LiveRooms`."""
        if (room := self._find(session)) is not None:
            room.doubt(torn=True)

    def note_synced(self, session: Session, seq: int) -> None:
        """See `LiveRooms`."""
        if (room := self._find(session)) is not None:
            room.ledger.history.mark_synced(seq)
