"""The archive on Postgres.

1. Each call is one unit of work behind the `bridge`: take a connection from the pool, do everything, give it
   back. A connection whose unit did not run to its end is terminated: never reused, never waited for.
2. A write is one transaction of upserts in which the higher `rev` stays, so it can be repeated in whole after a
   cancel or a lost answer, and by another process at the same time. Rows go in by the order of their keys, so
   two writers never wait for each other in a circle. A row whose place another message has is refused, not dropped.
3. The first call that reaches the server brings the schema up to date.
4. The driver's errors end here, and so does what they say about rows: it may quote people's messages.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import asyncpg
import msgspec
import trio
from typing_extensions import override

from trio_chat.counts import LATENCIES, Distribution, Histogram
from trio_chat.errors import Misconfigured, TrioChatError, Unavailable
from trio_chat.message import MAX_INTEGER, Deleted, Edited, Message, Position, Receipt, epoch_started
from trio_chat.stores.base import OUTLIVING_RECEIPTS, TAKEN, Archived, Refused, Session, newer
from trio_chat.stores.bridge import Bridge, open_bridge
from trio_chat.stores.migrations import migrate

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
    from datetime import datetime

    from trio_chat.message import Event
    from trio_chat.stores.base import Batch
    from trio_chat.stores.migrations import Connection as _Connection

    _Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]

_T = TypeVar("_T")

_UNSENDABLE = (ValueError, OverflowError)  # the driver's own `DataError` is a ValueError
_DRIVER_ERRORS = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    UnicodeError,
    OverflowError,
)
_PATIENCE_WITH_CLOSING = 1.0
_PIECE = 25  # rows made at a time: a tenth of a millisecond, after which other tasks have their turn
_LAST = Position("ffffffff-ffff-ffff-ffff-ffffffffffff", 0)


class ArchiveStatistics(msgspec.Struct, frozen=True):
    """What an archive has done.

    Attributes:
        healthy: whether the last contact succeeded.
        writes: batches of sessions that were stored.
        rows: messages that were new or changed.
        pages: pages that were read.
        failures: calls that failed, refused ones included.
        connections: open at this moment.
        latency: how long calls took that succeeded, in seconds.
    """

    healthy: bool
    writes: int
    rows: int
    pages: int
    failures: int
    connections: int
    latency: Distribution


@asynccontextmanager
async def open_postgres_archive(
    url: str,
    *,
    timeout: float = 10.0,  # noqa: ASYNC109 - it bounds each call of the archive, not this one
    connections: int = 4,
    require: bool = True,
) -> AsyncGenerator[PostgresArchive, None]:
    """Open an archive for as long as the context. Connections are made when they are needed.

    Cancelling is safe. Leaving takes a second at most, even if the server is frozen.

    Args:
        url: as Postgres writes them, `postgresql://user:password@host:port/database`.
        timeout: seconds for each call, connecting and migrating included.
        connections: how many at most.
        require: whether the server must be there, and usable, to begin with.

    Raises:
        Unavailable: `require`, and the server is away.
        Misconfigured: `require`, and it refuses us, or its schema is not one we can use.
    """
    async with open_bridge() as bridge:
        pool = await bridge.run(_open_pool, url, timeout, connections)
        archive = PostgresArchive(bridge, pool, timeout)
        try:
            if require:
                await archive.probe()
            yield archive
        finally:
            with trio.move_on_after(_PATIENCE_WITH_CLOSING, shield=True), suppress(*_DRIVER_ERRORS):
                await bridge.run(pool.close)  # which terminates what it cannot close when it is cancelled


async def _open_pool(url: str, patience: float, connections: int) -> _Pool:
    return await asyncpg.create_pool(
        url, min_size=0, max_size=connections, timeout=patience, command_timeout=patience
    )


class PostgresArchive:
    """An `Archive` on Postgres. Lives as long as `open_postgres_archive`."""

    def __init__(self, bridge: Bridge, pool: _Pool, timeout: float) -> None:
        self._bridge = bridge
        self._pool = pool
        self._timeout = timeout
        self._migrated = False
        self._healthy = False
        self._told = ""
        """The highest epoch that was written here."""
        self._found: str | None = None
        """The highest one that was there before; None if nobody has asked."""
        self._writes = self._rows = self._pages = self._failures = 0
        self._latency = Histogram(LATENCIES)

    @override
    def __repr__(self) -> str:
        health = "healthy" if self._healthy else "unhealthy"
        return f"<PostgresArchive {health} writes={self._writes} rows={self._rows} failures={self._failures}>"

    def statistics(self) -> ArchiveStatistics:
        """Return its counts."""
        return ArchiveStatistics(
            healthy=self._healthy,
            writes=self._writes,
            rows=self._rows,
            pages=self._pages,
            failures=self._failures,
            connections=self._pool.get_size(),
            latency=self._latency.statistics(),
        )

    @property
    def healthy(self) -> bool:
        """Whether the last contact succeeded."""
        return self._healthy

    async def write(self, batches: Sequence[Batch]) -> int:
        """Store all batches in one transaction; see `Archive.write`."""
        if not batches:
            await trio.lowlevel.checkpoint()
            return 0
        rows = await newest_states(batches)
        self._told = max(self._told, *(batch.session.epoch for batch in batches))

        async def write(connection: _Connection) -> int | None:
            return await _write(connection, batches, rows, self._timeout)

        changed = await self._call(write)
        if changed is None:
            self._failures += 1
            raise Refused(TAKEN)
        self._writes += 1
        self._rows += changed
        return changed

    async def page(self, room: str, before: Position | None, limit: int) -> list[Archived]:
        """Return the newest messages of the room below a position, oldest first; see `Archive.page`."""
        below = before or _LAST

        async def read(connection: _Connection) -> list[asyncpg.Record]:
            return await connection.fetch(_PAGE, room, below.epoch, below.seq, limit)

        records = await self._call(read)
        self._pages += 1
        return [_archived(record) for record in reversed(records)]

    async def receipts(self, room: str) -> dict[str, Receipt]:
        """Return the room's newest read marks; see `Archive.receipts`."""

        async def read(connection: _Connection) -> list[asyncpg.Record]:
            return await connection.fetch(_RECEIPTS, room, OUTLIVING_RECEIPTS)

        records = await self._call(read)
        return {record["user_id"]: Receipt(record["message_id"], record["at"]) for record in records}

    async def top(self, session: Session) -> int:
        """Return the highest seq it was told of the session; see `Archive.top`."""

        async def read(connection: _Connection) -> int | None:
            found: int | None = await connection.fetchval(
                "select top from sessions where epoch = $1", session.epoch
            )
            return found

        return await self._call(read) or 0

    async def latest(self) -> str:
        """Return the highest epoch there is; see `Archive.latest`. Asks the server once."""

        async def read(connection: _Connection) -> str:
            found = await connection.fetchval("select epoch from sessions order by epoch desc limit 1")
            return "" if found is None else str(found)

        if self._found is None:
            self._found = await self._call(read)
        else:
            await trio.lowlevel.checkpoint()
        return max(self._found, self._told)

    async def probe(self) -> None:
        """Make one round trip. Raises `Unavailable` or `Misconfigured`."""

        async def ask(connection: _Connection) -> None:
            await connection.execute("select 1")

        await self._call(ask)

    async def _call(self, work: Callable[[_Connection], Coroutine[Any, Any, _T]]) -> _T:
        """Run one unit of work within the timeout, and translate its errors."""
        begun = trio.current_time()
        try:
            with trio.fail_after(self._timeout):
                result = await self._bridge.run(self._unit, work)
        except (*_DRIVER_ERRORS, trio.TooSlowError, trio.ClosedResourceError, TrioChatError) as error:
            self._failures += 1
            ours = error if isinstance(error, TrioChatError) else _translated(error, self._timeout)
            self._healthy = isinstance(ours, Refused)
            self._migrated = self._migrated and self._healthy  # it may come back as another one
            raise ours from (None if isinstance(ours, Refused) else error)
        self._healthy = True
        self._latency.note(trio.current_time() - begun)
        return result

    async def _unit(self, work: Callable[[_Connection], Coroutine[Any, Any, _T]]) -> _T:
        """Work on a connection of the pool, in asyncio's world."""
        connection = await self._pool.acquire(timeout=self._timeout)
        try:
            if not self._migrated:
                await migrate(connection)
                self._migrated = True
            return await work(connection)
        except asyncpg.PostgresError as error:
            # An answer: the connection is in step, and out of its transaction. But unless it is about a row, what the
            # driver remembers of the tables may be what is wrong, and that is the connection's.
            if not (error.sqlstate or "").startswith(_REFUSED):
                connection.terminate()
            raise
        except BaseException:
            connection.terminate()
            raise
        finally:
            await self._pool.release(connection)  # noqa: ASYNC102 - the driver shields this itself


# -- writing --------------------------------------------------------------------------------------------------

_State: TypeAlias = "tuple[Session, Event, datetime | None]"

_WRITE_SESSIONS = """
insert into sessions (epoch, room, top, started_at, ended_at)
select * from unnest($1::uuid[], $2::text[], $3::bigint[], $4::timestamptz[], $5::timestamptz[])
on conflict (epoch) do update set
    top = greatest(sessions.top, excluded.top),
    ended_at = coalesce(sessions.ended_at, excluded.ended_at)
where sessions.top < excluded.top or (sessions.ended_at is null and excluded.ended_at is not null)
"""

_COLUMNS = (
    *("epoch", "seq", "rev", "room", "id", "role", "user_id", "content", "metadata"),
    *("created_at", "edited_at", "deleted_at"),
)

_WRITE_MESSAGES = """
insert into messages select * from incoming
on conflict (epoch, seq) do update set
    rev = excluded.rev,
    content = excluded.content,
    metadata = excluded.metadata,
    edited_at = coalesce(excluded.edited_at, messages.edited_at),
    deleted_at = excluded.deleted_at
where messages.rev < excluded.rev and messages.id = excluded.id
"""

_FIND_STRANGERS = """
select exists (select from incoming join messages using (epoch, seq) where incoming.id <> messages.id)
"""

_WRITE_RECEIPTS = """
insert into receipts (room, user_id, message_id, at)
select * from unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[])
on conflict (room, user_id) do update set message_id = excluded.message_id, at = excluded.at
where receipts.at < excluded.at
"""


async def _write(
    connection: _Connection, batches: Sequence[Batch], states: Sequence[_State], patience: float
) -> int | None:
    """Write in one transaction, in asyncio's world.

    Returns:
        How many messages were new or changed; None if another message has the place of one, and nothing was written.
    """
    limit = int(patience * 1000)
    try:
        # The server gives up when we do, so that a lost connection holds no locks.
        await connection.execute(
            f"begin; set local statement_timeout = {limit}; set local idle_in_transaction_session_timeout = {limit};"
            "create temporary table incoming (like messages) on commit drop"
        )
        await connection.execute(_WRITE_SESSIONS, *_session_columns(batches))
        await connection.copy_records_to_table("incoming", records=_rows(states), columns=_COLUMNS)
        status = await connection.execute(_WRITE_MESSAGES)
        if await connection.fetchval(_FIND_STRANGERS):
            await connection.execute("rollback")
            return None
        if receipts := _receipt_columns(batches):
            await connection.execute(_WRITE_RECEIPTS, *receipts)
        await connection.execute("commit")
    except asyncpg.PostgresError:
        await connection.execute("rollback")  # noqa: ASYNC120 - a cancel here ends the connection
        raise
    return int(status.rpartition(" ")[2])


async def newest_states(batches: Sequence[Batch]) -> list[_State]:
    """Reduce events to one state a message, the one with the highest `rev`, in the order of their keys.

    The third part of a state is when the message was last edited, as far as these events know. Others have their turn
    meanwhile.

    Raises:
        Refused: two messages claim one place.
    """
    states: dict[tuple[str, int], _State] = {}
    for batch in batches:
        for place, event in enumerate(batch.events):
            if place % _PIECE == 0:
                await trio.lowlevel.checkpoint()
            key = (batch.session.epoch, event.message.seq)
            known = states.get(key)
            if known is not None and known[1].message.id != event.message.id:
                raise Refused(TAKEN)
            if known is None or known[1].seq < event.seq:
                edited = event.at if isinstance(event, Edited) else known[2] if known is not None else None
                states[key] = (batch.session, event, edited)
    return [states[key] for key in sorted(states)]


async def _rows(states: Sequence[_State]) -> AsyncGenerator[tuple[object, ...]]:
    """Yield the rows of states, in asyncio's world."""
    for place, state in enumerate(states):
        if place % _PIECE == 0:
            await asyncio.sleep(0)
        yield _row(*state)


def _row(session: Session, event: Event, edited: datetime | None) -> tuple[object, ...]:
    """Return a message's columns, in the order of `_COLUMNS`."""
    message = event.message
    return (
        session.epoch,
        message.seq,
        message.rev,
        session.room,
        message.id,
        message.role,
        message.user_id,
        message.content,
        msgspec.json.encode(message.metadata).decode(),
        message.timestamp,
        edited,
        event.at if isinstance(event, Deleted) else None,
    )


def _session_columns(batches: Sequence[Batch]) -> tuple[list[object], ...]:
    """Return the sessions of all batches, one row each, by columns and in the order of their epochs."""
    rows: dict[str, tuple[str, str, int, datetime, datetime | None]] = {}
    for batch in sorted(batches, key=lambda batch: (batch.session.epoch, batch.top)):
        epoch, known = batch.session.epoch, rows.get(batch.session.epoch)
        ended = batch.ended or (known[-1] if known else None)
        rows[epoch] = (epoch, batch.session.room, batch.top, epoch_started(epoch), ended)
    return tuple(list(column) for column in zip(*rows.values(), strict=True))


def _receipt_columns(batches: Sequence[Batch]) -> tuple[list[object], ...]:
    """Return the newest read mark of each room and user, by columns and in the order of their keys; () if none."""
    marks: dict[tuple[str, str], Receipt] = {}
    for batch in batches:
        for user, receipt in batch.receipts.items():
            key = (batch.session.room, user)
            if newer(receipt, marks.get(key)):
                marks[key] = receipt
    rows = [(*key, marks[key].message_id, marks[key].timestamp) for key in sorted(marks)]
    return tuple(list(column) for column in zip(*rows, strict=True))


# -- reading --------------------------------------------------------------------------------------------------

_PAGE = """
select epoch, seq, rev, id, role, user_id, content, metadata, created_at from messages
where room = $1 and (epoch, seq) < ($2, $3) and deleted_at is null
order by epoch desc, seq desc
limit $4
"""

_RECEIPTS = "select user_id, message_id, at from receipts where room = $1 order by at desc limit $2"


def _archived(record: asyncpg.Record) -> Archived:
    message = Message(
        id=record["id"],
        role=record["role"],
        content=record["content"],
        timestamp=record["created_at"],
        metadata=json.loads(record["metadata"], parse_int=_number),
        user_id=record["user_id"],
        seq=record["seq"],
        rev=record["rev"],
    )
    return Archived(str(record["epoch"]), message)


def _number(digits: str) -> float:
    """Read back a number that Postgres writes without a point: 1e300 comes as 301 digits."""
    number = int(digits)
    return number if abs(number) <= MAX_INTEGER else float(digits)


# -- errors ---------------------------------------------------------------------------------------------------

# Classes of SQLSTATE, https://www.postgresql.org/docs/current/errcodes-appendix.html
_REFUSED = ("22", "23", "54")  # data, integrity, program limits
_MISCONFIGURED = ("28", "3D", "3F", "42")  # authorization, catalog, schema, syntax and access rights


def _translated(error: Exception, timeout: float) -> TrioChatError:
    """Say whose fault it is, in words that quote nobody's message."""
    if isinstance(error, trio.TooSlowError | TimeoutError):
        return Unavailable(f"Postgres: no answer within {timeout:g} s")
    if isinstance(error, asyncpg.ClientConfigurationError):
        return Misconfigured(f"Postgres: {error}")
    if isinstance(error, _UNSENDABLE):
        return Refused(f"Postgres: a row cannot be sent: {type(error).__name__}")
    if not isinstance(error, asyncpg.PostgresError):
        return Unavailable(f"Postgres: {error}")
    state = error.sqlstate or ""
    if state.startswith(_REFUSED):
        return Refused(f"Postgres: a row is refused: {type(error).__name__} ({state})")
    text = f"Postgres: {error.args[0]} ({state})"
    return Misconfigured(text) if state.startswith(_MISCONFIGURED) else Unavailable(text)
