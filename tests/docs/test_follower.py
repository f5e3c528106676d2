"""The client that a page shows follows the window."""

from __future__ import annotations

import random
from typing import Any

import pytest
import trio

from .house import PROTOCOL, ROOM, Client, Server, blocks, run_server


def window_of_the_page() -> Any:
    """Return the class that the page shows."""
    found: dict[str, Any] = {}
    [block] = blocks(PROTOCOL, "python")
    exec(block.text, found)
    return found["Window"]


class Follower:
    """A client that follows the rules of the page, and breaks off and resumes now and then."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._window = window_of_the_page()(server.settings.max_messages_per_session)
        self._client: Client | None = None
        self._heard = 0

    async def follow(self) -> None:
        """Connect and resume, if not connected."""
        if self._client is None:
            resume = {"resume": self._window.position} if self._window.position else {}
            self._client = await self._server.enter("bob", **resume)
            self._heard = 0

    def hear(self, count: int | None = None) -> None:
        """Take in all that was said, or just so many messages of it."""
        if self._client is not None:
            for said in self._client.said[self._heard :][:count]:
                self._window.hear(said)
            self._heard = len(self._client.said)

    def break_off(self) -> None:
        """Lose the connection, and what was not heard yet."""
        if self._client is not None:
            self._client.connection.on_closed()
            self._client = None

    def shown(self) -> list[dict[str, Any]] | None:
        """Return what the client shows; None if it is not connected."""
        return None if self._client is None else self._window.shown()


async def change_something(ada: Client, number: int, dice: random.Random) -> None:
    """Post, edit or delete; what cannot be done is refused."""
    name = f"m-{dice.randrange(max(number - 5, 0), number + 1)}"
    match dice.choice(["send", "send", "send", "edit", "edit", "delete"]):
        case "edit":
            await ada.say("message:edit", room=ROOM, id=name, content=f"edited {number}")
        case "delete":
            await ada.say("message:delete", room=ROOM, id=name)
        case _:
            await ada.say("message:send", room=ROOM, id=f"m-{number}", content=f"{number}")


async def look(server: Server) -> list[dict[str, Any]]:
    """Return the window, as somebody sees it who is new."""
    eve = await server.enter("eve")
    eve.connection.on_closed()
    window: list[dict[str, Any]] = eve.first("messages:history")["messages"]
    return window


@pytest.mark.parametrize("seed", range(6))
def test_a_client_that_follows_the_rules_shows_the_window(seed: int) -> None:
    """Through edits, deletes, lost connections, half heard answers and expired sessions."""
    dice = random.Random(seed)

    async def talk(server: Server) -> None:
        ada = await server.enter("ada")
        bob = Follower(server)
        for number in range(150):
            if dice.random() < 0.25:
                await bob.follow()
            if dice.random() < 0.03:
                await trio.sleep(server.settings.session_expiry_seconds + 1)
            await change_something(ada, number, dice)
            if dice.random() < 0.2:
                bob.hear(dice.randrange(9))
                bob.break_off()
            bob.hear()

            assert bob.shown() in (None, await look(server))
        await bob.follow()
        bob.hear()
        assert bob.shown() == await look(server)

    run_server(talk, max_messages_per_session=5, requests_per_second=0.0)
