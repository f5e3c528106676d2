"""WebSocket frames: the server's own, ready to send, and a scanner of the client's. Pure.

The rules of the scanner (RFC 6455, section 5):

1. It sees every byte a client sends after the handshake, once and in order, cut anywhere.
2. A complete, unfragmented text frame is taken here: unmasked, checked to be UTF-8, returned as a message.
   That is the *fast lane*.
3. Pongs are dropped. Every other frame is for trio-websocket: its bytes are returned untouched, as far as they have
   come.
4. The first *data* frame of that kind (a fragment) ends the fast lane for good, so that messages keep their order.
5. Each header is judged before anything of its frame is returned. What breaks the protocol or a limit is a
   `Violation`; nothing after it is read. Left to trio-websocket are the payload of a Close frame and the UTF-8
   of fragmented texts, which it checks too.
6. Nothing after a Close frame is read.
7. Pings and pongs cost whoever sends them nothing, and us a little: there may be `MAX_SIGNS` between two `rest`s.
"""

from __future__ import annotations

import struct
from typing import Final

import msgspec
from typing_extensions import override

from trio_chat.errors import CloseCode

TEXT: Final = 0x81
CLOSE: Final = 0x88
PING: Final = 0x89
PONG: Final = 0x8A

MAX_CONTROL: Final = 125
"""The longest payload of a control frame, in bytes."""

MAX_SIGNS: Final = 256
"""How many pings and pongs may come in a tick, of at most a second. Clients need one in many seconds."""

_MASKED = 0x80
_CONTROL = 0x08
_FINAL = 0x80
_BINARY = (0x02, 0x82)
_DATA = (0x00, 0x01, 0x80, 0x81)
_CONTROLS = (CLOSE, PING, PONG)
_SHORT, _LONG = 126, 127
_LEAST = 2

_NOTHING: tuple[list[bytes], bytes] = ([], b"")
_XOR = tuple(bytes(a ^ b for a in range(256)) for b in range(256))
# Measured: below this many bytes one xor of two big integers is faster than four translations.
_INTEGER_UP_TO = 1024


def text_frame(payload: bytes) -> bytes:
    """Return a whole text message as the server sends it: one unmasked frame. `payload` is UTF-8."""
    size = len(payload)
    if size < _SHORT:
        return bytes((TEXT, size)) + payload
    if size < 1 << 16:
        return struct.pack("!BBH", TEXT, _SHORT, size) + payload
    return struct.pack("!BBQ", TEXT, _LONG, size) + payload


def close_frame(code: int, reason: str = "") -> bytes:
    """Return a Close frame. A reason that does not fit is cut between two characters."""
    text = reason.encode()[: MAX_CONTROL - 2].decode(errors="ignore").encode()
    return struct.pack("!BBH", CLOSE, 2 + len(text), code) + text


def ping_frame(payload: bytes = b"") -> bytes:
    """Return a Ping frame. `payload` has at most 125 bytes."""
    return bytes((PING, len(payload))) + payload


def unmask(payload: bytes, key: bytes) -> bytes:
    """Return the payload with its mask taken off (or put on). `key` has four bytes."""
    size = len(payload)
    if size <= _INTEGER_UP_TO:
        pad = (key * ((size + 3) >> 2))[:size]
        return (int.from_bytes(payload, "little") ^ int.from_bytes(pad, "little")).to_bytes(size, "little")
    plain = bytearray(payload)
    for start in range(4):
        plain[start::4] = plain[start::4].translate(_XOR[key[start]])
    return bytes(plain)


class Violation(Exception):
    """A client broke the protocol or a limit. Its connection ends with `code`; `reason` is for a person."""

    def __init__(self, code: CloseCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Header(msgspec.Struct, frozen=True, gc=False):
    """The header of a client's frame.

    Attributes:
        first: its first byte: FIN, reserved bits, opcode.
        size: how long the header is, the masking key included.
        length: how long the payload is.
    """

    first: int
    size: int
    length: int


def read_header(data: bytes, at: int) -> Header | int:
    """Read the header that begins at `at`, and judge what it says by itself.

    Returns:
        The header, or how many bytes from `at` on are needed to read on.

    Raises:
        Violation: no client may send such a frame.
    """
    available = len(data) - at
    if available < _LEAST:
        return _LEAST
    first, second = data[at], data[at + 1]
    length = second & ~_MASKED
    if first != TEXT or second < _MASKED:
        _judge(first, second, length)
    size = 6 if length < _SHORT else 8 if length == _SHORT else 14
    if available < size:
        return size
    if length >= _SHORT:
        shortest = _SHORT if length == _SHORT else 1 << 16
        length = int.from_bytes(data[at + 2 : at + size - 4], "big")
        if length < shortest:
            raise Violation(CloseCode.PROTOCOL_ERROR, "length not in its shortest form")
        if length >> 63:
            raise Violation(CloseCode.PROTOCOL_ERROR, "length beyond 63 bits")
    return Header(first, size, length)


def _judge(first: int, second: int, length: int) -> None:
    """Judge the two bytes every header begins with."""
    if first in _BINARY:
        raise Violation(CloseCode.UNSUPPORTED_DATA, "expected text messages, got a binary one")
    if first not in _DATA and first not in _CONTROLS:
        raise Violation(CloseCode.PROTOCOL_ERROR, "reserved bit, unknown opcode or fragmented control frame")
    if not second & _MASKED:
        raise Violation(CloseCode.PROTOCOL_ERROR, "frames of a client must be masked")
    if first & _CONTROL and length > MAX_CONTROL:
        raise Violation(CloseCode.PROTOCOL_ERROR, f"control frame above {MAX_CONTROL} bytes")


class Scanner:
    """Reads one client's frames; see the rules at the top. Lives as long as the connection.

    Attributes:
        fast: whether texts are still taken here.
        limit: the largest message, in bytes. May be changed between two calls of `feed`.
        frames: how many frames were taken or handed on. While it stands still, the unfinished frame is the same.
        postponed: whether a frame is to be judged once the texts before it have been heard: feed it nothing more then.
        closed: whether a whole Close frame has passed.
        violation: what ended the reading, if anything did.
    """

    __slots__ = (
        "_cap", "_fragments", "_held", "_last", "_message", "_need", "_signs", "_skip",
        "closed", "fast", "frames", "limit", "postponed", "violation",
    )  # fmt: skip

    def __init__(self, limit: int, fragments: int) -> None:
        """Start at the first byte after the handshake.

        Args:
            limit: the largest message, in bytes.
            fragments: the most fragments a message may have.
        """
        self.limit = limit
        self._cap = fragments
        self._held: bytearray | None = None
        """The beginning of a frame that cannot be judged or taken yet."""
        self._need = 0
        """How long `_held` must be before it is worth another look: keeps single bytes from costing squares."""
        self._skip = 0
        """How many bytes of the current frame's payload are still to be handed on."""
        self._last = False
        self._fragments = 0
        self._message = 0
        self._signs = 0
        self.fast = True
        self.postponed = False
        self.frames = 0
        self.closed = False
        self.violation: Violation | None = None

    @override
    def __repr__(self) -> str:
        lane = "fast" if self.fast else "slow"
        return f"<Scanner {lane} frames={self.frames} unfinished={self.unfinished} closed={self.closed}>"

    @property
    def unfinished(self) -> bool:
        """Whether the client is in the middle of a frame."""
        return self._held is not None or self._skip > 0

    @property
    def done(self) -> bool:
        """Whether nothing more will be read: a Close frame has passed, or a violation."""
        return self.closed or self.violation is not None

    def feed(self, data: bytes) -> tuple[list[bytes], bytes]:
        """Take the next bytes.

        Returns:
            The text messages now complete, in order, and the bytes for trio-websocket. The texts come first.
            Both are right also if `violation` is set afterwards: they came before it.
        """
        if self._held is not None:
            self._held += data
            if len(self._held) < self._need:
                return _NOTHING
            data, self._held = bytes(self._held), None
            self.postponed = False
        texts: list[bytes] = []
        others: list[bytes] = []
        try:
            self._scan(data, texts, others)
        except Violation as violation:
            self.violation = violation
        return texts, b"".join(others)

    def _scan(self, data: bytes, texts: list[bytes], others: list[bytes]) -> None:
        at = 0
        end = len(data)
        while at < end and not self.closed and self.violation is None:
            if self._skip:
                at = self._hand_on(data, at, at, others)
                continue
            header = read_header(data, at)
            if isinstance(header, int):
                return self._hold(data, at, header)
            if header.length > self.limit:
                if texts:
                    # They have not been heard yet, and may change the limit.
                    self.postponed = True
                    return self._hold(data, at, 0)
                self._check_size(header.length)
            payload = at + header.size
            stop = payload + header.length
            if header.first == PONG:
                # Nobody waits for it; that bytes have come is all it says.
                if stop > end:
                    return self._hold(data, at, stop - at)
                self.frames += 1
                self._count_sign()
                at = stop
            elif self.fast and header.first == TEXT:
                if stop > end:
                    return self._hold(data, at, stop - at)
                texts.append(_utf8(unmask(data[payload:stop], data[payload - 4 : payload])))
                self.frames += 1
                at = stop
            else:
                self._follow(header)
                at = self._hand_on(data, at, payload, others)
        return None

    def _hold(self, data: bytes, at: int, need: int) -> None:
        self._held = bytearray(data[at:])
        self._need = need

    def _hand_on(self, data: bytes, at: int, payload: int, others: list[bytes]) -> int:
        """Hand on a frame's bytes from `at`, its payload beginning at `payload`; return where they stop."""
        stop = min(payload + self._skip, len(data))
        self._skip -= stop - payload
        others.append(data[at:stop])
        self.closed = self._last and not self._skip
        return stop

    def _follow(self, header: Header) -> None:
        """Judge a frame in its place among the others, and note what it changes."""
        self.frames += 1
        self._skip = header.length
        if header.first & _CONTROL:
            self._last = header.first == CLOSE
            self._count_sign()
            return
        self.fast = False
        continues = not header.first & ~_FINAL
        if continues != bool(self._fragments):
            raise Violation(
                CloseCode.PROTOCOL_ERROR, "continuation without a message, or a message within another"
            )
        self._fragments += 1
        if self._fragments > self._cap:
            raise Violation(CloseCode.TOO_BIG, f"a message may have {self._cap} fragments")
        self._message += header.length
        self._check_size(self._message)
        if header.first & _FINAL:
            self._fragments = self._message = 0

    def rest(self) -> None:
        """Begin to count pings and pongs anew. To be called every tick."""
        self._signs = 0

    def _count_sign(self) -> None:
        self._signs += 1
        if self._signs > MAX_SIGNS:
            raise Violation(CloseCode.RATE_LIMITED, "too many pings or pongs: wait, come back and resume")

    def _check_size(self, size: int) -> None:
        if size > self.limit:
            raise Violation(CloseCode.TOO_BIG, f"a message may have {self.limit} bytes")


def _utf8(text: bytes) -> bytes:
    """Return a text, or refuse it for not being UTF-8."""
    if not text.isascii():
        try:
            text.decode()
        except UnicodeDecodeError:
            raise Violation(CloseCode.INVALID_UTF8, "text is not UTF-8") from None
    return text
