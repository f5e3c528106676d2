"""One Engine.IO session, whatever carries it.

1. A session is carried by polling requests or by a WebSocket. It moves from the first to the second at most once, and
   its conversation does not notice.
2. What is offered goes straight to the WebSocket's link; while the client polls, it waits in `Polling`.
3. It ends once, by whatever: the conversation, the client, a failure, a client that broke the protocol or does not
   answer. Then its tasks are cancelled, and when the last one has ended the conversation hears `on_closed`.
4. An orderly end stays known until the client has fetched it, for at most `close_timeout`; any other end is
   forgotten at once. What waits is thrown away with it, and nothing of an ended session refers to the conversation.
5. The server asks for a sign of life every `ping_interval`; whoever does not answer within `ping_timeout` is gone,
   and so is whoever does not fetch the question. A polling client that fetches nothing of what waits for it for
   `outbox_stall` seconds has to come back and resume.

The sid is a secret: whoever knows it can speak for the client. It is in no log.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Final, Literal, assert_never

import trio
from typing_extensions import override

from trio_chat.clients.engine.polling import Polling
from trio_chat.clients.engine.terms import (
    MESSAGE,
    EngineConversation,
    EngineLinkStatistics,
    EngineTerms,
    Host,
    Parcel,
)
from trio_chat.clients.engineio import Kind, Packet, decode, decode_payload, encode, open_packet
from trio_chat.clients.frames import text_frame
from trio_chat.clients.tasks import Tasks
from trio_chat.errors import BadRequest, CloseCode
from trio_chat.failures import describe

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio_chat.clients.engine.upgrade import Probe
    from trio_chat.clients.handshake import Request
    from trio_chat.clients.outbox import Offer, Outbox
    from trio_chat.clients.transport import Link

logger = logging.getLogger(__name__)

_PING: Final = encode(Packet(Kind.PING))
_CLOSE: Final = encode(Packet(Kind.CLOSE))
_NOOP: Final = encode(Packet(Kind.NOOP))
# How many packets that say nothing may come in a tick. A client has a pong for each ping, and hardly a noop.
_MAX_SIGNS: Final = 256


class EngineLink:
    """One client's session, as its conversation sees it. Lives until the server has forgotten its sid.

    A conversation uses `request`, `sid`, `offer`, `close`, `start_soon`, `closing`, `behind` and `statistics`; none
    waits.

    Attributes:
        request: how the client asked for the session, over whichever transport.
        sid: the session's secret name.
        posting: whether a request with packets is being read.
        fetching: how many bodies with packets are on their way.
        send_frames: sends a parcel's frames, while a WebSocket carries the session: its own `offer`. None else.
    """

    __slots__ = (
        "_conversation", "_deadline", "_due", "_host", "_link", "_messages", "_over", "_pinged", "_polling", "_probe",
        "_signs", "_tasks", "_terms", "fetching", "posting", "request", "send_frames", "sid",
    )  # fmt: skip

    def __init__(
        self, host: Host, request: Request, sid: str, terms: EngineTerms, link: Link | None = None
    ) -> None:
        """Make a session that `begin` brings to life, over this WebSocket, or else over polling."""
        self.request = request
        self.sid = sid
        self.posting = False
        self.fetching = 0
        self._host = host
        self._terms = terms
        self._link = link
        self.send_frames: Offer | None = link.offer if link is not None else None
        # Either this or the link is there, never both.
        self._polling = None if link else Polling(self, terms.outbox_bytes, terms.max_payload)
        self._probe: Probe | None = None
        self._conversation: EngineConversation | None = None
        self._tasks = Tasks(self, host.spawn)
        self._messages = 0
        self._signs = 0
        self._over = False
        self._pinged = False
        self._due = host.now() + terms.ping_interval
        """When to ping."""
        self._deadline = 0.0
        """When to stop waiting: for a pong or, once it is over, for the client to fetch the end."""

    @override
    def __repr__(self) -> str:
        state = "closing" if self.closing else "open"
        return f"<EngineLink {state} {self.transport} {self.request.peer} messages={self._messages}>"

    # --- what a conversation may do

    @property
    def closing(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._over or (self._link is not None and self._link.closing)

    @property
    def behind(self) -> bool:
        """Whether the client has yet to take much of the histories it has asked for."""
        if self._link is not None:
            return self._link.behind
        return self._polling is not None and self._polling.exempt > self._terms.outbox_bytes

    @property
    def outlet(self) -> Outbox | None:
        """The WebSocket's; a poll takes all there is in any case."""
        return self._link.outlet if self._link is not None else None

    @property
    def transport(self) -> Literal["polling", "websocket"]:
        """What carries the session now."""
        return "polling" if self._link is None else "websocket"

    def statistics(self) -> EngineLinkStatistics:
        """Return the counts as they are now."""
        waiting = 0
        if self._link is not None:
            waiting = self._link.statistics().outbox.waiting
        elif self._polling is not None:
            waiting = self._polling.waiting
        return EngineLinkStatistics(self.transport, self._messages, self.closing, waiting, len(self._tasks))

    def offer(self, parcel: Parcel, droppable: bool = False, exempt: bool = False) -> None:
        """Send messages, now or as soon as the client takes them. Does nothing once `closing`.

        If too much waits, droppable messages are thrown away, and if that is not enough the session ends.

        Args:
            parcel: what to send.
            droppable: the client can do without.
            exempt: does not count as waiting: a history the client has asked for.
        """
        if self.send_frames is not None:
            self.send_frames(parcel.frames, droppable, exempt)
        elif self._polling is not None:
            self._polling.offer(parcel.packets, droppable=droppable, exempt=exempt)

    def close(self, code: int, reason: str = "") -> None:
        """Begin to end the session: send what was offered, then the end. The first call wins.

        Over a WebSocket the end is a Close frame with the code; over polling it is a packet that holds none. No
        further message is handed over; the session's tasks are cancelled.
        """
        if self._over:
            return
        self._deadline = self._host.now() + self._terms.close_timeout
        self._seal(_CLOSE)
        self._end(known=self._link is None)
        if self._link is not None:
            self._link.close(code, reason)
        else:
            self._host.note_close(code)

    def start_soon(self, fn: Callable[..., Awaitable[object]], *args: object) -> None:
        """Start a task that is cancelled when the session ends. Does nothing once it has.

        An `Exception` it raises ends this session only.
        """
        self._tasks.start(fn, args)

    # --- what the server does with it

    def begin(self, factory: Callable[[EngineLink], EngineConversation]) -> None:
        """Tell the client the terms, then make the conversation, which may offer at once.

        Raises:
            Exception: what the factory raised; the session has ended.
        """
        terms = self._terms
        packet = open_packet(
            self.sid,
            ["websocket"] if self._link is None else [],
            round(terms.ping_interval * 1000),
            round(terms.ping_timeout * 1000),
            terms.max_payload,
        )
        self._send(encode(packet))
        try:
            self._conversation = factory(self)
        except Exception:
            self._end()
            raise

    def check(self, now: float, horizon: float) -> None:
        """Look after the time limits, `now` being the time; ping if that is due before `horizon`."""
        if horizon >= 0:  # a tick, and not a request
            self._signs = 0
        if self._over:
            if now >= self._deadline:
                self._forget()
        elif self._polling is not None and self._is_stalled(self._polling, now):
            self.outbox_full()
        elif self._pinged:
            if now >= self._deadline:
                self.cut()
        elif horizon >= self._due:
            self._pinged = True
            self._deadline = now + self._terms.ping_timeout
            self._send(_PING)
        if self._probe is not None:
            self._probe.check(now)

    def cut(self) -> None:
        """End the session without a goodbye; a request that is waiting learns of it, and of nothing else."""
        self._end()
        if self._link is not None:
            self._link.cut()

    # --- what a WebSocket's link calls

    def on_text(self, payload: bytes) -> None:
        """Take one packet."""
        if payload[:1] == MESSAGE:
            self._hear(payload[1:])
            return
        try:
            self._take(decode(payload))
        except BadRequest as error:
            self.close(CloseCode.PROTOCOL_ERROR, str(error))

    def on_closed(self) -> None:
        """Know that the WebSocket is gone, and the session with it."""
        self._end()

    # --- what polling requests call

    def first_body(self) -> bytes:
        """Return the body that answers the handshake: the terms, and what was offered since."""
        return self._fetched(self._polling, self._polling.take()) if self._polling else _NOOP

    async def next_body(self) -> bytes:
        """Return the body for a request as soon as there is something to say.

        Cancelling is safe: nothing is taken.

        Raises:
            Overlap: another request is waiting.
        """
        polling = self._polling
        if polling is None:
            await trio.lowlevel.checkpoint()
            return _NOOP
        return self._fetched(polling, await polling.next_body())

    def take_body(self, body: bytes) -> None:
        """Take the packets of a request.

        Raises:
            BadRequest: the client broke the protocol; the session has ended.
        """
        try:
            for packet in decode_payload(body, self._terms.max_payload):
                if not self._over:
                    self._take(packet)
        except BadRequest:
            self.cut()
            raise

    def lose_request(self) -> None:
        """End the session because a request failed, unless it has moved: then no packet was in it."""
        if self._polling is not None:
            self.cut()

    # --- what a `Probe` calls

    def begin_upgrade(self, probe: Probe) -> bool:
        """Let a WebSocket try; return whether it may. There is one at a time, and only while the client polls."""
        if self._over or self._polling is None or self._probe is not None:
            return False
        self._probe = probe
        return True

    def nudge(self) -> None:
        """Let the client's waiting request come back, so that it can move."""
        if self._polling is not None:
            self._polling.nudge(on=True)

    def upgrade(self, link: Link) -> None:
        """Go on over this WebSocket: what waits is sent there, in order, and then whatever is offered."""
        if self._polling is None:
            return
        for waiting in self._polling.drain():
            link.offer(text_frame(waiting.packet), droppable=waiting.droppable, exempt=waiting.exempt)
        self._polling.seal(_NOOP)
        self._polling = self._probe = None
        self._link = link
        self.send_frames = link.offer

    def abandon_upgrade(self) -> None:
        """Go on over polling: the WebSocket is gone."""
        self._probe = None
        if self._polling is not None:
            self._polling.nudge(on=False)

    # --- what `Polling` and `Tasks` call

    def outbox_full(self) -> None:
        """Give up on a client that does not fetch what waits for it."""
        if self._polling is not None:
            self._polling.clear()
        self.close(CloseCode.TOO_SLOW, "too much is waiting for you: come back and resume")

    def task_failed(self, failure: BaseException) -> None:
        """End the session because something of it failed."""
        logger.error("%s failed and is closed: %s", self, describe(failure))
        self.close(CloseCode.INTERNAL_ERROR, "internal error")

    def tasks_ended(self) -> None:
        """Tell the conversation that it is over, and let go of it."""
        conversation, self._conversation = self._conversation, None
        if conversation is not None:
            try:
                conversation.on_closed()
            except Exception as failure:  # noqa: BLE001  # whatever it is, it concerns this client only
                self.task_failed(failure)

    def _send(self, packet: bytes) -> None:
        if self._link is not None:
            self._link.offer(text_frame(packet))
        elif self._polling is not None:
            self._polling.offer((packet,), exempt=True)

    def _take(self, packet: Packet) -> None:
        """Do what a packet says. Raises `BadRequest` if it is not a client's to send."""
        match packet.kind:
            case Kind.MESSAGE:
                self._hear(packet.data)
            case Kind.PONG:
                self._pinged = False
                self._due = self._host.now() + self._terms.ping_interval
                self._count_sign()
            case Kind.CLOSE:
                self._leave()
            case Kind.NOOP:
                self._count_sign()
            case Kind.OPEN | Kind.PING | Kind.UPGRADE:
                raise BadRequest(f"expected a message, a pong or a close packet, got {packet.kind.name}")
            case _:
                assert_never(packet.kind)

    def _count_sign(self) -> None:
        """Give up on a client that keeps us busy with packets that say nothing."""
        self._signs += 1
        if self._signs > _MAX_SIGNS:
            self.close(CloseCode.RATE_LIMITED, "too many pongs or noops: wait, come back and resume")

    def _hear(self, payload: bytes) -> None:
        if not self._over and self._conversation is not None:
            self._messages += 1
            try:
                self._conversation.on_text(payload)
            except Exception as failure:  # noqa: BLE001  # whatever it is, it concerns this client only
                self.task_failed(failure)

    def _leave(self) -> None:
        """Let the client go, as it asked."""
        self._seal(_NOOP)
        self._end()
        if self._link is not None:
            self._link.close(CloseCode.NORMAL)

    def _end(self, *, known: bool = False) -> None:
        """End it, once. `known`: the sid stays known until the client has fetched what waits."""
        if not known:
            self._forget()
        if self._over:
            return
        self._over = True
        if self._probe is not None:
            self._probe.end()
        self._tasks.end()

    def _forget(self) -> None:
        """Let the sid be unknown from now on. What nobody can fetch any more is thrown away."""
        if self._polling is not None:
            self._polling.clear()
            self._polling.seal(_CLOSE)
        self._host.forget(self)

    def _is_stalled(self, polling: Polling, now: float) -> bool:
        """Return whether the client has let packets wait for too long. For a ping alone it has `ping_timeout`."""
        if self.fetching:
            polling.note_progress()
        return polling.stalled(now, len(_PING)) >= (self._terms.outbox_stall or math.inf)

    def _seal(self, last: bytes) -> None:
        if self._polling is not None:
            self._polling.seal(last)

    def _fetched(self, polling: Polling, body: bytes) -> bytes:
        """Return what was fetched; if it was the end, nothing is left to know the sid for."""
        if polling.over and self._over:
            self._forget()
        return body
