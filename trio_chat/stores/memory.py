"""Both stores in dictionaries: for tests, for programs that need no durability, and as the model of the real ones.

Each has an `interfere` hook, awaited before and after a call takes effect. It may raise, sleep or block, which
stands for a refused connection, a slow network or a lost answer; `trio_chat.testing` has ready-made ones.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal

import trio
from typing_extensions import override

from trio_chat.errors import Unavailable
from trio_chat.message import Deleted, Event, Position, Receipt
from trio_chat.stores.base import (
    TAKEN,
    Append,
    Archived,
    Batch,
    Conflict,
    Durability,
    Refused,
    Session,
    Stored,
    Submitted,
    Unconfirmed,
    Unsynced,
    check_note,
    newer,
    newest,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

Moment = Literal["before", "after"]
Interfere = Callable[[str, Moment], Awaitable[None]]


class _Health:
    """A flag one can wait for. Lives as long as its store."""

    def __init__(self) -> None:
        self.value = True
        self._changed = trio.Event()

    def set(self, value: bool) -> None:
        if value is not self.value:
            self.value = value
            self._changed.set()
            self._changed = trio.Event()

    async def wait(self, value: bool) -> None:
        while self.value is not value:
            await self._changed.wait()


class _Memory:
    """What both stores share: health and interference."""

    def __init__(self, interfere: Interfere | None = None) -> None:
        self.interfere = interfere
        self._health = _Health()

    @property
    def healthy(self) -> bool:
        """Whether the store is up."""
        return self._health.value

    def set_healthy(self, healthy: bool) -> None:
        """Take the store down, or bring it back. While it is down every call raises `Unavailable`."""
        self._health.set(healthy)

    async def wait_health(self, healthy: bool) -> None:
        """Return when `self.healthy` is `healthy`. Cancelling is safe."""
        await self._health.wait(healthy)

    async def probe(self) -> None:
        """Do nothing, as a call."""
        async with self._call("probe"):
            pass

    @asynccontextmanager
    async def _call(self, name: str) -> AsyncGenerator[None]:
        # The body is what the call does, in one step, between the two moments at which it may fail.
        await trio.lowlevel.checkpoint()
        if self.interfere is not None:
            await self.interfere(name, "before")
        if not self.healthy:
            raise Unavailable(f"{type(self).__name__} is down")
        yield
        if self.interfere is not None:
            await self.interfere(name, "after")


class _Kept:
    """One session as it is kept. `active` is the time of the last append, in seconds."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.top = self.synced = self.floor = self.first = 0
        self.active = 0.0
        self.token = ""
        self.log: dict[int, Event] = {}
        self.keys: dict[str, int] = {}
        self.receipts: dict[str, Receipt] = {}
        self.pending: dict[str, Receipt] = {}

    @property
    def clean(self) -> bool:
        return self.top <= self.synced and not self.pending

    def add(self, write: Append, now: float) -> None:
        self.top, self.first, self.floor = write.top, write.first, write.floor
        self.token, self.active = write.token, now
        self.log.update((event.seq, event) for event in write.events)
        for seq in write.superseded:
            self.log.pop(seq, None)
        self.keys.update(write.keys)
        for _ in range(len(self.keys) - write.remember):
            del self.keys[next(iter(self.keys))]
        self.receipts.update(write.carried)
        self.receipts.update(write.receipts)
        self.pending.update(write.receipts)
        self.trim()

    def mark(self, seq: int, archived: Mapping[str, Receipt]) -> None:
        self.synced = max(self.synced, min(seq, self.top))
        for user, receipt in archived.items():
            if self.pending.get(user) == receipt:
                del self.pending[user]
        self.trim()

    def trim(self) -> None:
        keep = self.synced + 1 if self.first == 0 else min(self.first, self.synced + 1)
        for seq in [seq for seq in self.log if seq < keep]:
            del self.log[seq]


class MemoryHotStore(_Memory):
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
        self._sessions: dict[Session, _Kept] = {}
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

    def _live(self, session: Session) -> _Kept | None:
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
        async with self._call("load"):
            epoch = self._current.get(room)
            kept = self._live(Session(room, epoch)) if epoch is not None else None
            return None if kept is None else self._stored(kept)

    def _stored(self, kept: _Kept) -> Stored:
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
        async with self._call("append"):
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
        self._sessions.setdefault(session, _Kept(session))

    def _close(self, kept: _Kept) -> None:
        self._current.pop(kept.session.room, None)
        if kept.clean:
            del self._sessions[kept.session]

    async def dirty(self) -> list[Session]:
        """See `HotStore.dirty`."""
        async with self._call("dirty"):
            return [session for session, kept in self._sessions.items() if not kept.clean]

    async def unsynced(self, session: Session, limit: int) -> Unsynced | None:
        """See `HotStore.unsynced`."""
        async with self._call("unsynced"):
            kept = self._live(session)
            return None if kept is None else self._unsynced(kept, limit)

    def _unsynced(self, kept: _Kept, limit: int) -> Unsynced:
        above = sorted(seq for seq in kept.log if seq > kept.synced)
        events = tuple(kept.log[seq] for seq in above[:limit])
        upto = events[-1].seq if len(above) > limit else kept.top
        return Unsynced(kept.session, kept.synced, upto, kept.top, events, receipts=dict(kept.pending))

    async def mark_synced(
        self, marks: Sequence[tuple[Session, int]], receipts: Mapping[Session, Mapping[str, Receipt]] = {}
    ) -> None:
        """See `HotStore.mark_synced`."""
        async with self._call("mark_synced"):
            for session, seq in marks:
                if (kept := self._live(session)) is None:
                    continue
                kept.mark(seq, receipts.get(session, {}))
                if kept.clean and self._current.get(session.room) != session.epoch:
                    del self._sessions[session]

    async def end(self, session: Session, top: int, idle: float) -> bool:
        """See `HotStore.end`."""
        async with self._call("end"):
            kept = self._live(session)
            if kept is None or self._current.get(session.room) != session.epoch:
                over = True
            elif over := kept.top == top and self._clock() - kept.active >= idle:
                self._close(kept)
        return over

    async def quarantine(self, session: Session, seq: int, why: str) -> None:
        """See `HotStore.quarantine`."""
        async with self._call("quarantine"):
            if (kept := self._sessions.get(session)) is not None and kept.log.pop(seq, None) is not None:
                self.quarantined.append((session, seq, why))

    async def keep(self, notes: Mapping[str, tuple[bytes, float]]) -> None:
        """See `HotStore.keep`."""
        for name, (_, seconds) in notes.items():
            check_note(name, seconds)
        async with self._call("keep"):
            now = self._clock()
            self._notes = {name: note for name, note in self._notes.items() if note[1] > now}
            self._notes.update((name, (note, now + seconds)) for name, (note, seconds) in notes.items())

    async def kept(self, name: str) -> bytes | None:
        """See `HotStore.kept`."""
        check_note(name)
        async with self._call("kept"):
            note, until = self._notes.get(name, (b"", 0.0))
            return note if until > self._clock() else None

    async def discard(self, name: str) -> None:
        """See `HotStore.discard`."""
        check_note(name)
        async with self._call("discard"):
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


class MemoryArchive(_Memory):
    """An `Archive` in this process. `refuse` makes it refuse rows, as Postgres refuses some."""

    def __init__(
        self, *, refuse: Callable[[Event], bool] | None = None, interfere: Interfere | None = None
    ) -> None:
        super().__init__(interfere)
        self.refuse = refuse
        self.sessions: dict[Session, Batch] = {}
        """Each session's highest top and its end; the batches hold no events."""
        self._rows: dict[Session, dict[int, Event]] = {}
        self._receipts: dict[str, dict[str, Receipt]] = {}
        self._latest = ""

    @override
    def __repr__(self) -> str:
        return f"<MemoryArchive sessions={len(self.sessions)} healthy={self.healthy}>"

    async def write(self, batches: Sequence[Batch]) -> int:
        """See `Archive.write`."""
        changed = 0
        async with self._call("write"):
            for event in (event for batch in batches for event in batch.events):
                if self.refuse is not None and self.refuse(event):
                    raise Refused("a row is refused")
            self._check_places(batches)
            for batch in batches:
                changed += self._store(batch)
        return changed

    def _check_places(self, batches: Sequence[Batch]) -> None:
        ids: dict[tuple[Session, int], str] = {}
        for batch in batches:
            rows = self.rows(batch.session)
            for message in (event.message for event in batch.events):
                there = rows[message.seq].message.id if message.seq in rows else message.id
                if ids.setdefault((batch.session, message.seq), there) != message.id:
                    raise Refused(TAKEN)

    def _store(self, batch: Batch) -> int:
        old = self.sessions.get(batch.session, batch)
        self._latest = max(self._latest, batch.session.epoch)
        self.sessions[batch.session] = Batch(
            batch.session, max(old.top, batch.top), (), old.ended or batch.ended
        )
        rows = self._rows.setdefault(batch.session, {})
        changed: set[int] = set()
        for event in batch.events:
            seq = event.message.seq
            if seq not in rows or rows[seq].seq < event.seq:
                changed.add(seq)
                rows[seq] = event
        marks = self._receipts.setdefault(batch.session.room, {})
        marks.update((user, mark) for user, mark in batch.receipts.items() if newer(mark, marks.get(user)))
        return len(changed)

    async def page(self, room: str, before: Position | None, limit: int) -> list[Archived]:
        """See `Archive.page`."""
        async with self._call("page"):
            found = [
                Archived(session.epoch, event.message)
                for session, rows in self._rows.items()
                for event in rows.values()
                if session.room == room and not isinstance(event, Deleted)
            ]
        found.sort(key=lambda one: (one.epoch, one.message.seq))
        if before is not None:
            found = [one for one in found if (one.epoch, one.message.seq) < (before.epoch, before.seq)]
        return found[max(len(found) - limit, 0) :]

    async def receipts(self, room: str) -> Mapping[str, Receipt]:
        """See `Archive.receipts`."""
        async with self._call("receipts"):
            return newest(self._receipts.get(room, {}))

    async def top(self, session: Session) -> int:
        """See `Archive.top`."""
        async with self._call("top"):
            known = self.sessions.get(session)
        return known.top if known is not None else 0

    async def latest(self) -> str:
        """See `Archive.latest`."""
        async with self._call("latest"):
            return self._latest

    def marks(self, room: str) -> Mapping[str, Receipt]:
        """Return all read marks archived of a room, by user. For tests and checkers."""
        return dict(self._receipts.get(room, {}))

    def rows(self, session: Session) -> Mapping[int, Event]:
        """Return the latest event of each message archived of a session, by its seq. For tests and checkers."""
        return self._rows.get(session, {})
