"""A Postgres that answers, and takes nothing: rooms notice nothing of it, and everything is archived once it does."""

from __future__ import annotations

import logging
import subprocess
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
import trio

from tests.waiting import try_until
from trio_chat.lobby import open_lobby
from trio_chat.message import new_epoch
from trio_chat.settings import Settings
from trio_chat.stores.base import Batch, Session
from trio_chat.stores.embedded import EmbeddedPostgres
from trio_chat.stores.postgres import open_postgres_archive
from trio_chat.stores.redis import open_redis

if TYPE_CHECKING:
    from collections.abc import Callable

    Psql = Callable[[str, str], str]

# Errors a server may answer with: https://www.postgresql.org/docs/current/errcodes-appendix.html
CODES = [
    "53100",
    "53200",
    "40001",
    "40P01",
    "55P03",
    "57014",
    "57P01",
    "XX001",
    "25006",
    "P0001",
    "0A000",
    "42501",
]

_REFUSING = """
create function refuse() returns trigger language plpgsql as
$$ begin raise exception 'no' using errcode = '{code}'; end $$;
create trigger refuse before insert or update on messages for each row execute function refuse()
"""
_CUT = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
_ALTER = "do $$ begin execute 'alter database ' || current_database() || ' {how}'; end $$; "
_READ_ONLY = _ALTER.format(how="set default_transaction_read_only = on") + _CUT
_WRITABLE = (
    "set transaction_read_only = off; " + _ALTER.format(how="reset default_transaction_read_only") + _CUT
)
TROUBLES = {
    **{f"error {code}": (_REFUSING.format(code=code), "drop trigger refuse on messages") for code in CODES},
    "tables are gone": (
        "alter table messages rename to m; alter table sessions rename to s; alter table receipts rename to r",
        "alter table m rename to messages; alter table s rename to sessions; alter table r rename to receipts",
    ),
    "a column of another type": (
        "alter table messages alter metadata type text using 'this is no JSON'",
        "alter table messages alter metadata type jsonb using '{}'",
    ),
    "read marks of another type": (
        "alter table receipts alter at type text using 'noon'",
        "alter table receipts alter at type timestamptz using now()",
    ),
    "read only": (_READ_ONLY, _WRITABLE),
}


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_trouble_that_passes(
    valkey_server: str,
    postgres_server: str,
    prefix: str,
    psql: Psql,
    trouble: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A room that is open and one that opens meanwhile: no crash, nothing but acks that say `redis`, and all is kept."""
    begin, end = TROUBLES[trouble]
    settings = Settings()
    async with (
        open_redis(valkey_server, prefix=prefix) as hot,
        open_postgres_archive(postgres_server, timeout=1) as archive,
        open_lobby(hot=hot, archive=archive, settings=settings) as lobby,
    ):
        async with lobby.join("one", user="ann") as ann:
            await ann.post("before")
            assert await lobby.syncer.sync_all()
            psql(postgres_server, begin)
            assert (await ann.post("in it")).durability == "redis"
            async with lobby.join("two", user="bob") as bob:
                assert (await bob.post("in it, too")).durability == "redis"
            await lobby.syncer.sync_all()
            psql(postgres_server, end)
            assert (await ann.post("after")).durability == "redis"
            await try_until(lobby.syncer.sync_all)
            statistics = lobby.statistics()

    assert statistics.crashes == 0
    found = psql(postgres_server, "select room, content from messages order by room, epoch, seq")
    assert found.splitlines() == ["one|before", "one|in it", "one|after", "two|in it, too"]
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert not said


LOCKS = {
    "the whole table": "lock table messages in access exclusive mode",
    "a session's row": "select * from sessions for update",
    "a message's row": "select * from messages for update",
}


def hold(server: EmbeddedPostgres, url: str, statement: str) -> subprocess.Popen[str]:
    """Run a statement in a transaction that stays open until the process is told that there is no more."""
    command = [server.program("psql"), "-qXAt", "-d", url]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdin is not None
    assert holder.stdout is not None
    holder.stdin.write(f"begin; {statement} \\g /dev/null\n\\echo held\n")
    holder.stdin.flush()
    assert holder.stdout.readline() == "held\n"
    return holder


@pytest.mark.parametrize("lock", LOCKS)
async def test_lock_that_is_held(
    valkey_server: str,
    postgres_server: str,
    postgres_process: EmbeddedPostgres,
    prefix: str,
    psql: Psql,
    lock: str,
) -> None:
    """Somebody's transaction is open for longer than a call may take. Takes about as long as that.

    Nothing is archived meanwhile, and everything afterwards.
    """
    async with (
        open_redis(valkey_server, prefix=prefix) as hot,
        open_postgres_archive(postgres_server, timeout=0.3) as archive,
        open_lobby(hot=hot, archive=archive, settings=Settings()) as lobby,
    ):
        async with lobby.join("one", user="ann") as ann:
            await ann.post("before", key="k")
            assert await lobby.syncer.sync_all()
            holder = await trio.to_thread.run_sync(hold, postgres_process, postgres_server, LOCKS[lock])
            await ann.edit("k", "changed")
            assert (await ann.post("in it")).durability == "redis"
            async with lobby.join("two", user="bob") as bob:
                assert (await bob.post("in it, too")).durability == "redis"
            assert not await lobby.syncer.sync_all()
            await trio.to_thread.run_sync(holder.communicate)
            await try_until(lobby.syncer.sync_all)
            assert lobby.statistics().crashes == 0

    found = psql(postgres_server, "select room, content from messages order by room, epoch, seq")
    assert found.splitlines() == ["one|changed", "one|in it", "two|in it, too"]


async def test_latest_epoch_of_those_before(postgres_server: str) -> None:
    """Somebody who comes later finds it, and asks the server once."""
    async with open_postgres_archive(postgres_server) as archive:
        await archive.write([Batch(Session("r", new_epoch(datetime.now(UTC))), 1, ())])
        epoch = await archive.latest()
    async with open_postgres_archive(postgres_server) as archive:
        assert await archive.latest() == epoch
        asked = archive.statistics().latency
        assert await archive.latest() == epoch
        assert archive.statistics().latency == asked
