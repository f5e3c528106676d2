"""Requests that are not ours, in each wire's shape, from a client that is in the room `pit` with the right to be there.

A native case is a name, a text, and the code of the error that answers it. A Socket.IO case is a name, a packet, and the
code of the refusal, or the close code if it breaks the protocol of Socket.IO itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, TypeAlias

Case: TypeAlias = tuple[str, bytes, str | int]

BAD = "bad_request"
ROOM = "pit"
EPOCH = "01890a5d-ac96-774b-bcce-b302099a8057"

# What every request looks like when it is right.
REQUESTS: dict[str, dict[str, Any]] = {
    "hello": {},
    "room:join": {"room": "den"},
    "room:leave": {"room": ROOM},
    "message:send": {"room": ROOM, "content": "x", "id": "m", "role": "user", "metadata": {}},
    "message:edit": {"room": ROOM, "id": "m", "content": "x", "metadata": {}},
    "message:delete": {"room": ROOM, "id": "m"},
    "typing:start": {"room": ROOM},
    "typing:stop": {"room": ROOM},
    "receipt:update": {"room": ROOM, "lastReadMessageId": "m"},
    "presence:heartbeat": {"room": ROOM},
    "history:get": {"room": ROOM, "before": {"epoch": EPOCH, "seq": 1}, "limit": 50},
    "heartbeat": {},
    "token:refresh": {"token": "x"},
}
OPTIONAL = {"id", "metadata", "before", "role", "limit"}
ODD: list[Any] = [None, True, 7, -1.5, [], ["x"], {}, {"x": 1}]
NAMES = {"": "empty", "x" * 129: "too long"}
ROOMS = (
    "", "x" * 129, "a b", "a\tb", "a\nb", "a\0b", "*", "team-*", "a?b", "[ab]", "{pit}", "pit}", "a,b", "a;b", "a%2fb",
    "a\\b", "a'b", 'a"b', "<b>", "é", "пит", "a\u202eb", "a\u200bb", "\ud83d", "a#b", "a&b", "a=b", "a|b", "$a", "~",
)  # fmt: skip
IDS = ("", "x" * 129, "a\0b", "é" * 129)
CONTENTS = ("a\0b", "\0", "\ud800", "\udfff\ud800", "x\udc00")
NUMBERS = ("1e999", "-1e999", "9" * 4301, str(1 << 64), str(1 << 53), f"-{1 << 53}", "-" + "9" * 400)


def nested(depth: int, opening: str = "[", closing: str = "]") -> str:
    """Return JSON of this depth."""
    return opening * depth + closing * depth


def native(kind: str, **fields: Any) -> bytes:
    """Return a request; a field that is `...` is left out."""
    said = {"type": kind, **REQUESTS.get(kind, {}), **fields}
    return json.dumps({name: value for name, value in said.items() if value is not ...}).encode()


def raw(kind: str, **fields: str) -> bytes:
    """Return a request in which some fields are JSON as it stands."""
    said = native(kind, **dict.fromkeys(fields, ...)).decode()
    return (said[:-1] + "".join(f', "{name}": {value}' for name, value in fields.items()) + "}").encode()


NO_JSON = {
    "an empty text": b"",
    "a space": b" ",
    "a word": b"hello",
    "an opening brace": b"{",
    "a closing brace": b"}",
    "half an object": b'{"type": "heartbeat"',
    "half a text": b'{"type": "heart',
    "a comma too many": b'{"type": "heartbeat",}',
    "no comma": b'{"type": "heartbeat" "ref": 1}',
    "no colon": b'{"type" "heartbeat"}',
    "a name without quotes": b'{type: "heartbeat"}',
    "single quotes": b"{'type': 'heartbeat'}",
    "a comment": b'{"type": "heartbeat"} // please',
    "two objects": b'{"type": "heartbeat"}{"type": "heartbeat"}',
    "two lines of objects": b'{"type": "heartbeat"}\n{"type": "heartbeat"}',
    "a BOM": b'\xef\xbb\xbf{"type": "heartbeat"}',
    "a NUL behind it": b'{"type": "heartbeat"}\0',
    "a line feed in a text": b'{"type": "heart\nbeat"}',
    "an unknown escape": b'{"type": "heart\\xbeat"}',
    "half an escape": b'{"type": "heartbeat", "ref": "\\u12"}',
    "XML": b"<heartbeat/>",
    "form data": b"type=heartbeat",
    "a pickle": b"cos\nsystem\n(S'echo hello'\ntR.",
    "brackets": b"[" * 60_000,
    "braces": b'{"a":' * 12_000,
    "deep and closed": nested(30_000).encode(),
}
NO_OBJECT = {
    "null": b"null",
    "true": b"true",
    "a number": b"7",
    "a huge number": b"9" * 5000,
    "NaN": b"NaN",
    "a text": b'"heartbeat"',
    "a list": b"[]",
    "an object in a list": b'[{"type": "heartbeat"}]',
    "a name and fields, as in Socket.IO": b'["heartbeat", {}]',
    "a packet of Socket.IO": b'42["heartbeat"]',
    "an object without a type": b"{}",
    "an object of another protocol": b'{"jsonrpc": "2.0", "method": "heartbeat", "id": 1}',
}
SERVERS = (
    "welcome", "ack", "error", "room:joined", "room:left", "room:live", "messages:history", "message:new",
    "message:update", "presence:list", "presence:update", "receipt:list", "history:page", "session:expired",
    "token:refreshed",
)  # fmt: skip
STRANGE = (
    "",
    "Heartbeat",
    "HEARTBEAT",
    "heartbeat ",
    "heartbeat\0",
    "message",
    "message:",
    "constructor",
    "__class__",
)
SERVER_FIELDS: dict[str, Any] = {
    "userId": "admin", "user": "admin", "timestamp": "2026-01-01T00:00:00Z", "seq": 1, "rev": 1, "epoch": EPOCH,
    "durability": "archive", "duplicate": False, "editedAt": None, "deletedAt": None, "moderator": True, "__proto__": {},
}  # fmt: skip


def _native() -> Iterator[Case]:
    for name, said in {**NO_JSON, **NO_OBJECT}.items():
        yield name, said, BAD
    for odd in ODD:
        yield f"type {odd!r}", json.dumps({"type": odd}).encode(), BAD
    for kind in (*SERVERS, *STRANGE):
        yield f"type {kind!a}", json.dumps({"type": kind, "room": ROOM}).encode(), BAD
    yield "a type of 60 kB", native("x" * 60_000), BAD
    for kind, fields in REQUESTS.items():
        yield f"{kind} with an unknown field", native(kind, further=1), BAD
        yield f"{kind} with a field twice", native(kind)[:-1] + b', "ref": 1, "ref": 2}', BAD
        yield f"{kind} with its type twice", native(kind)[:-1] + f', "type": "{kind}"}}'.encode(), BAD
        for name in fields:
            if name not in OPTIONAL:
                yield f"{kind} without {name}", native(kind, **{name: ...}), BAD
            for odd in ODD:
                if _is_odd(name, odd):
                    code = "unauthorized" if kind == "hello" else BAD
                    yield f"{kind} with {name} {odd!r}", native(kind, **{name: odd}), code
    for odd in (True, 1.5, [], {}, "x" * 129, 1 << 53, -(1 << 53), 1 << 64):
        yield f"ref {str(odd)[:20]}", native("heartbeat", ref=odd), BAD


def _is_odd(name: str, odd: Any) -> bool:
    if name == "metadata":
        return odd is not None and not isinstance(odd, dict)
    if name == "limit":
        return odd != 7
    return not (odd is None and name in {"id", "before"})


def _native_values() -> Iterator[Case]:
    for room in ROOMS:
        yield f"room {room[:20]!a}", native("room:join", room=room), BAD
    for name in IDS:
        for kind in ("message:send", "message:edit", "message:delete"):
            yield f"{kind} with id {name[:9]!a}", native(kind, id=name), BAD
        yield f"receipt:update with id {name[:9]!a}", native("receipt:update", lastReadMessageId=name), BAD
    for content in CONTENTS:
        yield f"content {content!a}", native("message:send", content=content), BAD
        yield f"new content {content!a}", native("message:edit", content=content), BAD
        yield f"metadata of {content!a}", native("message:send", metadata={"x": content}), BAD
        yield f"metadata named {content!a}", native("message:send", metadata={content: "x"}), BAD
    for role in ("", "User", "admin", "moderator", "tool", "x" * 1000):
        yield f"role {role[:20]!r}", native("message:send", role=role), BAD
    for number in (*NUMBERS, "NaN", "Infinity", "-Infinity", "0x10", "01", "+1", ".5", "1.", "1e", "--1"):
        yield f"metadata of {number[:20]}", raw("message:send", metadata=f'{{"x": {number}}}'), BAD
        yield f"limit {number[:20]}", raw("history:get", limit=number), BAD
        yield f"seq {number[:20]}", raw("history:get", before=f'{{"epoch": "{EPOCH}", "seq": {number}}}'), BAD
    for limit in (0, -1, 201, 10**9):
        yield f"limit {limit}", native("history:get", limit=limit), BAD
    for name, value in SERVER_FIELDS.items():
        yield f"a message's own {name}", native("message:send", **{name: value}), BAD
        yield f"an edit's own {name}", native("message:edit", **{name: value}), BAD


def _native_metadata() -> Iterator[Case]:
    for depth in (33, 100, 1000, 30_000):
        yield f"metadata {depth} deep", raw("message:send", metadata=f'{{"x": {nested(depth)}}}'), BAD
    yield (
        "metadata 12000 objects deep",
        raw("message:send", metadata='{"x":' * 10_000 + "1" + "}" * 10_000),
        BAD,
    )
    yield "metadata with a name twice", raw("message:send", metadata='{"x": 1, "x": 2}'), BAD
    yield "metadata with a name twice, below", raw("message:send", metadata='{"x": [{"y": 1, "y": 2}]}'), BAD
    yield "metadata with a name twice, disguised", raw("message:send", metadata='{"x": 1, "\\u0078": 2}'), BAD


def _native_places() -> Iterator[Case]:
    for place in ({}, {"epoch": EPOCH}, {"seq": 1}, {"epoch": "x", "seq": 1}, {"epoch": EPOCH, "seq": -1},
                  {"epoch": EPOCH, "seq": 1, "x": 1}, {"epoch": EPOCH.upper(), "seq": 1}, {"epoch": "", "seq": 0},
                  {"epoch": EPOCH, "seq": 1.5}, {"epoch": EPOCH + "\n", "seq": 1}, {"epoch": "*", "seq": 1}):  # fmt: skip
        yield f"resume at {place}", native("room:join", resume=place), BAD
        yield f"before {place}", native("history:get", before=place), BAD


def event(name: Any, *args: Any, number: int | str = 1) -> bytes:
    """Return an event that waits for an acknowledgement."""
    return f"42{number}{json.dumps([name, *args])}".encode()


SOCKETIO_EVENTS: dict[str, list[list[Any]]] = {
    "room:join": [[], *([odd] for odd in ODD), *([room] for room in ROOMS)],
    "room:leave": [[], *([odd] for odd in ODD), [""], ["a b"]],
    "message:send": [
        [], *([odd] for odd in ODD), ["x"], [{"teamId": ROOM}], [{"content": "x"}],
        *([{"teamId": odd, "content": "x"}] for odd in ODD), *([{"teamId": ROOM, "content": odd}] for odd in ODD),
        *([{"teamId": ROOM, "content": content}] for content in CONTENTS),
        *([{"teamId": ROOM, "content": "x", "type": kind}] for kind in (7, "", "admin", "text")),
        *([{"teamId": ROOM, "content": "x", "metadata": odd}] for odd in (7, "x", [], {"x": "\0"}, {"x": 1 << 60})),
        *([{"teamId": ROOM, "content": "x", "id": odd}] for odd in (7, *IDS)),
    ],
    "message:edit": [[], ["m"], *([odd, "x"] for odd in ODD), *(["m", odd] for odd in ODD), ["m", "x", 7], ["", "x"]],
    "message:delete": [[], *([odd] for odd in ODD), *([name] for name in IDS)],
    "typing:start": [[], *([odd] for odd in ODD)],
    "typing:stop": [[], *([odd] for odd in ODD)],
    "receipt:update": [[], *([odd] for odd in ODD), [{"teamId": ROOM}], *([{"teamId": ROOM, "lastReadMessageId": odd}] for odd in (7, *IDS))],
    "presence:heartbeat": [[], *([odd] for odd in ODD)],
    "history:get": [
        [], *([odd] for odd in ODD), *([{"teamId": ROOM, "limit": odd}] for odd in (0, -1, 201, "50", 1.5)),
        *([{"teamId": ROOM, "before": odd}] for odd in (7, {}, {"epoch": "x", "seq": 1}, {"epoch": EPOCH, "seq": -1})),
    ],
    "token:refresh": [[], *([odd] for odd in ODD)],
}  # fmt: skip

SOCKETIO_PACKETS = {
    "an empty text": b"",
    "a letter": b"x",
    "an unknown kind": b"7",
    "an unknown kind of two digits": b"99",
    "a binary packet in base64": b"bAAAA",
    "a native request": b'{"type": "heartbeat"}',
    "a message without a packet": b"4",
    "an unknown packet": b"47",
    "a binary event": b'451-["x",{"_placeholder":true,"num":0}]',
    "a binary event without attachments": b'450-["x"]',
    "a binary acknowledgement": b'461-1["x",{"_placeholder":true,"num":0}]',
    "an event without arguments": b"42",
    "an event of an object": b'42{"x": 1}',
    "an event of a text": b'42"heartbeat"',
    "an event without a name": b"42[]",
    "an event named by a number": b"42[7]",
    "an event named by an object": b"42[{}]",
    "an event named null": b"42[null]",
    "half an event": b'42["heartbeat"',
    "an event and more": b'42["heartbeat"] x',
    "an event with NaN": b'42["heartbeat", NaN]',
    "an event with a bad number": b'42["heartbeat", 01]',
    "an event with a bad escape": b'42["heartbeat", "\\x"]',
    "an event of another namespace": b'42/admin,["heartbeat"]',
    "a reserved event": b'42["connect"]',
    "another reserved event": b'42["disconnect"]',
    "an acknowledgement id of 400 digits": b"42" + b"9" * 400 + b'["heartbeat"]',
    "a second connect": b"40",
    "a second connect with a token": b'40{"token": "x"}',
    "a connect that is no object": b"40[]",
    "a connect with an id": b"401{}",
    "a disconnect with a payload": b'41"x"',
    "a connect error": b'44{"message": "x"}',
    "an acknowledgement without an id": b"43[]",
    "an acknowledgement of an object": b"431{}",
    "a namespace of 200 bytes": b"42/" + b"x" * 200 + b',["x"]',
    "a namespace with a control character": b'42/\x01,["x"]',
    "the server's opening": b'0{"sid": "x"}',
    "an upgrade": b"5",
}


def _socketio() -> Iterator[Case]:
    for name, argument_lists in SOCKETIO_EVENTS.items():
        for arguments in argument_lists:
            yield f"{name} {json.dumps(arguments)[:60]}", event(name, *arguments), BAD
    for depth in (34, 100, 1000, 20_000):
        yield f"arguments {depth} deep", f'421["heartbeat", {nested(depth)}]'.encode(), BAD
    yield "arguments that never end", b"421" + b"[" * 60_000, BAD
    for name, packet in SOCKETIO_PACKETS.items():
        yield name, packet, 1002


NATIVE: list[Case] = [*_native(), *_native_values(), *_native_metadata(), *_native_places()]
SOCKETIO: list[Case] = list(_socketio())
