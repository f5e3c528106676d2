"""E1 and E2: when a session expires, to the second, on virtual time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trio_chat.testing import (
    Down,
    Join,
    Post,
    Script,
    Sleep,
    Up,
    changes,
    check_expiry,
    pauses,
    play,
    scripts,
    small_talk,
    together,
    visits,
)

CLIENTS = ("ann", "bob")
GOING = visits(clients=CLIENTS)
TALK = (changes(clients=CLIENTS), GOING, small_talk(clients=CLIENTS), together(changes() | GOING))
# As many as everything else: only what happens alone shows whether it moves the deadline.
PAUSES = (pauses(30.0), pauses(0.125, 59.875, 60.125), pauses(59.875), pauses())


@given(scripts(*TALK, *PAUSES))
def test_e1_expiry(script: Script) -> None:
    """E1: a session expires exactly its time after the last activity, and is another one afterwards."""
    check_expiry(play(script))


@given(scripts(changes(clients=CLIENTS), GOING, GOING, small_talk(), pauses(20.0), pauses(59.875)))
def test_e2_activity(script: Script) -> None:
    """E2: whatever a client sends moves the deadline; that its connection breaks does not, as others hear."""
    others: Script = [Join("somebody"), Post("somebody", "a beginning")]

    check_expiry(play([*others, *script, Sleep(90)]))


@given(scripts(*TALK, *PAUSES, st.sampled_from([Down("archive"), Up("archive")])))
def test_e1_without_archive(script: Script) -> None:
    """E1: an archive that is away does not keep a session alive."""
    check_expiry(play(script))
