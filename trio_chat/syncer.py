"""The syncer actor: brings to the archive what it lacks, many rooms in one transaction.

1. A *round* takes sessions, reads what is above their marks, writes it in batches, then raises the marks. Every
   step may be repeated; what was archived twice is there once. What comes meanwhile is for the next round. Batches
   are small while rooms are live.
2. A round happens at start (what a killed process left), every interval, soon after a `kick`, for each `flush`, and
   at the end.
3. While the archive is away rounds are tried with capped, jittered backoff, and a `flush` says no at once.
4. A row the archive refuses does not hold up the rest; see `refusals`.
5. What the hot store cannot tell is archived from the memory of the live room; see `unarchived`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec
import trio
from typing_extensions import override

from trio_chat.errors import TrioChatError
from trio_chat.failures import explain
from trio_chat.jitter import between
from trio_chat.refusals import Refusals
from trio_chat.traces import span
from trio_chat.unarchived import Unarchived

if TYPE_CHECKING:
    from datetime import datetime

    from trio_chat.live_rooms import LiveRooms
    from trio_chat.settings import Settings
    from trio_chat.stores.base import Archive, Batch, HotStore, Session
    from trio_chat.traces import Traces

logger = logging.getLogger(__name__)


class _Pace(msgspec.Struct, frozen=True):
    """How much at a time: rows in a transaction, and events of one session in one reply of the hot store."""

    rows: int
    events: int


# The fewest round trips for a row, where nobody can notice.
_FAST = _Pace(rows=5000, events=1000)
# A store works on a batch without a pause, and where cores are few people wait until the system takes its core away,
# which is some milliseconds. What it does for these is over before that; see docs/benchmarks/sync_felt.py.
_GENTLE = _Pace(rows=200, events=50)
_BACKOFF = (1.0, 8.0)
# The longest a room's expiry waits for the archive; the session then stays in the hot store for a later round.
_FLUSH_SECONDS = 5.0


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
        self._refusals = Refusals(hot, archive)
        self._unarchived = Unarchived(hot, rooms)
        self._interval = settings.session_sync_interval_seconds
        self._rooms = rooms
        self._traces = traces
        self._wanted: set[Session] = set()
        self._ended: dict[Session, datetime] = {}
        self._hurried = False
        self._bell = trio.Event()
        self._round = _Round()
        self._busy = trio.Lock()
        self._not_before = 0.0
        self._rounds = self._messages = self._behind = self._failed = 0
        self._complete = trio.current_time()
        """When the archive was last known to have everything, or when this began."""

    @override
    def __repr__(self) -> str:
        return f"<Syncer rounds={self._rounds} messages={self._messages} behind={self._behind}>"

    def statistics(self) -> SyncerStatistics:
        """Return the current counts."""
        lag = trio.current_time() - self._complete
        refused = self._refusals.count
        return SyncerStatistics(self._rounds, self._messages, refused, self._behind, self._failed, lag)

    def kick(self, session: Session) -> None:
        """Archive this session soon. Never waits."""
        self._wanted.add(session)
        self._bell.set()

    def hurry(self) -> None:
        """Waste no time from now on: those who might notice are on their way out."""
        self._hurried = True

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

    async def is_kept(self, session: Session) -> bool:
        """Return whether the hot store is sure to have what the archive lacks of the session of a live room.

        What it has lost the room is told of. Cancelling is safe.
        """
        try:
            return await self._unarchived.is_kept(session)
        except TrioChatError:
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
            begun, before, whole = trio.current_time(), self._messages, False
            try:
                with span(self._traces, "sync.round", {"trio_chat.everything": everything}):
                    whole = await self._sync(wanted, everything=everything)
                this.succeeded = True
                self._behind, self._not_before = 0, 0.0
                self._note_success(begun, self._messages - before, complete=everything and whole)
            except TrioChatError as error:
                self._back_off(error)
            except Exception as error:  # noqa: BLE001 - it ends here, and is logged
                logger.error("sync failed in a way nobody expected")  # noqa: TRY400 - what it says may quote somebody
                self._back_off(error)
            finally:
                self._rounds += 1
                this.done.set()
        return this.succeeded and (whole or not everything)

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
        delay = min(low * 2 ** min(self._behind, 16), high) * between(0.5, 1.0)
        self._behind += 1
        self._failed += 1
        self._not_before = trio.current_time() + delay
        logger.warning(
            "sync failed, again in %.1f s: %s", delay, explain(error),
            extra={"event": "sync failed", "failures": self._behind},
        )  # fmt: skip

    async def _sync(self, wanted: set[Session], *, everything: bool) -> bool:
        """Archive sessions. Returns whether the hot store was there: else it may have some that nobody else knows of."""
        whole = self._hot.healthy
        sessions = wanted | self._ended.keys()
        if everything:
            sessions |= set(self._rooms.unsynced())
            if whole:
                sessions |= set(await self._hot.dirty())
            self._unarchived.forget_others(sessions)
        todo = sorted(sessions)
        # What a session has at first is enough, and less if some of it is gone meanwhile: else rounds would not end.
        goals: dict[Session, int] = {}
        while todo:
            pace = _GENTLE if self._rooms.busy() and not self._hurried else _FAST
            todo = await self._sync_some(todo, goals, pace)
            whole = whole and self._hot.healthy
        return whole

    async def _sync_some(self, todo: list[Session], goals: dict[Session, int], pace: _Pace) -> list[Session]:
        """Archive one batch's worth of sessions. Returns those that are still to do."""
        batches: list[Batch] = []
        marks: list[tuple[Session, int]] = []
        again: list[Session] = []
        rows = done = 0
        for session in todo:
            if rows >= pace.rows:
                break
            done += 1
            batch, top = await self._unarchived.read(session, self._ended.get(session), pace.events)
            if batch is None:
                continue
            rows += len(batch.events) + len(batch.receipts)
            batches.append(batch)
            marks.append((session, batch.top))
            goals[session] = min(goals.get(session, top), top)
            if batch.top < goals[session]:
                again.append(session)
        self._messages += await self._refusals.write(batches)
        if self._hot.healthy:
            await self._hot.mark_synced(marks, {batch.session: batch.receipts for batch in batches})
        for batch in batches:
            session = batch.session
            self._unarchived.note_archived(batch)
            self._rooms.note_synced(session, batch.top)
            # It may have ended meanwhile: then the next round tells.
            if session not in again and self._ended.get(session) == batch.ended:
                self._ended.pop(session, None)
        return again + todo[done:]


class _Round:
    """One round, for those who wait for it."""

    def __init__(self) -> None:
        self.done = trio.Event()
        self.succeeded = False
