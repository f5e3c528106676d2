"""Who is connected: connections by user, and when each one's token ends.

A user gets no further by coming back again and again. Each connection has a bucket of requests, and one that ends leaves
what it has spent behind: its place among those a user may have is taken until its bucket would be full again, or until
a connection that finds no other place goes on with what is in it. So all connections of a user together, those that ended
included, ask for no more than as many as are allowed could.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

import msgspec
import trio
from typing_extensions import override

from trio_chat.clients.bucket import Bucket

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


class _Entry(msgspec.Struct, gc=False):
    expires_at: float | None
    bucket: Bucket | None


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
        self._guests: dict[str, dict[Guest, _Entry]] = {}
        self._spent: dict[str, list[Bucket]] = {}
        """The buckets of connections that have ended, and were not full when somebody looked last."""

    @override
    def __repr__(self) -> str:
        counts = self.statistics()
        return f"<Registry users={counts.users} connections={counts.connections}>"

    def statistics(self) -> RegistryStatistics:
        """Return the current counts."""
        return RegistryStatistics(len(self._guests), sum(map(len, self._guests.values())))

    def enter(self, user: str, guest: Guest, expires_at: float | None, bucket: Bucket | None = None) -> bool:
        """Note a connection. Returns False, and notes nothing, if the user has as many as allowed.

        Args:
            user: whose it is.
            guest: the connection.
            expires_at: when its token ends, in Unix seconds.
            bucket: what it may ask for. It loses what the user's connections before it have spent of its share.
        """
        guests = self._guests.setdefault(user, {})
        if self._limit and len(guests) >= self._limit:
            return False
        if bucket is not None:
            self._take_over(user, bucket, len(guests))
        guests[guest] = _Entry(expires_at, bucket)
        return True

    def _take_over(self, user: str, bucket: Bucket, others: int) -> None:
        """Go on with the fullest of those left behind, if they and the `others` are as many as allowed."""
        left = self._left_by(user)
        if bucket in left:  # who disconnected, but kept the line, connects again
            left.remove(bucket)
        if left and others + len(left) >= self._limit:
            fullest = max(left, key=lambda one: one.level)
            left.remove(fullest)
            bucket.have_no_more_than(fullest)

    def _left_by(self, user: str) -> list[Bucket]:
        left = [bucket for bucket in self._spent.pop(user, ()) if not bucket.full]
        if left:
            self._spent[user] = left
        return left

    def renew(self, user: str, guest: Guest, expires_at: float | None) -> None:
        """Note that a connection goes on with another token."""
        if (entry := self._guests.get(user, {}).get(guest)) is not None:
            entry.expires_at = expires_at

    def revoke(self, user: str) -> int:
        """End every connection of a user. Returns how many there were."""
        guests = list(self._guests.get(user, {}))
        for guest in guests:
            guest.token_revoked()
        return len(guests)

    def leave(self, user: str, guest: Guest) -> None:
        """Forget a connection, but not yet what it has spent."""
        guests = self._guests.get(user, {})
        entry = guests.pop(guest, None)
        if not guests:
            self._guests.pop(user, None)
        if entry is not None and entry.bucket is not None and self._limit and not entry.bucket.full:
            self._spent.setdefault(user, []).append(entry.bucket)

    async def watch(self) -> None:
        """End connections whose token has expired, within 5 s. Runs until cancelled; cancelling is safe."""
        while True:
            await trio.sleep(_SWEEP_SECONDS)
            now = self._clock()
            for guests in list(self._guests.values()):
                for guest, entry in list(guests.items()):
                    if entry.expires_at is not None and entry.expires_at <= now:
                        guest.token_expired()
            for user in list(self._spent):
                self._left_by(user)
