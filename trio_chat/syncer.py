"""The syncer actor: brings to the archive what it lacks, many rooms in one transaction.

1. A *round* takes sessions, reads what is above their marks, writes it in batches, then raises the marks. Every
   step may be repeated; what was archived twice is there once.
2. A round happens at start (what a killed process left), every interval, soon after a `kick`, for each `flush`, and
   at the end.
3. While the archive is away rounds are tried with capped, jittered backoff, and a `flush` says no at once.
4. A row the archive refuses is found by halving the batch, set aside (a read mark is let go of), and does not hold up
   the rest.
5. What the hot store cannot tell (it is away, it refuses a degraded room, it has lost the session or some of it) is
   archived from the memory of the live room.
"""

from __future__ import annotations

import logging
import random
from typing import TYPE_CHECKING, Protocol

import msgspec
import trio
from typing_extensions import override

from trio_chat.errors import TrioChatError
from trio_chat.failures import explain
from trio_chat.stores.base import Archive, Batch, HotStore, Refused, Session, Unsynced
from trio_chat.traces import span

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from trio_chat.message import Receipt
    from trio_chat.settings import Settings
    from trio_chat.traces import Traces

logger = logging.getLogger(__name__)

_BATCH_ROWS = 5000
_BACKOFF = (1.0, 8.0)
# The longest a room's expiry waits for the archive; the session then stays in the hot store for a later round.
_FLUSH_SECONDS = 5.0


class LiveRooms(Protocol):
    """What the syncer asks of the rooms of this process, and tells them. All synchronous."""

    def unsynced(self) -> Collection[Session]:
        """Return the sessions of live rooms that have something the archive has not been told to have."""
        ...

    def held(self, session: Session) -> Batch | None:
        """Return that from the room's memory; None if there is nothing, or if it does not hold it all."""
        ...

    def is_degraded(self, session: Session) -> bool:
        """Whether the session is of a live room whose newest events are in its memory only."""
        ...

    def note_lost(self, session: Session) -> None:
        """The hot store does not know this session."""
        ...

    def note_torn(self, session: Session) -> None:
        """The hot store lacks events of this session that it had."""
        ...

    def note_synced(self, session: Session, seq: int) -> None:
        """The archive has everything of the session up to `seq`."""
        ...


class NoRooms:
    """For a syncer without rooms in this process."""

    def unsynced(self) -> Collection[Session]:
        """Return none."""
        return ()

    def held(self, session: Session) -> Batch | None:  # noqa: ARG002 - there is none
        """Return none."""
        return None

    def is_degraded(self, session: Session) -> bool:  # noqa: ARG002 - there is none
        """Return False."""
        return False

    def note_lost(self, session: Session) -> None:
        """Do nothing."""

    def note_torn(self, session: Session) -> None:
        """Do nothing."""

    def note_synced(self, session: Session, seq: int) -> None:
        """Do nothing."""


class SyncerStatistics(msgspec.Struct, frozen=True):
    """Counts since the start.

    Attributes:
        rounds: those that were made, failed ones included.
        messages: new or changed in the archive.
        refused: rows that the archive refused.
        behind: how many rounds failed in a row.
        failed: how many rounds failed.
        lag: seconds since the archive was last known to have everything, or since the start.
    """

    rounds: int
    messages: int
    refused: int
    behind: int
    failed: int
    lag: float


class Syncer:
    """See the module. Lives inside the stores and outside the rooms: it must see their last events.

    Args:
        hot: where sessions are read from and marked.
        archive: where they go.
        settings: the interval.
        rooms: the live rooms of this process.
        traces: who is told how long rounds take; None if nobody is.
    """

    def __init__(
        self,
        hot: HotStore,
        archive: Archive,
        settings: Settings,
        rooms: LiveRooms,
        traces: Traces | None = None,
    ) -> None:
        self._hot = hot
        self._archive = archive
        self._interval = settings.session_sync_interval_seconds
        self._rooms = rooms
        self._traces = traces
        self._wanted: set[Session] = set()
        self._ended: dict[Session, datetime] = {}
        self._given: dict[Session, Mapping[str, Receipt]] = {}
        """The read marks last archived of sessions: rooms keep theirs for the hot store, and show them again."""
        self._bell = trio.Event()
        self._round = _Round()
        self._busy = trio.Lock()
        self._not_before = 0.0
        self._rounds = self._messages = self._refused = self._behind = self._failed = 0
        self._complete = trio.current_time()
        """When the archive was last known to have everything, or when this began."""

    @override
    def __repr__(self) -> str:
        return f"<Syncer rounds={self._rounds} messages={self._messages} behind={self._behind}>"

    def statistics(self) -> SyncerStatistics:
        """Return the current counts."""
        lag = trio.current_time() - self._complete
        return SyncerStatistics(self._rounds, self._messages, self._refused, self._behind, self._failed, lag)

    def kick(self, session: Session) -> None:
        """Archive this session soon. Never waits."""
        self._wanted.add(session)
        self._bell.set()

    async def flush(self, session: Session, *, ended: datetime | None = None) -> bool:
        """Archive this session now; `ended` notes when it ended. Returns whether the archive has it.

        Waits at most 5 s, and not at all while the archive is known to be away. Cancelling is safe.
        """
        if ended is not None:
            self._ended[session] = ended
        if trio.current_time() < self._not_before:
            return False
        self.kick(session)
        coming = self._round
        with trio.move_on_after(_FLUSH_SECONDS):
            await coming.done.wait()
            return coming.succeeded
        return False

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Make rounds until cancelled. Cancelling is safe: the next round repeats what was not marked."""
        task_status.started()
        logger.info("syncer started: a round every %g s", self._interval)
        due = 0.0
        while True:
            everything = trio.current_time() >= due
            if not await self._make_round(everything=everything):
                due = max(self._not_before, trio.current_time() + _BACKOFF[0])
            elif everything:
                due = trio.current_time() + self._interval
            with trio.move_on_at(max(due, self._not_before)):
                await trio.sleep_until(self._not_before)
                await self._bell.wait()

    async def sync_all(self) -> bool:
        """Archive everything dirty now. Returns whether the archive has everything. Cancelling is safe."""
        return await self._make_round(everything=True)

    async def _make_round(self, *, everything: bool) -> bool:
        async with self._busy:
            this, self._round = self._round, _Round()
            wanted, self._wanted = self._wanted, set()
            self._bell.set()  # `run` may wait for it, if somebody else makes this round
            self._bell = trio.Event()
            begun, before = trio.current_time(), self._messages
            try:
                with span(self._traces, "sync.round", {"trio_chat.everything": everything}):
                    await self._sync(wanted, everything=everything)
                this.succeeded = True
                self._behind, self._not_before = 0, 0.0
                self._note_success(begun, self._messages - before, complete=everything and self._hot.healthy)
            except TrioChatError as error:
                self._back_off(error)
            except Exception as error:  # noqa: BLE001 - it ends here, and is logged
                logger.error("sync failed in a way nobody expected")  # noqa: TRY400 - what it says may quote somebody
                self._back_off(error)
            finally:
                self._rounds += 1
                this.done.set()
        # A hot store that is away may have sessions that nobody else knows of.
        return this.succeeded and (self._hot.healthy or not everything)

    def _note_success(self, begun: float, messages: int, *, complete: bool) -> None:
        if complete:
            self._complete = begun
        if messages:
            seconds = trio.current_time() - begun
            logger.info(
                "sync: %d messages archived in %.2f s", messages, seconds,
                extra={"event": "synced", "messages": messages, "seconds": round(seconds, 3)},
            )  # fmt: skip

    def _back_off(self, error: Exception) -> None:
        low, high = _BACKOFF
        delay = min(low * 2 ** min(self._behind, 16), high) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not a secret
        self._behind += 1
        self._failed += 1
        self._not_before = trio.current_time() + delay
        logger.warning(
            "sync failed, again in %.1f s: %s", delay, explain(error),
            extra={"event": "sync failed", "failures": self._behind},
        )  # fmt: skip

    async def _sync(self, wanted: set[Session], *, everything: bool) -> None:
        sessions = wanted | self._ended.keys()
        if everything:
            sessions |= set(self._rooms.unsynced())
            if self._hot.healthy:
                sessions |= set(await self._hot.dirty())
            self._given = {session: marks for session, marks in self._given.items() if session in sessions}
        todo = sorted(sessions)
        while todo:
            todo = await self._sync_some(todo)

    async def _sync_some(self, todo: list[Session]) -> list[Session]:
        """Archive one batch's worth of sessions. Returns those that are still to do."""
        batches: list[Batch] = []
        marks: list[tuple[Session, int]] = []
        again: list[Session] = []
        rows = done = 0
        for session in todo:
            if rows >= _BATCH_ROWS:
                break
            done += 1
            batch, top = await self._read(session)
            if batch is None:
                self._ended.pop(session, None)
                continue
            rows += len(batch.events) + len(batch.receipts)
            batches.append(batch)
            marks.append((session, batch.top))
            if batch.top < top:
                again.append(session)
        self._messages += await self._write(batches)
        if self._hot.healthy:
            await self._hot.mark_synced(marks, {batch.session: batch.receipts for batch in batches})
        for batch in batches:
            session = batch.session
            if batch.receipts:
                self._given[session] = batch.receipts
            self._rooms.note_synced(session, batch.top)
            # It may have ended meanwhile: then the next round tells.
            if session not in again and self._ended.get(session) == batch.ended:
                self._ended.pop(session, None)
        return again + todo[done:]

    async def _read(self, session: Session) -> tuple[Batch | None, int]:
        """Return what is to be archived of a session, None if nothing, and its top."""
        ended = self._ended.get(session)
        if self._hot.healthy and not self._rooms.is_degraded(session):
            found = await self._hot.unsynced(session, _BATCH_ROWS)
            if found is not None and (held := self._torn(found)) is not None:
                return msgspec.structs.replace(held, ended=ended), max(held.top, found.top)
            if found is not None:
                if found.upto > found.synced and not (found.events or found.unreadable):
                    logger.error(
                        "room %s: events %d to %d of session %s are nowhere any more",
                        session.room, found.synced + 1, found.upto, session.epoch,
                    )  # fmt: skip
                if not (found.events or found.receipts or ended or found.upto > found.synced):
                    return None, found.top
                return Batch(session, found.upto, found.events, ended, found.receipts), found.top
            self._rooms.note_lost(session)
        held = self._rooms.held(session)
        if held is not None and held.receipts and held.receipts == self._given.get(session):
            held = msgspec.structs.replace(held, receipts={}) if held.events else None
        if held is not None:
            return msgspec.structs.replace(held, ended=ended), held.top
        # A clean session that has ended is nowhere any more; that it has is still to be told.
        return (Batch(session, 0, (), ended) if ended else None), 0

    def _torn(self, found: Unsynced) -> Batch | None:
        """Return what the live room has of a session if the hot store lacks some of that, else None.

        What is superseded leaves the room's memory first, so whatever is there now was there when it was read.
        """
        there = {event.seq for event in found.events}
        held = self._rooms.held(found.session)
        events = () if held is None else held.events
        lacking = [
            event.seq for event in events if found.synced < event.seq <= found.upto and event.seq not in there
        ]
        if held is None or not lacking:
            return None
        logger.warning(
            "room %s: the hot store has lost %d events of session %s (%d to %d); the room has them",
            found.session.room, len(lacking), found.session.epoch, lacking[0], lacking[-1],
        )  # fmt: skip
        self._rooms.note_torn(found.session)
        return held

    async def _write(self, batches: Sequence[Batch]) -> int:
        """Write, halving what the archive refuses until the row that does it stands alone."""
        if not batches:
            return 0
        try:
            return await self._archive.write(batches)
        except Refused as refusal:
            halves = _halve(batches)
            if halves is None:
                await self._set_aside(batches[0], refusal)
                return 0
        return await self._write(halves[0]) + await self._write(halves[1])

    async def _set_aside(self, batch: Batch, refusal: Refused) -> None:
        self._refused += 1
        for event in batch.events:
            logger.error(
                "room %s: the archive refuses message %s (session %s, event %d): %s",
                batch.session.room, event.message.id, batch.session.epoch, event.seq, refusal,
            )  # fmt: skip
            if self._hot.healthy:
                await self._hot.quarantine(batch.session, event.seq, str(refusal))
        for user in batch.receipts:
            logger.error(
                "room %s: the archive refuses the read mark of %r: %s", batch.session.room, user, refusal
            )


class _Round:
    """One round, for those who wait for it."""

    def __init__(self) -> None:
        self.done = trio.Event()
        self.succeeded = False


def _halve(batches: Sequence[Batch]) -> tuple[Sequence[Batch], Sequence[Batch]] | None:
    """Split batches in two, a single batch by what is in it. None if there is nothing to split."""
    if len(batches) > 1:
        middle = len(batches) // 2
        return batches[:middle], batches[middle:]
    batch, replace = batches[0], msgspec.structs.replace
    events, receipts = batch.events, [*batch.receipts.items()]
    if events and receipts:
        return [replace(batch, receipts={})], [replace(batch, events=())]
    if len(events) > 1:
        middle = len(events) // 2
        return [replace(batch, events=events[:middle])], [replace(batch, events=events[middle:])]
    if len(receipts) > 1:
        middle = len(receipts) // 2
        one, other = dict(receipts[:middle]), dict(receipts[middle:])
        return [replace(batch, receipts=one)], [replace(batch, receipts=other)]
    return None
