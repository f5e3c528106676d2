"""The hot store in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from typing_extensions import override

from trio_chat.stores.base import (
    Conflict,
    Durability,
    Session,
    Stored,
    Submitted,
    Unconfirmed,
    Unsynced,
    check_note,
)
from trio_chat.stores.memory.calls import Interfere, Memory
from trio_chat.stores.memory.session import KeptSession

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from trio_chat.message import Event, Receipt
    from trio_chat.stores.base import Append


class MemoryHotStore(Memory):
    """A `HotStore` in this process. Lives as long as somebody holds it; sessions survive their lobby in it.

    Args:
        expiry: seconds after which a clean session nobody touched may go; the safety net adds `grace`.
        clock: the store's own clock, in seconds.
        durability: what `append` promises; tests of a ladder may say "redis", or "replicated".

    Attributes:
        confirms: whether what is appended reaches its durability. A test may turn it off, as if no replica did confirm.
    """

    def __init__(
        self,
        *,
        expiry: float = 1200,
        grace: float = 3600,
        clock: Callable[[], float] = trio.current_time,
        durability: Durability = "memory",
        interfere: Interfere | None = None,
    ) -> None:
        super().__init__(interfere)
        self.durability: Durability = durability
        self.confirms = True
        self.quarantined: list[tuple[Session, int, str]] = []
        self._expiry = expiry + grace
        self._clock = clock
        self._current: dict[str, str] = {}
        self._sessions: dict[Session, KeptSession] = {}
        self._trusted: set[Session] = set()
        self.behind: set[Session] = set()
        """The sessions that are behind, see `note_behind`. A test may look at them."""
        self._notes: dict[str, tuple[bytes, float]] = {}
        """Each with the time at which it is forgotten."""

    @override
    def __repr__(self) -> str:
        return f"<MemoryHotStore sessions={len(self._sessions)} healthy={self.healthy}>"

    def lose_everything(self) -> None:
        """Forget everything, as a server does that restarts without its data."""
        self._current.clear()
        self._sessions.clear()
        self._trusted.clear()
        self._notes.clear()

    def lose_tail(self, room: str, count: int) -> None:
        """Forget the last `count` events of a room, as a server does that restarts from an older state."""
        kept = self._sessions[Session(room, self._current[room])]
        kept.top = max(kept.top - count, 0)
        kept.log = {seq: event for seq, event in kept.log.items() if seq <= kept.top}
        self.distrust()

    def lose_entries(self, room: str, seqs: Iterable[int]) -> None:
        """Forget entries of a room's log and nothing else, as if somebody put an older copy in its place."""
        kept = self._sessions[Session(room, self._current[room])]
        for seq in seqs:
            kept.log.pop(seq, None)

    def distrust(self) -> None:
        """Become another server, as far as `Stored.trusted` is concerned."""
        self._trusted.clear()

    def _live(self, session: Session) -> KeptSession | None:
        kept = self._sessions.get(session)
        if kept is not None and kept.clean and self._clock() - kept.active > self._expiry:
            self._remove(session)
            return None
        return kept

    def _remove(self, session: Session) -> None:
        self._sessions.pop(session, None)
        if self._current.get(session.room) == session.epoch:
            del self._current[session.room]

    async def load(self, room: str) -> Stored | None:
        """See `HotStore.load`."""
        async with self.call("load"):
            epoch = self._current.get(room)
            kept = self._live(Session(room, epoch)) if epoch is not None else None
            return None if kept is None else self._stored(kept)

    def _stored(self, kept: KeptSession) -> Stored:
        return Stored(
            epoch=kept.session.epoch,
            top=kept.top,
            synced=kept.synced,
            floor=kept.floor,
            first=kept.first,
            trusted=kept.session in self._trusted and kept.session not in self.behind,
            events=tuple(kept.log.values()),
            keys=dict(kept.keys),
            receipts=dict(kept.receipts),
            idle=self._clock() - kept.active,
        )

    def submit(self, write: Append, done: Callable[[Submitted], None]) -> bool:
        """See `HotStore.submit`."""
        trio.lowlevel.spawn_system_task(self._submit, write, done, name="append")
        return True

    async def _submit(self, write: Append, done: Callable[[Submitted], None]) -> None:
        try:
            outcome: Submitted = await self.append(write)
        except Exception as error:  # noqa: BLE001 - handed on to whoever waits for it
            outcome = error
        done(outcome)

    def note_behind(self, session: Session, behind: bool) -> None:
        """See `HotStore.note_behind`."""
        (self.behind.add if behind else self.behind.discard)(session)

    @property
    def promise(self) -> Durability:
        """See `HotStore.promise`."""
        if not self.healthy:
            return "memory"
        return self.durability if self.confirms else "redis"

    async def append(self, write: Append) -> Conflict | Unconfirmed | None:
        """See `HotStore.append`."""
        async with self.call("append"):
            conflict = self._conflict(write)
            if conflict is None:
                self._open(write.session)
                self._sessions[write.session].add(write, self._clock())
                self._trusted.add(write.session)
        return conflict if conflict is not None or self.confirms else Unconfirmed()

    def _conflict(self, write: Append) -> Conflict | None:
        epoch = self._current.get(write.session.room)
        kept = self._live(Session(write.session.room, epoch)) if epoch is not None else None
        if kept is None:
            return self._conflict_with_ended(write)
        same = kept.session.epoch == write.session.epoch
        if same and kept.top == write.expect:
            return None
        if write.expect == 0 and kept.session.epoch < write.session.epoch:
            return None
        return Conflict(kept.session.epoch, kept.top, kept.token)

    def _conflict_with_ended(self, write: Append) -> Conflict | None:
        ended = self._live(write.session)
        if write.expect == 0 and ended is not None and write.top < ended.top:
            return Conflict(ended.session.epoch, ended.top, ended.token)
        return None if write.expect == 0 else Conflict(None, 0, "")

    def _open(self, session: Session) -> None:
        epoch = self._current.get(session.room)
        if epoch == session.epoch:
            return
        if epoch is not None:
            self._close(self._sessions[Session(session.room, epoch)])
        self._current[session.room] = session.epoch
        self._sessions.setdefault(session, KeptSession(session))

    def _close(self, kept: KeptSession) -> None:
        self._current.pop(kept.session.room, None)
        if kept.clean:
            del self._sessions[kept.session]

    async def dirty(self) -> list[Session]:
        """See `HotStore.dirty`."""
        async with self.call("dirty"):
            return [session for session, kept in self._sessions.items() if not kept.clean]

    async def unsynced(self, session: Session, limit: int) -> Unsynced | None:
        """See `HotStore.unsynced`."""
        async with self.call("unsynced"):
            kept = self._live(session)
            return None if kept is None else self._unsynced(kept, limit)

    def _unsynced(self, kept: KeptSession, limit: int) -> Unsynced:
        above = sorted(seq for seq in kept.log if seq > kept.synced)
        events = tuple(kept.log[seq] for seq in above[:limit])
        upto = events[-1].seq if len(above) > limit else kept.top
        return Unsynced(kept.session, kept.synced, upto, kept.top, events, receipts=dict(kept.pending))

    async def mark_synced(
        self, marks: Sequence[tuple[Session, int]], receipts: Mapping[Session, Mapping[str, Receipt]] = {}
    ) -> None:
        """See `HotStore.mark_synced`."""
        async with self.call("mark_synced"):
            for session, seq in marks:
                if (kept := self._live(session)) is None:
                    continue
                kept.mark(seq, receipts.get(session, {}))
                if kept.clean and self._current.get(session.room) != session.epoch:
                    del self._sessions[session]

    async def end(self, session: Session, top: int, idle: float) -> bool:
        """See `HotStore.end`."""
        async with self.call("end"):
            kept = self._live(session)
            if kept is None or self._current.get(session.room) != session.epoch:
                over = True
            elif over := kept.top == top and self._clock() - kept.active >= idle:
                self._close(kept)
        return over

    async def quarantine(self, session: Session, seq: int, why: str) -> None:
        """See `HotStore.quarantine`."""
        async with self.call("quarantine"):
            if (kept := self._sessions.get(session)) is not None and kept.log.pop(seq, None) is not None:
                self.quarantined.append((session, seq, why))

    async def keep(self, notes: Mapping[str, tuple[bytes, float]]) -> None:
        """See `HotStore.keep`."""
        for name, (_, seconds) in notes.items():
            check_note(name, seconds)
        async with self.call("keep"):
            now = self._clock()
            self._notes = {name: note for name, note in self._notes.items() if note[1] > now}
            self._notes.update((name, (note, now + seconds)) for name, (note, seconds) in notes.items())

    async def kept(self, name: str) -> bytes | None:
        """See `HotStore.kept`."""
        check_note(name)
        async with self.call("kept"):
            note, until = self._notes.get(name, (b"", 0.0))
            return note if until > self._clock() else None

    async def discard(self, name: str) -> None:
        """See `HotStore.discard`."""
        check_note(name)
        async with self.call("discard"):
            self._notes.pop(name, None)

    def sessions(self) -> Mapping[Session, tuple[int, int]]:
        """Return every session kept, with its top and its mark. For tests and checkers."""
        return {session: (kept.top, kept.synced) for session, kept in self._sessions.items()}

    def pending(self, session: Session) -> Mapping[str, Receipt]:
        """Return the read marks of a session that the archive lacks. For tests and checkers."""
        kept = self._sessions.get(session)
        return dict(kept.pending) if kept else {}

    def log(self, session: Session) -> tuple[Event, ...]:
        """Return the entries kept of a session. For tests and checkers."""
        kept = self._sessions.get(session)
        return tuple(kept.log.values()) if kept else ()
