"""The life of a server that is our child: for the length of a block, and again whenever it dies."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, TypeVar

import trio

from trio_chat.errors import TrioChatError
from trio_chat.stores.child import ChildServer
from trio_chat.stores.pauses import paced

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

_log = logging.getLogger(__name__)

_PATIENCE_WITH_STOP = 30.0  # above the sum of any server's `farewells`
_PATIENCE_IF_CANCELLED = 3.0
_FIRST_DELAY, _LONGEST_DELAY = 0.1, 5.0  # before a restart
_STEADY = 60.0  # who ran for so long starts with the first delay again

Server = TypeVar("Server", bound=ChildServer)


@contextmanager
def serving(server: Server) -> Generator[Server, None, None]:
    """Run a server for as long as the context, in a program without Trio. Nobody restarts it."""
    with server.owning():
        try:
            server.start()
            yield server
        finally:
            server.stop()


@asynccontextmanager
async def supervised(server: Server) -> AsyncGenerator[Server, None]:
    """Run a server for as long as the context, and start it again whenever it dies.

    It is ready when the context begins. Leaving ends it gently, within 30 s at most; cancelling, before or meanwhile,
    leaves it 3 s for that.
    Raises what `ChildServer.owning` and `ChildServer.starting` raise; what the block raises comes out as it is.
    """
    failure: Exception | None = None
    with server.owning():
        try:
            await paced(server.starting())
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_keep_running, server, name=f"keep {server.name} running")
                try:
                    yield server
                except Exception as error:  # noqa: BLE001 - raised again below, outside the nursery's group
                    failure = error
                nursery.cancel_scope.cancel()
        finally:
            await _end(server)  # noqa: ASYNC102 - it bounds itself
    if failure is not None:
        raise failure


async def _end(server: ChildServer) -> None:
    """End a server gently, and at once if that takes too long. Cancelling shortens what is too long."""
    try:
        with trio.move_on_after(_PATIENCE_WITH_STOP):
            await paced(server.stopping())
    finally:
        with trio.move_on_after(_PATIENCE_IF_CANCELLED, shield=True):
            if server.pid is not None:
                await paced(server.stopping())
        server.kill()


async def _keep_running(server: ChildServer) -> None:
    """Start a server again whenever it ends. Cancelling leaves it as it is."""
    delay = 0.0
    while True:
        since = trio.current_time()
        code = await server.wait_ended()
        steady = trio.current_time() - since > _STEADY
        delay = _FIRST_DELAY if steady or not delay else min(2 * delay, _LONGEST_DELAY)
        _log.error("%s ended with exit code %d; it is started again in %.1f s", server.name, code, delay)
        await trio.sleep(delay)
        try:
            await paced(server.starting())
        except (TrioChatError, OSError) as error:
            _log.error("%s", error)
