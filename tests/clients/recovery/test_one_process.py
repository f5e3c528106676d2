"""Coming back to the process one has left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_chat.clients.offsets import FRESH, Offset, label_of
from trio_chat.clients.recovery import Recovery, RecoveryStatistics
from trio_chat.message import Position
from trio_chat.stores.memory import MemoryHotStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio.testing import MockClock


from .house import ROOMS, SECONDS, Server, Somebody, block


async def test_a_client_that_is_away_is_known_for_its_time(autojump_clock: MockClock, server: Server) -> None:
    """Not a second longer than a session lasts, whoever looks and however often."""
    recovery = server.begin()
    await trio.sleep(10 * SECONDS)
    server.recoveries.note_away(recovery)

    await trio.sleep(SECONDS - 1)
    assert await server.finds(recovery)
    await trio.sleep(2)

    assert not await server.finds(recovery)


async def test_a_client_whose_time_is_up_stays_unknown(autojump_clock: MockClock, server: Server) -> None:
    """Its note is thrown away with it: nobody is put back after all."""
    recovery = server.begin()
    server.recoveries.note_away(recovery)

    for _ in range(20):
        await trio.sleep(SECONDS / 10)
        known = await server.finds(recovery)
        assert known == (trio.current_time() < 1 + SECONDS)
    assert server.recoveries.statistics() == RecoveryStatistics(held=0, away=0, unwritten=0)


async def test_a_client_that_is_here_is_known(autojump_clock: MockClock, server: Server) -> None:
    """It may come back before the server knows that it was gone."""
    recovery = server.begin()

    assert await server.finds(recovery)


async def test_only_its_own_user_finds_a_client(autojump_clock: MockClock, server: Server) -> None:
    """Who knows the secret of somebody else gets nothing, and takes nothing from them."""
    recovery = server.begin("ada")

    assert not await server.finds(recovery, "bob")
    assert await server.finds(recovery, "ada")


@pytest.mark.parametrize("pid", ["", "nobody", "a" * 64, "a" * 65, "a/b", "ä", "a\n", "\ud83d", "*" * 10])
async def test_nobody_is_known_by_another_name(autojump_clock: MockClock, server: Server, pid: str) -> None:
    """Whatever a client may say."""
    server.begin()

    assert await server.recoveries.find(pid, "ada") is None


async def test_pids_are_secrets(autojump_clock: MockClock, server: Server) -> None:
    """Two are never alike, none can be guessed, and none is in a repr."""
    one, two = server.begin(), server.begin()

    assert one.pid != two.pid
    assert len(one.pid) == 24
    assert repr(one) == "<Recovery of ada held rooms=2>"
    assert one.pid not in repr(server.recoveries)


async def test_who_leaves_on_purpose_is_forgotten(
    autojump_clock: MockClock, server: Server, hot: MemoryHotStore
) -> None:
    """Here at once, and its note soon after."""
    recovery = server.begin()
    await wait_all_tasks_blocked()
    assert await hot.kept(recovery.pid) is not None

    server.recoveries.end(recovery)

    assert not await server.finds(recovery)
    await wait_all_tasks_blocked()
    assert await hot.kept(recovery.pid) is None
    assert not await server.finds(recovery)


async def test_who_leaves_while_its_note_is_thrown_away_stays_forgotten(
    autojump_clock: MockClock, server: Server, hot: MemoryHotStore
) -> None:
    """A store that takes its time brings nobody back."""
    recovery = server.begin()
    await wait_all_tasks_blocked()
    gate = block(hot, "discard")
    server.recoveries.end(recovery)
    await wait_all_tasks_blocked()

    assert not await server.finds(recovery)
    gate.set()
    await wait_all_tasks_blocked()
    assert await hot.kept(recovery.pid) is None


async def test_who_leaves_while_its_note_is_written_is_forgotten(
    autojump_clock: MockClock, server: Server, hot: MemoryHotStore
) -> None:
    """The note that is on its way is thrown away when it has arrived."""
    gate = block(hot, "keep")
    recovery = server.begin()
    await wait_all_tasks_blocked()

    server.recoveries.end(recovery)
    gate.set()
    await wait_all_tasks_blocked()

    assert await hot.kept(recovery.pid) is None


async def test_nothing_is_kept_of_who_was_in_no_room(
    autojump_clock: MockClock, server: Server, hot: MemoryHotStore
) -> None:
    """There is nowhere to put them back: whoever connects and goes, over and over, leaves nothing behind."""
    recovery = server.begin(rooms=frozenset())

    server.recoveries.note_away(recovery)
    await wait_all_tasks_blocked()

    assert server.recoveries.statistics() == RecoveryStatistics(held=0, away=0, unwritten=0)
    assert await hot.kept(recovery.pid) is None


AWAY = 50
"""How many clients of one user may be away at once."""


async def test_a_user_may_be_away_so_many_times(
    autojump_clock: MockClock, server: Server, hot: MemoryHotStore
) -> None:
    """Whoever connects, joins and goes, over and over, fills no memory: the oldest is forgotten, its note too."""
    bob = server.begin("bob")
    server.recoveries.note_away(bob)
    gone = [server.begin() for _ in range(AWAY + 2)]
    await wait_all_tasks_blocked()
    for recovery in gone:
        server.recoveries.note_away(recovery)
    await wait_all_tasks_blocked()

    assert [await server.finds(recovery) for recovery in gone] == [False] * 2 + [True] * AWAY
    assert await server.finds(bob, "bob")
    assert [await hot.kept(recovery.pid) is None for recovery in gone[:3]] == [True, True, False]
    assert server.recoveries.statistics() == RecoveryStatistics(held=0, away=AWAY + 1, unwritten=0)


async def test_who_is_here_is_not_forgotten_for_those_who_are_away(
    autojump_clock: MockClock, server: Server
) -> None:
    """Neither one that never went nor one that has come back."""
    here, back = server.begin(), server.begin()
    server.recoveries.note_away(back)
    server.recoveries.note_back(back, Somebody())
    for _ in range(AWAY + 1):
        server.recoveries.note_away(server.begin())

    assert await server.finds(here)
    assert await server.finds(back)
    assert server.recoveries.statistics().held == 2


async def test_who_was_here_last_is_forgotten_last(autojump_clock: MockClock, server: Server) -> None:
    """One that asks to come back and is refused has been heard of again."""
    again, oldest = server.begin(), server.begin()
    for recovery in (again, oldest, again):
        server.recoveries.note_away(recovery)
    for _ in range(AWAY - 1):
        server.recoveries.note_away(server.begin())

    assert await server.finds(again)
    assert not await server.finds(oldest)


async def test_who_was_forgotten_does_not_count(autojump_clock: MockClock, server: Server) -> None:
    """Its place is for another: neither who left on purpose nor whose time is up keeps anybody out."""
    first = server.begin()
    server.recoveries.note_away(first)
    for _ in range(AWAY):
        left = server.begin()
        server.recoveries.note_away(left)
        server.recoveries.end(left)
    assert await server.finds(first)
    await trio.sleep(2 * SECONDS)

    gone = [server.begin() for _ in range(AWAY)]
    for recovery in gone:
        server.recoveries.note_away(recovery)

    assert all([await server.finds(recovery) for recovery in gone])


async def test_nothing_is_kept_of_a_user_of_whom_nobody_is_away(
    autojump_clock: MockClock, server: Server
) -> None:
    """Anybody may be anybody on an insecure server: not even an empty list is to be left of each."""
    left, back = server.begin("ada"), server.begin("bob")
    for recovery in (left, back):
        server.recoveries.note_away(recovery)

    server.recoveries.end(left)
    server.recoveries.note_back(back, Somebody())

    assert not server.recoveries._away


PLACE = Position("01890a5d-ac96-774b-bcce-b302099a8057", 1)


def placed(*rooms: str) -> Offset:
    """Return the offset of a client in these rooms."""
    return Offset({label_of(room): PLACE for room in rooms})


@pytest.mark.parametrize(
    "offset", [FRESH, Offset(), placed("r", "s"), placed("r"), placed("r", "s", "t"), placed("t")]
)
async def test_a_client_that_is_remembered_fits(offset: Offset) -> None:
    """The process that told it knows where it was, whatever part has arrived."""
    assert Recovery("somebody", "ada", ROOMS).fits(offset)


@pytest.mark.parametrize(
    ("offset", "fits"),
    [
        pytest.param(FRESH, True, id="it has heard nothing yet"),
        pytest.param(placed("r", "s"), True, id="those very rooms"),
        pytest.param(placed("r"), False, id="it has left one since, or not heard of one"),
        pytest.param(placed("r", "s", "t"), False, id="it has joined one since"),
        pytest.param(placed("r", "t"), False, id="both"),
        pytest.param(Offset(), False, id="it has left them all since"),
    ],
)
async def test_a_client_that_is_recalled_must_name_its_rooms(
    autojump_clock: MockClock, start: Callable[[], Server], offset: Offset, fits: bool
) -> None:
    """A note may be a moment older than what the client was told: nobody is put where it has left."""
    server = start()
    recovery = server.begin()
    await wait_all_tasks_blocked()
    server.kill()

    recalled = await start().recoveries.find(recovery.pid, "ada")

    assert recalled is not None
    assert recalled.fits(offset) is fits


async def test_the_counts_say_who_is_where(autojump_clock: MockClock, server: Server) -> None:
    """One line for whoever looks into a running server."""
    server.recoveries.note_away(server.begin())
    server.begin()
    assert server.recoveries.statistics() == RecoveryStatistics(held=1, away=1, unwritten=2)
    assert repr(server.recoveries) == "<Recoveries held=1 away=1 unwritten=2>"

    await wait_all_tasks_blocked()

    assert server.recoveries.statistics() == RecoveryStatistics(held=1, away=1, unwritten=0)
