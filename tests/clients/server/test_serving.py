"""What a server does besides: TLS, Unix sockets, HTTP, a limit of clients, and counting."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from tests.clients.conftest import Told
from tests.waiting import wait_for
from trio_chat.clients.server import serve_clients

from .house import handshake


async def test_tls(serve: Any, dial: Any) -> None:
    """Over TLS everything is the same, and the conversation knows."""
    served = await serve(secure=True)
    wire = await dial(served)
    await wire.expect_echo("x" * 60_000)

    assert served.last.link.request.secure
    assert served.last.link.request.peer.startswith("127.0.0.1:")


async def test_plain_client_on_a_tls_port(serve: Any, dial: Any) -> None:
    """A client that does not speak TLS is dropped, no failure of ours."""
    served = await serve(secure=True)
    async with await trio.open_tcp_stream("127.0.0.1", served.server.port) as stream:
        await stream.send_all(handshake())
        with trio.fail_after(2):
            while await stream.receive_some():
                pass

    assert served.server.statistics().failed == 0


async def test_unix_socket(nursery: trio.Nursery, tmp_path: Path) -> None:
    """A server may listen on a Unix socket."""
    sock = trio.socket.socket(trio.socket.AF_UNIX)
    await sock.bind(str(tmp_path / "socket"))
    sock.listen()
    peers: list[str] = []

    def meet(link: Any) -> Any:
        peers.append(link.request.peer)
        return Told(link)

    server = await nursery.start(partial(serve_clients, [trio.SocketListener(sock)], {"/ws": meet}))
    async with await trio.open_unix_socket(str(tmp_path / "socket")) as stream:
        await stream.send_all(handshake())
        with trio.fail_after(2):
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 101 ")

    assert peers == ["unix"]
    with pytest.raises(LookupError):
        _ = server.port
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
async def test_http_application(serve: Any, dial: Any, secure: bool) -> None:
    """Any other path goes to the HTTP application: the stream, and what was read of it."""
    called = trio.Event()

    async def application(stream: trio.abc.Stream, received: bytes) -> None:
        assert received.startswith(b"GET /health HTTP/1.1\r\n")
        called.set()
        await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n" + await stream.receive_some())

    served = await serve(secure=secure, http=application)
    wire = await dial(served, shake=False)
    await wire.send(handshake("GET /health HTTP/1.1", Upgrade=None))
    await called.wait()
    await wire.send(b"more")

    assert (await wire.expect_response(200)).endswith(b"\r\n\r\nmore")
    await (await dial(served)).expect_echo()


async def test_too_many_connections(serve: Any, dial: Any) -> None:
    """A client too many gets 503; there is room again when one has left."""
    served = await serve(limits={"connections": 2})
    first, _ = await dial(served), await dial(served)
    wire = await dial(served, shake=False)
    await wire.send(handshake())
    assert b"Retry-After" in await wire.expect_response(503)
    await first.close()
    await first.expect_close(1000)
    await wait_for(lambda: len(served.server.links) == 1)

    await (await dial(served)).expect_echo()


async def test_one_task_a_client(serve: Any, dial: Any) -> None:
    """An idle client costs one task."""
    served = await serve()
    await trio.testing.wait_all_tasks_blocked()
    before = trio.lowlevel.current_statistics().tasks_living
    for _ in range(10):
        await dial(served)

    assert trio.lowlevel.current_statistics().tasks_living - before == 10


async def test_statistics(serve: Any, dial: Any) -> None:
    """A server counts what it did."""
    served = await serve()
    await dial(served)
    wire = await dial(served, shake=False)
    await wire.send(b"?\r\n\r\n")
    await wire.expect_response(400)
    counts = served.server.statistics()

    assert (counts.links, counts.accepted, counts.opened, counts.refused, counts.failed) == (1, 2, 1, 1, 0)
    assert repr(served.server) == "<ClientServer accepting links=1 accepted=2 failed=0>"
