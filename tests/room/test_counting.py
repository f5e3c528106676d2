"""What an operator learns of a room."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
import trio

if TYPE_CHECKING:
    from trio.testing import MockClock


from .house import EXPIRY, open_scene


async def test_statistics_count() -> None:
    """Statistics say how a room is."""
    async with open_scene() as scene:
        ann = await scene.seat("ann")
        await ann.post("hi")
        scene.room.ledger.history.mark_synced(1)
        statistics = scene.room.statistics()

        assert (statistics.members, statistics.messages, statistics.top, statistics.synced) == (1, 1, 1, 1)
        assert (statistics.waiting, statistics.degraded) == (0, False)


async def test_idle_counts_from_the_last_activity(autojump_clock: MockClock) -> None:
    """Idle is the time since the last activity, in seconds."""
    async with open_scene() as scene:
        await scene.seat("ann")
        await trio.sleep(7)

        assert scene.room.statistics().idle == 7


async def test_repr_counts() -> None:
    """The one-line form has the counts an operator asks for."""
    async with open_scene() as scene:
        await (await scene.seat("ann")).post("hi")

        assert repr(scene.room).startswith("<Room r members=1 waiting=0 <Ledger r written written=1 ")


async def test_expiry_is_logged_without_content(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """An operator reads that a session expired; nobody reads in a log what was said."""
    with caplog.at_level(logging.DEBUG):
        async with open_scene() as scene:
            await (await scene.seat("ann")).post("a secret text")
            await trio.sleep(EXPIRY + 1)

    assert "expired after 1 events" in caplog.text
    assert "a secret text" not in caplog.text
