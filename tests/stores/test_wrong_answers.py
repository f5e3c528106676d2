"""A Redis whose answers are sound and not ours: one too many, or of another kind than was asked for.

Something between us and it may do that. Nobody can tell whose answers come then: the connection is given up, rooms go
on in memory meanwhile, and the server stays.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

from tests.waiting import try_until
from trio_chat.errors import TrioChatError
from trio_chat.lobby import open_lobby
from trio_chat.settings import Settings
from trio_chat.stores.memory import MemoryArchive
from trio_chat.stores.redis import RedisHotStore, open_redis

if TYPE_CHECKING:
    from trio_chat.seat import Seat
    from trio_chat.stores.embedded import EmbeddedValkey

KINDS = [
    b"+PONG\r\n",
    b":7\r\n",
    b"*0\r\n",
    b"*3\r\n:1\r\n+a\r\n*0\r\n",
    b"-ERR what\r\n",
    b"$1\r\n\xff\r\n",
    b"*1\r\n$-1\r\n",
]


class Meddler:
    """A proxy in front of a Valkey that puts an answer of its own before the next one. Lives as long as `run`."""

    def __init__(self, server: EmbeddedValkey) -> None:
        self.extra = b""
        self._server = server
        self.port = 0

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listeners[0].socket.getsockname()[1]
        task_status.started()
        await trio.serve_listeners(self._serve, listeners)

    async def _serve(self, client: trio.SocketStream) -> None:
        server = await trio.open_unix_socket(str(self._server.socket))

        async def pass_on(
            source: trio.abc.ReceiveStream, target: trio.abc.SendStream, *, meddle: bool
        ) -> None:
            try:
                async for data in source:
                    extra, self.extra = (self.extra, b"") if meddle else (b"", self.extra)
                    await target.send_all(extra + data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass
            nursery.cancel_scope.cancel()

        async with client, server, trio.open_nursery() as nursery:
            nursery.start_soon(lambda: pass_on(client, server, meddle=False))
            nursery.start_soon(lambda: pass_on(server, client, meddle=True))


async def kept_in_redis(seat: Seat) -> bool:
    """Post, and return whether the message is kept there."""
    return (await seat.post("more")).durability == "redis"


@pytest.mark.parametrize("answer", KINDS)
@pytest.mark.parametrize("asked", ["append", "load", "note", "sync"])
async def test_an_answer_to_something_else(
    valkey_process: EmbeddedValkey, prefix: str, nursery: trio.Nursery, asked: str, answer: bytes
) -> None:
    """Whatever was asked, and whatever came: everything said before and after is there, once, and no room is closed."""
    meddler, archive = Meddler(valkey_process), MemoryArchive()
    await nursery.start(meddler.run)
    url = f"redis://127.0.0.1:{meddler.port}"
    async with open_redis(url, prefix=prefix, timeout=0.3) as hot:
        async with open_lobby(hot=hot, archive=archive, settings=Settings(redis_timeout=0.3)) as lobby:
            async with lobby.join("r", user="ann") as ann:
                await ann.post("one")
                meddler.extra = answer
                await {
                    "append": do_nothing,
                    "load": load,
                    "note": note,
                    "sync": lambda _: lobby.syncer.sync_all(),
                }[asked](hot)
                await ann.post("two")
                assert not meddler.extra
                await try_until(partial(kept_in_redis, ann), seconds=5)
                crashes = lobby.statistics().crashes
    nursery.cancel_scope.cancel()

    assert crashes == 0
    [session] = archive.sessions
    contents = [event.message.content for _, event in sorted(archive.rows(session).items())]
    assert contents[:2] == ["one", "two"]
    assert set(contents[2:]) == {"more"}


async def do_nothing(hot: RedisHotStore) -> None:
    await trio.lowlevel.checkpoint()


async def load(hot: RedisHotStore) -> None:
    """Load the room; whether that succeeds is not what is asked here."""
    with suppress(TrioChatError):
        await hot.load("r")


async def note(hot: RedisHotStore) -> None:
    """Look for a note. There is none, and nothing of another kind is taken for one."""
    with suppress(TrioChatError):
        assert not isinstance(await hot.kept("name"), (int, list))


@pytest.mark.parametrize("answer", KINDS)
async def test_an_answer_too_many_at_the_beginning(
    valkey_process: EmbeddedValkey, prefix: str, nursery: trio.Nursery, answer: bytes
) -> None:
    """A connection that begins so is not used, and another one is made."""
    meddler = Meddler(valkey_process)
    await nursery.start(meddler.run)
    meddler.extra = answer
    async with open_redis(f"redis://127.0.0.1:{meddler.port}", prefix=prefix, require=False) as hot:
        with trio.fail_after(10):
            await hot.wait_health(True)
            assert await hot.load("r") is None
    nursery.cancel_scope.cancel()
