"""Frames are bytes both ends agree on, and a scanner that no cut and no odd byte confuses."""

from __future__ import annotations

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Close, Frame, Opcode
from websockets.streams import StreamReader
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, TextMessage

from trio_chat.clients.frames import Scanner, close_frame, ping_frame, text_frame, unmask
from trio_chat.errors import CloseCode

LIMIT = 1000
CAP = 5


def client_frame(opcode: Opcode, data: bytes = b"", *, fin: bool = True, reserved: int = 0) -> bytes:
    frame = bytearray(Frame(opcode, data).serialize(mask=True))
    frame[0] = fin << 7 | reserved << 4 | opcode
    return bytes(frame)


def text(data: bytes, *, fin: bool = True) -> bytes:
    return client_frame(Opcode.TEXT, data, fin=fin)


def more(data: bytes, *, fin: bool = False) -> bytes:
    return client_frame(Opcode.CONT, data, fin=fin)


def header(first: int, second: int, extended: bytes = b"") -> bytes:
    return bytes((first, second)) + extended + b"mask"


def scanner() -> Scanner:
    return Scanner(LIMIT, CAP)


def parse(data: bytes) -> Frame:
    """Parse one server frame with an independent implementation."""
    reader = StreamReader()
    reader.feed_data(data)
    step = Frame.parse(reader.read_exact, mask=False, max_size=None)
    with pytest.raises(StopIteration) as stop:
        next(step)
    assert not reader.buffer
    return stop.value.value


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536])
def test_text_of_any_size(size: int) -> None:
    """A text frame of any size is read back by an independent client."""
    payload = b"x" * size

    assert parse(text_frame(payload)) == Frame(Opcode.TEXT, payload)


def test_close_frame() -> None:
    """A Close frame carries its code and its reason."""
    frame = parse(close_frame(CloseCode.TOO_SLOW, "come back"))

    assert Close.parse(frame.data) == Close(4408, "come back")


def test_long_reason() -> None:
    """A reason that does not fit is cut between two characters."""
    frame = parse(close_frame(1011, "é" * 100))

    assert Close.parse(frame.data) == Close(1011, "é" * 61)


def test_ping_frame() -> None:
    """A ping carries its payload."""
    assert parse(ping_frame(b"1")) == Frame(Opcode.PING, b"1")


@given(st.integers(0, 5000), st.binary(min_size=4, max_size=4))
def test_unmask(size: int, key: bytes) -> None:
    """Unmasking is the xor of every byte with its byte of the key, whatever the size."""
    payload = bytes(i * 7 & 0xFF for i in range(size))

    assert unmask(payload, key) == bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))


def test_texts_are_taken() -> None:
    """Complete text frames are taken in the fast lane, several from one read, an empty one too."""
    reader = scanner()

    assert reader.feed(text(b"one") + text(b"") + text(b"x" * 500)) == ([b"one", b"", b"x" * 500], b"")
    assert reader.fast
    assert reader.frames == 3


@pytest.mark.parametrize("size", [3, 126, LIMIT])
def test_text_byte_by_byte(size: int) -> None:
    """A text cut into single bytes is the same text, and stays in the fast lane."""
    reader = scanner()
    got = [reader.feed(bytes((byte,))) for byte in text(b"x" * size)]

    assert got[:-1] == [([], b"")] * (len(got) - 1)
    assert got[-1] == ([b"x" * size], b"")
    assert reader.fast


def test_pings_are_handed_on() -> None:
    """A ping between texts is handed on untouched; the lane stays fast."""
    reader = scanner()
    ping = client_frame(Opcode.PING, b"payload")

    assert reader.feed(text(b"a") + ping + text(b"b")) == ([b"a", b"b"], ping)
    assert reader.fast


@pytest.mark.parametrize("cut", range(1, 13))
def test_pongs_are_dropped(cut: int) -> None:
    """Nobody waits for one, however it is cut; between fragments as well."""
    reader = scanner()
    pong = client_frame(Opcode.PONG, b"payload")
    begun = text(b"fra", fin=False)

    assert reader.feed(text(b"a") + pong[:cut]) == ([b"a"], b"")
    assert reader.feed(pong[cut:] + text(b"b")) == ([b"b"], b"")
    assert reader.fast
    assert reader.feed(begun + pong) == ([], begun)
    assert not reader.unfinished


def test_fragments_end_the_fast_lane() -> None:
    """From the first fragment on everything is handed on, whole texts too, so that messages keep their order."""
    reader = scanner()
    rest = text(b"fra", fin=False) + more(b"gment", fin=True) + text(b"whole")

    assert reader.feed(text(b"before") + rest) == ([b"before"], rest)
    assert not reader.fast
    assert reader.feed(text(b"later"))[0] == []


def test_frames_handed_on_in_part() -> None:
    """The payload of a frame that is handed on goes as far as it has come."""
    reader = scanner()
    frame = text(b"0123456789", fin=False)

    assert reader.feed(frame[:4]) == ([], b"")
    assert reader.feed(frame[4:9]) == ([], frame[:9])
    assert reader.unfinished
    assert reader.feed(frame[9:]) == ([], frame[9:])
    assert not reader.unfinished


def test_nothing_after_close() -> None:
    """A Close frame is handed on; nothing behind it is read."""
    reader = scanner()
    close = client_frame(Opcode.CLOSE, Close(1000, "bye").serialize())

    assert reader.feed(close[:5]) == ([], b"")
    assert not reader.done
    assert reader.feed(close[5:] + text(b"late")) == ([], close)
    assert reader.closed
    assert reader.done
    assert reader.feed(text(b"later")) == ([], b"")


BROKEN = {
    "unmasked": (b"\x81\x05hello", 1002),
    "reserved bit 1": (client_frame(Opcode.TEXT, b"x", reserved=4), 1002),
    "reserved bit 2": (client_frame(Opcode.TEXT, b"x", reserved=2), 1002),
    "reserved bit 3": (client_frame(Opcode.TEXT, b"x", reserved=1), 1002),
    "reserved bit of a ping": (client_frame(Opcode.PING, b"x", reserved=4), 1002),
    **{f"opcode {code}": (header(0x80 | code, 0x80), 1002) for code in (*range(3, 8), *range(11, 16))},
    "fragmented ping": (client_frame(Opcode.PING, b"x", fin=False), 1002),
    "fragmented close": (client_frame(Opcode.CLOSE, fin=False), 1002),
    "ping of 126 bytes": (header(0x89, 0xFE, b"\0\x7e") + b"x" * 126, 1002),
    "close of 126 bytes": (header(0x88, 0xFE, b"\0\x7e") + b"x" * 126, 1002),
    "continuation of nothing": (more(b"x"), 1002),
    "last continuation of nothing": (more(b"x", fin=True), 1002),
    "continuation of a finished message": (text(b"a", fin=False) + more(b"b", fin=True) + more(b"c"), 1002),
    "text within a message": (text(b"a", fin=False) + text(b"b"), 1002),
    "length of 125 in two bytes": (header(0x81, 0xFE, struct.pack("!H", 125)), 1002),
    "length of 65535 in eight bytes": (header(0x81, 0xFF, struct.pack("!Q", 65535)), 1002),
    "length beyond 63 bits": (header(0x81, 0xFF, struct.pack("!Q", 1 << 63)), 1002),
    "binary": (client_frame(Opcode.BINARY, b"x"), 1003),
    "binary fragment": (client_frame(Opcode.BINARY, b"x", fin=False), 1003),
    "not UTF-8": (text(b"\xff"), 1007),
    "half a character": (text("é".encode()[:1]), 1007),
    "a surrogate": (text(b"\xed\xa0\x80"), 1007),
    "one byte too long": (text(b"x" * (LIMIT + 1)), 1009),
    "bytes, not characters": (text("é".encode() * (LIMIT // 2 + 1)), 1009),
    "far too long": (header(0x81, 0xFF, struct.pack("!Q", 1 << 40)), 1009),
    "too long in fragments": (text(b"x" * LIMIT, fin=False) + more(b"x"), 1009),
    "too many fragments": (text(b"x", fin=False) + more(b"") * CAP, 1009),
    "too many empty fragments": (text(b"", fin=False) + more(b"") * CAP, 1009),
}


@pytest.mark.parametrize(("data", "code"), BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("cut", [False, True], ids=["whole", "cut"])
def test_violations(data: bytes, code: int, cut: bool) -> None:
    """What a client may not send ends the reading with the right code; texts before it count, nothing after it."""
    reader = scanner()
    data = text(b"before") + data + text(b"after")
    texts: list[bytes] = []
    others = b""
    for piece in [data[i : i + 1] for i in range(len(data))] if cut else [data]:
        got, rest = reader.feed(piece)
        texts += got
        others += rest
    # What is too long is judged when the texts before it have been heard.
    assert reader.feed(b"") == ([], b"")

    assert texts == [b"before"]
    assert b"after" not in others
    assert reader.violation is not None
    assert reader.violation.code == code
    assert reader.done
    assert reader.feed(text(b"later")) == ([], b"")


def test_exactly_at_the_limits() -> None:
    """A message of the largest size and one of the most fragments pass."""
    reader = scanner()
    reader.feed(text(b"x" * LIMIT))
    reader.feed(text(b"x" * (LIMIT - 1), fin=False) + more(b"") * (CAP - 2) + more(b"x", fin=True))

    assert reader.violation is None


def test_size_is_judged_before_the_payload() -> None:
    """A message that is going to be too big is refused by its header alone."""
    reader = scanner()
    reader.feed(header(0x81, 0xFE, struct.pack("!H", LIMIT + 1)))

    assert reader.violation is not None


def test_unfinished() -> None:
    """The scanner knows whether it is in the middle of a frame, and whether it still is the same one."""
    reader = scanner()
    frame = text(b"hello")
    reader.feed(frame + frame[:3])

    assert reader.unfinished
    assert reader.frames == 1
    reader.feed(frame[3:])
    assert not reader.unfinished
    assert reader.frames == 2


def test_repr() -> None:
    """A scanner says what an operator wants to know."""
    reader = scanner()
    reader.feed(text(b"x") + b"\x81")

    assert repr(reader) == "<Scanner fast frames=1 unfinished=True closed=False>"


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """One message: a text whole or in fragments, perhaps with pings between, or a control frame."""
    payload = draw(st.text(max_size=200)).encode()[:LIMIT]
    parts = draw(st.integers(1, CAP))
    if parts == 1:
        return draw(st.sampled_from((text(payload), client_frame(Opcode.PING, payload[:125]))))
    cuts = sorted(draw(st.integers(0, len(payload))) for _ in range(parts - 1))
    edges = [0, *cuts, len(payload)]
    pieces = [payload[start:stop] for start, stop in pairwise(edges)]
    ping = draw(st.sampled_from((b"", client_frame(Opcode.PING, b"?"))))
    return ping.join(
        client_frame(Opcode.CONT if i else Opcode.TEXT, piece, fin=i == parts - 1)
        for i, piece in enumerate(pieces)
    )


noise = st.one_of(st.binary(max_size=20), st.sampled_from([data for data, _ in BROKEN.values()]))
conversations = st.lists(messages(), max_size=6).map(b"".join)


@st.composite
def cut(draw: st.DrawFn, streams: st.SearchStrategy[bytes]) -> list[bytes]:
    """A stream of bytes, cut anywhere."""
    stream = draw(streams)
    edges = sorted({0, len(stream), *draw(st.lists(st.integers(0, len(stream)), max_size=30))})
    return [stream[start:stop] for start, stop in pairwise(edges)]


def read(pieces: list[bytes]) -> tuple[list[bytes], bytes, int | None]:
    reader = scanner()
    texts: list[bytes] = []
    others = b""
    for piece in pieces:
        got, rest = reader.feed(piece)
        if reader.postponed:
            _, more = reader.feed(b"")
            rest += more
        texts += got
        others += rest
    return texts, others, reader.violation and reader.violation.code


@given(cut(st.tuples(conversations, noise, conversations).map(b"".join)))
def test_any_cut(pieces: list[bytes]) -> None:
    """Wherever a stream is cut, also a hostile one, the same comes out as from one read."""
    texts, others, code = read(pieces)

    assert (texts, others, code) == read([b"".join(pieces)])


def library_reads(data: bytes) -> tuple[list[str], int | None]:
    """The texts, and how they end, as trio-websocket's own parser reads them."""
    connection = Connection(ConnectionType.SERVER)
    connection.receive_data(data)
    texts: list[str] = []
    part = ""
    for event in connection.events():
        match event:
            case TextMessage():
                part += event.data
                if event.message_finished:
                    texts.append(part)
                    part = ""
            case CloseConnection():
                return texts, event.code
            case _:
                pass
    return texts, None


@given(cut(conversations))
def test_as_the_library_reads(pieces: list[bytes]) -> None:
    """Texts of the fast lane, then what the library makes of the rest, are what the library makes of all."""
    texts, others, code = read(pieces)
    slow, _ = library_reads(others)

    assert code is None
    assert [text.decode() for text in texts] + slow == library_reads(b"".join(pieces))[0]


@given(conversations, st.binary(min_size=2, max_size=40))
def test_never_laxer_than_the_library(data: bytes, rest: bytes) -> None:
    """Whatever trio-websocket's parser would refuse is refused here or left for it to refuse."""
    _, others, code = read([data + rest])
    _, refused = library_reads(data + rest)
    _, refused_later = library_reads(others)

    assert refused is None or code is not None or refused_later is not None
