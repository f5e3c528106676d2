"""The watchdog of the event loop. Those that block a real loop take some tenths of a second, in real time."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

import trio
import trio.lowlevel

from trio_chat.watchdog import Watchdog, watch

if TYPE_CHECKING:
    import pytest


def block(seconds: float, secret: str = "canary") -> None:
    """Keep the loop from running."""
    time.sleep(seconds)
    assert secret


async def test_blocked_loop_is_reported_with_its_places(caplog: pytest.LogCaptureFixture) -> None:
    """Once while it lasts, however long that is, and once more when it is over; each block for itself."""
    with caplog.at_level(logging.DEBUG, "trio_chat.watchdog"):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch, 0.1)
            for _ in range(2):
                await trio.sleep(0.06)
                block(0.35)
            await trio.sleep(0.06)
            nursery.cancel_scope.cancel()

    blocked, again, *second = caplog.messages
    assert blocked.startswith("the event loop does not run, everybody waits: it is at test_watchdog.py:")
    assert " block < test_watchdog.py:" in blocked
    assert again in {f"the event loop runs again; it did not for 0.{tenth} s" for tenth in "34"}
    assert [text.partition(":")[0].partition(";")[0] for text in second] == [
        "the event loop does not run, everybody waits",
        "the event loop runs again",
    ]
    assert "canary" not in caplog.text


async def test_loop_that_runs_is_not_reported(caplog: pytest.LogCaptureFixture) -> None:
    """Short turns one after the other, however many, are no block; and at the end the thread is gone."""
    threads = threading.active_count()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, 0.3)
        for _ in range(40):
            await trio.lowlevel.checkpoint()
            block(0.01)
        nursery.cancel_scope.cancel()

    assert caplog.messages == []
    assert threading.active_count() == threads


def test_who_was_late_as_well_reports_nothing() -> None:
    """The whole process was stopped; if the loop does not come back by itself, the next look says so, once."""
    dog = Watchdog(1.0, 0.0)
    looks = [dog.look(now) for now in (0.25, 10.0, 10.25, 10.5)]

    assert looks == [False, False, True, False]


def test_each_block_is_reported() -> None:
    """Being fed ends it, and says how long it was."""
    dog = Watchdog(1.0, 0.0)
    seen: list[object] = []
    for second in range(3):
        seen += [dog.look(1.5 * second + quarter / 4) for quarter in range(1, 7)]
        seen.append(dog.feed(1.5 * (second + 1)))

    assert seen == [False, False, False, True, False, False, 1.5] * 3
    assert dog.feed(4.9) is None
