"""Both stores, which outlive the lobbies over them, and mail to those."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio

from tests.rooms import now
from trio_chat.lobby import Lobby, open_lobby
from trio_chat.mail import Answer, Post
from trio_chat.settings import Settings
from trio_chat.stores.memory import MemoryArchive, MemoryHotStore

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


EXPIRY, INTERVAL = 1200.0, 300.0


class Stores:
    """Both stores, which outlive the lobbies over them."""

    def __init__(self) -> None:
        self.hot = MemoryHotStore(durability="redis")
        self.archive = MemoryArchive()

    @asynccontextmanager
    async def lobby(self, **settings: Any) -> AsyncGenerator[Lobby, None]:
        """Open a lobby over them."""
        async with open_lobby(
            hot=self.hot, archive=self.archive, settings=Settings(**settings), now=now
        ) as lobby:
            yield lobby

    def both(self, healthy: bool) -> None:
        """Take both down, or bring both back."""
        self.hot.set_healthy(healthy)
        self.archive.set_healthy(healthy)

    def archived(self, room: str = "r") -> list[str]:
        """Return what the archive has of a room, in order."""
        found = [
            (session.epoch, seq, event.message.content)
            for session in self.archive.sessions
            if session.room == room
            for seq, event in self.archive.rows(session).items()
        ]
        return [content for _, _, content in sorted(found)]


def mail_post(lobby: Lobby, content: str = "hi", room: str = "r") -> list[Answer]:
    """Mail a post and return the list its answer will be in."""
    answers: list[Answer] = []
    lobby.mail(room, Post("ann", "user", content, {}, None, answers.append))
    return answers


def tasks() -> set[str]:
    """Return the names of all tasks below the test's."""
    found: set[str] = set()
    todo = [trio.lowlevel.current_root_task()]
    while todo:
        task = todo.pop()
        if task is not None:
            found.add(task.name)
            todo.extend(child for nursery in task.child_nurseries for child in nursery.child_tasks)
    return found
