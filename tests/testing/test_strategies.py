"""What the strategies make is within the limits, and some of it is hostile."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings

from trio_chat import Message
from trio_chat.message import (
    Event,
    check_content,
    check_id,
    check_metadata,
    check_role,
    check_room,
    is_epoch,
)
from trio_chat.testing import (
    HOSTILE,
    AnyCommand,
    Down,
    Freeze,
    Post,
    Script,
    Up,
    changes,
    contents,
    crashes,
    epochs,
    events,
    kills,
    losses,
    messages,
    metadata,
    pauses,
    play,
    restarts,
    rooms,
    scripts,
    small_talk,
    together,
    troubles,
    users,
    visits,
)
from trio_chat.testing.script import Command

LIMIT = 65_536
# A few are enough: each test looks at one fact about all of them.
few = settings(max_examples=30, deadline=None, database=None, suppress_health_check=list(HealthCheck))


@few
@given(rooms(), users(), epochs())
def test_names_are_names(room: str, user: str, epoch: str) -> None:
    """Of rooms, users and sessions."""
    assert check_room(room) == room
    assert check_id("user", user) == user
    assert is_epoch(epoch)


@few
@given(messages(seq=3, rev=5))
def test_messages_could_have_been_posted(message: Message) -> None:
    """Every field is one that a client may send; the numbers are as asked for."""
    assert check_id("id", message.id)
    assert check_content(message.content, LIMIT)
    assert check_metadata(message.metadata, LIMIT) == message.metadata
    assert check_role(message.role) == message.role
    assert (message.seq, message.rev) == (3, 5)


@few
@given(events(seq=2))
def test_events_survive_their_encoding(event: Event) -> None:
    """They are what a store may have to keep."""
    assert event.seq == 2
    assert msgspec.json.decode(msgspec.json.encode(event), type=Event) == event


@pytest.mark.parametrize("content", HOSTILE)
def test_hostile_contents_are_legal(content: str) -> None:
    """A room must take them."""
    assert check_content(content, LIMIT) == content


def quick(script: Any, holds: Any) -> object:
    """Find an example."""
    return find(script, holds, settings=settings(max_examples=2_000, database=None, phases=[Phase.generate]))


def test_contents_are_hostile_now_and_then() -> None:
    """And metadata go deep."""
    assert quick(contents(), lambda text: text in HOSTILE)
    assert quick(metadata(), lambda data: any(isinstance(value, dict) and value for value in data.values()))


def test_scripts_have_long_outages() -> None:
    """Stores go and come back, with something in between."""

    def away(script: Script) -> bool:
        return any(
            isinstance(one, Down | Freeze) and isinstance(other, Post) and isinstance(third, Up)
            for one, other, third in zip(script, script[1:], script[2:], strict=False)
        )

    assert quick(scripts(changes(), outages=("hot",)), away)


@few
@given(
    scripts(
        changes(),
        visits(),
        small_talk(),
        together(changes()),
        pauses(1),
        restarts(),
        kills(),
        crashes(),
        troubles(),
        losses(),
        outages=("hot", "archive"),
    )
)
def test_scripts_can_be_performed(script: list[AnyCommand]) -> None:
    """Whatever is in them."""
    record = play(script)
    asked = [entry.command for entry, _ in record.asked(Command)]

    assert [command for command in script if command not in asked] == []
