"""The one doorway to asyncio.

1. What crosses it is a whole *unit of work*: one asyncio function that releases what it acquires before it ends.
   An asyncio context manager wrapped on its own would be left half-way by a cancel, and leak for good.
2. A cancelled unit sees `asyncio.CancelledError`, once, and is waited for. So it must unwind without waiting for
   anybody else: `terminate()` a connection, never `close()` it or roll back over it. A peer that is frozen
   then delays nothing.
3. What a library reports to its loop's exception handler is logged. Under trio-asyncio it would end the run.
"""

from __future__ import annotations

import asyncio
import logging
import warnings
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple, cast

import trio
from typing_extensions import override

from trio_chat.failures import describe

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine

with warnings.catch_warnings():
    # From Python 3.12 on, asyncio warns of a class that trio-asyncio derives from.
    warnings.simplefilter("ignore", DeprecationWarning)
    import trio_asyncio  # pyright: ignore[reportMissingTypeStubs] - there are none

_log = logging.getLogger(__name__)

_T = TypeVar("_T")
_Args = TypeVarTuple("_Args")


class Bridge:
    """Runs asyncio functions from Trio tasks. Lives as long as `open_bridge`."""

    def __init__(self, run_coroutine: Callable[[Coroutine[Any, Any, Any]], Awaitable[Any]]) -> None:
        self._run_coroutine = run_coroutine
        self._closed = False
        self._running = 0
        self._units = 0

    @override
    def __repr__(self) -> str:
        return f"<Bridge running={self._running} units={self._units}>"

    async def run(self, unit: Callable[[*_Args], Coroutine[Any, Any, _T]], *args: *_Args) -> _T:
        """Run one unit of work and return its result.

        Any Trio task may call this, wherever in the tree it is. Cancelling cancels the unit and returns when it
        has unwound; it may have had its effect.

        Raises:
            trio.ClosedResourceError: the bridge was closed, before or while the unit ran.
        """
        if self._closed:
            raise trio.ClosedResourceError("the bridge to asyncio is closed")
        self._units += 1
        self._running += 1
        try:
            return cast("_T", await self._run_coroutine(unit(*args)))
        except asyncio.CancelledError:
            # Not our caller's cancel, which trio-asyncio turns into Trio's own: the loop's, at its end.
            raise trio.ClosedResourceError("the bridge to asyncio was closed") from None  # noqa: ASYNC104
        finally:
            self._running -= 1

    def close(self) -> None:
        """Take no more units."""
        self._closed = True


@asynccontextmanager
async def open_bridge() -> AsyncGenerator[Bridge, None]:
    """Run an asyncio loop on Trio for as long as the context.

    Units that still run when it ends are cancelled and waited for. Cancelling is safe. What the block raises comes
    out as it is, not in the groups of the loop's own nurseries.
    """
    failure: Exception | None = None
    async with trio_asyncio.open_loop() as untyped:  # pyright: ignore[reportUnknownMemberType] - so it is
        loop = cast("Any", untyped)
        loop.set_exception_handler(_report)
        bridge = Bridge(loop.run_aio_coroutine)
        try:
            yield bridge
        except Exception as error:  # noqa: BLE001 - raised again below
            failure = error
        finally:
            bridge.close()
    if failure is not None:
        raise failure


def _report(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    # What the exception says may quote somebody; so may asyncio, where it shows what a callback was called with.
    failure, message = context.get("exception"), str(context.get("message")).partition("(")[0]
    _log.error("asyncio: %s: %s", message, "no exception" if failure is None else describe(failure))
