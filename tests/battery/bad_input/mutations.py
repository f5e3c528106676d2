"""What a fuzzer says: conversations that were right once, with mistakes in their bytes, frames, texts and requests."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from random import Random

from .cases_envelopes import EPOCH, REQUESTS
from .peer import CLOSE, PATHS, PING, frame, handshake, text

Step = bytes

# What is worth having in the wrong place.
WORDS = (
    b"\0", b"\xff", b"\x80", b"\xed\xa0\x80", b"{", b"}", b"[", b"]", b'"', b"\\", b"\\u0000", b"\\ud800", b",", b":", b"null",
    b"true", b"1e999", b"-1", b"NaN", b"9" * 400, b"[" * 200, b'{"a":' * 200, b"\r\n", b"\r\n\r\n", b"\n", b" ", b"%00",
    b"chunked", b"websocket", b"Upgrade", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n",
    b"HTTP/1.1", b"GET ", b"POST ", b'"type"', b'"room"', b'"ref"', b"\x81\x80", b"\x88\x80", b"\x1e", b"2probe", b"42", b"451-",
)  # fmt: skip


def native_texts(token: str) -> list[bytes]:
    """Return the texts of a whole conversation."""
    requests = [
        {"type": "hello", "token": token},
        {"type": "room:join", "room": "fuzz", "resume": {"epoch": EPOCH, "seq": 3}},
        *({"type": kind, **fields, "ref": number} for number, (kind, fields) in enumerate(REQUESTS.items())),
    ]
    return [json.dumps(said).replace('"pit"', '"fuzz"').encode() for said in requests]


def socketio_texts(token: str) -> list[bytes]:
    """Return the packets of a whole conversation."""
    events = [
        ["room:join", "fuzz"],
        ["message:send", {"teamId": "fuzz", "content": "x", "id": "m", "metadata": {"a": [1, "é"]}}],
        ["message:edit", "m", "y"],
        ["receipt:update", {"teamId": "fuzz", "lastReadMessageId": "m"}],
        ["history:get", {"teamId": "fuzz", "limit": 3}],
        ["typing:start", "fuzz"],
        ["token:refresh", token],
        ["message:delete", "m"],
        ["room:leave", "fuzz"],
    ]
    packets = [f"42{number}{json.dumps(said)}" for number, said in enumerate(events)]
    return [f'40{{"token": "{token}"}}'.encode(), *(packet.encode() for packet in packets), b"2", b"3", b"41"]


def polling(token: str) -> bytes:
    """Return requests on one connection: a session is opened, then one that nobody knows is used."""
    body = f'40{{"token": "{token}"}}\x1e42["room:join","fuzz"]'.encode()
    opening = handshake("/socket.io/?EIO=4&transport=polling", Connection="keep-alive", Upgrade=None)
    length = str(len(body))
    bringing = "/socket.io/?EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAAAAAA"
    posting = handshake(
        bringing, "POST {} HTTP/1.1", body, Connection="keep-alive", Upgrade=None, Content_Length=length
    )
    return opening + posting


def spoil(data: bytes, chance: Random) -> bytes:
    """Return the bytes with a few mistakes."""
    spoilt = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(spoilt) + 1)
        size = chance.choice((0, 1, 1, 2, 8))
        put = chance.choice(
            (chance.randbytes(chance.randint(0, 4)), chance.choice(WORDS), bytes(spoilt[:size]))
        )
        spoilt[at : at + size] = put
    return bytes(spoilt)


def framed(said: bytes, chance: Random) -> bytes:
    """Return a text in one frame or in several, with a ping between them now and then."""
    if chance.random() < 0.8 or len(said) < 2:
        return text(said)
    cut = chance.randrange(1, len(said))
    between = frame(PING, b"?") if chance.random() < 0.5 else b""
    return frame(0x01, said[:cut]) + between + frame(0x80, said[cut:])


def odd_frame(chance: Random) -> bytes:
    """Return a frame of any kind, right or wrong."""
    first = chance.choice((0x00, 0x01, 0x80, 0x81, 0x88, 0x89, 0x8A, 0x02, 0x82, chance.randrange(256)))
    payload = chance.randbytes(chance.choice((0, 1, 2, 5, 125, 126, 127, 300)))
    return frame(first, payload, mask=None if chance.random() < 0.1 else chance.randbytes(4))


def conversation(wire: str, token: str, chance: Random) -> bytes:
    """Return a conversation with mistakes in its texts or among its frames, behind a good handshake."""
    texts = native_texts(token) if wire == "native" else socketio_texts(token)
    first, *later = texts
    chance.shuffle(later)
    said = [first, *later[: chance.randint(1, 6)]]
    frames = [framed(spoil(one, chance) if chance.random() < 0.4 else one, chance) for one in said]
    if chance.random() < 0.3:
        frames.insert(chance.randrange(len(frames) + 1), odd_frame(chance))
    if chance.random() < 0.5:
        frames.append(frame(CLOSE, b"\x03\xe8"))
    return handshake(PATHS[wire]) + b"".join(frames)


def handshake_with_mistakes(wire: str, token: str, chance: Random) -> bytes:
    """Return a bad handshake, or perhaps still a good one, and frames behind it."""
    first = (native_texts if wire == "native" else socketio_texts)(token)[0]
    return spoil(handshake(PATHS[wire]), chance) + text(first)


def bytes_with_mistakes(wire: str, token: str, chance: Random) -> bytes:
    """Return a whole conversation with mistakes anywhere."""
    return spoil(conversation(wire, token, chance), chance)


def requests_with_mistakes(_: str, token: str, chance: Random) -> bytes:
    """Return polling requests with mistakes."""
    return spoil(polling(token), chance)


KINDS: Sequence[Callable[[str, str, Random], bytes]] = (
    conversation,
    conversation,
    bytes_with_mistakes,
    handshake_with_mistakes,
    requests_with_mistakes,
)


def mutation(token: str, chance: Random) -> bytes:
    """Return what a client says who does not know better."""
    return chance.choice(KINDS)(chance.choice(("native", "socketio")), token, chance)
