"""Answers that were lost, and sessions that somebody else writes to."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import trio

from tests.rooms import NOON, now
from trio_chat.errors import Unavailable
from trio_chat.ledger import Overtaken
from trio_chat.message import new_epoch
from trio_chat.stores.memory import MemoryHotStore

if TYPE_CHECKING:
    from trio.testing import MockClock

    from trio_chat.stores.memory import Moment

from .house import AStore, a_ledger, a_session, append_elsewhere, post, stored


async def test_lost_answer_is_not_written_twice(hot: AStore) -> None:
    """A write that arrived though its answer was lost is found again."""
    ledger = await a_session(hot)
    hot.failing["append", "after"] = Unavailable("the answer was lost")
    post(ledger)
    await ledger.write()
    assert ledger.degraded
    await ledger.write()

    assert not ledger.degraded
    assert ledger.backlog == 0
    assert [event.seq for event in hot.log(ledger.session)] == [1, 2, 3]


async def test_lost_answer_of_the_first_write(hot: AStore) -> None:
    """The write that opens a session may lose its answer too."""
    ledger = await a_session(hot, 0)
    hot.failing["append", "after"] = Unavailable("the answer was lost")
    post(ledger)
    await ledger.write()
    post(ledger)
    await ledger.write()

    assert not ledger.degraded
    assert [event.seq for event in hot.log(ledger.session)] == [1, 2]


async def test_events_after_a_lost_answer(hot: AStore) -> None:
    """What happened meanwhile is added to what had arrived."""
    ledger = await a_session(hot)
    hot.failing["append", "after"] = Unavailable("the answer was lost")
    post(ledger)
    await ledger.write()
    ledger.history.edit("k1", user="ann", moderator=False, content="new", metadata=None, now=NOON)
    await ledger.write()

    assert [event.seq for event in hot.log(ledger.session)] == [2, 3, 4]


async def test_cancelled_write_is_found_again(hot: AStore, autojump_clock: MockClock) -> None:
    """A write that was cancelled may have arrived; the next one finds out."""
    ledger = await a_session(hot)
    post(ledger)
    write = hot.interfere

    async def hang(call: str, moment: Moment) -> None:
        if moment == "after":
            await trio.sleep_forever()

    hot.interfere = hang
    with trio.move_on_after(1) as patience:
        await ledger.write()
    hot.interfere = write
    await ledger.write()

    assert patience.cancelled_caught
    assert [event.seq for event in hot.log(ledger.session)] == [1, 2, 3]
    assert ledger.backlog == 0


async def test_another_writer_of_the_session(hot: AStore) -> None:
    """Somebody else's events are not overwritten: the session must be loaded anew."""
    ledger = await a_session(hot)
    await append_elsewhere(hot, ledger.history.epoch, 2, 3)
    post(ledger)

    with pytest.raises(Overtaken, match="is written by somebody else"):
        await ledger.write()
    assert [event.message.id for event in hot.log(ledger.session)] == ["k1", "k2", "other3"]


async def test_another_writers_newer_session(hot: AStore) -> None:
    """Nor is a newer session put aside."""
    ledger = await a_session(hot)
    await append_elsewhere(hot, new_epoch(now(), ledger.history.epoch), 0, 1)
    post(ledger)

    with pytest.raises(Overtaken, match="is written by somebody else"):
        await ledger.write()


@pytest.mark.parametrize("hours", [-1, 1])
async def test_session_is_not_opened_over_anothers(hot: AStore, hours: int) -> None:
    """Whoever found nothing looks again before it opens a session: somebody else may have been quicker."""
    ledger = await a_session(hot, 0)
    await append_elsewhere(hot, new_epoch(NOON + timedelta(hours=hours)), 0, 1)
    post(ledger)

    with pytest.raises(Overtaken):
        await ledger.write()


async def test_opening_after_another_writer(hot: AStore) -> None:
    """Loaded anew, the session has the other's events."""
    ledger = await a_session(hot)
    await append_elsewhere(hot, ledger.history.epoch, 2, 3)
    await ledger.open()
    post(ledger)
    await ledger.write()

    assert [event.message.content for event in hot.log(ledger.session)][-2:] == ["elsewhere", "hi"]


async def test_older_session_gives_way(hot: AStore, autojump_clock: MockClock) -> None:
    """A session begun while the store was away takes the place of an older one, which stays to be archived."""
    old = await a_session(hot)
    hot.failing["load", "before"] = Unavailable("gone")
    await trio.sleep(1)
    ledger = a_ledger(hot)
    await ledger.open()
    post(ledger)
    await ledger.write()

    assert (await stored(hot)).epoch == ledger.history.epoch > old.history.epoch
    assert set(await hot.dirty()) == {old.session, ledger.session}


async def test_store_that_answers_differently_each_time(hot: AStore) -> None:
    """A store whose answers cannot be settled degrades the room, and does not hold it for ever."""
    ledger = await a_session(hot)
    post(ledger)

    async def lose_it_again(call: str, moment: Moment) -> None:
        if moment == "before":
            hot.lose_everything()
            hot.interfere = come_back_older

    async def come_back_older(call: str, moment: Moment) -> None:
        if moment == "before":
            await restore.append(opening)
            hot.interfere = lose_it_again

    opening = hot.appended[0]
    restore = MemoryHotStore()
    restore._sessions, restore._current, restore._trusted = hot._sessions, hot._current, hot._trusted
    hot.interfere = lose_it_again
    await ledger.write()

    assert (ledger.degraded, ledger.backlog) == (True, 1)
    hot.interfere = None
    await ledger.write()
    assert (ledger.degraded, ledger.backlog) == (False, 0)
