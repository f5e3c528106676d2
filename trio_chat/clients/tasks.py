"""The tasks of one client's conversation: they are cancelled when it ends, and their failures end with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import trio
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence


class Owner(Protocol):
    """Whose tasks they are. Neither method may wait."""

    def task_failed(self, failure: BaseException) -> None:
        """One of them raised an `Exception`."""
        ...

    def tasks_ended(self) -> None:
        """`end` was called, and the last one is gone. Called exactly once, and never from within `end`."""
        ...


class Tasks:
    """See the module. Lives as long as its owner, and lets go of it in the end."""

    __slots__ = ("_ended", "_owner", "_scopes", "_spawn")

    def __init__(self, owner: Owner, spawn: Callable[..., None]) -> None:
        """Begin without any; `spawn` starts one in a nursery that outlives them."""
        self._owner: Owner | None = owner
        self._spawn = spawn
        self._ended = False
        self._scopes: set[trio.CancelScope] = set()

    @override
    def __repr__(self) -> str:
        state = "ended" if self._ended else "open"
        return f"<Tasks {state} tasks={len(self._scopes)}>"

    def __len__(self) -> int:
        return len(self._scopes)

    def start(self, fn: Callable[..., Awaitable[object]], args: Sequence[object]) -> None:
        """Start a task that is cancelled by `end`. Does nothing afterwards."""
        if not self._ended:
            scope = trio.CancelScope()
            self._scopes.add(scope)
            self._spawn(self._contain, scope, fn, args)

    def end(self) -> None:
        """Cancel them all. To be called once."""
        self._ended = True
        for scope in self._scopes:
            scope.cancel()
        if not self._scopes:
            # By a task, for the caller may be in the middle of something.
            self._spawn(self._tell_soon)

    async def _contain(
        self, scope: trio.CancelScope, fn: Callable[..., Awaitable[object]], args: Sequence[object]
    ) -> None:
        """Run a task. The one place where its failure ends."""
        try:
            with scope:
                await fn(*args)
        except* Exception as failure:  # noqa: BLE001  # whatever it is, it concerns this client only
            if self._owner is not None:
                self._owner.task_failed(failure)
        finally:
            self._scopes.discard(scope)
            if self._ended and not self._scopes:
                self._tell()

    async def _tell_soon(self) -> None:
        self._tell()

    def _tell(self) -> None:
        owner, self._owner = self._owner, None
        if owner is not None:
            owner.tasks_ended()
