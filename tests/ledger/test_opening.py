"""What a ledger begins with: the stored session, another one, and the read marks there are."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
import trio
from typing_extensions import override

from tests.rooms import NOON
from trio_chat.errors import Misconfigured, Unavailable
from trio_chat.message import Receipt, new_epoch
from trio_chat.stores.base import Batch, Session, Stored
from trio_chat.stores.memory import MemoryArchive

if TYPE_CHECKING:
    from trio.testing import MockClock

    from trio_chat.stores.memory import Moment

from .house import Asked, AStore, a_ledger, a_session, post, read, stored


async def an_archive(**receipts: Receipt) -> MemoryArchive:
    """Make an archive with the read marks of a session before."""
    archive = MemoryArchive()
    await archive.write([Batch(Session("r", new_epoch(NOON)), 1, (), receipts=receipts)])
    return archive


async def test_open_of_a_new_room_writes_nothing(hot: AStore) -> None:
    """A session that has no event yet is nobody's business."""
    ledger = a_ledger(hot)
    await ledger.open()
    await ledger.write()

    assert hot.calls == ["load"]
    assert (ledger.history.top, ledger.degraded) == (0, False)


async def test_open_goes_on_with_the_stored_session(hot: AStore) -> None:
    """Whoever opens a room next finds it as it was left."""
    left = await a_session(hot)
    ledger = a_ledger(hot)
    await ledger.open()

    assert ledger.session == left.session
    assert ledger.history.snapshot() == left.history.snapshot()
    assert ledger.backlog == 0


async def test_open_restores_keys(hot: AStore) -> None:
    """A retry after a restart is a duplicate."""
    await a_session(hot)
    ledger = a_ledger(hot)
    await ledger.open()

    assert post(ledger, key="k1").event is None


async def test_open_restores_receipts(hot: AStore) -> None:
    """Read marks outlive the process."""
    left = await a_session(hot)
    left.mark_read("bob", Receipt("k1", NOON))
    await left.write()
    ledger = a_ledger(hot)
    await ledger.open()

    assert ledger.receipts == {"bob": Receipt("k1", NOON)}


async def test_open_finds_read_marks_in_the_archive(hot: AStore) -> None:
    """A room of which the hot store has no session begins with the read marks of those before, and writes nothing."""
    ledger = a_ledger(hot, await an_archive(bob=read()))
    await ledger.open()
    await ledger.write()

    assert ledger.receipts == {"bob": read()}
    assert hot.appended == []


async def test_read_marks_of_earlier_sessions_are_written_with_the_first_event(hot: AStore) -> None:
    """So the next process finds them, though the archive lacks none of them."""
    ledger = a_ledger(hot, await an_archive(bob=read(), eve=read()))
    await ledger.open()
    post(ledger, key="k1")
    ledger.mark_read("eve", read("k1", 60))
    await ledger.write()
    post(ledger)
    await ledger.write()

    first, second = hot.appended
    assert (first.carried, first.receipts) == ({"bob": read()}, {"eve": read("k1", 60)})
    assert (second.carried, second.receipts) == ({}, {})
    assert hot.pending(ledger.session) == {"eve": read("k1", 60)}
    assert (await stored(hot)).receipts == {"bob": read(), "eve": read("k1", 60)}


async def test_open_of_a_stored_session_does_not_ask_for_read_marks(hot: AStore) -> None:
    """The hot store has all of them."""
    left = await a_session(hot)
    left.mark_read("bob", read("k2", 1))
    await left.write()
    archive = await an_archive(eve=read())
    asked = Asked(archive)
    ledger = a_ledger(hot, archive)
    await ledger.open()

    assert ledger.receipts == {"bob": read("k2", 1)}
    assert asked.times == 0


@pytest.mark.parametrize("why", ["expired", "distrusted"])
async def test_read_marks_of_a_session_that_is_not_continued(
    hot: AStore, why: str, autojump_clock: MockClock
) -> None:
    """The newest count, whether the store has them or the archive; those the archive lacks stay with their session."""
    left = await a_session(hot)
    left.mark_read("bob", read("k2", 5))
    left.mark_read("ann", read("k1", 1))
    await left.write()
    await trio.sleep(1200 if why == "expired" else 0)
    if why == "distrusted":
        hot.distrust()
    ledger = a_ledger(hot, await an_archive(bob=read("k1", 1), ann=read("k2", 5), eve=read()))
    await ledger.open()
    post(ledger)
    await ledger.write()

    marks = {"bob": read("k2", 5), "ann": read("k2", 5), "eve": read()}
    assert (ledger.receipts, (await stored(hot)).receipts) == (marks, marks)
    assert set(hot.pending(left.session)) == {"bob", "ann"}
    assert hot.pending(ledger.session) == {}


async def test_archive_that_is_slow_is_not_waited_for(hot: AStore, autojump_clock: MockClock) -> None:
    """A room begins within a second, without the read marks, and asks again when it is opened again."""
    archive = await an_archive(bob=read())
    asked = Asked(archive, seconds=5)
    ledger = a_ledger(hot, archive)
    await ledger.open()
    assert (trio.current_time(), ledger.receipts) == (1, {})

    asked.seconds = 0
    for _ in range(3):
        await ledger.open()
    assert ledger.receipts == {"bob": read()}
    assert asked.times == 2


async def test_archive_that_is_away_is_not_asked_for_read_marks(hot: AStore) -> None:
    """Nobody waits for an archive that is down, and one that fails fails nothing."""
    archive = await an_archive(bob=read())
    asked = Asked(archive)
    archive.set_healthy(False)
    ledger = a_ledger(hot, archive)
    await ledger.open()
    assert asked.times == 0

    archive.set_healthy(True)
    archive.interfere = fail_to_tell
    await ledger.open()
    assert (ledger.receipts, ledger.degraded) == ({}, False)


async def fail_to_tell(call: str, moment: Moment) -> None:
    raise Unavailable("gone")


async def test_room_that_begins_degraded_has_read_marks(hot: AStore) -> None:
    """The archive may have them while the hot store is away; they are written when it is back."""
    hot.set_healthy(False)
    ledger = a_ledger(hot, await an_archive(bob=read()))
    await ledger.open()
    post(ledger)
    await ledger.write()
    assert (ledger.degraded, ledger.receipts) == (True, {"bob": read()})

    hot.set_healthy(True)
    await ledger.write()
    assert (await stored(hot)).receipts == {"bob": read()}
    assert hot.pending(ledger.session) == {}


async def test_open_of_a_session_nobody_can_vouch_for(hot: AStore) -> None:
    """A session whose tail may be lost ends: a new epoch begins behind it, and the old events stay to be archived."""
    left = await a_session(hot)
    hot.distrust()
    ledger = a_ledger(hot)
    await ledger.open()

    assert ledger.history.epoch > left.history.epoch
    assert ledger.history.top == 0
    assert await hot.load("r") is None
    assert await hot.dirty() == [left.session]


async def test_open_of_a_session_that_expired_meanwhile(hot: AStore, autojump_clock: MockClock) -> None:
    """A session nobody touched for its time is over, though nobody was there to end it."""
    left = await a_session(hot)
    await trio.sleep(1200)
    ledger = a_ledger(hot)
    await ledger.open()

    assert ledger.history.epoch > left.history.epoch
    assert await hot.load("r") is None


async def test_open_of_a_session_about_to_expire(hot: AStore, autojump_clock: MockClock) -> None:
    """A second before its time it goes on."""
    left = await a_session(hot)
    await trio.sleep(1199)
    ledger = a_ledger(hot)
    await ledger.open()

    assert ledger.session == left.session


async def test_open_with_a_smaller_window(hot: AStore) -> None:
    """A window that was made smaller since shows the newest messages that fit."""
    await a_session(hot, 3)
    ledger = a_ledger(hot, max_messages_per_session=2)
    await ledger.open()

    assert [message.id for message in ledger.history.snapshot()] == ["k2", "k3"]


async def test_open_reports_unreadable_entries(hot: AStore, caplog: pytest.LogCaptureFixture) -> None:
    """Entries that could not be read are mentioned where an operator looks, without what is in them."""

    class Torn(AStore):
        @override
        async def load(self, room: str) -> Stored | None:
            found = await super().load(room)
            return None if found is None else Stored(
                found.epoch, found.top, found.synced, found.floor, found.first, found.trusted,
                found.events[1:], found.keys, found.receipts, unreadable=1,
            )  # fmt: skip

    torn = Torn()
    await a_session(torn)
    ledger = a_ledger(torn)
    with caplog.at_level(logging.ERROR):
        await ledger.open()

    assert [message.id for message in ledger.history.snapshot()] == ["k2"]
    assert "room r: 1 entries could not be read and were set aside" in caplog.text


@pytest.mark.parametrize("error", [Unavailable("gone"), Misconfigured("wrong password")])
async def test_open_without_the_store(hot: AStore, error: Exception) -> None:
    """A room whose store is away begins degraded, with a session of its own."""
    hot.failing["load", "before"] = error
    ledger = a_ledger(hot)
    await ledger.open()

    assert ledger.degraded
    assert ledger.promise() == "memory"
    assert post(ledger).seq == 1


async def test_opening_again_finds_the_store_back(hot: AStore) -> None:
    """A room that began degraded, and has no events yet, goes on with the stored session once it can be read."""
    left = await a_session(hot)
    hot.failing["load", "before"] = Unavailable("gone")
    ledger = a_ledger(hot)
    await ledger.open()
    await ledger.open()

    assert ledger.session == left.session
    assert not ledger.degraded
