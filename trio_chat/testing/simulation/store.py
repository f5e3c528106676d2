"""A hot store that can restart with what it had some time ago, as one does that writes to disk now and then."""

from __future__ import annotations

import copy
from collections import deque
from typing import TYPE_CHECKING, Any

import trio
from typing_extensions import override

from trio_chat.stores.memory import MemoryHotStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trio_chat.stores.base import Session

# How old a state it can go back to, in seconds.
_OLDEST = 3.0


class RestartingHotStore(MemoryHotStore):
    """See the module. `remember` is to be called before and after each of its calls."""

    def __init__(self, *, expiry: float, clock: Callable[[], float]) -> None:
        super().__init__(expiry=expiry, clock=clock, durability="redis")
        self._states: deque[tuple[float, Mapping[Session, Any], Mapping[str, str]]] = deque()
        self._seen: Mapping[Session, tuple[int, int]] = {}

    @override
    def __repr__(self) -> str:
        return f"<RestartingHotStore states={len(self._states)} {super().__repr__()}>"

    def remember(self, _call: str = "", _moment: str = "") -> None:
        """Keep the state as it is, if it has changed."""
        seen = self.sessions()
        if seen == self._seen:
            return
        self._seen = seen
        now = trio.current_time()
        kept = {session: _copied(one) for session, one in self._sessions.items()}
        self._states.append((now, kept, dict(self._current)))
        while len(self._states) > 1 and self._states[1][0] < now - _OLDEST:
            self._states.popleft()

    def relapse(self, age: float | None) -> None:
        """Be another server, with the state of `age` seconds ago, or with none."""
        self.remember()
        self.lose_everything()
        if age is not None:
            until = trio.current_time() - age
            for at, sessions, current in reversed(self._states):
                if at <= until:
                    self._sessions.update((session, _copied(one)) for session, one in sessions.items())
                    self._current.update(current)
                    break
        self._states.clear()
        self._seen = {}


def _copied(kept: Any) -> Any:
    new = copy.copy(kept)
    new.log, new.keys, new.receipts, new.pending = (
        dict(kept.log), dict(kept.keys), dict(kept.receipts), dict(kept.pending),
    )  # fmt: skip
    return new
