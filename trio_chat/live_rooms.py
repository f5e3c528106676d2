"""What the syncer asks of the rooms of its process, and tells them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from trio_chat.stores.base import Batch, Session


class LiveRooms(Protocol):
    """See the module. All synchronous."""

    def busy(self) -> bool:
        """Whether there are live rooms, so that people may notice what the syncer does."""
        ...

    def unsynced(self) -> Collection[Session]:
        """Return the sessions of live rooms that have something the archive has not been told to have."""
        ...

    def held(self, session: Session) -> Batch | None:
        """Return that from the room's memory; None if there is nothing, or if it does not hold it all."""
        ...

    def remembered(self, session: Session, seqs: Iterable[int]) -> Batch | None:
        """Return those of the events with these seqs that the room's memory has; None if there is no such room.

        `top` is up to where the room can tell: an event that was not let out yet may have superseded a later one.
        """
        ...

    def is_degraded(self, session: Session) -> bool:
        """Whether the session is of a live room whose newest events are in its memory only."""
        ...

    def note_lost(self, session: Session) -> None:
        """The hot store does not know this session."""
        ...

    def note_torn(self, session: Session) -> None:
        """The hot store lacks events of this session that it had."""
        ...

    def note_synced(self, session: Session, seq: int) -> None:
        """The archive has everything of the session up to `seq`."""
        ...


class NoRooms:
    """For a syncer without rooms in this process."""

    def busy(self) -> bool:
        """Return False."""
        return False

    def unsynced(self) -> Collection[Session]:
        """Return none."""
        return ()

    def held(self, session: Session) -> Batch | None:  # noqa: ARG002 - there is none
        """Return none."""
        return None

    def remembered(self, session: Session, seqs: Iterable[int]) -> Batch | None:  # noqa: ARG002 - there is none
        """Return none."""
        return None

    def is_degraded(self, session: Session) -> bool:  # noqa: ARG002 - there is none
        """Return False."""
        return False

    def note_lost(self, session: Session) -> None:
        """Do nothing."""

    def note_torn(self, session: Session) -> None:
        """Do nothing."""

    def note_synced(self, session: Session, seq: int) -> None:
        """Do nothing."""
