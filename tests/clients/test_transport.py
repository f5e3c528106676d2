"""Between the socket and the text: messages keep their order, goodbyes arrive, and time limits are kept."""

from __future__ import annotations

import gc
from typing import Any

import pytest
import trio
from websockets.frames import Close, Frame, Opcode

from tests.waiting import wait_for
from trio_chat.clients.frames import MAX_SIGNS, ping_frame, text_frame
from trio_chat.clients.handshake import HeadReader
from trio_chat.clients.slow_lane import SlowLane
from trio_chat.clients.transport import Link
from trio_chat.errors import CloseCode

FAST = {"ping_interval": 0.1, "ping_timeout": 0.1}


async def test_echo(serve: Any, dial: Any) -> None:
    """Texts of all sizes go through the fast lane and come back."""
    served = await serve()
    wire = await dial(served)
    for text in ("", "hello", "é" * 100, "x" * 65_536):
        await wire.expect_echo(text)

    assert served.last.link.statistics().fast
    assert served.last.link.statistics().messages == 4


async def test_request(serve: Any, dial: Any) -> None:
    """A conversation sees how its client asked: path, query, headers by lower-case name, address."""
    served = await serve()
    wire = await dial(served, shake=False)
    await wire.shake_hands("/ws?room=a&room=b")
    request = served.last.link.request

    assert (request.path, request.query, request.secure) == ("/ws", "room=a&room=b", False)
    assert request.headers[b"sec-websocket-version"] == b"13"
    assert request.peer == f"127.0.0.1:{wire.stream.socket.getsockname()[1]}"


async def test_byte_by_byte(serve: Any, dial: Any) -> None:
    """A client that sends single bytes is understood."""
    wire = await dial(await serve())
    for byte in Frame(Opcode.TEXT, b"slowly").serialize(mask=True):
        await wire.send(bytes((byte,)))

    await wire.expect_text("slowly")


async def test_slow_lane_keeps_order(serve: Any, dial: Any) -> None:
    """Texts, fragments, pings and texts again: every message arrives once, in order, and the pings are answered."""
    served = await serve()
    wire = await dial(served)
    await wire.say("one")
    await wire.say_frame(Opcode.TEXT, b"tw", fin=False)
    await wire.say_frame(Opcode.PING, b"within")
    await wire.say_frame(Opcode.CONT, b"", fin=False)
    await wire.say_frame(Opcode.CONT, b"o", fin=True)
    await wire.say("three")
    events = [await wire.next() for _ in range(4)]

    assert [e.data for e in events if e.opcode is Opcode.TEXT] == [b"one", b"two", b"three"]
    assert [e.data for e in events if e.opcode is Opcode.PONG] == [b"within"]
    assert not served.last.link.statistics().fast


async def test_character_across_fragments(serve: Any, dial: Any) -> None:
    """A character may be cut by a fragment's end."""
    wire = await dial(await serve())
    await wire.say_frame(Opcode.TEXT, "é".encode()[:1], fin=False)
    await wire.say_frame(Opcode.CONT, "é".encode()[1:], fin=True)

    await wire.expect_text("é")


async def test_ping_is_answered(serve: Any, dial: Any) -> None:
    """A ping is answered with its payload, and the lane stays fast."""
    served = await serve()
    wire = await dial(served)
    await wire.say_frame(Opcode.PING, b"payload")

    assert await wire.next() == Frame(Opcode.PONG, b"payload")
    await wire.expect_echo()
    assert served.last.link.statistics().fast


async def test_pongs_nobody_asked_for(serve: Any, dial: Any) -> None:
    """A pong without a ping is ignored."""
    wire = await dial(await serve())
    await wire.say_frame(Opcode.PONG, b"?")

    await wire.expect_echo()


@pytest.mark.parametrize("slow", [False, True], ids=["fast", "slow"])
@pytest.mark.parametrize("opcode", [Opcode.PING, Opcode.PONG])
async def test_floods_of_signs_are_cut(serve: Any, dial: Any, opcode: Opcode, slow: bool) -> None:
    """Who sends hundreds of pings or pongs at once is out, in either lane."""
    wire = await dial(await serve())
    if slow:
        await wire.say_frame(Opcode.TEXT, b"x", fin=False)
    await wire.send(Frame(opcode, b"").serialize(mask=True) * (MAX_SIGNS + 1))

    for _ in range(MAX_SIGNS + 1 if opcode is Opcode.PING else 1):
        frame = await wire.next()
        if frame.opcode is Opcode.CLOSE:
            break
    assert Close.parse(frame.data).code == CloseCode.RATE_LIMITED


async def test_signs_are_forgiven_with_time(serve: Any, dial: Any) -> None:
    """Who sends many of them, but not at once, stays."""
    served = await serve(limits=FAST)
    wire = await dial(served)
    pongs = Frame(Opcode.PONG, b"").serialize(mask=True) * MAX_SIGNS
    for _ in range(2):
        await wire.send(pongs)
        await wire.expect_echo()
        await wait_for(lambda: served.last.link.scanner._signs == 0)

    await wire.expect_echo()


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
async def test_client_closes(serve: Any, dial: Any, secure: bool) -> None:
    """A client's Close is echoed, the conversation hears of it once, the stream ends."""
    served = await serve(secure=secure)
    wire = await dial(served)
    await wire.say("last words")
    await wire.close(4000, "bye")
    await wire.expect_text("last words")

    assert await wire.expect_close(4000) == "bye"
    await wait_for(lambda: not served.server.links)
    assert served.last.closed == 1
    assert served.last.link.code is None


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
async def test_server_closes(serve: Any, dial: Any, secure: bool) -> None:
    """Closing sends what was offered before, then the Close frame; nothing offered later; the first code wins."""
    served = await serve(secure=secure)
    wire = await dial(served)
    link = served.last.link
    link.offer(text_frame(b"before"))
    link.close(4401, "come back")
    link.offer(text_frame(b"after"))
    link.close(4501)

    assert link.closing
    await wire.expect_text("before")
    assert await wire.expect_close(4401) == "come back"
    await wait_for(lambda: not served.server.links)
    assert served.last.closed == 1
    assert link.code == 4401


async def test_nothing_is_heard_after_close(serve: Any, dial: Any) -> None:
    """Messages behind the one that made the conversation close are not handed over."""
    served = await serve()
    wire = await dial(served)
    await wire.send(
        b"".join(Frame(Opcode.TEXT, text).serialize(mask=True) for text in (b"a", b"close", b"late"))
    )

    await wire.expect_text("a")
    await wire.expect_close(4501)
    assert served.last.heard == [b"a", b"close"]


async def test_closing_in_the_constructor(serve: Any, dial: Any) -> None:
    """A conversation may offer frames and close at once."""

    class Curt:
        def __init__(self, link: Any) -> None:
            link.offer(text_frame(b"no"))
            link.close(4501)

        def on_text(self, payload: bytes) -> None: ...

        def on_closed(self) -> None: ...

    wire = await dial(await serve(conversation=Curt))

    await wire.expect_text("no")
    await wire.expect_close(4501)


async def test_client_that_ignores_close(serve: Any, dial: Any) -> None:
    """A client that does not answer a Close is cut when the goodbye has taken long enough."""
    served = await serve(limits={"close_timeout": 0.1})
    wire = await dial(served)
    served.last.link.close(4401)

    await wait_for(lambda: not served.server.links)
    await wire.expect_close(4401)


async def test_client_that_talks_on_after_close(serve: Any, dial: Any) -> None:
    """What a client says after the Close is thrown away; it still reads the Close."""
    served = await serve()
    wire = await dial(served)
    served.last.link.close(4401)
    for _ in range(20):
        await wire.say("x" * 60_000)

    await wire.expect_close(4401)
    assert served.last.heard == []


async def test_goodbye_to_a_flood(serve: Any, dial: Any) -> None:
    """Who goes on sending after the end is read why, but its frames are looked at only up to a point."""
    served = await serve()
    wire = await dial(served)
    served.last.link.close(CloseCode.RATE_LIMITED)
    flood = Frame(Opcode.TEXT, b"x" * 1000).serialize(mask=True) * 60
    for _ in range(20):
        await wire.send(flood)

    await wire.expect_close(CloseCode.RATE_LIMITED)
    assert served.last.link.scanner.frames < 300


@pytest.mark.parametrize("half", [False, True], ids=["closed", "half-closed"])
async def test_client_vanishes(serve: Any, dial: Any, half: bool) -> None:
    """A stream that ends without a Close ends the conversation; what came before it was heard."""
    served = await serve()
    wire = await dial(served)
    await wire.say_frame(Opcode.TEXT, b"slow", fin=False)
    await wire.say_frame(Opcode.CONT, b"ly", fin=True)
    await (wire.stream.send_eof() if half else wire.stream.aclose())

    await wait_for(lambda: not served.server.links)
    assert served.last.heard == [b"slowly"]
    assert served.last.closed == 1


async def test_client_resets(serve: Any, dial: Any) -> None:
    """A reset connection ends the conversation; offering to it raises nothing."""
    served = await serve()
    wire = await dial(served)
    wire.stream.socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    wire.stream.socket.close()
    link = served.last.link
    for _ in range(3):
        link.offer(text_frame(b"anyone?"))

    await wait_for(lambda: not served.server.links)
    assert link.closing
    assert served.last.closed == 1


BROKEN = {
    "unmasked": (b"\x81\x02hi", 1002),
    "reserved bit": (b"\xc1\x80mask", 1002),
    "unknown opcode": (b"\x83\x80mask", 1002),
    "binary": (Frame(Opcode.BINARY, b"x").serialize(mask=True), 1003),
    "not UTF-8": (Frame(Opcode.TEXT, b"\xff").serialize(mask=True), 1007),
    "not UTF-8 in fragments": (
        b"\x01\x81\0\0\0\0\xff" + b"\x80\x80mask",
        1007,
    ),
    "half a character at the end of fragments": (b"\x01\x81\0\0\0\0\xc3" + b"\x80\x80mask", 1007),
    "too big": (Frame(Opcode.TEXT, b"x" * 65_537).serialize(mask=True), 1009),
    "129 fragments": (b"\x01\x80mask" + b"\x00\x80mask" * 128, 1009),
    "close with half a code": (b"\x88\x81\0\0\0\0\x03", 1002),
    "close with code 999": (Frame(Opcode.CLOSE, (999).to_bytes(2, "big")).serialize(mask=True), 1002),
    "close with code 1005": (Frame(Opcode.CLOSE, (1005).to_bytes(2, "big")).serialize(mask=True), 1002),
    "close with code 2000": (Frame(Opcode.CLOSE, (2000).to_bytes(2, "big")).serialize(mask=True), 1002),
    "close with code 5000": (Frame(Opcode.CLOSE, (5000).to_bytes(2, "big")).serialize(mask=True), 1002),
    "close with a reason that is not UTF-8": (
        Frame(Opcode.CLOSE, b"\x03\xe8\xff").serialize(mask=True),
        1007,
    ),
}


@pytest.mark.parametrize(("data", "code"), BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("lane", ["fast", "slow"])
async def test_violations(serve: Any, dial: Any, data: bytes, code: int, lane: str) -> None:
    """A client that breaks the protocol is told why; messages before count; another client does not notice."""
    served = await serve()
    other = await dial(served)
    wire = await dial(served)
    told = served.last
    if lane == "slow":
        await wire.say_frame(Opcode.TEXT, b"fir", fin=False)
        await wire.say_frame(Opcode.CONT, b"st", fin=True)
        await wire.expect_text("first")
    await wire.send(Frame(Opcode.TEXT, b"before").serialize(mask=True) + data)

    await wire.expect_text("before")
    await wire.expect_close(code)
    assert told.heard[-1] == b"before"
    assert told.closed == 1
    await other.expect_echo()


async def test_violation_seen_through_noise(serve: Any, dial: Any) -> None:
    """A client that goes on sending rubbish still gets to read why it was refused."""
    wire = await dial(await serve())
    for _ in range(20):
        await wire.send(b"\x00" * 60_000)

    await wire.expect_close(1002)


async def test_silent_client_is_pinged_and_cut(serve: Any, dial: Any) -> None:
    """A client that has been silent is pinged; if it says nothing then either, it is cut without a word."""
    served = await serve(limits=FAST)
    wire = await dial(served)
    with trio.fail_after(2):
        data = await wire.stream.receive_some()

        assert data == ping_frame()
        assert await wire.stream.receive_some() == b""
    assert served.last.closed == 1
    assert served.last.link.code is None


async def test_client_that_answers_pings_stays(serve: Any, dial: Any) -> None:
    """A client that answers pings, and says nothing else, stays."""
    served = await serve(limits=FAST)
    wire = await dial(served)
    pings = [await wire.next() for _ in range(4)]

    assert pings == [Frame(Opcode.PING, b"")] * 4
    await wire.expect_echo()


async def test_unfinished_frame(serve: Any, dial: Any) -> None:
    """A frame that does not get finished ends the connection, however busily single bytes arrive."""
    served = await serve(limits={"frame_timeout": 0.2})
    wire = await dial(served)
    await wire.send(b"\x81\xfemask")
    with trio.move_on_after(2):
        while not served.last.closed:
            await wire.send(b"x")
            await trio.sleep(0.02)

    assert "unfinished" in await wire.expect_close(1002)


async def test_unfinished_fragment(serve: Any, dial: Any) -> None:
    """A fragment whose payload stays away ends the connection too."""
    served = await serve(limits={"frame_timeout": 0.2})
    wire = await dial(served)
    await wire.send(b"\x01\x85mask12")

    await wire.expect_close(1002)


async def test_many_frames_are_no_unfinished_one(serve: Any, dial: Any) -> None:
    """A client that is always in the middle of some frame is not cut."""
    served = await serve(limits={"frame_timeout": 0.2})
    wire = await dial(served)
    frame = Frame(Opcode.TEXT, b"x").serialize(mask=True)
    await wire.send(frame[:3])
    for _ in range(20):
        await wire.send(frame[3:] + frame[:3])
        await wire.expect_text("x")
        await trio.sleep(0.02)


async def flood(served: Any, told: Any, size: int = 100_000, **how: Any) -> None:
    """Offer until the link has had enough, or for as long as twenty seconds' worth of a busy room."""
    frame = text_frame(b"x" * size)
    for _ in range(400):
        if told.link.closing:
            return
        told.link.offer(frame, **how)
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
async def test_slow_reader_is_cut(serve: Any, dial: Any, secure: bool) -> None:
    """A client that does not read costs its limit, then its connection; others are served all the while."""
    served = await serve(secure=secure, limits={"outbox_bytes": 300_000, "close_timeout": 0.2})
    wire = await dial(served, receive_buffer=4096)
    slow = served.last
    other = await dial(served)
    while not slow.link.closing:
        await flood(served, slow, 10_000)
        await other.expect_echo()

    assert slow.link.code == 4408
    await wait_for(lambda: len(served.server.links) == 1)
    assert slow.closed == 1
    await other.expect_echo()
    assert wire is not None


async def test_slow_reader_that_wakes_up(serve: Any, dial: Any) -> None:
    """A client that was too slow reads whole frames and the reason, if it reads on in time."""
    served = await serve(limits={"outbox_bytes": 200_000})
    wire = await dial(served, receive_buffer=4096)
    await flood(served, served.last)
    while (frame := await wire.next()).opcode is Opcode.TEXT:
        assert frame.data == b"x" * 100_000

    assert Close.parse(frame.data).code == 4408


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
async def test_stall(serve: Any, dial: Any, secure: bool) -> None:
    """A client that takes nothing of what waits for it, exempt or not, is cut after a while."""
    served = await serve(secure=secure, limits={"outbox_stall": 0.2, "close_timeout": 0.1})
    wire = await dial(served, receive_buffer=4096)
    served.last.link.offer(text_frame(b"x" * 8_000_000), exempt=True)
    await wait_for(lambda: not served.server.links)

    assert served.last.link.code == 4408
    assert wire is not None


async def test_slow_but_steady_reader_stays(serve: Any, dial: Any) -> None:
    """A client that takes a little now and then gets its history, however long that takes."""
    served = await serve(limits={"outbox_stall": 0.2, "outbox_bytes": 1000})
    wire = await dial(served, receive_buffer=4096)
    served.last.link.offer(text_frame(b"x" * 8_000_000), exempt=True)
    got = 0
    with trio.move_on_after(0.8):
        while True:
            got += len(await wire.stream.receive_some(65_536))
            await trio.sleep(0.02)
    with trio.fail_after(5):
        while got < 8_000_000:
            got += len(await wire.stream.receive_some(65_536))

    assert not served.last.link.closing


async def test_typing_goes_before_messages(serve: Any, dial: Any) -> None:
    """Droppable frames are thrown away before anybody is cut."""
    served = await serve(limits={"outbox_bytes": 100_000})
    wire = await dial(served, receive_buffer=4096)
    link = served.last.link
    await flood(served, served.last, 10_000, droppable=True)

    assert not link.closing
    assert link.statistics().outbox.dropped > 0
    link.offer(text_frame(b"message"))
    while (frame := await wire.next()).data != b"message":
        assert frame.data == b"x" * 10_000


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
async def test_cancelled_send_is_the_end(serve: Any, dial: Any, secure: bool) -> None:
    """A server that is cut in the middle of a frame writes nothing behind the half that is out."""
    served = await serve(secure=secure)
    wire = await dial(served, receive_buffer=4096)
    link = served.last.link
    link.offer(text_frame(b"x" * 8_000_000), exempt=True)
    await wait_for(lambda: link.statistics().outbox.sent > 0)
    served.server._connections.cancel_scope.cancel()
    await served.last.over.wait()
    link.offer(text_frame(b"late"))
    data = b"first"
    with trio.fail_after(5):
        while data:
            data = await wire.stream.receive_some(1_000_000)

            assert b"late" not in data


async def test_own_tasks(serve: Any, dial: Any) -> None:
    """A conversation's task runs beside it, ends with it, and is not started after it."""
    served = await serve()
    wire = await dial(served)
    told = served.last
    seen: list[str] = []

    async def task(name: str) -> None:
        seen.append(name)
        try:
            await trio.sleep_forever()
        finally:
            seen.append(f"end of {name}, closed {told.closed}")

    told.link.start_soon(task, "a")
    await wire.expect_echo()
    await wire.close()
    await wire.expect_close(1000)
    told.link.start_soon(task, "b")

    assert seen == ["a", "end of a, closed 0"]
    assert told.closed == 1


async def test_repr(serve: Any, dial: Any) -> None:
    """A link says what an operator wants to know."""
    served = await serve()
    wire = await dial(served)
    await wire.expect_echo("x")
    link = served.last.link

    assert repr(link).startswith("<Link open 127.0.0.1:")
    assert repr(link).endswith(" messages=1 <Outbox open sent=132 waiting=0 pieces=0>>")
    link.close(1000)
    assert repr(link).startswith("<Link closing ")
    await wire.expect_close(1000)


async def test_nothing_is_left(serve: Any, dial: Any) -> None:
    """A link that has ended is forgotten."""
    served = await serve()
    wire = await dial(served)
    await wire.close()
    await wire.expect_close(1000)
    await wait_for(lambda: not served.server.links)
    served.conversations.clear()
    gc.collect()

    assert not [thing for thing in gc.get_objects() if isinstance(thing, Link)]


async def test_stream_beneath() -> None:
    """The stream beneath trio-websocket gives it a canonical handshake first, and ends when it is closed."""
    head = HeadReader(1000).feed(
        b"GET /ws HTTP/1.1\r\nHost: x\r\nOdd: \xff\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    nobody: Any = None  # it is asked for nothing here
    stream = SlowLane(nobody, head)
    await stream.wait_send_all_might_not_block()
    first = await stream.receive_some()
    await stream.aclose()

    assert b"\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" in first
    assert b"Odd" not in first
    with pytest.raises(trio.ClosedResourceError):
        await stream.receive_some()
