"""The proxy of the battery: what it does to a connection to an echo server, and to that one alone.

Real sockets; a test of delays takes some tenths of a second.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from trio_chat.testing.battery.proxy import Proxy
from trio_chat.testing.battery.toxics import Toxics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


async def echo(stream: trio.SocketStream) -> None:
    try:
        async for data in stream:
            await stream.send_all(data)
    except trio.BrokenResourceError:
        pass


@asynccontextmanager
async def proxied() -> AsyncIterator[Proxy]:
    """A proxy in front of an echo server, cancelled after five seconds."""
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        await nursery.start(trio.serve_listeners, echo, listeners)
        proxy = Proxy(listeners[0].socket.getsockname()[1])
        await nursery.start(proxy.run)
        nursery.cancel_scope.deadline = trio.current_time() + 5
        yield proxy
        nursery.cancel_scope.cancel()


async def connect(proxy: Proxy) -> trio.SocketStream:
    return await trio.open_tcp_stream("127.0.0.1", proxy.port)


async def exchange(stream: trio.SocketStream, data: bytes) -> bytes:
    """Send something and return as much of what comes back, less if the connection ends."""
    back = b""
    await stream.send_all(data)
    while len(back) < len(data) and (part := await stream.receive_some()):
        back += part
    return back


async def test_without_toxics_bytes_pass() -> None:
    """Both ways, and both ends learn of an end."""
    async with proxied() as proxy, await connect(proxy) as stream:
        back = await exchange(stream, b"x" * 300_000)
        await stream.send_eof()

        assert back == b"x" * 300_000
        assert await stream.receive_some() == b""


async def test_latency_delays_and_does_not_slow_down() -> None:
    """Two pieces that are sent at once arrive at once, each after the delay."""
    async with proxied() as proxy, await connect(proxy) as stream:
        proxy.requests = Toxics(latency=0.1)
        began = trio.current_time()
        await stream.send_all(b"a")
        await trio.sleep(0.05)
        await exchange(stream, b"b")
        took = trio.current_time() - began

        assert 0.1 <= took < 0.25


async def test_jitter_keeps_the_order() -> None:
    """Bytes of one connection never overtake each other."""
    async with proxied() as proxy, await connect(proxy) as stream:
        proxy.replies = Toxics(jitter=0.05)
        back = b""
        for number in range(20):
            await stream.send_all(b"%02d" % number)
            await trio.sleep(0.001)
        while len(back) < 40:
            back += await stream.receive_some()

        assert back == b"".join(b"%02d" % number for number in range(20))


async def test_slices_are_all_of_it() -> None:
    """Cut to single bytes, nothing is lost or doubled."""
    async with proxied() as proxy, await connect(proxy) as stream:
        proxy.requests = proxy.replies = Toxics(piece=1)
        data = bytes(range(256)) * 20

        assert await exchange(stream, data) == data


async def test_what_a_hole_took_arrives_when_it_is_healed() -> None:
    """Late and whole."""
    async with proxied() as proxy, await connect(proxy) as stream:
        proxy.requests = Toxics(hole=True)
        await stream.send_all(b"late")
        with trio.move_on_after(0.1) as waiting:
            await stream.receive_some()
        proxy.heal()
        back = await stream.receive_some()

        assert waiting.cancelled_caught
        assert back == b"late"


async def test_who_lacks_swallowed_bytes_is_reset_when_all_is_healed() -> None:
    """Others are not."""
    async with proxied() as proxy, await connect(proxy) as maimed, await connect(proxy) as other:
        await exchange(other, b"before")
        proxy.replies = Toxics(swallow=True)
        await maimed.send_all(b"lost")
        with trio.move_on_after(0.1):
            await maimed.receive_some()
        proxy.heal()

        with pytest.raises(trio.BrokenResourceError):
            await maimed.receive_some()
        assert await exchange(other, b"after") == b"after"


async def test_a_cut_comes_in_the_middle() -> None:
    """So many bytes arrive, then a reset; the next connection is cut as well."""
    async with proxied() as proxy:
        proxy.replies = Toxics(cut=(100, 100))
        for _ in range(2):
            async with await connect(proxy) as stream:
                assert await exchange(stream, b"y" * 80) == b"y" * 80
                with pytest.raises(trio.BrokenResourceError):
                    await exchange(stream, b"y" * 80)
        assert proxy.statistics().resets == 2


async def test_it_refuses() -> None:
    """New connections are reset at once."""
    async with proxied() as proxy:
        proxy.refuse = True
        with pytest.raises(trio.BrokenResourceError):
            async with await connect(proxy) as stream:
                await exchange(stream, b"hello")


async def test_a_watcher_may_let_nothing_more_pass() -> None:
    """What it does counts for the very bytes it saw."""
    async with proxied() as proxy, await connect(proxy) as stream:
        seen: list[tuple[str, bytes]] = []

        def watch(way: str, data: bytes) -> None:
            seen.append((way, data))
            proxy.requests.swallow = True

        proxy.watch = watch
        with trio.move_on_after(0.1) as waiting:
            await exchange(stream, b"secret")

        assert seen == [("requests", b"secret")]
        assert waiting.cancelled_caught
