"""N1: what is left when a process has ended, and how members are told goodbye."""

from __future__ import annotations

from hypothesis import given

from trio_chat.testing import (
    Script,
    changes,
    check_ends,
    crashes,
    kills,
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


@given(scripts(*TALK, pauses(0.5, 60.0), restarts(), kills(), troubles(), outages=("hot", "archive")))
def test_n1_ends(script: Script) -> None:
    """N1: a process ends within ten seconds, whatever the stores do, and leaves no task behind."""
    check_ends(play(script))


@given(scripts(*TALK, crashes(), crashes(), pauses(0.5), outages=("hot", "archive")))
def test_n1_goodbyes(script: Script) -> None:
    """N1: each member is told goodbye at most once, and nothing after it, also by a room that fails too often."""
    check_ends(play(script))
