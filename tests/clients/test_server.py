"""Nothing a client does, or fails to do, is noticed by any other; the server ends in good order."""

from __future__ import annotations

import os
import random
import resource
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from websockets.frames import Frame, Opcode

from tests.waiting import wait_for
from trio_chat.clients.frames import text_frame
from trio_chat.clients.handshake import Refused
from trio_chat.clients.server import serve_clients

PROPER = {
    "Host": "server",
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def handshake(line: str = "GET /ws HTTP/1.1", body: bytes = b"", **changes: str | None) -> bytes:
    """A proper handshake with some headers changed (underscores stand for hyphens) or left out (None)."""
    headers = PROPER | {name.replace("_", "-"): value for name, value in changes.items()}
    lines = [line, *(f"{name}: {value}" for name, value in headers.items() if value is not None)]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


async def pour(stream: trio.abc.Stream) -> None:
    """Send for ever, which must come to an end."""
    with trio.fail_after(3):
        while True:
            await stream.send_all(b"x" * 65_536)


async def accepted(wire: Any) -> None:
    """Expect the answer to a handshake and nothing else."""
    with trio.fail_after(5):
        data = await wire.stream.receive_some()

    assert data.startswith(b"HTTP/1.1 101 "), data
    assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in data
    assert data.endswith(b"\r\n\r\n")


REFUSED = {
    "not HTTP": (b"hello\r\n\r\n", 400),
    "TLS on a plain port": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "no path": (handshake("GET * HTTP/1.1"), 400),
    "absolute path": (handshake("GET http://server/ws HTTP/1.1"), 400),
    "non-ASCII path": (handshake("GET /w\xff HTTP/1.1"), 400),
    "wrong path": (handshake("GET /other HTTP/1.1"), 404),
    "wrong path, no upgrade": (handshake("GET / HTTP/1.1", Upgrade=None), 404),
    "POST": (handshake("POST /ws HTTP/1.1"), 405),
    "HEAD": (handshake("HEAD /ws HTTP/1.1"), 405),
    "HTTP/1.0": (handshake("GET /ws HTTP/1.0"), 400),
    "HTTP/2.0": (handshake("GET /ws HTTP/2.0"), 505),
    "no upgrade": (handshake(Upgrade=None), 426),
    "a browser": (handshake(Upgrade=None, Connection="keep-alive"), 426),
    "upgrade to something else": (handshake(Upgrade="h2c"), 426),
    "no connection header": (handshake(Connection=None), 400),
    "connection without upgrade": (handshake(Connection="keep-alive"), 400),
    "no host": (handshake(Host=None), 400),
    "empty host": (handshake(Host=""), 400),
    "two hosts": (handshake(host="other"), 400),
    "no version": (handshake(Sec_WebSocket_Version=None), 400),
    "two versions": (handshake(sec_websocket_version="13"), 400),
    "version 8": (handshake(Sec_WebSocket_Version="8"), 426),
    "no key": (handshake(Sec_WebSocket_Key=None), 400),
    "two keys": (handshake(sec_websocket_key=PROPER["Sec-WebSocket-Key"]), 400),
    "short key": (handshake(Sec_WebSocket_Key="c2hvcnQ="), 400),
    "key not base64": (handshake(Sec_WebSocket_Key="!!!!!!!!!!!!!!!!!!!!!!!!"), 400),
    **{
        f"non-ASCII {name}": (handshake(**{name: PROPER.get(name.replace("_", "-"), "x") + ", \xff"}), 400)
        for name in (
            *("Host", "Connection", "Upgrade", "Sec_WebSocket_Version", "Sec_WebSocket_Key"),
            *("Sec_WebSocket_Protocol", "Sec_WebSocket_Extensions"),
        )
    },
    "control character in a header": (handshake(Connection="Upgrade\x00"), 400),
    "bare line feeds": (handshake().replace(b"\r\n", b"\n"), 400),
    "a bare line feed": (handshake().replace(b"\r\nUpgrade", b"\nUpgrade"), 400),
    "a bare carriage return": (handshake(Cookie="a\rb"), 400),
    "folded header": (handshake(Cookie="a\r\n b"), 400),
    "two lengths": (handshake(Content_Length="0", content_length="0"), 400),
    "length and chunks": (handshake(Content_Length="0", Transfer_Encoding="chunked"), 400),
    "space before a colon": (handshake().replace(b"Upgrade:", b"Upgrade :"), 400),
    "body": (handshake(body=b"{}", Content_Length="2"), 400),
    "chunked body": (handshake(body=b"0\r\n\r\n", Transfer_Encoding="chunked"), 400),
    "bad length": (handshake(Content_Length="two"), 400),
    "large header": (handshake(Cookie="x" * 17_000), 431),
    "large and endless header": (handshake(Cookie="x" * 17_000)[:-4], 431),
    "many headers": (handshake(**{f"X_{n}": "x" * 10 for n in range(1000)}), 431),
}


@pytest.mark.parametrize(("data", "status"), REFUSED.values(), ids=REFUSED)
async def test_hostile_handshakes(serve: Any, dial: Any, data: bytes, status: int) -> None:
    """A bad handshake gets a status and a text for people; another client does not notice; nothing is left."""
    served = await serve()
    other = await dial(served)
    tasks = trio.lowlevel.current_statistics().tasks_living
    wire = await dial(served, shake=False)
    await wire.send(data)
    response = await wire.expect_response(status)
    head, _, body = response.partition(b"\r\n\r\n")

    assert b"Connection: close" in head
    assert b"Content-Type: text/plain" in head
    assert b"Content-Length: %d\r\n" % len(body) in head
    assert body.endswith(b".\n")
    await wire.stream.aclose()
    await other.expect_echo()
    await wait_for(lambda: trio.lowlevel.current_statistics().tasks_living == tasks)
    assert served.server.statistics().refused == 1
    assert served.server.statistics().failed == 0


async def test_endless_refused_request(serve: Any, dial: Any) -> None:
    """A client that never stops sending is not read for ever, however long a goodbye may take."""
    wire = await dial(await serve(limits={"close_timeout": 60}), shake=False)
    await wire.send(handshake("POST / HTTP/1.1", Content_Length="99999999999"))
    with pytest.raises(trio.BrokenResourceError):
        await pour(wire.stream)


@pytest.mark.parametrize(
    ("data", "status", "expected"),
    [
        (handshake(Sec_WebSocket_Version="8"), 426, b"\r\nSec-WebSocket-Version: 13\r\n"),
        (handshake(Upgrade=None), 426, b"\r\nUpgrade: websocket\r\n"),
        (handshake("POST /ws HTTP/1.1"), 405, b"\r\nAllow: GET\r\n"),
        (handshake("GET / HTTP/1.1"), 404, b"connect to /ws."),
    ],
    ids=["version", "upgrade", "method", "path"],
)
async def test_refusals_help(serve: Any, dial: Any, data: bytes, status: int, expected: bytes) -> None:
    """A refusal says what would have been right."""
    wire = await dial(await serve(), shake=False)
    await wire.send(data)

    assert expected in await wire.expect_response(status)


ODD = {
    "lower case": handshake()
    .lower()
    .replace(b"get /ws http", b"GET /ws HTTP")
    .replace(PROPER["Sec-WebSocket-Key"].lower().encode(), PROPER["Sec-WebSocket-Key"].encode()),
    "upper case": handshake(Connection="UPGRADE", Upgrade="WebSocket"),
    "Firefox": handshake(Connection="keep-alive, Upgrade", Sec_WebSocket_Extensions="permessage-deflate"),
    "subprotocols": handshake(Sec_WebSocket_Protocol="a, b"),
    "odd host": handshake(Host="xn--a..b:80"),
    "non-ASCII cookie": handshake(Cookie="\xff"),
    "repeated header": handshake(Cookie="a", cookie="b"),
    "empty body": handshake(Content_Length="0"),
    "query": handshake("GET /ws?x=%FF HTTP/1.1"),
}


@pytest.mark.parametrize("data", ODD.values(), ids=ODD)
async def test_odd_handshakes(serve: Any, dial: Any, data: bytes) -> None:
    """What is unusual but right is accepted."""
    wire = await dial(await serve(), shake=False)
    await wire.send(data)

    await accepted(wire)


async def test_handshake_byte_by_byte(serve: Any, dial: Any) -> None:
    """A handshake may come in single bytes."""
    wire = await dial(await serve(), shake=False)
    for byte in handshake():
        await wire.send(bytes((byte,)))

    await accepted(wire)


async def test_eager_client(serve: Any, dial: Any) -> None:
    """Frames that come right behind the handshake are heard, in order."""
    wire = await dial(await serve(), shake=False)
    frames = [Frame(Opcode.TEXT, text).serialize(mask=True) for text in (b"a", b"b", b"c")]
    await wire.send(handshake() + frames[0] + frames[1] + frames[2][:3])
    await wire.send(frames[2][3:])
    data = b""
    with trio.fail_after(5):
        while not data.endswith(b"\x81\x01a\x81\x01b\x81\x01c"):
            data += await wire.stream.receive_some()


async def test_slow_head(serve: Any, dial: Any) -> None:
    """A head that does not get finished is answered with 408, however busily it trickles in."""
    wire = await dial(await serve(limits={"handshake_timeout": 0.1}), shake=False)
    with trio.move_on_after(0.2):
        for byte in handshake(Cookie="x" * 1000):
            await wire.send(bytes((byte,)))
            await trio.sleep(0.01)

    await wire.expect_response(408)


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
async def test_silent_connection(serve: Any, dial: Any, secure: bool) -> None:
    """A connection without a word is closed without one."""
    served = await serve(secure=secure, limits={"handshake_timeout": 0.1})
    with trio.fail_after(2):
        async with await trio.open_tcp_stream("127.0.0.1", served.server.port) as stream:
            assert await stream.receive_some() == b""
    assert served.server.statistics().refused == 0


async def test_plain_client_on_a_tls_port(serve: Any, dial: Any) -> None:
    """A client that does not speak TLS is dropped, no failure of ours."""
    served = await serve(secure=True)
    async with await trio.open_tcp_stream("127.0.0.1", served.server.port) as stream:
        await stream.send_all(handshake())
        with trio.fail_after(2):
            while await stream.receive_some():
                pass

    assert served.server.statistics().failed == 0


async def test_tls(serve: Any, dial: Any) -> None:
    """Over TLS everything is the same, and the conversation knows."""
    served = await serve(secure=True)
    wire = await dial(served)
    await wire.expect_echo("x" * 60_000)

    assert served.last.link.request.secure
    assert served.last.link.request.peer.startswith("127.0.0.1:")


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


async def test_failing_http_application(serve: Any, dial: Any, caplog: pytest.LogCaptureFixture) -> None:
    """An HTTP application that fails ends its connection only, and is logged without what it said."""

    async def application(stream: trio.abc.Stream, received: bytes) -> None:
        await trio.lowlevel.checkpoint()
        raise RuntimeError("a secret")

    served = await serve(http=application)
    wire = await dial(served, shake=False)
    await wire.send(handshake("GET / HTTP/1.1"))
    with trio.fail_after(2):
        assert await wire.stream.receive_some() == b""
    await (await dial(served)).expect_echo()

    assert served.server.statistics().failed == 1
    assert "RuntimeError" in caplog.text
    assert "secret" not in caplog.text


async def test_admission(serve: Any, dial: Any) -> None:
    """A proper handshake may still be turned away, by what is in it."""

    def admit(request: Any) -> None:
        if request.headers.get(b"origin") != b"https://ours":
            raise Refused(403, "This origin is not allowed.")

    served = await serve(admit=admit)
    wire = await dial(served, shake=False)
    await wire.send(handshake(Origin="https://theirs"))
    await wire.expect_response(403)
    wire = await dial(served, shake=False)
    await wire.send(handshake(Origin="https://ours"))

    await accepted(wire)


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


class Broken:
    """A conversation that fails where it is told to."""

    def __init__(self, link: Any, where: str) -> None:
        self.where = where
        self.link = link
        self.fail("constructor")

    def fail(self, where: str) -> None:
        """Fail if this is the place."""
        if where == self.where:
            raise ValueError("a secret")

    def on_text(self, payload: bytes) -> None:
        """Start a task that closes."""
        self.fail("text")
        self.link.start_soon(self.task)

    def on_closed(self) -> None:
        """Perhaps fail."""
        self.fail("closed")

    async def task(self) -> None:
        """Close, or fail in a nursery of its own."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            self.fail("task")
            self.link.close(1000)


@pytest.mark.parametrize("lane", ["fast", "slow"])
@pytest.mark.parametrize("where", ["constructor", "text", "task", "closed"])
async def test_containment(
    serve: Any, dial: Any, caplog: pytest.LogCaptureFixture, where: str, lane: str
) -> None:
    """A conversation that fails, wherever it does, ends its own connection only, and is logged without content."""
    failing = True
    served = await serve(conversation=lambda link: Broken(link, where if failing else ""))
    wire = await dial(served)
    if where == "constructor":
        pass  # the end is on its way already
    elif lane == "slow":
        await wire.say_frame(Opcode.TEXT, b"x", fin=False)
        await wire.say_frame(Opcode.CONT, b"x", fin=True)
    else:
        await wire.say("x")
    await wire.expect_close(1000 if where == "closed" else 1011)
    failing = False
    other = await dial(served)
    await other.say("x")

    await other.expect_close(1000)
    assert "ValueError at test_server.py:" in caplog.text
    assert "secret" not in caplog.text


async def test_other_links_do_not_notice(serve: Any, dial: Any) -> None:
    """A client next to one that failed goes on echoing, and the tasks are back to where they were."""
    served = await serve()
    other = await dial(served)
    tasks = trio.lowlevel.current_statistics().tasks_living
    wire = await dial(served)
    await wire.say("fail")
    await wire.expect_close(1011)
    await wire.stream.aclose()

    await other.expect_echo()
    await wait_for(lambda: trio.lowlevel.current_statistics().tasks_living == tasks)


async def test_one_task_a_client(serve: Any, dial: Any) -> None:
    """An idle client costs one task."""
    served = await serve()
    await trio.testing.wait_all_tasks_blocked()
    before = trio.lowlevel.current_statistics().tasks_living
    for _ in range(10):
        await dial(served)

    assert trio.lowlevel.current_statistics().tasks_living - before == 10


async def test_clients_cut_anywhere(serve: Any, dial: Any) -> None:
    """Clients that vanish in the middle of anything leave no task and no descriptor, and nothing escapes."""
    served = await serve()
    other = await dial(served)
    await other.expect_echo()
    stream = handshake() + Frame(Opcode.TEXT, b"x" * 50).serialize(mask=True) * 2
    tasks, descriptors = trio.lowlevel.current_statistics().tasks_living, open_descriptors()
    for size in range(0, len(stream), 3):
        victim = await trio.open_tcp_stream("127.0.0.1", served.server.port)
        if size % 2:
            victim.socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await victim.send_all(stream[:size])
        await victim.aclose()

    await wait_for(lambda: trio.lowlevel.current_statistics().tasks_living == tasks)
    assert open_descriptors() == descriptors
    assert served.server.statistics().failed == 0
    await other.expect_echo()


def mutated(chance: random.Random) -> bytes:
    """A handshake and some frames, with a few mistakes."""
    stream = bytearray(handshake() + b"".join(bytes(Frame(op, b"x").serialize(mask=True)) for op in Opcode))
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(stream))
        stream[at : at + chance.randint(0, 3)] = chance.randbytes(chance.randint(0, 4))
    return bytes(stream)


@pytest.mark.parametrize("seed", range(10))
async def test_fuzz(serve: Any, dial: Any, seed: int) -> None:
    """Mutated handshakes and frames are answered or dropped; nothing escapes, and a second client echoes.

    Takes a while for the number of its clients.
    """
    chance = random.Random(seed)
    served = await serve()
    other = await dial(served)
    for _ in range(1000):
        stream = mutated(chance)
        async with await trio.open_tcp_stream("127.0.0.1", served.server.port) as victim:
            await victim.send_all(stream)
            await victim.send_eof()
            with trio.fail_after(2), suppress(trio.BrokenResourceError):
                while await victim.receive_some():
                    pass
        await other.expect_echo()

    assert served.server.statistics().failed == 0


async def test_out_of_descriptors(serve: Any, dial: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Without descriptors the accepting pauses, says so once, and goes on when there are some again.

    Takes as long as the pause.
    """
    served = await serve()
    other = await dial(served)
    waiting = trio.socket.socket()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.open("/dev/null", os.O_RDONLY)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        await waiting.connect(("127.0.0.1", served.server.port))
        await wait_for(lambda: "cannot accept" in caplog.text)
        await trio.sleep(0.15)
        await other.expect_echo()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    stream = trio.SocketStream(waiting)
    await stream.send_all(handshake())
    with trio.fail_after(2):
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 101 ")

    assert caplog.text.count("cannot accept") == 1
    assert "accepting clients again" in caplog.text
    await stream.aclose()


async def test_program_that_stood_still(serve: Any, dial: Any) -> None:
    """Time in which the program stood still is not held against the clients."""
    served = await serve(limits={"ping_interval": 0.1, "ping_timeout": 0.1})
    wires = [await dial(served) for _ in range(3)]
    for _ in range(3):
        time.sleep(0.3)  # noqa: ASYNC251
        await trio.lowlevel.checkpoint()
    for wire in wires:
        assert (await wire.next()).opcode is Opcode.PING

    assert len(served.server.links) == 3


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


async def test_close_all(serve: Any, dial: Any) -> None:
    """Closing every link does not stop the server."""
    served = await serve()
    wire = await dial(served)
    served.server.close_all(4401, "fresh tokens, please")

    await wire.expect_close(4401)
    await (await dial(served)).expect_echo()


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


async def test_returns_after_closing(dial: Any) -> None:
    """The server's task ends once the server was closed in good order."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    with trio.fail_after(2):
        async with trio.open_nursery() as nursery:
            server = await nursery.start(partial(serve_clients, listeners, {}))
            await server.aclose()


async def test_unix_socket(nursery: trio.Nursery, tmp_path: Path) -> None:
    """A server may listen on a Unix socket."""
    sock = trio.socket.socket(trio.socket.AF_UNIX)
    await sock.bind(str(tmp_path / "socket"))
    sock.listen()
    peers: list[str] = []

    def meet(link: Any) -> Any:
        peers.append(link.request.peer)
        return Broken(link, "")

    server = await nursery.start(partial(serve_clients, [trio.SocketListener(sock)], {"/ws": meet}))
    async with await trio.open_unix_socket(str(tmp_path / "socket")) as stream:
        await stream.send_all(handshake())
        with trio.fail_after(2):
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 101 ")

    assert peers == ["unix"]
    with pytest.raises(LookupError):
        _ = server.port
    nursery.cancel_scope.cancel()


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
