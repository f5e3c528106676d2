"""WebSocket frames as a client sends them and takes them from a server (RFC 6455, section 5.2). Pure."""

from __future__ import annotations

import struct

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
"""The opcodes."""

_TWO_BYTES, _EIGHT_BYTES = 126, 127
_HEAD = 2


def frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """Return a whole frame as clients send it. Its mask is zero, which is a mask as good as any on a loopback."""
    size = len(payload)
    if size < _TWO_BYTES:
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", 0x80 | opcode, 0x80 | _TWO_BYTES, size)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | _EIGHT_BYTES, size)
    return head + b"\0\0\0\0" + payload


def unframe(buffer: bytearray) -> tuple[int, bytes] | None:
    """Take a whole, unmasked frame off the front of the buffer: its opcode and payload. None if there is none yet."""
    if len(buffer) < _HEAD:
        return None
    size, start = buffer[1] & 0x7F, _HEAD
    if size >= _TWO_BYTES:
        start = 4 if size == _TWO_BYTES else 10
        if len(buffer) < start:
            return None
        size = int.from_bytes(buffer[_HEAD:start])
    if len(buffer) < start + size:
        return None
    opcode, payload = buffer[0] & 0x0F, bytes(buffer[start : start + size])
    del buffer[: start + size]
    return opcode, payload
