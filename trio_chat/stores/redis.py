"""The hot store on Redis (6.2 or newer), or on a relative such as Valkey.

1. Whatever changes a session is one Lua script, one atomic step; `lib.lua` says what the keys hold.
2. Nothing is repeated here. A call whose answer was lost may have had its effect; the contract makes that safe.
3. Others can write to the server. What cannot be read is set aside and counted, for that room alone: an entry goes
   to the room's quarantine, a key of the wrong type is renamed, and the call is tried once more.
4. Only a clean session has an expiry, a safety net for rooms that nobody ends.
5. The set of dirty sessions has every one that is, and may have more.
"""

from __future__ import annotations

import logging
import math
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import msgspec
import trio
from typing_extensions import override

from trio_chat.errors import TrioChatError, Unavailable
from trio_chat.failures import describe
from trio_chat.message import is_epoch
from trio_chat.stores.base import (
    Append,
    Conflict,
    Durability,
    Session,
    Stored,
    Submitted,
    Unconfirmed,
    Unsettled,
    Unsynced,
    check_note,
)
from trio_chat.stores.behind import Behind
from trio_chat.stores.redis_append import APPEND, append_arguments, conflict_of, receipt_arguments
from trio_chat.stores.redis_checks import check_server, warn_of_settings
from trio_chat.stores.redis_mending import Mender, session_script, settled
from trio_chat.stores.redis_quarantine import Quarantine
from trio_chat.stores.redis_records import (
    Entries,
    Names,
    look_at,
    read_entries,
    read_receipts,
    read_view,
    seq_of,
    session_of,
    strange_receipts,
)
from trio_chat.stores.replicas import Replicas, open_replicas
from trio_chat.stores.resp import Argument, Limits, ReplyError, Resp, RespStatistics, open_resp

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence

    from trio_chat.message import Event, Receipt
    from trio_chat.stores.resp_script import PackedCall

_log = logging.getLogger(__name__)

# Another look is needed if the session changed between two calls, or had to be mended.
_LOOKS: Final = 5
_PIECE: Final = 25
"""How many entries are read at a time: a tenth of a millisecond."""
_CALLS: Final = 20_000

_SYNCED: Final = session_script("synced.lua")
_END: Final = session_script("end.lua")
_UNSYNCED: Final = session_script("unsynced.lua")
# What reading an answer of another kind than expected raises.
_NONSENSE: Final = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
_Method = TypeVar("_Method", bound="Callable[..., Coroutine[Any, Any, Any]]")


def _answered(method: _Method) -> _Method:
    """Let a method raise `Unavailable` where an answer is none to what was asked, and give that connection up."""

    @wraps(method)
    async def call(store: RedisHotStore, *args: Any, **kwargs: Any) -> Any:
        try:
            return await method(store, *args, **kwargs)
        except _NONSENSE as error:
            raise store.distrust(error) from None

    return cast("_Method", call)


class RedisStatistics(msgspec.Struct, frozen=True):
    """The counts of a store since it was opened.

    Attributes:
        unreadable: entries that could not be read.
        mended: keys that were set aside or mended.
        resp: the counts of its client.
    """

    unreadable: int
    mended: int
    resp: RespStatistics


class RedisHotStore:
    """A `HotStore` on one Redis server. Made by `open_redis`; lives as long as its block.

    Every method raises `Unavailable` or `Misconfigured` and is safe to cancel and to repeat, as the contract says.
    """

    def __init__(
        self,
        resp: Resp,
        names: Names,
        lifetime: float,
        incarnation: Callable[[], str],
        behind: Behind,
        *,
        replicas: Replicas | None = None,
    ) -> None:
        self.durability: Durability = "redis" if replicas is None else "replicated"
        self._replicas = replicas
        self._resp = resp
        self._behind = behind
        self._names = names
        self._lifetime = round(lifetime * 1000)
        self._incarnation = incarnation
        self._mender = Mender(resp, names)
        self._quarantine = Quarantine(self._mender)
        self._calls: dict[Session, PackedCall] = {}
        """The beginning of each session's appends, packed."""

    @override
    def __repr__(self) -> str:
        return f"<RedisHotStore {self._resp!r} unreadable={self._quarantine.unreadable} mended={self._mender.mended}>"

    @property
    def healthy(self) -> bool:
        """See `HotStore.healthy`."""
        return self._resp.healthy

    @property
    def incarnation(self) -> str:
        """What tells this server from one that may have lost what was written last."""
        return self._incarnation()

    @property
    def promise(self) -> Durability:
        """See `HotStore.promise`."""
        if not self.healthy:
            return "memory"
        return "replicated" if self._replicas is not None and self._replicas.follow else "redis"

    async def wait_health(self, healthy: bool) -> None:
        """See `HotStore.wait_health`."""
        await self._resp.wait_health(healthy)

    def statistics(self) -> RedisStatistics:
        """Return the counts of now."""
        return RedisStatistics(self._quarantine.unreadable, self._mender.mended, self._resp.statistics())

    async def probe(self) -> None:
        """See `HotStore.probe`."""
        await self._resp.call("PING")

    @_answered
    async def load(self, room: str) -> Stored | None:
        """See `HotStore.load`."""
        for _ in range(_LOOKS):
            session = await self._current(room)
            if session is None:
                return None
            *queued, view = await self._resp.pipeline(look_at(session, self._names))
            for reply in (*queued, view):
                settled(reply)
            if view[0] != session.epoch.encode():
                continue
            if (read := read_view(view)) is not None:
                await self._quarantine.take_unreadable(session, read.entries)
                stored = read.stored(session.epoch, self.incarnation)
                self._behind.note_current(session)
                return msgspec.structs.replace(stored, trusted=False) if session in self._behind else stored
            await self._mender.mend(session)
        raise Unavailable("the room's session cannot be read: it is another one each time")

    async def _current(self, room: str) -> Session | None:
        [found] = await self._resp.pipeline([("GET", self._names.now(room))])
        epoch = found.decode(errors="replace") if isinstance(found, bytes) else ""
        if is_epoch(epoch):
            return Session(room, epoch)
        if found is not None:
            if not isinstance(found, ReplyError):
                settled(found)
            await self._mender.mend(Session(room, ""))
        return None

    @_answered
    async def append(self, write: Append) -> Conflict | Unconfirmed | None:
        """See `HotStore.append`."""
        connects = self._resp.connects
        reply = await self._mender.run(
            APPEND,
            write.session,
            lambda: (
                self._names.room(write.session.room),
                *append_arguments(write, self._incarnation(), self._lifetime),
            ),
        )
        if reply is None and self._replicas is not None and not await self._replicas.confirm(connects):
            return Unconfirmed()
        return conflict_of(reply)

    def submit(self, write: Append, done: Callable[[Submitted], None]) -> bool:
        """See `HotStore.submit`."""
        call = self._calls.get(write.session) or self._new_call(write.session)
        packed = call.with_arguments(append_arguments(write, self._incarnation(), self._lifetime))
        if self._replicas is not None:
            return self._replicas.post(packed, partial(self._settle_replicated, done))
        return self._resp.post(packed, partial(self._settle, done))

    def _settle(self, done: Callable[[Submitted], None], reply: Any) -> None:
        if reply is None:
            done(None)
        elif isinstance(reply, ReplyError):
            # An unknown script or a broken key: `append` mends both.
            done(Unsettled(str(reply)))
        else:
            try:
                outcome = reply if isinstance(reply, TrioChatError) else conflict_of(reply)
            except _NONSENSE as error:
                outcome = self.distrust(error)
            done(outcome)

    def _settle_replicated(self, done: Callable[[Submitted], None], reply: Any, confirmed: bool) -> None:
        if reply is None and not confirmed:
            done(Unconfirmed())
        else:
            self._settle(done, reply)

    def _new_call(self, session: Session) -> PackedCall:
        if len(self._calls) >= _CALLS:
            self._calls.clear()
        room, epoch = session.room, session.epoch
        call = APPEND.packed(self._names.session(session), (room, epoch, self._names.room(room)))
        self._calls[session] = call
        return call

    def note_behind(self, session: Session, behind: bool) -> None:
        """See `HotStore.note_behind`."""
        self._behind.note(session, behind)

    @_answered
    async def dirty(self) -> list[Session]:
        """See `HotStore.dirty`."""
        # The set belongs to no room; mending a session that cannot exist looks at it too.
        members = await self._mender.ask(Session("", ""), ("ZRANGE", self._names.dirty, 0, -1))
        sessions = {member: session_of(member) for member in members}
        if strange := [member for member, session in sessions.items() if session is None]:
            await self._resp.call("ZREM", self._names.dirty, *strange)
        return [session for session in sessions.values() if session is not None]

    @_answered
    async def unsynced(self, session: Session, limit: int) -> Unsynced | None:
        """See `HotStore.unsynced`."""
        reply = await self._mender.run(_UNSYNCED, session, lambda: [limit + 1])
        if reply is None:
            return None
        top, synced, raw, pairs = int(reply[0]), int(reply[1]), reply[2], reply[3]
        upto = top if len(raw) <= limit else min(top, seq_of(raw[limit - 1][0]))
        entries = await _read_in_pieces(raw[:limit])
        await self._quarantine.take_unreadable(session, entries)
        receipts = read_receipts(pairs)
        if strange := strange_receipts(pairs, receipts):
            # Nobody could ever say that these are archived, and the session would be dirty for good.
            await self._mender.run(_SYNCED, session, lambda: [0, self._lifetime, *strange])
        return Unsynced(session, synced, upto, top, entries.events, len(entries.unreadable), receipts)

    @_answered
    async def mark_synced(
        self, marks: Sequence[tuple[Session, int]], receipts: Mapping[Session, Mapping[str, Receipt]] = {}
    ) -> None:
        """See `HotStore.mark_synced`."""
        calls = [
            (session, [seq, self._lifetime, *receipt_arguments(receipts.get(session, {}))])
            for session, seq in marks
        ]
        await self._mender.run_all(_SYNCED, calls)

    @_answered
    async def end(self, session: Session, top: int, idle: float) -> bool:
        """See `HotStore.end`."""
        return bool(await self._mender.run(_END, session, lambda: [top, round(idle * 1000)]))

    async def quarantine(self, session: Session, seq: int, why: str) -> None:
        """See `HotStore.quarantine`."""
        await self._quarantine.take(session, [(b"%d-0" % seq, why)])

    def distrust(self, error: Exception) -> Unavailable:
        """Give the connection up, after an answer that is none to what was asked. Returns what to raise."""
        # Should the fault be ours, the places say so.
        _log.error("Redis answered something else than it was asked: %s", describe(error))
        self._resp.distrust()
        return Unavailable("Redis answered something else than it was asked")

    async def keep(self, notes: Mapping[str, tuple[bytes, float]]) -> None:
        """See `HotStore.keep`."""
        commands: list[tuple[Argument, ...]] = []
        for name, (note, seconds) in notes.items():
            check_note(name, seconds)
            commands.append(("SET", self._names.note(name), note, "PX", math.ceil(seconds * 1000)))
        for reply in await self._resp.pipeline(commands):
            settled(reply)

    async def kept(self, name: str) -> bytes | None:
        """See `HotStore.kept`."""
        check_note(name)
        [reply] = await self._resp.pipeline([("GET", self._names.note(name))])
        # What somebody else has put there, of another type, is no note.
        wrong = isinstance(reply, ReplyError) and reply.code == "WRONGTYPE"
        note = None if wrong else settled(reply)
        return note if isinstance(note, bytes) else None

    async def discard(self, name: str) -> None:
        """See `HotStore.discard`."""
        check_note(name)
        [reply] = await self._resp.pipeline([("DEL", self._names.note(name))])
        settled(reply)


@asynccontextmanager
async def open_redis(
    url: str,
    *,
    prefix: str = "tc",
    expiry: float = 1200,
    grace: float = 3600,
    timeout: float = 1.0,
    replica_timeout: float | None = None,
    incarnation: Callable[[], str] | str | None = None,
    behind: Behind | None = None,
    require: bool = True,
    tls: ssl.SSLContext | None = None,
) -> AsyncGenerator[RedisHotStore]:
    """Open the store for the length of the block. At its end calls that still wait raise `Unavailable`.

    Args:
        url: `redis://`, `rediss://` or `unix://`, with credentials, database and TLS options.
        prefix: what the names of all keys begin with.
        expiry: seconds of inactivity after which a session may end.
        grace: seconds a clean session is kept longer than that, should nobody end it.
        timeout: seconds a call may take.
        replica_timeout: how many seconds an append waits for a replica to confirm it, less than `timeout`; None if it
            does not.
        incarnation: what to trust a session's tail by, or a function that says so at any time, instead of the
            server's run and replication ids: for a server of which somebody knows whether it lost something when it
            restarted.
        behind: where to keep, across the death of this process, that a session was behind; in memory only if None.
        require: whether the server must be there now. If not, the store starts unhealthy and keeps trying.
        tls: replaces the context that a `rediss://` URL describes.

    Raises:
        Misconfigured: the URL, the credentials or the server cannot be used.
        Unavailable: nobody is there, if required.
    """
    names = Names(prefix)
    async with AsyncExitStack() as stack:
        resp = await stack.enter_async_context(
            open_resp(url, limits=Limits(timeout=timeout), require=require, tls=tls, accept=check_server)
        )
        with suppress(Unavailable):
            await warn_of_settings(resp)
        replicas = None
        if replica_timeout is not None:
            replicas = await stack.enter_async_context(open_replicas(resp, replica_timeout))
        behind = behind or Behind()
        teller = _teller(resp, incarnation, behind.generation)
        yield RedisHotStore(resp, names, expiry + grace, teller, behind, replicas=replicas)


def _teller(resp: Resp, incarnation: Callable[[], str] | str | None, generation: str) -> Callable[[], str]:
    def tell() -> str:
        return resp.server.history if incarnation is None else str(incarnation)

    teller = incarnation if callable(incarnation) else tell
    return (lambda: f"{teller()}+{generation}") if generation else teller


async def _read_in_pieces(raw: Sequence[Sequence[Any]]) -> Entries:
    """Read what XRANGE returned, letting others have their turn: a whole window takes some milliseconds."""
    events: list[Event] = []
    unreadable: list[tuple[bytes, str]] = []
    for start in range(0, len(raw), _PIECE):
        await trio.lowlevel.checkpoint()
        piece = read_entries(raw[start : start + _PIECE])
        events += piece.events
        unreadable += piece.unreadable
    return Entries(tuple(events), tuple(unreadable))
