"""What both stores in memory share: their health, and calls that somebody may interfere with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal

import trio

from trio_chat.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

Moment = Literal["before", "after"]
Interfere = Callable[[str, Moment], Awaitable[None]]


class _Health:
    """A flag one can wait for. Lives as long as its store."""

    def __init__(self) -> None:
        self.value = True
        self._changed = trio.Event()

    def set(self, value: bool) -> None:
        if value is not self.value:
            self.value = value
            self._changed.set()
            self._changed = trio.Event()

    async def wait(self, value: bool) -> None:
        while self.value is not value:
            await self._changed.wait()


class Memory:
    """See the module."""

    def __init__(self, interfere: Interfere | None = None) -> None:
        self.interfere = interfere
        self._health = _Health()

    @property
    def healthy(self) -> bool:
        """Whether the store is up."""
        return self._health.value

    def set_healthy(self, healthy: bool) -> None:
        """Take the store down, or bring it back. While it is down every call raises `Unavailable`."""
        self._health.set(healthy)

    async def wait_health(self, healthy: bool) -> None:
        """Return when `self.healthy` is `healthy`. Cancelling is safe."""
        await self._health.wait(healthy)

    async def probe(self) -> None:
        """Do nothing, as a call."""
        async with self.call("probe"):
            pass

    @asynccontextmanager
    async def call(self, name: str) -> AsyncGenerator[None]:
        """Let the body be what a call does, in one step, between the two moments at which it may fail."""
        await trio.lowlevel.checkpoint()
        if self.interfere is not None:
            await self.interfere(name, "before")
        if not self.healthy:
            raise Unavailable(f"{type(self).__name__} is down")
        yield
        if self.interfere is not None:
            await self.interfere(name, "after")
