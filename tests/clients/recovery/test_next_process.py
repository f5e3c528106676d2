"""Coming back to the process that follows, by what the last one noted in the hot store."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_chat.clients.recovery import Recovery
from trio_chat.stores.memory import MemoryHotStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio.testing import MockClock


from .house import SECONDS, Server, block, calls


@pytest.mark.parametrize("away", [True, False])
async def test_the_next_server_knows_the_client(
    autojump_clock: MockClock, start: Callable[[], Server], away: bool
) -> None:
    """Whether or not the one before learned that the client was gone."""
    server = start()
    recovery = server.begin()
    if away:
        server.recoveries.note_away(recovery)
    await wait_all_tasks_blocked()
    server.kill()

    second = start()

    assert await second.finds(recovery)
    assert not await second.finds(recovery, "bob")


async def test_the_newest_rooms_are_noted(autojump_clock: MockClock, start: Callable[[], Server]) -> None:
    """Joining and leaving replaces the note."""
    server = start()
    recovery = server.begin()
    await wait_all_tasks_blocked()
    server.recoveries.note_rooms(recovery, frozenset({"t"}))
    await wait_all_tasks_blocked()
    server.kill()

    assert await start().finds(recovery)


async def test_a_note_is_renewed_as_long_as_the_client_is_here(
    autojump_clock: MockClock, start: Callable[[], Server]
) -> None:
    """A server may be killed at any time of a long visit: there is a whole session's time to come back."""
    server = start()
    recovery = server.begin()
    for _ in range(13):
        await trio.sleep(SECONDS / 7)
    server.kill()
    await trio.sleep(SECONDS - 1)

    assert await start().finds(recovery)


async def test_the_next_server_forgets_the_client_in_time_too(
    autojump_clock: MockClock, start: Callable[[], Server]
) -> None:
    """From the moment it has heard of it; and what it has put back stays its own."""
    server = start()
    recovery = server.begin()
    await wait_all_tasks_blocked()
    server.kill()
    second = start()
    assert await second.finds(recovery)

    await trio.sleep(SECONDS + 1)

    assert not await second.finds(recovery)


async def test_who_asks_twice_at_once_gets_the_same(
    autojump_clock: MockClock, start: Callable[[], Server], hot: MemoryHotStore
) -> None:
    """Two connections of one client cannot both be the client."""
    server = start()
    recovery = server.begin()
    await wait_all_tasks_blocked()
    server.kill()
    second = start()
    gate = block(hot, "kept")
    found: list[Recovery | None] = []

    async def find() -> None:
        found.append(await second.recoveries.find(recovery.pid, "ada"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(find)
        await wait_all_tasks_blocked()
        await find()
        gate.set()

    assert found[0] is not None
    assert found[0] is found[1]


async def test_a_client_is_noted_at_once(
    autojump_clock: MockClock, server: Server, hot: MemoryHotStore
) -> None:
    """A server may be killed the moment after somebody has joined."""
    await wait_all_tasks_blocked()
    now = trio.current_time()
    recovery = server.begin()
    await wait_all_tasks_blocked()

    assert await hot.kept(recovery.pid) is not None
    assert trio.current_time() == now


async def test_who_comes_while_a_note_is_written_shares_the_next(
    autojump_clock: MockClock, server: Server, hot: MemoryHotStore
) -> None:
    """Many come at once after a restart: they take two round trips, not one each."""
    gate, names = block(hot, "keep"), calls(hot)
    first = server.begin()
    await wait_all_tasks_blocked()
    crowd = [server.begin() for _ in range(100)]
    await wait_all_tasks_blocked()
    assert names == ["keep"]

    gate.set()
    await wait_all_tasks_blocked()

    assert names == ["keep"] * 2
    assert None not in [await hot.kept(one.pid) for one in (first, *crowd)]


@pytest.mark.parametrize("note", [b"", b"{}", b"[]", b"\xff", b'{"user":1,"rooms":[]}', b'{"user":"ada"}'])
async def test_a_note_that_is_none_of_ours_is_nobody(
    autojump_clock: MockClock,
    server: Server,
    hot: MemoryHotStore,
    note: bytes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Another version's, perhaps. The client joins anew."""
    await hot.keep({"somebody": (note, 100)})

    assert await server.recoveries.find("somebody", "ada") is None
    assert "could not be looked up" in caplog.text


async def test_while_the_store_is_away_its_own_clients_come_back(
    autojump_clock: MockClock, server: Server, hot: MemoryHotStore
) -> None:
    """Nobody waits for a note."""
    hot.set_healthy(False)
    recovery = server.begin()
    server.recoveries.note_away(recovery)
    now = trio.current_time()

    assert await server.finds(recovery)
    assert trio.current_time() == now


async def test_what_could_not_be_noted_is_noted_later(
    autojump_clock: MockClock,
    start: Callable[[], Server],
    hot: MemoryHotStore,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Notes and ends alike, and the log has one line of it."""
    server = start()
    gone = server.begin()
    await wait_all_tasks_blocked()
    caplog.set_level(logging.WARNING)
    hot.set_healthy(False)
    recovery = server.begin()
    server.recoveries.end(gone)
    await trio.sleep(60)
    assert server.recoveries.statistics().unwritten == 2
    hot.set_healthy(True)

    await trio.sleep(2)
    server.kill()

    assert len(caplog.records) == 1
    second = start()
    assert await second.finds(recovery)
    assert not await second.finds(gone)


async def test_who_ends_while_the_store_is_away_is_never_noted(
    autojump_clock: MockClock, server: Server, hot: MemoryHotStore
) -> None:
    """What failed to be written is not written after the end."""
    hot.set_healthy(False)
    recovery = server.begin()
    await wait_all_tasks_blocked()
    server.recoveries.end(recovery)
    names = calls(hot)
    hot.set_healthy(True)

    await trio.sleep(2)

    assert "keep" not in names
    assert await hot.kept(recovery.pid) is None


async def test_rooms_that_change_while_a_note_fails_are_not_overwritten(
    autojump_clock: MockClock, start: Callable[[], Server], hot: MemoryHotStore
) -> None:
    """The newest rooms are what is noted in the end."""
    server = start()
    gate = block(hot, "keep")
    recovery = server.begin()
    await wait_all_tasks_blocked()
    server.recoveries.note_rooms(recovery, frozenset({"t"}))
    hot.set_healthy(False)
    gate.set()
    await wait_all_tasks_blocked()
    hot.set_healthy(True)
    await trio.sleep(2)
    server.kill()

    assert await start().finds(recovery)


async def test_a_store_that_hangs_knows_nothing_after_a_second(
    autojump_clock: MockClock, server: Server, hot: MemoryHotStore
) -> None:
    """The client joins anew rather than wait."""
    block(hot, "kept")
    now = trio.current_time()

    assert await server.recoveries.find("somebody", "ada") is None
    assert trio.current_time() == now + 1


async def test_a_store_that_is_away_knows_nothing_at_once(
    autojump_clock: MockClock, server: Server, hot: MemoryHotStore, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says so."""
    hot.set_healthy(False)
    now = trio.current_time()

    assert await server.recoveries.find("somebody", "ada") is None
    assert trio.current_time() == now
    assert "could not be looked up" in caplog.text


async def test_writing_may_be_cut_short(
    autojump_clock: MockClock, server: Server, hot: MemoryHotStore
) -> None:
    """What was not written is still to be written."""
    server.kill()
    block(hot, "keep")
    server.begin()

    with trio.move_on_after(1):
        await server.recoveries.write()

    assert server.recoveries.statistics().unwritten == 1
    assert await server.recoveries.write()
    assert server.recoveries.statistics().unwritten == 0


async def test_the_last_write_says_whether_it_worked(
    autojump_clock: MockClock, server: Server, hot: MemoryHotStore
) -> None:
    """A server that stops tries once."""
    server.kill()
    server.begin()
    hot.set_healthy(False)

    assert not await server.recoveries.write()
