"""The stores of a simulation, what goes wrong with them, and what nobody has any more because of that."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from typing_extensions import override

from trio_chat.message import Deleted, Event
from trio_chat.stores.memory import MemoryArchive
from trio_chat.testing.faults import Faults
from trio_chat.testing.simulation.store import RestartingHotStore
from trio_chat.testing.verdict import log as it

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_chat.stores.base import Session
    from trio_chat.stores.memory import Moment
    from trio_chat.testing.script import StoreName
    from trio_chat.testing.simulation import plan as do
    from trio_chat.testing.simulation.log import Log


class Stores:
    """See the module. Lives as long as a simulation.

    Args:
        expiry: seconds of inactivity after which a session may end.
        log: where it is noted what the hot store was made to lose while nobody alive had it.
        is_live: whether a room of the process holds the session.
        excuse_reuse: see `World`.

    Attributes:
        hot: where sessions live.
        archive: where they go.
        faults: what makes them fail, by name.
        offset: how far the hot store's clock is ahead, in seconds.
    """

    def __init__(
        self, expiry: float, log: Log, is_live: Callable[[Session], bool], *, excuse_reuse: bool
    ) -> None:
        self.offset = 0.0
        self.hot = RestartingHotStore(expiry=expiry, clock=self._clock)
        self.archive = MemoryArchive()
        self.faults: dict[StoreName, Faults] = {
            "hot": Faults(self.hot, timeout=1.0, seen=self.hot.remember),
            "archive": Faults(self.archive, timeout=5.0),
        }
        self._log = log
        self._is_live = is_live
        self._excuse_reuse = excuse_reuse
        self._taken: dict[Session, tuple[int, int]] = {}
        """What the hot store was made to lose and a live room may give back: up to which seq, above which."""

    @override
    def __repr__(self) -> str:
        return f"<Stores {self.hot!r} {self.archive!r}>"

    def _clock(self) -> float:
        return trio.current_time() + self.offset

    def is_spared(self, store: StoreName) -> bool:
        """Whether a store is not to fail now: the archive, if it alone has events of a session that may go on.

        A process that begins without the archive would use their seqs again. As long as that is excused, it is not
        provoked.
        """
        if store == "hot" or not self._excuse_reuse:
            return False
        return any(self._archived(session) > top for session, (top, _) in self.hot.sessions().items())

    def trouble(self, item: do.Trouble) -> None:
        """Let the next calls fail."""
        if not self.is_spared(item.store):
            self.faults[item.store].plan(item.fates)

    def fail(self, call: tuple[StoreName, str, Moment]) -> None:
        """Let a call fail in a way nobody expects."""
        store, name, moment = call
        if not self.is_spared(store):
            self.faults[store].fail(name, moment=moment, error=RuntimeError)

    async def be_away(self, item: do.Away) -> None:
        """Let a store be away for a time. Cancelling leaves it away."""
        if self.is_spared(item.store):
            return
        faults = self.faults[item.store]
        if item.frozen:
            faults.pause()
        else:
            faults.down()
        await trio.sleep(item.seconds)
        if item.frozen:
            faults.resume()
        else:
            faults.store.set_healthy(True)

    async def be_slow(self, item: do.Slow) -> None:
        """Let a store be slow for a time. Cancelling leaves it slow."""
        if self.is_spared(item.store):
            return
        self.faults[item.store].delay(item.delay)
        await trio.sleep(item.seconds)
        self.faults[item.store].delay(0.0)

    async def relapse(self, item: do.Relapse) -> None:
        """Let the hot store restart from an older state. Cancelling leaves it away."""
        self.hot.set_healthy(False)
        self._lose(lambda: self.hot.relapse(item.age))
        await trio.sleep(item.seconds)
        self.hot.set_healthy(True)

    def flush(self) -> None:
        """Let the hot store lose everything, and go on."""
        self._lose(lambda: self.hot.relapse(None))

    def heal(self) -> None:
        """End whatever is wrong with them."""
        for faults in self.faults.values():
            faults.up()

    def note_end(self) -> None:
        """Note what is gone with a process."""
        if self.is_spared("archive"):
            self.faults["archive"].up()
        tops = self.hot.sessions()
        for session, (top, above) in self._taken.items():
            if max(tops.get(session, (0, 0))[0], self._archived(session)) < top:
                self._log.add(it.Lost(trio.current_time(), session, above))
        self._taken.clear()

    def contents(self) -> it.Contents:
        """Return what both hold."""
        archive = {
            session: tuple(map(_row, self.archive.rows(session).values()))
            for session in self.archive.sessions
        }
        hot = tuple(
            it.Kept(session, top, synced, tuple(map(_row, self.hot.log(session))))
            for session, (top, synced) in self.hot.sessions().items()
        )
        return it.Contents(archive, hot)

    def _lose(self, lose: Callable[[], None]) -> None:
        """Let the hot store lose something, and note what nobody has any more."""
        before = self.hot.sessions()
        lose()
        after = self.hot.sessions()
        for session, (top, _) in before.items():
            left, _ = after.get(session, (0, 0))
            above = max(left, self._archived(session))
            if top <= above:
                continue
            if self._is_live(session):
                known, low = self._taken.get(session, (0, top))
                self._taken[session] = max(known, top), min(low, above)
            else:
                self._log.add(it.Lost(trio.current_time(), session, above))

    def _archived(self, session: Session) -> int:
        known = self.archive.sessions.get(session)
        return known.top if known is not None else 0


def _row(event: Event) -> it.Row:
    message = event.message
    seen = it.Seen(message.id, message.user_id, message.content, message.seq, message.rev)
    return it.Row(seen, isinstance(event, Deleted))
