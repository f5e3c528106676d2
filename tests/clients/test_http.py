"""HTTP on accepted connections: whatever a client does with a request, it costs only itself, and never for ever."""

from __future__ import annotations

import http.client
import math
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing
from websockets.frames import Frame, Opcode

from tests.waiting import wait_for
from trio_chat.clients.http import HttpSide
from trio_chat.clients.server import ServerLimits

LIMITS: dict[str, Any] = {"outbox_stall": 0.2, "close_timeout": 0.2, "request_head": 4096}


def get(target: str = "/page", *headers: str) -> bytes:
    """Return a request."""
    return "\r\n".join([f"GET {target} HTTP/1.1", "Host: server", *headers, "", ""]).encode()


HANDSHAKE = get(
    "/ws",
    "Connection: Upgrade",
    "Upgrade: WebSocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


class Site:
    """An application that does what the path says, and notes how each request ended."""

    def __init__(self) -> None:
        self.ended: list[str] = []
        self.reached = trio.Event()
        self.paths: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        outcome = "failed"
        self.paths.append(scope["path"])
        try:
            outcome = await self.serve(scope, receive, send)
        except trio.Cancelled:
            outcome = "cancelled"
            raise
        finally:
            self.ended.append(outcome)

    async def serve(self, scope: Any, receive: Any, send: Any) -> str:
        """Serve one request; return how it went."""
        assert scope["type"] == "http"
        match scope["path"]:
            case "/fail":
                raise RuntimeError("a secret that must not be logged")
            case "/wait":
                self.reached.set()
                while (await receive())["type"] == "http.request":
                    pass
                return "left"
            case "/huge":
                self.reached.set()
                await respond(send, b"x" * 20_000_000)
            case "/read":
                size = 0
                while (message := await receive()).get("more_body"):
                    size += len(message["body"])
                await respond(send, b"%d" % size)
            case _:
                await respond(send, scope["path"].encode(), b"close" if scope["path"] == "/bye" else None)
        return "answered"


async def respond(send: Any, body: bytes, connection: bytes | None = None) -> None:
    headers = [(b"content-length", b"%d" % len(body))]
    if connection:
        headers.append((b"connection", connection))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
async def open_site(serve: Any, dial: Any, site: Site) -> Callable[..., Awaitable[Any]]:
    """Give a function that serves the site and returns a client without a WebSocket, `served` being on it."""

    async def start(*, secure: bool = False, **limits: Any) -> Any:
        merged = {**LIMITS, **limits}
        side = HttpSide(site, ServerLimits(**merged))
        served = await serve(secure=secure, limits=merged, http=side.serve)
        wire = await dial(served, shake=False)
        wire.served, wire.side = served, side
        return wire

    return start


async def expect(wire: Any, status: int, body: bytes | None = None) -> None:
    """Expect a response with a Content-Length on a connection that stays."""
    with trio.fail_after(5):
        while b"\r\n\r\n" not in wire.raw:
            wire.raw += await more(wire)
        head, _, rest = wire.raw.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 %d" % status), head
        size = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        while len(rest) < size:
            rest += await more(wire)

    wire.raw = rest[size:]
    assert body is None or rest[:size] == body


async def pour(stream: trio.abc.Stream) -> None:
    """Send for ever, which must come to an end."""
    with trio.fail_after(3):
        while True:
            await stream.send_all(b"x" * 65_536)


async def more(wire: Any) -> bytes:
    data = bytes(await wire.stream.receive_some())
    assert data, "the connection has ended"
    return data


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
async def test_keep_alive(open_site: Any, secure: bool) -> None:
    """Several requests are answered on one connection, cut anywhere."""
    wire = await open_site(secure=secure)
    for number in range(3):
        request = get(f"/{number}")
        await wire.send(request[:20])
        await trio.lowlevel.checkpoint()
        await wire.send(request[20:])
        await expect(wire, 200, b"/%d" % number)

    await wire.stream.aclose()
    await wait_for(lambda: repr(wire.side) == "<HttpSide connections=0 requests=0>")
    assert wire.served.server.statistics().failed == 0


async def test_pipelined(open_site: Any) -> None:
    """Requests sent without waiting are answered one after the other."""
    wire = await open_site()
    await wire.send(get("/1") + get("/2") + get("/3"))

    for body in (b"/1", b"/2", b"/3"):
        await expect(wire, 200, body)


async def test_standard_client(open_site: Any) -> None:
    """Python's own client gets its answers, a large body included."""
    wire = await open_site()

    def talk() -> list[bytes]:
        client = http.client.HTTPConnection("127.0.0.1", wire.served.server.port, timeout=5)
        try:
            client.request("POST", "/read", b"x" * 3_000_000)
            first = client.getresponse().read()
            client.request("GET", "/again")
            return [first, client.getresponse().read()]
        finally:
            client.close()

    assert await trio.to_thread.run_sync(talk) == [b"3000000", b"/again"]


async def test_closing(open_site: Any) -> None:
    """A response that says so ends the connection."""
    wire = await open_site()
    await wire.send(get("/bye"))

    assert (await wire.expect_response(200)).endswith(b"/bye")


async def test_failing_application(open_site: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A request whose application fails gets 500, and the log says where, but not what was said."""
    wire = await open_site()
    await wire.send(get("/fail"))
    await expect(wire, 500, b"")

    assert "RuntimeError at test_http.py:" in caplog.text
    assert "secret" not in caplog.text
    assert wire.served.server.statistics().failed == 0


async def test_malformed(open_site: Any) -> None:
    """What is no request gets 400, also when it comes second."""
    wire = await open_site()
    await wire.send(get())
    await expect(wire, 200)
    await wire.send(b"no request at all\r\n\r\n")

    await wire.expect_response(400)


def head(*lines: str, host: str = "Host: server") -> bytes:
    """Return a request with these lines and nothing else but a host."""
    first, *rest = lines or ("GET /page HTTP/1.1",)
    return "\r\n".join([first, *([host] if host else []), *rest, "", ""]).encode("latin-1")


LOOSE = {
    "large": (head("GET /page HTTP/1.1", "X: " + "x" * 5000), 431),
    "large target": (head(f"GET /{'x' * 5000} HTTP/1.1"), 431),
    "bare line feeds": (head().replace(b"\r\n", b"\n"), 400),
    "a bare line feed": (head("GET /page HTTP/1.1", "X: a\nY: b"), 400),
    "a bare line feed at the end": (head()[:-2] + b"\n", 400),
    "a bare carriage return": (head("GET /page HTTP/1.1", "X: a\rY: b"), 400),
    "folded": (head("GET /page HTTP/1.1", "X: a", " b"), 400),
    "folded with a tab": (head("GET /page HTTP/1.1", "X: a", "\tb"), 400),
    "length and chunks": (
        head("POST /read HTTP/1.1", "Transfer-Encoding: chunked", "Content-Length: 5") + b"0\r\n\r\n",
        400,
    ),
    "the same length twice": (
        head("POST /read HTTP/1.1", "Content-Length: 2", "content-length: 2") + b"ok",
        400,
    ),
    "the same length in a list": (head("POST /read HTTP/1.1", "Content-Length: 2, 2") + b"ok", 400),
    "chunks in HTTP/1.0": (head("POST /read HTTP/1.0", "Transfer-Encoding: chunked") + b"0\r\n\r\n", 400),
    "two hosts": (head("GET /page HTTP/1.1", "Host: other"), 400),
    "no host": (head(host=""), 400),
    "non-ASCII host": (head(host="Host: \xff"), 400),
    "absolute target": (head("GET http://server/page HTTP/1.1"), 400),
    "no target": (head("OPTIONS * HTTP/1.1"), 400),
    "HTTP/2.0": (head("GET /page HTTP/2.0"), 505),
    "HTTP/1.2": (head("GET /page HTTP/1.2"), 505),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
}


@pytest.mark.parametrize("place", ["first", "second", "pipelined"])
@pytest.mark.parametrize(("data", "status"), LOOSE.values(), ids=LOOSE)
async def test_loose_heads(open_site: Any, site: Site, data: bytes, status: int, place: str) -> None:
    """A head that others may understand differently is refused, wherever on a connection it comes."""
    wire = await open_site()
    if place != "first":
        await wire.send(get() + (data if place == "pipelined" else b""))
        await expect(wire, 200, b"/page")
    if place != "pipelined":
        await wire.send(data)
    rest = wire.raw
    with trio.fail_after(5):
        while chunk := await wire.stream.receive_some():
            rest += chunk

    assert rest.startswith(b"HTTP/1.1 %d " % status), rest
    assert len(site.paths) == (place != "first")


async def test_old_client(open_site: Any) -> None:
    """A request in HTTP/1.0, which need not name a host, is answered, and that is all."""
    wire = await open_site()
    await wire.send(b"GET /page HTTP/1.0\r\n\r\n")

    assert (await wire.expect_response(200)).endswith(b"/page")


async def test_endless_head(open_site: Any) -> None:
    """A second head that does not end is refused when it is too long."""
    wire = await open_site()
    await wire.send(get())
    await expect(wire, 200)
    await wire.send(b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000)

    await wire.expect_response(431)


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
async def test_websocket_on_used_connection(open_site: Any, secure: bool) -> None:
    """A WebSocket handshake may come on a connection that was used for requests, as proxies do."""
    wire = await open_site(secure=secure)
    for target in ("/one", "/two"):
        await wire.send(get(target))
        await expect(wire, 200)
    await wire.shake_hands()
    await wire.expect_echo()

    assert wire.served.last.link.statistics().fast
    assert repr(wire.side) == "<HttpSide connections=0 requests=0>"


async def test_websocket_in_pieces(open_site: Any) -> None:
    """Such a handshake may come byte by byte."""
    wire = await open_site()
    await wire.send(get())
    await expect(wire, 200)
    for byte in HANDSHAKE:
        await wire.send(bytes((byte,)))

    with trio.fail_after(5):
        assert (await more(wire)).startswith(b"HTTP/1.1 101 ")


async def test_pipelined_websocket(open_site: Any, caplog: pytest.LogCaptureFixture) -> None:
    """It need not wait for the answer before it, and neither need what follows it."""
    wire = await open_site()
    await wire.send(get() + HANDSHAKE + Frame(Opcode.TEXT, b"hello").serialize(mask=True))
    await expect(wire, 200, b"/page")
    with trio.fail_after(5):
        while not wire.raw.endswith(b"\x81\x05hello"):
            wire.raw += await more(wire)
    await wire.stream.aclose()
    await wait_for(lambda: repr(wire.side) == "<HttpSide connections=0 requests=0>")

    assert not caplog.text


@pytest.mark.parametrize(
    "offer",
    [
        get(
            "/page", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"
        ),
        get("/page", "Connection: Upgrade", "Upgrade: h2c"),
    ],
    ids=["settings", "bare"],
)
async def test_http2_offer(open_site: Any, offer: bytes) -> None:
    """An offer to speak HTTP/2 is overlooked."""
    wire = await open_site()
    for _ in range(2):
        await wire.send(offer)
        await expect(wire, 200, b"/page")


async def test_http2_unasked(open_site: Any) -> None:
    """HTTP/2 without asking is no request of ours."""
    wire = await open_site()
    await wire.send(get())
    await expect(wire, 200)
    await wire.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")

    assert b"\x00" not in await more(wire)


async def test_client_leaves(open_site: Any, site: Site) -> None:
    """The application hears that its client has left."""
    wire = await open_site()
    await wire.send(get("/wait"))
    await site.reached.wait()
    await trio.aclose_forcefully(wire.stream)
    await wait_for(lambda: bool(site.ended))

    assert site.ended == ["left"]


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
async def test_client_leaves_behind(open_site: Any, site: Site, secure: bool) -> None:
    """It hears so, too, if the client has sent further requests, which come to nothing."""
    wire = await open_site(secure=secure)
    await wire.send(get("/wait") + get("/1"))
    await site.reached.wait()
    await wire.send(get("/2") + get("/3"))
    await trio.testing.wait_all_tasks_blocked()
    await trio.aclose_forcefully(wire.stream)
    await wait_for(lambda: bool(site.ended))

    assert site.ended == ["left"]
    assert site.paths == ["/wait"]


async def test_far_ahead(open_site: Any, site: Site) -> None:
    """A client that sends far too much before it has its answer has left."""
    wire = await open_site()
    await wire.send(get("/wait") + b"x" * 200_000)
    await wait_for(lambda: bool(site.ended))

    assert site.ended == ["left"]


async def test_client_does_not_read(open_site: Any, site: Site) -> None:
    """A client that does not read its answer is cut after `outbox_stall`, and the request is cancelled.

    Takes that long.
    """
    wire = await open_site()
    await wire.send(get("/huge"))
    await wait_for(lambda: bool(site.ended))

    assert site.ended == ["cancelled"]
    assert wire.served.server.statistics().failed == 0


async def test_shutdown_while_client_does_not_read(open_site: Any, site: Site) -> None:
    """A client that does not read does not hold up the end of the server, whatever hypercorn shields."""
    wire = await open_site(outbox_stall=None)
    await wire.send(get("/huge"))
    await site.reached.wait()
    await trio.testing.wait_all_tasks_blocked()
    with trio.fail_after(1):
        await wire.served.server.aclose()
        await wait_for(lambda: bool(site.ended))

    assert site.ended == ["cancelled"]


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
async def test_early_answer(open_site: Any, secure: bool) -> None:
    """An answer given before the body was read arrives, though much of the body was on its way, and ends the connection."""
    wire = await open_site(secure=secure)
    await wire.send(
        b"POST /early HTTP/1.1\r\nHost: server\r\nContent-Length: 50000000\r\n\r\n" + b"x" * 500_000
    )
    async with trio.open_nursery() as nursery:

        async def go_on() -> None:
            try:
                for _ in range(5):
                    await wire.stream.send_all(b"x" * 65_536)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass

        nursery.start_soon(go_on)
        await expect(wire, 200, b"/early")
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
async def test_endless_body(open_site: Any, secure: bool) -> None:
    """A client that never stops sending after its answer is not read for ever, however long a goodbye may take."""
    wire = await open_site(secure=secure, close_timeout=60)
    await wire.send(b"POST /early HTTP/1.1\r\nHost: server\r\nContent-Length: 99999999999\r\n\r\n")
    await expect(wire, 200, b"/early")
    with pytest.raises(trio.BrokenResourceError):
        await pour(wire.stream)


async def test_tiny_chunks(open_site: Any) -> None:
    """A body of very many very small chunks is read to its end."""
    wire = await open_site()
    await wire.send(b"POST /read HTTP/1.1\r\nHost: server\r\nTransfer-Encoding: chunked\r\n\r\n")
    await wire.send(b"1\r\nx\r\n" * 3000 + b"0\r\n\r\n")

    await expect(wire, 200, b"3000")


async def test_continue(open_site: Any) -> None:
    """A client that waits to be told to send its body is told."""
    wire = await open_site()
    await wire.send(
        b"POST /read HTTP/1.1\r\nHost: server\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    )
    assert (await more(wire)).startswith(b"HTTP/1.1 100 ")
    await wire.send(b"ok")

    await expect(wire, 200, b"2")


async def test_idle(open_site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection on which no further request comes is closed after a while, half a request making no difference."""
    monkeypatch.setattr("trio_chat.clients.http._KEEP_ALIVE", 0.1)
    wire = await open_site()
    await wire.send(get())
    await expect(wire, 200)
    await wire.send(b"GET /slowly HTTP/1.1\r\n")

    with trio.fail_after(2):
        assert await wire.stream.receive_some() == b""


async def test_waiting_is_not_idle(open_site: Any, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that takes longer than an idle connection is kept is answered nevertheless. Waits that long."""
    monkeypatch.setattr("trio_chat.clients.http._KEEP_ALIVE", 0.05)
    wire = await open_site()
    await wire.send(get())
    await expect(wire, 200)
    await wire.send(get("/wait"))
    await site.reached.wait()
    await trio.sleep(0.15)

    assert site.ended == ["answered"]


async def test_wait_quiet(open_site: Any, site: Site) -> None:
    """One can wait until no request is being answered."""
    wire = await open_site()
    await wire.side.wait_quiet()
    await wire.send(get("/wait"))
    await site.reached.wait()
    with trio.move_on_after(0.02) as patience:
        await wire.side.wait_quiet()
    assert patience.cancelled_caught
    await trio.aclose_forcefully(wire.stream)
    with trio.fail_after(2):
        await wire.side.wait_quiet()

    assert site.ended == ["left"]


def test_queue_is_unbounded(site: Site) -> None:
    """The queue to the application has no bound: with any, an early answer could wait for itself."""
    assert HttpSide(site, ServerLimits())._config.max_app_queue_size == math.inf
