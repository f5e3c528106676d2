"""Answers that were lost, and sessions that somebody else writes to."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import trio

from tests.rooms import NOON, now
from trio_chat.errors import Unavailable
from trio_chat.ledger import Overtaken
from trio_chat.message import new_epoch
from trio_chat.stores.base import Session
from trio_chat.stores.memory import MemoryArchive, MemoryHotStore

if TYPE_CHECKING:
    from trio.testing import MockClock

    from trio_chat.ledger import Ledger
    from trio_chat.stores.memory import Moment

from .house import Asked, AStore, a_ledger, a_session, append_elsewhere, post, stored


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


# --- overtaken while the store was away


async def overtaken(ledger: Ledger, hot: AStore, epoch: str, expect: int, seq: int) -> str:
    """Let somebody else write meanwhile, and the store come back. Returns the id of the session that follows."""
    hot.set_healthy(True)
    await append_elsewhere(hot, epoch, expect, seq)
    with pytest.raises(Overtaken):
        await ledger.write()
    await ledger.open()
    await ledger.write()
    return (await stored(hot)).epoch


async def test_what_only_this_server_has_is_posted_again(hot: AStore) -> None:
    """As it reads now, under its id, its time and its author's name, in a session of its own; the other's stays whole."""
    ledger = await a_session(hot)
    first = ledger.history.epoch
    hot.set_healthy(False)
    keyed, named = post(ledger, "three", "k3"), post(ledger, "four")
    await ledger.write()
    ledger.history.edit("k3", user="ann", moderator=False, content="3", metadata={"a": 1}, now=now())
    await ledger.write()
    said = {message.id: message for message in ledger.history.snapshot()}
    epoch = await overtaken(ledger, hot, first, 2, 3)
    entries = {event.message.id: event.message for event in hot.log(ledger.session)}

    assert epoch == ledger.history.epoch > first
    assert [event.message.id for event in hot.log(Session("r", first))] == ["k1", "k2", "other3"]
    assert entries.keys() == {keyed.id, named.id}
    assert [(one.content, one.metadata, one.timestamp, one.user_id) for one in entries.values()] == [
        ("3", {"a": 1}, said[keyed.id].timestamp, "ann"),
        ("four", {}, said[named.id].timestamp, "ann"),
    ]
    assert (ledger.backlog, ledger.degraded, hot.behind) == (0, False, set())


async def test_what_is_archived_of_the_other_is_not_taken_for_ours(hot: AStore) -> None:
    """The syncer may be quicker than the room: it knows sessions by their names."""
    ledger = await a_session(hot)
    hot.set_healthy(False)
    post(ledger, "three", "k3")
    await ledger.write()
    hot.set_healthy(True)
    await append_elsewhere(hot, ledger.history.epoch, 2, 3)
    with pytest.raises(Overtaken):
        await ledger.write()
    ledger.history.mark_synced(3)
    await ledger.open()
    await ledger.write()

    assert [event.message.id for event in hot.log(ledger.session)] == ["k3"]


async def test_what_is_posted_again_is_there_once(hot: AStore) -> None:
    """Its sender may send it again, in that session and in the next process."""
    ledger = await a_session(hot)
    hot.set_healthy(False)
    post(ledger, "three", "k3")
    named = post(ledger, "four")
    await ledger.write()
    await overtaken(ledger, hot, ledger.history.epoch, 2, 3)
    another = a_ledger(hot)
    await another.open()

    for one in (ledger, another):
        assert [post(one, "three", "k3").event, post(one, "four", named.id).event] == [None, None]


async def test_changes_of_what_others_have_are_lost_and_counted(
    hot: AStore, caplog: pytest.LogCaptureFixture
) -> None:
    """The next session has no such messages. Those deleted by then are not posted again."""
    ledger = await a_session(hot)
    hot.set_healthy(False)
    ledger.history.edit("k1", user="ann", moderator=False, content="new", metadata=None, now=now())
    post(ledger, "gone", "k4")
    ledger.history.delete("k2", user="ann", moderator=False, now=now())
    ledger.history.delete("k4", user="ann", moderator=False, now=now())
    post(ledger, "stays", "k7")
    await ledger.write()
    first = ledger.history.epoch
    await overtaken(ledger, hot, first, 2, 3)

    assert [event.message.id for event in hot.log(ledger.session)] == ["k7"]
    errors = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert errors == [
        f"room r: another server wrote to session {first}; 2 changes that only this one had are lost"
    ]


async def test_what_the_archive_has_is_not_posted_again(hot: AStore) -> None:
    """It was archived from memory meanwhile."""
    ledger = await a_session(hot)
    hot.set_healthy(False)
    post(ledger, "three", "k3")
    post(ledger, "four", "k4")
    await ledger.write()
    ledger.history.mark_synced(3)
    await overtaken(ledger, hot, ledger.history.epoch, 2, 3)

    assert [event.message.id for event in hot.log(ledger.session)] == ["k4"]


async def test_what_only_this_server_has_is_posted_in_anothers_later_session(
    hot: AStore, caplog: pytest.LogCaptureFixture
) -> None:
    """If there is one, behind what is there; an id that is somebody else's there is not given twice."""
    ledger = a_ledger(hot, backlog_limit=1, sync_after_events=1)
    await ledger.open()
    for number in range(1, 9):
        post(ledger, str(number), f"k{number}")
    await ledger.write()
    assert not ledger.history.complete  # else the archive gets it
    hot.set_healthy(False)
    post(ledger, "nine", "k9")
    post(ledger, "ten", "other1")
    await ledger.write()
    later = new_epoch(now(), ledger.history.epoch)
    epoch = await overtaken(ledger, hot, later, 0, 1)

    assert epoch == later
    assert [event.message.id for event in hot.log(ledger.session)] == ["other1", "k9"]
    assert "1 changes that only this one had are lost" in caplog.text


async def test_what_waits_stays_while_the_session_cannot_be_loaded(hot: AStore) -> None:
    """A store that goes away again between finding out and opening takes nothing along."""
    ledger = await a_session(hot)
    hot.set_healthy(False)
    post(ledger, "three", "k3")
    await ledger.write()
    hot.set_healthy(True)
    await append_elsewhere(hot, ledger.history.epoch, 2, 3)
    with pytest.raises(Overtaken):
        await ledger.write()
    hot.failing["load", "before"] = Unavailable("gone again")
    await ledger.open()
    assert (ledger.degraded, ledger.backlog) == (True, 1)
    with pytest.raises(Overtaken):
        await ledger.write()
    await ledger.open()
    await ledger.write()

    assert [event.message.id for event in hot.log(ledger.session)] == ["k3"]


async def test_what_waits_stays_while_opening_is_cancelled(hot: AStore, autojump_clock: MockClock) -> None:
    """The next session has begun by then, and the archive is being asked what it must come behind."""
    archive = MemoryArchive()
    archive.set_healthy(False)
    ledger = a_ledger(hot, archive)
    await ledger.open()
    post(ledger, "one", "k1")
    await ledger.write()
    hot.set_healthy(False)
    post(ledger, "two", "k2")
    await ledger.write()
    hot.set_healthy(True)
    await append_elsewhere(hot, ledger.history.epoch, 1, 2)
    with pytest.raises(Overtaken):
        await ledger.write()
    archive.set_healthy(True)
    slow = Asked(archive, 0.5)
    with trio.move_on_after(0.1):
        await ledger.open()
    await ledger.open()
    await ledger.write()

    assert slow.times == 2
    assert [event.message.id for event in hot.log(ledger.session)] == ["k2"]


async def test_what_nobody_was_told_is_not_posted_again(hot: AStore) -> None:
    """Its sender hears that the outcome is unknown, and sends it again if they want to."""
    ledger = await a_session(hot)
    await append_elsewhere(hot, ledger.history.epoch, 2, 3)
    post(ledger, "three", "k3")
    with pytest.raises(Overtaken):
        await ledger.write()
    await ledger.open()
    await ledger.write()

    assert [event.message.id for event in hot.log(ledger.session)] == ["k1", "k2", "other3"]


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
