"""The two contracts. Whoever keeps them can stand behind a room; `tests/stores/contract_*.py` checks them.

Rules that hold for every method of both:

1. **Cancelling is safe.** A cancelled call may or may not have had its effect, as a call that raised
   `Unavailable` may; no later call gets its answer, and the store stays usable.
2. **Repeating is safe.** Every write can be repeated with the same arguments and changes nothing the second time.
3. A store bounds each call by its own timeout and then raises `Unavailable`. Drivers' errors do not pass.
4. A session is named by its room and its epoch. At most one session of a room is *current*: the one that
   `load` returns and `append` writes to. An ended session stays until the archive has all of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Literal, Protocol, TypeAlias

import msgspec

from trio_chat.errors import TrioChatError
from trio_chat.message import Event, Message, Position, Receipt

Durability = Literal["memory", "redis", "replicated", "archive"]
"""The ladder each acknowledged event climbs: in this process, in the hot store, in a replica of it too, in the archive."""

OUTLIVING_RECEIPTS = 1000
"""How many of a room's read marks outlive their session: the newest."""

_NOTE = re.compile(r"[A-Za-z0-9_-]{1,128}")


def check_note(name: str, seconds: float = 1.0) -> None:
    """Raise `ValueError` unless a note can have this name, and be kept for so long."""
    if _NOTE.fullmatch(name) is None:
        raise ValueError("the name of a note: expected 1-128 characters of A-Z a-z 0-9 _ -")
    if not seconds > 0:
        raise ValueError("the time of a note: expected seconds, more than 0")


def newer(new: Receipt, old: Receipt | None) -> bool:
    """Whether a read mark takes the place of another. Of two of the same moment the first stays."""
    return old is None or old.timestamp < new.timestamp


def newest(receipts: Mapping[str, Receipt]) -> dict[str, Receipt]:
    """Return those of a room's read marks that outlive their session."""
    if len(receipts) <= OUTLIVING_RECEIPTS:
        return dict(receipts)
    by_time = sorted(receipts.items(), key=lambda one: one[1].timestamp)
    return dict(by_time[-OUTLIVING_RECEIPTS:])


class Session(msgspec.Struct, frozen=True, order=True, gc=False):
    """The name of a session."""

    room: str
    epoch: str


class Stored(msgspec.Struct, frozen=True):
    """A current session as the hot store has it.

    Attributes:
        epoch: its id.
        top: the highest seq written.
        synced: the highest seq of which the archive has everything up to it.
        floor: see `history.History.floor`.
        first: see `history.History.first`; 0 if it was never written.
        trusted: False if the tail may be missing: the server that holds it is not the one last written to, or
            members were told of events that it never got.
        events: the readable entries, in the order of their seq.
        keys: clients' message ids of this session that must not be used twice, and the seq each one got.
        receipts: read marks by user.
        unreadable: how many entries could not be read; they are quarantined.
        idle: seconds since the last `append`, by the store's own clock.
    """

    epoch: str
    top: int
    synced: int
    floor: int
    first: int
    trusted: bool
    events: tuple[Event, ...]
    keys: Mapping[str, int]
    receipts: Mapping[str, Receipt]
    unreadable: int = 0
    idle: float = 0.0


class Append(msgspec.Struct, frozen=True):
    """One turn's changes of a session, to be written whole or not at all.

    Attributes:
        session: the session.
        expect: the top the writer believes to be stored. 0 opens the session: it becomes the current one if the
            room has none, or an older one (which is thereby ended), or this very one with nothing in it.
        top: the top afterwards; at least the seq of the last event.
        first: `History.first` afterwards: the oldest seq the window or its tombstones still need.
        floor: `History.floor` afterwards.
        events: what to add, in order of seq, each above `expect`. Gaps are allowed: superseded events
            need not be written. May be empty (receipts alone, a raised floor).
        superseded: seqs whose entries are no longer needed; unknown ones are ignored.
        keys: ids that clients chose for posted messages, with the seq each got. The store remembers the newest
            ten windows of them (`remember`).
        receipts: read marks that changed, by user. They are *pending* until the archive has them.
        carried: read marks of earlier sessions, by user, which the archive has or gets from there. Not pending.
        token: names this very write. A `Conflict` carries the token of the last write that succeeded, so
            that a writer whose answer was lost can tell that its write had arrived.
        remember: how many keys to keep.
    """

    session: Session
    expect: int
    top: int
    first: int
    floor: int
    events: tuple[Event, ...]
    superseded: tuple[int, ...] = ()
    keys: tuple[tuple[str, int], ...] = ()
    receipts: Mapping[str, Receipt] = {}
    carried: Mapping[str, Receipt] = {}
    token: str = ""
    remember: int = 10_000


class Conflict(msgspec.Struct, frozen=True):
    """What is stored instead of what the writer expected. Nothing was written.

    Attributes:
        epoch: the current session's id, or None if the room has no current session.
        top: its top, 0 if there is none.
        token: the token of the write that made it so, "" if there is none.
    """

    epoch: str | None
    top: int
    token: str


class Unsynced(msgspec.Struct, frozen=True):
    """What the archive does not have of a session.

    Attributes:
        session: which.
        synced: the mark above which `events` begin.
        upto: the mark to set once the archive has `events`.
        top: the session's top; equals `upto` if this is all.
        events: in order of seq, without superseded ones.
        unreadable: how many entries could not be read; they are quarantined.
        receipts: the pending read marks, by user; all of them, whatever the limit.
    """

    session: Session
    synced: int
    upto: int
    top: int
    events: tuple[Event, ...]
    unreadable: int = 0
    receipts: Mapping[str, Receipt] = {}


class Unconfirmed(msgspec.Struct, frozen=True):
    """Everything was written, but has not reached `HotStore.durability`: no replica has confirmed it in time.

    It is "redis". What is confirmed later confirms everything that was written before it.
    """


class Unsettled(TrioChatError):
    """What was submitted was not written, for a reason that `append` knows how to deal with."""


Submitted: TypeAlias = Conflict | Unconfirmed | Exception | None
"""What became of a submitted append: what `append` would have returned or raised, or `Unsettled`."""


class HotStore(Protocol):
    """Where sessions live while they are active. One object serves all rooms of a process.

    Attributes:
        durability: the step of the ladder an event has reached once `append` returned None.
    """

    durability: Durability

    @property
    def promise(self) -> Durability:
        """The step an event would reach if it were appended now; `durability` if all is well. Never blocks."""
        ...

    @property
    def healthy(self) -> bool:
        """Whether the last contact succeeded. Never blocks; a store that is away turns this off by itself."""
        ...

    async def wait_health(self, healthy: bool) -> None:
        """Return when `self.healthy` is `healthy`. Cancelling is safe."""
        ...

    async def load(self, room: str) -> Stored | None:
        """Return the room's current session, or None. Unreadable entries are quarantined on the way."""
        ...

    async def append(self, write: Append) -> Conflict | Unconfirmed | None:
        """Compare and append: if the session is current and its top is `write.expect`, write everything.

        Afterwards the log is trimmed: entries below ``min(write.first, synced + 1)`` go, none above it. The
        session is *dirty* from now on if `write.top` is above `synced` or a read mark is pending, and a dirty one
        never expires.

        Returns:
            None if it was written, or `Unconfirmed`; else what stands in the way.
        """
        ...

    def submit(self, write: Append, done: Callable[[Submitted], None]) -> bool:
        """Begin an `append` without waiting for it; `done` is called once, later, with what became of it.

        It may never be called if the program ends first. It must not raise.

        Returns:
            Whether it was begun. If not, nothing was written and `done` is not called: `append` it.
        """
        ...

    def note_behind(self, session: Session, behind: bool) -> None:
        """Take note that members have been told of events that are not in this store, or that all of them are now.

        Synchronous, and called before the first such event is let out. Until the session has caught up `load` does
        not trust it; nor does the next process, should this one end in order before that. Should it be killed, no
        session that it wrote is trusted by the next one: the numbers of those events must not be given out again.
        """
        ...

    async def dirty(self) -> list[Session]:
        """Return every session, current or ended, that may have something the archive does not have."""
        ...

    async def unsynced(self, session: Session, limit: int) -> Unsynced | None:
        """Return what the archive lacks of a session: up to `limit` entries above its mark, and pending read marks.

        None if there is no such session.
        """
        ...

    async def mark_synced(
        self, marks: Sequence[tuple[Session, int]], receipts: Mapping[Session, Mapping[str, Receipt]] = {}
    ) -> None:
        """Raise each session's mark to the given seq (never lower it), and trim what may now be trimmed.

        `receipts` are the read marks that were archived of these sessions. Each is no longer pending, unless it has
        changed since.

        An ended session that has become clean is removed. A current one gets a safety net: it expires by itself
        if nobody touches it for the session's expiry and a grace. Unknown sessions are ignored.
        """
        ...

    async def end(self, session: Session, top: int, idle: float) -> bool:
        """End the session: it is no longer current. A clean one is removed at once, a dirty one when it is clean.

        Nothing happens unless the session is current, its top is `top`, and by the store's own clock at least
        `idle` seconds have passed since the last `append`.

        Returns:
            Whether the session is over now (also if it was unknown or over before).
        """
        ...

    async def quarantine(self, session: Session, seq: int, why: str) -> None:
        """Set an entry aside that the archive refuses: out of the log, into a bounded list for a person to look at."""
        ...

    async def keep(self, notes: Mapping[str, tuple[bytes, float]]) -> None:
        """Remember bytes under a name, for so many seconds, longer than this process lives. Many in one round trip.

        A note replaces the one of its name. Notes belong to no room, and nothing depends on them: what is remembered
        here may also be forgotten early.

        Raises:
            ValueError: a name is not 1-128 characters of A-Z a-z 0-9 _ -, or its time is not above 0.
        """
        ...

    async def kept(self, name: str) -> bytes | None:
        """Return what is remembered under a name, or None. Raises `ValueError` as `keep`."""
        ...

    async def discard(self, name: str) -> None:
        """Forget what is remembered under a name, if anything. Raises `ValueError` as `keep`."""
        ...

    async def probe(self) -> None:
        """Make one round trip. Raises `Unavailable` or `Misconfigured`."""
        ...


class Batch(msgspec.Struct, frozen=True):
    """What the archive is to take over of one session.

    Attributes:
        session: which.
        top: the session's highest seq so far.
        events: any subset of its events, in order; may be empty.
        ended: when the session ended, if it has.
        receipts: read marks, by user; may be all there is in a batch.
    """

    session: Session
    top: int
    events: tuple[Event, ...]
    ended: datetime | None = None
    receipts: Mapping[str, Receipt] = {}


class Archived(msgspec.Struct, frozen=True):
    """A message from the archive and the session it was posted in."""

    epoch: str
    message: Message


class Refused(TrioChatError):
    """The archive is well and will never take this batch: some row in it cannot be stored."""


TAKEN = "another message has its place in the session, and stays"
"""Why an archive refuses a message whose (epoch, seq) is that of a message with another id."""


class Archive(Protocol):
    """Where every message ends up. One object serves all rooms of a process."""

    @property
    def healthy(self) -> bool:
        """Whether the last contact succeeded. Never blocks."""
        ...

    async def write(self, batches: Sequence[Batch]) -> int:
        """Store all batches in one transaction.

        Of two states of a message the one with the higher `rev` stays, of two read marks of a user in a room the one
        with the later timestamp. Of two messages with one (epoch, seq) the first stays, and the other is refused: that
        one number was given out twice must not go unnoticed.

        Returns:
            How many messages were new or changed.

        Raises:
            Refused: some row can never be stored. Nothing was.
            Unavailable: anything else; perhaps everything was stored, perhaps nothing.
        """
        ...

    async def page(self, room: str, before: Position | None, limit: int) -> list[Archived]:
        """Return the newest `limit` undeleted messages of the room below a position, across sessions, oldest first.

        `before` itself is excluded. None means from the newest on.
        """
        ...

    async def receipts(self, room: str) -> Mapping[str, Receipt]:
        """Return the room's newest `OUTLIVING_RECEIPTS` read marks, by user, whatever session they were made in."""
        ...

    async def top(self, session: Session) -> int:
        """Return the highest seq it was told of the session; 0 if it knows none."""
        ...

    async def latest(self) -> str:
        """Return the highest epoch there is, of any room, or a higher one it was told of; "" if it knows none.

        What others have written since this was asked first need not count.
        """
        ...

    async def probe(self) -> None:
        """Make one round trip. Raises `Unavailable` or `Misconfigured`."""
        ...
