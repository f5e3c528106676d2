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

from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import asyncpg
import msgspec
import trio
from typing_extensions import override

from trio_chat.counts import LATENCIES, Distribution, Histogram
from trio_chat.errors import TrioChatError
from trio_chat.message import Position, Receipt
from trio_chat.stores.base import OUTLIVING_RECEIPTS, TAKEN, Refused
from trio_chat.stores.bridge import Bridge, open_bridge
from trio_chat.stores.migrations import migrate
from trio_chat.stores.postgres_errors import DRIVER_ERRORS, REFUSED, translated
from trio_chat.stores.postgres_reading import PAGE, RECEIPTS, archived
from trio_chat.stores.postgres_writing import newest_states, write_states

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence

    from trio_chat.stores.base import Archived, Batch, Session
    from trio_chat.stores.migrations import Connection

    _Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]

_T = TypeVar("_T")

_PATIENCE_WITH_CLOSING = 1.0
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
            with trio.move_on_after(_PATIENCE_WITH_CLOSING, shield=True), suppress(*DRIVER_ERRORS):
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

        async def write(connection: Connection) -> int | None:
            return await write_states(connection, batches, rows, self._timeout)

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

        async def read(connection: Connection) -> list[asyncpg.Record]:
            return await connection.fetch(PAGE, room, below.epoch, below.seq, limit)

        records = await self._call(read)
        self._pages += 1
        return [archived(record) for record in reversed(records)]

    async def receipts(self, room: str) -> dict[str, Receipt]:
        """Return the room's newest read marks; see `Archive.receipts`."""

        async def read(connection: Connection) -> list[asyncpg.Record]:
            return await connection.fetch(RECEIPTS, room, OUTLIVING_RECEIPTS)

        records = await self._call(read)
        return {record["user_id"]: Receipt(record["message_id"], record["at"]) for record in records}

    async def top(self, session: Session) -> int:
        """Return the highest seq it was told of the session; see `Archive.top`."""

        async def read(connection: Connection) -> int | None:
            found: int | None = await connection.fetchval(
                "select top from sessions where epoch = $1", session.epoch
            )
            return found

        return await self._call(read) or 0

    async def latest(self) -> str:
        """Return the highest epoch there is; see `Archive.latest`. Asks the server once."""

        async def read(connection: Connection) -> str:
            found = await connection.fetchval("select epoch from sessions order by epoch desc limit 1")
            return "" if found is None else str(found)

        if self._found is None:
            self._found = await self._call(read)
        else:
            await trio.lowlevel.checkpoint()
        return max(self._found, self._told)

    async def probe(self) -> None:
        """Make one round trip. Raises `Unavailable` or `Misconfigured`."""

        async def ask(connection: Connection) -> None:
            await connection.execute("select 1")

        await self._call(ask)

    async def _call(self, work: Callable[[Connection], Coroutine[Any, Any, _T]]) -> _T:
        """Run one unit of work within the timeout, and translate its errors."""
        begun = trio.current_time()
        try:
            with trio.fail_after(self._timeout):
                result = await self._bridge.run(self._unit, work)
        except (*DRIVER_ERRORS, trio.TooSlowError, trio.ClosedResourceError, TrioChatError) as error:
            self._failures += 1
            ours = error if isinstance(error, TrioChatError) else translated(error, self._timeout)
            self._healthy = isinstance(ours, Refused)
            self._migrated = self._migrated and self._healthy  # it may come back as another one
            raise ours from (None if isinstance(ours, Refused) else error)
        self._healthy = True
        self._latency.note(trio.current_time() - begun)
        return result

    async def _unit(self, work: Callable[[Connection], Coroutine[Any, Any, _T]]) -> _T:
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
            if not (error.sqlstate or "").startswith(REFUSED):
                connection.terminate()
            raise
        except BaseException:
            connection.terminate()
            raise
        finally:
            await self._pool.release(connection)  # noqa: ASYNC102 - the driver shields this itself
