"""Long work on a terminal, as somebody sees it who runs the commands in one: a line that moves, and goes at the end.

A pseudo-terminal stands for theirs. Standard output is a pipe, as if the outcome were piped on.
"""

from __future__ import annotations

import os
import pty
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
import trio

from tests.rooms import an_opening
from trio_chat.app import open_app
from trio_chat.settings import Settings
from trio_chat.stores.redis import open_redis

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

BAR, ERASED = "━", "\x1b[2K"


async def on_a_terminal(*command: str, environment: Mapping[str, str]) -> tuple[str, str]:
    """Run a command of Python's `-m`. Returns what was piped on and what the terminal was told."""
    ours, theirs = pty.openpty()
    told = bytearray()

    async def listen(terminal: trio.lowlevel.FdStream) -> None:
        try:
            async for chunk in terminal:
                told.extend(chunk)
        except trio.BrokenResourceError:
            pass  # the other end is closed, as terminals of Linux say it

    with trio.fail_after(60):
        async with trio.lowlevel.FdStream(ours) as terminal, trio.open_nursery() as nursery:
            nursery.start_soon(listen, terminal)
            try:
                ended = await trio.run_process(
                    [sys.executable, "-m", *command],
                    capture_stdout=True,
                    stderr=theirs,
                    check=False,
                    env={**os.environ, "TERM": "xterm", "COLUMNS": "100", **environment},
                )
            finally:
                os.close(theirs)
    assert ended.returncode == 0, told.decode()
    return ended.stdout.decode(), told.decode()


async def leave_dirty(valkey: str, prefix: str, rooms: int) -> None:
    """Leave sessions of one message that nobody has archived."""
    async with open_redis(valkey, prefix=prefix) as hot:
        for number in range(rooms):
            assert await hot.append(an_opening(f"r{number}", 1, datetime.now(UTC))) is None


async def test_sync(valkey_server: str, postgres_server: str, tmp_path: Path) -> None:
    """How many sessions of how many are archived."""
    await leave_dirty(valkey_server, "terminal", 30)
    stores = {"REDIS_URL": valkey_server, "DATABASE_URL": postgres_server, "REDIS_PREFIX": "terminal"}
    piped, told = await on_a_terminal("trio_chat", "sync", environment={**stores, "DATA_DIR": str(tmp_path)})

    assert piped == "30 messages archived from 30 dirty sessions, 0 set aside\n"
    assert "30 of 30 sessions, 30 messages" in told
    assert BAR in told
    assert ERASED in told.rpartition(BAR)[2]


async def test_bench(valkey_server: str, postgres_server: str, tmp_path: Path) -> None:
    """What it is at, and how far. The line goes before the table comes."""
    settings = Settings(
        port=0,
        data_dir=tmp_path,
        redis_url=valkey_server,
        redis_prefix="terminal-bench",
        database_url=postgres_server,
        auth_mode="insecure",
    )
    load = ("--rooms", "2", "--members", "2", "--seconds", "2", "--json", "-")
    async with open_app(settings) as app:
        mode = {"AUTH_MODE": "insecure"}
        piped, told = await on_a_terminal("trio_chat", "bench", "--url", app.url, *load, environment=mode)

    assert piped.startswith("{")
    assert "connecting" in told
    assert "messages" in told
    assert BAR in told
    assert ERASED in told.rpartition(BAR)[2]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("trio_chat.testing.simulate", "--seeds", "3"), "of 3, 0 failed"),
        # It takes as long as its fault, some ten seconds: the shortest there is.
        (("trio_chat.testing.battery", "S3"), "S3"),
    ],
    ids=["simulate", "battery"],
)
async def test_tests_on_demand(command: tuple[str, ...], words: str) -> None:
    """Which one is running, and what was found so far."""
    _, told = await on_a_terminal(*command, environment={})

    assert words in told
    assert BAR in told
    assert ERASED in told.rpartition(BAR)[2]
