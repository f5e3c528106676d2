"""The pages of the documentation, what is fenced in them, and a server that says what they are about."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.clients.native_connection.house import FakeLink
from trio_chat import MemoryArchive, MemoryHotStore, Settings, open_lobby
from trio_chat.clients.auth import Authenticator, make_token
from trio_chat.clients.native_connection import NativeConnection
from trio_chat.clients.patience import Patience
from trio_chat.clients.registry import Registry

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
PROTOCOL = DOCS / "protocol.md"
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "SECURITY.md", *DOCS.glob("*.md")])
ROOM = "team-42/general"


class Block(NamedTuple):
    """A fenced block: what stands behind its fence, and its text."""

    page: Path
    info: str
    text: str

    @property
    def name(self) -> str:
        """What a test calls it."""
        return f"{self.page.name}: {self.text.splitlines()[0][:60]}"


def blocks(page: Path, info: str = "") -> list[Block]:
    """Return the fenced blocks of a page whose info begins with a text."""
    found = re.findall(r"^```(\S[^\n]*)\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
    return [Block(page, said, text) for said, text in found if said.startswith(info)]


class Client:
    """A client on a link that only takes notes."""

    def __init__(self, link: FakeLink, connection: NativeConnection) -> None:
        self.link = link
        self.connection = connection

    @property
    def user(self) -> str:
        """Who this is."""
        return self.connection.user

    @property
    def said(self) -> list[dict[str, Any]]:
        """What the server has said."""
        return list(self.link.heard)

    def first(self, kind: str) -> dict[str, Any]:
        """Return the first message of this type."""
        return next(said for said in self.said if said["type"] == kind)

    async def say(self, kind: str, **fields: object) -> None:
        """Ask for something, and wait until the server has no more to say."""
        self.connection.on_text(json.dumps({"type": kind, **fields}).encode())
        await wait_all_tasks_blocked()


class Server:
    """A server without sockets, on memory stores that promise what Redis does."""

    def __init__(self, nursery: trio.Nursery, **settings: Any) -> None:
        self.hot = MemoryHotStore(durability="redis")
        self.archive = MemoryArchive()
        self.settings = Settings(auth_mode="insecure", auth_secret="s" * 32, **settings)
        self.lobby: Any = None
        self.clients: list[Client] = []
        self._nursery = nursery
        self._registry = Registry(self.settings.max_connections_per_user)

    def connect(self, headers: Mapping[bytes, bytes] | None = None) -> Client:
        """Let somebody in who has not said hello, unless by header."""
        link: Any = FakeLink(self._nursery, dict(headers or {}))
        connection = NativeConnection(
            link, self.lobby, Authenticator(self.settings), self._registry, Patience(5)
        )
        self.clients.append(Client(link, connection))
        return self.clients[-1]

    @property
    def said(self) -> list[dict[str, Any]]:
        """Everything it has said to anybody."""
        return [said for client in self.clients for said in client.said]

    async def enter(self, user: str, *, ref: str | None = None, **fields: object) -> Client:
        """Let somebody in, up to the room."""
        client = self.connect()
        await client.say("hello", user=user, **({"ref": ref} if ref else {}))
        await client.say("room:join", room=ROOM, **fields)
        return client


async def converse(server: Server) -> None:
    """Say everything there is to say, so that the server does."""
    ada = await server.enter("ada")
    token = make_token(server.settings, "bob", ["*"])
    bob = server.connect({b"authorization": b"Bearer " + token.encode()})
    await bob.say("room:join", room=ROOM, ref="join-1")
    await ada.say("message:send", room=ROOM, content="hello", id="m-1", ref=1)
    await ada.say("message:send", room=ROOM, content="and more", metadata={"mood": "good"})
    await ada.say("message:edit", room=ROOM, id="m-1", content="hello, all")
    await ada.say("typing:start", room=ROOM)
    await ada.say("typing:stop", room=ROOM)
    await bob.say("receipt:update", room=ROOM, lastReadMessageId="m-1", ref=2)
    await bob.say("history:get", room=ROOM, limit=1, ref=3)
    await bob.say("history:get", room=ROOM, ref=4)
    await ada.say("heartbeat")
    await ada.say("heartbeat", ref=5)
    eve = await server.enter("eve", ref="hello-1")
    await eve.say("room:leave", room=ROOM, ref=6)
    await ada.say("message:delete", room=ROOM, id="m-1", ref=7)
    await eve.say("room:join", room=ROOM, resume={"epoch": eve.first("room:joined")["epoch"], "seq": 3})
    await ada.say("message:edit", room=ROOM, id="nobody's", content="x", ref=8)
    await ada.say("nonsense")
    await bob.say("token:refresh", token=make_token(server.settings, "bob", ["*"]), ref=9)
    await trio.sleep(server.settings.session_expiry_seconds + 1)


def run_server(talk: Callable[[Server], Any], **settings: Any) -> Server:
    """Run a conversation on virtual time; return the server and everything it said."""

    async def main() -> Server:
        async with trio.open_nursery() as nursery:
            server = Server(nursery, **settings)
            async with open_lobby(
                hot=server.hot, archive=server.archive, settings=server.settings
            ) as server.lobby:
                await talk(server)
                await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        return server

    return trio.run(main, clock=MockClock(autojump_threshold=0))


def named(pairs: list[tuple[Block, dict[str, Any]]]) -> list[Any]:
    """Return the objects as parameters with names."""
    return [pytest.param(one, id=f"{number}-{one['type']}") for number, (_, one) in enumerate(pairs)]
