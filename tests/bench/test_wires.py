"""What a bench's client understands of each wire. What it says, the server itself judges, in `test_run`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from typing_extensions import override

from trio_chat.bench.plan import Plan
from trio_chat.bench.wire import WIRES, Wire, WireName
from trio_chat.clients import packets
from trio_chat.clients.native_requests import decode
from trio_chat.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

EPOCH = "01990000-0000-7000-8000-000000000000"


def wire_of(name: WireName, hello: Mapping[str, str]) -> Wire:
    return Plan(url="", hello=lambda _: hello, wire=name, rate=1, seconds=1).wire_of(0)


class Notes:
    """An ear that writes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    def on_welcome(self, limits: Mapping[str, float]) -> None:
        self.heard.append(("welcome", dict(limits)))

    def on_joined(self) -> None:
        self.heard.append(("joined",))

    def on_message(self, room: str, number: int) -> None:
        self.heard.append(("message", room, number))

    def on_ack(self, number: int, epoch: str, seq: int, durability: str) -> None:
        self.heard.append(("ack", number, epoch, seq, durability))

    def on_refused(self, number: int, code: str, text: str) -> None:
        self.heard.append(("refused", number, code, text))

    def reply(self, text: str) -> None:
        self.heard.append(("reply", text))

    @override
    def __repr__(self) -> str:
        return f"<Notes {self.heard}>"


def heard(wire: WireName, text: str) -> list[tuple[Any, ...]]:
    notes = Notes()
    wire_of(wire, {"user": "ada", "token": "t"}).read(text.encode(), notes)
    return notes.heard


NATIVE = [
    ({"type": "welcome", "limits": {"rooms": 4}}, [("welcome", {"rooms": 4})]),
    ({"type": "room:joined", "ref": 0, "room": "r", "members": ["ada"]}, [("joined",)]),
    (
        {"type": "message:new", "room": "r", "seq": 1, "message": {"id": "7", "content": "\u00e4", "seq": 1}},
        [("message", "r", 7)],
    ),
    ({"type": "message:new", "room": "r", "message": {"id": "x7"}}, [("message", "r", 0)]),
    ({"type": "message:new", "room": "r", "message": {"id": "\u0663"}}, [("message", "r", 0)]),
    (
        {"type": "ack", "ref": 7, "room": "r", "id": "7", "epoch": EPOCH, "seq": 3, "durability": "redis"},
        [("ack", 7, EPOCH, 3, "redis")],
    ),
    (
        {"type": "error", "ref": 7, "code": "rate_limited", "message": "slow", "temporary": True},
        [("refused", 7, "rate_limited", "slow")],
    ),
    (
        {"type": "error", "code": "room_closed", "message": "m", "room": None},
        [("refused", 0, "room_closed", "m")],
    ),
    ({"type": "presence:update", "room": "r", "userId": "ada"}, []),
    ({"type": "messages:history", "room": "r", "messages": [], "epoch": EPOCH, "seq": 0}, []),
]


@pytest.mark.parametrize(("said", "expected"), NATIVE)
def test_the_native_wire_is_understood(said: dict[str, Any], expected: list[tuple[Any, ...]]) -> None:
    """As far as it matters here; the rest is overlooked."""
    assert heard("native", json.dumps(said)) == expected


SOCKET_IO = [
    ('0{"sid":"s"}', [("reply", '40{"userId": "ada", "token": "t"}')]),
    ("2", [("reply", "3")]),
    ("2probe", [("reply", "3probe")]),
    ("6", []),
    ('40{"sid":"s"}', []),
    ('42["welcome",{"limits":{"rooms":4}},"offset"]', [("welcome", {"rooms": 4})]),
    ('430[{"ok":true,"members":[]}]', [("joined",)]),
    ('42["message:new",{"id":"7","teamId":"r","content":"\u00e4"},"offset"]', [("message", "r", 7)]),
    ('42["message:new",{"id":"7","teamId":"r"}]', [("message", "r", 7)]),
    (f'437[{{"ok":true,"epoch":"{EPOCH}","seq":3,"durability":"redis"}}]', [("ack", 7, EPOCH, 3, "redis")]),
    (
        '437[{"ok":false,"error":{"code":"rate_limited","message":"slow"}}]',
        [("refused", 7, "rate_limited", "slow")],
    ),
    ("437[]", [("refused", 7, "", "")]),
    ('42["room:error","text",{"code":"room_closed"}]', [("refused", 0, "room_closed", "text")]),
    ('42["room:error","text"]', [("refused", 0, "", "text")]),
    ('44{"message":"no","data":{"code":"unauthorized"}}', [("refused", 0, "unauthorized", "no")]),
    ('44"no"', [("refused", 0, "unauthorized", "no")]),
    ("41", [("refused", 0, "unavailable", "the server has disconnected this client")]),
    ('42["presence:update",{}]', []),
]


@pytest.mark.parametrize(("said", "expected"), SOCKET_IO)
def test_socket_io_is_understood(said: str, expected: list[tuple[Any, ...]]) -> None:
    """As far as it matters here; the rest is overlooked."""
    assert heard("socketio", said) == expected


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(
    "text", ["hello", "", "{", '42["message:new",7]', "437[7]", '{"type":7}', '{"no":1}']
)
def test_what_belongs_to_no_wire_is_refused(wire: WireName, text: str) -> None:
    """Somebody has given the URL of another server, or the wrong wire."""
    with pytest.raises(BadRequest, match="the server does not speak"):
        heard(wire, text)


@pytest.mark.parametrize("content", ["hello", 'a "quoted" {7} %d \u00e4'])
def test_a_request_to_post_is_one_the_server_reads(content: str) -> None:
    """The number is its ref and its id, on both wires."""
    hello = {"user": "ada"}
    plain = decode(wire_of("native", hello).sender("r", content)(7).encode())
    event = packets.decode(wire_of("socketio", hello).sender("r", content)(7).encode()[1:])

    assert (plain.ref, getattr(plain, "id", None), getattr(plain, "content", None)) == (7, "7", content)
    assert event == packets.Event(
        "message:send", ({"teamId": "r", "content": content, "type": "user", "id": "7"},), ack=7
    )
