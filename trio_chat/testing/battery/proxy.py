"""A TCP proxy that does to connections what networks do: delays, slices, resets, black holes, swallowed replies.

1. Each way has its own `Toxics`. They are read whenever bytes pass, so they can be changed at any time.
2. What a black hole has taken arrives when it is healed, late and whole, as TCP would bring it. What was swallowed is
   gone, so that connection is reset when all is healed.
3. Whatever happens to one connection happens to it alone.
"""

from __future__ import annotations

import math
import random
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec
import trio
from typing_extensions import override

from trio_chat.testing.battery.toxics import Link, Toxics, abort, send_piece

if TYPE_CHECKING:
    from collections.abc import Callable

Way: TypeAlias = Literal["requests", "replies"]

_CHUNK = 65_536


class ProxyStatistics(msgspec.Struct, frozen=True):
    """Counts since the start; `open` is of now."""

    accepted: int
    open: int
    resets: int


class Proxy:
    """See the module. Lives as long as `run`.

    Args:
        port: where the server is, on 127.0.0.1.
        seed: of whatever is random.

    Attributes:
        watch: called with all bytes before they are sent on. It may change the toxics, and they count for these bytes.
        refuse: whether new connections are reset at once.
    """

    def __init__(self, port: int, *, seed: int = 0) -> None:
        self.target = port
        self.port = 0
        self.requests = Toxics()
        self.replies = Toxics()
        self.refuse = False
        self.watch: Callable[[Way, bytes], None] | None = None
        self._random = random.Random(seed)  # noqa: S311 - no secret
        self._links: set[Link] = set()
        self._accepted = self._resets = 0
        self._healed = trio.Event()

    @override
    def __repr__(self) -> str:
        return f"<Proxy {self.port} -> {self.target} open={len(self._links)} accepted={self._accepted}>"

    def statistics(self) -> ProxyStatistics:
        """Return the counts of now."""
        return ProxyStatistics(self._accepted, len(self._links), self._resets)

    def heal(self) -> None:
        """Let bytes pass as if nothing had been; connections that lack some are reset."""
        self.requests, self.replies = Toxics(), Toxics()
        self.refuse, self.watch = False, None
        for link in list(self._links):
            if link.maimed:
                self._reset(link)
        self._healed.set()
        self._healed = trio.Event()

    def reset_all(self) -> None:
        """Reset every connection, now."""
        for link in list(self._links):
            self._reset(link)

    async def run(self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled, on a free port of 127.0.0.1, which is what the start yields."""
        listeners = await trio.open_tcp_listeners(self.port, host="127.0.0.1")
        self.port = listeners[0].socket.getsockname()[1]
        task_status.started(self.port)
        await trio.serve_listeners(self._serve, listeners)

    async def _serve(self, client: trio.SocketStream) -> None:
        self._accepted += 1
        try:
            if self.refuse:
                abort(client.socket)
                return
            try:
                server = await trio.open_tcp_stream("127.0.0.1", self.target)
            except OSError:
                abort(client.socket)
                return
            await self._join(Link(client, server))
        finally:
            client.socket.close()

    async def _join(self, link: Link) -> None:
        self._links.add(link)
        try:
            async with trio.open_nursery() as nursery:
                link.scope = nursery.cancel_scope
                nursery.start_soon(partial(self._carry, link, link.client, link.server, "requests"))
                nursery.start_soon(partial(self._carry, link, link.server, link.client, "replies"))
        finally:
            self._links.discard(link)
            link.server.socket.close()

    def _reset(self, link: Link) -> None:
        if link.over:
            return
        link.over = True
        self._resets += 1
        abort(link.client.socket)
        abort(link.server.socket)
        link.scope.cancel()

    async def _carry(self, link: Link, source: trio.SocketStream, sink: trio.SocketStream, way: Way) -> None:
        """Carry one way until its source ends, and pass that on. What is delayed is on its way meanwhile."""
        delayed, arriving = trio.open_memory_channel[tuple[float, bytes]](math.inf)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._deliver, link, arriving, sink, way)
            try:
                while data := await source.receive_some(_CHUNK):
                    if self.watch is not None:
                        self.watch(way, data)
                    delay = self._delay(self._toxics(way))
                    delayed.send_nowait((trio.current_time() + delay, data))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self._reset(link)
            delayed.close()
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await sink.send_eof()

    def _delay(self, toxics: Toxics) -> float:
        return toxics.latency + self._random.uniform(0, toxics.jitter)

    async def _deliver(
        self,
        link: Link,
        arriving: trio.MemoryReceiveChannel[tuple[float, bytes]],
        sink: trio.SocketStream,
        way: Way,
    ) -> None:
        async for due, data in arriving:
            await trio.sleep_until(due)
            while self._toxics(way).hole:
                await self._healed.wait()
            if self._toxics(way).swallow:
                link.maimed = True
                continue
            try:
                await self._send(link, sink, data, self._toxics(way))
            except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
                self._reset(link)
                return

    def _toxics(self, way: Way) -> Toxics:
        return self.requests if way == "requests" else self.replies

    async def _send(self, link: Link, sink: trio.SocketStream, data: bytes, toxics: Toxics) -> None:
        if toxics.cut is not None:
            left = self._random.randint(*toxics.cut) if link.left is None else link.left
            link.left = left - len(data)
            if link.left <= 0:
                await sink.send_all(data[: max(len(data) + link.left, 0)])
                self._reset(link)
                return
        if not toxics.piece:
            await sink.send_all(data)
            return
        for start in range(0, len(data), toxics.piece):
            await send_piece(sink, data[start : start + toxics.piece])
