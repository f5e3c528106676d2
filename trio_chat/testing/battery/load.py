"""Many clients that talk all the time, at a rate of all together."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio
from typing_extensions import override

from trio_chat.testing.battery.client import Client
from trio_chat.testing.battery.journal import Journal

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from trio_chat.message import Position

_GLANCE = 0.02


class Load:
    """Many clients in many rooms. Made by `open_load`; lives as long as its block.

    Attributes:
        journal: everything they noted.
        clients: all of them.
    """

    def __init__(self, port: Callable[[], int], rate: float) -> None:
        self.journal = Journal()
        self.clients: list[Client] = []
        self.rate = rate
        self._port = port
        self._nursery: trio.Nursery | None = None
        self._talking: list[trio.CancelScope] = []

    @override
    def __repr__(self) -> str:
        return f"<Load clients={len(self.clients)} {self.journal!r}>"

    @property
    def rooms(self) -> list[str]:
        """All rooms somebody is or was in."""
        return list(dict.fromkeys(client.room for client in self.clients))

    def add(self, room: str, count: int) -> list[Client]:
        """Let more clients come, who say only what they are told to."""
        if self._nursery is None:
            raise RuntimeError("the load is over")
        first = len(self.clients)
        new = [Client(f"u{first + n}", room, self._port, self.journal, first + n) for n in range(count)]
        self.clients += new
        for client in new:
            self._nursery.start_soon(client.run, name=f"client {client.name}")
        return new

    def start(self, nursery: trio.Nursery) -> None:
        """Let clients live in this nursery."""
        self._nursery = nursery

    async def talk(self, clients: list[Client], rate: float | None = None) -> None:
        """Let these take turns in speaking, at a rate of all together, until `quieten`."""
        pause = 1 / (rate or self.rate)
        due = trio.current_time()
        with trio.CancelScope() as scope:
            self._talking.append(scope)
            while True:
                for client in random.sample(clients, len(clients)):
                    client.speak()
                    due += pause
                    await trio.sleep_until(due)

    def quieten(self) -> None:
        """Let nobody say anything new."""
        for scope in self._talking:
            scope.cancel()

    def unsettled(self) -> list[Client]:
        """Return who is not there, waits for an answer, never got one, or does not know all that others know."""
        tops: dict[str, Position] = {}
        for client in self.clients:
            if client.position is not None:
                known = tops.get(client.room, client.position)
                tops[client.room] = max(client.position, known, key=lambda one: (one.epoch, one.seq))
        return [
            client
            for client in self.clients
            if client.pending
            or client.unanswered
            or not client.live
            or client.position != tops.get(client.room)
        ]


async def until(condition: Callable[[], bool], patience: float) -> bool:
    """Wait until something holds. Returns False if it does not within that many seconds. Cancelling is safe."""
    deadline = trio.current_time() + patience
    while not condition():
        if trio.current_time() > deadline:
            return False
        await trio.sleep(_GLANCE)
    return True


@asynccontextmanager
async def open_load(
    port: Callable[[], int],
    *,
    rooms: int = 20,
    clients: int = 10,
    rate: float = 100.0,
    patience: float = 20.0,
) -> AsyncGenerator[Load, None]:
    """Fill rooms with clients who talk. All are in their rooms when the block begins.

    Args:
        port: where the server is, asked anew for each connection.
        rooms: how many rooms.
        clients: how many in each.
        rate: messages a second, of all together.
        patience: seconds until all must be in.

    Raises:
        trio.TooSlowError: some did not get in.
    """
    load = Load(port, rate)
    async with trio.open_nursery() as nursery:
        load.start(nursery)
        talkers = [client for number in range(rooms) for client in load.add(f"room-{number}", clients)]
        if not await until(lambda: all(client.live for client in talkers), patience):
            raise trio.TooSlowError(f"not everybody is in within {patience:g} s")
        if rate:
            nursery.start_soon(load.talk, talkers, name="talk")
        yield load
        nursery.cancel_scope.cancel()
