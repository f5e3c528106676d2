"""Make a memory store fail on demand, call by call.

1. `Faults` takes a store's `interfere` hook, which is awaited twice in each call: before it has its effect and
   after it.
2. What a call meets is decided when it begins: the first rule that fits, then the plan of fates, then whether the
   store is frozen.
3. Like a real store it bounds each call by its own timeout and then raises `Unavailable`.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
import trio
from typing_extensions import override

from trio_chat.errors import Unavailable
from trio_chat.stores.memory import Moment

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trio_chat.stores.memory import MemoryArchive, MemoryHotStore
    from trio_chat.testing.script import Fate

LATE = 0.5
"""How many seconds a call of the fate "late" takes."""


class FaultStatistics(msgspec.Struct, frozen=True):
    """Counts of one store's calls, and of those that were made to fail."""

    calls: int
    failed: int


class _Rule(msgspec.Struct):
    call: str | None
    moment: Moment
    times: int
    error: Callable[[], Exception]


def _away() -> Exception:
    return Unavailable("the store was made to fail")


class Faults:
    """The switches of one memory store. Lives as long as the store.

    Args:
        store: the store whose `interfere` hook is taken.
        timeout: how many seconds a call may take before it raises `Unavailable`.
        seen: called with each call and moment, for those who keep watch.
    """

    def __init__(
        self,
        store: MemoryHotStore | MemoryArchive,
        *,
        timeout: float = 1.0,
        seen: Callable[[str, Moment], None] | None = None,
    ) -> None:
        self.store = store
        self.calls: Counter[str] = Counter()
        """How often each call was begun."""
        self._timeout = timeout
        self._seen = seen
        self._rules: list[_Rule] = []
        self._plan: deque[Fate] = deque()
        self._delays: dict[str | None, float] = {}
        self._thawed: trio.Event | None = None
        self._cut = False
        self._waiting: set[trio.CancelScope] = set()
        """Those of the calls that take time."""
        self._failed = 0
        store.interfere = self._interfere

    @override
    def __repr__(self) -> str:
        state = "cut" if self._cut else "frozen" if self._thawed else "up" if self.store.healthy else "down"
        return f"<Faults {state} of {self.store!r} rules={len(self._rules)} planned={len(self._plan)}>"

    def statistics(self) -> FaultStatistics:
        """Return the current counts."""
        return FaultStatistics(self.calls.total(), self._failed)

    def fail(
        self,
        call: str | None = None,
        *,
        moment: Moment = "before",
        times: int = 1,
        error: Callable[[], Exception] = _away,
    ) -> None:
        """Let the next calls of this name, or of any, raise an error before or after they have their effect."""
        self._rules.append(_Rule(call, moment, times, error))

    def lose_answers(self, call: str | None = None, *, times: int = 1) -> None:
        """Let the next calls have their effect and fail all the same."""
        self.fail(call, moment="after", times=times)

    def plan(self, fates: Iterable[Fate]) -> None:
        """Let the next calls meet these fates, one each, after those planned already."""
        self._plan.extend(fates)

    def delay(self, seconds: float, call: str | None = None) -> None:
        """Let calls of this name, or all others, take so long from now on. 0 ends it."""
        self._delays[call] = seconds

    def pause(self) -> None:
        """Answer no call from now on, until `resume`. The first that runs into its timeout takes the store down."""
        if self._thawed is None:
            self._thawed = trio.Event()

    def resume(self) -> None:
        """Let the calls that wait go on. The store is well again."""
        if self._thawed is not None:
            self._thawed.set()
            self._thawed = None
            self.store.set_healthy(True)

    def down(self) -> None:
        """Take the store away: every call raises `Unavailable`, and the store knows it."""
        self.store.set_healthy(False)

    def up(self) -> None:
        """End every fault: the store is well."""
        self._rules.clear()
        self._plan.clear()
        self._delays.clear()
        self.resume()
        self.store.set_healthy(True)

    def cut(self) -> None:
        """Cut off whoever uses the store now: no call of theirs has an effect any more. `mend` ends it.

        Calls that wait for their answer end now: those who made them are gone.
        """
        self._cut = True
        for waiting in self._waiting:
            waiting.cancel()

    def mend(self) -> None:
        """Let calls through again after `cut`."""
        self._cut = False

    async def _interfere(self, call: str, moment: Moment) -> None:
        if self._cut:
            raise _away()
        if self._seen is not None:
            self._seen(call, moment)
        if moment == "before":
            self.calls[call] += 1
            await self._meet_fate(call)
        for rule in self._rules:
            if rule.moment == moment and rule.call in {None, call}:
                self._use_up(rule)
                raise self._failure(rule.error())

    async def _meet_fate(self, call: str) -> None:
        fate = self._plan.popleft() if self._plan else "well"
        if fate == "refuse":
            raise self._failure(_away())
        if fate == "lose answer":
            self._rules.insert(0, _Rule(call, "after", 1, _away))
        seconds = LATE if fate == "late" else self._delays.get(call, self._delays.get(None, 0.0))
        if seconds or self._thawed is not None:
            await self._take_time(seconds)

    async def _take_time(self, seconds: float) -> None:
        with trio.move_on_after(self._timeout) as patience:
            self._waiting.add(patience)
            try:
                await trio.sleep(seconds)
                if self._thawed is not None:
                    await self._thawed.wait()
            finally:
                self._waiting.discard(patience)
        if patience.cancelled_caught or self._cut:
            if self._thawed is not None and not self._cut:
                self.store.set_healthy(False)
            raise self._failure(Unavailable("the store did not answer in time"))

    def _use_up(self, rule: _Rule) -> None:
        rule.times -= 1
        if rule.times == 0:
            self._rules.remove(rule)

    def _failure(self, error: Exception) -> Exception:
        self._failed += 1
        return error
