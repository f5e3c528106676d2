"""The flag and the pauses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from trio_chat.stores.resp_health import Backoff, Health

if TYPE_CHECKING:
    from collections.abc import Callable


async def test_waiting_for_what_already_is(autojump_clock: trio.testing.MockClock) -> None:
    """Nobody waits for the state that holds."""
    await Health(True).wait(True)
    await Health(False).wait(False)


async def test_change_wakes_who_waits_for_it(nursery: trio.Nursery) -> None:
    """Each waiter returns with the change it waits for."""
    health = Health(False)
    nursery.start_soon(health.wait, True)
    await trio.testing.wait_all_tasks_blocked()
    assert health.set(True)
    assert not health.set(True)

    assert health


@pytest.mark.parametrize(("chance", "share"), [(min, 0.5), (max, 1.0)])
def test_pauses_grow_up_to_the_cap(chance: Callable[[float, float], float], share: float) -> None:
    """Each pause is at most twice the one before, and at least half of that."""
    backoff = Backoff(0.1, 1.0, chance)

    assert [backoff.next() for _ in range(6)] == pytest.approx(
        [share * pause for pause in (0.1, 0.2, 0.4, 0.8, 1.0, 1.0)], rel=1e-3
    )


def test_pauses_begin_again() -> None:
    """After a reset the first pause is the shortest."""
    backoff = Backoff(0.1, 1.0, max)
    for _ in range(5):
        backoff.next()
    backoff.reset()

    assert backoff.next() == pytest.approx(0.1)
