"""Two servers on one REDIS_PREFIX, which nobody should have, and one of them is cut off from Redis for a while."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import trio

from .house import Serve


class Line:
    """The way to a Unix socket, which can be cut. Lives as long as `run`.

    Attributes:
        whole: whether new connections find somebody.
    """

    def __init__(self, target: str, path: Path) -> None:
        self.whole = True
        self.url = f"unix://{path}"
        self._target = target
        self._path = path
        self._connections: set[trio.CancelScope] = set()

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:  # noqa: ASYNC128 - `serve_listeners` does
        """Carry until cancelled."""
        with trio.socket.socket(trio.socket.AF_UNIX) as listener:
            await listener.bind(str(self._path))
            listener.listen()
            await trio.serve_listeners(self._carry, [trio.SocketListener(listener)], task_status=task_status)

    async def _carry(self, client: trio.SocketStream) -> None:
        if not self.whole:
            return
        with trio.CancelScope() as scope:
            self._connections.add(scope)
            async with await trio.open_unix_socket(self._target) as server, trio.open_nursery() as nursery:
                nursery.start_soon(self._pump, client, server)
                await self._pump(server, client)

    async def _pump(self, source: trio.SocketStream, sink: trio.SocketStream) -> None:
        try:
            async for data in source:
                await sink.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            await sink.aclose()

    def cut(self) -> None:
        """Let nothing pass any more."""
        self.whole = False
        for scope in self._connections:
            scope.cancel()


@pytest.mark.parametrize("wire", ["native"])
async def test_what_the_server_that_was_cut_off_had_told_is_not_lost(
    serve: Serve, room: str, valkey_server: str, tmp_path: Path, nursery: trio.Nursery
) -> None:
    """It is in the next session, under its id, and the other server's members get to know it, too.

    It takes a third of a second: three servers start, and a room tries again when Redis is back.
    """
    line = Line(unquote(urlsplit(valkey_server).path), tmp_path / "line")
    await nursery.start(line.run)
    async with serve() as here, serve(redis_url=line.url, data_dir=tmp_path / "there") as there:
        (ada,) = await here.members(room, "ada")
        first = await ada.send(room, "one")
        (bob,) = await there.members(room, "bob")
        assert bob.shown(room) == ["one"]
        line.cut()
        mine = await bob.send(room, "only there")
        theirs = await ada.send(room, "only here")
        line.whole = True
        await bob.expect_message(room, "only there")
        await bob.expect("expired", room, epoch=first["epoch"])
        again = await bob.expect_message(room, "only there", id=mine["id"])
        # The other one finds out when somebody says something.
        await ada.expect_refused("unavailable", ada.send(room, "two", id="m"))
        await ada.send(room, "two", id="m")
        for content in ("one", "only here"):
            await ada.expect_message(room, content)
        await ada.expect("expired", room, epoch=first["epoch"])
        for content in ("only there", "two"):
            await ada.expect_message(room, content)
    async with serve() as later:
        (cid,) = await later.members(room, "cid")
        page = await cid.page(room)

    assert (mine["durability"], theirs["durability"]) == ("memory", "redis")
    assert (mine["seq"], theirs["seq"], again["seq"]) == (2, 2, 1)
    assert [one["content"] for one in page["messages"]] == ["one", "only here", "only there", "two"]
    nursery.cancel_scope.cancel()
