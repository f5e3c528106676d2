"""A handshake is accepted if it is right, however odd, and else refused with a word of help."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from websockets.frames import Frame, Opcode

from tests.waiting import wait_for
from trio_chat.clients.handshake import Refused

from .house import PROPER, accepted, handshake

# --- refused


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
    "body": (handshake(Content_Length="2") + b"{}", 400),
    "chunked body": (handshake(Transfer_Encoding="chunked") + b"0\r\n\r\n", 400),
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


async def pour(stream: trio.abc.Stream) -> None:
    """Send for ever, which must come to an end."""
    with trio.fail_after(3):
        while True:
            await stream.send_all(b"x" * 65_536)


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


# --- accepted


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


# --- never finished


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
