"""Run async calls one at a time from synchronous code, inside one Trio run: for the rules of a state machine.

1. The run is a guest of the thread that uses it and goes on only while a call does. Between two calls nothing
   happens, neither in other tasks nor, on a virtual clock, in time.
2. All calls are made by one task. So what is entered stays entered until the end, and is left in order.
3. If something in the background fails, the call after it raises that.
"""

from __future__ import annotations

import queue
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

import trio
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from outcome import Outcome
    from trio.abc import Clock

T = TypeVar("T")

_NOTHING = object()


class Steps:
    """Runs async calls one at a time, from synchronous code. Lives from `start` to `stop`, or as a context.

    Args:
        clock: the run's clock; a `trio.testing.MockClock` with ``autojump_threshold=0`` makes time virtual.
    """

    def __init__(self, *, clock: Clock | None = None) -> None:
        self._clock = clock
        self._ready: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._stack = AsyncExitStack()
        self._result: object = _NOTHING
        self._error: Exception | None = None
        self._ended: Outcome[None] | None = None
        self._raised = False
        self._calls = 0

    @override
    def __repr__(self) -> str:
        return f"<Steps calls={self._calls} {'ended' if self._ended else 'running'}>"

    def start(self) -> None:
        """Begin the run."""
        self._send, receive = trio.open_memory_channel[Any](1)
        trio.lowlevel.start_guest_run(
            self._work,
            receive,
            run_sync_soon_threadsafe=self._ready.put,
            done_callback=self._end,
            clock=self._clock,
        )

    def stop(self) -> None:
        """Leave what was entered, in order, and end the run."""
        self._send.close()
        while self._ended is None:
            self._ready.get()()
        self._raise_failure()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def run(self, call: Callable[..., Awaitable[T]], *arguments: object) -> T:
        """Make a call and return its result, or raise its error."""
        self._result, self._error = _NOTHING, None
        self._calls += 1
        self._send.send_nowait((call, arguments))
        while self._result is _NOTHING and self._error is None:
            if self._ended is not None:
                self._raise_failure()
                raise RuntimeError("the run has ended")
            self._ready.get()()
        if self._error is not None:
            raise self._error
        return cast("T", self._result)

    def enter(self, context: AbstractAsyncContextManager[T]) -> T:
        """Enter a context for the rest of the run."""

        async def enter() -> T:
            return await self._stack.enter_async_context(context)

        return self.run(enter)

    async def _work(self, calls: trio.MemoryReceiveChannel[Any]) -> None:
        async with self._stack:
            async for call, arguments in calls:
                try:
                    self._result = await call(*arguments)
                except Exception as error:  # noqa: BLE001 - it is raised where the call was made
                    self._error = error

    def _end(self, outcome: Outcome[None]) -> None:
        self._ended = outcome

    def _raise_failure(self) -> None:
        """Raise what ended the run, if anything did, but only once."""
        if self._ended is not None and not self._raised:
            self._raised = True
            self._ended.unwrap()
