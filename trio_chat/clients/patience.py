"""How long clients may take to say who they are: one task for all of them."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import trio
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Callable


class Wait:
    """One client's time. Ends with `done`, or by itself."""

    __slots__ = ("deadline", "late")

    def __init__(self, deadline: float, late: Callable[[], None]) -> None:
        self.deadline = deadline
        self.late: Callable[[], None] | None = late

    def done(self) -> None:
        """Know that the client has said it, or is gone. May be called again."""
        self.late = None


class Patience:
    """See the module. One a server; lives as long as it.

    Args:
        seconds: how long each client may take.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        # All take the same time, so whoever came first is first.
        self._waits: deque[Wait] = deque()
        self._bell = trio.lowlevel.ParkingLot()

    @override
    def __repr__(self) -> str:
        return f"<Patience seconds={self._seconds:g} waits={len(self._waits)}>"

    def begin(self, late: Callable[[], None]) -> Wait:
        """Let a client's time begin; `late` is called when it is over, and must neither wait nor raise."""
        wait = Wait(trio.current_time() + self._seconds, late)
        self._waits.append(wait)
        self._bell.unpark()
        return wait

    async def run(self) -> None:
        """Call whoever is late. Runs until cancelled; cancelling is safe."""
        while True:
            while self._waits and self._waits[0].late is None:
                self._waits.popleft()
            if not self._waits:
                await self._bell.park()
                continue
            wait = self._waits[0]
            await trio.sleep_until(wait.deadline)
            self._waits.popleft()
            if wait.late is not None:
                wait.late()
