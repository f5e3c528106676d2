"""What the tests of this folder are given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


from .house import SECRET, House


@pytest.fixture
def build(nursery: trio.Nursery) -> Callable[..., Awaitable[House]]:
    """Opens a house with other settings; to be awaited."""
    return lambda **changes: House(nursery).open(**changes)


@pytest.fixture
async def house(build: Callable[..., Awaitable[House]]) -> House:
    return await build()


@pytest.fixture
async def guarded(build: Callable[..., Awaitable[House]]) -> House:
    """A house that asks for tokens."""
    return await build(auth_mode="token", auth_secret=SECRET)
