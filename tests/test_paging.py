"""Reading a room backwards, across the seam between the window, what waits for the archive, and the archive."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.rooms import NOON, now
from trio_chat.errors import Unavailable
from trio_chat.lobby import Lobby, open_lobby
from trio_chat.mail import View
from trio_chat.message import Deleted, Edited, Event, Message, Position, Posted
from trio_chat.paging import MAX_PAGE, Page, read_page
from trio_chat.settings import Settings
from trio_chat.stores.base import Append, Archived, Batch, Session
from trio_chat.stores.memory import MemoryArchive, MemoryHotStore

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from trio.testing import MockClock

OLD, NEW = "019ca8f8-0000-7000-8000-000000000000", "019ca8f8-0001-7000-8000-000000000000"


def a_message(seq: int, rev: int | None = None, content: str = "") -> Message:
    """Make the message of a seq; its id is m and the seq."""
    return Message(
        id=f"m{seq}",
        role="user",
        content=content or f"text {seq}",
        timestamp=NOON,
        metadata={},
        user_id="ann",
        seq=seq,
        rev=rev or seq,
    )


def a_view(*seqs: int, waiting: tuple[Event, ...] = (), complete: bool = True, top: int = 0) -> View:
    """Make a view of a window with these messages."""
    messages = tuple(a_message(seq) for seq in seqs)
    return View(NEW, max([top, *seqs]), messages, waiting, complete)


async def an_archive(*seqs: int, epoch: str = NEW, archive: MemoryArchive | None = None) -> MemoryArchive:
    """Make an archive with these messages of a session."""
    archive = archive or MemoryArchive()
    events = tuple(Posted(a_message(seq)) for seq in seqs)
    await archive.write([Batch(Session("r", epoch), max(seqs), events)])
    return archive


async def page(
    view: View,
    archive: MemoryArchive,
    before: Position | None = None,
    limit: int = 3,
    hot: MemoryHotStore | None = None,
) -> Page:
    """Read a page."""
    return await read_page("r", view, before, limit, hot=hot or MemoryHotStore(), archive=archive)


def seqs(found: Page) -> list[int]:
    """Return the seqs of a page's messages."""
    return [one.message.seq for one in found.messages]


# --- within the window


async def test_page_of_the_window() -> None:
    """A page that the window can fill comes from there, and says that there is more."""
    found = await page(a_view(1, 2, 3, 4), MemoryArchive())

    assert (seqs(found), found.source, found.more) == ([2, 3, 4], "window", True)
    assert found.before == Position(NEW, 2)


async def test_page_of_the_window_needs_no_archive() -> None:
    """Nobody waits for an archive that is not needed."""
    archive = MemoryArchive()
    archive.set_healthy(False)

    assert seqs(await page(a_view(1, 2, 3, 4), archive)) == [2, 3, 4]


async def test_page_below_a_position_of_the_window() -> None:
    """The position itself is excluded."""
    found = await page(a_view(1, 2, 3, 4, 5), MemoryArchive(), Position(NEW, 5))

    assert seqs(found) == [2, 3, 4]


async def test_short_room() -> None:
    """A room with less than a page says that there is no more."""
    found = await page(a_view(1, 2), MemoryArchive())

    assert (seqs(found), found.source, found.more, found.before) == ([1, 2], "window", False, None)


async def test_empty_room() -> None:
    """A room without messages is a page without messages."""
    found = await page(a_view(), MemoryArchive())

    assert (found.messages, found.more, found.before) == ((), False, None)


async def test_page_bears_epochs() -> None:
    """Each message comes with the epoch of its session."""
    found = await page(a_view(1), await an_archive(5, epoch=OLD))

    assert [(one.epoch, one.message.seq) for one in found.messages] == [(OLD, 5), (NEW, 1)]


@pytest.mark.parametrize(
    ("asked", "given"), [(0, 1), (-5, 1), (1, 1), (MAX_PAGE, MAX_PAGE), (9999, MAX_PAGE)]
)
async def test_limits_of_the_limit(asked: int, given: int) -> None:
    """A page has between one and 200 messages."""
    found = await page(a_view(*range(1, 301)), MemoryArchive(), limit=asked)

    assert len(found.messages) == given


# --- across the seam


async def test_page_across_the_seam() -> None:
    """A page that begins in the window goes on in the archive."""
    found = await page(a_view(4, 5), await an_archive(1, 2, 3))

    assert (seqs(found), found.source, found.more) == ([3, 4, 5], "window+archive", True)
    assert found.before == Position(NEW, 3)


async def test_page_of_the_archive() -> None:
    """Below the window everything comes from the archive."""
    found = await page(a_view(5, 6), await an_archive(1, 2, 3, 4), Position(NEW, 5))

    assert (seqs(found), found.source, found.more) == ([2, 3, 4], "archive", True)


async def test_window_is_not_repeated() -> None:
    """What the window has and the archive too comes once, as the window has it."""
    archive = await an_archive(1, 2, 3)
    await archive.write([Batch(Session("r", NEW), 3, (Edited(a_message(3, 9, "stale"), NOON),))])
    found = await page(a_view(2, 3), archive, limit=10)

    assert [one.message.content for one in found.messages] == ["text 1", "text 2", "text 3"]


async def test_exactly_one_page_is_left() -> None:
    """The last page says that it is the last, though it is full."""
    found = await page(a_view(4), await an_archive(1, 2, 3), Position(NEW, 4))

    assert (seqs(found), found.more, found.before) == ([1, 2, 3], False, None)


async def test_window_is_exactly_one_page() -> None:
    """Whether there is more behind a window that is just full the archive tells."""
    assert (await page(a_view(1, 2, 3), MemoryArchive())).more is False
    assert (await page(a_view(2, 3, 4), await an_archive(1))).more is True


async def test_position_of_another_session() -> None:
    """A position of an older session reads on from there."""
    found = await page(a_view(1), await an_archive(1, 2, 3, epoch=OLD), Position(OLD, 3))

    assert [(one.epoch, one.message.seq) for one in found.messages] == [(OLD, 1), (OLD, 2)]


async def test_position_above_everything() -> None:
    """A position nobody has reached is as good as none."""
    view = a_view(1, 2)

    assert await page(view, MemoryArchive(), Position(NEW, 999)) == await page(view, MemoryArchive())


async def test_archive_is_away() -> None:
    """A page that reaches into an archive that is away is temporarily refused."""
    archive = MemoryArchive()
    archive.set_healthy(False)

    with pytest.raises(Unavailable):
        await page(a_view(1), archive)


# --- what waits for the archive


async def test_message_that_left_and_is_not_archived() -> None:
    """A message between window and archive is not lost from sight."""
    waiting = (Posted(a_message(2)), Posted(a_message(3)), Posted(a_message(4)), Posted(a_message(5)))
    found = await page(a_view(4, 5, waiting=waiting), await an_archive(1), limit=10)

    assert seqs(found) == [1, 2, 3, 4, 5]


async def test_edit_that_is_not_archived() -> None:
    """The newest state of a message counts, though the archive has an older one."""
    waiting = (Edited(a_message(2, 7, "new"), NOON),)
    found = await page(a_view(5, waiting=waiting, top=7), await an_archive(1, 2, 3, 4), limit=10)

    assert [one.message.content for one in found.messages] == ["text 1", "new", "text 3", "text 4", "text 5"]


async def test_deletion_that_is_not_archived() -> None:
    """A deleted message is not shown, though the archive still has it."""
    waiting = (Deleted(a_message(2, 7), NOON),)
    found = await page(a_view(5, waiting=waiting, top=7), await an_archive(1, 2, 3, 4), limit=10)

    assert seqs(found) == [1, 3, 4, 5]


async def test_page_behind_deletions_that_are_not_archived() -> None:
    """Deleted messages do not make a page short: there is more behind them."""
    waiting = tuple(Deleted(a_message(seq, seq + 10), NOON) for seq in (5, 6, 7, 8))
    found = await page(a_view(9, waiting=waiting, top=18), await an_archive(*range(1, 9)))

    assert (seqs(found), found.more) == ([3, 4, 9], True)


async def test_page_of_an_emptied_window() -> None:
    """A window in which everything was deleted shows what is behind it."""
    waiting = tuple(Deleted(a_message(seq, seq + 10), NOON) for seq in (3, 4))
    archive = await an_archive(1, 2, epoch=OLD)
    found = await page(a_view(waiting=waiting, top=14), await an_archive(3, 4, archive=archive), limit=1)

    assert ([(one.epoch, one.message.seq) for one in found.messages], found.more) == ([(OLD, 2)], True)


async def test_pages_have_no_hole_where_edits_and_deletions_wait() -> None:
    """An old message that was edited does not jump over those between it and the page."""
    waiting: tuple[Event, ...] = (
        Edited(a_message(2, 20, "new"), NOON),
        *(Deleted(a_message(s, s + 20), NOON) for s in (9, 10)),
    )
    found = await page(a_view(11, 12, waiting=waiting, top=30), await an_archive(*range(1, 11)), limit=4)

    assert (seqs(found), found.more) == ([7, 8, 11, 12], True)


async def test_what_memory_let_go_is_read_from_the_hot_store() -> None:
    """A room that does not hold everything itself is completed from the hot store."""
    hot = MemoryHotStore()
    events = tuple(Posted(a_message(seq)) for seq in range(1, 6))
    await hot.append(Append(Session("r", NEW), 0, 5, 4, 3, events))
    view = a_view(4, 5, waiting=events[2:], complete=False)

    assert seqs(await page(view, MemoryArchive(), limit=10, hot=hot)) == [1, 2, 3, 4, 5]


async def test_what_is_archived_meanwhile_is_not_missed() -> None:
    """A message that wanders from the hot store to the archive while a page is read is in the page."""
    hot, archive = MemoryHotStore(), MemoryArchive()
    session = Session("r", NEW)
    events = tuple(Posted(a_message(seq)) for seq in range(1, 6))
    await hot.append(Append(session, 0, 5, 4, 3, events))

    async def sync(call: str, moment: str) -> None:
        if call == "page" and moment == "after":
            archive.interfere = None
            await archive.write([Batch(session, 5, events)])
            await hot.mark_synced([(session, 5)])

    archive.interfere = sync
    view = a_view(4, 5, waiting=events[2:], complete=False)

    assert seqs(await page(view, archive, limit=10, hot=hot)) == [1, 2, 3, 4, 5]


async def test_hot_store_that_lost_the_session_meanwhile() -> None:
    """A session the hot store does not know adds nothing."""
    view = a_view(4, 5, complete=False)

    assert seqs(await page(view, await an_archive(1, 2, 3), limit=10)) == [1, 2, 3, 4, 5]


async def test_hot_store_is_away() -> None:
    """If what is only there cannot be read, no page pretends that it is not there."""
    hot = MemoryHotStore()
    hot.set_healthy(False)

    with pytest.raises(Unavailable):
        await page(a_view(4, 5, complete=False), MemoryArchive(), limit=10, hot=hot)


# --- a whole room


@asynccontextmanager
async def a_lobby(archive: MemoryArchive, **settings: Any) -> AsyncGenerator[Lobby, None]:
    """Open a lobby with a small window."""
    chosen = Settings(**{"max_messages_per_session": 4, **settings})
    async with open_lobby(hot=MemoryHotStore(), archive=archive, settings=chosen, now=now) as lobby:
        yield lobby


async def read_all(lobby: Lobby, limit: int) -> list[Archived]:
    """Read a room backwards, page by page."""
    found: list[Archived] = []
    more, before = True, None
    while more:
        one = await lobby.history("r", before, limit)
        found[:0] = one.messages
        more, before = one.more, one.before
    return found


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 50])
@pytest.mark.parametrize("synced", [False, True])
async def test_every_message_comes_once_whatever_the_page(
    autojump_clock: MockClock, limit: int, synced: bool
) -> None:
    """Page after page shows every undeleted message of all sessions once, in order, as it reads now."""
    async with a_lobby(MemoryArchive()) as lobby, lobby.join("r", user="ann") as ann:
        for name in ("a", "b", "c"):
            await ann.post(name, key=name)
        await ann.delete("b")
        await trio.sleep(1201)
        for name in ("d", "e", "f", "g"):
            await ann.post(name, key=name)
        await ann.edit("d", "d2")
        await ann.delete("e")
        if synced:
            await lobby.syncer.sync_all()
        for name in ("h", "i", "j", "k"):
            await ann.post(name, key=name)
        await ann.delete("h")
        await ann.edit("j", "j2")
        found = await read_all(lobby, limit)

    assert [one.message.content for one in found] == ["a", "c", "d2", "f", "g", "i", "j2", "k"]


async def test_reading_an_unheard_of_room() -> None:
    """A room nobody was ever in is an empty page."""
    async with a_lobby(MemoryArchive()) as lobby:
        found = await lobby.history("nobody")

    assert (found.messages, found.more) == ((), False)


async def test_rooms_do_not_mix() -> None:
    """A page has the messages of its room only."""
    async with a_lobby(MemoryArchive()) as lobby:
        for room in ("r", "r2", "r/2"):
            async with lobby.join(room, user="ann") as seat:
                await seat.post(room)
        await lobby.syncer.sync_all()
        found = await lobby.history("r")

    assert [one.message.content for one in found.messages] == ["r"]


async def test_history_while_degraded(autojump_clock: MockClock) -> None:
    """With the hot store away a page still has everything that was said."""
    archive = MemoryArchive()
    hot = MemoryHotStore()
    async with open_lobby(hot=hot, archive=archive, settings=Settings(max_messages_per_session=2)) as lobby:
        async with lobby.join("r", user="ann") as ann:
            await ann.post("1")
            hot.set_healthy(False)
            for number in range(2, 6):
                await ann.post(str(number))
            found = await lobby.history("r")

            assert [one.message.content for one in found.messages] == ["1", "2", "3", "4", "5"]
