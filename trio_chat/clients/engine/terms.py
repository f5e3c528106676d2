"""What a session, its conversation and the server say to each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, Protocol

import msgspec

from trio_chat.clients.engineio import Kind
from trio_chat.clients.frames import text_frame

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from trio_chat.clients.engine.session import EngineLink

MESSAGE: Final = b"%d" % Kind.MESSAGE
"""What a MESSAGE packet begins with."""


class Parcel(msgspec.Struct, frozen=True, gc=False):
    """Messages that are ready to go out either way, made once for everybody they are for.

    Attributes:
        frames: as WebSocket text frames, joined.
        packets: as encoded Engine.IO packets.
    """

    frames: bytes
    packets: tuple[bytes, ...]

    def then(self, other: Parcel) -> Parcel:
        """Return both in one piece: over a WebSocket they are sent at once."""
        return Parcel(self.frames + other.frames, self.packets + other.packets)


def parcel(messages: Sequence[bytes]) -> Parcel:
    """Wrap the payloads of Engine.IO messages. They are UTF-8, and U+001E is in none of them."""
    if len(messages) == 1:
        packet = MESSAGE + messages[0]
        return Parcel(text_frame(packet), (packet,))
    packets = tuple([MESSAGE + message for message in messages])
    return Parcel(b"".join(map(text_frame, packets)), packets)


class EngineTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What a session is like. Times are in seconds, sizes in bytes.

    Attributes:
        ping_interval: the time between two pings.
        ping_timeout: how long a pong may take.
        upgrade_timeout: how long moving to a WebSocket may take.
        max_payload: the size of the body of a request, either way.
        outbox_bytes: how much may wait while the client polls, without exempt bytes.
        outbox_stall: how long it may wait without a request for it; None or 0 for any time.
        close_timeout: how long the client may take to fetch the end.
    """

    ping_interval: float
    ping_timeout: float
    upgrade_timeout: float
    max_payload: int
    outbox_bytes: int
    outbox_stall: float | None
    close_timeout: float


class EngineConversation(Protocol):
    """One client's application side. Every method is synchronous and never waits."""

    def on_text(self, payload: bytes) -> None:
        """Take the payload of a MESSAGE packet, valid UTF-8."""
        ...

    def on_closed(self) -> None:
        """Know that the session has ended. Called exactly once, last."""
        ...


class Host(Protocol):
    """What a session needs of the server. None of it waits."""

    def now(self) -> float:
        """Return the time, by a clock that does not count when the program stood still."""
        ...

    def spawn(self, fn: Callable[..., Awaitable[object]], *args: object) -> None:
        """Start a task that lives no longer than the server. It must raise nothing."""
        ...

    def forget(self, session: EngineLink) -> None:
        """Know the sid no longer. May be called again."""
        ...

    def note_close(self, code: int) -> None:
        """Count a polling session that we end."""
        ...


class EngineLinkStatistics(msgspec.Struct, frozen=True):
    """A session at one moment.

    Attributes:
        transport: what carries it.
        messages: how many the conversation was handed.
        closing: whether nothing can be sent any more.
        waiting: bytes that wait for the client, without exempt ones.
        tasks: tasks of its own.
    """

    transport: Literal["polling", "websocket"]
    messages: int
    closing: bool
    waiting: int
    tasks: int
