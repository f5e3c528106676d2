"""The rooms of a lobby, as its syncer sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trio_chat.room import Room
    from trio_chat.stores.base import Batch, Session


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
            if room.ledger.history.unsynced or room.unsynced() is not None
        ]

    def held(self, session: Session) -> Batch | None:
        """See `LiveRooms`."""
        room = self._find(session)
        return None if room is None else room.unsynced()

    def remembered(self, session: Session, seqs: Iterable[int]) -> Batch | None:
        """See `LiveRooms`."""
        room = self._find(session)
        return None if room is None else room.remembered(seqs)

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
