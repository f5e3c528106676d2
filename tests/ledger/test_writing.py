"""What is written, when, and what it is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from tests.rooms import NOON
from trio_chat.errors import Unavailable
from trio_chat.history import key_name
from trio_chat.message import Receipt

if TYPE_CHECKING:
    from trio.testing import MockClock


from .house import AStore, a_forgetful_session, a_ledger, a_session, post, stored


async def test_write_brings_the_store_up_to_date(hot: AStore) -> None:
    """After a write the store has every event, and the ladder's next step is reached."""
    ledger = await a_session(hot, 0)
    change = post(ledger)

    assert (ledger.durability(change.seq), ledger.backlog) == ("memory", 1)
    await ledger.write()
    assert (ledger.durability(change.seq), ledger.backlog) == ("redis", 0)
    assert (await stored(hot)).events == ledger.history.entries(0)


@pytest.mark.parametrize("how", ["written", "submitted", "known to be away"])
async def test_store_is_told_before_events_are_let_out_that_it_lacks(hot: AStore, how: str) -> None:
    """The session is behind as soon as the room is degraded with events, and until the store has them all."""
    ledger = await a_session(hot)
    told = [set(hot.behind)]
    post(ledger)
    if how == "submitted":
        assert ledger.settle(Unavailable("gone"))
    else:
        hot.set_healthy(how != "known to be away")
        hot.failing["append", "before"] = Unavailable("gone")
        await ledger.write()
    told.append(set(hot.behind))
    hot.failing.clear()
    hot.set_healthy(True)
    await ledger.write()

    assert [*told, hot.behind] == [set(), {ledger.session}, set()]


async def test_room_that_begins_without_the_store_is_not_behind_yet(hot: AStore) -> None:
    """Nothing was told that the store lacks before there is an event."""
    hot.set_healthy(False)
    ledger = a_ledger(hot)
    await ledger.open()
    before = set(hot.behind)
    post(ledger)
    await ledger.write()

    assert (before, hot.behind) == (set(), {ledger.session})


@pytest.mark.parametrize("how", ["the next one is written", "the store has none", "it is ended there"])
async def test_session_is_behind_until_the_store_does_not_hold_it_for_current(hot: AStore, how: str) -> None:
    """That this ledger has left it is not enough: the next process would not know."""
    ledger = await a_session(hot)
    left = ledger.session
    post(ledger)
    hot.set_healthy(False)
    await ledger.write()
    await ledger.end()
    ledger.begin_anew()
    before = (set(hot.behind), ledger.leaves_behind)
    hot.set_healthy(True)
    if how == "the next one is written":
        post(ledger)
        await ledger.write()
    elif how == "the store has none":
        hot.lose_everything()
        await ledger.open()
    else:
        await ledger.open()

    assert before == ({left}, True)
    assert (hot.behind, ledger.leaves_behind) == (set(), False)


async def test_session_that_is_behind_ends_in_the_store_where_that_has_it(hot: AStore) -> None:
    """Its top is the one that was written, not the one that members know."""
    ledger = await a_session(hot)
    post(ledger)
    hot.failing["append", "before"] = Unavailable("gone")
    await ledger.write()
    await ledger.end()

    assert hot.behind == set()
    assert await hot.load("r") is None


async def test_session_that_another_ledger_left_behind_is_not_continued(hot: AStore) -> None:
    """A room that was given up knew more of it than the store: the next one begins another session."""
    given_up = await a_session(hot)
    post(given_up)
    hot.failing["append", "before"] = Unavailable("gone")
    await given_up.write()
    ledger = a_ledger(hot)
    await ledger.open()

    assert ledger.session.epoch > given_up.session.epoch
    assert hot.behind == set()


async def test_one_write_for_many_events(hot: AStore) -> None:
    """However many events there are, they are one append."""
    ledger = await a_session(hot, 0)
    for _ in range(3):
        post(ledger)
    await ledger.write()

    assert [len(write.events) for write in hot.appended] == [3]


async def test_write_with_nothing_to_write(hot: AStore) -> None:
    """A turn without events costs no round trip."""
    ledger = await a_session(hot)
    hot.calls.clear()
    await ledger.write()

    assert hot.calls == []


async def test_write_adds_only_what_is_new(hot: AStore) -> None:
    """Each append carries the events since the last one, with their keys."""
    ledger = await a_session(hot)
    post(ledger, key="k3")
    await ledger.write()
    write = hot.appended[-1]

    assert (write.expect, write.top) == (2, 3)
    assert [event.seq for event in write.events] == [3]
    assert write.keys == ((key_name("k3", "ann"), 3),)


async def test_write_drops_superseded_entries(hot: AStore) -> None:
    """The entry of a message that was edited is replaced."""
    ledger = await a_session(hot)
    ledger.history.edit("k1", user="ann", moderator=False, content="new", metadata=None, now=NOON)
    await ledger.write()

    assert [event.seq for event in hot.log(ledger.session)] == [2, 3]


async def test_read_mark_alone_is_written(hot: AStore) -> None:
    """A read mark reaches the store without an event."""
    ledger = await a_session(hot)
    ledger.mark_read("bob", Receipt("k1", NOON))
    await ledger.write()

    assert (await stored(hot)).receipts == {"bob": Receipt("k1", NOON)}
    assert hot.appended[-1].events == ()


async def test_activity_reaches_the_store_now_and_then(hot: AStore, autojump_clock: MockClock) -> None:
    """A turn without events is written when the store has not heard of the session for a quarter of its time."""
    ledger = await a_session(hot)
    hot.appended.clear()
    await trio.sleep(300)
    await ledger.write()
    assert hot.appended == []
    await trio.sleep(1)
    await ledger.write()

    assert len(hot.appended) == 1
    assert (await stored(hot)).idle == 0


async def test_activity_after_a_late_return_reaches_the_store_at_once(
    hot: AStore, autojump_clock: MockClock
) -> None:
    """A session taken over after a long silence is noted to be alive again, or the next process takes it for over."""
    await a_session(hot)
    await trio.sleep(1000)
    ledger = a_ledger(hot)
    await ledger.open()
    await ledger.write()

    assert (await stored(hot)).idle == 0


async def test_durability_of_what_the_archive_has(hot: AStore) -> None:
    """An event the archive has stands on the highest step."""
    ledger = await a_session(hot)
    ledger.history.mark_synced(1)

    assert [ledger.durability(seq) for seq in (1, 2)] == ["archive", "redis"]


async def test_promise_of_a_written_room(hot: AStore) -> None:
    """An ack promises what the store is."""
    assert (await a_session(hot)).promise() == "redis"


async def test_forgets_beyond_the_backlog_limit(hot: AStore) -> None:
    """What left the window and is in the store need not all stay in memory."""
    ledger = await a_forgetful_session(hot, 6, backlog_limit=2)

    assert ledger.history.statistics().left_over == 2
    assert not ledger.history.complete


async def test_repr_tells_the_state(hot: AStore) -> None:
    """The one-line form says whether everything is written."""
    ledger = await a_session(hot)

    assert repr(ledger).startswith("<Ledger r written written=2 <History ")
    hot.set_healthy(False)
    post(ledger)
    await ledger.write()
    assert repr(ledger).startswith("<Ledger r degraded written=2 <History ")
