"""What Socket.IO clients say, as requests. A property takes up to half a second, for a hundred events."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_chat.clients import packets
from trio_chat.clients.packets import Event
from trio_chat.clients.socketio_requests import UnknownEvent, read
from trio_chat.clients.vocabulary import (
    REQUESTS,
    DeleteMessage,
    EditMessage,
    GetHistory,
    Heartbeat,
    JoinRoom,
    LeaveRoom,
    Place,
    RefreshToken,
    SendMessage,
    StartTyping,
    StopTyping,
    TouchPresence,
    UpdateReceipt,
)
from trio_chat.errors import BadRequest, ReplyCode
from trio_chat.message import MAX_INTEGER, check_content

EPOCH = "01890a5d-ac96-774b-bcce-b302099a8057"
SEND = {"teamId": "r", "content": "c"}


def find(message: str) -> str:
    """Return the room of a message: "r", or none."""
    if message == "unknown":
        raise BadRequest("messageId: no such message", ReplyCode.NOT_FOUND)
    return "r"


def ask(name: str, *args: Any, ack: int | None = None) -> Any:
    """Read what a client has said."""
    return read(Event(name, args, ack), find)


EVENTS: list[tuple[str, tuple[Any, ...], Any]] = [
    ("room:join", ("r",), JoinRoom(room="r")),
    ("room:leave", ("r",), LeaveRoom(room="r")),
    ("message:send", (SEND,), SendMessage(room="r", content="c")),
    (
        "message:send",
        ({**SEND, "type": "assistant", "metadata": {"a": [1]}, "id": "m"},),
        SendMessage(room="r", content="c", id="m", role="assistant", metadata={"a": [1]}),
    ),
    (
        "message:send",
        ({**SEND, "type": None, "metadata": None, "id": None},),
        SendMessage(room="r", content="c"),
    ),
    ("message:edit", ("m", "c"), EditMessage(room="r", id="m", content="c")),
    ("message:edit", ("m", "c", {}), EditMessage(room="r", id="m", content="c", metadata={})),
    ("message:edit", ("m", "c", None), EditMessage(room="r", id="m", content="c")),
    ("message:delete", ("m",), DeleteMessage(room="r", id="m")),
    ("typing:start", ("r",), StartTyping(room="r")),
    ("typing:stop", ("r",), StopTyping(room="r")),
    (
        "receipt:update",
        ({"teamId": "r", "lastReadMessageId": "m"},),
        UpdateReceipt(room="r", message_id="m"),
    ),
    ("presence:heartbeat", ("r",), TouchPresence(room="r")),
    ("history:get", ({"teamId": "r"},), GetHistory(room="r")),
    (
        "history:get",
        ({"teamId": "r", "before": {"epoch": EPOCH, "seq": 3}, "limit": 5},),
        GetHistory(room="r", before=Place(EPOCH, 3), limit=5),
    ),
    ("heartbeat", (), Heartbeat()),
    ("token:refresh", ("t",), RefreshToken(token="t")),
]
NAMES = sorted({name for name, _, _ in EVENTS})


@pytest.mark.parametrize(("name", "args", "request_"), EVENTS)
@pytest.mark.parametrize("ack", [None, 0, MAX_INTEGER])
def test_each_event_is_a_request(name: str, args: tuple[Any, ...], request_: Any, ack: int | None) -> None:
    """The acknowledgement's number is what the answer refers to; 0 is one as well."""
    assert ask(name, *args, ack=ack) == msgspec.structs.replace(request_, ref=ack)


@pytest.mark.parametrize(("name", "args", "request_"), EVENTS)
def test_what_front_ends_say_besides_is_overlooked(name: str, args: tuple[Any, ...], request_: Any) -> None:
    """A further argument, and a field nobody knows, change nothing."""
    more = tuple({**arg, "x": 1} if isinstance(arg, dict) and "teamId" in arg else arg for arg in args)
    further = () if name == "message:edit" and len(args) == 2 else ({"senderName": "Ada"}, "x")

    assert ask(name, *more, *further) == request_


@pytest.mark.parametrize(
    ("name", "args"),
    [
        *[(name, ()) for name in NAMES if name != "heartbeat"],
        *[(name, (None,)) for name in NAMES if name != "heartbeat"],
        *[(name, (value,)) for name in NAMES if name != "heartbeat" for value in (1, True, [], {}, ["r"])],
        ("room:join", ("",)),
        ("room:join", ("r,",)),
        ("room:join", ("r" * 129,)),
        ("room:join", ({"teamId": "r"},)),
        ("message:send", ("r", "c")),
        ("message:send", ({"roomId": "r", "content": "c"},)),
        ("message:send", ({**SEND, "content": None},)),
        ("message:send", ({**SEND, "metadata": []},)),
        ("message:send", ({**SEND, "id": ""},)),
        ("message:send", ({**SEND, "id": 1},)),
        ("message:edit", ("m",)),
        ("message:edit", ("m", 1)),
        ("message:edit", ("m\n", "c")),
        ("message:delete", ("",)),
        ("receipt:update", ({"teamId": "r", "lastReadMessageId": ""},)),
        ("history:get", ({"teamId": "r", "limit": 0},)),
        ("history:get", ({"teamId": "r", "limit": 201},)),
        ("history:get", ({"teamId": "r", "limit": 10**30},)),
        ("history:get", ({"teamId": "r", "before": {"epoch": EPOCH}},)),
        ("history:get", ({"teamId": "r", "before": 3},)),
    ],
)
def test_other_arguments_are_refused(name: str, args: tuple[Any, ...]) -> None:
    """Every kind of them gets the one error that says so."""
    with pytest.raises(BadRequest) as refused:
        ask(name, *args)

    assert refused.value.code is ReplyCode.BAD_REQUEST
    assert not isinstance(refused.value, UnknownEvent)


def test_the_error_says_what_was_expected_where() -> None:
    """Whoever writes a client learns which event and which field was wrong."""
    with pytest.raises(
        BadRequest, match=r"message:send: expected \{teamId, .*`str`, got `int` - at `\$\.content`"
    ):
        ask("message:send", {"teamId": "r", "content": 1})


@pytest.mark.parametrize("name", ["message:edit", "message:delete"])
def test_a_message_nobody_knows_is_in_no_room(name: str) -> None:
    """What the finder says is the answer."""
    with pytest.raises(BadRequest) as refused:
        ask(name, "unknown", "c")

    assert refused.value.code is ReplyCode.NOT_FOUND


@pytest.mark.parametrize("name", ["", "message:new", "Room:join", "hello", "x" * 100_000])
def test_other_events_are_unknown(name: str) -> None:
    """They are told apart from mistakes, and a long name is not sent back."""
    with pytest.raises(UnknownEvent) as unknown:
        ask(name, "r")

    assert len(str(unknown.value)) < 400


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | st.sampled_from(["r", "m", "unknown", EPOCH]),
    lambda values: (
        st.lists(values, max_size=3)
        | st.dictionaries(st.text(max_size=3), values, max_size=3)
        | st.fixed_dictionaries(
            {},
            optional=dict.fromkeys(
                ["teamId", "content", "type", "metadata", "id", "lastReadMessageId", "before", "limit"],
                values,
            ),
        )
        | st.fixed_dictionaries({"epoch": values, "seq": values})
    ),
    max_leaves=8,
)


@given(
    name=st.sampled_from(NAMES) | st.text(max_size=8),
    args=st.lists(anything, max_size=4).map(tuple),
    ack=st.none() | st.integers(0, MAX_INTEGER),
)
def test_whatever_is_said_is_a_request_or_refused(name: str, args: tuple[Any, ...], ack: int | None) -> None:
    """No other exception comes out, and a request holds the number of its acknowledgement."""
    packet = packets.event(name, *map(msgspec.json.encode, args), ack=ack)
    try:
        event = packets.decode(packet)
        assert isinstance(event, Event)
        request = read(event, find)
    except BadRequest:
        return

    assert isinstance(request, REQUESTS)
    assert request.ref == ack


@pytest.mark.parametrize("half", ["\\ud83d", "\\uDE00"])
def test_half_a_character_is_refused_without_an_end_to_the_connection(half: str) -> None:
    """JavaScript makes such texts by cutting an emoji in two; the packet itself is well-formed."""
    packet = packets.decode(b'27["message:send",{"teamId":"r","content":"a%b"}]' % half.encode())
    assert isinstance(packet, packets.Event)
    assert packet.ack == 7

    request = read(packet, lambda _: "r")

    assert isinstance(request, SendMessage)
    with pytest.raises(BadRequest, match="lone surrogate"):
        check_content(request.content, 1000)


@pytest.mark.parametrize("name", ["receipt:update", "message:send", "history:get"])
def test_half_a_character_in_place_of_an_object_is_refused(name: str) -> None:
    """It is no reason to fail, as the library does that reads arguments."""
    with pytest.raises(BadRequest, match="lone surrogate"):
        ask(name, "\ud83d")


def test_an_unknown_event_with_half_a_character_in_its_name_can_be_answered() -> None:
    """The refusal is text that can be sent."""
    packet = packets.decode(b'21["a\\\\ud83d"]')
    assert isinstance(packet, packets.Event)

    with pytest.raises(UnknownEvent) as refused:
        read(packet, lambda _: "r")

    assert str(refused.value).encode()
