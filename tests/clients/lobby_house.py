"""A server without its sockets, for the tests of what one client says and hears."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, TypeVar

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_chat.clients.auth import Authenticator, make_token
from trio_chat.clients.patience import Patience
from trio_chat.clients.registry import Registry
from trio_chat.lobby import open_lobby
from trio_chat.settings import Settings
from trio_chat.stores.memory import MemoryArchive, MemoryHotStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio_chat.lobby import Lobby

SECRET = "a-secret-of-more-than-thirty-two-bytes"
H = TypeVar("H", bound="LobbyHouse")


class LobbyHouse:
    """A lobby over memory stores that outlive it, and who lets people in."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.hot = MemoryHotStore(durability="redis")
        self.archive = MemoryArchive()
        self.nursery = nursery

    async def open(self, **changes: Any) -> Self:
        """Open it, with these settings."""
        fields: dict[str, Any] = {"auth_mode": "insecure", "rate_limits": False} | changes
        self.settings = Settings(**fields)
        await self.start()
        return self

    async def start(self) -> None:
        """Begin a process."""
        self._scope = trio.CancelScope()
        self.lobby: Lobby = await self.nursery.start(self._keep_open)
        self.registry = Registry(self.settings.max_connections_per_user, clock=trio.current_time)
        self.authenticator = Authenticator(self.settings, clock=trio.current_time)
        self.patience = Patience(self.settings.hello_timeout)
        self.nursery.start_soon(self.patience.run)

    async def _keep_open(self, task_status: trio.TaskStatus[Lobby]) -> None:
        with self._scope:
            async with open_lobby(hot=self.hot, archive=self.archive, settings=self.settings) as lobby:
                task_status.started(lobby)
                await trio.sleep_forever()

    async def restart(self) -> None:
        """Kill the process and begin another over the same stores. Its clients hear nothing of it."""
        self._scope.cancel()
        await wait_all_tasks_blocked()
        await self.start()

    def token(self, user: str = "ada", rooms: tuple[str, ...] = ("*",), **options: Any) -> str:
        """Make a token by the clock of the test."""
        return make_token(self.settings, user, rooms, clock=trio.current_time, **options)


def house_fixtures(kind: type[H]) -> tuple[Any, Any, Any]:
    """Make what the tests of one wire are given: `build`, `house` and `guarded`, for a conftest to take in."""

    @pytest.fixture
    def build(nursery: trio.Nursery) -> Callable[..., Awaitable[H]]:
        """Opens a house with other settings; to be awaited."""
        return lambda **changes: kind(nursery).open(**changes)

    @pytest.fixture
    async def house(build: Callable[..., Awaitable[H]]) -> H:
        return await build()

    @pytest.fixture
    async def guarded(build: Callable[..., Awaitable[H]]) -> H:
        """A house that asks for tokens."""
        return await build(auth_mode="token", auth_secret=SECRET)

    return build, house, guarded
