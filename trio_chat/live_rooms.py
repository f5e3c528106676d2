"""What the syncer asks of the rooms of its process, and tells them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import msgspec
from typing_extensions import override

from trio_chat.message import Event

if TYPE_CHECKING:
    from collections.abc import Collection

    from trio_chat.stores.base import Session, Unsynced


class Memory(msgspec.Struct, frozen=True):
    """What a live room knows of its session at this moment.

    Attributes:
        synced: up to where it was told that the archive has everything.
        written: up to where the hot store was known to have everything.
        vouched: see `Ledger.vouched`.
        find: returns the event of a seq if it is in memory.
    """

    synced: int
    written: int
    vouched: int
    find: Callable[[int], Event | None]


class LiveRooms(Protocol):
    """See the module. All synchronous."""

    def busy(self) -> bool:
        """Whether there are live rooms, so that people may notice what the syncer does."""
        ...

    def unsynced(self) -> Collection[Session]:
        """Return the sessions of live rooms that have something the archive has not been told to have."""
        ...

    def held(self, session: Session, limit: int, *, partly: bool = False) -> Unsynced | None:
        """Return that from the room's memory; None if there is nothing. See `Ledger.unsynced`."""
        ...

    def memory(self, session: Session) -> Memory | None:
        """Return what a room knows of its session; None if it is that of no live room."""
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


class NoRooms(LiveRooms):
    """For a syncer without rooms in this process."""

    @override
    def busy(self) -> bool:
        return False

    @override
    def unsynced(self) -> Collection[Session]:
        return ()

    @override
    def held(self, session: Session, limit: int, *, partly: bool = False) -> Unsynced | None:
        return None

    @override
    def memory(self, session: Session) -> Memory | None:
        return None

    @override
    def is_degraded(self, session: Session) -> bool:
        return False

    @override
    def note_lost(self, session: Session) -> None:
        pass

    @override
    def note_torn(self, session: Session) -> None:
        pass

    @override
    def note_synced(self, session: Session, seq: int) -> None:
        pass
