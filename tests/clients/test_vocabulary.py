"""What clients may ask: each shape, and what its fields may hold."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from trio_chat.clients.vocabulary import (
    REQUESTS,
    DeleteMessage,
    EditMessage,
    GetHistory,
    Heartbeat,
    Hello,
    JoinRoom,
    LeaveRoom,
    Place,
    RefreshToken,
    Request,
    SendMessage,
    StartTyping,
    StopTyping,
    TouchPresence,
    UpdateReceipt,
    check,
    check_ref,
)
from trio_chat.errors import BadRequest
from trio_chat.message import Position

EPOCH = "01890a5d-ac96-774b-bcce-b302099a8057"
WORDS: list[tuple[dict[str, Any], Any]] = [
    ({"type": "hello", "token": "t"}, Hello(token="t")),
    ({"type": "hello", "user": "ada", "ref": 1}, Hello(user="ada", ref=1)),
    ({"type": "room:join", "room": "r"}, JoinRoom(room="r")),
    (
        {"type": "room:join", "room": "r", "resume": {"epoch": EPOCH, "seq": 7}},
        JoinRoom(room="r", resume=Place(EPOCH, 7)),
    ),
    ({"type": "room:leave", "room": "r", "ref": "a"}, LeaveRoom(room="r", ref="a")),
    (
        {
            "type": "message:send",
            "room": "r",
            "content": "c",
            "id": "m",
            "role": "system",
            "metadata": {"a": 1},
        },
        SendMessage(room="r", content="c", id="m", role="system", metadata={"a": 1}),
    ),
    (
        {"type": "message:edit", "room": "r", "id": "m", "content": "c"},
        EditMessage(room="r", id="m", content="c"),
    ),
    ({"type": "message:delete", "room": "r", "id": "m"}, DeleteMessage(room="r", id="m")),
    ({"type": "typing:start", "room": "r"}, StartTyping(room="r")),
    ({"type": "typing:stop", "room": "r"}, StopTyping(room="r")),
    ({"type": "presence:heartbeat", "room": "r"}, TouchPresence(room="r")),
    (
        {"type": "receipt:update", "room": "r", "lastReadMessageId": "m"},
        UpdateReceipt(room="r", message_id="m"),
    ),
    (
        {"type": "history:get", "room": "r", "before": {"epoch": EPOCH, "seq": 1}, "limit": 3},
        GetHistory(room="r", before=Place(EPOCH, 1), limit=3),
    ),
    ({"type": "heartbeat"}, Heartbeat()),
    ({"type": "token:refresh", "token": "t"}, RefreshToken(token="t")),
]


@pytest.mark.parametrize(("said", "meant"), WORDS)
def test_every_request_has_one_shape(said: dict[str, Any], meant: Any) -> None:
    """The type names the shape; the fields are those of the protocol's table."""
    assert msgspec.json.decode(json.dumps(said), type=Request) == meant


def test_the_table_is_whole() -> None:
    """No request is without an example above."""
    assert {type(meant) for _, meant in WORDS} == set(REQUESTS)


@pytest.mark.parametrize("meant", [meant for _, meant in WORDS])
def test_what_is_within_the_limits_passes_unchanged(meant: Any) -> None:
    """Checking returns the very request."""
    assert check(meant) is meant


@pytest.mark.parametrize("ref", [None, "", "a" * 128, 0, 2**53 - 1, -(2**53) + 1])
def test_a_ref_is_a_short_text_or_an_integer_that_every_client_can_read(ref: Any) -> None:
    """The limits themselves are allowed."""
    assert check_ref(ref) == ref


@pytest.mark.parametrize("ref", ["a" * 129, 2**53, -(2**53)])
def test_any_other_ref_is_refused(ref: Any) -> None:
    """One character or one number more is too much, whatever the request."""
    for request in (Heartbeat(ref=ref), LeaveRoom(room="r", ref=ref)):
        with pytest.raises(BadRequest, match=r"^ref: "):
            check(request)


@pytest.mark.parametrize("room", ["", "a" * 129, "a b", "ä", "a\n", "a*", "{a}"])
@pytest.mark.parametrize("shape", [JoinRoom, LeaveRoom, StartTyping, GetHistory])
def test_a_room_that_cannot_exist_is_refused(shape: Any, room: str) -> None:
    """Every request that names a room is checked alike."""
    with pytest.raises(BadRequest, match=r"^room: "):
        check(shape(room=room))


@pytest.mark.parametrize("name", ["", "a" * 129, "a\x00", "\x7f", "a\nb"])
def test_an_id_outside_its_limits_is_refused(name: str) -> None:
    """The error names the field."""
    for request in (
        SendMessage(room="r", content="c", id=name),
        EditMessage(room="r", content="c", id=name),
        DeleteMessage(room="r", id=name),
    ):
        with pytest.raises(BadRequest, match=r"^id: "):
            check(request)
    with pytest.raises(BadRequest, match=r"^lastReadMessageId: "):
        check(UpdateReceipt(room="r", message_id=name))


def test_a_place_is_a_position_if_it_can_be_one() -> None:
    """Epoch and seq come back as they were given."""
    assert Place(EPOCH, 0).position() == Position(EPOCH, 0)


@pytest.mark.parametrize(
    "place",
    [Place("", 1), Place(EPOCH.upper(), 1), Place(EPOCH, -1), Place(EPOCH, 2**53), Place("x" * 36, 1)],
)
def test_what_no_answer_has_ever_said_is_no_position(place: Place) -> None:
    """It would only reach a store to be refused there."""
    with pytest.raises(BadRequest, match=r"^position: "):
        place.position()
