"""Ways back: what is kept of clients that are away, here and in the hot store. Time is virtual."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_chat.clients.offsets import FRESH, Offset, label_of
from trio_chat.clients.recovery import Recoveries, Recovery, RecoveryStatistics
from trio_chat.message import Position
from trio_chat.stores.memory import MemoryHotStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from trio.testing import MockClock

    from trio_chat.stores.memory import Moment

SECONDS = 1200.0
ROOMS = frozenset({"r", "s"})


class Somebody:
    """A client that holds its recovery."""

    def give_way(self) -> None:
        """Do nothing."""


class Server:
    """A process: its recoveries, written as they are in a server. It may be killed."""

    def __init__(self, hot: MemoryHotStore, nursery: trio.Nursery) -> None:
        self.recoveries = Recoveries(hot, SECONDS)
        self._scope = trio.CancelScope()
        nursery.start_soon(self._run)

    async def _run(self) -> None:
        with self._scope:
            await self.recoveries.run()

    def kill(self) -> None:
        """End without another word."""
        self._scope.cancel()

    def begin(self, user: str = "ada", rooms: frozenset[str] = ROOMS) -> Recovery:
        """Let a client connect and join rooms."""
        recovery = self.recoveries.begin(user)
        self.recoveries.note_back(recovery, Somebody())
        self.recoveries.note_rooms(recovery, rooms)
        return recovery

    async def finds(self, recovery: Recovery, user: str = "ada") -> bool:
        """Whether somebody who names the pid gets the rooms."""
        found = await self.recoveries.find(recovery.pid, user)
        assert found is None or (found.pid, found.user, found.rooms) == (
            recovery.pid,
            recovery.user,
            recovery.rooms,
        )
        return found is not None


@pytest.fixture
def hot() -> MemoryHotStore:
    return MemoryHotStore()


@pytest.fixture
async def start(hot: MemoryHotStore, nursery: trio.Nursery) -> AsyncIterator[Callable[[], Server]]:
    """Starts a server over the store."""
    await trio.sleep(1)  # at 0 nothing was ever written
    yield lambda: Server(hot, nursery)
    nursery.cancel_scope.cancel()


@pytest.fixture
async def server(start: Callable[[], Server]) -> Server:
    return start()


def calls(hot: MemoryHotStore) -> list[str]:
    """Return a list to which the calls of the store are added as they begin; what was to be done then is done."""
    names: list[str] = []
    interfere = hot.interfere

    async def note(name: str, moment: Moment) -> None:
        if moment == "before":
            names.append(name)
        await trio.lowlevel.checkpoint()
        if interfere is not None:
            await interfere(name, moment)

    hot.interfere = note
    return names


def block(hot: MemoryHotStore, wanted: str) -> trio.Event:
    """Let the first call of this name take until the event is set."""
    gate = trio.Event()
    blocked: list[str] = []

    async def wait(name: str, moment: Moment) -> None:
        await trio.lowlevel.checkpoint()
        if name == wanted and moment == "before" and not blocked:
            blocked.append(name)
            await gate.wait()

    hot.interfere = wait
    return gate


# In one process


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


# Whether a client was in the rooms it is put back into

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


# What is to be seen of it


async def test_the_counts_say_who_is_where(autojump_clock: MockClock, server: Server) -> None:
    """One line for whoever looks into a running server."""
    server.recoveries.note_away(server.begin())
    server.begin()
    assert server.recoveries.statistics() == RecoveryStatistics(held=1, away=1, unwritten=2)
    assert repr(server.recoveries) == "<Recoveries held=1 away=1 unwritten=2>"

    await wait_all_tasks_blocked()

    assert server.recoveries.statistics() == RecoveryStatistics(held=1, away=1, unwritten=0)


# For the next process


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


# While the hot store is away


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
