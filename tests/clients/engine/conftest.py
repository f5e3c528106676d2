"""What the tests of this folder are given."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from trio_chat.clients.engine.server import EngineLink, EngineServer
from trio_chat.clients.server import ServerLimits, serve_clients

from .house import LIMITS, PATH, Caller, Served, Told


@pytest.fixture
async def start(nursery: trio.Nursery) -> AsyncIterator[Callable[..., Awaitable[Served]]]:
    """Give a function that starts a server, with these or other options."""

    async def begin(*, limits: Any = None, factory: Callable[[Any], Any] = Told, **options: Any) -> Served:
        told: list[Told] = []

        def meet(link: EngineLink) -> Any:
            told.append(factory(link))
            return told[-1]

        merged = ServerLimits(**{**LIMITS, **(limits or {})})
        engine = EngineServer(meet, path=PATH, limits=merged, **options)
        await nursery.start(engine.run)
        server = await nursery.start(
            partial(
                serve_clients,
                await trio.open_tcp_listeners(0, host="127.0.0.1"),
                engine.routes,
                limits=merged,
                http=engine.http,
                http_paths=engine.routes,
                admit=engine.admit,
            )
        )
        return Served(engine, server, told, nursery)

    yield begin
    nursery.cancel_scope.cancel()


@pytest.fixture
def upgrade(dial: Any) -> Callable[..., Awaitable[Any]]:
    """Give a function that opens a WebSocket for a session, and by default tries it."""

    async def begin(served: Served, sid: str, *, probe: bool = True) -> Any:
        wire = await dial(served, shake=False)
        await wire.shake_hands(f"{PATH}?EIO=4&transport=websocket&sid={sid}")
        if probe:
            await wire.say("2probe")
            await wire.expect_text("3probe")
        return wire

    return begin


@pytest.fixture
async def caller(nursery: trio.Nursery) -> Caller:
    """A client of a server with the usual times, which has begun a session."""
    engine = EngineServer(Told, path=PATH)
    await nursery.start(engine.run)
    result = Caller(engine)
    await result.open()
    return result
