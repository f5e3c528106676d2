"""Who posts in a room, and when.

1. The members of a room post in turn, so that the load on each connection is even.
2. At a rate, each message has a time when it is due, whatever became of those before it, and its latencies count from
   there: a server that stalls cannot slow down the clock it is measured by.
3. With a window there is no such time; a message's latencies count from when it was sent.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import trio
from typing_extensions import override

from trio_chat.bench.tally import RoomTally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from trio_chat.bench.member import Member
    from trio_chat.bench.tally import Counts

# How much too late a timer may wake somebody who slept, which is no fault of the server: timers count in
# milliseconds here.
_TIMER_SECONDS = 0.0015
# After a refusal; whoever repeats at once is disconnected in the end.
_REST_SECONDS = 1.0
# How long a message may take to be sent, once begun, when everything else has ended.
_SEND_SECONDS = 5.0


class Budget:
    """How many messages may still be posted. `messages` is None for any number. Lives as long as the run."""

    def __init__(self, messages: int | None) -> None:
        self._left = messages

    @override
    def __repr__(self) -> str:
        return f"<Budget {'any' if self._left is None else self._left}>"

    def take(self) -> bool:
        """Take one. Returns whether there was one left."""
        if self._left is None:
            return True
        self._left -= 1
        return self._left >= 0


class Poster:
    """One room's. Lives as long as the run.

    Attributes:
        members: who is in the room; to be filled before anything is posted.
        tally: the room's accounts.
        latest: how late at most a message was sent, in seconds.
    """

    def __init__(
        self, members: int, counts: Counts, budget: Budget, window: int | None, on_settled: Callable[[], None]
    ) -> None:
        self.members: list[Member] = []
        self.tally = RoomTally(members, counts, self._settle)
        self.latest = 0.0
        self._budget = budget
        self._slots = trio.Semaphore(window or 0)
        self._on_settled = on_settled
        self._next = 0
        self._refused = False

    @override
    def __repr__(self) -> str:
        return f"<Poster {self.tally!r} {self._budget!r}>"

    async def post_at(self, dues: Iterable[float]) -> None:
        """Post a message at each of these times, of `time.perf_counter`. Cancelling is safe."""
        for due in dues:
            origin = await self._wait_until(due)
            if not await self._post(origin):
                return

    async def post_in_window(self) -> None:
        """Post a message whenever there are fewer than the window under way. Cancelling is safe."""
        while True:
            await self._slots.acquire()
            if self._refused:
                await trio.sleep(_REST_SECONDS)
                self._refused = False
            if not await self._post(time.perf_counter()):
                return

    async def _wait_until(self, due: float) -> float:
        """Return, at that time, from when latencies count."""
        ahead = due - time.perf_counter()
        await trio.sleep(max(0.0, ahead))
        now = time.perf_counter()
        self.latest = max(self.latest, now - due)
        return now if ahead > 0 and now - due < _TIMER_SECONDS else due

    async def _post(self, origin: float) -> bool:
        """Have the next member post. Returns False if there is none, or nothing left to post.

        Cancelling does not cut a message in two, which would end the connection; it may take a while instead.
        """
        member = self._take_turn()
        if member is None or not self._budget.take():
            return False
        with trio.move_on_after(_SEND_SECONDS) as scope:
            scope.shield = True
            await member.post(origin)
        return True

    def _take_turn(self) -> Member | None:
        for _ in self.members:
            member = self.members[self._next]
            self._next = (self._next + 1) % len(self.members)
            if member.present:
                return member
        return None

    def _settle(self, refused: bool) -> None:
        self._refused = self._refused or refused
        self._slots.release()
        self._on_settled()
