"""What rooms say, what one client gets to hear, and what it is told when it joins."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from trio_chat.clients import socketio_replies as wire
from trio_chat.clients.offsets import LEFT, MAX_OFFSET, NOWHERE, TOO_MANY, join_places, place_of
from trio_chat.clients.socketio import PLAIN, SOCKET_IO, SocketIOVoice, SocketIOWire
from trio_chat.errors import BadRequest, ReplyCode, TrioChatError, Unavailable
from trio_chat.mail import Accepted, Changed, Closed, Expired, Presence, ReadMark, Typing
from trio_chat.message import Deleted, Edited, Position, Posted, Receipt
from trio_chat.paging import Page
from trio_chat.stores.base import Archived

if TYPE_CHECKING:
    from trio_chat.clients.engine.terms import Parcel

from .house import DELETED, EPOCH, LATER, MESSAGE, NOON, acked, events, joined_at, offset, one, places_of

SHOWN = {
    "id": "m",
    "content": "hé\u2028\x1e",
    "userId": "ada",
    "teamId": "r",
    "timestamp": "2026-03-01T12:00:00Z",
    "type": "assistant",
    "metadata": {"a": [1, None]},
}

EDITED = msgspec.structs.replace(MESSAGE, content="new", metadata={}, rev=8)


def standing(wire: SocketIOWire = SOCKET_IO) -> SocketIOVoice:
    """Return the voice of the room "r" whose members are at a position."""
    voice = wire.voice("r")
    voice.stand_at(EPOCH, 6)
    return voice


# --- what rooms say

HEARINGS: list[tuple[Any, list[Any], str]] = [
    (Changed(EPOCH, Posted(MESSAGE)), ["message:new", SHOWN], offset(7)),
    (
        Changed(EPOCH, Edited(EDITED, NOON)),
        ["message:update", {"id": "m", "content": "new", "metadata": {}, "teamId": "r"}],
        offset(8),
    ),
    (Changed(EPOCH, Deleted(DELETED, NOON)), ["message:delete", "m"], offset(9)),
    (
        Changed(LATER, Posted(msgspec.structs.replace(MESSAGE, seq=1, rev=1))),
        ["message:new", SHOWN],
        offset(1, LATER),
    ),
    (
        ReadMark("ada", Receipt("m", NOON)),
        [
            "receipt:update",
            {
                "userId": "ada",
                "teamId": "r",
                "lastReadMessageId": "m",
                "timestamp": "2026-03-01T12:00:00Z",
            },
        ],
        offset(6),
    ),
    *[
        (
            Presence("ada", active, NOON),
            [
                "presence:update",
                {
                    "userId": "ada",
                    "teamId": "r",
                    "isActive": active,
                    "lastActiveAt": "2026-03-01T12:00:00Z",
                },
            ],
            offset(6),
        )
        for active in (True, False)
    ],
    (Expired(EPOCH), ["session:expired", {"teamId": "r", "epoch": EPOCH}], offset(0)),
    (
        Closed("it failed"),
        ["room:error", "it failed", {"code": "room_closed", "temporary": True, "teamId": "r"}],
        offset(6),
    ),
]


@pytest.mark.parametrize(("hearing", "event", "place"), HEARINGS)
def test_each_hearing_is_an_event_with_an_offset(hearing: Any, event: list[Any], place: str) -> None:
    """Changes move the offset, and so does the end; everything else is said where everybody is."""
    parcel = standing().tell([hearing])

    assert one(parcel.shared) == [*event, place]
    assert (parcel.room, parcel.place) == ("r", place.encode())


def test_after_a_session_has_expired_everybody_is_at_its_beginning() -> None:
    """They have all there was of it, and nothing yet of the one to come."""
    voice = standing()
    voice.told(voice.tell([Expired(EPOCH)]))

    assert one(voice.tell([Presence("ada", True, NOON)]).shared)[-1] == offset(0)


@pytest.mark.parametrize(("active", "name"), [(True, "typing:start"), (False, "typing:stop")])
def test_typing_is_an_event_with_the_time(active: bool, name: str) -> None:
    """A hearing has no time of its own: it is now."""
    before = datetime.now(UTC)
    said, detail, place = one(standing().tell([Typing("ada", active)]).shared)

    assert (said, place) == (name, offset(6))
    assert before <= datetime.fromisoformat(detail.pop("timestamp")) <= datetime.now(UTC)
    assert detail == {"userId": "ada", "teamId": "r"}


def test_the_hearings_of_a_turn_are_one_parcel_in_order() -> None:
    """Each event has the place of whoever has heard it and none after it."""
    voice = standing()
    parcel = voice.tell(
        [Changed(EPOCH, Posted(MESSAGE)), Typing("ada", False), Changed(EPOCH, Deleted(DELETED, NOON))]
    )

    heard = [(event[0], event[-1]) for event in events(parcel.shared)]
    assert heard == [("message:new", offset(7)), ("typing:stop", offset(7)), ("message:delete", offset(9))]
    assert parcel.place == offset(9).encode()


def test_the_place_moves_when_a_parcel_is_told() -> None:
    """What was only wrapped nobody has heard, and may never be told."""
    voice = standing()
    parcel = voice.tell([Changed(EPOCH, Posted(MESSAGE))])

    assert one(voice.tell([Typing("ada", True)]).shared)[-1] == offset(6)
    voice.told(parcel)
    assert one(voice.tell([Typing("ada", True)]).shared)[-1] == offset(7)


def test_behind_other_rooms_every_event_names_all_places() -> None:
    """The client's own places come with what the room says; nothing else differs."""
    parcel = standing().tell([Changed(EPOCH, Posted(MESSAGE)), Changed(EPOCH, Edited(EDITED, NOON))])

    alone = events(parcel.shared)
    both = events(parcel.behind(place_of("a", LATER, 1) + b"," + place_of("b", LATER, 2)))
    assert [event[:-1] for event in both] == [event[:-1] for event in alone]
    assert [places_of(event[-1]) for event in both] == [
        {"a": Position(LATER, 1), "b": Position(LATER, 2), "r": Position(EPOCH, seq)} for seq in (7, 8)
    ]


def test_behind_no_other_room_it_is_what_is_shared() -> None:
    """A client in one room gets the very bytes everybody gets."""
    parcel = standing().tell([Changed(EPOCH, Posted(MESSAGE)), Expired(EPOCH)])

    assert parcel.behind(b"") == parcel.shared


def test_behind_too_many_rooms_an_event_does_not_grow() -> None:
    """A client hands its offset back in one message, which may be only so large."""
    places = join_places([place_of(f"room {number}", LATER, 1) for number in range(MAX_OFFSET // 30)])

    assert one(standing().tell([Changed(EPOCH, Posted(MESSAGE))]).behind(places))[-1] == TOO_MANY.decode()


@pytest.mark.parametrize(("hearing", "event", "place"), HEARINGS)
def test_who_cannot_come_back_hears_it_without_an_offset(hearing: Any, event: list[Any], place: str) -> None:
    """A handler gets what it expects and nothing behind it."""
    bare = event[:2] if event[0] == "room:error" else event
    assert one(standing(PLAIN).tell([hearing]).shared) == bare


# --- joining


def test_who_joins_gets_the_history_and_the_lists() -> None:
    """Messages, who has read what, who is here, who types: each with the offset."""
    voice = SOCKET_IO.voice("r")

    heard = events(voice.joined(joined_at(typing=("bob",)), b""))

    typing = heard.pop()
    assert heard == [
        ["messages:history", [SHOWN], {"teamId": "r", "epoch": EPOCH, "seq": 6}, offset(6)],
        [
            "receipt:list",
            {"bob": {"lastReadMessageId": "m", "timestamp": "2026-03-01T12:00:00Z"}},
            {"teamId": "r"},
            offset(6),
        ],
        [
            "presence:list",
            {"ada": {"isActive": True, "lastActiveAt": "2026-03-01T12:00:00Z"}},
            {"teamId": "r"},
            offset(6),
        ],
    ]
    assert (typing[0], typing[1]["userId"], typing[-1]) == ("typing:start", "bob", offset(6))


def test_who_cannot_come_back_joins_with_bare_lists() -> None:
    """Each event has one argument, whatever other rooms the client is in."""
    voice = PLAIN.voice("r")
    marks = {"bob": {"lastReadMessageId": "m", "timestamp": "2026-03-01T12:00:00Z"}}
    here = {"ada": {"isActive": True, "lastActiveAt": "2026-03-01T12:00:00Z"}}

    for others in (b"", place_of("a", LATER, 3)):
        *heard, typing = events(voice.joined(joined_at(typing=("bob",)), others))

        assert heard == [["messages:history", [SHOWN]], ["receipt:list", marks], ["presence:list", here]]
        assert (typing[0], len(typing)) == ("typing:start", 2)


def test_who_joins_another_room_gets_all_places() -> None:
    """The history is at the new room's place and leaves the others as they were."""
    other = place_of("a", LATER, 3)

    offsets = [event[-1] for event in events(SOCKET_IO.voice("r").joined(joined_at(), other))]

    assert offsets == [f"{other.decode()},{offset(6)}"] * 3


def test_a_history_is_encoded_once_until_the_room_changes() -> None:
    """Everybody who joins at one position gets the bytes the first one got; the lists are made each time."""
    voice = SOCKET_IO.voice("r")
    first = events(voice.joined(joined_at(), b""))

    # Not what a room would answer: it shows that the messages are not looked at again.
    again = events(voice.joined(joined_at(messages=(), receipts={}), b""))
    behind = events(voice.joined(joined_at(messages=(), receipts={}), place_of("a", LATER, 1)))
    changed = events(voice.joined(joined_at(seq=7, messages=()), b""))
    anew = events(voice.joined(joined_at(epoch=LATER, messages=()), b""))

    assert again[0] == first[0]
    assert again[1][1] == {}
    assert behind[0][:-1] == first[0][:-1]
    assert changed[0][1:3] == [[], {"teamId": "r", "epoch": EPOCH, "seq": 7}]
    assert anew[0][1:3] == [[], {"teamId": "r", "epoch": LATER, "seq": 6}]


def test_an_answer_said_late_does_not_move_the_others() -> None:
    """A join may be said when the room has gone on: its offset is its own, the room's stays."""
    voice = standing()
    parcel = voice.tell([Changed(EPOCH, Posted(MESSAGE))])
    voice.told(parcel)

    late = events(voice.joined(joined_at(seq=6, messages=()), b""))

    assert {event[-1] for event in late} == {offset(6)}
    assert parcel.place.decode() == one(voice.tell([Typing("ada", True)]).shared)[-1] == offset(7)


# --- what one client gets to hear


def test_a_welcome_takes_older_offsets_from_the_client() -> None:
    """It ends with the offset of a client in no room, unless the client keeps none."""
    detail = {"user": "ada", "durability": "redis", "limits": {"rooms": 64}}

    assert one(wire.welcome("ada", "redis", {"rooms": 64}, NOWHERE)) == ["welcome", detail, "0"]
    assert one(wire.welcome("ada", "redis", {"rooms": 64}, None)) == ["welcome", detail]


def test_a_join_is_acknowledged_with_where_and_who() -> None:
    """A callback gets one object."""
    assert acked(wire.joined(3, joined_at()), 3) == {
        "ok": True,
        "epoch": EPOCH,
        "seq": 6,
        "recovered": False,
        "durability": "redis",
        "members": ["ada"],
    }


def test_leaving_is_told_with_the_places_that_remain() -> None:
    """It is a room's event: the offset must not name that room any longer. Not every client keeps one."""
    assert one(wire.left("r", LEFT)) == ["room:left", {"teamId": "r"}, "-"]
    assert one(wire.left("r", None)) == ["room:left", {"teamId": "r"}]


@pytest.mark.parametrize("duplicate", [True, False])
def test_a_change_is_acknowledged_with_its_number(duplicate: bool) -> None:
    """And with what the acknowledgement is worth."""
    assert acked(wire.accepted(0, Accepted("m", EPOCH, 7, "redis", duplicate)), 0) == {
        "ok": True,
        "id": "m",
        "epoch": EPOCH,
        "seq": 7,
        "durability": "redis",
        "duplicate": duplicate,
    }


def test_what_is_no_change_is_acknowledged_too() -> None:
    """With nothing but that it was done."""
    assert acked(wire.done(9), 9) == {"ok": True}


PAGE = Page((Archived(EPOCH, MESSAGE),), "window+archive", True, Position(EPOCH, 7))
PAGE_SHOWN = {
    "teamId": "r",
    "messages": [{"epoch": EPOCH, **SHOWN}],
    "source": "window+archive",
    "more": True,
    "before": {"epoch": EPOCH, "seq": 7},
}


def test_a_page_is_an_acknowledgement_or_an_event() -> None:
    """Whoever waits for it gets it there."""
    assert acked(wire.page(5, "r", PAGE), 5) == {"ok": True, **PAGE_SHOWN}
    assert one(wire.page(None, "r", PAGE)) == ["history:page", PAGE_SHOWN]


def test_the_last_page_has_no_next() -> None:
    """Nothing comes before it."""
    assert acked(wire.page(5, "r", Page((), "archive", False, None)), 5)["before"] is None


def test_a_heartbeat_is_an_acknowledgement_or_an_event() -> None:
    """Whoever waits for it gets it there."""
    assert acked(wire.heartbeat(5), 5) == {"ok": True}
    assert one(wire.heartbeat(None))[0] == "heartbeat"


FAILURES: list[tuple[TrioChatError, str, bool]] = [
    (BadRequest("no"), "bad_request", False),
    (BadRequest("no", ReplyCode.FORBIDDEN), "forbidden", False),
    (Unavailable("no"), "unavailable", True),
    (Unavailable("no", ReplyCode.OVERLOADED), "overloaded", True),
    (TrioChatError("no"), "unavailable", True),
]


@pytest.mark.parametrize(("failure", "code", "temporary"), FAILURES)
def test_a_refusal_is_an_acknowledgement_or_an_event(
    failure: TrioChatError, code: str, temporary: bool
) -> None:
    """Whoever waits is told there; an event says in which room, if it was about one."""
    detail = {"code": code, "temporary": temporary}

    assert acked(wire.refusal(4, "r", failure), 4) == {"ok": False, "error": {**detail, "message": "no"}}
    assert one(wire.refusal(None, "r", failure)) == ["room:error", "no", {**detail, "teamId": "r"}]
    assert one(wire.refusal(None, None, failure)) == ["room:error", "no", detail]


@pytest.mark.parametrize(
    "parcel",
    [
        wire.heartbeat(None),
        wire.page(None, "r", PAGE),
        wire.refusal(None, None, BadRequest("no")),
        wire.refusal(None, "r", BadRequest("no")),
    ],
)
def test_no_other_event_ends_with_a_text(parcel: Parcel) -> None:
    """Clients take the last element of an event for the offset if it is a text, and the name is an element too."""
    assert not isinstance(one(parcel)[-1], str)
