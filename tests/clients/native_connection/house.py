"""One client's conversation, over a link that only takes notes. Where time passes, it is virtual."""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING, Any

import trio
from trio.testing import wait_all_tasks_blocked

from trio_chat.clients.auth import Authenticator, make_token
from trio_chat.clients.handshake import Request
from trio_chat.clients.native_connection import NativeConnection
from trio_chat.clients.patience import Patience
from trio_chat.clients.registry import Registry
from trio_chat.errors import CloseCode, ReplyCode
from trio_chat.lobby import open_lobby
from trio_chat.settings import Settings
from trio_chat.stores.memory import MemoryArchive, MemoryHotStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio_chat.lobby import Lobby


SECRET = "a-secret-of-more-than-thirty-two-bytes"


class FakeLink:
    """A link that takes everything, notes it, and ends the talk as a real one does."""

    def __init__(self, nursery: trio.Nursery, headers: dict[bytes, bytes]) -> None:
        self.request = Request("/ws", "", headers, "somebody", False)
        self.heard: deque[dict[str, Any]] = deque()
        self.droppable: list[bool] = []
        self.closed: tuple[int, str] | None = None
        self.behind = False
        self.pieces = 0
        self._held = False
        self.conversation: NativeConnection | None = None
        self._nursery = nursery
        self._tasks: set[trio.CancelScope] = set()

    @property
    def tasks(self) -> int:
        """How many tasks the connection has."""
        return len(self._tasks)

    @property
    def outlet(self) -> FakeLink:
        """What is held and let go."""
        return self

    def hold(self) -> None:
        """Count what is offered from now on as one piece."""
        self._held = True

    def let_go(self) -> None:
        """Count that piece."""
        self._held = False
        self.pieces += 1

    def limit_messages(self, size: int) -> None:
        """Note how much is taken."""
        self.limit = size

    def offer(self, frames: bytes, droppable: bool = False, exempt: bool = False) -> None:
        """Note what is sent."""
        self.pieces += not self._held
        if self.closed is None:
            for text in texts_of(frames):
                self.heard.append(json.loads(text))
                self.droppable.append(droppable)

    def close(self, code: int, reason: str = "") -> None:
        """Note why it ends, and end its tasks."""
        if self.closed is None:
            self.closed = (code, reason)
            for scope in self._tasks:
                scope.cancel()

    def start_soon(self, fn: Callable[..., Awaitable[object]], *args: object) -> None:
        """Start a task of the connection."""

        async def run() -> None:
            with trio.CancelScope() as scope:
                self._tasks.add(scope)
                await fn(*args)
            self._tasks.discard(scope)

        if self.closed is None:
            self._nursery.start_soon(run)


def texts_of(frames: bytes) -> list[bytes]:
    """Take unmasked text frames apart."""
    texts: list[bytes] = []
    while frames:
        size, start = frames[1], 2
        if size > 125:
            start = 4 if size == 126 else 10
            size = int.from_bytes(frames[2:start], "big")
        texts.append(frames[start : start + size])
        frames = frames[start + size :]
    return texts


class Client:
    """What a client says and gets to hear. Everything is settled before it listens."""

    def __init__(self, link: FakeLink, connection: NativeConnection) -> None:
        self.link = link
        self.connection = connection

    def say(self, kind: str, **fields: Any) -> None:
        """Send a request."""
        self.say_text(json.dumps({"type": kind, **fields}).encode())

    def say_text(self, text: bytes) -> None:
        """Send a text."""
        if self.link.closed is None:
            self.connection.on_text(text)

    async def expect(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Return the next thing heard, which has this type and these fields."""
        await wait_all_tasks_blocked()
        assert self.link.heard, f"expected {kind}, heard nothing; closed: {self.link.closed}"
        said = self.link.heard.popleft()
        assert said["type"] == kind, said
        assert {name: said.get(name) for name in fields} == fields
        return said

    async def expect_refused(self, code: ReplyCode, **fields: Any) -> dict[str, Any]:
        """Expect an error of this code."""
        said = await self.expect("error", code=code, **fields)
        assert said["temporary"] is code.temporary
        return said

    async def expect_nothing(self) -> None:
        """Expect silence."""
        await wait_all_tasks_blocked()
        assert list(self.link.heard) == []

    async def expect_closed(self, code: CloseCode) -> str:
        """Expect to be disconnected; return the reason."""
        await wait_all_tasks_blocked()
        assert self.link.closed is not None, self.link.heard
        assert self.link.closed[0] == code, self.link.closed
        return self.link.closed[1]

    async def join(self, room: str = "r", **fields: Any) -> dict[str, Any]:
        """Join and hear everything that comes with it; return the answer."""
        self.say("room:join", room=room, **fields)
        joined = await self.expect("room:joined", room=room)
        await self.expect("room:live" if joined["recovered"] else "messages:history")
        await self.expect("receipt:list")
        await self.expect("presence:list")
        return joined

    async def send(self, content: str = "hello", room: str = "r", **fields: Any) -> dict[str, Any]:
        """Send a message, hear it and its ack; return the ack."""
        self.say("message:send", room=room, content=content, **fields)
        await self.expect("message:new")
        return await self.expect("ack")

    async def skip(self) -> None:
        """Let everything that was heard so far be."""
        await wait_all_tasks_blocked()
        self.link.heard.clear()

    def hang_up(self) -> None:
        """Be gone, as the link says it to the connection."""
        self.link.close(1006)
        self.connection.on_closed()


class House:
    """A lobby over memory stores, and doors into it."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.hot = MemoryHotStore(durability="redis")
        self.archive = MemoryArchive()
        self._nursery = nursery

    async def open(self, **changes: Any) -> House:
        """Open the lobby, with these settings."""
        fields: dict[str, Any] = {"auth_mode": "insecure", "rate_limits": False} | changes
        self.settings = Settings(**fields)
        self.lobby: Lobby = await self._nursery.start(self._keep_open)
        self.registry = Registry(self.settings.max_connections_per_user, clock=trio.current_time)
        self.authenticator = Authenticator(self.settings, clock=trio.current_time)
        self.patience = Patience(self.settings.hello_timeout)
        self._nursery.start_soon(self.patience.run)
        return self

    async def _keep_open(self, task_status: trio.TaskStatus[Lobby]) -> None:
        async with open_lobby(hot=self.hot, archive=self.archive, settings=self.settings) as lobby:
            task_status.started(lobby)
            await trio.sleep_forever()

    def connect(self, **headers: str) -> Client:
        """Connect without a word."""
        link: Any = FakeLink(
            self._nursery, {name.lower().encode(): text.encode() for name, text in headers.items()}
        )
        connection = NativeConnection(
            link,
            self.lobby,
            self.authenticator,
            self.registry,
            self.patience,
        )
        return Client(link, connection)

    async def greet(self, user: str = "ada") -> Client:
        """Connect and say hello."""
        client = self.connect()
        client.say("hello", user=user)
        await client.expect("welcome", user=user)
        return client

    def token(self, user: str = "ada", rooms: tuple[str, ...] = ("*",), **options: Any) -> str:
        """Make a token by the clock of the test."""
        return make_token(self.settings, user, rooms, clock=trio.current_time, **options)

    async def greet_with_token(self, **options: Any) -> Client:
        """Connect and say hello with a token of these options."""
        client = self.connect()
        client.say("hello", token=self.token(**options))
        await client.expect("welcome")
        return client


async def block(name: str, moment: str) -> None:
    """Let a call to a store wait, for longer than anybody does."""
    await trio.sleep(3600)
