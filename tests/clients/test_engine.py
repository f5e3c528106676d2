"""Engine.IO sessions: one conversation whatever carries it, every packet once and in order, and nothing for ever."""

from __future__ import annotations

import gc
import http.client
import importlib.util
import json
import logging
import threading
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import engineio
import pytest
import trio
import trio.testing
from websockets.frames import Frame, Opcode

from trio_chat.clients.engine.clock import Clock
from trio_chat.clients.engine.judge import EngineRefused, judge, read_query
from trio_chat.clients.engine.polling import MAX_FETCHED, Overlap, Polling
from trio_chat.clients.engine.server import EngineLink, EngineServer, parcel
from trio_chat.clients.handshake import Refused, Request
from trio_chat.clients.server import ServerLimits, serve_clients
from trio_chat.errors import CloseCode

PATIENCE = 5
PATH = "/engine.io/"
LIMITS: dict[str, Any] = {"close_timeout": 0.3, "frame_timeout": 0.3}
OURS = "https://ours.example"


class Told:
    """A conversation that echoes, keeps what it heard, and obeys a few words."""

    def __init__(self, link: EngineLink) -> None:
        self.link = link
        self.heard: list[bytes] = []
        self.closed = 0
        self.ended: list[str] = []
        self.over = trio.Event()

    def on_text(self, payload: bytes) -> None:
        """Keep it, obey it or echo it."""
        assert not self.closed
        self.heard.append(payload)
        match payload.partition(b" "):
            case (b"fail", *_):
                raise ValueError("a secret that must not be logged")
            case (b"close", *_):
                self.link.close(4501, "as you wish")
                assert not self.closed, "in the middle of something"
            case (b"task", _, what):
                self.link.start_soon(self.work, what)
            case (b"quiet", *_):
                pass
            case _:
                self.link.offer(parcel([payload]))

    async def work(self, what: bytes) -> None:
        """Fail, or wait for the end."""
        if what == b"fail":
            await trio.lowlevel.checkpoint()
            raise ValueError("a secret that must not be logged")
        try:
            await trio.sleep_forever()
        finally:
            self.ended.append("task")

    def on_closed(self) -> None:
        """Count it."""
        self.closed += 1
        self.ended.append("closed")
        self.over.set()


class Answer:
    """What came back for a request."""

    def __init__(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.status = status
        self.body = body
        self.headers = headers

    @property
    def packets(self) -> list[bytes]:
        """The packets in the body."""
        assert self.status == 200, self.body
        return self.body.split(b"\x1e")

    @property
    def code(self) -> tuple[int, int]:
        """Status and code of a refusal."""
        return self.status, json.loads(self.body)["code"]


class Served:
    """A running server, every conversation it had, and a browser without WebSockets."""

    client_context = None

    def __init__(self, engine: EngineServer, server: Any, told: list[Told], nursery: trio.Nursery) -> None:
        self.engine = engine
        self.server = server
        self.told = told
        self.nursery = nursery

    @property
    def last(self) -> Told:
        """The newest conversation."""
        return self.told[-1]

    async def wait_for(self, condition: Callable[[], bool]) -> None:
        """Return when something that comes about by itself has come about."""
        with trio.fail_after(PATIENCE):
            while not condition():  # noqa: ASYNC110 - what is waited for sets no event
                await trio.sleep(0.002)

    async def ask(
        self, method: str = "GET", query: str = "EIO=4&transport=polling", body: Any = None, **headers: str
    ) -> Answer:
        """Make one request on a connection of its own."""

        def talk() -> Answer:
            client = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=PATIENCE)
            try:
                client.request(
                    method,
                    f"{PATH}?{query}",
                    body,
                    {name.replace("_", "-"): value for name, value in headers.items()},
                )
                response = client.getresponse()
                return Answer(
                    response.status, response.read(), {k.lower(): v for k, v in response.getheaders()}
                )
            finally:
                client.close()

        with trio.fail_after(2 * PATIENCE):
            return await trio.to_thread.run_sync(talk, abandon_on_cancel=True)

    async def open(self) -> str:
        """Begin a session; return its sid."""
        answer = await self.ask()
        assert answer.body.startswith(b"0{")
        return str(json.loads(answer.packets[0][1:])["sid"])

    async def poll(self, sid: str) -> Answer:
        """Fetch packets."""
        return await self.ask(query=f"EIO=4&transport=polling&sid={sid}")

    async def post(self, sid: str, *packets: Any) -> Answer:
        """Bring packets."""
        return await self.ask("POST", f"EIO=4&transport=polling&sid={sid}", b"\x1e".join(packets))

    async def start_poll(self, sid: str) -> Callable[[], Awaitable[Answer]]:
        """Begin to wait for packets; return what waits for the answer."""
        answers: list[Answer] = []
        done = trio.Event()

        async def wait() -> None:
            answers.append(await self.poll(sid))
            done.set()

        async def result() -> Answer:
            with trio.fail_after(PATIENCE):
                await done.wait()
            return answers[0]

        self.nursery.start_soon(wait)
        session = self.engine._sessions[sid]
        await self.wait_for(lambda: session._polling is None or session._polling._poll is not None)
        return result


@pytest.fixture
async def start(nursery: trio.Nursery) -> AsyncIterator[Callable[..., Awaitable[Served]]]:
    """Give a function that starts a server, with these or other options."""

    async def begin(*, limits: Any = None, factory: Callable[[Any], Any] = Told, **options: Any) -> Served:
        told: list[Told] = []

        def meet(link: EngineLink) -> Any:
            told.append(factory(link))
            return told[-1]

        merged = ServerLimits(**{**LIMITS, **(limits or {})})
        engine = EngineServer(meet, path=PATH, limits=merged, **options)
        await nursery.start(engine.run)
        server = await nursery.start(
            partial(
                serve_clients,
                await trio.open_tcp_listeners(0, host="127.0.0.1"),
                engine.routes,
                limits=merged,
                http=engine.http,
                http_paths=engine.routes,
                admit=engine.admit,
            )
        )
        return Served(engine, server, told, nursery)

    yield begin
    nursery.cancel_scope.cancel()


@pytest.fixture
def upgrade(dial: Any) -> Callable[..., Awaitable[Any]]:
    """Give a function that opens a WebSocket for a session, and by default tries it."""

    async def begin(served: Served, sid: str, *, probe: bool = True) -> Any:
        wire = await dial(served, shake=False)
        await wire.shake_hands(f"{PATH}?EIO=4&transport=websocket&sid={sid}")
        if probe:
            await wire.say("2probe")
            await wire.expect_text("3probe")
        return wire

    return begin


async def dial_websocket(dial: Any, served: Served) -> Any:
    """Begin a session over a WebSocket, and swallow its terms."""
    wire = await dial(served, shake=False)
    await wire.shake_hands(f"{PATH}?EIO=4&transport=websocket")
    frame = await wire.next()
    assert frame.data.startswith(b"0{")
    return wire


# --- terms


async def test_terms_over_polling(start: Any) -> None:
    """A session that polls is told its terms, and that it may move."""
    served = await start(ping_interval=25, ping_timeout=20, max_payload=5000)
    answer = await served.ask()
    terms = json.loads(answer.body[1:])

    assert terms.pop("sid") == served.last.link.sid
    assert terms == {
        "upgrades": ["websocket"],
        "pingInterval": 25000,
        "pingTimeout": 20000,
        "maxPayload": 5000,
    }
    assert answer.headers["content-type"] == "text/plain; charset=UTF-8"
    assert answer.headers["cache-control"] == "no-store"


async def test_terms_over_websocket(start: Any, dial: Any) -> None:
    """A session over a WebSocket has nowhere to move."""
    served = await start()
    wire = await dial(served, shake=False)
    await wire.shake_hands(f"{PATH}?EIO=4&transport=websocket")
    frame = await wire.next()

    assert json.loads(frame.data[1:])["upgrades"] == []


async def test_sids(start: Any) -> None:
    """Sids are long, different, and not in what is printed or logged."""
    served = await start()
    sids = {await served.open() for _ in range(3)}

    assert len(sids) == 3
    assert all(len(sid) * 6 >= 120 for sid in sids)
    assert not any(sid in repr(told.link) + repr(served.engine) for sid in sids for told in served.told)


async def test_request(start: Any) -> None:
    """A conversation sees how its client asked, over polling too."""
    served = await start()
    await served.ask(query="EIO=4&transport=polling&room=a", X_Token="t")
    request = served.last.link.request

    assert (request.path, request.query) == (PATH, "EIO=4&transport=polling&room=a")
    assert request.headers[b"x-token"] == b"t"
    assert request.peer.startswith("127.0.0.1:")
    assert not request.secure


async def test_offer_at_once(start: Any, dial: Any) -> None:
    """What a conversation offers as it is made comes right behind the terms."""

    class Greeting(Told):
        def __init__(self, link: EngineLink) -> None:
            super().__init__(link)
            link.offer(parcel([b"welcome"]))

    served = await start(factory=Greeting)

    assert (await served.ask()).packets[1:] == [b"4welcome"]
    await (await dial_websocket(dial, served)).expect_text("4welcome")


# --- who is refused

REFUSALS = {
    "no transport": ("GET", "EIO=4", 400, 0),
    "unknown transport": ("GET", "EIO=4&transport=carrier-pigeon", 400, 0),
    "no version": ("GET", "transport=polling", 400, 5),
    "another version": ("GET", "EIO=3&transport=polling", 400, 5),
    "unknown session": ("GET", "EIO=4&transport=polling&sid=none", 400, 1),
    "unknown session, bringing": ("POST", "EIO=4&transport=polling&sid=none", 400, 1),
    "handshake by POST": ("POST", "EIO=4&transport=polling", 400, 2),
    "handshake by PUT": ("PUT", "EIO=4&transport=polling", 400, 2),
    "websocket without one": ("GET", "EIO=4&transport=websocket", 400, 3),
}


@pytest.mark.parametrize("case", REFUSALS)
async def test_refusals(start: Any, case: str) -> None:
    """A request that is none of the protocol's gets the status and code of the reference."""
    method, query, status, code = REFUSALS[case]
    served = await start()
    answer = await served.ask(method, query)

    assert answer.code == (status, code)
    assert answer.headers["content-type"] == "application/json"
    assert not served.told
    assert served.engine.statistics().refused == 1


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("EIO=4&transport=pigeon", 0),
        ("EIO=3&transport=websocket", 5),
        ("EIO=4&transport=polling", 3),
        ("EIO=4&transport=websocket&sid=none", 1),
    ],
)
async def test_refused_websockets(start: Any, dial: Any, query: str, code: int) -> None:
    """A WebSocket handshake that is none of the protocol's gets the same."""
    served = await start()
    wire = await dial(served, shake=False)
    request = wire.protocol.connect()
    request.path = f"{PATH}?{query}"
    await wire.send(request.serialize())
    response = await wire.expect_response(400)

    assert json.loads(response.partition(b"\r\n\r\n")[2])["code"] == code


async def test_further_method(start: Any) -> None:
    """A session is asked by GET and POST only."""
    served = await start()
    sid = await served.open()

    assert (await served.ask("PUT", f"EIO=4&transport=polling&sid={sid}")).code == (400, 3)
    assert (await served.post(sid, b"4still here")).body == b"ok"


async def test_other_paths(start: Any) -> None:
    """There is nothing else here, unless somebody else answers."""
    served = await start()

    def talk(target: str) -> int:
        client = http.client.HTTPConnection("127.0.0.1", served.server.port, timeout=PATIENCE)
        client.request("GET", target)
        status = client.getresponse().status
        client.close()
        return status

    assert await trio.to_thread.run_sync(talk, "/") == 404


async def test_fallback(start: Any) -> None:
    """Other paths can be another application's."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 299, "headers": []})
        await send({"type": "http.response.body", "body": scope["path"].encode()})

    served = await start(fallback=application)

    def talk() -> tuple[int, bytes]:
        client = http.client.HTTPConnection("127.0.0.1", served.server.port, timeout=PATIENCE)
        client.request("GET", "/health")
        response = client.getresponse()
        result = response.status, response.read()
        client.close()
        return result

    assert await trio.to_thread.run_sync(talk) == (299, b"/health")


async def test_too_many_sessions(start: Any, dial: Any) -> None:
    """Sessions that poll count as connections do; there is room again when one has left."""
    served = await start(limits={"connections": 1})
    sid = await served.open()
    answer = await served.ask()
    assert (answer.code, answer.headers["retry-after"]) == ((503, 3), "5")
    wire = await dial(served, shake=False)
    request = wire.protocol.connect()
    request.path = f"{PATH}?EIO=4&transport=websocket"
    await wire.send(request.serialize())
    await wire.expect_response(503)
    await served.post(sid, b"1")

    await served.open()


async def test_failing_factory(start: Any, dial: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A conversation that cannot be made costs its session only."""

    def broken(link: EngineLink) -> Any:
        link.start_soon(trio.sleep_forever)
        raise ValueError("a secret that must not be logged")

    served = await start(factory=broken)

    assert (await served.ask()).status == 500
    wire = await dial(served, shake=False)
    await wire.shake_hands(f"{PATH}?EIO=4&transport=websocket")
    await wire.next()
    await wire.expect_close(1011)
    assert not served.engine.sessions
    assert "secret" not in caplog.text


# --- pages of other origins


def only_ours(request: Request) -> None:
    """Turn foreign pages away."""
    if request.headers.get(b"origin", OURS.encode()) != OURS.encode():
        raise Refused(403, "This page may not.")


async def test_listed_origin(start: Any) -> None:
    """A page whose origin is listed may read the answer and send credentials along."""
    served = await start(admit=only_ours, listed=[OURS.upper()])
    answer = await served.ask(Origin=OURS)

    assert answer.headers["access-control-allow-origin"] == OURS
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert answer.headers["vary"] == "Origin"


async def test_admitted_origin(start: Any) -> None:
    """A page that may come although no origin is listed may read the answer, without credentials. So with errors."""
    served = await start()
    for query in ("EIO=4&transport=polling", "EIO=3&transport=polling"):
        answer = await served.ask(query=query, Origin="https://any.example")

        assert answer.headers["access-control-allow-origin"] == "https://any.example"
        assert "access-control-allow-credentials" not in answer.headers


async def test_foreign_origin(start: Any, dial: Any) -> None:
    """A page that may not come gets 403, no header, and no session, whichever way it asks."""
    served = await start(admit=only_ours, listed=[OURS])
    theirs = "https://theirs.example"
    for method, headers in (("GET", {}), ("OPTIONS", {"Access_Control_Request_Method": "POST"})):
        answer = await served.ask(method, Origin=theirs, **headers)

        assert answer.code == (403, 4)
        assert not [name for name in answer.headers if name.startswith("access-control")]
    wire = await dial(served, shake=False)
    request = wire.protocol.connect()
    request.path = f"{PATH}?EIO=4&transport=websocket"
    request.headers["Origin"] = theirs
    await wire.send(request.serialize())
    assert b'"code":4' in await wire.expect_response(403)
    assert not served.told


async def test_no_origin(start: Any) -> None:
    """Who is no page is told nothing about origins."""
    served = await start(admit=only_ours, listed=[OURS])
    answer = await served.ask()

    assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_preflight(start: Any) -> None:
    """A page that asks what it may send is told."""
    served = await start(admit=only_ours, listed=[OURS])
    answer = await served.ask(
        "OPTIONS",
        Origin=OURS,
        Access_Control_Request_Method="POST",
        Access_Control_Request_Headers="authorization",
    )

    assert answer.status == 204
    assert answer.headers["access-control-allow-origin"] == OURS
    assert answer.headers["access-control-allow-methods"] == "GET, POST"
    assert answer.headers["access-control-allow-headers"] == "authorization"
    assert not served.told


# --- packets over polling


async def test_echo_over_polling(start: Any) -> None:
    """What is posted is heard in order, and what is offered is fetched in order."""
    served = await start()
    sid = await served.open()

    assert (await served.post(sid, b"4one", "4zwei €".encode(), b"4")).body == b"ok"
    assert (await served.poll(sid)).packets == [b"4one", "4zwei €".encode(), b"4"]
    assert served.last.heard == [b"one", "zwei €".encode(), b""]


async def test_waiting_poll(start: Any) -> None:
    """A poll waits until there is something, and gets all there is then."""
    served = await start()
    sid = await served.open()
    answer = await served.start_poll(sid)
    await served.post(sid, b"4one", b"4two")

    assert (await answer()).packets == [b"4one", b"4two"]


async def test_two_polls(start: Any) -> None:
    """A second poll at a time gets 400 and ends the session; the first one is told."""
    served = await start()
    sid = await served.open()
    first = await served.start_poll(sid)
    second = await served.poll(sid)

    assert second.code == (400, 3)
    assert (await first()).packets == [b"1"]
    assert (await served.poll(sid)).code == (400, 1)
    await served.last.over.wait()


async def test_two_posts(start: Any) -> None:
    """A second post at a time gets 400 and ends the session; what the first one brings is not heard."""
    served = await start()
    sid = await served.open()
    stream = await trio.open_tcp_stream("127.0.0.1", served.server.port)
    head = f"POST {PATH}?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: s\r\nContent-Length: 4\r\n\r\n4"
    await stream.send_all(head.encode())
    await served.wait_for(lambda: served.last.link.posting)

    assert (await served.post(sid, b"4two")).code == (400, 3)
    await stream.send_all(b"one")
    assert (await stream.receive_some()).startswith(b"HTTP/1.1 400 ")
    await stream.aclose()
    assert served.last.heard == []


async def test_poll_that_is_left(start: Any) -> None:
    """A client that leaves in the middle of a poll has left the session."""
    served = await start()
    sid = await served.open()
    stream = await trio.open_tcp_stream("127.0.0.1", served.server.port)
    await stream.send_all(
        f"GET {PATH}?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: s\r\n\r\n".encode()
    )
    await served.wait_for(lambda: served.last.link._polling._poll is not None)
    await stream.aclose()
    with trio.fail_after(PATIENCE):
        await served.last.over.wait()

    assert (await served.poll(sid)).code == (400, 1)


@pytest.mark.parametrize("leave", [True, False], ids=["leaves", "stalls"])
async def test_half_a_post(start: Any, leave: bool) -> None:
    """A client that brings half of what it announced, or takes too long, ends the session."""
    served = await start()
    sid = await served.open()
    stream = await trio.open_tcp_stream("127.0.0.1", served.server.port)
    head = f"POST {PATH}?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: s\r\nContent-Length: 9\r\n\r\n4"
    await stream.send_all(head.encode())
    if leave:
        await stream.aclose()
    else:
        with trio.fail_after(PATIENCE):
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 408 ")
        await stream.aclose()
    with trio.fail_after(PATIENCE):
        await served.last.over.wait()

    assert served.last.heard == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"abc",
        b"4one\x1e",
        b"4one\x1eabc",
        b"bAQID",
        b"4\xff",
        b"2",
        b"0{}",
        b"5",
        b"4x\x1e" * 2000 + b"4x",
    ],
)
async def test_bad_packets(start: Any, body: bytes) -> None:
    """A body in which something is no packet of a client gets 400, ends the session, and is not heard."""
    served = await start()
    sid = await served.open()

    assert (await served.post(sid, body)).code == (400, 3)
    assert (await served.poll(sid)).code == (400, 1)
    await served.last.over.wait()
    assert served.last.heard == []


@pytest.mark.parametrize("chunked", [False, True])
async def test_large_post(start: Any, chunked: bool) -> None:
    """A body of `max_payload` is taken; a larger one gets 413, and the session goes on."""
    served = await start(max_payload=1000)
    sid = await served.open()
    query = f"EIO=4&transport=polling&sid={sid}"

    def body(size: int) -> Any:
        return (
            iter([b"4" + b"x" * (size // 2 - 1), b"x" * (size // 2)]) if chunked else b"4" + b"x" * (size - 1)
        )

    assert (await served.ask("POST", query, body(1000))).body == b"ok"
    assert (await served.ask("POST", query, body(1002))).code == (413, 3)
    assert [len(payload) for payload in served.last.heard] == [999]
    assert (await served.poll(sid)).status == 200


async def test_poll_with_a_body(start: Any, dial: Any) -> None:
    """A poll may bring a body that nobody wants, but not an endless one: that gets 413, and ends the session."""
    served = await start()
    sid = await served.open()
    wire = await dial(served, shake=False)
    target = f"GET {PATH}?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: server\r\n".encode()
    await wire.send(target + b"Content-Length: 65536\r\n\r\n" + b"x" * 65_536)
    served.last.link.offer(parcel([b"hello"]))
    with trio.fail_after(PATIENCE):
        while not wire.raw.endswith(b"4hello"):
            wire.raw += await wire.stream.receive_some()
    await wire.send(target + b"Content-Length: 99999999999\r\n\r\n" + b"x" * 65_537)

    await wire.expect_response(413)
    await served.last.over.wait()
    assert not served.engine.sessions


async def test_pipelining_poll_that_is_left(start: Any, dial: Any) -> None:
    """A client that leaves is gone at once, whatever it has sent behind the poll that waits."""
    served = await start()
    sid = await served.open()
    wire = await dial(served, shake=False)
    request = f"GET {PATH}?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: server\r\n\r\n".encode()
    await wire.send(request * 2)
    await served.wait_for(lambda: served.last.link._polling._poll is not None)
    await wire.stream.aclose()
    with trio.fail_after(PATIENCE):
        await served.last.over.wait()


async def test_large_polls(start: Any) -> None:
    """A poll gets as many packets as fit into `max_payload`, and at least one."""
    served = await start(max_payload=10)
    sid = await served.open()
    for message in (b"12", b"34", b"56", b"a large one, which fits nowhere", b"78"):
        served.last.link.offer(parcel([message]))

    assert (await served.poll(sid)).packets == [b"412", b"434"]
    assert (await served.poll(sid)).packets == [b"456"]
    assert (await served.poll(sid)).packets == [b"4a large one, which fits nowhere"]
    assert (await served.poll(sid)).packets == [b"478"]


async def test_many_packets(start: Any) -> None:
    """A poll gets no more packets than every client understands, and the end counts as one."""
    served = await start()
    sid = await served.open()
    served.last.link.offer(parcel([b"%d" % number for number in range(32)]))
    served.last.link.close(1000)
    polls = [(await served.poll(sid)).packets for _ in range(3)]

    assert [len(packets) for packets in polls] == [MAX_FETCHED, MAX_FETCHED, 1]
    assert [packet for packets in polls for packet in packets] == [
        *(b"4%d" % number for number in range(32)),
        b"1",
    ]
    assert (await served.poll(sid)).code == (400, 1)


async def test_client_leaves_polling(start: Any) -> None:
    """A close packet ends the session; a poll that waits gets a noop."""
    served = await start()
    sid = await served.open()
    answer = await served.start_poll(sid)

    assert (await served.post(sid, b"4quiet", b"1", b"4more")).body == b"ok"
    assert (await answer()).packets == [b"6"]
    assert (await served.poll(sid)).code == (400, 1)
    await served.last.over.wait()
    assert served.last.heard == [b"quiet"]


@pytest.mark.parametrize("waiting", [True, False])
async def test_closing_over_polling(start: Any, waiting: bool) -> None:
    """A session that we end is told at the end of what was offered, whether its client waits or comes later."""
    served = await start()
    sid = await served.open()
    if waiting:
        answer = await served.start_poll(sid)
        await served.post(sid, b"4hello", b"4close")
        packets = (await answer()).packets
    else:
        await served.post(sid, b"4hello", b"4close", b"4more")
        await served.last.over.wait()
        assert (await served.post(sid, b"4after")).body == b"ok"
        packets = (await served.poll(sid)).packets

    assert packets == [b"4hello", b"1"]
    assert (await served.poll(sid)).code == (400, 1)
    assert served.last.closed == 1
    assert served.last.heard == [b"hello", b"close"]


async def test_end_that_nobody_fetches(start: Any) -> None:
    """An end is kept for `close_timeout`. Takes that long."""
    served = await start(ping_interval=0.8)
    sid = await served.open()
    await served.post(sid, b"4close")
    assert served.engine.statistics().polling == 1
    await served.wait_for(lambda: not served.engine.sessions)

    assert (await served.poll(sid)).code == (400, 1)


async def test_slow_polling(start: Any) -> None:
    """A client that fetches nothing loses droppable messages, then the session; an exempt history costs nothing."""
    served = await start(limits={"outbox_bytes": 100})
    sid = await served.open()
    link = served.last.link
    link.offer(parcel([b"h" * 1000]), exempt=True)
    link.offer(parcel([b"typing"]), droppable=True)
    link.offer(parcel([b"m" * 96]))
    assert (await served.poll(sid)).packets == [b"4" + b"h" * 1000, b"4" + b"m" * 96]
    link.offer(parcel([b"m" * 120]))

    assert link.closing
    assert (await served.poll(sid)).packets == [b"1"]
    await served.last.over.wait()


async def test_endless_histories(start: Any, dial: Any) -> None:
    """A client that asks for much and fetches none of it is behind, and in the end has asked for too much."""
    served = await start(limits={"outbox_bytes": 100})
    await dial_websocket(dial, served)
    assert not served.last.link.behind
    sid = await served.open()
    link = served.last.link
    link.offer(parcel([b"h" * 99]), exempt=True)
    assert not link.behind
    link.offer(parcel([b"h" * 6299]), exempt=True)
    assert link.behind
    assert not link.closing
    link.offer(parcel([b"h"]), exempt=True)

    assert link.closing
    assert (await served.poll(sid)).packets == [b"1"]


async def test_keep_alive(start: Any) -> None:
    """A client may do all of it on one connection."""
    served = await start()

    def talk() -> list[bytes]:
        client = http.client.HTTPConnection("127.0.0.1", served.server.port, timeout=PATIENCE)
        bodies = []
        try:
            client.request("GET", f"{PATH}?EIO=4&transport=polling")
            terms = json.loads(client.getresponse().read()[1:])
            query = f"{PATH}?EIO=4&transport=polling&sid={terms['sid']}"
            for number in range(3):
                client.request("POST", query, b"4%d" % number)
                bodies.append(client.getresponse().read())
                client.request("GET", query)
                bodies.append(client.getresponse().read())
        finally:
            client.close()
        return bodies

    assert await trio.to_thread.run_sync(talk) == [b"ok", b"40", b"ok", b"41", b"ok", b"42"]
    assert served.server.statistics().accepted == 1


# --- failures and tasks


@pytest.mark.parametrize("word", [b"fail", b"task fail"])
async def test_failing_conversation(
    start: Any, dial: Any, word: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """A conversation or a task that fails ends its session only, and is logged without what was said."""
    served = await start()
    other = await served.open()
    sid = await served.open()
    answer = await served.start_poll(sid)
    await served.post(sid, b"4" + word)
    assert (await answer()).packets == [b"1"]
    wire = await dial_websocket(dial, served)
    await wire.say("4" + word.decode())
    await wire.expect_close(1011)

    assert [told.closed for told in served.told] == [0, 1, 1]
    assert (await served.post(other, b"4hello")).body == b"ok"
    assert "ValueError at test_engine.py:" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize("over", ["polling", "websocket"])
async def test_tasks_end_first(start: Any, dial: Any, over: str) -> None:
    """A session's tasks are cancelled when it ends, and the conversation hears of the end after the last one."""
    served = await start()
    if over == "polling":
        sid = await served.open()
        await served.post(sid, b"4task", b"4task", b"1")
    else:
        wire = await dial_websocket(dial, served)
        await wire.say("4task")
        await wire.say("4task")
        await wire.expect_echo("4hello")
        await wire.close()
    with trio.fail_after(PATIENCE):
        await served.last.over.wait()

    assert served.last.ended == ["task", "task", "closed"]
    served.last.link.start_soon(pytest.fail, "started after the end")


async def test_closing_from_a_task(start: Any) -> None:
    """A task may end its own session."""

    class Impatient(Told):
        def __init__(self, link: EngineLink) -> None:
            super().__init__(link)
            link.start_soon(self.give_up)

        async def give_up(self) -> None:
            await trio.lowlevel.checkpoint()
            self.link.close(4400, "too late")
            await trio.sleep_forever()

    served = await start(factory=Impatient)
    sid = await served.open()

    assert (await served.poll(sid)).packets == [b"1"]
    await served.last.over.wait()
    assert served.last.closed == 1


async def test_closed_at_once(start: Any, dial: Any) -> None:
    """A conversation may end its session as it is made."""

    class Unwilling(Told):
        def __init__(self, link: EngineLink) -> None:
            super().__init__(link)
            link.close(4501, "no")

    served = await start(factory=Unwilling)

    assert (await served.ask()).packets[1:] == [b"1"]
    wire = await dial_websocket(dial, served)
    await wire.expect_close(4501)
    for told in served.told:
        with trio.fail_after(PATIENCE):
            await told.over.wait()
    assert not served.engine.sessions


async def test_failing_end(start: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A conversation that fails at its end is logged, and nothing else comes of it."""

    class Bad(Told):
        def on_closed(self) -> None:
            super().on_closed()
            raise ValueError("a secret that must not be logged")

    served = await start(factory=Bad)
    await served.post(await served.open(), b"1")
    await served.last.over.wait()
    await served.open()

    assert " on_closed < " in caplog.text
    assert "secret" not in caplog.text


# --- over a WebSocket


async def test_echo_over_websocket(start: Any, dial: Any) -> None:
    """Messages take the fast lane, and go straight to the link."""
    served = await start()
    wire = await dial_websocket(dial, served)
    for text in ("4", "4hello", "4" + "é" * 1000):
        await wire.expect_echo(text)

    (link,) = served.server.links
    assert link.statistics().fast
    assert served.last.heard == [b"", b"hello", ("é" * 1000).encode()]
    assert served.last.link.statistics().messages == 3


async def test_offer_is_synchronous(start: Any, dial: Any) -> None:
    """What is offered over a WebSocket is with the socket when `offer` returns: no task has to run for it."""
    served = await start()
    await dial_websocket(dial, served)
    (link,) = served.server.links
    before = link.statistics().outbox.sent
    served.last.link.offer(parcel([b"one", b"two"]))

    assert link.statistics().outbox.sent == before + len(parcel([b"one", b"two"]).frames)


@pytest.mark.parametrize("text", ["", "abc", "2", "0{}", "5", "bAQID"])
async def test_bad_packets_over_websocket(start: Any, dial: Any, text: str) -> None:
    """What is no packet of a client ends the session with 1002."""
    served = await start()
    wire = await dial_websocket(dial, served)
    await wire.say(text)

    await wire.expect_close(1002)
    await served.last.over.wait()


async def test_binary(start: Any, dial: Any) -> None:
    """Binary messages end the session with 1003."""
    served = await start()
    wire = await dial_websocket(dial, served)
    await wire.say_frame(Opcode.BINARY, b"\1\2\3")

    await wire.expect_close(1003)


async def test_client_leaves_websocket(start: Any, dial: Any) -> None:
    """A close packet ends the session, and so does the end of the WebSocket."""
    served = await start()
    wire = await dial_websocket(dial, served)
    await wire.say("1")
    await wire.expect_close(1000)
    wire = await dial_websocket(dial, served)
    await trio.aclose_forcefully(wire.stream)

    for told in served.told:
        with trio.fail_after(PATIENCE):
            await told.over.wait()
    assert not served.engine.sessions


async def test_closing_over_websocket(start: Any, dial: Any) -> None:
    """A session that we end is told the code, behind what was offered."""
    served = await start()
    wire = await dial_websocket(dial, served)
    await wire.say("4hello")
    await wire.say("4close")
    await wire.expect_text("4hello")

    assert await wire.expect_close(4501) == "as you wish"
    assert served.last.closed == 1


async def test_polling_a_websocket(start: Any, dial: Any) -> None:
    """A session over a WebSocket is not polled."""
    served = await start()
    wire = await dial_websocket(dial, served)

    assert (await served.poll(served.last.link.sid)).code == (400, 3)
    assert (await served.post(served.last.link.sid, b"4x")).code == (400, 3)
    await wire.expect_echo("4hello")


# --- moving


async def test_upgrade(start: Any, upgrade: Any) -> None:
    """A session moves: what waits and what comes later arrives over the WebSocket, once, in order."""
    served = await start()
    sid = await served.open()
    link = served.last.link
    wire = await upgrade(served, sid)
    for number in range(3):
        link.offer(parcel([b"%d a" % number, b"%d b" % number]))
    await wire.say("5")
    await served.wait_for(lambda: link.transport == "websocket")
    link.offer(parcel([b"last"]))

    for text in ("40 a", "40 b", "41 a", "41 b", "42 a", "42 b", "4last"):
        await wire.expect_text(text)
    await wire.expect_echo("4hello")
    assert (await served.poll(sid)).code == (400, 3)
    assert served.engine.statistics().websocket == 1
    assert len(served.told) == 1
    (carrier,) = served.server.links
    assert carrier.statistics().fast


async def test_poll_while_probing(start: Any, upgrade: Any) -> None:
    """A poll that waits comes back with a noop when a WebSocket is tried, and further ones at once."""
    served = await start()
    sid = await served.open()
    answer = await served.start_poll(sid)
    wire = await upgrade(served, sid)

    assert (await answer()).packets == [b"6"]
    assert (await served.poll(sid)).packets == [b"6"]
    served.last.link.offer(parcel([b"by polling"]))
    assert (await served.poll(sid)).packets == [b"4by polling"]
    await wire.say("5")
    await wire.expect_echo("4hello")


async def test_packets_half_fetched(start: Any, upgrade: Any) -> None:
    """What was fetched by polling does not come again over the WebSocket."""
    served = await start(max_payload=6)
    sid = await served.open()
    served.last.link.offer(parcel([b"one", b"two", b"three"]))
    assert (await served.poll(sid)).packets == [b"4one"]
    wire = await upgrade(served, sid)
    await wire.say("5")

    await wire.expect_text("4two")
    await wire.expect_text("4three")
    await wire.expect_echo("4hello")


async def test_posts_while_probing(start: Any, upgrade: Any) -> None:
    """What is posted before the move is heard before what comes over the WebSocket."""
    served = await start()
    sid = await served.open()
    wire = await upgrade(served, sid)
    await served.post(sid, b"4one")
    await wire.say("5")
    await wire.say("4two")
    await wire.expect_text("4one")
    await wire.expect_text("4two")

    assert served.last.heard == [b"one", b"two"]


@pytest.mark.parametrize("how", ["left", "cut", "wrong"])
@pytest.mark.parametrize("probe", [True, False])
async def test_abandoned_upgrade(start: Any, upgrade: Any, how: str, probe: bool) -> None:
    """When the WebSocket ends before the session has moved, the client goes on polling, and may try again."""
    served = await start()
    sid = await served.open()
    wire = await upgrade(served, sid, probe=probe)
    match how:
        case "left":
            await wire.close()
            await wire.expect_close(1000)
        case "cut":
            await trio.aclose_forcefully(wire.stream)
        case _:
            await wire.say("4too early")
            await wire.expect_close(1002)
    await served.wait_for(lambda: served.last.link._probe is None)
    answer = await served.start_poll(sid)
    await served.post(sid, b"4hello")

    assert (await answer()).packets == [b"4hello"]
    assert not served.last.closed
    wire = await upgrade(served, sid)
    await wire.say("5")
    await wire.expect_echo("4again")


async def test_upgrade_without_probe(start: Any, upgrade: Any) -> None:
    """A session does not move to a WebSocket that was not tried."""
    served = await start()
    sid = await served.open()
    wire = await upgrade(served, sid, probe=False)
    await wire.say("5")
    await wire.expect_close(1002)

    assert served.last.link.transport == "polling"


async def test_upgrade_timeout(start: Any, upgrade: Any) -> None:
    """A client that tries a WebSocket and never moves loses that WebSocket only. Takes the timeout."""
    served = await start(upgrade_timeout=0.1)
    sid = await served.open()
    wire = await upgrade(served, sid)
    await wire.expect_close(1002)
    await served.post(sid, b"4hello")

    assert (await served.poll(sid)).packets == [b"4hello"]


async def test_second_websocket(start: Any, upgrade: Any) -> None:
    """A second WebSocket for a session is closed, whether the first one is being tried or carries it."""
    served = await start()
    sid = await served.open()
    wire = await upgrade(served, sid)
    second = await upgrade(served, sid, probe=False)
    await second.expect_close(1002)
    await wire.say("5")
    await wire.expect_echo("4hello")
    third = await upgrade(served, sid, probe=False)
    await third.expect_close(1002)

    await wire.expect_echo("4still here")


async def test_end_while_probing(start: Any, upgrade: Any) -> None:
    """A session that ends before it has moved takes the WebSocket with it."""
    served = await start()
    sid = await served.open()
    wire = await upgrade(served, sid)
    await served.post(sid, b"1")

    await wire.expect_close(1000)
    with trio.fail_after(PATIENCE):
        await served.last.over.wait()


async def test_end_after_upgrade(start: Any, upgrade: Any) -> None:
    """A session that has moved ends with its WebSocket, its tasks first."""
    served = await start()
    sid = await served.open()
    await served.post(sid, b"4task")
    wire = await upgrade(served, sid)
    await wire.say("5")
    await wire.expect_echo("4hello")
    await wire.close()
    with trio.fail_after(PATIENCE):
        await served.last.over.wait()

    assert served.last.ended == ["task", "closed"]
    assert not served.engine.sessions


# --- time


class Caller:
    """Calls the ASGI application directly, on virtual time."""

    def __init__(self, engine: EngineServer) -> None:
        self.engine = engine
        self.app: Any = engine._http._app
        self.sid = ""
        self.delay = 0.0

    @property
    def session(self) -> Any:
        """Its session."""
        return self.engine._sessions[self.sid]

    async def call(self, method: str = "GET", body: bytes = b"") -> tuple[int, bytes]:
        """Make a request; return status and body."""
        sent: list[Any] = []
        messages = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Any:
            if not messages:
                await trio.sleep_forever()
            return messages.pop()

        async def send(message: Any) -> None:
            await trio.sleep(self.delay)
            sent.append(message)

        scope = {
            "type": "http",
            "path": PATH,
            "method": method,
            "query_string": f"EIO=4&transport=polling&sid={self.sid}".encode(),
            "headers": [],
            "client": None,
            "scheme": "http",
        }
        await self.app(scope, receive, send)
        return sent[0]["status"], sent[1]["body"]

    async def open(self) -> None:
        """Begin a session."""
        _, body = await self.call()
        self.sid = json.loads(body[1:])["sid"]


@pytest.fixture
async def caller(nursery: trio.Nursery) -> Caller:
    """A client of a server with the usual times, which has begun a session."""
    engine = EngineServer(Told, path=PATH)
    await nursery.start(engine.run)
    result = Caller(engine)
    await result.open()
    return result


async def test_pings(caller: Caller, autojump_clock: trio.testing.MockClock) -> None:
    """A client that answers is pinged every `ping_interval`, a tick early at most, for ever."""
    for _ in range(100):
        before = trio.current_time()
        assert await caller.call() == (200, b"2")
        assert 24 <= trio.current_time() - before <= 25
        assert await caller.call("POST", b"3") == (200, b"ok")


async def test_no_pong(caller: Caller, autojump_clock: trio.testing.MockClock) -> None:
    """A client that does not answer is gone after `ping_timeout`; its poll is told."""
    assert await caller.call() == (200, b"2")
    before = trio.current_time()

    assert await caller.call() == (200, b"1")
    assert 20 <= trio.current_time() - before <= 21
    assert (await caller.call())[0] == 400


async def test_messages_are_no_pongs(caller: Caller, autojump_clock: trio.testing.MockClock) -> None:
    """Messages do not stand for the answer, as in the reference."""
    assert await caller.call() == (200, b"2")
    for _ in range(25):
        await caller.call("POST", b"4quiet")
        await trio.sleep(1)

    assert (await caller.call())[0] == 400


async def test_nobody_polls(caller: Caller, autojump_clock: trio.testing.MockClock) -> None:
    """A session that nobody polls is gone in time: no later than the client was told."""
    await trio.sleep(44.5)
    assert (await caller.call("POST", b"4quiet"))[0] in {200, 400}
    await trio.sleep(0.5)

    assert (await caller.call())[0] == 400
    assert not caller.engine.sessions


@pytest.mark.parametrize("exempt", [False, True])
async def test_nobody_fetches(caller: Caller, autojump_clock: trio.testing.MockClock, exempt: bool) -> None:
    """A client that does not fetch what waits for it is gone after `outbox_stall`, histories or not."""
    session = caller.session
    session.offer(parcel([b"hello"]), exempt=exempt)
    await trio.sleep(9.5)
    await caller.call("POST", b"4quiet")
    assert not session.closing
    await trio.sleep(2.5)

    assert session.closing
    assert session.statistics().waiting == 0
    assert await caller.call() == (200, b"1")
    assert not caller.engine.sessions


async def test_slow_fetching(caller: Caller, autojump_clock: trio.testing.MockClock) -> None:
    """A client that fetches something now and then may go on, however much waits all the time."""
    session = caller.session
    session.offer(parcel([b"x" * 700_000] * 10), exempt=True)
    for _ in range(9):
        await trio.sleep(9.5)
        assert (await caller.call())[0] == 200
        await caller.call("POST", b"3")
    assert session._polling.exempt

    assert not session.closing


async def test_slow_answer(caller: Caller, autojump_clock: trio.testing.MockClock) -> None:
    """A body that is on its way counts as being fetched, however long that takes and whatever waits behind it."""
    session = caller.session
    session.offer(parcel([b"x" * 700_000] * 2), exempt=True)
    caller.delay = 7.0  # for the head, and for the body
    assert (await caller.call())[0] == 200
    assert not session.closing
    caller.delay = 0.0
    await trio.sleep(9)

    assert (await caller.call())[0] == 200


async def test_ping_that_waits(caller: Caller, autojump_clock: trio.testing.MockClock) -> None:
    """For a ping the client has `ping_timeout`, as it was told, even if that is longer."""
    await trio.sleep(24 + 19)

    assert not caller.session.closing


async def test_pings_over_websocket(start: Any, dial: Any, upgrade: Any) -> None:
    """Over a WebSocket it is the same, whether the session began there or moved. Waits for two pings."""
    served = await start(ping_interval=0.1, ping_timeout=0.1)
    wire = await dial_websocket(dial, served)
    sid = await served.open()
    moved = await upgrade(served, sid)
    await moved.say("5")

    async def answer_once(client: Any) -> None:
        await client.expect_text("2")
        await client.say("3")
        await client.expect_text("2")
        await client.expect_end()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer_once, wire)
        nursery.start_soon(answer_once, moved)
    with trio.fail_after(PATIENCE):
        for told in served.told:
            await told.over.wait()


async def test_clock_stands_still(autojump_clock: trio.testing.MockClock) -> None:
    """Time in which the program stood still is not counted."""
    clock = Clock(0.1)
    assert clock.now() == 0
    await trio.sleep(0.1)
    assert clock.advance() == pytest.approx(0.1)
    await trio.sleep(60)

    assert clock.now() == pytest.approx(0.3)
    assert clock.advance() == pytest.approx(0.3)


# --- memory


class Weak(EngineLink):
    """A session that can be referred to weakly."""

    __slots__ = ("__weakref__",)


@pytest.fixture
def calm() -> Iterator[None]:
    """Keep Python from looking for cycles."""
    gc.disable()
    yield
    gc.enable()


async def give_up(caller: Caller, how: str) -> None:
    """End a session in one of the ways there are."""
    match how:
        case "cut":
            caller.session.cut()
        case "goodbye":
            caller.session.close(1000)
            assert await caller.call() == (200, b"4hello\x1e1")
        case "goodbye unheard":
            caller.session.close(1000)
            await trio.sleep(4)
        case "client":
            await caller.call("POST", b"1")
        case "violation":
            await caller.call("POST", b"what")
        case "stall":
            await trio.sleep(14)
        case _:
            raise AssertionError(how)


@pytest.mark.usefixtures("calm")
@pytest.mark.parametrize("task", [False, True])
@pytest.mark.parametrize("how", ["cut", "goodbye", "goodbye unheard", "client", "violation", "stall"])
async def test_nothing_stays(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock, how: str, task: bool
) -> None:
    """A session that has ended leaves nothing in memory, and that without any search for cycles."""
    engine = EngineServer(Told, path=PATH)
    engine.session_type = Weak
    await nursery.start(engine.run)
    caller = Caller(engine)
    await caller.open()
    if task:
        await caller.call("POST", b"4task")
    caller.session.offer(parcel([b"hello"]))
    left = [weakref.ref(caller.session), weakref.ref(caller.session._conversation)]
    await give_up(caller, how)
    await trio.testing.wait_all_tasks_blocked()

    assert [reference() for reference in left] == [None, None]


@pytest.mark.usefixtures("calm")
async def test_nothing_stays_over_http(start: Any, dial: Any) -> None:
    """Nor does one whose client has left in the middle of a poll, or its connection."""
    served = await start()
    served.engine.session_type = Weak
    sid = await served.open()
    await served.post(sid, b"4quiet")
    await served.start_poll(sid)
    served.last.link.offer(parcel([b"hello"]))
    wire = await dial(served, shake=False)
    await wire.send(f"GET {PATH}?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: server\r\n\r\n".encode())
    await served.wait_for(lambda: served.last.link._polling._poll is not None)
    left = [weakref.ref(served.last.link), weakref.ref(served.last)]
    await wire.stream.aclose()
    await served.last.over.wait()
    served.told.clear()
    await served.wait_for(lambda: [reference() for reference in left] == [None, None])


async def test_cut_throws_away(caller: Caller) -> None:
    """What waits for a client is gone as soon as its session is cut, even if something still refers to that."""
    session = caller.session
    session.offer(parcel([b"history"]), exempt=True)
    session.offer(parcel([b"hello"]))
    session.cut()

    assert (session.statistics().waiting, session._polling.exempt) == (0, 0)


# --- the end of the server


async def test_aclose(start: Any, dial: Any) -> None:
    """A server that stops tells everybody, and lets polling clients fetch that. Nobody may come any more."""
    served = await start()
    waiting = await served.open()
    answer = await served.start_poll(waiting)
    late = await served.open()
    wire = await dial_websocket(dial, served)
    late_answer: list[Answer] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(served.engine.aclose)
        await served.wait_for(lambda: all(told.closed for told in served.told))
        late_answer.append(await served.poll(late))

    assert (await answer()).packets == [b"1"]
    assert late_answer[0].packets == [b"1"]
    await wire.expect_close(1012)
    assert (await served.ask()).code == (503, 3)
    assert [told.closed for told in served.told] == [1, 1, 1]


async def test_admit_nobody(start: Any, dial: Any) -> None:
    """Sessions that there are go on, over either transport; nobody begins one."""
    served = await start()
    polling = await served.open()
    served.last.link.offer(parcel([b"hello"]))
    wire = await dial_websocket(dial, served)
    served.engine.admit_nobody()
    await wire.say("4hello")

    await wire.expect_echo("4hello")
    assert (await served.poll(polling)).packets == [b"4hello"]
    assert (await served.ask()).code == (503, 3)


async def test_cancelled_server(dial: Any) -> None:
    """Cancelling ends everything: each conversation hears of it once, after its tasks."""
    told: list[Told] = []

    def meet(link: EngineLink) -> Told:
        told.append(Told(link))
        return told[-1]

    engine = EngineServer(meet, path=PATH)
    async with trio.open_nursery() as nursery:
        await nursery.start(engine.run)
        server = await nursery.start(
            partial(
                serve_clients,
                await trio.open_tcp_listeners(0, host="127.0.0.1"),
                engine.routes,
                http=engine.http,
                http_paths=engine.routes,
                admit=engine.admit,
            )
        )
        served = Served(engine, server, told, nursery)
        sid = await served.open()
        await served.post(sid, b"4task")
        wire = await dial_websocket(dial, served)
        await wire.say("4task")
        await wire.expect_echo("4hello")
        nursery.cancel_scope.cancel()

    assert [one.ended for one in told] == [["task", "closed"]] * 2
    assert not engine.sessions
    assert repr(engine) == "<EngineServer stopped sessions=0 opened=2>"


# --- the parts


def test_query() -> None:
    """Of a query, three parameters count, and of those the last."""
    asked = read_query("EIO=3&t=x&EIO=4&sid=a%2Bb&transport=polling&b64=1")

    assert (asked.transport, asked.protocol, asked.sid) == ("polling", "4", "a+b")


def test_judge_upgrades() -> None:
    """A WebSocket for a session is let through whatever carries it; a plain request for one is not."""
    asked = read_query("EIO=4&sid=a&transport=websocket")
    judge(asked, "GET", "polling", upgrade=True)
    judge(asked, "GET", "websocket", upgrade=True)

    with pytest.raises(EngineRefused):
        judge(asked, "GET", "polling", upgrade=False)


class Owner:
    """Nobody."""

    def outbox_full(self) -> None:
        """Do nothing."""


async def test_cancelled_poll() -> None:
    """A poll that is cancelled takes nothing with it, and leaves room for another."""
    polling = Polling(Owner(), 100, 100)
    with trio.CancelScope() as scope:
        scope.cancel()
        polling.offer([b"4x"])
        await polling.next_body()

    assert await polling.next_body() == b"4x"
    assert polling.waiting == 0


async def test_overlapping_polls(nursery: trio.Nursery) -> None:
    """A second poll overlaps; the first one is not disturbed."""
    polling = Polling(Owner(), 100, 100)
    nursery.start_soon(polling.next_body)
    await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(Overlap):
        await polling.next_body()
    polling.offer([b"4x"])
    await trio.testing.wait_all_tasks_blocked()

    assert repr(polling) == "<Polling open packets=0 waiting=0>"


async def test_representations(caller: Caller) -> None:
    """What lives long says what it is, and no secret."""
    session = caller.session

    assert repr(caller.app) == "<PollingApp /engine.io/ max_payload=1000000>"
    assert repr(session._tasks) == "<Tasks open tasks=0>"
    assert repr(Clock(0.5)) == "<Clock time=0.000 tick=0.5>"
    assert caller.sid not in repr(session)


def test_parcel() -> None:
    """A parcel holds the same messages both ways."""
    made = parcel([b"a", b"bc"])

    assert made.packets == (b"4a", b"4bc")
    assert made.frames == Frame(Opcode.TEXT, b"4a").serialize(mask=False) + Frame(
        Opcode.TEXT, b"4bc"
    ).serialize(mask=False)


# --- a client that shares no code with us


class Visitor:
    """python-engineio's client, in a thread."""

    def __init__(self, url: str, transports: list[str] | None) -> None:
        self.client = engineio.Client(logger=logging.getLogger("quiet"), handle_sigint=False)
        self.url = url
        self.transports = transports
        self.heard: list[str] = []
        self.enough = threading.Event()
        self.gone = threading.Event()
        self.client.on("message", self.hear)
        self.client.on("disconnect", lambda *_: self.gone.set())

    def hear(self, text: str) -> None:
        """Keep it."""
        self.heard.append(text)
        if len(self.heard) == 50:
            self.enough.set()

    def visit(self) -> str:
        """Come, say fifty things, hear them, go; return what carried it in the end."""
        self.client.connect(self.url, engineio_path=PATH, transports=self.transports)
        carrier: str = self.client.transport()
        for number in range(50):
            self.client.send(f"message {number}")
        assert self.enough.wait(PATIENCE), self.heard
        self.client.disconnect()
        assert self.gone.wait(PATIENCE)
        return carrier


@pytest.mark.filterwarnings(
    "ignore:unclosed <socket"
)  # the client leaves its sockets to the garbage collector
@pytest.mark.parametrize(
    ("transports", "carrier"),
    [(None, "websocket"), (["polling"], "polling"), (["websocket"], "websocket")],
    ids=["default", "polling", "websocket"],
)
async def test_python_engineio(start: Any, transports: list[str] | None, carrier: str) -> None:
    """The client everybody uses in Python comes, moves if it may, hears everything once in order, and leaves."""
    served = await start(ping_interval=0.2, ping_timeout=0.2)
    visitor = Visitor(f"http://127.0.0.1:{served.server.port}", transports)

    assert await trio.to_thread.run_sync(visitor.visit) == carrier
    assert visitor.heard == [f"message {number}" for number in range(50)]
    with trio.fail_after(PATIENCE):
        await served.last.over.wait()
    assert [told.closed for told in served.told] == [1]


async def test_echo_application(nursery: trio.Nursery) -> None:
    """The application for the official suite echoes texts and binary messages."""
    path = Path(__file__).with_name("echo_engineio.py")
    spec = importlib.util.spec_from_file_location("echo_engineio", path)
    assert spec is not None
    assert spec.loader is not None
    echo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(echo)
    port = await nursery.start(echo.serve, echo.Echo, PATH, 0)

    def talk() -> bytes:
        client = http.client.HTTPConnection("localhost", port, timeout=PATIENCE)
        client.request("GET", f"{PATH}?EIO=4&transport=polling")
        query = f"{PATH}?EIO=4&transport=polling&sid={json.loads(client.getresponse().read()[1:])['sid']}"
        client.request("POST", query, b"4hello\x1ebAQIDBA==")
        client.getresponse().read()
        client.request("GET", query)
        body = client.getresponse().read()
        client.close()
        return body

    assert await trio.to_thread.run_sync(talk) == b"4hello\x1ebAQIDBA=="
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("packet", ["3", "6"], ids=["pongs", "noops"])
async def test_floods_of_packets_that_say_nothing(start: Any, dial: Any, packet: str) -> None:
    """Who sends hundreds of pongs or noops at once has to come back, over a WebSocket."""
    served = await start()
    wire = await dial_websocket(dial, served)
    await wire.send(Frame(Opcode.TEXT, packet.encode()).serialize(mask=True) * 257)

    await wire.expect_close(CloseCode.RATE_LIMITED)


async def test_floods_of_packets_that_say_nothing_over_polling(start: Any) -> None:
    """They end a session that polls, too."""
    served = await start()
    sid = await served.open()
    await served.post(sid, *[b"6"] * 257)

    assert (await served.poll(sid)).packets == [b"1"]
