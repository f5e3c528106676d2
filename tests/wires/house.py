"""A running server, and whoever is connected to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from tests.wires.client import Client
from tests.wires.clients import CLIENTS
from trio_chat.app import open_app
from trio_chat.clients.auth import make_token
from trio_chat.settings import Settings


class Site:
    """A running server, and whoever is connected to it. Lives as long as a test."""

    def __init__(self, settings: Settings, port: int, wire: str) -> None:
        self.wire = wire
        self._settings = settings
        self._port = port
        self._clients: list[Client] = []

    def token(self, user: str, *, rooms: tuple[str, ...] = ("*",), **claims: Any) -> str:
        """Make a token, by default for all rooms."""
        return make_token(self._settings, user, rooms, **claims)

    async def connect(self, user: str, *, wire: str | None = None, **claims: Any) -> Client:
        """Return a connected client."""
        client = CLIENTS[wire or self.wire](user, str(self._port), self.token(user, **claims))
        self._clients.append(client)
        await client.connect()
        return client

    async def members(self, room: str, *users: str, **options: Any) -> list[Client]:
        """Return connected clients in a room, who have all heard that the others are there."""
        here: list[Client] = []
        for user in users:
            client = await self.connect(user, **options)
            await client.join(room)
            for other in here:
                await other.expect_presence(room, user)
            here.append(client)
        return here

    async def close(self) -> None:
        """Let everybody go, so that the server need not wait for those who poll."""
        for client in self._clients:
            await client.close()

    def drop(self) -> None:
        """Cut everybody."""
        for client in self._clients:
            client.drop()


Serve = Callable[..., Any]

POLLING_TOO = pytest.mark.parametrize("wire", list(CLIENTS))
"""For what could depend on how requests come and answers go."""


@asynccontextmanager
async def serving(settings: Settings, wire: str, **changes: Any) -> AsyncIterator[Site]:
    """Run a server for as long as the block."""
    async with open_app(replace(settings, **changes)) as app:
        site = Site(settings, app.port, wire)
        try:
            yield site
            await site.close()
        finally:
            site.drop()


def numbers(*bounds: int) -> list[str]:
    """Return contents to tell apart."""
    return [f"number {number}" for number in range(*bounds)]


async def send_all(client: Client, room: str, contents: list[str]) -> list[str]:
    """Send messages and return their ids."""
    return [(await client.send(room, content))["id"] for content in contents]


async def hear_all(client: Client, room: str, contents: list[str]) -> None:
    """Expect messages, in this order and nothing between them."""
    for content in contents:
        await client.expect_message(room, content)
