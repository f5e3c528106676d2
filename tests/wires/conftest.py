"""What the tests of this folder are given."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import pytest

from trio_chat.settings import Settings
from trio_chat.stores.embedded import EmbeddedPostgres

from .house import Serve, Site, serving

_numbers = itertools.count()


@pytest.fixture(params=["native", "socketio"])
def wire(request: pytest.FixtureRequest) -> str:
    """How clients speak."""
    return str(request.param)


@pytest.fixture
def room() -> str:
    """A room that no other test is in: they share an archive."""
    return f"team-{next(_numbers)}/general"


@pytest.fixture(scope="session")
def archive_url(postgres_process: EmbeddedPostgres, psql: Callable[..., str]) -> str:
    """The URL of a database for all of these tests; each has a room of its own."""
    psql(postgres_process.url, "create database wires")
    return postgres_process.url.replace("/postgres?", "/wires?")


@pytest.fixture
def settings(tmp_path: Path, valkey_server: str, archive_url: str) -> Settings:
    """Settings for a server on a free port that wants tokens."""
    return Settings(
        port=0,
        data_dir=tmp_path,
        redis_url=valkey_server,
        redis_prefix=f"wires-{next(_numbers)}",
        database_url=archive_url,
        auth_secret="a secret for the tests of the wires",
    )


@pytest.fixture
def serve(settings: Settings, wire: str) -> Serve:
    """Run a server with some settings of its own."""
    return partial(serving, settings, wire)


@pytest.fixture
async def site(settings: Settings, wire: str) -> AsyncIterator[Site]:
    """A server with the usual settings."""
    async with serving(settings, wire) as site:
        yield site
