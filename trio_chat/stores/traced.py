"""Stores whose calls are traced. What is not traced is the store's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trio_chat.message import Position, Receipt
    from trio_chat.stores.base import (
        Append,
        Archive,
        Archived,
        Batch,
        Conflict,
        HotStore,
        Session,
        Stored,
        Submitted,
        Unconfirmed,
    )
    from trio_chat.traces import Attributes, Traces

_ROOM = "trio_chat.room"


def _write(write: Append) -> Attributes:
    return {_ROOM: write.session.room, "trio_chat.events": len(write.events)}


class TracedHotStore:
    """The writes of turns, and the loads of sessions. Lives as long as the store beneath.

    Every method behaves as the store's own.
    """

    def __init__(self, store: HotStore, traces: Traces) -> None:
        self._store = store
        self._traces = traces

    @override
    def __repr__(self) -> str:
        return f"<TracedHotStore {self._store!r}>"

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def submit(self, write: Append, done: Callable[[Submitted], None]) -> bool:
        """See `HotStore.submit`."""
        end = self._traces.until("turn.write", _write(write), done)
        return self._store.submit(write, end)

    async def append(self, write: Append) -> Conflict | Unconfirmed | None:
        """See `HotStore.append`."""
        with self._traces.span("turn.write", _write(write)):
            return await self._store.append(write)

    async def load(self, room: str) -> Stored | None:
        """See `HotStore.load`."""
        with self._traces.span("session.load", {_ROOM: room}):
            return await self._store.load(room)


class TracedArchive:
    """Reads and writes of the archive. Lives as long as the one beneath. Every method behaves as its own."""

    def __init__(self, archive: Archive, traces: Traces) -> None:
        self._archive = archive
        self._traces = traces

    @override
    def __repr__(self) -> str:
        return f"<TracedArchive {self._archive!r}>"

    def __getattr__(self, name: str) -> object:
        return getattr(self._archive, name)

    async def write(self, batches: Sequence[Batch]) -> int:
        """See `Archive.write`."""
        rows = sum(len(batch.events) for batch in batches)
        with self._traces.span(
            "archive.write", {"trio_chat.sessions": len(batches), "trio_chat.events": rows}
        ):
            return await self._archive.write(batches)

    async def page(self, room: str, before: Position | None, limit: int) -> list[Archived]:
        """See `Archive.page`."""
        with self._traces.span("archive.page", {_ROOM: room}):
            return await self._archive.page(room, before, limit)

    async def receipts(self, room: str) -> Mapping[str, Receipt]:
        """See `Archive.receipts`."""
        with self._traces.span("archive.receipts", {_ROOM: room}):
            return await self._archive.receipts(room)

    async def top(self, session: Session) -> int:
        """See `Archive.top`."""
        with self._traces.span("archive.top", {_ROOM: session.room}):
            return await self._archive.top(session)


def traced(hot: HotStore, archive: Archive, traces: Traces | None) -> tuple[HotStore, Archive]:
    """Return both stores, traced if anybody wants that."""
    if traces is None:
        return hot, archive
    # What they lack they take from the stores, which no checker of types can see.
    return cast("HotStore", TracedHotStore(hot, traces)), cast("Archive", TracedArchive(archive, traces))
