"""Frames no client may send, and the close code each must get, whichever lane the connection is in.

Every case is a name, the bytes, and the code.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TypeAlias

from .peer import BINARY, CLOSE, PING, PONG, TEXT, frame

Case: TypeAlias = tuple[str, bytes, int | None]

LIMIT = 65_536
FRAGMENTS = 128
MASK = b"mask"

OPCODES = {"text": TEXT, "binary": BINARY, "continuation": 0x80, "close": CLOSE, "ping": PING, "pong": PONG}
CONTROLS = {"close": CLOSE, "ping": PING, "pong": PONG}

NOT_UTF8 = {
    "a continuation byte": b"\x80",
    "two continuation bytes": b"ab\xbf\xbf",
    "a byte that never occurs, FE": b"\xfe",
    "a byte that never occurs, FF": b"\xff",
    "an overlong slash of two bytes": b"\xc0\xaf",
    "an overlong slash of three bytes": b"\xe0\x80\xaf",
    "an overlong slash of four bytes": b"\xf0\x80\x80\xaf",
    "an overlong NUL": b"\xc0\x80",
    "the last overlong form of two bytes": b"\xc1\xbf",
    "the last overlong form of three bytes": b"\xe0\x9f\xbf",
    "the last overlong form of four bytes": b"\xf0\x8f\xbf\xbf",
    "a high surrogate": b"\xed\xa0\x80",
    "a low surrogate": b"\xed\xbf\xbf",
    "a pair of surrogates": b"\xed\xa1\x8c\xed\xbe\xb4",
    "above the last character": b"\xf4\x90\x80\x80",
    "a form of five bytes": b"\xf8\x88\x80\x80\x80",
    "a form of six bytes": b"\xfc\x84\x80\x80\x80\x80",
    "the first of two bytes": b"\xc3",
    "two of three bytes": b"\xe2\x82",
    "three of four bytes": b"\xf0\x9f\x98",
    "a text in Latin-1": "très bien".encode("latin-1"),
    "a text in UTF-16": "hello".encode("utf-16"),
    "a good text that ends badly": "κόσμε".encode() + b"\xed\xa0\x80edited",
    "60 kB that end badly": b"x" * 60_000 + b"\xff",
}

BAD_CODES = (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 9999, 65_535)
GOOD_CODES = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 3999, 4000, 4401, 4999)


def header(first: int, length: int, size: str, mask: bytes = MASK) -> bytes:
    """Return a header that says a length in a form of any size, and nothing else."""
    return struct.pack(f"!BB{size}", first, 0x80 | (126 if size == "H" else 127), length) + mask


def fragments(*parts: bytes, kind: int = 0x01) -> bytes:
    """Return a message in several frames."""
    first, *middle, last = parts
    return b"".join((frame(kind, first), *(frame(0x00, part) for part in middle), frame(0x80, last)))


def _shapes() -> Iterator[Case]:
    for name, first in OPCODES.items():
        # A binary frame is refused for what it is, before anything else about it counts.
        code = 1003 if name == "binary" else 1002
        yield f"unmasked {name}", frame(first, b"" if name == "close" else b"x", mask=None), code
        for bits in (0x10, 0x20, 0x40, 0x70):
            yield f"{name} with reserved bits {bits >> 4:03b}", frame(first | bits, b"x"), 1002
    for opcode in (*range(3, 8), *range(11, 16)):
        yield f"opcode {opcode}", frame(0x80 | opcode, b"x"), 1002
        yield f"fragment of opcode {opcode}", frame(opcode), 1002
    for name, first in CONTROLS.items():
        yield f"fragmented {name}", frame(first & 0x7F), 1002
        yield f"{name} of 126 bytes", frame(first, b"x" * 126), 1002
        yield f"{name} of 65536 bytes", frame(first, b"x" * LIMIT), 1002
        yield f"{name} of 5 bytes said in two", header(first, 5, "H") + b"hello", 1002
        yield f"{name} of 5 bytes said in eight", header(first, 5, "Q") + b"hello", 1002
    for length in (0, 1, 125):
        yield f"length {length} said in two bytes", header(TEXT, length, "H") + b"x" * length, 1002
    for length in (0, 125, 126, 65_535):
        yield f"length {length} said in eight bytes", header(TEXT, length, "Q") + b"x" * length, 1002
    yield "a length below 0", header(TEXT, 1 << 63, "Q"), 1002
    yield "a length of all ones", header(TEXT, (1 << 64) - 1, "Q"), 1002
    yield "a length of a terabyte", header(TEXT, 1 << 40, "Q"), 1009
    yield "a length of 63 ones", header(TEXT, (1 << 63) - 1, "Q"), 1009
    yield "a fragment of a terabyte", header(0x01, 1 << 40, "Q"), 1009
    yield "one byte too many", frame(TEXT, b" " * (LIMIT + 1)), 1009
    yield "one byte too many, in few characters", frame(TEXT, "é".encode() * (LIMIT // 2) + b"x"), 1009


def _messages() -> Iterator[Case]:
    yield "continuation of nothing", frame(0x00, b"x"), 1002
    yield "last continuation of nothing", frame(0x80, b"x"), 1002
    yield "continuation of a whole message", fragments(b" ", b" ") + frame(0x80, b"x"), 1002
    yield "a text within a message", frame(0x01, b"x") + frame(TEXT, b"y"), 1002
    yield "a fragment within a message", frame(0x01, b"x") + frame(0x01, b"y"), 1002
    yield "a binary within a message", frame(0x01, b"x") + frame(BINARY, b"y"), 1003
    yield "binary", frame(BINARY, b"x"), 1003
    yield "an empty binary", frame(BINARY), 1003
    yield "a binary of 60 kB", frame(BINARY, b"x" * 60_000), 1003
    yield "a fragment of a binary", frame(0x02, b"x"), 1003
    yield "a binary that is too large", header(BINARY, 1 << 40, "Q"), 1003
    yield "too much in two fragments", fragments(b"x" * LIMIT, b"x"), 1009
    yield "too much in many fragments", fragments(*[b"x" * 600] * 120), 1009
    yield "too many fragments", fragments(*[b"x"] * (FRAGMENTS + 1)), 1009
    yield "too many empty fragments", fragments(*[b""] * (FRAGMENTS + 1)), 1009
    yield "fragments without end", frame(0x01) + frame(0x00) * 5000, 1009
    yield "fragments without end, with pings", frame(0x01) + (frame(0x00) + frame(PING, b"?")) * 1000, 1009
    yield "noise", bytes(range(256)) * 40, 1002
    yield "zeros", bytes(50_000), 1002
    yield "a request", b"GET / HTTP/1.1\r\nHost: server\r\n\r\n", 1002


def _texts() -> Iterator[Case]:
    for name, bad in NOT_UTF8.items():
        yield name, frame(TEXT, bad), 1007
        yield f"{name}, in two fragments", fragments(bad[:1], bad[1:]), 1007
    yield "a character cut by the end of a fragment, and not gone on with", fragments(b"\xc3", b"x"), 1007
    yield "not UTF-8 in a fragment, the message never ends", frame(0x01, b"\xff"), 1007
    yield "not UTF-8 in the third fragment", fragments(b"a", b"b", b"\xed\xa0\x80", b"c"), 1007


def _closes() -> Iterator[Case]:
    yield "close of one byte", frame(CLOSE, b"\x03"), 1002
    for code in BAD_CODES:
        yield f"close with {code}", frame(CLOSE, code.to_bytes(2, "big")), 1002
    for name, bad in NOT_UTF8.items():
        if len(bad) < 120:
            yield f"close with a reason of {name}", frame(CLOSE, b"\x03\xe8" + bad), 1007


GOOD_CLOSES: list[Case] = [
    ("close without a code", frame(CLOSE), None),
    *((f"close with {code}", frame(CLOSE, code.to_bytes(2, "big")), code) for code in GOOD_CODES),
    ("close with a reason of 123 bytes", frame(CLOSE, b"\x03\xe8" + b"x" * 123), 1000),
    ("close within a message", frame(0x01, b"x") + frame(CLOSE, b"\x03\xe8"), 1000),
    ("close and more", frame(CLOSE, b"\x03\xe8") + frame(TEXT, b"late") + b"\xff" * 1000, 1000),
    ("two closes", frame(CLOSE, b"\x03\xe8") + frame(CLOSE, b"\x03\xe9"), 1000),
]
"""What clients may well send: it is answered by the same code."""

UNFINISHED: list[Case] = [
    ("half a header", b"\x81", 1002),
    ("a header without its mask", b"\x81\x85ma", 1002),
    ("half a text", frame(TEXT, b"hello")[:-2], 1002),
    ("half a ping", frame(PING, b"hello")[:-2], 1002),
    ("half a fragment", frame(0x01, b"hello")[:-2], 1002),
]
"""Frames whose rest never comes. The server waits for `frame_timeout` seconds."""

CASES: list[Case] = [*_shapes(), *_messages(), *_texts(), *_closes()]
