"""The archive in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from trio_chat.message import Deleted, Event, Position, Receipt
from trio_chat.stores.base import TAKEN, Archived, Batch, Refused, Session, newer, newest
from trio_chat.stores.memory.calls import Interfere, Memory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class MemoryArchive(Memory):
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
        async with self.call("write"):
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
        async with self.call("page"):
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
        async with self.call("receipts"):
            return newest(self._receipts.get(room, {}))

    async def top(self, session: Session) -> int:
        """See `Archive.top`."""
        async with self.call("top"):
            known = self.sessions.get(session)
        return known.top if known is not None else 0

    async def latest(self) -> str:
        """See `Archive.latest`."""
        async with self.call("latest"):
            return self._latest

    def marks(self, room: str) -> Mapping[str, Receipt]:
        """Return all read marks archived of a room, by user. For tests and checkers."""
        return dict(self._receipts.get(room, {}))

    def rows(self, session: Session) -> Mapping[int, Event]:
        """Return the latest event of each message archived of a session, by its seq. For tests and checkers."""
        return self._rows.get(session, {})
