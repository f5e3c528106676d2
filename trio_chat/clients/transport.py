"""What carries one client: the link, which is the connection as its conversation sees it.

1. The *fast lane*: the link reads the channel itself and hands plain texts to the conversation, without a task
   switch. Most connections never see anything else.
2. The *slow lane*: when something else comes, trio-websocket is brought in, on a `SlowLane` as its stream, and
   from then on gets everything but plain texts: it answers pings, echoes Close frames and puts fragments together.
   What it sends joins the same outbox.
3. A link ends in this order: the *talk* (the reader and the conversation's tasks), by a violation, a failure, `close`
   or the peer; then the conversation hears `on_closed`; then the *goodbye*: what was offered goes out and the peer's
   Close frame is awaited, for at most `close_timeout` seconds. The channel is closed by whoever runs the link.
4. The pump lives in a nursery around the talk, so that ending the talk never cuts a frame in two.
"""

from __future__ import annotations

import logging
import math
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

import msgspec
import trio
import trio_websocket
from typing_extensions import override

from trio_chat.clients.frames import CLOSE, Scanner, Violation, close_frame, ping_frame
from trio_chat.clients.handshake import accept
from trio_chat.clients.outbox import Outbox, OutboxStatistics
from trio_chat.clients.slow_lane import SlowLane
from trio_chat.clients.tasks import Tasks
from trio_chat.clients.vigil import Silence, Vigil
from trio_chat.errors import CloseCode
from trio_chat.failures import describe

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio_chat.clients.channel import Channel
    from trio_chat.clients.handshake import Head, Request
    from trio_chat.clients.limits import ServerLimits
    from trio_chat.clients.outbox import Offer

logger = logging.getLogger(__name__)

_UNHEARD: Final = 262_144
"""In how many bytes a goodbye is looked for: one that floods would keep us busy with that."""
_PING: Final = ping_frame()


class Conversation(Protocol):
    """One client's application side. Every method is synchronous and never waits."""

    def on_text(self, payload: bytes) -> None:
        """Take one whole text message, valid UTF-8."""
        ...

    def on_closed(self) -> None:
        """Know that the connection has ended. Called exactly once, last."""
        ...


class LinkStatistics(msgspec.Struct, frozen=True):
    """A link at one moment.

    Attributes:
        messages: texts the conversation was handed.
        fast: whether they take the fast lane.
        closing: whether the goodbye has begun.
        outbox: what went out and what waits.
    """

    messages: int
    fast: bool
    closing: bool
    outbox: OutboxStatistics


class Link:
    """One client's connection, as its conversation sees it. Lives until the socket is closed.

    A conversation uses `request`, `offer`, `close`, `start_soon`, `closing` and `statistics`; none of them waits.

    Attributes:
        request: how the client asked for the connection.
        channel: the socket or TLS stream. The link does not close it.
        scanner: where the client is in its frames.
        offer: sends ready-made frames (see `frames.text_frame`), now or as soon as the client takes them; the outbox's
            own. If too much waits, droppable frames are thrown away, and if that is not enough the connection ends with
            `CloseCode.TOO_SLOW`; exempt ones, a history the client has asked for, do not count.
        outlet: sends several things in one piece: the outbox, to be held and let go.
        code: what the connection was closed with by us; None if it was not, or not by us.
    """

    __slots__ = (
        "_conversation", "_deadline", "_ended", "_limits", "_messages", "_others", "_outbox", "_over", "_pumps", "_reads",
        "_talk", "_tasks", "_vigil", "channel", "code", "offer", "outlet", "request", "scanner",
    )  # fmt: skip

    def __init__(self, request: Request, channel: Channel, limits: ServerLimits, pumps: trio.Nursery) -> None:
        """Make a link that `run` brings to life. `pumps` must live until `run` has returned."""
        self.request = request
        self.channel = channel
        self.scanner = Scanner(limits.message_bytes, limits.fragments)
        self.code: int | None = None
        self._limits = limits
        self._outbox = Outbox(channel, self, limits.outbox_bytes)
        self.offer: Offer = self._outbox.offer
        self.outlet = self._outbox
        self._conversation: Conversation | None = None
        self._pumps = pumps
        self._talk = trio.CancelScope()
        self._tasks: Tasks | None = None
        """The conversation's. Most connections never have any."""
        self._ended: trio.Event | None = None
        self._over = False
        """Whether the conversation hears nothing any more."""
        self._deadline = math.inf
        """When the goodbye must be finished."""
        self._others = b""
        """What was read for trio-websocket."""
        self._messages = 0
        self._reads = 0
        self._vigil = Vigil(limits)

    @override
    def __repr__(self) -> str:
        state = "closing" if self.closing else "open"
        return f"<Link {state} {self.request.peer} messages={self._messages} {self._outbox!r}>"

    # What a conversation may do.

    @property
    def closing(self) -> bool:
        """Whether nothing can be sent any more, because either side has begun to close or the peer is gone."""
        return self._outbox.sealed

    def statistics(self) -> LinkStatistics:
        """Return the counts as they are now."""
        return LinkStatistics(self._messages, self.scanner.fast, self.closing, self._outbox.statistics())

    @property
    def behind(self) -> bool:
        """Whether the client has yet to read much of the histories it has asked for."""
        return self._outbox.waiting and self._outbox.statistics().exempt > self._limits.outbox_bytes

    def limit_messages(self, size: int) -> None:
        """Take no larger messages than this from now on; no larger ones than the server's limit in any case."""
        self.scanner.limit = min(size, self._limits.message_bytes)

    def close(self, code: int, reason: str = "") -> None:
        """Begin to end the connection: send what was offered, then a Close frame. The first code wins.

        No further text is handed over; the conversation's tasks are cancelled.
        """
        if self._over:
            return
        if not self.closing:
            self.code = code
            self._outbox.seal(close_frame(code, reason))
        self._end()

    def start_soon(self, fn: Callable[..., Awaitable[object]], *args: object) -> None:
        """Start a task that is cancelled when the talk ends. Does nothing once it has.

        An `Exception` it raises ends this connection only, with `CloseCode.INTERNAL_ERROR`.
        """
        if not self._over:
            if self._tasks is None:
                self._tasks = Tasks(self, self._pumps.start_soon)
            self._tasks.start(fn, args)

    # What the server does with it.

    async def run(self, factory: Callable[[Link], Conversation], head: Head) -> None:
        """Shake hands, talk, say goodbye. Failures of the conversation end here.

        Cancelling ends the connection at once, without a goodbye.
        """
        try:
            await self._converse(factory, head)
        except* Exception as failure:  # noqa: BLE001  # whatever it is, it concerns this client only
            self.task_failed(failure)
        finally:
            self._end()
            # They are cancelled; who does not end by then does not keep the conversation from hearing of the end.
            with trio.move_on_after(self._limits.close_timeout, shield=True):
                await self._wait_tasks()
            self._dismiss()
        await self._goodbye()

    def cut(self) -> None:
        """End the connection without a goodbye."""
        self._outbox.lose()

    def check(self, now: float) -> None:
        """Look after time limits. Called every tick with a clock that does not count when the program stood still."""
        self.scanner.rest()
        if self._over:
            return
        match self._vigil.judge_silence(self._reads, now):
            case Silence.PING:
                self._outbox.offer(_PING)
            case Silence.CUT:
                self.cut()
            case Silence.BEAR:
                pass
        if self._vigil.frame_is_late(self.scanner.frames if self.scanner.unfinished else -1, now):
            reason = f"a frame was unfinished for {self._limits.frame_timeout:g} s"
            # Its Close frame could not be told from the rest of that frame: read no more.
            self.scanner.violation = Violation(CloseCode.PROTOCOL_ERROR, reason)
            self.close(CloseCode.PROTOCOL_ERROR, reason)
        if self._vigil.is_stalled(self._outbox.sent if self._outbox.waiting else -1, now):
            self.outbox_full()

    def scan(self, data: bytes) -> bytes:
        """Take bytes from the client, hand over texts, return what is for trio-websocket."""
        self._reads += 1
        texts, others = self.scanner.feed(data)
        for text in texts:
            self._hear(text)
        return others + self.scan(b"") if self.scanner.postponed else others

    def carry(self, frame: bytes) -> None:
        """Send a frame (or the handshake) of trio-websocket's."""
        if frame[0] == CLOSE:
            self._outbox.seal(frame)
        else:
            self._outbox.offer(frame)

    # What the outbox and the tasks call.

    def spawn(self, pump: Callable[[], Awaitable[None]]) -> None:
        """Start the outbox's pump."""
        self._pumps.start_soon(pump)

    def outbox_full(self) -> None:
        """Give up on a client that does not read."""
        self._outbox.clear()
        self.close(CloseCode.TOO_SLOW, "too much is waiting for you: come back and resume")

    def outbox_lost(self) -> None:
        """End a connection that nothing can be sent on."""
        self._end()

    def task_failed(self, failure: BaseException) -> None:
        """Close with an error of ours."""
        logger.error("%s failed and is closed: %s", self, describe(failure))
        self.close(CloseCode.INTERNAL_ERROR, "internal error")

    def tasks_ended(self) -> None:
        """Know that the conversation's tasks, which were cancelled, are gone."""
        if self._ended is not None:
            self._ended.set()

    def _hear(self, text: bytes) -> None:
        if not self._over and self._conversation is not None:
            self._messages += 1
            try:
                self._conversation.on_text(text)
            except Exception as failure:  # noqa: BLE001  # on its way through trio-websocket it might get lost
                self.task_failed(failure)

    def _dismiss(self) -> None:
        conversation, self._conversation = self._conversation, None
        if conversation is not None:
            try:
                conversation.on_closed()
            except Exception as failure:  # noqa: BLE001  # the goodbye is still to be said
                self.task_failed(failure)

    def _end(self) -> None:
        """End the talk, once."""
        if not self._over:
            self._over = True
            self._deadline = trio.current_time() + self._limits.close_timeout
            self._talk.cancel()
            if self._tasks is not None:
                self._tasks.end()

    async def _wait_tasks(self) -> None:
        """Wait until the conversation's tasks, which are cancelled, are gone."""
        if self._tasks:
            self._ended = trio.Event()
            await self._ended.wait()

    async def _converse(self, factory: Callable[[Link], Conversation], head: Head) -> None:
        with self._talk:
            self._outbox.offer(accept(head))
            self._conversation = factory(self)
            others = self.scan(head.rest) if head.rest else b""
            others = others or await self.receive()
            if others:
                await self._take_slow_lane(SlowLane(self, head, others))
        if self.scanner.violation is not None:
            self.close(self.scanner.violation.code, self.scanner.violation.reason)

    async def receive(self) -> bytes:
        """Take the fast lane until something else comes; return that.

        Cancelling is safe.

        Returns:
            b"" when no more frames will be read: the peer has gone, or has broken the protocol.
        """
        if not self.scanner.done:
            await self.channel.pour(self._take)
        others, self._others = self._others, b""
        return others

    def _take(self, data: bytes) -> bool:
        """Scan what has come; return whether to go on."""
        self._others = self.scan(data)
        return not self._others and not self.scanner.done

    async def _take_slow_lane(self, stream: SlowLane) -> None:
        """Let trio-websocket have everything but plain texts, until the end."""
        async with trio.open_nursery() as nursery:
            proposal = await trio_websocket.wrap_server_stream(
                nursery, stream, max_message_size=self._limits.message_bytes, receive_buffer_size=None
            )
            websocket = await proposal.accept()
            stream.open()
            with suppress(trio_websocket.ConnectionClosed):
                while True:
                    message = await websocket.get_message()
                    if isinstance(message, str):  # the scanner lets no binary one pass
                        self._hear(message.encode())
            self._conclude(websocket.closed)
            nursery.cancel_scope.cancel()

    def _conclude(self, reason: trio_websocket.CloseReason | None) -> None:
        """Answer a client that broke the protocol: trio-websocket tells the reason, but not the client."""
        violation = self.scanner.violation
        if violation is not None:
            self.close(violation.code, violation.reason)
        elif reason is not None and reason.code in (CloseCode.PROTOCOL_ERROR, CloseCode.INVALID_UTF8):
            self.close(reason.code)

    async def _goodbye(self) -> None:
        """Send what was offered and end in good order, as far as the peer takes part.

        Closing a socket with bytes unread would reset the connection, and the peer might never see why: what still
        comes is read and thrown away.
        """
        if self._outbox.lost or not self.closing:
            return
        with trio.move_on_at(self._deadline):
            await self._outbox.wait_drained()
            await self._hear_close()
            if not self.scanner.closed:
                self.channel.half_close()
                while await self.channel.receive():
                    pass

    async def _hear_close(self) -> None:
        unheard = _UNHEARD
        while unheard > 0 and not self.scanner.done:
            data = await self.channel.receive()
            if not data:
                break
            unheard -= len(data)
            self.scanner.feed(data)
