"""I1: nothing crosses rooms, whatever their names and whatever happens to the stores they share."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trio_chat.mail import Changed
from trio_chat.testing import (
    Record,
    Script,
    changes,
    check_agreement,
    check_order,
    check_windows,
    kills,
    pauses,
    play,
    scripts,
    small_talk,
    visits,
)

# Names that collide if somebody puts them together carelessly.
ROOMS = ("a", "a:b", "b")


def talk(room: str) -> list[st.SearchStrategy[object]]:
    """Return what is said in one room, each message beginning with the room's name."""
    return [changes(room=room, contents=st.just(f"{room} ")), visits(room=room), small_talk(room=room)]


def contents(record: Record, room: str) -> set[str]:
    """Return every text that somebody saw in a room, or that was stored for it."""
    shown = [
        message.content
        for entry, answer in record.windows()
        if entry.command.room == room
        for message in answer.messages
    ]
    heard = [changed.event.message.content for heard, changed in record.heard(Changed) if heard.room == room]
    stored = [
        row.message.content
        for session in record.archive.sessions
        if session.room == room
        for row in record.archive.rows(session).values()
    ]
    return {*shown, *heard, *stored} - {""}


@given(
    scripts(*(part for room in ROOMS for part in talk(room)), pauses(), kills(), outages=("hot", "archive"))
)
def test_i1_rooms(script: Script) -> None:
    """I1: each room shows, tells and stores what was said in it and nothing else."""
    record = play(script)

    for room in ROOMS:
        assert all(text.startswith(f"{room} ") for text in contents(record, room))
    check_windows(record)
    check_order(record)
    check_agreement(record)
