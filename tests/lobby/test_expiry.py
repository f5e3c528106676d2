"""When a session has expired or is synced: what the archive has, what the hot store keeps."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import trio
from trio.testing import wait_all_tasks_blocked

from tests.rooms import NOON, heard
from trio_chat.mail import Expired
from trio_chat.message import Message, Posted
from trio_chat.stores.base import Append, Session

if TYPE_CHECKING:
    from trio.testing import MockClock


from .house import EXPIRY, INTERVAL, Stores


async def test_expiry_archives(stores: Stores, autojump_clock: MockClock) -> None:
    """When a session has expired the archive has it with its end, and the members know."""
    async with stores.lobby() as lobby, lobby.join("r", user="ann") as ann:
        accepted = await ann.post("hi")
        heard(ann)
        await trio.sleep(EXPIRY + 1)
        kept = stores.archive.sessions[Session("r", accepted.epoch)]

        assert (kept.top, kept.ended) == (1, NOON + timedelta(seconds=EXPIRY))
        assert heard(ann) == [Expired(accepted.epoch)]
        assert stores.hot.sessions() == {}


async def test_expiry_while_the_archive_is_away(stores: Stores, autojump_clock: MockClock) -> None:
    """A session that ends while the archive is away stays in the hot store, and is archived when that is back."""
    async with stores.lobby() as lobby:
        stores.archive.set_healthy(False)
        async with lobby.join("r", user="ann") as ann:
            accepted = await ann.post("hi")
        await trio.sleep(EXPIRY + 10)
        session = Session("r", accepted.epoch)
        assert lobby.rooms == {}
        assert stores.hot.sessions() == {session: (1, 0)}
        stores.archive.set_healthy(True)
        await trio.sleep(10)

        assert stores.archived() == ["hi"]
        assert stores.archive.sessions[session].ended == NOON + timedelta(seconds=EXPIRY)
        assert stores.hot.sessions() == {}


async def test_expiry_while_the_hot_store_is_away(stores: Stores, autojump_clock: MockClock) -> None:
    """A session that ends while the hot store is away is archived from memory."""
    async with stores.lobby(session_expiry_seconds=30) as lobby, lobby.join("r", user="ann") as ann:
        await ann.post("one")
        stores.hot.set_healthy(False)
        await ann.post("two")
        await trio.sleep(35)

        assert stores.archived() == ["one", "two"]
        assert isinstance(heard(ann)[-1], Expired)


async def test_session_that_ended_while_the_hot_store_was_away(
    stores: Stores, autojump_clock: MockClock
) -> None:
    """A session that could not be ended in the hot store does not come back to life there."""
    async with stores.lobby(session_expiry_seconds=30) as lobby, lobby.join("r", user="ann") as ann:
        old = await ann.post("one")
        stores.hot.set_healthy(False)
        await trio.sleep(40)
        stores.hot.set_healthy(True)
        await trio.sleep(5)
        new = await ann.post("two")
        await lobby.syncer.sync_all()

        assert (new.epoch > old.epoch, new.seq, new.durability) == (True, 1, "redis")
        assert stores.archived() == ["one", "two"]
        assert list(stores.hot.sessions()) == [Session("r", new.epoch)]


async def test_expiry_while_both_are_away(stores: Stores, autojump_clock: MockClock) -> None:
    """What nobody else has keeps a session alive; nothing is lost, and it ends when there is a place."""
    async with stores.lobby(session_expiry_seconds=30) as lobby:
        async with lobby.join("r", user="ann") as ann:
            await ann.post("one")
            stores.both(healthy=False)
            await ann.post("two")
        await trio.sleep(100)
        assert list(lobby.rooms) == ["r"]
        assert lobby.unsaved() == {"r": 1}
        stores.both(healthy=True)
        await trio.sleep(10)

        assert stores.archived() == ["one", "two"]
        assert (lobby.rooms, stores.hot.sessions()) == ({}, {})


async def test_archive_is_away_for_long(stores: Stores, autojump_clock: MockClock) -> None:
    """Rooms retire and begin anew meanwhile; everything is archived, in order, ten seconds after the archive is back."""
    async with stores.lobby(session_expiry_seconds=30) as lobby:
        stores.archive.set_healthy(False)
        for number in range(12):
            async with lobby.join("r", user="ann") as ann:
                assert (await ann.post(str(number))).durability == "redis"
            await trio.sleep(31)
            assert lobby.rooms == {}
        stores.archive.set_healthy(True)
        await trio.sleep(10)

        assert stores.archived() == [str(number) for number in range(12)]
        assert stores.hot.sessions() == {}


async def test_sync_tells_the_room(stores: Stores, autojump_clock: MockClock) -> None:
    """After a round a room knows what the archive has, and says so in its acks."""
    async with stores.lobby() as lobby, lobby.join("r", user="ann") as ann:
        await ann.post("hi", key="k")
        await trio.sleep(INTERVAL + 1)

        assert lobby.rooms["r"].statistics().synced == 1
        assert (await ann.post("hi", key="k")).durability == "archive"


async def test_busy_room_is_archived_sooner(stores: Stores, autojump_clock: MockClock) -> None:
    """A room that runs 500 events ahead does not wait for the interval."""
    async with stores.lobby() as lobby, lobby.join("r", user="ann") as ann:
        await trio.sleep(1)
        for _ in range(499):
            await ann.post("hi")
        await wait_all_tasks_blocked()
        assert stores.archived() == []
        await ann.post("hi")
        await wait_all_tasks_blocked()

        assert len(stores.archived()) == 500


async def test_start_archives_what_a_killed_process_left(stores: Stores) -> None:
    """Dirty sessions are found and archived at the start, though nobody comes to their rooms."""
    message = Message(
        id="m", role="user", content="left", timestamp=NOON, metadata={}, user_id="ann", seq=1, rev=1
    )
    session = Session("r", "019ca8f8-6c00-7abc-8def-0123456789ab")
    await stores.hot.append(Append(session, 0, 1, 1, 0, (Posted(message),)))
    async with stores.lobby() as lobby:
        await wait_all_tasks_blocked()

        assert stores.archived() == ["left"]
        assert lobby.rooms == {}


async def test_store_that_restarted_without_its_newest_events(stores: Stores) -> None:
    """If process and store both restart and events may be lost, the session is not continued, and clients are told."""
    async with stores.lobby() as lobby, lobby.join("r", user="ann") as ann:
        await ann.post("archived")
    async with stores.lobby() as lobby, lobby.join("r", user="ann") as ann:
        stores.archive.set_healthy(False)
        position = ann.position
        await ann.post("lost")
    stores.archive.set_healthy(True)
    stores.hot.lose_tail("r", 1)
    async with stores.lobby() as lobby, lobby.join("r", user="ann", resume=position) as ann:
        accepted = await ann.post("new")
        found = await lobby.history("r")

        assert (ann.joined.recovered, ann.messages) == (False, ())
        assert (accepted.epoch > position.epoch, accepted.seq) == (True, 1)
        assert [one.message.content for one in found.messages] == ["archived", "new"]
