"""Who is connected: connections by user, and when each one's token ends."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

import msgspec
import trio
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Callable

_SWEEP_SECONDS = 5.0


class Guest(Protocol):
    """A connection, as the registry sees it."""

    def token_expired(self) -> None:
        """End the connection: its token has expired. Never waits."""
        ...

    def token_revoked(self) -> None:
        """End the connection: its user was revoked. Never waits."""
        ...


class RegistryStatistics(msgspec.Struct, frozen=True):
    """Counts of one registry."""

    users: int
    connections: int


class Registry:
    """See the module. One a server; lives as long as it.

    Args:
        limit: how many connections a user may have; 0 for any number.
        clock: Unix seconds, as tokens count them.
    """

    def __init__(self, limit: int, clock: Callable[[], float] = time.time) -> None:
        self._limit = limit
        self._clock = clock
        self._guests: dict[str, dict[Guest, float | None]] = {}

    @override
    def __repr__(self) -> str:
        counts = self.statistics()
        return f"<Registry users={counts.users} connections={counts.connections}>"

    def statistics(self) -> RegistryStatistics:
        """Return the current counts."""
        return RegistryStatistics(len(self._guests), sum(map(len, self._guests.values())))

    def enter(self, user: str, guest: Guest, expires_at: float | None) -> bool:
        """Note a connection. Returns False, and notes nothing, if the user has as many as allowed."""
        guests = self._guests.setdefault(user, {})
        if self._limit and len(guests) >= self._limit:
            return False
        guests[guest] = expires_at
        return True

    def renew(self, user: str, guest: Guest, expires_at: float | None) -> None:
        """Note that a connection goes on with another token."""
        guests = self._guests.get(user, {})
        if guest in guests:
            guests[guest] = expires_at

    def revoke(self, user: str) -> int:
        """End every connection of a user. Returns how many there were."""
        guests = list(self._guests.get(user, {}))
        for guest in guests:
            guest.token_revoked()
        return len(guests)

    def leave(self, user: str, guest: Guest) -> None:
        """Forget a connection."""
        guests = self._guests.get(user, {})
        guests.pop(guest, None)
        if not guests:
            self._guests.pop(user, None)

    async def watch(self) -> None:
        """End connections whose token has expired, within 5 s. Runs until cancelled; cancelling is safe."""
        while True:
            await trio.sleep(_SWEEP_SECONDS)
            now = self._clock()
            for guests in list(self._guests.values()):
                for guest, expires_at in list(guests.items()):
                    if expires_at is not None and expires_at <= now:
                        guest.token_expired()
