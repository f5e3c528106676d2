"""Ways back over a hot store in memory, on virtual time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from trio_chat.clients.recovery import Recoveries, Recovery
from trio_chat.stores.memory import MemoryHotStore

if TYPE_CHECKING:
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
