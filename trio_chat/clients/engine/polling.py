"""The way out of a session whose client polls: packets wait until it asks for them.

1. Offering never waits. What waits is bounded as an outbox is: droppable packets go first, then the session. Exempt
   packets have a far wider bound.
2. At most one request waits. A second one is an `Overlap`, which the protocol ends the session for.
3. A body holds as many packets as fit into `max_payload`, but at least one and at most `MAX_FETCHED`: nothing is cut
   in two.
4. A packet leaves once: in a body, or over the WebSocket that the client has moved to.
5. The session decides how long what waits may go unfetched, by `stalled`.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

import msgspec
import trio
from typing_extensions import override

from trio_chat.clients.engineio import join
from trio_chat.clients.outbox import EXEMPT_LIMITS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_FETCHED: Final = 16
"""python-engineio's client gives up on a body with more."""


class Owner(Protocol):
    """Whose way out it is."""

    def outbox_full(self) -> None:
        """More waits than may. Must not wait."""
        ...


class Overlap(Exception):
    """A second request of the same kind came while one was being served."""


class Waiting(msgspec.Struct, frozen=True, gc=False):
    """A packet that waits; see `EngineLink.offer`."""

    packet: bytes
    droppable: bool
    exempt: bool


class Polling:
    """See the module. Lives until the session ends or moves to a WebSocket.

    Attributes:
        waiting: bytes that wait, without exempt ones.
        exempt: exempt bytes that wait.
        over: whether the client has fetched the last packet there will be.
    """

    __slots__ = (
        "_last", "_limit", "_max_payload", "_nudging", "_owner", "_poll", "_queue", "_unfetched", "exempt", "over",
        "waiting",
    )  # fmt: skip

    def __init__(self, owner: Owner, limit: int, max_payload: int) -> None:
        """Open the way out.

        Args:
            owner: whom to tell when too much waits.
            limit: how many bytes may wait, without exempt ones.
            max_payload: how many bytes a body may have.
        """
        self._owner: Owner | None = owner
        """None once sealed: there is nothing left to tell it."""
        self._limit = limit
        self._max_payload = max_payload
        self._queue: deque[Waiting] = deque()
        self.waiting = self.exempt = 0
        self._poll: trio.Event | None = None
        self._nudging = False
        self._unfetched: float | None = None
        """When what waits was first seen to wait."""
        self._last: bytes | None = None
        self.over = False

    @override
    def __repr__(self) -> str:
        state = "sealed" if self._last else "open"
        return f"<Polling {state} packets={len(self._queue)} waiting={self.waiting}>"

    def offer(self, packets: Sequence[bytes], *, droppable: bool = False, exempt: bool = False) -> None:
        """Let packets wait for the client. Does nothing once sealed."""
        if self._owner is None:
            return
        for packet in packets:
            self._append(Waiting(packet, droppable, exempt))
        if self.waiting > self._limit:
            self._make_room()
        if self.waiting > self._limit or self.exempt > self._limit * EXEMPT_LIMITS:
            self._owner.outbox_full()
        self._wake()

    def nudge(self, *, on: bool) -> None:
        """From now on answer requests at once, if need be with a noop, so that the client can move; or no longer."""
        self._nudging = on
        self._wake()

    def seal(self, last: bytes) -> None:
        """Accept nothing more; `last` is sent behind what waits. The first one counts."""
        if self._last is None:
            self._last = last
        self._owner = None
        self._wake()

    def clear(self) -> None:
        """Throw away what waits."""
        self._queue.clear()
        self.waiting = self.exempt = 0

    def stalled(self, now: float, exceeding: int = 0) -> float:
        """Return for how long more than so many bytes have waited and nothing was fetched, as far as it was looked at."""
        if self.waiting + self.exempt <= exceeding:
            self.note_progress()
        elif self._unfetched is None:
            self._unfetched = now
        return 0.0 if self._unfetched is None else now - self._unfetched

    def note_progress(self) -> None:
        """Know that the client is fetching."""
        self._unfetched = None

    def drain(self) -> Iterator[Waiting]:
        """Take everything that waits, in order, to send it another way."""
        while self._queue:
            yield self._pop()

    async def next_body(self) -> bytes:
        """Return the body for a request as soon as there is something to say.

        Cancelling is safe: what waits goes on waiting.

        Raises:
            Overlap: another request is waiting.
        """
        if self._poll is not None:
            raise Overlap
        self._poll = trio.Event()
        try:
            if self._queue or self._nudging or self._last is not None:
                self._poll.set()
            await self._poll.wait()
        finally:
            self._poll = None
        return self.take()

    def take(self) -> bytes:
        """Return a body of what waits now; a noop if nothing does."""
        self.note_progress()
        packets: list[bytes] = []
        size = -1  # one separator less than packets
        while self._queue:
            size += 1 + len(self._queue[0].packet)
            if len(packets) == MAX_FETCHED or (packets and size > self._max_payload):
                break
            packets.append(self._pop().packet)
        if self._last is not None and not self._queue and len(packets) < MAX_FETCHED:
            packets.append(self._last)
            self.over = True
        return join(packets)

    def _append(self, waiting: Waiting) -> None:
        self._queue.append(waiting)
        self._count(waiting, 1)

    def _pop(self) -> Waiting:
        waiting = self._queue.popleft()
        self._count(waiting, -1)
        return waiting

    def _count(self, waiting: Waiting, sign: int) -> None:
        if waiting.exempt:
            self.exempt += sign * len(waiting.packet)
        else:
            self.waiting += sign * len(waiting.packet)

    def _make_room(self) -> None:
        kept = [waiting for waiting in self._queue if not waiting.droppable]
        self.clear()
        for waiting in kept:
            self._append(waiting)

    def _wake(self) -> None:
        if self._poll is not None and (self._queue or self._nudging or self._last is not None):
            self._poll.set()
