"""The bounded way out of a connection. Offering never waits; what the socket does not take is kept.

1. Everything a connection sends passes through here in pieces of whole frames. Pieces leave in the order they
   were offered and are never interleaved.
2. While nothing waits, an offer goes straight to a channel that takes bytes without waiting (a plain socket). What
   is left over waits for the pump, a task that exists only as long as something waits.
3. While it is held, what is offered is kept to go out in one piece, when it is let go: a send costs more than all else
   that is done for a message.
4. Too much waiting: droppable pieces go first. If that is not enough the owner is told, once, and decides.
5. A piece that has begun is never dropped: half a frame may be out.
6. A send that failed or was cancelled is the end: whatever waits is thrown away, nothing is written any more.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

import msgspec
import trio
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

Data: TypeAlias = bytes | memoryview

_PIECES = 64
"""The most pieces of one vectored send."""


# What was asked for does not count as waiting, however large it is; but while so many limits of it wait, nobody may
# ask for more.
EXEMPT_LIMITS = 64


class Channel(Protocol):
    """The way to the peer, as much of it as an outbox needs.

    Attributes:
        batch: how many bytes to send at once.
    """

    batch: int

    @property
    def send_now(self) -> Callable[[Data], int]:
        """Send what can be sent without waiting; return how many bytes that were.

        Raises `OSError`; `BlockingIOError` means that nothing could be sent.
        """
        ...

    async def wait_writable(self) -> None:
        """Return when sending makes sense. Cancelling is safe."""
        ...

    async def send(self, pieces: Sequence[Data]) -> int:
        """Send some of the bytes, at least one; return how many. Cancelling ends the connection."""
        ...


class Offer(Protocol):
    """See `Outbox.offer`."""

    def __call__(self, data: bytes, droppable: bool = False, exempt: bool = False) -> None:
        """Send now or later."""
        ...


class Owner(Protocol):
    """Whose outbox it is. All three are called from within `offer` or the pump, and must not wait."""

    def spawn(self, pump: Callable[[], Awaitable[None]]) -> None:
        """Start the pump as a task that lives until it ends by itself or the connection is cut."""
        ...

    def outbox_full(self) -> None:
        """More waits than may. The owner seals the outbox."""
        ...

    def outbox_lost(self) -> None:
        """Nothing can be sent any more."""
        ...


class _Nobody:
    """The owner of an outbox that is done."""

    def spawn(self, pump: Callable[[], Awaitable[None]]) -> None:
        """Do nothing."""

    def outbox_full(self) -> None:
        """Do nothing."""

    def outbox_lost(self) -> None:
        """Do nothing."""


_NOBODY: Final = _Nobody()


class OutboxStatistics(msgspec.Struct, frozen=True):
    """An outbox at one moment.

    Attributes:
        sent: bytes the channel has taken.
        waiting: bytes that wait, without exempt ones.
        exempt: exempt bytes that wait.
        dropped: droppable pieces thrown away.
    """

    sent: int
    waiting: int
    exempt: int
    dropped: int


class _Piece(msgspec.Struct, gc=False):
    data: bytes
    droppable: bool
    exempt: bool


class Outbox:
    """See the rules at the top. Lives as long as its connection.

    Attributes:
        sealed: whether nothing more is accepted.
        sent: how many bytes the channel has taken. Standing still while `waiting` is a stall.
    """

    __slots__ = (
        "_begun", "_channel", "_drained", "_dropped", "_held", "_limit", "_offset", "_owner", "_pumping", "_queue",
        "_send_now", "_straight", "_waiting", "lost", "sealed", "sent",
    )  # fmt: skip

    def __init__(self, channel: Channel, owner: Owner, limit: int) -> None:
        """Open the way out.

        Args:
            channel: where the bytes go.
            owner: whom to tell.
            limit: how many bytes may wait.
        """
        self._channel = channel
        self._send_now = channel.send_now
        self._owner: Owner = owner
        self._limit = limit
        self._queue: deque[_Piece] | None = None
        self._offset = 0
        """How much of the first piece the channel has taken."""
        self._begun = 0
        """How many bytes beyond that are on their way this very moment."""
        self._waiting = 0
        self._dropped = 0
        self._pumping = False
        self._drained: trio.Event | None = None
        self._held: list[bytes] | None = None
        """What is to go out in one piece; None while the outbox is not held."""
        self._straight = True
        """Whether an offer goes straight to the channel: neither sealed nor held, and nothing waits."""
        self.sealed = False
        self.lost = False
        self.sent = 0

    @override
    def __repr__(self) -> str:
        state = "lost" if self.lost else "sealed" if self.sealed else "open"
        return f"<Outbox {state} sent={self.sent} waiting={self._waiting} pieces={len(self._queue or ())}>"

    @property
    def waiting(self) -> bool:
        """Whether anything waits to be sent."""
        return self._queue is not None

    def statistics(self) -> OutboxStatistics:
        """Return the counts as they are now."""
        total = sum(len(piece.data) for piece in self._queue or ()) - self._offset
        return OutboxStatistics(self.sent, self._waiting, total - self._waiting, self._dropped)

    def offer(self, data: bytes, droppable: bool = False, exempt: bool = False) -> None:
        """Send now or later, or never if the outbox is sealed. Never waits and never raises for the peer's sake.

        Args:
            data: whole frames.
            droppable: may be thrown away if too much waits.
            exempt: does not count towards the limit.
        """
        if not self._straight:
            self._put_by(data, droppable, exempt)
            return
        # Send what the channel takes at once. It is here and no call, for nearly every piece ends so.
        send_now = self._send_now  # a call of an attribute that is no method takes longer
        try:
            sent = send_now(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.lose()
            return
        self.sent += sent
        if sent != len(data):
            self._wait(data, sent, droppable, exempt)

    def _put_by(self, data: bytes, droppable: bool, exempt: bool) -> None:
        """Take what cannot go straight to the channel."""
        if self.sealed or not data:
            return
        if self._held is None:
            if exempt and self.statistics().exempt > self._limit * EXEMPT_LIMITS:
                self._owner.outbox_full()
            else:
                self._wait(data, 0, droppable, exempt)
        elif droppable or exempt:
            # In one piece with the others it would be neither.
            self.let_go()
            self.offer(data, droppable, exempt)
        else:
            self._held.append(data)

    def hold(self) -> None:
        """Keep what is offered from now on, until `let_go`, which must come before anybody waits."""
        if self._straight:
            self._straight = False
            self._held = []

    def let_go(self) -> None:
        """Send what was held, in one piece."""
        held, self._held = self._held, None
        if held is not None:
            self._straight = True
            if held:
                self.offer(b"".join(held))

    def _wait(self, data: bytes, sent: int, droppable: bool, exempt: bool) -> None:
        """Keep what could not be sent, of which `sent` bytes are out."""
        if self._queue is None:
            self._queue = deque()
            self._straight = False
            self._offset = sent
        self._queue.append(_Piece(data, droppable, exempt))
        if not self._pumping:
            self._pumping = True
            self._owner.spawn(self._pump)
        if not exempt:
            self._waiting += len(data) - sent
            if self._waiting > self._limit:
                self._make_room()

    def seal(self, last: bytes = b"") -> None:
        """Accept nothing more after `last`, which is sent behind everything that waits."""
        self.let_go()
        if last:
            # No `offer`: however much waits, there is room for this.
            if self._straight:
                self.offer(last, exempt=True)
            elif not self.sealed:
                self._wait(last, 0, droppable=False, exempt=True)
        self.sealed = True
        self._straight = False

    def clear(self) -> None:
        """Throw away everything that waits, except what has begun."""
        if self._held is not None:
            self._held.clear()
        self._purge(lambda _: False)

    def lose(self) -> None:
        """Throw away everything and send nothing any more, not even the rest of a frame."""
        if self.lost:
            return
        self.lost = self.sealed = True
        self._held = None
        self._empty()
        # Let go of the owner, or they would keep each other in memory.
        owner, self._owner = self._owner, _NOBODY
        owner.outbox_lost()

    async def wait_drained(self) -> None:
        """Return when nothing waits any more, sent or lost. Cancelling is safe."""
        while self._queue is not None:
            self._drained = self._drained or trio.Event()
            await self._drained.wait()

    def _make_room(self) -> None:
        self._purge(lambda piece: not piece.droppable)
        if self._waiting > self._limit:
            self._owner.outbox_full()

    def _purge(self, keep: Callable[[_Piece], bool]) -> None:
        """Drop the pieces that need not be kept and have not begun."""
        if self._queue is None:
            return
        begun = self._offset + self._begun
        kept: deque[_Piece] = deque()
        start = 0
        for piece in self._queue:
            if start < begun or keep(piece):
                kept.append(piece)
            else:
                self._dropped += piece.droppable
                self._waiting -= 0 if piece.exempt else len(piece.data)
            start += len(piece.data)
        self._queue = kept
        if not kept:
            self._empty()

    async def _pump(self) -> None:
        """Send until nothing waits. Cancelling loses the outbox."""
        try:
            while self.waiting:
                await self._channel.wait_writable()
                pieces = self._front()
                self._begun = sum(map(len, pieces))
                sent = await self._channel.send(pieces)
                self._begun = 0
                self._took(sent)
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the peer is gone; told below
        finally:
            self._pumping = False
            if self._queue is not None:
                self.lose()

    def _front(self) -> list[Data]:
        """Return some of what waits, from the front, without copying."""
        pieces: list[Data] = []
        offset, room = self._offset, self._channel.batch
        for piece in islice(self._queue or (), _PIECES):
            part = memoryview(piece.data)[offset : offset + room]
            pieces.append(part)
            offset = 0
            room -= len(part)
            if room <= 0:
                break
        return pieces

    def _took(self, sent: int) -> None:
        """Note that the channel has taken so many bytes from the front."""
        queue = self._queue
        if queue is None:
            return  # lost in the meantime
        self.sent += sent
        while sent:
            piece = queue[0]
            step = min(sent, len(piece.data) - self._offset)
            sent -= step
            self._offset += step
            self._waiting -= 0 if piece.exempt else step
            if self._offset == len(piece.data):
                queue.popleft()
                self._offset = 0
        if not queue:
            self._empty()

    def _empty(self) -> None:
        """Forget the queue: most connections have none most of the time, and an empty one is not small."""
        self._queue = None
        self._straight = not self.sealed
        self._offset = self._waiting = 0
        if self._drained is not None:
            self._drained.set()
            self._drained = None
