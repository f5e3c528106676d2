"""A process of a stage: a lobby from its start to its end, in order or not."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio
from typing_extensions import override

from trio_chat.lobby import open_lobby
from trio_chat.testing.record import Ended

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from datetime import datetime

    from trio_chat.lobby import Lobby
    from trio_chat.settings import Settings
    from trio_chat.stores.base import Archive, HotStore
    from trio_chat.testing.faults import Faults


class Process:
    """See the module. Lives from `run` to the end of `stop` or `kill`.

    Args:
        beside: started with the lobby, and cancelled before the lobby ends.

    Attributes:
        lobby: its lobby, once `run` has started.
    """

    lobby: Lobby

    def __init__(self, beside: Callable[[Lobby], Awaitable[object]] | None) -> None:
        self._beside = beside
        self._scope = trio.CancelScope()
        self._stopping = trio.Event()
        self._over = trio.Event()
        self._tasks = 0

    @override
    def __repr__(self) -> str:
        return f"<Process {'over' if self._over.is_set() else 'running'}>"

    async def run(
        self,
        hot: HotStore,
        archive: Archive,
        settings: Settings,
        now: Callable[[], datetime],
        *,
        task_status: trio.TaskStatus[None],
    ) -> None:
        """Be the process. Cancelling is being killed, but for the last round of a lobby."""
        before = trio.lowlevel.current_statistics().tasks_living
        with self._scope:
            async with open_lobby(hot=hot, archive=archive, settings=settings, now=now) as self.lobby:
                async with trio.open_nursery() as nursery:
                    if self._beside is not None:
                        nursery.start_soon(self._beside, self.lobby)
                    task_status.started()
                    await self._stopping.wait()
                    nursery.cancel_scope.cancel()
        self._tasks = trio.lowlevel.current_statistics().tasks_living - before
        self._over.set()

    async def stop(self, patience: float | None) -> Ended:
        """End it in order; after `patience` seconds, if it is given, cancel it."""
        began = trio.current_time()
        self._stopping.set()
        with trio.move_on_after(math.inf if patience is None else patience):
            await self._over.wait()
        self._scope.cancel()
        await self._over.wait()
        return self._ended(began, killed=False)

    async def kill(self, stores: Iterable[Faults]) -> Ended:
        """End it where it stands: nothing it still does reaches the stores."""
        began = trio.current_time()
        for faults in stores:
            faults.cut()
        self._scope.cancel()
        await self._over.wait()
        for faults in stores:
            faults.mend()
        return self._ended(began, killed=True)

    def _ended(self, began: float, *, killed: bool) -> Ended:
        at = trio.current_time()
        return Ended(at, killed, at - began, self._tasks, self.lobby.unsaved())
