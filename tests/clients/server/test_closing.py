"""The server ends in good order, or at once."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from tests.waiting import wait_for
from trio_chat.clients.frames import text_frame
from trio_chat.clients.server import serve_clients

from .house import handshake


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
async def test_good_order(serve: Any, dial: Any, secure: bool) -> None:
    """Closing the server tells every client to come back, waits for them, and accepts nobody meanwhile."""
    served = await serve(secure=secure)
    port = served.server.port
    wires = [await dial(served) for _ in range(3)]
    for told in served.conversations:
        told.link.offer(text_frame(b"last words"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(served.server.aclose)
        for wire in wires:
            await wire.expect_text("last words")
            assert await wire.expect_close(1012) == "the server restarts"
            await wire.stream.aclose()

    assert [told.closed for told in served.conversations] == [1, 1, 1]
    with pytest.raises(OSError, match="all attempts to connect"):
        await trio.open_tcp_stream("127.0.0.1", port)


async def test_bounded_goodbye(serve: Any, dial: Any) -> None:
    """Closing the server waits for its grace and then cuts who has not left."""
    served = await serve()
    wire = await dial(served)
    began = trio.current_time()
    await served.server.aclose(grace=0.1)

    assert trio.current_time() - began < 1
    await served.last.over.wait()
    await wire.expect_close(1012)


async def test_handshake_during_shutdown(serve: Any, dial: Any) -> None:
    """A handshake that completes while the server closes is turned away for now."""
    served = await serve()
    await dial(served)
    late = await dial(served, shake=False)
    await late.send(handshake()[:-2])
    await wait_for(lambda: served.server.statistics().accepted == 2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(served.server.aclose)
        await trio.testing.wait_all_tasks_blocked()
        await late.send(b"\r\n")
        await late.expect_response(503)
        nursery.cancel_scope.cancel()


async def test_returns_after_closing(dial: Any) -> None:
    """The server's task ends once the server was closed in good order."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    with trio.fail_after(2):
        async with trio.open_nursery() as nursery:
            server = await nursery.start(partial(serve_clients, listeners, {}))
            await server.aclose()


async def test_cancelling(serve: Any, dial: Any) -> None:
    """Cancelling the server cuts every client, tells every conversation, closes the listeners."""
    served = await serve()
    wires = [await dial(served) for _ in range(3)]
    port = served.server.port
    served.server._connections.cancel_scope.cancel()
    for wire in wires:
        await wire.expect_end()

    assert [told.closed for told in served.conversations] == [1, 1, 1]
    with pytest.raises(OSError, match="all attempts to connect"):
        await trio.open_tcp_stream("127.0.0.1", port)


# --- short of an end


async def test_admit_nobody(serve: Any, dial: Any) -> None:
    """Who is connected stays and is served; whoever comes is turned away. The end then waits for nobody."""
    served = await serve()
    wire = await dial(served)
    served.server.admit_nobody()
    late = await dial(served, shake=False)
    await late.send(handshake())

    await late.expect_response(503)
    await wire.expect_echo()
    await wire.stream.aclose()
    await served.last.over.wait()
    with trio.fail_after(1):
        await served.server.aclose()


async def test_close_all(serve: Any, dial: Any) -> None:
    """Closing every link does not stop the server."""
    served = await serve()
    wire = await dial(served)
    served.server.close_all(4401, "fresh tokens, please")

    await wire.expect_close(4401)
    await (await dial(served)).expect_echo()
