"""A server in this event loop, and clients of every wire on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from tests.battery.bad_input.house import open_house
from tests.wires.carriers import Ended
from tests.wires.client import Client
from tests.wires.clients import CLIENTS
from trio_chat.app import App
from trio_chat.clients import registry
from trio_chat.clients.auth import make_token

SWEEP = 0.02
"""How often the registry looks here, in seconds."""


class Place:
    """A running server and whoever is connected to it. Lives as long as its block."""

    def __init__(self, app: App) -> None:
        self.app = app
        self._clients: list[Client] = []

    def token(self, user: str, *rooms: str, **claims: Any) -> str:
        """Make a token, by default for all rooms."""
        return make_token(self.app.settings, user, rooms or ("*",), **claims)

    async def connect(self, wire: str, user: str, *rooms: str, **claims: Any) -> Client:
        """Return a connected client."""
        client = CLIENTS[wire](user, str(self.app.port), self.token(user, *rooms, **claims))
        self._clients.append(client)
        await client.connect()
        return client

    async def member(self, wire: str, user: str, *rooms: str, **claims: Any) -> Client:
        """Return a client that is in all its rooms, which its token names and no other."""
        client = await self.connect(wire, user, *rooms, **claims)
        for room in rooms:
            await client.join(room)
        return client

    async def close(self) -> None:
        """Let everybody go, so that the server need not wait for those who poll."""
        for client in self._clients:
            with suppress(Ended):
                await client.close()

    def drop(self) -> None:
        """Cut everybody."""
        for client in self._clients:
            client.drop()


@asynccontextmanager
async def opened(**settings: Any) -> AsyncIterator[Place]:
    """Run a server with some settings of its own."""
    async with open_house(close_timeout_seconds=0.2, **settings) as app:
        place = Place(app)
        try:
            yield place
            await place.close()
        finally:
            place.drop()


@pytest.fixture
def swift(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have expired tokens noticed at once."""
    monkeypatch.setattr(registry, "_SWEEP_SECONDS", SWEEP)


@pytest.fixture
def serve() -> Callable[..., Any]:
    """Give a function that runs a server with other settings."""
    return opened


@pytest.fixture
async def place(swift: None) -> AsyncIterator[Place]:
    """A server that notices expired tokens at once."""
    async with opened() as place:
        yield place


@pytest.fixture(params=list(CLIENTS))
def wire(request: pytest.FixtureRequest) -> str:
    """How clients speak."""
    return str(request.param)


@pytest.fixture
def refresh() -> Callable[[Client, str], Awaitable[dict[str, Any]]]:
    """Give a function that goes on with another token; it returns the answer or raises `Refused`."""

    async def ask(client: Client, token: str) -> dict[str, Any]:
        answer: dict[str, Any] = await client._ask("token:refresh", token=token)
        return answer

    return ask
