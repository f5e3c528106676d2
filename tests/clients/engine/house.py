"""A server of Engine.IO sessions, with conversations that do what they are told, and those who call on it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Awaitable, Callable
from typing import Any

import trio
import trio.testing

from tests.waiting import wait_for
from trio_chat.clients.engine.server import EngineLink, EngineServer, parcel

PATIENCE = 5
PATH = "/engine.io/"
LIMITS: dict[str, Any] = {"close_timeout": 0.3, "frame_timeout": 0.3}


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

    async def expect_over(self) -> None:
        """Expect to hear of the end."""
        with trio.fail_after(PATIENCE):
            await self.over.wait()


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
        await wait_for(lambda: session._polling is None or session._polling._poll is not None)
        return result


async def dial_websocket(dial: Any, served: Served) -> Any:
    """Begin a session over a WebSocket, and swallow its terms."""
    wire = await dial(served, shake=False)
    await wire.shake_hands(f"{PATH}?EIO=4&transport=websocket")
    frame = await wire.next()
    assert frame.data.startswith(b"0{")
    return wire


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
