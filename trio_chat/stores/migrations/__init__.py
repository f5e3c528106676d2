"""Numbered, forward-only migrations of the archive's schema: `0001_what_it_does.sql` and so on.

A migration that was published is never changed. Each runs once, in the transaction that records it.
"""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

import asyncpg

from trio_chat.errors import Misconfigured

if TYPE_CHECKING:
    from typing import TypeAlias

    Connection: TypeAlias = asyncpg.pool.PoolConnectionProxy[asyncpg.Record]

_LOCK = 0x7472696F63686174  # "triochat": the advisory lock that lets one process migrate at a time

_RECORD = """
create table if not exists trio_chat_migrations (
    number integer primary key,
    name text not null,
    applied_at timestamptz not null default now()
)
"""


def known() -> dict[int, tuple[str, str]]:
    """Return the migrations of this version: name and text by number, in order."""
    files = [file for file in resources.files(__name__).iterdir() if file.name.endswith(".sql")]
    return {
        int(file.name[:4]): (file.name, file.read_text())
        for file in sorted(files, key=lambda file: file.name)
    }


async def migrate(connection: Connection) -> None:
    """Bring the schema up to date, in asyncio's world. Any number of processes may do so at once.

    Where there is nothing to do, nothing is written: a role that may not change the schema will do then.

    Raises:
        Misconfigured: the schema is of a newer version than this one, or has tables of somebody else's.
        asyncpg.PostgresError: a migration failed; nothing is changed, and the transaction is over.
    """
    migrations = known()
    if await _version(connection) == max(migrations):
        return
    try:
        await connection.execute(f"begin; select pg_advisory_xact_lock({_LOCK}); {_RECORD}")
        version = await _version(connection)  # anew: somebody else may have been faster
        for number, (name, text) in migrations.items():
            if number > version:
                await connection.execute(text)
                await connection.execute("insert into trio_chat_migrations values ($1, $2)", number, name)
        await connection.execute("commit")
    except asyncpg.DuplicateTableError as error:
        await connection.execute("rollback")  # noqa: ASYNC120 - a cancel here ends the connection
        raise Misconfigured(
            f"the archive's database has tables that trio-chat has not made: {error}; give it a database of its own"
        ) from error
    except asyncpg.PostgresError:
        await connection.execute("rollback")  # noqa: ASYNC120 - a cancel here ends the connection
        raise


async def _version(connection: Connection) -> int:
    """Return the number of the last migration applied, 0 if there was none."""
    if await connection.fetchval("select to_regclass('trio_chat_migrations')") is None:
        return 0
    version = int(await connection.fetchval("select coalesce(max(number), 0) from trio_chat_migrations"))
    if version > max(known()):
        raise Misconfigured(
            f"the archive's schema is at version {version}, made by a newer trio-chat; this one knows {max(known())}: "
            "upgrade this one, or give it a database of its own"
        )
    return version
