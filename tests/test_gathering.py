"""A `Gathering` puts off what is to be done until everything that came in one go is known."""

from __future__ import annotations

from functools import partial

from trio_chat.gathering import Gathering


def test_outside_nothing_is_put_off() -> None:
    """Whoever asks has to do it at once."""
    gathering = Gathering()
    done: list[int] = []

    assert not gathering.put_off(lambda: done.append(1))
    assert not done
    assert repr(gathering) == "<Gathering off>"


def test_what_was_put_off_is_done_at_the_end_in_order() -> None:
    """And not before."""
    gathering = Gathering()
    done: list[int] = []
    gathering.begin()
    assert gathering.put_off(lambda: done.append(1))
    assert gathering.put_off(lambda: done.append(2))
    assert not done
    assert repr(gathering) == "<Gathering 2>"
    gathering.end()

    assert done == [1, 2]


def test_what_comes_up_at_the_end_is_not_put_off() -> None:
    """Nobody would do it."""
    gathering = Gathering()
    answers: list[bool] = []
    gathering.begin()
    gathering.put_off(lambda: answers.append(gathering.put_off(print)))
    gathering.end()

    assert answers == [False]


def test_it_can_be_used_again() -> None:
    """Round after round."""
    gathering = Gathering()
    done: list[int] = []
    for number in range(3):
        gathering.begin()
        gathering.put_off(partial(done.append, number))
        gathering.end()

    assert done == [0, 1, 2]
