"""How long a connection has stood still, and what that means."""

from __future__ import annotations

from trio_chat.clients.limits import ServerLimits
from trio_chat.clients.vigil import Silence, Vigil

LIMITS = ServerLimits(ping_interval=10, ping_timeout=5, frame_timeout=3, outbox_stall=4)
BOUNDLESS = ServerLimits(ping_interval=None, frame_timeout=None, outbox_stall=None)


def test_silent_client_is_asked_once_and_then_given_up() -> None:
    """After the interval, and after the timeout behind it."""
    vigil = Vigil(LIMITS)

    assert [vigil.judge_silence(1, now) for now in (0, 9, 10, 11, 14, 15)] == [
        *(Silence.BEAR, Silence.BEAR, Silence.PING),
        *(Silence.BEAR, Silence.BEAR, Silence.CUT),
    ]


def test_client_that_answers_is_asked_again_later() -> None:
    """Whatever it says counts, and the time begins anew."""
    vigil = Vigil(LIMITS)
    vigil.judge_silence(1, 0)
    assert vigil.judge_silence(1, 10) is Silence.PING

    assert vigil.judge_silence(2, 14) is Silence.BEAR
    assert vigil.judge_silence(2, 23) is Silence.BEAR
    assert vigil.judge_silence(2, 24) is Silence.PING


def test_frame_is_late_when_the_same_one_stays_unfinished() -> None:
    """Another one has its own time, and none at all is never late."""
    vigil = Vigil(LIMITS)
    seen = [(4, 0), (4, 2), (5, 3), (5, 5), (-1, 6), (-1, 60), (5, 61), (5, 64)]

    assert [vigil.frame_is_late(frame, now) for frame, now in seen] == [False] * 7 + [True]


def test_stall_is_when_nothing_goes_out_although_something_waits() -> None:
    """Every byte that goes out is progress."""
    vigil = Vigil(LIMITS)
    seen = [(0, 0), (0, 3), (1, 4), (1, 7), (-1, 8), (-1, 80), (1, 81), (1, 85)]

    assert [vigil.is_stalled(sent, now) for sent, now in seen] == [False] * 7 + [True]


def test_limits_that_are_off() -> None:
    """Nothing is ever too long."""
    vigil = Vigil(BOUNDLESS)
    for now in (0, 1e9):
        assert vigil.judge_silence(1, now) is Silence.BEAR
        assert not vigil.frame_is_late(1, now)
        assert not vigil.is_stalled(1, now)
