"""Whether a server can be reached, and how long to wait before asking again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from trio_chat.jitter import between

if TYPE_CHECKING:
    from collections.abc import Callable


class Health:
    """A flag one can wait for. Lives as long as its store."""

    def __init__(self, value: bool = False) -> None:
        self._value = value
        self._changed = trio.Event()

    def __bool__(self) -> bool:
        return self._value

    def set(self, value: bool) -> bool:
        """Set the flag and wake whoever waits for that. Returns whether it changed."""
        if value is self._value:
            return False
        self._value = value
        self._changed.set()
        self._changed = trio.Event()
        return True

    async def wait(self, value: bool) -> None:
        """Return when the flag is `value`. Cancelling is safe."""
        await trio.lowlevel.checkpoint()
        while self._value is not value:
            await self._changed.wait()


class Backoff:
    """Growing, capped, jittered pauses, so that many clients of one server do not come back together.

    Args:
        first: the longest first pause, in seconds.
        cap: the longest of all.
        chance: draws a number from one to another; each pause is between half of itself and all of it.
    """

    def __init__(self, first: float, cap: float, chance: Callable[[float, float], float] = between) -> None:
        self._first = first
        self._cap = cap
        self._chance = chance
        self._pause = first

    def next(self) -> float:
        """Return the next pause in seconds; the one after it may be twice as long."""
        pause = self._pause
        self._pause = min(self._cap, pause * 2)
        return pause * self._chance(0.5, 1)

    def reset(self) -> None:
        """Begin again: things have been well for a while."""
        self._pause = self._first
