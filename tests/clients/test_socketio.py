"""What the Socket.IO wire says, read by python-socketio and by `json`. Pure, and no clock but that of typing.

A property takes up to a second, for a hundred examples of hostile texts or of what a room may go through.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import socketio.packet
from hypothesis import given
from hypothesis import strategies as st
from socketio.packet import Packet as TheirPacket

from trio_chat.clients import socketio_replies as wire
from trio_chat.clients.frames import text_frame
from trio_chat.clients.offsets import LEFT, MAX_OFFSET, NOWHERE, TOO_MANY, join_places, place_of, read_offset
from trio_chat.clients.socketio import PLAIN, SOCKET_IO, SocketIOVoice, SocketIOWire
from trio_chat.errors import BadRequest, ReplyCode, TrioChatError, Unavailable
from trio_chat.history import History
from trio_chat.mail import Accepted, Changed, Closed, Expired, Joined, Presence, ReadMark, Typing
from trio_chat.message import Deleted, Edited, Message, Position, Posted, Receipt
from trio_chat.paging import Page
from trio_chat.stores.base import Archived
from trio_chat.testing import strategies

if TYPE_CHECKING:
    from trio_chat.clients.engine.terms import Parcel
    from trio_chat.mail import Hearing

EPOCH = "01890a5d-ac96-774b-bcce-b302099a8057"
LATER = "01890a5d-ffff-774b-bcce-b302099a8057"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MESSAGE = Message(
    id="m",
    role="assistant",
    content="hé\u2028\x1e",
    timestamp=NOON,
    metadata={"a": [1, None]},
    user_id="ada",
    seq=7,
    rev=7,
)
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
DELETED = msgspec.structs.replace(MESSAGE, content="", metadata={}, rev=9)


def read(parcel: Parcel) -> list[TheirPacket]:
    """Return the packets of a parcel as python-socketio reads them, having compared all there is to compare."""
    assert b"".join(map(text_frame, parcel.packets)) == parcel.frames
    packets: list[TheirPacket] = []
    for packet in parcel.packets:
        assert packet[:1] == b"4"
        assert b"\x1e" not in packet
        theirs = TheirPacket(encoded_packet=packet[1:].decode())
        assert theirs.namespace in {None, "/"}
        head = b"%d" % theirs.packet_type + (b"" if theirs.id is None else b"%d" % theirs.id)
        assert packet[1:].startswith(head)
        assert json.loads(packet[1 + len(head) :]) == theirs.data
        packets.append(theirs)
    return packets


def events(parcel: Parcel) -> list[list[Any]]:
    """Return the events of a parcel, each as its name and its arguments."""
    packets = read(parcel)
    assert {(packet.packet_type, packet.id) for packet in packets} <= {(socketio.packet.EVENT, None)}
    return [packet.data for packet in packets]


def one(parcel: Parcel) -> list[Any]:
    """Return the only event of a parcel."""
    (event,) = events(parcel)
    return event


def acked(parcel: Parcel, number: int) -> dict[str, Any]:
    """Return the only argument of the only acknowledgement of a parcel."""
    (packet,) = read(parcel)
    assert (packet.packet_type, packet.id) == (socketio.packet.ACK, number)
    (answer,) = packet.data
    assert isinstance(answer, dict)
    return answer


def standing(wire: SocketIOWire = SOCKET_IO) -> SocketIOVoice:
    """Return the voice of the room "r" whose members are at a position."""
    voice = wire.voice("r")
    voice.stand_at(EPOCH, 6)
    return voice


def offset(seq: int, epoch: str = EPOCH, room: str = "r") -> str:
    return place_of(room, epoch, seq).decode()


def places_of(offset: str) -> dict[str, Position]:
    """Return the places of an offset, of the rooms "a", "b" and "r"."""
    there = read_offset(offset)
    assert there is not None
    places = {room: place for room in ("a", "b", "r") if (place := there.place(room)) is not None}
    assert there.names(places)
    return places


def joined_at(seq: int = 6, **changes: Any) -> Joined:
    """Return the answer to a join of a room with one message, and ada in it."""
    fields: dict[str, Any] = {
        "epoch": EPOCH,
        "seq": seq,
        "recovered": False,
        "first": 1,
        "changes": (),
        "messages": (MESSAGE,),
        "presence": (Presence("ada", True, NOON),),
        "receipts": {"bob": Receipt("m", NOON)},
        "durability": "redis",
        "voice": SOCKET_IO.voice("r"),
    }
    return Joined(**(fields | changes))


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
    voice.tell([Expired(EPOCH)])

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
    assert one(voice.tell([Typing("ada", True)]).shared)[-1] == offset(9)


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

    for event in events(SOCKET_IO.voice("r").joined(joined_at(), other)):
        assert event[-1] == f"{other.decode()},{offset(6)}"


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


# --- whatever is said, they read the same


def hearings() -> st.SearchStrategy[Hearing]:
    users = strategies.users()
    receipts = st.builds(Receipt, strategies.ids(), strategies.times())
    return st.one_of(
        st.builds(Changed, strategies.epochs(), strategies.events(seq=2)),
        st.builds(Typing, users, st.booleans()),
        st.builds(ReadMark, users, receipts),
        st.builds(Presence, users, st.booleans(), strategies.times()),
        st.builds(Expired, strategies.epochs()),
        st.builds(Closed, st.text(st.characters(exclude_categories=["Cs"]))),
    )


def texts_of(hearing: Hearing) -> list[str]:
    """Return what of a hearing must arrive as it is."""
    match hearing:
        case Changed(_, Posted(message)):
            texts = [message.id, message.user_id, message.content]
        case Changed(_, Edited(message, _)):
            texts = [message.id, message.content]
        case Changed(_, Deleted(message, _)):
            texts = [message.id]
        case Typing(user, _) | Presence(user, _, _):
            texts = [user]
        case ReadMark(user, receipt):
            texts = [user, receipt.message_id]
        case Expired(text) | Closed(text):
            texts = [text]
        case _:
            raise AssertionError(hearing)
    return texts


def within(value: Any) -> list[Any]:
    """Return every leaf of a JSON value."""
    if isinstance(value, dict):
        return [leaf for part in value.values() for leaf in within(part)]
    if isinstance(value, list):
        return [leaf for part in value for leaf in within(part)]
    return [value]


@given(
    room=strategies.rooms(),
    turn=st.lists(hearings(), min_size=1, max_size=4),
    others=st.dictionaries(strategies.rooms(), st.integers(0, 99), max_size=3),
)
def test_whatever_a_room_says_they_read(room: str, turn: list[Hearing], others: dict[str, int]) -> None:
    """No text breaks a packet, and the last argument is where the client is in all of its rooms."""
    others.pop(room, None)
    voice = SOCKET_IO.voice(room)
    voice.stand_at(EPOCH, 1)
    places = join_places(place_of(other, EPOCH, seq) for other, seq in others.items())

    parcel = voice.tell(turn)

    for heard, behind, hearing in zip(
        events(parcel.shared), events(parcel.behind(places)), turn, strict=True
    ):
        assert heard[:-1] == behind[:-1]
        leaves = within(heard)
        assert all(text in leaves for text in texts_of(hearing))
        alone, there = read_offset(heard[-1]), read_offset(behind[-1])
        assert alone is not None
        assert there is not None
        assert alone.names([room])
        assert there.names([room, *others])
        assert there.place(room) == alone.place(room)
        assert {other: there.place(other) for other in others} == {
            other: Position(EPOCH, seq) for other, seq in others.items()
        }


@given(room=strategies.rooms(), turn=st.lists(hearings(), min_size=1, max_size=4))
def test_whatever_a_room_says_who_cannot_come_back_reads_it_too(room: str, turn: list[Hearing]) -> None:
    """The same events but for the offsets: every argument is what it is for the others."""
    plain, whole = [wire.voice(room).tell(turn).shared for wire in (PLAIN, SOCKET_IO)]

    for heard, told, hearing in zip(events(plain), events(whole), turn, strict=True):
        # `room:error` has its text alone, and of typing each wire says its own time.
        assert len(heard) == (2 if isinstance(hearing, Closed) else len(told) - 1)
        assert isinstance(hearing, Typing) or heard == told[: len(heard)]


@given(
    room=strategies.rooms(),
    messages=st.lists(strategies.messages(), max_size=3),
    receipts=st.dictionaries(
        strategies.users(), st.builds(Receipt, strategies.ids(), strategies.times()), max_size=2
    ),
    users=st.lists(strategies.users(), max_size=2, unique=True),
)
def test_whatever_a_joiner_is_told_they_read(
    room: str, messages: list[Message], receipts: dict[str, Receipt], users: list[str]
) -> None:
    """Messages, marks and people come out as they went in."""
    answer = joined_at(
        messages=tuple(messages),
        receipts=receipts,
        presence=tuple(Presence(user, True, NOON) for user in users),
        typing=tuple(users),
    )

    history, marks, here, *typing = events(SOCKET_IO.voice(room).joined(answer, b""))

    told = [(m["id"], m["content"], m["metadata"], m["userId"], m["type"]) for m in history[1]]
    assert told == [(m.id, m.content, m.metadata, m.user_id, m.role) for m in messages]
    assert {user: mark["lastReadMessageId"] for user, mark in marks[1].items()} == {
        user: receipt.message_id for user, receipt in receipts.items()
    }
    assert set(here[1]) == set(users)
    assert [one["userId"] for _, one, _ in typing] == users
    assert acked(wire.joined(1, answer), 1)["members"] == users


# --- what somebody missed who comes back


class Screen:
    """What a client shows, given events, and where that leaves it. It keeps more than the window."""

    def __init__(self, history: History) -> None:
        self.shown = {message.id: (message.content, message.metadata) for message in history.snapshot()}
        self.place = Position(history.epoch, history.top)
        self._told = set(self.shown)

    def take(self, event: list[Any]) -> None:
        """Apply an event as front ends do."""
        name, said = event[0], event[1]
        match name:
            case "message:new":
                assert said["id"] not in self._told, "told twice"
                self._told.add(said["id"])
                self.shown[said["id"]] = (said["content"], said["metadata"])
            case "message:update":
                assert said["id"] in self.shown, "an update of what the client has not"
                self.shown[said["id"]] = (said["content"], said["metadata"])
            case "message:delete":
                self.shown.pop(said, None)
            case _:
                assert name in {"receipt:list", "presence:list"}
        places = places_of(event[-1])
        assert list(places) == ["r"]
        self.place = places["r"]


class Script:
    """A room's history, and what may happen to it by number."""

    def __init__(self, limit: int) -> None:
        self.history = History(EPOCH, limit)
        self.posted: dict[str, int] = {}

    def run(self, steps: list[tuple[str, int]]) -> None:
        """Post, edit and delete; which message, the number says."""
        for what, number in steps:
            window = self.history.snapshot()
            if what == "post" or not window:
                change = self.history.post(
                    key=None, user="ada", role="user", content=f"{number}", metadata={}, now=NOON
                )
                self.posted[change.id] = change.seq
            elif what == "edit":
                self.history.edit(
                    window[number % len(window)].id,
                    user="ada",
                    moderator=False,
                    content=f"edited {self.history.top}",
                    metadata=None,
                    now=NOON,
                )
            else:
                self.history.delete(window[number % len(window)].id, user="ada", moderator=False, now=NOON)

    def missed(self, place: Position) -> list[list[Any]] | None:
        """Return what a client at this place is told that comes back; None if that cannot be told."""
        changes = self.history.since(place.seq)
        if changes is None:
            return None
        answer = joined_at(
            seq=self.history.top,
            recovered=True,
            first=changes.first,
            changes=changes.events,
            messages=(),
        )
        return events(SOCKET_IO.voice("r").joined(answer, b"", place.seq))

    def check(self, screen: Screen) -> None:
        """Compare what a client shows with the window; it may show what was pushed out, but nothing deleted."""
        window = self.history.snapshot()
        first = window[0].seq if window else self.history.top + 1
        shown = {name: text for name, text in screen.shown.items() if self.posted[name] >= first}
        assert list(shown.items()) == [(one.id, (one.content, one.metadata)) for one in window]
        assert screen.place == Position(EPOCH, self.history.top)


steps = st.lists(
    st.tuples(st.sampled_from(["post", "post", "edit", "delete"]), st.integers(0, 20)), max_size=15
)


@given(
    limit=st.sampled_from([2, 5, 100]),
    before=steps,
    missed=steps,
    cut=st.integers(0, 20),
    meanwhile=steps,
)
def test_a_replay_may_be_cut_anywhere(
    limit: int, before: list[Any], missed: list[Any], cut: int, meanwhile: list[Any]
) -> None:
    """Whoever got a part of it and comes back gets the rest: nothing is missed, and no message is new twice."""
    script = Script(limit)
    script.run(before)
    screen = Screen(script.history)
    script.run(missed)
    replay = script.missed(screen.place)
    if replay is None:
        return  # too much has happened: the client gets the history

    for event in replay[:cut]:
        screen.take(event)
    script.run(meanwhile)
    rest = script.missed(screen.place)
    if rest is None:
        return
    for event in rest:
        screen.take(event)

    script.check(screen)


def test_what_was_posted_and_edited_meanwhile_comes_as_it_reads() -> None:
    """It is new at its own place and updated at the update's, so that whoever heard a part knows where it is."""
    script = Script(10)
    script.run([("post", 1)])
    screen = Screen(script.history)
    script.run([("post", 2), ("post", 3), ("edit", 1), ("edit", 0), ("delete", 2)])

    replay = script.missed(screen.place)

    assert replay is not None
    assert [(event[0], event[-1]) for event in replay] == [
        ("message:new", offset(2)),
        ("message:update", offset(4)),
        ("message:update", offset(5)),
        ("message:delete", offset(6)),
        ("receipt:list", offset(6)),
        ("presence:list", offset(6)),
    ]
    assert replay[0][1]["content"] == "edited 3"


def test_who_missed_nothing_gets_the_lists() -> None:
    """And learns by them where it is."""
    script = Script(10)
    script.run([("post", 1)])

    replay = script.missed(Position(EPOCH, 1))

    assert replay is not None
    assert [event[0] for event in replay] == ["receipt:list", "presence:list"]


def test_what_was_missed_names_the_places_in_other_rooms() -> None:
    """They are where the client says it is: what it missed there comes with them in turn."""
    answer = joined_at(seq=9, recovered=True, changes=(Posted(MESSAGE), Deleted(DELETED, NOON)), messages=())

    heard = events(SOCKET_IO.voice("r").joined(answer, place_of("a", LATER, 1), 5))

    assert [event[-1] for event in heard] == [
        f"{offset(1, LATER, 'a')},{offset(seq)}" for seq in (7, 9, 9, 9)
    ]
