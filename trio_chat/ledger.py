"""A room's current session, and how much of it the hot store has.

1. `write` is the output gate: it returns when the hot store has every event of the history, or when the room is
   officially *degraded*: the store is away, and the events wait here, in order, until it is back.
2. Every write names the top it expects. An answer that was lost is found again by the write's token; a store that
   lost data is refilled from the history under the same epoch.
3. Another writer is never overwritten: `Overtaken` says that the session must be loaded anew. If members were told of
   events by then that nobody else has, there is no place for those in it, and the next session, or the other one's later
   one, gets them: what they posted is posted again.
4. A session whose tail nobody can vouch for is not continued: its seqs must not be used twice. It is ended, and
   a new epoch begins. So it is with one of which the archive knows more than the store: the process that ended
   was degraded, and had its newest events archived from memory.
5. Before events are let out that the store lacks it is told, in the same step, that the session is *behind*. It is so
   until the store has them all, or holds it for current no longer: the next process, should this one die in between,
   must not continue it.
6. A new session comes behind every other that the room is known to have had, whatever the wall clock says: behind what
   the store has, and behind what the archive has. If the store turns out to have a later one than that which was begun
   while it was away, `displaced` says so until the archive has what was told of ours.
7. Read marks outlive their session: those of earlier ones come from memory, from the session that is not continued, or
   from the archive, and are written with the next session's first event.
"""

from __future__ import annotations

import logging
import secrets
from itertools import islice
from typing import TYPE_CHECKING

import trio
from typing_extensions import override

from trio_chat.errors import TrioChatError, Unavailable
from trio_chat.history import REMEMBERED_WINDOWS, History
from trio_chat.inquiry import Inquiry
from trio_chat.message import Receipt, new_epoch
from trio_chat.reposting import repost
from trio_chat.stores.base import (
    Append,
    Archive,
    Conflict,
    Durability,
    HotStore,
    Session,
    Stored,
    Submitted,
    Unconfirmed,
    Unsettled,
    Unsynced,
    newer,
    newest,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from trio_chat.settings import Settings

logger = logging.getLogger(__name__)

# A write meets at most: its own lost predecessor, a store that lost its data, and one of these again.
_ATTEMPTS = 4


class Overtaken(TrioChatError):
    """Somebody else writes to this session, or has begun a newer one."""


class Ledger:
    """See the module. Lives as long as its room's actor; `open` before anything else."""

    def __init__(
        self,
        room: str,
        hot: HotStore,
        settings: Settings,
        now: Callable[[], datetime],
        *,
        archive: Archive | None = None,
    ) -> None:
        self.room = room
        self.degraded = False
        self.doubtful = False
        """Whether the store may have lost what it had: the next write makes sure."""
        self.torn = False
        """Whether it has, though its top is what it should be: the next write brings everything anew."""
        self.displaced = False
        """Whether the store has a later session, and the archive is to have what only this one knows: then it ends."""
        self._homeless: tuple[History, int] | None = None
        """A session that another writer has taken, and the seq above which members were told of what nobody else has."""
        self.receipts: dict[str, Receipt] = {}
        self._marked: dict[str, Receipt] = {}
        """Those of them that the hot store does not have, nor perhaps the archive."""
        self._left = ""
        """The newest session that was left behind. It is over here, though the store may still hold it for current."""
        self._behind: set[Session] = set()
        """Of which sessions the store was told that members know more than it does."""
        self._hot = hot
        self._inquiry = Inquiry(room, archive)
        self._settings = settings
        self._now = now
        self._begin(None)

    @override
    def __repr__(self) -> str:
        state = "degraded" if self.degraded else "written"
        return f"<Ledger {self.room} {state} written={self.written} {self.history!r}>"

    def _begin(self, after: str | None) -> None:
        self.receipts = newest(self.receipts)
        self.torn = False
        self._adopt(History(new_epoch(self._now(), after), self._settings.max_messages_per_session))

    def _adopt(self, history: History) -> None:
        self.history = history
        self.session = Session(self.room, history.epoch)
        self.displaced = False
        self.written = history.top
        self.confirmed = 0
        """How much of that is known to have reached the store's durability."""
        self._keys: list[tuple[str, int]] = []
        self._superseded: list[int] = []
        self._writer = secrets.token_hex(4)
        self._touched = trio.current_time()

    async def open(self) -> None:
        """Load the room's session, or begin one. If the store is away the room begins degraded.

        Cancelling is safe: opening again starts from nothing.
        """
        self.doubtful = False
        try:
            stored = await self._hot.load(self.room)
            self._note_current(stored)
            if stored is not None and (why := self._unfit(stored) or await self._outrun(stored)):
                logger.info("room %s: session %s %s", self.room, stored.epoch, why)
                session = Session(self.room, stored.epoch)
                if not stored.trusted:
                    self._behind.add(session)  # a ledger before this one may have left it so
                await self._end(session, stored.top, 0)
                self._learn(stored.receipts)
                self._left = max(stored.epoch, self._left)
                self._begin(self._left)
            elif stored is not None and not self._knows_more_than(stored):
                self._restore(stored)
            self.degraded = False
            logger.info(
                "room %s: opened, its session %s has %d events", self.room, self.history.epoch, self.history.top,
                extra={"event": "opened", "room": self.room, "session": self.history.epoch},
            )  # fmt: skip
        except TrioChatError as error:
            self._degrade(error)
        if self.history.top == 0:
            await self._ask_the_archive()
        if self._homeless is not None and self._homeless[0] is not self.history:
            (before, safe), self._homeless = self._homeless, None
            self._keys += repost(self.room, before, safe, self.history)

    def _note_current(self, stored: Stored | None) -> None:
        """Sessions that are not current in the store cannot be continued from there; ours can be written there anew."""
        current = None if stored is None else Session(self.room, stored.epoch)
        self._catch_up(self._behind - {current, self.session if self.history.top else None})

    async def _end(self, session: Session, top: int, idle: float) -> bool:
        over = await self._hot.end(session, top, idle)
        if over:
            self._catch_up({session})
        return over

    async def _ask_the_archive(self) -> None:
        """Learn who had read how far before this session, and what that must come behind."""
        word = await self._inquiry.ask(self.history.epoch)
        self._learn(word.receipts)
        if word.later is not None:
            self._begin(word.later)

    def _learn(self, receipts: Mapping[str, Receipt]) -> None:
        self.receipts.update(
            (user, receipt) for user, receipt in receipts.items() if newer(receipt, self.receipts.get(user))
        )

    async def _outrun(self, stored: Stored) -> str | None:
        session = Session(self.room, stored.epoch)
        if not self._knows_more_than(stored) and await self._inquiry.knows_more(session, stored.top):
            return "is not continued: the archive has newer events than the store"
        return None

    def _knows_more_than(self, stored: Stored) -> bool:
        """Whether the store went back to an older state of what is here: then the next write mends it."""
        return stored.epoch == self.history.epoch and stored.top < self.written

    def _unfit(self, stored: Stored) -> str | None:
        if stored.epoch <= self._left:
            # The store was away, or took it for active, when it was to end there. Members know that it is over.
            return "was left behind"
        if not stored.trusted:
            return "is not continued: the store was restarted meanwhile and may have lost its newest events"
        if stored.idle >= self._settings.session_expiry_seconds:
            return "expired while nobody was here"
        return None

    def _restore(self, stored: Stored) -> None:
        history = History.restore(
            stored.epoch,
            self._settings.max_messages_per_session,
            top=stored.top,
            synced=stored.synced,
            floor=stored.floor,
            first=stored.first,
            events=stored.events,
            keys=stored.keys,
        )
        self._adopt(history)
        self._touched -= stored.idle
        self.receipts, self._marked = dict(stored.receipts), {}
        if stored.unreadable:
            logger.error(
                "room %s: %d entries could not be read and were set aside", self.room, stored.unreadable
            )

    def begin_anew(self) -> None:
        """Leave the session behind and begin the next one, in one step. Read marks stay."""
        self._left = self.history.epoch
        self._begin(self.history.epoch)

    @property
    def safe(self) -> int:
        """The highest seq that the hot store or the archive has everything up to."""
        return max(self.written, self.history.synced)

    @property
    def backlog(self) -> int:
        """How many events nobody but this process has."""
        return self.history.top - self.safe

    def durability(self, seq: int) -> Durability:
        """Return the step of the ladder an event has reached."""
        if seq <= self.history.synced:
            return "archive"
        if seq <= self.confirmed:
            return self._hot.durability
        if seq > self.written:
            return "memory"
        return "redis" if self._hot.durability == "replicated" else self._hot.durability

    def promise(self) -> Durability:
        """Return the step an event would reach before its ack, as things are."""
        return "memory" if self.degraded else self._hot.promise

    def remember_key(self, name: str, seq: int) -> None:
        """Note an id that a client chose (`history.key_name`), for the next write."""
        self._keys.append((name, seq))

    def mark_read(self, user: str, receipt: Receipt) -> None:
        """Note how far a user has read, for the next write."""
        self.receipts[user] = self._marked[user] = receipt

    @property
    def owes(self) -> bool:
        """Whether there is something to write."""
        if self.history.top == 0:
            return False
        if self.history.top > self.written or self._marked or self.doubtful:
            return True
        # Activity that is no event reaches the store now and then, so that it knows the session is alive.
        return trio.current_time() - self._touched > self._settings.session_expiry_seconds / 4

    def submit(self, done: Callable[[Submitted], None]) -> bool:
        """Begin to bring a healthy store up to date; `done` is called later, with what `settle` is to be told.

        Returns:
            Whether it has begun. If not, `write` is needed.
        """
        if self.degraded or self.doubtful or self.written == 0 or not self._hot.healthy:
            return False
        self._superseded.extend(self.history.take_superseded())
        return self._hot.submit(self._append(), done)

    def settle(self, outcome: Submitted) -> bool:
        """Take note of what became of a submission, if the session is still the one it was for.

        Returns:
            Whether everything is written, or the room degraded. If not, `write` finds out what is in the way.
        """
        if outcome is None:
            self._written()
        elif isinstance(outcome, Unconfirmed):
            self._written(confirmed=False)
        elif isinstance(outcome, (Conflict, Unsettled)):
            return False
        elif isinstance(outcome, TrioChatError):
            self._degrade(outcome)
        else:
            raise outcome
        return True

    async def write(self) -> None:
        """Bring the hot store up to date, or degrade.

        Cancelling is safe: the next write finds out what has arrived.

        Raises:
            Overtaken: the session is no longer ours to write.
        """
        if not self.owes:
            self.doubtful = False
            return
        self._superseded.extend(self.history.take_superseded())
        if not self._hot.healthy:
            # Nobody waits for a store that is known to be away; its own probe says when it is back.
            self._degrade(Unavailable("the hot store is away"))
            return
        try:
            if self.written == 0 and not self.degraded:
                await self._check_alone()
            for _ in range(_ATTEMPTS):
                if self.torn:
                    # What is not current is opened again, with everything that is here.
                    self.torn = not await self._end(self.session, self.written, 0)
                conflict = await self._hot.append(self._append())
                if conflict is None or isinstance(conflict, Unconfirmed):
                    self._written(confirmed=conflict is None)
                    return
                self._reconcile(conflict)
            self._degrade(Overtaken("the store answers differently each time"))
        except Overtaken:
            raise
        except TrioChatError as error:
            self._degrade(error)

    async def _check_alone(self) -> None:
        """Make sure, before a session opens, that nobody has opened another since this room looked."""
        stored = await self._hot.load(self.room)
        if stored is not None and stored.epoch != self.history.epoch and self._unfit(stored) is None:
            raise Overtaken(f"somebody else has opened session {stored.epoch} of {self.room}")

    def _append(self) -> Append:
        history = self.history
        return Append(
            session=self.session,
            expect=self.written,
            top=history.top,
            first=history.first,
            floor=history.floor,
            events=history.entries(self.written),
            superseded=tuple(self._superseded),
            keys=tuple(self._keys),
            receipts=dict(self._marked),
            carried=self._carried(),
            token=f"{self._writer}:{history.top}",
            remember=history.limit * REMEMBERED_WINDOWS,
        )

    def _carried(self) -> dict[str, Receipt]:
        """Return the read marks of earlier sessions, if this write opens one."""
        if self.written > 0:
            return {}
        return {user: receipt for user, receipt in self.receipts.items() if user not in self._marked}

    def _written(self, *, confirmed: bool = True) -> None:
        history = self.history
        self.written = history.top
        if confirmed:
            # And with it everything that was written before.
            self.confirmed = history.top
        self._marked.clear()
        self._keys.clear()
        self._superseded.clear()
        self._touched = trio.current_time()
        self.doubtful = False
        history.forget(self.written, self._settings.backlog_limit)
        if self._behind:
            # This session has everything, and is the current one.
            self._catch_up(set(self._behind))
        if self.degraded:
            self.degraded = False
            logger.info(
                "room %s: the hot store is back and has everything", self.room,
                extra={"event": "mended", "room": self.room},
            )  # fmt: skip

    def _catch_up(self, sessions: set[Session]) -> None:
        for session in sessions:
            self._hot.note_behind(session, False)
        self._behind -= sessions

    def _reconcile(self, conflict: Conflict) -> None:
        """Settle what we believe to be written with what is there."""
        ours = conflict.epoch == self.history.epoch
        if ours and (conflict.token.startswith(self._writer) or conflict.top < self.written):
            # Our own write whose answer was lost, or a store that lost its newest entries.
            if conflict.top < self.written:
                self._marked.update(self.receipts)
            self._keys = [(name, seq) for name, seq in self.history.keys().items() if seq > conflict.top]
            self.written = conflict.top
        elif conflict.epoch is None or conflict.epoch < self.history.epoch:
            logger.warning("room %s: the hot store has lost the session; it is refilled", self.room)
            self.written = 0
            self._marked.update(self.receipts)
            self._keys = list(self.history.keys().items())
        elif not ours and self.degraded and self.backlog and self.history.complete:
            self.displaced = True
            raise Unavailable(
                "the store has a later session, which is gone on with once the archive has this one"
            )
        else:
            # The session is not ours: what waits here has no place in it.
            if self.degraded and self._homeless is None:
                # Noted now: what is archived of it from here on may be the other's.
                self._homeless = self.history, self.safe
            self.degraded = False
            raise Overtaken(f"session {self.session.epoch} of {self.room} is written by somebody else")
        self.confirmed = min(self.confirmed, self.written)

    def _degrade(self, error: TrioChatError) -> None:
        self.doubtful = False
        if not self.degraded:
            logger.warning(
                "room %s: degraded, new messages are kept in memory only: %s", self.room, error,
                extra={"event": "degraded", "room": self.room},
            )  # fmt: skip
        self.degraded = True
        if self.history.top > self.written:
            # They are let out next, and must be known to have been should this process die.
            self._behind.add(self.session)
            self._hot.note_behind(self.session, True)

    @property
    def leaves_behind(self) -> bool:
        """Whether the store may take a session for current that must not be continued; `open` tells it so."""
        return bool(self._behind)

    async def end(self) -> None:
        """End the session in the hot store; what the archive lacks of it stays there for the syncer."""
        idle = max(trio.current_time() - self._touched, 0) * 0.99
        try:
            if not await self._end(self.session, self.written, idle):
                logger.warning(
                    "room %s: the hot store does not hold session %s for idle", self.room, self.session.epoch
                )
        except TrioChatError as error:
            logger.warning(
                "room %s: session %s ends without the hot store: %s", self.room, self.session.epoch, error
            )

    def unsynced(self, released: int, limit: int | None = None, *, partly: bool = False) -> Unsynced | None:
        """Return what the archive lacks, from memory, up to `released`: for when the hot store cannot be read.

        None if there is nothing. Read marks are left out that the hot store has, and events if some are there alone.

        Args:
            released: up to where the members have been told.
            limit: how many events at most.
            partly: give events though some are not here, because they are nowhere else.
        """
        history = self.history
        top = self.vouched(released) if history.complete or partly else history.synced
        if top == history.synced and not (self._marked and history.top):
            return None
        events = tuple(islice(history.between(history.synced, top), limit))
        upto = events[-1].seq if events and len(events) == limit else top
        return Unsynced(self.session, history.synced, upto, top, events, receipts=dict(self._marked))

    def vouched(self, released: int) -> int:
        """Return up to where an event that is missing here was superseded by a released one, or is the hot store's.

        Of what one has superseded that is not released yet only the hot store knows.
        """
        history = self.history
        upto = max(released, history.synced)
        if history.top > upto:
            superseded = (*self._superseded, *history.superseded)
            upto = min([upto, *(seq - 1 for seq in superseded if seq > history.synced)])
        return upto
