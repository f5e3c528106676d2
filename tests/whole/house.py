"""`trio-chat serve` as a process, its real stores, and what they have kept.

Tests of this folder take seconds rather than milliseconds: processes start, sessions expire and stores come back in
real time.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from tests.chat_client import Served
from trio_chat.clients.auth import make_token, with_secret
from trio_chat.settings import Settings
from trio_chat.stores.embedded import EmbeddedPostgres

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    Psql = Callable[[str, str], str]


def token_of(served: Served, user: str, *rooms: str, **options: Any) -> str:
    """Make a token as `trio-chat token` does."""
    return make_token(with_secret(Settings(data_dir=served.directory)), user, rooms or ("*",), **options)


def archived(psql: Psql, url: str, room: str) -> list[str]:
    """Return what the archive has of a room, in order."""
    order = f"select content from messages where room = '{room}' and deleted_at is null order by epoch, seq"
    found = psql(url, order)
    return found.split("\n") if found else []


def archive_of(served: Served) -> str:
    return EmbeddedPostgres(served.directory).url


class Lines:
    """What a process prints, line by line."""

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self._stream = stream
        self._rest = b""

    async def next(self) -> str:
        """Wait for a line and return it."""
        while b"\n" not in self._rest:
            part = await self._stream.receive_some()
            if not part:
                raise EOFError(self._rest)
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode()

    async def message(self) -> str:
        """Wait for a line of `tail` that is no note, and return it."""
        while (line := await self.next()).startswith("--"):
            pass
        return line


@asynccontextmanager
async def tailing(served: Served, *arguments: str, **settings: str) -> AsyncIterator[Lines]:
    """Run `trio-chat tail` for as long as the block, which gets its lines. It ends by SIGINT, as people end it."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "trio_chat", "tail", *arguments],
        env={**served.environment, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # Who runs the tests in the background of a shell ignores it, and so would all it starts.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        with trio.fail_after(15):
            yield Lines(process.stdout)
            process.send_signal(signal.SIGINT)
            complaint = b"".join([part async for part in process.stderr])
            assert await process.wait() == 130, complaint
    finally:
        if process.returncode is None:
            process.kill()
        await process.stdout.aclose()
        await process.stderr.aclose()
