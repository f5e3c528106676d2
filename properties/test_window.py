"""W1 - W6 through the room actors: whatever clients do at once, and whatever the stores do meanwhile."""

from __future__ import annotations

from hypothesis import example, given

from trio_chat import testing as do
from trio_chat.testing import (
    Record,
    Script,
    changes,
    check_agreement,
    check_keys,
    check_numbers,
    check_order,
    check_told,
    check_windows,
    contents,
    crashes,
    pauses,
    play,
    restarts,
    scripts,
    small_talk,
    together,
    troubles,
    visits,
)

TALK = (changes(), visits(), small_talk(), together(changes() | visits()))


def check(record: Record) -> None:
    check_numbers(record)
    check_windows(record)
    check_order(record)
    check_told(record)
    check_agreement(record)
    check_keys(record)


# A session that expired while the store was away is over, though the store still holds it.
@example(
    [
        do.Down("hot"),
        do.Join("ann"),
        do.Post("ann", "a1"),
        do.Post("ann", "a2"),
        do.Sleep(0.5),
        do.Up("hot"),
        do.Down("hot"),
        do.Sleep(59.5),
        do.Up("hot"),
    ]
)
@given(scripts(*TALK, pauses(), outages=("hot", "archive")))
def test_w1_to_w6(script: Script) -> None:
    """W1-W6: with stores that come and go, all that clients are shown is what the model shows, in one order."""
    check(play(script))


@given(scripts(*TALK, pauses(), troubles()))
def test_w1_to_w6_with_troubles(script: Script) -> None:
    """W1-W6: calls that fail, come late or lose their answer change nothing that clients are shown."""
    check(play(script))


@given(scripts(*TALK, pauses(), restarts()))
def test_w1_to_w6_over_restarts(script: Script) -> None:
    """W1-W6: nor do processes that stop and start."""
    check(play(script))


@given(scripts(*TALK, crashes(), pauses(0.5, 20.0), outages=("hot",)))
def test_w5_over_crashes(script: Script) -> None:
    """W5: when an actor crashes its members are told what they missed, and nothing twice."""
    record = play(script)

    check_numbers(record)
    check_order(record)
    check_told(record)
    check_agreement(record)
    check_keys(record)


@given(scripts(changes(contents=contents()), together(changes(contents=contents())), visits()))
def test_hostile(script: Script) -> None:
    """What clients are shown is what was posted, character for character."""
    check_windows(play(script))
