"""One connection to a RESP server as a pipeline: many callers write, one reader hands out the replies in order.

1. The server answers in the order in which it was asked. So a call is a place in `_waiting`, and every reply
   belongs to the place at its head. Nothing else decides whose a reply is.
2. A caller appends its bytes to one buffer, synchronously; the writer sends what has gathered, whole. When few
   others wait for an answer, or much has gathered, a plain socket gets the bytes at once: waking the writer would take
   longer than sending.
3. A cancelled or late call gives up its place's answer, never the place: the reply will come and is thrown away.
4. A late call makes the link *late*: the server is there but does not answer. The calls after it fail at once
   until a patient call, which waits as long as it takes, is answered; replies being in order, nothing is
   outstanding then.
5. A link ends once, with a reason, at `lose`: everybody who waits is told in that very step. Whether their calls
   had an effect is unknown. It ends when the stream does, on nonsense from the server, when the oldest call has
   been unanswered for `stale` seconds, or when its owner says so.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec
import trio
from typing_extensions import override

from trio_chat.counts import LATENCIES, Histogram
from trio_chat.errors import ReplyCode, Unavailable
from trio_chat.failures import describe
from trio_chat.stores.resp_wire import ProtocolError, Replies

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

logger = logging.getLogger(__name__)

CLOSED: Final = "the connection to Redis was closed"
"""Why a link was lost if nothing went wrong."""

_CHUNK: Final = 64 * 1024
_FEW: Final = 4
_MUCH: Final = 8 * 1024
# A sweep this much later than planned means that this process, not the server, was stopped.
_HICCUP: Final = 0.1


Done: TypeAlias = "Callable[[list[Any] | str], None]"
"""Takes the replies, or why there are none. It must not raise."""


class Limits(msgspec.Struct, frozen=True):
    """What a link may take.

    Attributes:
        timeout: seconds a call may wait for its answer.
        stale: seconds the oldest call may be unanswered before the link is given up.
        calls: how many calls may be unanswered.
        unsent: how many bytes may wait to be sent.
    """

    timeout: float = 1.0
    stale: float = 15.0
    calls: int = 16_384
    unsent: int = 32 * 1024 * 1024


class LinkStatistics(msgspec.Struct, frozen=True):
    """The counts of one link.

    Attributes:
        waiting: calls without an answer, abandoned ones included.
        unsent: bytes on their way to the socket.
        answered: calls answered so far.
        late: calls that were not answered in time.
    """

    waiting: int = 0
    unsent: int = 0
    answered: int = 0
    late: int = 0


class _Call:
    """A place in the row of answers, taken at `since`. `tell` is whom to tell, None once nobody waits."""

    __slots__ = ("failure", "missing", "patient", "replies", "since", "tell")

    def __init__(self, missing: int, patient: bool, since: float, tell: Done) -> None:
        self.missing = missing
        self.patient = patient
        self.since = since
        self.tell: Done | None = tell
        self.replies: list[Any] = []
        self.failure: str | None = None

    def abandon(self, _: Callable[[], object]) -> trio.lowlevel.Abort:
        """Leave the place to a reply that nobody takes."""
        self.tell = None
        self.replies.clear()
        return trio.lowlevel.Abort.SUCCEEDED

    def take(self, reply: object) -> bool:
        """Take one reply. Returns whether it was the last."""
        if self.tell is not None:
            self.replies.append(reply)
        self.missing -= 1
        return self.missing == 0

    def finish(self, failure: str | None = None) -> None:
        """Tell the caller, if it still waits. Who was told that it is late may not have run before the answer comes."""
        tell, self.tell = self.tell, None
        if tell is not None:
            self.failure = failure
            tell(self.replies if failure is None else failure)


class Link:
    """One stream to a server. Lives until it is lost or `run` is cancelled; owns the stream.

    Args:
        stream: connected and ready for commands.
        limits: see `Limits`.
        trouble: called, synchronously, when the link turns late and when it is lost.
        latency: told how long each call took that was answered.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        limits: Limits,
        trouble: Callable[[], None],
        latency: Histogram | None = None,
    ) -> None:
        self.late = False
        self.lost: str | None = None
        self._stream = stream
        self._socket = stream.socket.fileno() if isinstance(stream, trio.SocketStream) else -1
        """The descriptor of a plain socket, which needs none of a stream's care; -1 if it is none."""
        self._limits = limits
        self._trouble = trouble
        self._note_latency = (latency or Histogram(LATENCIES)).note
        self._waiting: deque[_Call] = deque()
        self._unsent = bytearray()
        self._sending = 0
        self._writer = trio.lowlevel.ParkingLot()
        self._scope = trio.CancelScope()
        self._clock = trio.lowlevel.current_clock().current_time
        self._answered = 0
        self._lates = 0

    @override
    def __repr__(self) -> str:
        state = "lost" if self.lost else "late" if self.late else "well"
        return f"<Link {state} waiting={len(self._waiting)} unsent={self.unsent}>"

    @property
    def unsent(self) -> int:
        """How many bytes are on their way to the socket."""
        return len(self._unsent) + self._sending

    @property
    def answered(self) -> int:
        """How many calls were answered."""
        return self._answered

    def statistics(self) -> LinkStatistics:
        """Return the counts of now."""
        return LinkStatistics(len(self._waiting), self.unsent, self._answered, self._lates)

    async def exchange(self, packed: bytes, count: int, *, patient: bool = False) -> list[Any]:
        """Send `count` commands and return as many replies. Error replies are values.

        Cancelling is safe: the commands may have been executed, their replies are thrown away.

        Args:
            packed: the commands, ready to be sent; they stay together.
            count: how many they are.
            patient: wait until the answer comes or the link is lost. The answer makes a late link well again.

        Raises:
            Unavailable: the link is lost or late, or the answer did not come in time; `OVERLOADED` if too much
                is waiting already. The commands have been sent only if they were not answered in time or the
                link was lost meanwhile.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        task = trio.lowlevel.current_task()
        call = _Call(count, patient, self._clock(), lambda _: trio.lowlevel.reschedule(task))
        self._begin(packed, call)
        await trio.lowlevel.wait_task_rescheduled(call.abandon)
        if call.failure is not None:
            raise Unavailable(call.failure)
        return call.replies

    def post(self, packed: bytes, count: int, done: Done) -> None:
        """Send `count` commands; `done` is called, synchronously, when they were answered or nobody can tell any more.

        Raises as `exchange`, where nothing was sent.
        """
        self._begin(packed, _Call(count, False, self._clock(), done))

    def _begin(self, packed: bytes, call: _Call) -> None:
        self._admit(len(packed), call.patient)
        few = len(self._waiting) < _FEW
        self._waiting.append(call)
        if few and not self._unsent and not self._sending:
            packed = packed[self._send_now(packed) :]
        if packed and not self._unsent:
            self._writer.unpark()
        self._unsent += packed
        if len(self._unsent) > _MUCH and not self._sending:
            # The server has something to do while we go on.
            del self._unsent[: self._send_now(self._unsent)]

    def _send_now(self, packed: bytes | bytearray) -> int:
        """Send what a plain socket takes at once, and return how much that was. What goes wrong the writer finds."""
        if self._socket < 0:
            return 0
        try:
            return os.write(self._socket, packed)
        except OSError:
            return 0

    def _admit(self, size: int, patient: bool) -> None:
        if self.lost is not None:
            raise Unavailable(self.lost)
        if patient:
            return
        if self.late:
            raise Unavailable("Redis does not answer")
        if len(self._waiting) >= self._limits.calls:
            raise Unavailable("too many calls wait for Redis", ReplyCode.OVERLOADED)
        if self.unsent and self.unsent + size > self._limits.unsent:
            raise Unavailable("too many bytes wait for Redis", ReplyCode.OVERLOADED)

    async def run(self) -> None:
        """Write, read and watch over the answers until the link is lost. Cancelling loses it."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    for part in (self._write, self._read, self._sweep):
                        nursery.start_soon(self._until_broken, part, name=f"resp {part.__name__}")
        finally:
            self.lose(CLOSED)
            await trio.aclose_forcefully(self._stream)

    def lose(self, why: str) -> None:
        """End the link now. Only the first reason counts."""
        if self.lost is not None:
            return
        self.lost = why
        self._scope.cancel()
        waiting, self._waiting = self._waiting, deque()
        for call in waiting:
            call.finish(why)
        self._unsent.clear()
        self._trouble()

    async def _until_broken(self, part: Callable[[], Awaitable[None]]) -> None:
        await trio.lowlevel.checkpoint()
        try:
            await part()
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            self.lose("the connection to Redis broke")
        except ProtocolError:
            self.lose("the server does not speak the Redis protocol")
        except Exception as failure:  # noqa: BLE001 - it ends here, and is logged
            logger.error("the connection to Redis is given up: %s", describe(failure))  # noqa: TRY400 - it may quote somebody
            self.lose("what came over the connection to Redis could not be used")

    async def _write(self) -> None:
        while True:
            while not self._unsent:
                await self._writer.park()
            gathered, self._unsent = self._unsent, bytearray()
            self._sending = len(gathered)
            await self._stream.send_all(gathered)
            self._sending = 0

    async def _read(self) -> None:
        replies = Replies()
        while data := await self._receive():
            for reply in replies.feed(data):
                self._settle(reply)
        self.lose("Redis closed the connection")

    async def _receive(self) -> bytes | bytearray:
        """Return what has come; b"" at the end. Cancelling is safe."""
        if self._socket < 0:
            return await self._stream.receive_some(_CHUNK)
        while True:
            await trio.lowlevel.wait_readable(self._socket)
            try:
                return os.read(self._socket, _CHUNK)
            except BlockingIOError:
                continue  # woken up for nothing

    def _settle(self, reply: object) -> None:
        if not self._waiting:
            self.lose("the server sent a reply to nothing")
        elif self._waiting[0].take(reply):
            call = self._waiting.popleft()
            self._answered += 1
            self._note_latency(self._clock() - call.since)
            if call.patient:
                self.late = False
            call.finish()

    async def _sweep(self) -> None:
        while True:
            due = self._next_due()
            await trio.sleep_until(due)
            if trio.current_time() > due + _HICCUP:
                # Answers may have come meanwhile; let the reader see them first.
                await trio.sleep(_HICCUP)
            self._expire(trio.current_time())

    def _next_due(self) -> float:
        """Return when to look again: when the oldest call that somebody waits for runs out, if there is one."""
        for call in self._waiting:
            if call.tell is not None and not (call.patient and self.late):
                return call.since + self._limits.timeout
        return trio.current_time() + self._limits.timeout

    def _expire(self, now: float) -> None:
        for call in self._waiting:
            if call.since + self._limits.timeout > now:
                break
            if call.tell is not None:
                self._turn_late()
                if not call.patient:
                    self._lates += 1
                    call.finish("Redis did not answer in time")
        if self._waiting and self._waiting[0].since + self._limits.stale <= now:
            self.lose(f"Redis has not answered for {self._limits.stale:g} s")

    def _turn_late(self) -> None:
        if not self.late:
            self.late = True
            self._trouble()
