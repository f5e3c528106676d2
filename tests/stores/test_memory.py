"""The stores in dictionaries keep the contracts, and fail when they are told to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from typing_extensions import override

from trio_chat.errors import Unavailable
from trio_chat.message import Event
from trio_chat.stores.base import Refused, Session
from trio_chat.stores.memory import MemoryArchive, MemoryHotStore

from .archive_contract import ArchiveContract, batch, posted, session
from .hot_contract.contract import HotStoreContract
from .hot_contract.house import ROOM, SESSION, post, write

if TYPE_CHECKING:
    from trio_chat.stores.base import HotStore


@pytest.fixture
def hot() -> MemoryHotStore:
    return MemoryHotStore()


@pytest.fixture
def archive() -> MemoryArchive:
    return MemoryArchive()


class TestHotContract(HotStoreContract):
    """The hot store in dictionaries keeps the contract."""

    @override
    def expires(self, hot: HotStore, session: Session) -> bool:
        assert isinstance(hot, MemoryHotStore)
        top, synced = hot.sessions()[session]
        return top <= synced and not hot.pending(session)

    @override
    def set_aside(self, hot: HotStore, room: str) -> int:
        assert isinstance(hot, MemoryHotStore)
        return sum(one.room == room for one, _, _ in hot.quarantined)


class TestArchiveContract(ArchiveContract):
    """The archive in dictionaries keeps the contract."""


async def test_store_that_is_down_refuses_every_call(hot: MemoryHotStore) -> None:
    """A store that was taken down raises until it is brought back, and has what it had."""
    await hot.append(write(post(1)))
    hot.set_healthy(False)
    with pytest.raises(Unavailable):
        await hot.load(ROOM)
    hot.set_healthy(True)

    assert await hot.load(ROOM) is not None


async def test_health_can_be_waited_for(hot: MemoryHotStore, autojump_clock: trio.testing.MockClock) -> None:
    """`wait_health` returns when the store goes away, and when it is back."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hot.wait_health, False)
        await trio.testing.wait_all_tasks_blocked()
        hot.set_healthy(False)
    with trio.fail_after(1):
        hot.set_healthy(True)
        await hot.wait_health(True)


async def test_interference_before_a_call_prevents_it() -> None:
    """What raises before a call takes effect is a refused connection."""

    async def refuse(call: str, moment: str) -> None:
        if (call, moment) == ("append", "before"):
            raise Unavailable("refused")

    hot = MemoryHotStore(interfere=refuse)
    with pytest.raises(Unavailable):
        await hot.append(write(post(1)))

    assert await hot.load(ROOM) is None


async def test_interference_after_a_call_loses_its_answer() -> None:
    """What raises after a call took effect is a lost answer."""

    async def lose(call: str, moment: str) -> None:
        if (call, moment) == ("append", "after"):
            raise Unavailable("lost")

    hot = MemoryHotStore(interfere=lose)
    with pytest.raises(Unavailable):
        await hot.append(write(post(1)))

    assert hot.sessions() == {SESSION: (1, 0)}


async def test_lost_tail_is_not_trusted(hot: MemoryHotStore) -> None:
    """A store that lost its newest entries has a lower top and cannot be trusted."""
    await hot.append(write(post(1), post(2)))
    hot.lose_tail(ROOM, 1)
    stored = await hot.load(ROOM)

    assert stored is not None
    assert (stored.top, stored.trusted, len(stored.events)) == (1, False, 1)


async def test_store_that_lost_everything_is_empty(hot: MemoryHotStore) -> None:
    """A store that lost its data knows no session."""
    await hot.append(write(post(1)))
    await hot.keep({"a": (b"1", 60.0)})
    hot.lose_everything()

    assert await hot.load(ROOM) is None
    assert await hot.dirty() == []
    assert await hot.kept("a") is None
    assert hot.log(SESSION) == ()
    assert hot.pending(SESSION) == {}


async def test_clean_session_that_nobody_touches_is_gone_in_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The safety net: a clean session goes after expiry and grace, a dirty one stays."""
    hot = MemoryHotStore(expiry=10, grace=5)
    other = Session("other", SESSION.epoch)
    await hot.append(write(post(1)))
    await hot.append(write(post(1), session=other))
    await hot.mark_synced([(SESSION, 1)])
    await trio.sleep(16)

    assert await hot.load(ROOM) is None
    assert await hot.load("other") is not None


async def test_notes_that_are_over_take_no_room(autojump_clock: trio.testing.MockClock) -> None:
    """However many are kept one after the other, those that are forgotten go with the next one."""
    hot = MemoryHotStore()
    for number in range(100):
        await hot.keep({f"n{number}": (b"1", 1.0)})
        await trio.sleep(0.5)

    assert len(hot._notes) <= 2


async def test_archive_refuses_what_it_is_told_to(archive: MemoryArchive) -> None:
    """A refused row refuses its whole batch; nothing of it is stored."""

    def bad(event: Event) -> bool:
        return event.message.content == "bad"

    archive.refuse = bad
    with pytest.raises(Refused):
        await archive.write([batch(session(), posted(1), posted(2, "bad"))])

    assert archive.rows(session()) == {}
