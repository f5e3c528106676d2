"""`Faults` make a memory store fail as it is told, and in no other way."""

from __future__ import annotations

import pytest
import trio

from trio_chat import MemoryHotStore, Unavailable
from trio_chat.message import new_epoch
from trio_chat.stores.base import Append, Session
from trio_chat.testing import Faults
from trio_chat.testing.faults import LATE


@pytest.fixture
def hot() -> MemoryHotStore:
    """A store."""
    return MemoryHotStore()


@pytest.fixture
def faults(hot: MemoryHotStore) -> Faults:
    """Its switches, with a timeout of one second."""
    return Faults(hot, timeout=1.0)


async def opened(hot: MemoryHotStore) -> bool:
    """Open a session, and say whether the call succeeded."""
    from datetime import UTC, datetime

    session = Session("den", new_epoch(datetime.now(UTC)))
    try:
        await hot.append(Append(session, 0, 1, 1, 0, ()))
    except Unavailable:
        return False
    return True


async def test_failing_call_has_no_effect(hot: MemoryHotStore, faults: Faults) -> None:
    """It raises before it begins; the next call is well again."""
    faults.fail("append")

    assert [await opened(hot), len(hot.sessions())] == [False, 0]
    assert await opened(hot)


async def test_call_whose_answer_is_lost_has_its_effect(hot: MemoryHotStore, faults: Faults) -> None:
    """It raises all the same."""
    faults.lose_answers("append")

    assert [await opened(hot), len(hot.sessions())] == [False, 1]


async def test_only_the_calls_of_a_name_fail(hot: MemoryHotStore, faults: Faults) -> None:
    """Others do not notice, nor use up a failure."""
    faults.fail("load")

    assert await opened(hot)
    with pytest.raises(Unavailable):
        await hot.load("den")


async def test_failures_can_be_counted_out(hot: MemoryHotStore, faults: Faults) -> None:
    """So many, then no more."""
    faults.fail(times=2)

    assert [await opened(hot) for _ in range(3)] == [False, False, True]
    assert faults.statistics().failed == 2
    assert faults.statistics().calls == faults.calls["append"] == 3


async def test_errors_can_be_chosen(hot: MemoryHotStore, faults: Faults) -> None:
    """Such as one that no driver should raise."""
    faults.fail("probe", error=ZeroDivisionError)

    with pytest.raises(ZeroDivisionError):
        await hot.probe()


async def test_planned_calls_meet_their_fates_in_order(
    hot: MemoryHotStore, faults: Faults, autojump_clock: trio.testing.MockClock
) -> None:
    """One fate a call."""
    faults.plan(["well", "refuse", "lose answer", "late"])
    outcomes = [await opened(hot) for _ in range(3)]
    before = trio.current_time()
    outcomes.append(await opened(hot))

    assert outcomes == [True, False, False, True]
    assert trio.current_time() - before == pytest.approx(LATE)


async def test_delayed_calls_take_their_time(
    hot: MemoryHotStore, faults: Faults, autojump_clock: trio.testing.MockClock
) -> None:
    """Those of the name; the others do not."""
    faults.delay(0.25, "append")
    await hot.probe()
    assert trio.current_time() == 0
    assert await opened(hot)

    assert trio.current_time() == pytest.approx(0.25)


async def test_calls_of_a_paused_store_time_out(
    hot: MemoryHotStore, faults: Faults, autojump_clock: trio.testing.MockClock
) -> None:
    """The store then knows that it is away, as a real one does."""
    faults.pause()

    assert not await opened(hot)
    assert trio.current_time() == pytest.approx(1.0)
    assert not hot.healthy


async def test_calls_go_on_when_the_store_is_resumed(
    hot: MemoryHotStore, faults: Faults, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """They have waited for it."""
    faults.pause()
    nursery.start_soon(opened, hot)
    await trio.sleep(0.5)
    assert not hot.sessions()
    faults.resume()
    await trio.testing.wait_all_tasks_blocked()

    assert len(hot.sessions()) == 1


async def test_store_that_is_down_refuses_and_says_so(hot: MemoryHotStore, faults: Faults) -> None:
    """Until it is up."""
    faults.down()
    assert not hot.healthy
    assert not await opened(hot)
    faults.up()

    assert await opened(hot)


async def test_up_ends_every_fault(hot: MemoryHotStore, faults: Faults) -> None:
    """Whatever was planned."""
    faults.fail(times=9)
    faults.plan(["refuse"])
    faults.delay(9)
    faults.pause()
    faults.up()

    assert await opened(hot)
    assert "up of <MemoryHotStore" in repr(faults)


async def test_who_is_cut_off_reaches_nothing(hot: MemoryHotStore, faults: Faults) -> None:
    """Until it is mended; the store itself is well."""
    faults.cut()
    assert not await opened(hot)
    assert hot.healthy
    faults.mend()

    assert await opened(hot)


async def test_cutting_off_ends_the_calls_that_wait(hot: MemoryHotStore, faults: Faults) -> None:
    """A call of those who are gone must not have its effect when the store is mended for others."""
    faults.plan(["late"])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(opened, hot)
        await trio.testing.wait_all_tasks_blocked()
        faults.cut()
        await trio.testing.wait_all_tasks_blocked()
        assert not nursery.child_tasks
        faults.mend()

    assert not hot.sessions()
    assert hot.healthy
