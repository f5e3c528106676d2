"""A server for a bench to measure."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from trio_chat.app import App, open_app
from trio_chat.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path


@pytest.fixture
def serving(
    tmp_path: Path, valkey_server: str, postgres_server: str
) -> Callable[..., AbstractAsyncContextManager[App]]:
    """Returns what runs a server of these settings, over the session's stores, for as long as a block."""

    @asynccontextmanager
    async def serve(**changes: Any) -> AsyncIterator[App]:
        settings = {
            "port": 0,
            "data_dir": tmp_path,
            "redis_url": valkey_server,
            "redis_prefix": f"bench-{tmp_path.name[:20]}",
            "database_url": postgres_server,
            "auth_mode": "insecure",
        }
        async with open_app(Settings(**settings | changes)) as app:
            yield app

    return serve
