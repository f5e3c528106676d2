"""One session's bounded log. Pure: no clock, no I/O; every decision about a session's events is made here.

1. Events are numbered 1, 2, 3 ... by `seq`, without holes. `top` is the last one.
2. The *window* is rolling: a posted message enters it, and pushes the oldest one out when there are more than
   `limit`; a deleted one leaves a free place. What has left never comes back.
3. The *log* holds what is still to be told: the latest event of each message in the window, and the
   *tombstones* of deleted ones (at most `limit`). An event replaces the earlier event of its message, which
   is thereby superseded.
4. `floor` is the highest seq among the events that have left the log. Whoever has seen less cannot be told
   what they missed: a resume below the floor is a gap.
5. What has left the log stays *left over* until the archive has it (`mark_synced`) or the hot store keeps it
   for the archive (`forget`).
6. The law: what a client had at n, plus `since(n)`, equals the snapshot. To apply it a client takes the events
   in order, then drops the messages below `Changes.first`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, assert_never

import msgspec
from typing_extensions import override

from trio_chat.errors import BadRequest, Gone, ReplyCode
from trio_chat.message import Deleted, Edited, Event, Message, Posted, Role

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

# Clients' ids are remembered for this many windows: a retry may come late into a busy room.
REMEMBERED_WINDOWS = 10


class Change(msgspec.Struct, frozen=True, gc=False):
    """What became of a request: the message, the seq to acknowledge, and the event if this was a new one.

    Without an event the request had been carried out before; the answer is the same as then.
    """

    id: str
    seq: int
    event: Event | None


class Changes(msgspec.Struct, frozen=True, gc=False):
    """What has changed since a position: events in order of seq, and the oldest seq the window still needs."""

    events: tuple[Event, ...]
    first: int


class HistoryStatistics(msgspec.Struct, frozen=True):
    """Counts of one history."""

    top: int
    synced: int
    floor: int
    messages: int
    tombstones: int
    left_over: int


def key_name(key: str, user: str) -> str:
    """Return the name under which a store remembers a client-chosen id and its owner. Neither holds a newline."""
    return f"{key}\n{user}"


class History:
    """A session's window and log. Lives as long as the session is active in this process."""

    def __init__(self, epoch: str, limit: int) -> None:
        self.epoch = epoch
        self.limit = limit
        self.top = 0
        self.synced = 0
        self.floor = 0
        self._window: dict[int, Event] = {}
        """The latest event of each message, by the message's seq, in the order of posting."""
        self._log: dict[int, Event] = {}
        """The same events and the tombstones, by their own seq, in that order."""
        self._tombstones: dict[int, str] = {}
        self._left: dict[int, Event] = {}
        self._ids: dict[str, int] = {}
        """The seq of each message in the window, by id."""
        self._keys: dict[str, tuple[int, str]] = {}
        """The seq each client-chosen id got, and whose it is; the newest ten windows of them."""
        self._made = f"{epoch[-12:]}-"
        """What the ids made here begin with; no client may choose one of them."""
        self._superseded: list[int] = []
        self._snapshot: tuple[Message, ...] | None = None
        """The window's messages, kept from one change to the next: many may join at a time."""
        self._forgotten = 0

    @override
    def __repr__(self) -> str:
        return (
            f"<History {self.epoch} top={self.top} synced={self.synced} floor={self.floor} "
            f"messages={len(self._window)} left_over={len(self._left)}>"
        )

    @classmethod
    def restore(
        cls,
        epoch: str,
        limit: int,
        *,
        top: int,
        synced: int,
        floor: int,
        first: int,
        events: Iterable[Event],
        keys: Mapping[str, int],
    ) -> History:
        """Rebuild a history from what a store kept of it: `first` and `floor` as they were, events in any order."""
        history = cls(epoch, limit)
        history.top, history.synced, history.floor = top, synced, floor
        for name, seq in keys.items():
            key, _, user = name.partition("\n")
            history._keys[key] = seq, user
        latest: dict[int, Event] = {}
        for event in sorted(events, key=lambda event: event.seq):
            latest[event.message.seq] = event
        for seq in sorted(latest):
            history._put_back(latest[seq], first)
        history._log = dict(sorted(history._log.items()))
        history._tombstones = dict(sorted(history._tombstones.items()))
        while len(history._window) > limit:  # it may have been larger when this was kept
            history._push_out()
        return history

    def _put_back(self, event: Event, first: int) -> None:
        message = event.message
        if isinstance(event, Deleted):
            if event.seq > self.floor:
                self._tombstones[event.seq] = message.id
                self._log[event.seq] = event
                return
        elif message.seq >= first:
            self._window[message.seq] = self._log[event.seq] = event
            self._ids[message.id] = message.seq
            return
        # Were the floor that was kept too low, a stranger's doing, it is mended.
        self._leave(event)

    @property
    def first(self) -> int:
        """The seq of the oldest entry that the window or its tombstones need; `top + 1` without any."""
        return min(next(iter(self._window), self.top + 1), next(iter(self._tombstones), self.top + 1))

    @property
    def messages(self) -> int:
        """How many messages are in the window."""
        return len(self._window)

    @property
    def unsynced(self) -> int:
        """How many events the archive has not been told to have."""
        return self.top - self.synced

    def statistics(self) -> HistoryStatistics:
        """Return the current counts."""
        return HistoryStatistics(
            self.top, self.synced, self.floor, len(self._window), len(self._tombstones), len(self._left)
        )

    def snapshot(self) -> tuple[Message, ...]:
        """Return the window: messages as they read now, oldest first."""
        if self._snapshot is None:
            self._snapshot = tuple([event.message for event in self._window.values()])
        return self._snapshot

    def since(self, seq: int) -> Changes | None:
        """Return what has changed above `seq`, or None if that cannot be told: below the floor, above the top."""
        if not self.floor <= seq <= self.top:
            return None
        return Changes(tuple(self._above(self._log, seq)), self.first)

    def entries(self, above: int) -> tuple[Event, ...]:
        """Return every event held here whose seq is above `above`, left over ones too, in order."""
        entries = self._above(self._log, above)
        # What is left over is not above the floor; a busy room must not look through ten thousand for each message.
        if self._left and self.floor > above:
            entries += [event for seq, event in self._left.items() if seq > above]
            entries.sort(key=lambda event: event.seq)
        return tuple(entries)

    def find(self, seq: int) -> Event | None:
        """Return the event of this seq if it is held here: if it was not superseded, nor let go of."""
        return self._log.get(seq) or self._left.get(seq)

    def between(self, above: int, upto: int) -> Iterator[Event]:
        """Yield the events held here with these seqs, in order. Costs no more than what is taken."""
        for seq in range(above + 1, upto + 1):
            if (event := self.find(seq)) is not None:
                yield event

    @staticmethod
    def _above(log: dict[int, Event], seq: int) -> list[Event]:
        # From the end, so that asking for the last few of a thousand costs only those few.
        found: list[Event] = []
        for own, event in reversed(log.items()):
            if own <= seq:
                break
            found.append(event)
        found.reverse()
        return found

    def post(
        self, *, key: str | None, user: str, role: Role, content: str, metadata: dict[str, Any], now: datetime
    ) -> Change:
        """Post a message under the client's id `key`, or under one made here.

        Raises:
            BadRequest: `key` belongs to another user's message.
        """
        if key is not None and (known := self._known(key, user)) is not None:
            return Change(key, known, None)
        seq = self.top + 1
        if key is None:
            name = f"{self._made}{seq}"
        else:
            name = key
            self._keys[key] = seq, user
            if len(self._keys) > self.limit * REMEMBERED_WINDOWS:
                del self._keys[next(iter(self._keys))]
        message = Message(
            id=name,
            role=role,
            content=content,
            timestamp=now,
            metadata=metadata,
            user_id=user,
            seq=seq,
            rev=seq,
        )
        return self._apply(Posted(message))

    def post_again(self, message: Message) -> Change:
        """Post a message of another session here, as it reads there, under its own id.

        Raises:
            BadRequest: the id belongs to another user's message here.
        """
        return self.post(
            key=message.id,
            user=message.user_id,
            role=message.role,
            content=message.content,
            metadata=message.metadata,
            now=message.timestamp,
        )

    def _known(self, key: str, user: str) -> int | None:
        if key in self._keys:
            seq, owner = self._keys[key]
        elif key in self._ids:
            seq = self._ids[key]
            owner = self._window[seq].message.user_id
        elif key.startswith(self._made):
            seq, owner = 0, None  # perhaps of a message that has left the window, or of one to come
        else:
            return None
        if owner != user:
            raise BadRequest(
                "id: this id belongs to another user's message; choose another", ReplyCode.CONFLICT
            )
        return seq

    def edit(
        self,
        message_id: str,
        *,
        user: str,
        moderator: bool,
        content: str,
        metadata: dict[str, Any] | None,
        now: datetime,
    ) -> Change:
        """Change a message's content, and its metadata unless that is None. The same text again is no event.

        Raises:
            BadRequest: the message is not in the window, or it is somebody else's and `user` no moderator.
        """
        old = self._find(message_id, user, moderator=moderator)
        new = msgspec.structs.replace(
            old, content=content, metadata=old.metadata if metadata is None else metadata, rev=self.top + 1
        )
        if new.content == old.content and _alike(new.metadata, old.metadata):
            return Change(old.id, old.rev, None)
        return self._apply(Edited(new, now))

    def delete(self, message_id: str, *, user: str, moderator: bool, now: datetime) -> Change:
        """Delete a message. Deleting it again is no event.

        Raises:
            BadRequest: as for `edit`.
        """
        if message_id not in self._ids:
            for seq, deleted in reversed(self._tombstones.items()):
                if deleted == message_id:
                    return Change(message_id, seq, None)
        old = self._find(message_id, user, moderator=moderator)
        return self._apply(
            Deleted(msgspec.structs.replace(old, content="", metadata={}, rev=self.top + 1), now)
        )

    def _find(self, message_id: str, user: str, *, moderator: bool) -> Message:
        seq = self._ids.get(message_id)
        if seq is None:
            if message_id in self._tombstones.values():
                raise Gone("id: this message was deleted")
            raise BadRequest(
                f"id: no message of this id is among the newest {self.limit}; only those can be changed",
                ReplyCode.NOT_FOUND,
            )
        message = self._window[seq].message
        if message.user_id != user and not moderator:
            raise BadRequest("id: this message is somebody else's", ReplyCode.FORBIDDEN)
        return message

    def _apply(self, event: Event) -> Change:
        message, seq = event.message, event.seq
        self.top = seq
        self._snapshot = None
        match event:
            case Posted():
                self._ids[message.id] = seq
                self._window[seq] = event
            case Edited():
                self._supersede(message.seq)
                self._window[message.seq] = event
            case Deleted():
                self._supersede(message.seq)
                del self._window[message.seq], self._ids[message.id]
                self._tombstones[seq] = message.id
            case _:
                assert_never(event)
        self._log[seq] = event
        if len(self._window) > self.limit:
            self._push_out()
        if len(self._tombstones) > self.limit:
            oldest = next(iter(self._tombstones))
            del self._tombstones[oldest]
            self._leave(self._log.pop(oldest))
        return Change(message.id, seq, event)

    def _supersede(self, message_seq: int) -> None:
        old = self._window[message_seq].seq
        del self._log[old]
        self._superseded.append(old)

    def _push_out(self) -> None:
        oldest = next(iter(self._window))
        event = self._window.pop(oldest)
        del self._log[event.seq], self._ids[event.message.id]
        self._leave(event)
        while (seq := next(iter(self._tombstones), self.floor + 1)) <= self.floor:
            del self._tombstones[seq]
            self._leave(self._log.pop(seq))

    def _leave(self, event: Event) -> None:
        self.floor = max(self.floor, event.seq)
        if event.seq > self.synced:
            self._left[event.seq] = event

    def keys(self) -> dict[str, int]:
        """Return the client-chosen ids that are remembered, by `key_name`, and the seq each one got."""
        return {key_name(key, user): seq for key, (seq, user) in self._keys.items()}

    def has(self, message_id: str) -> int | None:
        """Return the seq of a message in the window, or None."""
        return self._ids.get(message_id)

    def knows(self, message_id: str) -> bool:
        """Whether a message is in the window, or was deleted from it not long ago."""
        return message_id in self._ids or message_id in self._tombstones.values()

    @property
    def superseded(self) -> Sequence[int]:
        """The seqs that `take_superseded` would return."""
        return self._superseded

    def take_superseded(self) -> tuple[int, ...]:
        """Return the seqs superseded since the last call: a store need not keep their entries."""
        if not self._superseded:
            return ()
        taken, self._superseded = tuple(self._superseded), []
        return taken

    def mark_synced(self, seq: int) -> None:
        """The archive has everything up to `seq`; nothing so far must be left over for its sake."""
        if seq > self.synced:
            self.synced = min(seq, self.top)
            self._left = {own: event for own, event in self._left.items() if own > self.synced}

    def forget(self, written: int, keep: int) -> None:
        """Let go of left over events beyond the newest `keep` that a hot store has, those up to `written`.

        A sixteenth more may stay for a while, for many are let go at the cost of one.
        """
        excess = len(self._left) - keep
        if excess <= keep >> 4:
            return
        for seq in sorted(self._left)[:excess]:
            if seq <= written:
                del self._left[seq]
                self._forgotten = max(self._forgotten, seq)

    @property
    def complete(self) -> bool:
        """Whether everything the archive does not have is held here, nothing of it in the hot store alone."""
        return self._forgotten <= self.synced


def _alike(one: object, other: object) -> bool:
    """Whether two values are the same JSON. Python alone would take `true` and 1 for equal."""
    encode = partial(msgspec.json.encode, order="sorted")
    return one == other and encode(one) == encode(other)
