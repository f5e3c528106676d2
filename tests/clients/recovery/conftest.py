"""What the tests of this folder are given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from trio_chat.stores.memory import MemoryHotStore

from .house import Server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


@pytest.fixture
def hot() -> MemoryHotStore:
    return MemoryHotStore()


@pytest.fixture
async def start(hot: MemoryHotStore, nursery: trio.Nursery) -> AsyncIterator[Callable[[], Server]]:
    """Starts a server over the store."""
    await trio.sleep(1)  # at 0 nothing was ever written
    yield lambda: Server(hot, nursery)
    nursery.cancel_scope.cancel()


@pytest.fixture
async def server(start: Callable[[], Server]) -> Server:
    return start()
