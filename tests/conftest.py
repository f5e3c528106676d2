"""Real servers for the whole suite: one Valkey and one Postgres a session, others for the tests that break them."""

from __future__ import annotations

import itertools
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from trio_chat.stores.embedded import EmbeddedPostgres, EmbeddedValkey
from trio_chat.stores.supervision import serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# A busy machine is no failure: nothing here is about how long an example takes.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

HOUSES = (
    "clients.auth",
    "clients.engine",
    "clients.native_connection",
    "clients.socketio_connection",
    "clients.socketio_wire",
    "history",
    "ledger",
    "stores.redis_store",
    "syncer",
    "whole",
)
"""Folders of tests whose `house.py` asserts."""

pytest.register_assert_rewrite(
    "tests.stores.archive_contract", *(f"tests.{folder}.house" for folder in HOUSES)
)

# A test's data need not survive a power failure, as it must a crash.
HASTE = {"fsync": "off"}

_numbers = itertools.count()


@pytest.fixture(scope="session")
def server_dir() -> Iterator[Path]:
    """The directory of this session's servers. Its name is short, since their sockets lie in it."""
    path = Path(tempfile.mkdtemp(prefix="trio-chat-tests-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def valkey_process(server_dir: Path) -> Iterator[EmbeddedValkey]:
    """The session's Valkey. Not to be stopped, paused or filled; `own_valkey` is."""
    with serving(EmbeddedValkey(server_dir)) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_process(server_dir: Path) -> Iterator[EmbeddedPostgres]:
    """The session's Postgres. Not to be stopped or paused; `own_postgres` is."""
    with serving(EmbeddedPostgres(server_dir, settings=HASTE)) as server:
        yield server


@pytest.fixture(scope="session")
def valkey_server(valkey_process: EmbeddedValkey) -> str:
    """The URL of the session's Valkey. Tests share it, so each uses a key prefix of its own."""
    return valkey_process.url


@pytest.fixture
def postgres_server(postgres_process: EmbeddedPostgres, psql: Callable[..., str]) -> Iterator[str]:
    """The URL of an empty database that only this test has."""
    name = f"test_{next(_numbers)}"
    psql(postgres_process.url, f"create database {name}")
    yield postgres_process.url.replace("/postgres?", f"/{name}?")
    psql(postgres_process.url, f"drop database {name} with (force)")


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    """A Valkey that only this test has: it may kill, stop, start, pause and fill it."""
    with serving(EmbeddedValkey(tmp_path, settings={"enable-debug-command": "yes"})) as server:
        yield server


@pytest.fixture
def own_postgres(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A Postgres that only this test has, half a second in the making: it may kill, stop, start and pause it."""
    with serving(EmbeddedPostgres(tmp_path, settings=HASTE)) as server:
        yield server


@pytest.fixture(scope="session")
def psql() -> Callable[[str, str], str]:
    """Runs SQL at a URL, without any event loop, and returns the bare values it yields."""
    program = EmbeddedPostgres(Path()).program("psql")

    def run(url: str, statements: str) -> str:
        command = [program, "-qXAt", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", statements]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


@pytest.fixture
def free_port() -> int:
    """A port on 127.0.0.1 that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
