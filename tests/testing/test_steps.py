"""`Steps` run async calls from synchronous code, and nothing else meanwhile."""

from __future__ import annotations

import time

import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_chat.testing import Steps


async def add(one: int, other: int) -> int:
    """Add, asynchronously."""
    await trio.lowlevel.checkpoint()
    return one + other


async def fail() -> None:
    """Fail."""
    await trio.lowlevel.checkpoint()
    raise ZeroDivisionError


async def now() -> float:
    """Return Trio's time."""
    return trio.current_time()


def test_call_returns_its_result() -> None:
    """One after the other."""
    with Steps() as steps:
        assert [steps.run(add, 1, 2), steps.run(add, 3, 4)] == [3, 7]
        assert repr(steps) == "<Steps calls=2 running>"


def test_error_of_a_call_is_raised_where_it_was_made() -> None:
    """The run goes on."""
    with Steps() as steps:
        with pytest.raises(ZeroDivisionError):
            steps.run(fail)

        assert steps.run(add, 1, 2) == 3


def test_contexts_stay_entered_until_the_end() -> None:
    """Then they are left, the last one first."""
    log: list[str] = []

    class Context:
        def __init__(self, name: str) -> None:
            self.name = name

        async def __aenter__(self) -> str:
            await trio.lowlevel.checkpoint()
            return self.name

        async def __aexit__(self, *_: object) -> None:
            log.append(self.name)

    with Steps() as steps:
        assert [steps.enter(Context("one")), steps.enter(Context("two"))] == ["one", "two"]
        assert log == []

    assert log == ["two", "one"]


def test_virtual_time_stands_still_between_calls() -> None:
    """Though tasks wait for it, which autojump would let pass at once."""
    with Steps(clock=MockClock(autojump_threshold=0)) as steps:
        nursery = steps.enter(trio.open_nursery())
        nursery.start_soon(trio.sleep, 10)
        steps.run(wait_all_tasks_blocked)
        time.sleep(0.01)  # in which the clock would have jumped
        assert steps.run(now) == 0
        steps.run(trio.sleep, 5)
        assert steps.run(now) == 5


def test_failure_in_the_background_is_raised_by_the_next_call() -> None:
    """And once only."""
    steps = Steps()
    steps.start()
    nursery = steps.enter(trio.open_nursery())
    nursery.start_soon(fail)

    with pytest.RaisesGroup(ZeroDivisionError):
        steps.run(trio.sleep_forever)
    with pytest.raises(RuntimeError, match="ended"):
        steps.run(trio.sleep, 0)
    steps.stop()


def test_failure_at_the_end_is_raised_by_stopping() -> None:
    """It is not lost."""
    steps = Steps()
    steps.start()
    nursery = steps.enter(trio.open_nursery())
    nursery.start_soon(fail)

    with pytest.RaisesGroup(ZeroDivisionError):
        steps.stop()
