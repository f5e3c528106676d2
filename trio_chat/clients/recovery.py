"""What a Socket.IO client that comes back is known by, and the rooms it was in.

1. A client is told a secret `pid` when it connects. Whoever comes back with it, as the same user, within the time of
   a session, is put back into its rooms. Where it is in them it says itself, by its offset.
2. Recoveries are kept here and, for the next process, as notes of the hot store. Nobody waits for a note: one that
   did not arrive in time costs a client of a killed server its recovery, which it is told.
3. A client that disconnects on purpose is forgotten in both places.
"""

from __future__ import annotations

import logging
import re
import secrets
from typing import TYPE_CHECKING, Final, Protocol

import msgspec
import trio
from typing_extensions import override

from trio_chat.errors import TrioChatError
from trio_chat.failures import explain

if TYPE_CHECKING:
    from trio_chat.clients.offsets import Offset
    from trio_chat.stores.base import HotStore

logger = logging.getLogger(__name__)

_PID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PID_BYTES: Final = 18
_RETRY_SECONDS: Final = 1.0
_ASKING_SECONDS: Final = 1.0
# How many clients of one user may be away at once; the oldest ones are forgotten.
_AWAY: Final = 50


class Holder(Protocol):
    """A client that may be held, as whoever takes its place sees it."""

    def give_way(self) -> None:
        """End: the client has come back on another connection. Never waits."""
        ...


class _Note(msgspec.Struct, frozen=True):
    user: str
    rooms: list[str]


_decoder = msgspec.json.Decoder(_Note)


class Recovery:
    """One client's way back. Lives from its first connect until its time is up, through reconnects.

    Attributes:
        pid: its secret name.
        user: whose it is.
        rooms: where it is to be put back.
        holder: who has it now; None while the client is away.
        exact: whether `rooms` is what the client was told. A note may be a moment older than that.
    """

    __slots__ = ("exact", "holder", "pid", "rooms", "until", "user", "written")

    def __init__(self, pid: str, user: str, rooms: frozenset[str] = frozenset()) -> None:
        self.pid = pid
        self.user = user
        self.rooms = rooms
        self.holder: Holder | None = None
        self.exact = True
        self.until = 0.0
        """When it is over, while the client is away."""
        self.written = 0.0

    @override
    def __repr__(self) -> str:
        state = "held" if self.holder is not None else "away"
        return f"<Recovery of {self.user} {state} rooms={len(self.rooms)}>"

    def fits(self, offset: Offset) -> bool:
        """Whether the rooms are those the client was in, as far as it can be told from what has reached it."""
        return self.exact or offset.fresh or offset.names(self.rooms)


class RecoveryStatistics(msgspec.Struct, frozen=True):
    """Counts of recoveries now, and of those whose note is still to be written."""

    held: int
    away: int
    unwritten: int


class Recoveries:
    """See the module. One a server; lives as long as it.

    Args:
        hot: where notes are kept.
        seconds: how long a client may stay away.
    """

    def __init__(self, hot: HotStore, seconds: float) -> None:
        self._hot = hot
        self._seconds = seconds
        # Longer by the time a note may go without being renewed, and a little.
        self._kept_seconds = seconds * 1.5
        self._known: dict[str, Recovery] = {}
        self._unwritten: dict[str, Recovery] = {}
        self._away: dict[str, dict[str, Recovery]] = {}
        """Who is away, by user, and within that in the order of leaving."""
        self._ended: dict[str, float] = {}
        """Whose notes are to be thrown away, and since when."""
        self._bell = trio.Event()
        self._failing = False

    @override
    def __repr__(self) -> str:
        counts = self.statistics()
        return f"<Recoveries held={counts.held} away={counts.away} unwritten={counts.unwritten}>"

    def statistics(self) -> RecoveryStatistics:
        """Return the current counts."""
        held = sum(one.holder is not None for one in self._known.values())
        return RecoveryStatistics(held, len(self._known) - held, len(self._unwritten) + len(self._ended))

    def begin(self, user: str) -> Recovery:
        """Make a way back for a client that has none."""
        recovery = Recovery(secrets.token_urlsafe(_PID_BYTES), user)
        self._known[recovery.pid] = recovery
        return recovery

    def note_rooms(self, recovery: Recovery, rooms: frozenset[str]) -> None:
        """The client has joined or left a room."""
        if recovery.rooms != rooms:
            recovery.rooms = rooms
            self._write_soon(recovery)

    def note_away(self, recovery: Recovery) -> None:
        """The client's connection is gone; its time runs, if there is a room to put it back into."""
        recovery.holder = None
        recovery.until = trio.current_time() + self._seconds
        if not recovery.rooms:
            self.end(recovery)
            return
        self._write_soon(recovery)
        away = self._away.setdefault(recovery.user, {})
        away.pop(recovery.pid, None)
        away[recovery.pid] = recovery
        while len(away) > _AWAY:
            self.end(next(iter(away.values())))

    def note_back(self, recovery: Recovery, holder: Holder) -> None:
        """The client has a connection again, or its first."""
        recovery.holder = holder
        self._forget_away(recovery)

    def _forget_away(self, recovery: Recovery) -> None:
        away = self._away.get(recovery.user, {})
        away.pop(recovery.pid, None)
        if not away:
            self._away.pop(recovery.user, None)

    def end(self, recovery: Recovery) -> None:
        """Forget a client: it has left on purpose, or cannot be put back."""
        self._forget_away(recovery)
        if self._known.pop(recovery.pid, None) is not None:
            self._unwritten.pop(recovery.pid, None)
            if recovery.written:
                self._ended[recovery.pid] = trio.current_time()
                self._bell.set()

    async def find(self, pid: str, user: str) -> Recovery | None:
        """Return the recovery of that name if it is this user's and its time is not up. Cancelling is safe.

        Asks the hot store for at most a second if it is not known here; a store that is away knows nothing.
        """
        recovery = self._known.get(pid)
        if recovery is None and pid not in self._ended and _PID.fullmatch(pid):
            recovery = await self._recall(pid)
        if recovery is None or recovery.user != user:
            return None
        if recovery.holder is None and recovery.until <= trio.current_time():
            return None
        return recovery

    async def _recall(self, pid: str) -> Recovery | None:
        found = None
        try:
            with trio.move_on_after(_ASKING_SECONDS):
                found = await self._hot.kept(pid)
            note = _decoder.decode(found) if found is not None else None
        except (TrioChatError, msgspec.MsgspecError) as error:
            logger.warning("a client's rooms could not be looked up: %s", explain(error))
            note = None
        if note is None or pid in self._ended:
            return None
        # Somebody else may have asked meanwhile.
        recovery = self._known.get(pid)
        if recovery is None:
            recovery = self._known[pid] = Recovery(pid, note.user, frozenset(note.rooms))
            recovery.exact = False
        if recovery.holder is None:
            recovery.until = trio.current_time() + self._seconds
            recovery.written = trio.current_time()
        return recovery

    def _write_soon(self, recovery: Recovery) -> None:
        if recovery.pid in self._known:
            self._unwritten[recovery.pid] = recovery
            self._bell.set()

    async def run(self) -> None:
        """Write notes, renew them, forget those whose time is up. Runs until cancelled; cancelling is safe."""
        renewal = trio.current_time()
        while True:
            with trio.move_on_at(renewal):
                # Whoever comes during one round trip shares the next.
                await self._bell.wait()
            self._bell = trio.Event()
            if trio.current_time() >= renewal:
                self._renew()
                renewal = trio.current_time() + self._seconds / 8
            if not await self.write():
                await trio.sleep(_RETRY_SECONDS)
                self._bell.set()

    async def write(self) -> bool:
        """Write what is to be written. Returns whether the hot store took it. Cancelling is safe."""
        unwritten, self._unwritten = self._unwritten, {}
        try:
            if unwritten:
                await self._hot.keep(
                    {pid: (_encoded(one), self._kept_seconds) for pid, one in unwritten.items()}
                )
            # Not before it is gone: until then the note must not be taken for somebody who is away.
            for pid in list(self._ended):
                await self._hot.discard(pid)
                self._ended.pop(pid, None)
        except TrioChatError as error:
            self._put_back(unwritten)
            if not self._failing:
                logger.warning("clients' rooms are not noted for the next process: %s", error)
            self._failing = True
            return False
        except trio.Cancelled:
            self._put_back(unwritten)
            raise
        self._failing = False
        return True

    def _put_back(self, unwritten: dict[str, Recovery]) -> None:
        still = {pid: one for pid, one in unwritten.items() if pid in self._known}
        self._unwritten = {**still, **self._unwritten}

    def _renew(self) -> None:
        now = trio.current_time()
        # A note is gone by then anyway.
        self._ended = {pid: since for pid, since in self._ended.items() if now - since < self._kept_seconds}
        for recovery in list(self._known.values()):
            if recovery.holder is None and recovery.until <= now:
                # Its note too, which lives longer.
                self.end(recovery)
            elif (
                recovery.holder is not None and recovery.rooms and now - recovery.written > self._seconds / 4
            ):
                self._unwritten[recovery.pid] = recovery


def _encoded(recovery: Recovery) -> bytes:
    recovery.written = trio.current_time()
    return msgspec.json.encode(_Note(recovery.user, sorted(recovery.rooms)))
