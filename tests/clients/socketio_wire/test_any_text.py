"""Whatever is said, they read the same. Takes up to a second a property, for a hundred examples of hostile texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from trio_chat.clients import socketio_replies as wire
from trio_chat.clients.offsets import join_places, place_of, read_offset
from trio_chat.clients.socketio import PLAIN, SOCKET_IO
from trio_chat.mail import Changed, Closed, Expired, Presence, ReadMark, Typing
from trio_chat.message import Deleted, Edited, Message, Position, Posted, Receipt
from trio_chat.testing import strategies

if TYPE_CHECKING:
    from trio_chat.mail import Hearing

from .house import EPOCH, NOON, acked, events, joined_at


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
