"""A lobby over memory stores, what a seat in it hears, and a store that lets things wait."""

from __future__ import annotations

from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio

from tests.rooms import now
from trio_chat.lobby import Lobby, open_lobby
from trio_chat.settings import Settings
from trio_chat.stores.memory import MemoryArchive, MemoryHotStore

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from trio_chat.mail import Hearing
    from trio_chat.seat import Seat
    from trio_chat.stores.memory import Moment


@asynccontextmanager
async def a_lobby(hot: MemoryHotStore | None = None, **settings: Any) -> AsyncGenerator[Lobby, None]:
    """Open a lobby over memory stores."""
    async with open_lobby(
        hot=hot or MemoryHotStore(), archive=MemoryArchive(), settings=Settings(**settings), now=now
    ) as lobby:
        yield lobby


async def listen(seat: Seat, count: int) -> list[Hearing]:
    """Wait for so many hearings."""
    found: list[Hearing] = []
    async with aclosing(seat.events()) as events:
        while len(found) < count:
            found.append(await anext(events))
    return found


async def listen_to_the_end(seat: Seat) -> list[Hearing]:
    """Wait for all hearings until the end."""
    return [hearing async for hearing in seat.events()]


class Gate:
    """Holds back every append of a store until it is opened."""

    def __init__(self, hot: MemoryHotStore) -> None:
        self.opened = trio.Event()
        hot.interfere = self._hold

    async def _hold(self, call: str, moment: Moment) -> None:
        if call == "append" and moment == "before":
            await self.opened.wait()
