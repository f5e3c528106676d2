"""What is well said but at the wrong time, or by somebody who may not: conversations, and how each must end.

A conversation is a list of steps. A native step is a request, with `TOKEN` where a token belongs, or bytes to be sent as
they are; a Socket.IO step is a packet. Everything is sent at once, the handshake first. An answer is the code of an error,
a close code, the type of an object or the beginning of a packet. A close code comes last; what else comes when, depends on
who waits for what. After `ANY` only the last answer counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, TypeAlias

from .cases_envelopes import EPOCH, REQUESTS
from .peer import CLOSE, frame

Step: TypeAlias = dict[str, Any] | bytes
Case: TypeAlias = tuple[str, list[Step], list[str | int]]

ANY = "*"
TOKEN = "{a token of eve's for pit and den}"
FOREIGN = "{a token of mallory's}"
EXPIRED = "{a token that has expired}"
FORGED = "{a token of another secret}"
ROOM = "pit"

HELLO = {"type": "hello", "token": TOKEN}
JOIN = {"type": "room:join", "room": ROOM}
SEND = {"type": "message:send", "room": ROOM, "content": "never to be stored"}
BYE = frame(CLOSE, b"\x03\xe8")
NONSENSE = {"type": "nonsense"}


def asked(kind: str, **fields: Any) -> dict[str, Any]:
    """Return a request that is right in itself."""
    return {"type": kind, **REQUESTS[kind], **fields}


IN_A_ROOM = [kind for kind, fields in REQUESTS.items() if "room" in fields and kind != "room:join"]
STRANGERS = [
    {"type": "hello"},
    *({"type": "hello", "token": token} for token in ("", "x", "a.b.c", FORGED, EXPIRED)),
]


def _before_hello() -> Iterator[Case]:
    for kind in REQUESTS:
        if kind != "hello":
            yield f"{kind} before hello", [asked(kind)], ["unauthorized"]
    yield "everything before hello", [JOIN, SEND, BYE], ["unauthorized", "unauthorized", 1000]
    yield "five requests before hello", [SEND] * 5, ["unauthorized"] * 5 + [4500]
    yield "nonsense before hello", [NONSENSE], ["bad_request"]
    yield "a hello of 17 kB", [{"type": "hello", "token": "x" * 17_000}], [1009]
    yield "a token of 9 kB", [{"type": "hello", "token": "x" * 9000}], ["unauthorized", 4501]
    yield "not a word", [], [4400]
    yield "a name where tokens are wanted", [{"type": "hello", "user": "eve"}], ["unauthorized", 4501]
    yield (
        "a name beside a forged token",
        [{"type": "hello", "user": "eve", "token": FORGED}],
        ["unauthorized", 4501],
    )
    for number, stranger in enumerate(STRANGERS):
        yield f"stranger {number}", [stranger], ["unauthorized", 4501]
        yield f"stranger {number} who goes on", [stranger, HELLO, JOIN, SEND], ["unauthorized", 4501]


def _hello_again() -> Iterator[Case]:
    yield "hello twice", [HELLO, HELLO], ["welcome", "bad_request"]
    yield "hello as somebody else", [HELLO, {"type": "hello", "token": FOREIGN}], ["welcome", "bad_request"]
    yield "hello by name", [HELLO, {"type": "hello", "user": "admin"}], ["welcome", "bad_request"]
    for name, token in {"foreign": FOREIGN, "expired": EXPIRED, "forged": FORGED, "no": "x"}.items():
        step = {"type": "token:refresh", "token": token}
        yield (
            f"going on with a {name} token",
            [HELLO, step, {"type": "heartbeat"}],
            ["welcome", "unauthorized", "heartbeat"],
        )


def _not_joined() -> Iterator[Case]:
    for kind in IN_A_ROOM:
        yield f"{kind} in a room not joined", [HELLO, asked(kind)], ["welcome", "not_joined"]
        yield f"{kind} in a room of others", [HELLO, asked(kind, room="vault")], ["welcome", "not_joined"]
        left = [HELLO, JOIN, {"type": "room:leave", "room": ROOM}, asked(kind)]
        yield f"{kind} after leaving", left, ["welcome", *JOINED, "not_joined", "room:left"]
    yield "joining twice", [HELLO, JOIN, JOIN], ["welcome", "already_joined", *JOINED]
    for room in ("vault", "nowhere", "pit/", "Pit", "xpit", "pit:den", "p"):
        yield (
            f"joining {room}, not allowed",
            [HELLO, {"type": "room:join", "room": room}],
            ["welcome", "forbidden"],
        )
    resume = {"epoch": EPOCH, "seq": 1}
    forbidden = {"type": "room:join", "room": "vault", "resume": resume}
    yield "coming back to a room not allowed", [HELLO, forbidden], ["welcome", "forbidden"]


JOINED = ("room:joined", "messages:history", "receipt:list", "presence:list")


def _in_a_room() -> Iterator[Case]:
    for role in ("assistant", "system"):
        yield f"speaking as {role}", [HELLO, JOIN, {**SEND, "role": role}], ["welcome", "forbidden", *JOINED]
    for kind in ("message:edit", "message:delete", "receipt:update"):
        yield f"{kind} of nothing", [HELLO, JOIN, asked(kind, id="none") if "edit" in kind or "delete" in kind else
                                     asked(kind, lastReadMessageId="none")], ["welcome", *JOINED, "not_found"]  # fmt: skip
    rooms: list[Step] = [{"type": "room:join", "room": f"many-{number}"} for number in range(65)]
    yield "65 rooms", [{"type": "hello", "token": FOREIGN}, *rooms, BYE], [ANY, "too_many_rooms"]
    yield (
        "five requests that make no sense",
        [HELLO, *[NONSENSE] * 5],
        ["welcome", *["bad_request"] * 5, 4500],
    )
    yield "and one more", [HELLO, *[NONSENSE] * 5, JOIN, SEND], ["welcome", *["bad_request"] * 5, 4500]
    yield "hello and goodbye", [HELLO, BYE, JOIN, SEND], ["welcome", 1000]
    yield "a frame that breaks off", [HELLO, frame(0x81, json.dumps(SEND).encode())[:-5]], ["welcome", 1002]


NATIVE: list[Case] = [*_before_hello(), *_hello_again(), *_not_joined(), *_in_a_room()]

CONNECT = f'40{{"token": "{TOKEN}"}}'.encode()


def _socketio() -> Iterator[Case]:
    yield "not a word", [], [4400]
    yield "an event before connecting", [b'42["room:join", "pit"]'], [1002]
    yield "an event that waits, before connecting", [b'421["heartbeat"]'], [1002]
    yield "an acknowledgement before connecting", [b"431[]"], [4400]
    yield "a disconnect before connecting", [b"41"], [4400]
    yield "a binary event before connecting", [b'451-["x",{"_placeholder":true,"num":0}]'], [1002]
    yield "another namespace", [b"40/admin,"], ["44/admin,", 4400]
    yield "another namespace five times", [b"40/admin,"] * 5, ["44/admin,"] * 5 + [4501]
    yield "no token", [b"40"], ["44", 4400]
    for number, token in enumerate(('""', '"x"', "7", "null", "{}", f'"{FORGED}"', f'"{EXPIRED}"')):
        yield f"stranger {number}", [f'40{{"token": {token}}}'.encode()], ["44", 4400]
    yield "a stranger five times", [b'40{"token": "x"}'] * 5, ["44"] * 5 + [4501]
    yield "a name where tokens are wanted", [b'40{"userId": "eve"}'], ["44", 4400]
    yield "a stranger who goes on", [b'40{"token": "x"}', b'42["room:join", "pit"]'], ["44", 1002]
    yield "connecting twice", [CONNECT, CONNECT], ["40", "42", 1002]
    yield (
        "connecting to another namespace, too",
        [CONNECT, b"40/admin,", b"41"],
        ["40", "42", "44/admin,", 4400],
    )
    yield (
        "coming back as nobody",
        [f'40{{"token": "{TOKEN}", "pid": "x", "offset": "y"}}'.encode(), b"?"],
        [ANY, 1002],
    )
    for pid in ('"../../x"', '"*"', '""', f'"{"x" * 5000}"', "7", "null", "[]"):
        said = f'40{{"token": "{TOKEN}", "pid": {pid}, "offset": ""}}'.encode()
        yield f"coming back as {pid[:12]}", [said, b"?"], [ANY, 1002]
    yield "an event after disconnecting", [CONNECT, b"41", b'42["room:join", "pit"]'], ["40", "42", 1002]
    for name in ("room:leave", "typing:start", "typing:stop", "presence:heartbeat"):
        yield (
            f"{name} in a room not joined",
            [CONNECT, f'421["{name}", "pit"]'.encode()],
            ["40", "42", "not_joined"],
        )
    send = b'421["message:send", {"teamId": "pit", "content": "never to be stored"}]'
    yield "message:send in a room not joined", [CONNECT, send], ["40", "42", "not_joined"]
    yield (
        "history:get in a room not joined",
        [CONNECT, b'421["history:get", {"teamId": "pit"}]'],
        ["40", "42", "not_joined"],
    )
    mark = b'421["receipt:update", {"teamId": "pit", "lastReadMessageId": "m"}]'
    yield "receipt:update in a room not joined", [CONNECT, mark], ["40", "42", "not_joined"]
    for name in ("message:edit", "message:delete"):
        yield f"{name} in no room", [CONNECT, f'421["{name}", "m", "x"]'.encode()], ["40", "42", "not_found"]
    for room in ("vault", "nowhere", "Pit"):
        yield (
            f"joining {room}, not allowed",
            [CONNECT, f'421["room:join", "{room}"]'.encode()],
            ["40", "42", "forbidden"],
        )
    for name, token in {"foreign": FOREIGN, "expired": EXPIRED, "forged": FORGED, "no": "x"}.items():
        said = f'421["token:refresh", "{token}"]'.encode()
        yield f"going on with a {name} token", [CONNECT, said], ["40", "42", "unauthorized"]


SOCKETIO: list[Case] = list(_socketio())
