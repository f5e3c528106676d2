"""The room actor: one task that owns a room's session, its members and its deadline.

1. Mail is put into the mailbox synchronously and never waits; a full mailbox refuses.
2. A turn takes all waiting mail. It is decided, written by the ledger, and only then let out. While a write is on its
   way new mail waits and becomes the next turn.
   While all is well no task is woken for a turn: it is decided where its mail arrives, when everything
   that came in one go has, submitted to the store, and let out where the store answers. There the next one begins. The room's task rests
   meanwhile; it writes what cannot be submitted, and raises what went wrong, where its supervisor sees it.
3. A join sees everything decided before it and hears everything decided after it: a turn ends before the first
   change behind a join.
4. The deadlines, the session's and those of people who type, enclose only the wait for mail. Any mail that is activity
   moves the session's, at the moment it arrives; the end of somebody's typing does not.
5. At the deadline the session ends: the syncer archives it, the members are told. With nobody here the room then
   retires in one synchronous step; whoever comes later asks the lobby and gets a new room.
6. If the actor crashes, `recover` answers the mail that did it and keeps the rest, the members and what they have
   been told; the next `run` loads the session anew and tells them what they missed.
"""

from __future__ import annotations

import logging
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Protocol

import msgspec
import trio
from typing_extensions import override

from trio_chat.audience import Audience
from trio_chat.counts import TurnCounts
from trio_chat.errors import ReplyCode, RoomRetired, TrioChatError, Unavailable
from trio_chat.failures import describe
from trio_chat.gathering import Gathering
from trio_chat.ledger import Ledger
from trio_chat.mail import Changed, Closed, Delete, Edit, Expired, Join, Leave, Mail, Post
from trio_chat.traces import span
from trio_chat.turn import Turn, answer

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from trio_chat.settings import Settings
    from trio_chat.stores.base import Archive, HotStore, Session, Submitted, Unsynced
    from trio_chat.traces import Traces

logger = logging.getLogger(__name__)

# How often a degraded room tries again although nobody speaks, and an ended session that nobody else has.
_RETRY = 1.0
# How long a room stays in which nobody is and nothing was said: those who look into one after the other would fill the memory.
_EMPTY_SECONDS = 60.0
# A turn goes to each member as one parcel, which must not overflow the outbox of somebody who does read.
_TURN_CHARACTERS = 128 * 1024


class Archiver(Protocol):
    """What a room asks of the syncer."""

    def kick(self, session: Session) -> None:
        """Archive this session soon. Never waits."""
        ...

    async def flush(self, session: Session, *, ended: datetime | None = None) -> bool:
        """Archive this session now, and note when it ended. Returns whether the archive has it. Bounded in time."""
        ...

    async def is_kept(self, session: Session) -> bool:
        """Return whether the hot store has what the archive lacks of this session. Bounded in time."""
        ...


class RoomStatistics(msgspec.Struct, frozen=True):
    """Counts of one room. `idle` is in seconds since the last activity."""

    members: int
    messages: int
    top: int
    synced: int
    waiting: int
    degraded: bool
    idle: float


class Room:
    """A room: its mailbox, members and session. Lives from its first mail until it retires or is closed.

    Args:
        name: the room id.
        hot: where the session lives.
        archive: asked, when the room begins, whether it knows more than the hot store.
        archiver: who archives it.
        settings: expiry, window, limits.
        now: the wall clock.
        forget: called once, when the room retires or is closed, in the same step.
        gathering: where turns are put off while more mail may come in the same go.
        counts: told of each turn, once it is let out.
        traces: who is told how long the room took to begin; None if nobody is.
    """

    def __init__(
        self,
        name: str,
        *,
        hot: HotStore,
        archive: Archive | None = None,
        archiver: Archiver,
        settings: Settings,
        now: Callable[[], datetime],
        forget: Callable[[Room], None],
        gathering: Gathering | None = None,
        counts: TurnCounts | None = None,
        traces: Traces | None = None,
    ) -> None:
        self.name = name
        self.retired = False
        self.audience = Audience(name)
        self.ledger = Ledger(name, hot, settings, now, archive=archive)
        self._archiver = archiver
        self._settings = settings
        self._now = now
        self._forget = forget
        self._gathering = gathering or Gathering()
        self._counts = counts or TurnCounts()
        self._traces = traces
        self._mailbox: deque[Mail] = deque()
        self._bell = trio.lowlevel.ParkingLot()
        self._clock = trio.lowlevel.current_clock().current_time
        """As `trio.current_time`, found once: every message asks for it twice."""
        self._active = self._clock()
        self._not_before = 0.0
        self._finishing = False
        self._turn: Turn | None = None
        self._on_its_way = False
        """Whether the turn's events were submitted, and the store has not said what became of them."""
        self._resting = False
        self._alarm = trio.CancelScope()
        """Wakes the task from its rest."""
        self._alarmless = False
        """Whether it went to rest while a turn was on its way: then the alarm is still to be set."""
        self._failure: Exception | None = None
        """What went wrong while the task rested."""
        self._told = (self.ledger.history.epoch, 0)
        """The position up to which the members have been told."""

    @override
    def __repr__(self) -> str:
        return f"<Room {self.name} members={len(self.audience)} waiting={len(self._mailbox)} {self.ledger!r}>"

    def statistics(self) -> RoomStatistics:
        """Return the current counts."""
        history = self.ledger.history
        return RoomStatistics(
            members=len(self.audience),
            messages=history.messages,
            top=history.top,
            synced=history.synced,
            waiting=len(self._mailbox),
            degraded=self.ledger.degraded,
            idle=trio.current_time() - self._active,
        )

    @property
    def last_active(self) -> float:
        """When somebody was active last, in seconds of Trio's clock."""
        return self._active

    def mail(self, mail: Mail) -> None:
        """Put mail into the mailbox. Synchronous; the answer comes later, or before this returns.

        Raises:
            RoomRetired: ask the lobby again.
            Unavailable: the mailbox is full (`overloaded`).
        """
        if self.retired:
            raise RoomRetired(self.name)
        if len(self._mailbox) >= self._settings.mailbox_limit and not isinstance(mail, Leave):
            raise Unavailable(
                "the room has too many requests waiting; try again shortly", ReplyCode.OVERLOADED
            )
        if not isinstance(mail, Leave) or mail.activity:
            self._active = self._clock()
        self._mailbox.append(mail)
        if self._turn is not None or len(self._mailbox) > 1:
            return  # whoever is at it, or was told of the first one, will find it
        if not self._gathering.put_off(self._begin_turn_at_once):
            self._begin_turn_at_once()

    def finish(self) -> None:
        """Let the actor end when it has answered the mail it has. The room does not retire: its session goes on."""
        self._finishing = True
        self._bell.unpark()

    def doubt(self, *, torn: bool = False) -> None:
        """The hot store may have lost the session: let the actor look, and write it anew if so. Synchronous.

        Args:
            torn: whether it has, though not its end: then it is written anew in any case.
        """
        self.ledger.doubtful = True
        self.ledger.torn = self.ledger.torn or torn
        self._bell.unpark()

    def unsynced(self, limit: int | None = None, *, partly: bool = False) -> Unsynced | None:
        """Return what the archive lacks, from memory; see `Ledger.unsynced`."""
        return self.ledger.unsynced(self._released, limit, partly=partly)

    @property
    def vouched(self) -> int:
        """See `Ledger.vouched`."""
        return self.ledger.vouched(self._released)

    @property
    def _released(self) -> int:
        epoch, seq = self._told
        return seq if epoch == self.ledger.history.epoch else 0

    @property
    def holds_alone(self) -> bool:
        """Whether the room has acknowledged what nobody else has."""
        return self.ledger.degraded and self.ledger.backlog > 0

    @property
    def over(self) -> bool:
        """Whether the actor has nothing left to do."""
        return self.retired or (self._finishing and not self._mailbox and self._turn is None)

    async def run(self) -> None:
        """Serve the room until it retires or is to finish.

        Cancelling is safe: what was acknowledged is written; mail without an answer has an unknown outcome.
        """
        await self._begin()
        while not self.over:
            await self._rest()
            if self._failure is not None:
                raise self._failure
            if self._on_its_way:
                self.audience.tell_due(trio.current_time())
                continue
            await self._work()
            if self._is_quiet and not self.ledger.doubtful and trio.current_time() >= self._deadline:
                await self._expire()

    @property
    def _is_quiet(self) -> bool:
        return not self._mailbox and self._turn is None

    async def _rest(self) -> None:
        """Wait until there is something to do for this task. Mail that comes one by one does not need it."""
        if self._failure is not None or not (
            self._on_its_way or (self._is_quiet and not self.ledger.doubtful)
        ):
            await trio.lowlevel.checkpoint()
            return
        self._resting, self._alarmless = True, self._on_its_way
        try:
            with trio.move_on_at(self._wake_at()) as self._alarm:
                await self._bell.park()
        finally:
            self._resting = False

    async def _work(self) -> None:
        """Do the next thing: finish a turn, begin one, or look after time and the store."""
        if self._turn is not None:
            await self._finish(self._turn)
        elif self._mailbox:
            self._begin_turn()
        else:
            # Mail that waits comes first: it may say that they still type.
            self.audience.tell_due(trio.current_time())
            if self.ledger.degraded or self.ledger.doubtful:
                await self._heal()

    @property
    def _deadline(self) -> float:
        patience = self._settings.session_expiry_seconds
        if not self.ledger.history.top and not len(self.audience):
            patience = min(patience, _EMPTY_SECONDS)
        return max(self._active + patience, self._not_before)

    def _wake_at(self) -> float:
        if self._on_its_way:
            return self.audience.due
        wake_at = min(self._deadline, self.audience.due)
        if self.ledger.degraded:
            return min(wake_at, trio.current_time() + _RETRY)
        return wake_at

    async def _begin(self) -> None:
        history = self.ledger.history
        if not self.ledger.degraded:  # else what waits for the store would be lost
            with span(self._traces, "room.activate", {"trio_chat.room": self.name}):
                await self.ledger.open()
        if (turn := self._turn) is not None and self.ledger.history is history:
            # A crash left a decided turn, and the history that has its events is the only one there is.
            await self._finish(turn)
        elif turn is not None:
            self._turn = None
            self._mailbox.extendleft(reversed(turn.decided))
        await self.ledger.write()
        self._catch_up()

    def _begin_turn(self) -> None:
        """Take a turn, and submit what is to be written. What cannot be submitted the task writes."""
        turn = Turn(
            self._take(),
            self.ledger,
            self.audience,
            now=self._now(),
            clock=self._clock(),
            backlog_limit=self._settings.backlog_limit,
            counts=self._counts,
        )
        self._turn = turn
        turn.decide()
        if not self.ledger.owes:
            self._let_out(turn)
        else:
            self._on_its_way = self.ledger.submit(partial(self._written, turn))
            if self._on_its_way:
                turn.prepare()

    def _begin_turn_at_once(self) -> None:
        """Take a turn on behalf of the task if it rests, and wake it if it is needed after all."""
        if self._turn is not None or not self._mailbox:
            return
        if not self._resting or self.ledger.doubtful or self._finishing:
            self._bell.unpark()
            return
        try:
            self._begin_turn()
        except Exception as failure:  # noqa: BLE001 - the task raises it, where its supervisor sees it
            self._failure = failure
        if not self._on_its_way and (self._failure is not None or not self._is_quiet):
            self._bell.unpark()

    def _written(self, turn: Turn, outcome: Submitted) -> None:
        """Let a turn out that was submitted. Called by the store; by then the turn may have been abandoned."""
        if self._turn is not turn or not self._on_its_way:
            return
        self._on_its_way = False
        try:
            if self.ledger.settle(outcome):
                self._let_out(turn)
        except Exception as failure:  # noqa: BLE001 - the task raises it, where its supervisor sees it
            self._failure = failure
        if self._failure is not None or self._finishing or self.ledger.doubtful or self._turn is not None:
            self._bell.unpark()
        elif self._mailbox:
            self._begin_turn_at_once()

    def _take(self) -> list[Mail]:
        taken: list[Mail] = []
        joined = False
        size = 0
        while self._mailbox and size < _TURN_CHARACTERS:
            mail = self._mailbox[0]
            if joined and isinstance(mail, (Post, Edit, Delete)):
                break
            joined = joined or isinstance(mail, Join)
            size += len(mail.content) if isinstance(mail, (Post, Edit)) else 0
            taken.append(self._mailbox.popleft())
        return taken

    async def _finish(self, turn: Turn) -> None:
        await self.ledger.write()
        self._let_out(turn)

    def _let_out(self, turn: Turn) -> None:
        for outlet in turn.outlets:
            outlet.hold()
        try:
            turn.tell_changes()
            # Before anything else may fail: what was told must not be told again.
            self._told = (self.ledger.history.epoch, self.ledger.history.top)
            members = len(self.audience) if turn.events else 0
            turn.release()
        finally:
            for outlet in turn.outlets:
                outlet.let_go()
        self._turn = None
        self._counts.note_turn(turn.size, turn.events, members, self.ledger.durability(self._told[1]))
        if turn.edited or turn.deleted:
            self._counts.note_changes(turn.edited, turn.deleted)
        hurry = self.audience.restless or self.ledger.degraded or not self.ledger.history.top
        if self._resting and (self._alarmless or hurry):
            self._alarm.deadline = min(self._wake_at(), self._alarm.deadline)
            self._alarmless = False
        if self.ledger.history.unsynced >= self._settings.sync_after_events:
            self._archiver.kick(self.ledger.session)

    async def _heal(self) -> None:
        if self.ledger.history.top == 0:
            await self.ledger.open()
            self._catch_up()
        else:
            await self.ledger.write()
            if self.ledger.displaced:
                # Once nobody but the archive is needed for what was told, the next write gives way.
                await self._archiver.flush(self.ledger.session, ended=self._now())

    def _catch_up(self) -> None:
        """Tell the members what they have not been told of a session that was loaded anew."""
        history = self.ledger.history
        epoch, seq = self._told
        if epoch != history.epoch:
            if seq > 0:
                self.audience.tell([Expired(epoch)])
            seq = 0
            self._told = (history.epoch, seq)
        changes = history.since(seq)
        if changes is None:
            self.audience.tell([Closed("the room was restored from an older state; join again")])
            self.audience.clear(told=True)
        elif changes.events:
            self.audience.tell([Changed(history.epoch, event) for event in changes.events])
        # Not before: if telling fails, the next attempt has to.
        self._told = (history.epoch, history.top)

    async def _expire(self) -> None:
        """End the session, tell the members, retire if there are none. What nobody else has keeps it alive."""
        ledger, ended = self.ledger, self.ledger.history
        if ended.top > 0:
            await self._archiver.flush(ledger.session, ended=self._now())
            kept = not ended.unsynced or await self._archiver.is_kept(ledger.session)
            if not kept or ledger.backlog > 0 or ledger.doubtful:
                self._not_before = trio.current_time() + _RETRY
                return
            await ledger.end()
            ledger.begin_anew()
            self._counts.expired += 1
            logger.info(
                "room %s: session %s expired after %d events", self.name, ended.epoch, ended.top,
                extra={"event": "expired", "room": self.name, "session": ended.epoch},
            )  # fmt: skip
            self.audience.tell([Expired(ended.epoch)])
            self._told = (ledger.history.epoch, 0)
        if self._mailbox or self.retired:
            return
        if len(self.audience):
            self._active = trio.current_time()
        elif ledger.leaves_behind:
            # Nobody else would end it in the store.
            self._not_before = trio.current_time() + _RETRY
            ledger.doubtful = True
        else:
            self._retire()

    def _retire(self) -> None:
        self.retired = True
        self._forget(self)

    def close(self, reason: str) -> None:
        """Put everybody out and retire, in one step. The session stays in the hot store."""
        if self.retired:
            return
        self._retire()
        self.abandon(Unavailable(reason, ReplyCode.ROOM_CLOSED))
        told = False
        try:
            self.audience.tell([Closed(reason)])
            told = True
        except Exception as failure:  # noqa: BLE001 - it ends here, and is logged
            what = describe(failure)
            logger.error("room %s: the members could not be told that it is closed: %s", self.name, what)  # noqa: TRY400 - it may quote somebody
        self.audience.clear(told=told)
        self._bell.unpark_all()

    def abandon(self, error: TrioChatError) -> None:
        """Answer all mail with `error`: nobody else will. What was begun may or may not have been carried out."""
        self.recover(error)
        if self._turn is not None:
            self._mailbox.extend(self._turn.abandon(error))
            self._turn = None
        while self._mailbox:
            answer(self._mailbox.popleft(), error)

    def recover(self, error: TrioChatError) -> None:
        """After a crash: answer the mail that may have caused it with `error`, keep what was not begun."""
        self._failure, self._on_its_way = None, False
        if (turn := self._turn) is None:
            return
        if turn.undecided:
            answer(turn.undecided.popleft(), error)
            self._mailbox.extendleft(reversed(turn.undecided))
            turn.undecided.clear()
        else:
            # It happened while writing or letting out: any of these may or may not have been carried out.
            self._mailbox.extendleft(reversed(turn.abandon(error)))
            self._turn = None
