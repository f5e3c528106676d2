"""L1: whatever the hot store loses of a room that lives, and whenever: nothing acknowledged is missing in the archive.

The room has it. Requests and rounds of the syncer are on their way meanwhile, and either store is away now and then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import hypothesis.strategies as st
import pytest
import trio
from hypothesis import example, given
from trio.testing import MockClock

from tests.rooms import now
from trio_chat import syncer
from trio_chat.errors import TrioChatError
from trio_chat.lobby import Lobby, open_lobby
from trio_chat.message import Deleted
from trio_chat.settings import Settings
from trio_chat.stores.memory import MemoryArchive, MemoryHotStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from trio_chat.seat import Seat

Kind: TypeAlias = Literal["post", "edit", "delete", "lose", "lose tail", "lose all", "hot", "archive", "sync"]
Step: TypeAlias = tuple[Kind, int, bool, float]
"""What happens, to which of those there are, whether the next step comes before its end, and how long after it."""

_MOST_CALLS = 5_000
"""Of stores: so many mean that something does not end."""

STEPS = st.tuples(
    st.sampled_from(
        [
            "post",
            "post",
            "post",
            "edit",
            "delete",
            "lose",
            "lose",
            "lose tail",
            "lose all",
            "hot",
            "archive",
            "sync",
        ]
    ),
    st.integers(0, 40),
    st.booleans(),
    st.sampled_from([0.0, 0.1, 1.5]),
)


@pytest.fixture(autouse=True, scope="module")
def _small_steps() -> Iterator[None]:
    """Batches so small that there are several of a session."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(syncer, "_GENTLE", syncer._Pace(rows=3, events=2))
        patch.setattr(syncer, "_FAST", syncer._Pace(rows=5, events=3))
        yield


# The store has no place for the mark of what only the room has: a round must go on from what the room knows.
_WENT_BACK_BEHIND_ITS_MARK: list[Step] = [
    *[("post", 0, False, 0.0)] * 9,
    ("lose tail", 3, False, 0.0),
    ("lose tail", 1, True, 0.0),
]


class _Talk:
    """One person in a room, and what the archive must have of what they did."""

    def __init__(self, lobby: Lobby, seat: Seat, hot: MemoryHotStore, archive: MemoryArchive) -> None:
        self._lobby = lobby
        self._seat = seat
        self._hot = hot
        self._archive = archive
        self._posted = 0
        self.kept: set[str] = set()
        """The ids of messages that were acknowledged; those that were to be deleted may be there or not."""

    async def post(self, _: int) -> None:
        self._posted += 1
        self.kept.add((await self._seat.post(f"text {self._posted}")).id)

    async def edit(self, number: int) -> None:
        if window := self._lobby.rooms["r"].ledger.history.snapshot():
            await self._seat.edit(window[number % len(window)].id, f"again {number}")

    async def delete(self, number: int) -> None:
        if window := self._lobby.rooms["r"].ledger.history.snapshot():
            gone = window[number % len(window)].id
            self.kept.discard(gone)
            await self._seat.delete(gone)

    async def sync(self, _: int) -> None:
        await self._lobby.syncer.sync_all()

    def lose(self, number: int) -> None:
        if "r" in self._hot._current:
            self._hot.lose_entries("r", [number, number // 2, number // 3])

    def lose_tail(self, number: int) -> None:
        if "r" in self._hot._current:
            self._hot.lose_tail("r", 1 + number % 4)

    def lose_all(self, _: int) -> None:
        self._hot.lose_everything()

    def hot(self, _: int) -> None:
        self._hot.set_healthy(not self._hot.healthy)

    def archive(self, _: int) -> None:
        self._archive.set_healthy(not self._archive.healthy)


async def _play(steps: list[Step], window: int, slowness: float) -> None:
    calls = 0
    whole = trio.CancelScope()

    async def dawdle(call: str, moment: Any) -> None:
        nonlocal calls
        calls += 1
        if calls > _MOST_CALLS:
            whole.cancel()
            await trio.sleep(1)  # what is bounded by time alone is to end, too
        await trio.sleep(slowness if moment == "after" else slowness / 3)

    hot, archive = MemoryHotStore(durability="redis", interfere=dawdle), MemoryArchive(interfere=dawdle)
    settings = Settings(
        session_sync_interval_seconds=10**6, max_messages_per_session=window, sync_after_events=500
    )
    with whole:
        async with (
            open_lobby(hot=hot, archive=archive, settings=settings, now=now) as lobby,
            lobby.join("r", user="ann") as seat,
        ):
            talk = _Talk(lobby, seat, hot, archive)
            async with trio.open_nursery() as nursery:
                for kind, number, apart, pause in steps:
                    do = getattr(talk, kind.replace(" ", "_"))
                    if kind in {"post", "edit", "delete", "sync"}:
                        if apart:
                            nursery.start_soon(_attempt, do, number)
                        else:
                            await _attempt(do, number)
                    else:
                        do(number)
                    await trio.sleep(pause)
                hot.set_healthy(True)
                archive.set_healthy(True)
            # What they do not finish in time at the end would be there for the next process.
            slowness = 0.0
            await trio.sleep(20)
            shown = {message.id: message.content for message in lobby.rooms["r"].ledger.history.snapshot()}
    assert calls <= _MOST_CALLS, "it does not end"
    _check(archive, talk.kept, shown)


async def _attempt(do: Callable[[int], Awaitable[None]], number: int) -> None:
    """A request that is refused, or is not known to have been carried out, promises nothing."""
    try:
        with trio.move_on_after(30):
            await do(number)
    except TrioChatError:
        pass


def _check(archive: MemoryArchive, kept: set[str], shown: dict[str, str]) -> None:
    found = {
        event.message.id: None if isinstance(event, Deleted) else event.message.content
        for session in archive.sessions
        for event in archive.rows(session).values()
    }
    assert kept <= found.keys(), "lost"
    assert {id_: found[id_] for id_ in shown} == shown, "an older state"


@example(_WENT_BACK_BEHIND_ITS_MARK, 10, 0.0)
@given(st.lists(STEPS, min_size=3, max_size=25), st.sampled_from([3, 10]), st.sampled_from([0.0, 0.2, 2.0]))
def test_l1_nothing_lost_that_the_room_has(steps: list[Step], window: int, slowness: float) -> None:
    """L1: at the end of the lobby, at the latest, the archive has it all as it read last."""
    trio.run(_play, steps, window, slowness, clock=MockClock(autojump_threshold=0))
