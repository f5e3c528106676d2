"""The native wire: what is written, and that it is what was read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from trio_chat.clients import native
from trio_chat.clients.native import NATIVE, NativeVoice
from trio_chat.clients.native_requests import decode
from trio_chat.clients.vocabulary import SendMessage
from trio_chat.errors import BadRequest, Misconfigured, ReplyCode, Unavailable
from trio_chat.mail import Accepted, Changed, Closed, Expired, Joined, Presence, ReadMark, Typing
from trio_chat.message import Deleted, Edited, Message, Position, Posted, Receipt
from trio_chat.paging import Page
from trio_chat.stores.base import Archived

EPOCH = "01890a5d-ac96-774b-bcce-b302099a8057"
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def message(seq: int = 1, content: str = "hello", **changes: Any) -> Message:
    fields: dict[str, Any] = {
        "id": f"m{seq}",
        "role": "user",
        "content": content,
        "timestamp": NOON,
        "metadata": {},
        "user_id": "ada",
        "seq": seq,
        "rev": seq,
    }
    return Message(**fields | changes)


def frames(data: bytes) -> list[bytes]:
    """Read ready-made frames with somebody else's parser, and return their payloads."""
    reader = StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    payloads: list[bytes] = []
    while reader.buffer:
        try:
            next(Frame.parse(reader.read_exact, mask=False, max_size=None))
        except StopIteration as parsed:
            frame = parsed.value
        assert (frame.opcode, frame.fin) == (Opcode.TEXT, True)
        payloads.append(frame.data)
    return payloads


def said(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(payload) for payload in frames(data)]


def joined_with(**changes: Any) -> Joined:
    fields: dict[str, Any] = {
        "epoch": EPOCH,
        "seq": 2,
        "recovered": False,
        "first": 1,
        "changes": (),
        "messages": (),
        "presence": (),
        "receipts": {},
        "durability": "redis",
        "voice": NATIVE.voice("r"),
    }
    return Joined(**fields | changes)


def as_sent(kept: Message) -> dict[str, Any]:
    return {
        "id": kept.id,
        "role": kept.role,
        "content": kept.content,
        "timestamp": "2026-01-02T12:00:00Z",
        "metadata": kept.metadata,
        "userId": kept.user_id,
        "seq": kept.seq,
        "rev": kept.rev,
    }


def answers() -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Every single answer, and how it reads."""
    limits = {"rooms": 64.0}
    welcome = {"type": "welcome", "user": "ada", "connection": "c", "durability": "redis", "limits": limits}
    yield native.welcome(None, "ada", "c", "redis", limits), welcome
    yield native.welcome(1, "ada", "c", "redis", limits), welcome | {"ref": 1}
    yield (
        native.ack("x", "r", Accepted("m", EPOCH, 3, "redis", False)),
        {
            "type": "ack",
            "ref": "x",
            "room": "r",
            "id": "m",
            "epoch": EPOCH,
            "seq": 3,
            "durability": "redis",
            "duplicate": False,
        },
    )
    yield native.done(0, "r"), {"type": "ack", "ref": 0, "room": "r"}
    yield native.left(None, "r"), {"type": "room:left", "ref": None, "room": "r"}
    yield native.heartbeat(None), {"type": "heartbeat"}
    yield native.heartbeat(5), {"type": "heartbeat", "ref": 5}
    yield (
        native.error(None, None, BadRequest("no")),
        {"type": "error", "code": "bad_request", "message": "no", "temporary": False},
    )
    yield (
        native.error(1, "r", Unavailable("later", ReplyCode.OVERLOADED)),
        {"type": "error", "ref": 1, "room": "r", "code": "overloaded", "message": "later", "temporary": True},
    )
    yield (
        native.error(None, None, Misconfigured("what?")),
        {"type": "error", "code": "unavailable", "message": "what?", "temporary": True},
    )
    page = Page((Archived(EPOCH, message(4)),), "window+archive", True, Position(EPOCH, 4))
    yield (
        native.page(1, "r", page),
        {
            "type": "history:page",
            "ref": 1,
            "room": "r",
            "messages": [{"epoch": EPOCH, **as_sent(message(4))}],
            "source": "window+archive",
            "more": True,
            "before": {"epoch": EPOCH, "seq": 4},
        },
    )


@pytest.mark.parametrize(("sent", "meant"), list(answers()))
def test_every_answer_is_one_frame_of_the_protocol(sent: bytes, meant: dict[str, Any]) -> None:
    """The names of the fields are those of the protocol's table."""
    assert said(sent) == [meant]


def hearings() -> Iterator[tuple[Any, dict[str, Any]]]:
    """Everything a room says unasked, and how it reads."""
    where = {"room": "r", "epoch": EPOCH}
    edited, gone = message(1, "new", rev=3), message(1, "", rev=4)
    yield (
        Changed(EPOCH, Posted(message(2))),
        where | {"type": "message:new", "seq": 2, "message": as_sent(message(2))},
    )
    yield (
        Changed(EPOCH, Edited(edited, NOON)),
        where | {"type": "message:update", "seq": 3, "message": as_sent(edited)},
    )
    yield Changed(EPOCH, Deleted(gone, NOON)), where | {"type": "message:delete", "seq": 4, "id": "m1"}
    yield Typing("bob", True), {"type": "typing:start", "room": "r", "userId": "bob"}
    yield Typing("bob", False), {"type": "typing:stop", "room": "r", "userId": "bob"}
    yield (
        ReadMark("bob", Receipt("m1", NOON)),
        {
            "type": "receipt:update",
            "room": "r",
            "userId": "bob",
            "lastReadMessageId": "m1",
            "timestamp": "2026-01-02T12:00:00Z",
        },
    )
    yield (
        Presence("bob", False, NOON),
        {
            "type": "presence:update",
            "room": "r",
            "userId": "bob",
            "isActive": False,
            "lastActiveAt": "2026-01-02T12:00:00Z",
        },
    )
    yield Expired(EPOCH), where | {"type": "session:expired"}
    yield (
        Closed("too bad"),
        {"type": "error", "room": "r", "code": "room_closed", "message": "too bad", "temporary": True},
    )


@pytest.mark.parametrize(("hearing", "meant"), list(hearings()))
def test_everything_a_room_says_is_one_frame_of_the_protocol(hearing: Any, meant: dict[str, Any]) -> None:
    """The names of the fields are those of the protocol's table."""
    assert said(NATIVE.voice("r").tell([hearing])) == [meant]


def test_a_turn_is_one_parcel_of_whole_frames() -> None:
    """Each hearing is a WebSocket message of its own."""
    parcel = NATIVE.voice("r").tell([hearing for hearing, _ in hearings()])

    assert said(parcel) == [meant for _, meant in hearings()]


def test_who_joins_gets_the_position_then_the_window_then_who_is_here() -> None:
    """A join without a past is answered with the whole window."""
    joined = joined_with(
        messages=(message(1), message(2)),
        presence=(Presence("ada", True, NOON),),
        receipts={"ada": Receipt("m1", NOON)},
    )

    answer = said(joined.voice.joined("x", joined))

    assert answer == [
        {
            "type": "room:joined",
            "ref": "x",
            "room": "r",
            "epoch": EPOCH,
            "seq": 2,
            "first": 1,
            "recovered": False,
            "durability": "redis",
            "members": ["ada"],
        },
        {
            "type": "messages:history",
            "room": "r",
            "epoch": EPOCH,
            "seq": 2,
            "messages": [as_sent(message(1)), as_sent(message(2))],
        },
        {
            "type": "receipt:list",
            "room": "r",
            "receipts": {"ada": {"lastReadMessageId": "m1", "timestamp": "2026-01-02T12:00:00Z"}},
        },
        {
            "type": "presence:list",
            "room": "r",
            "members": [{"userId": "ada", "isActive": True, "lastActiveAt": "2026-01-02T12:00:00Z"}],
        },
    ]


def test_who_comes_back_gets_the_changes_and_then_a_mark_that_they_are_complete() -> None:
    """A recovered resume is answered with what has changed since, in order."""
    changes = (Posted(message(3)), Deleted(message(1, "", rev=4), NOON))

    answer = said(joined_with().voice.joined(None, joined_with(recovered=True, seq=4, changes=changes)))

    assert answer[0]["recovered"] is True
    assert [one["type"] for one in answer[1:4]] == ["message:new", "message:delete", "room:live"]
    assert answer[3] == {"type": "room:live", "room": "r", "epoch": EPOCH, "seq": 4}


def window_of(voice: NativeVoice, joined: Joined) -> bytes:
    return frames(voice.joined(None, joined))[1]


def test_a_crowd_that_joins_gets_the_same_window() -> None:
    """The window is encoded once, until something changes."""
    voice = NATIVE.voice("r")
    first = window_of(voice, joined_with(messages=(message(1),)))

    # Were it encoded anew, the second would differ.
    again = window_of(voice, joined_with(messages=(message(1, "other"),)))
    voice.tell([Changed(EPOCH, Edited(message(1, "other", rev=2), NOON))])
    changed = window_of(voice, joined_with(messages=(message(1, "other"),)))

    assert again == first
    assert changed != first


def test_another_position_has_another_window() -> None:
    """A session that begins anew, or was loaded anew, is encoded anew."""
    voice = NATIVE.voice("r")
    first = window_of(voice, joined_with(messages=(message(1),)))

    assert window_of(voice, joined_with(seq=0, messages=())) != first


hostile = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=50) | st.sampled_from(
    [
        '"',
        "\\",
        '\\"',
        "\u2028",
        "\u202e\u0007",
        "</script>",
        "\x00",
        "\ufeff",
        "%s{0}",
        '"},{"type":"x"',
        "\U0010ffff",
    ]
)


@given(hostile, st.booleans())
def test_hostile_texts_come_back_byte_for_byte(text: str, ascii_only: bool) -> None:
    """What was asked to be said is what everybody gets to read, on every way there is to read it."""
    asked = json.dumps(
        {"type": "message:send", "room": "r", "content": text, "metadata": {text: text}},
        ensure_ascii=ascii_only,
    )

    request = decode(asked.encode())

    assert isinstance(request, SendMessage)
    kept = message(content=request.content, metadata=request.metadata, id=text, user_id=text)
    voice = NATIVE.voice("r")
    [heard] = said(voice.tell([Changed(EPOCH, Posted(kept))]))
    joined = said(voice.joined(None, joined_with(messages=(kept,))))[1]["messages"][0]
    paged = said(native.page(None, "r", Page((Archived(EPOCH, kept),), "archive", False, None)))[0][
        "messages"
    ][0]
    for copy in (heard["message"], joined, paged):
        assert (copy["content"], copy["metadata"], copy["id"], copy["userId"]) == (
            text,
            {text: text},
            text,
            text,
        )
