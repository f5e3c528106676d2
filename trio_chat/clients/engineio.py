"""Engine.IO 4: what the carrier beneath Socket.IO says, as bytes. Pure.

1. A packet is one digit, its kind, and a payload. Over WebSocket it fills one text message; over polling the packets
   of one body are separated by U+001E.
2. Only text is carried. A binary packet is refused, whichever way it is written.
3. A body is taken whole or not at all: one bad packet refuses the good ones before it.
4. Which kinds may come when is the session's business; so is a payload where the kind needs none, which the
   reference ignores.
5. Payloads are not searched for the separator on their way out. They are JSON, in which it can only stand escaped.

Source: the Engine.IO protocol, revision 4 (socketio/socket.io, docs/engine.io-protocol/v4-current.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Final

import msgspec

from trio_chat.errors import BadRequest

PROTOCOL: Final = "4"
"""The value of the query parameter `EIO`."""

MAX_PACKETS: Final = 1024
"""A client sends everything it has queued in one body, so this is far above what an interactive one needs."""

_SEPARATOR: Final = b"\x1e"
_encode = msgspec.json.Encoder().encode


class Kind(IntEnum):
    """What a packet is for."""

    OPEN = 0
    """The server accepts a session and says its terms."""
    CLOSE = 1
    """The session is over."""
    PING = 2
    """The server's heartbeat; with the payload ``probe`` a client tries a WebSocket before it moves there."""
    PONG = 3
    """The answer to a ping, with the same payload."""
    MESSAGE = 4
    """A Socket.IO packet."""
    UPGRADE = 5
    """The client has moved to the WebSocket."""
    NOOP = 6
    """Nothing; ends a waiting poll."""


_KINDS: Final = {b"%d" % kind: kind for kind in Kind}


class Packet(msgspec.Struct, frozen=True, gc=False):
    """One packet. The payload is UTF-8."""

    kind: Kind
    data: bytes = b""


def decode(text: bytes) -> Packet:
    """Return the packet in a WebSocket text message, or in one record of a polling body.

    Raises:
        BadRequest: it is none, or a binary one.
    """
    kind = _KINDS.get(text[:1])
    if kind is None:
        raise BadRequest(_no_packet(text))
    if not text.isascii():
        _check_utf8(text)
    return Packet(kind, text[1:])


def _no_packet(text: bytes) -> str:
    if not text:
        return "expected an Engine.IO packet, got an empty text; leave it out"
    if text.startswith(b"b"):
        return "binary packets are not supported; send text"
    return "unknown Engine.IO packet type; expected a digit from 0 to 6"


def _check_utf8(text: bytes) -> None:
    try:
        text.decode()
    except UnicodeDecodeError:
        raise BadRequest("expected an Engine.IO packet in UTF-8") from None


def decode_payload(body: bytes, limit: int, packets: int = MAX_PACKETS) -> list[Packet]:
    """Return the packets in the body of a polling request, at least one.

    Args:
        body: what the client sent.
        limit: how many bytes it may have; the `max_payload` that the client was told.
        packets: how many packets it may hold.

    Raises:
        BadRequest: it is larger, or something in it is no packet.
    """
    if len(body) > limit:
        raise BadRequest(f"expected at most {limit} bytes in one request; send the rest in another")
    if body.count(_SEPARATOR) >= packets:
        raise BadRequest(f"expected at most {packets} packets in one request; send the rest in another")
    return [decode(record) for record in body.split(_SEPARATOR)]


def encode(packet: Packet) -> bytes:
    """Return the text of a packet."""
    return b"%d%b" % (packet.kind, packet.data)


def join(texts: Sequence[bytes]) -> bytes:
    """Return the body that holds packets that are encoded already; a noop if there are none."""
    return _SEPARATOR.join(texts) if texts else encode(Packet(Kind.NOOP))


class _Open(msgspec.Struct, frozen=True, rename="camel"):
    sid: str
    upgrades: Sequence[str]
    ping_interval: int
    ping_timeout: int
    max_payload: int


def open_packet(
    sid: str, upgrades: Sequence[str], ping_interval_ms: int, ping_timeout_ms: int, max_payload: int
) -> Packet:
    """Return the packet that begins a session.

    Args:
        sid: the session's secret name, which the client repeats in every request.
        upgrades: the transports it may move to: ``["websocket"]`` over polling, nothing over WebSocket.
        ping_interval_ms: the time between two pings.
        ping_timeout_ms: the time a pong may take.
        max_payload: how many bytes a polling request may carry.
    """
    return Packet(Kind.OPEN, _encode(_Open(sid, upgrades, ping_interval_ms, ping_timeout_ms, max_payload)))


class Refusal(IntEnum):
    """Why an HTTP request gets no session; the numbers and texts are those of the reference server."""

    UNKNOWN_TRANSPORT = 0
    UNKNOWN_SID = 1
    BAD_HANDSHAKE_METHOD = 2
    BAD_REQUEST = 3
    FORBIDDEN = 4
    UNSUPPORTED_PROTOCOL_VERSION = 5

    @property
    def status(self) -> int:
        """The HTTP status."""
        return 403 if self is Refusal.FORBIDDEN else 400

    def body(self, text: str | None = None) -> bytes:
        """Return the JSON to answer with. `text` replaces the usual one."""
        return _encode({"code": self.value, "message": text or _TEXTS[self]})


_TEXTS: Final = {
    Refusal.UNKNOWN_TRANSPORT: "Transport unknown",
    Refusal.UNKNOWN_SID: "Session ID unknown",
    Refusal.BAD_HANDSHAKE_METHOD: "Bad handshake method",
    Refusal.BAD_REQUEST: "Bad request",
    Refusal.FORBIDDEN: "Forbidden",
    Refusal.UNSUPPORTED_PROTOCOL_VERSION: "Unsupported protocol version",
}
