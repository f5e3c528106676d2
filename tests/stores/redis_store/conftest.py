"""What the tests of this folder are given."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.stores.conftest import Console
from trio_chat.stores.embedded import EmbeddedValkey
from trio_chat.stores.redis import RedisHotStore, open_redis

from .house import Keys


@pytest.fixture
def keys(console: Console, prefix: str) -> Keys:
    """The keys of this test."""
    return Keys(console, prefix)


@pytest.fixture
async def hot(valkey_process: EmbeddedValkey, prefix: str) -> AsyncIterator[RedisHotStore]:
    """A store on the session's server, with a prefix of its own."""
    async with open_redis(valkey_process.url, prefix=prefix) as store:
        yield store
