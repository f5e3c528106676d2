"""The archive on Postgres keeps the contract, and keeps its word when Postgres does not.

Real servers and a real clock: some of these take half a second, because starting or freezing a server does.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing

from trio_chat.errors import Misconfigured, Unavailable
from trio_chat.message import Position, Posted, Receipt, epoch_started
from trio_chat.stores.base import Refused
from trio_chat.stores.embedded import EmbeddedPostgres
from trio_chat.stores.postgres import PostgresArchive, open_postgres_archive
from trio_chat.stores.postgres_reading import PAGE
from trio_chat.stores.postgres_writing import newest_states

from .archive_contract import NOON, ArchiveContract, batch, contents, deleted, edited, posted, read, session

Psql = Callable[[str, str], str]

BACKENDS = (
    "select pid from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()"
)


@pytest.fixture
async def archive(postgres_server: str) -> AsyncIterator[PostgresArchive]:
    async with open_postgres_archive(postgres_server) as archive:
        yield archive


@contextmanager
def frozen(pids: str) -> Iterator[None]:
    """Freeze processes for as long as the block."""
    numbers = [int(pid) for pid in pids.split()]
    assert numbers
    for number in numbers:
        os.kill(number, signal.SIGSTOP)
    try:
        yield
    finally:
        for number in numbers:
            os.kill(number, signal.SIGCONT)


@contextmanager
def locked_messages(url: str) -> Iterator[None]:
    """Hold a lock on the table for as long as the block, in a session of its own."""
    command = [EmbeddedPostgres(Path()).program("psql"), "-qXAt", "-d", url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as session:
        assert session.stdin is not None
        assert session.stdout is not None
        session.stdin.write("begin; lock table messages; select 'held';\n")
        session.stdin.flush()
        assert session.stdout.readline() == "held\n"
        yield
        session.stdin.close()


class TestPostgresArchive(ArchiveContract):
    """The contract, on Postgres."""


# -- what a row says --------------------------------------------------------------------------------------------


async def test_edit_and_delete_leave_their_times(
    archive: PostgresArchive, postgres_server: str, psql: Psql
) -> None:
    """`created_at` never changes, `edited_at` outlives the deletion, and a deleted row has no content."""
    where = session()
    for event in (posted(1), edited(1, 2), deleted(1, 3)):
        await archive.write([batch(where, event)])
    row = psql(
        postgres_server,
        "set timezone = 'UTC'; select created_at, edited_at, deleted_at, rev, content from messages",
    )

    assert (
        row == "2026-03-01 12:00:01.123456+00|2026-03-01 13:00:02.123456+00|2026-03-01 14:00:03.123456+00|3|"
    )


async def test_edit_and_delete_in_one_batch_leave_their_times(
    archive: PostgresArchive, postgres_server: str, psql: Psql
) -> None:
    """The same holds if only the last state of a message is ever written."""
    await archive.write([batch(session(), posted(1), edited(1, 2), deleted(1, 3))])
    row = psql(postgres_server, "select edited_at - created_at, deleted_at - created_at, rev from messages")

    assert row == "01:00:01|02:00:02|3"


async def test_session_keeps_its_highest_top_and_its_first_end(
    archive: PostgresArchive, postgres_server: str, psql: Psql
) -> None:
    """Whatever order batches arrive in, `top` only rises and `ended_at` stays as it was first set."""
    where = session()
    for top, ended in ((5, None), (9, NOON), (7, None), (9, epoch_started(session(hour=5).epoch))):
        await archive.write([batch(where, top=top, ended=ended)])
    row = psql(
        postgres_server, "set timezone = 'UTC'; select epoch, room, started_at, top, ended_at from sessions"
    )

    assert row == f"{where.epoch}|team-42/general|2026-03-01 12:00:00.123+00|9|2026-03-01 12:00:00.123456+00"


async def test_states_are_sorted_and_the_newest() -> None:
    """One state a message goes to Postgres, by the order of the keys, so that writers cannot wait in a circle."""
    early, late = session(), session(hour=1)
    states = await newest_states(
        [batch(late, posted(2), posted(1)), batch(early, edited(1, 3), posted(1), deleted(1, 4))]
    )

    assert [(where, event.message.seq, event.seq) for where, event, _ in states] == [
        (early, 1, 4),
        (late, 1, 1),
        (late, 2, 2),
    ]
    assert states[0][2] == edited(1, 3).at


async def test_page_of_a_large_room_is_read_from_the_index(
    archive: PostgresArchive, postgres_server: str, psql: Psql
) -> None:
    """The planner walks `messages_by_room` backwards and sorts nothing."""
    rooms = [batch(session(f"r{room}"), *(posted(seq) for seq in range(1, 1001))) for room in range(20)]
    await archive.write(rooms)
    newest = "ffffffff-ffff-ffff-ffff-ffffffffffff"
    plan = psql(
        postgres_server, f"analyze; prepare page as {PAGE}; explain execute page('r1', '{newest}', 0, 50)"
    )

    assert "Index Scan Backward using messages_by_room" in plan
    assert "Sort" not in plan


# -- what Postgres refuses --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"content": "secret \x00"},
        {"metadata": {"secret": "\x00"}},
        {"content": "secret \ud800"},
        {"metadata": {"secret \ud800": 1}},
        {"id": "secret \x00"},
        {"seq": 2**63},
    ],
    ids=["NUL", "NUL in metadata", "surrogate", "surrogate in metadata", "NUL in id", "seq beyond 64 bits"],
)
async def test_row_that_cannot_be_stored_is_refused(
    archive: PostgresArchive, changes: dict[str, object]
) -> None:
    """Nothing of that write is stored, the archive stays well, and the error does not quote the message."""
    where = session()
    bad = Posted(msgspec.structs.replace(posted(2).message, **changes))
    with pytest.raises(Refused) as caught:
        await archive.write([batch(where, posted(1), top=2), batch(session("other"), bad, top=2)])

    assert archive.healthy
    assert "secret" not in f"{caught.value!r} {caught.value.__cause__!r}"
    assert await archive.page(where.room, None, 10) == []
    assert await archive.write([batch(where, posted(1))]) == 1


@pytest.mark.parametrize(
    "receipts",
    [{"secret \x00": read()}, {"ada": read("secret \x00")}, {"ada": read("secret \ud800")}],
    ids=["NUL in user", "NUL in id", "surrogate"],
)
async def test_read_mark_that_cannot_be_stored_is_refused(
    archive: PostgresArchive, receipts: dict[str, Receipt]
) -> None:
    """Nothing of that write is stored, the archive stays well, and the error does not quote it."""
    with pytest.raises(Refused) as caught:
        await archive.write([batch(session(), posted(1), receipts={"bob": read()} | receipts)])

    assert archive.healthy
    assert "secret" not in f"{caught.value!r} {caught.value.__cause__!r}"
    assert await archive.receipts(session().room) == {}
    assert await archive.page(session().room, None, 10) == []


async def test_writers_of_read_marks_do_not_wait_in_a_circle(archive: PostgresArchive) -> None:
    """Rows go in by the order of their keys, whatever order the batches have."""
    rooms = [batch(session(f"r{room}"), top=1, receipts={"ada": read(), "bob": read()}) for room in range(20)]
    later = [
        msgspec.structs.replace(one, receipts={"bob": read("m2", 1), "ada": read("m2", 1)})
        for one in reversed(rooms)
    ]
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            for batches in (rooms, later, rooms[10:] + later):
                nursery.start_soon(archive.write, batches)

    assert await archive.receipts("r0") == {"ada": read("m2", 1), "bob": read("m2", 1)}


async def test_refused_rows_leave_no_connection_behind(postgres_server: str) -> None:
    """With one connection in the pool, any number of refusals leaves it usable."""
    async with open_postgres_archive(postgres_server, connections=1) as archive:
        for content in ("\x00", "\ud800") * 5:
            with pytest.raises(Refused):
                await archive.write([batch(session(), posted(1, content))])

        assert await archive.write([batch(session(), posted(1))]) == 1


async def test_server_log_quotes_nobody(own_postgres: EmbeddedPostgres) -> None:
    """The embedded server's log has neither the text of a refused row nor the statement."""
    async with open_postgres_archive(own_postgres.url) as archive:
        with pytest.raises(Refused):
            await archive.write([batch(session(), posted(1, metadata={"secret": "\x00"}))])

    log = own_postgres.log.read_text()
    assert "ERROR" in log
    assert "secret" not in log


# -- the schema -------------------------------------------------------------------------------------------------


async def test_several_may_migrate_at_once(postgres_server: str, psql: Psql) -> None:
    """Processes that start together on an empty database end with one schema."""

    async def use(number: int) -> None:
        async with open_postgres_archive(postgres_server) as archive:
            await archive.write([batch(session(f"room-{number}"), posted(1))])

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(use, number)

    applied = psql(postgres_server, "select number, name from trio_chat_migrations order by number")
    assert applied == "1|0001_sessions_and_messages.sql\n2|0002_receipts.sql"


async def test_older_schema_is_brought_up_to_date(
    archive: PostgresArchive, postgres_server: str, psql: Psql
) -> None:
    """A database of the version before gets what is new, and keeps what it has."""
    await archive.write([batch(session(), posted(1))])
    psql(postgres_server, "drop table receipts; delete from trio_chat_migrations where number > 1")
    async with open_postgres_archive(postgres_server) as newer:
        await newer.write([batch(session(), top=1, receipts={"ada": read()})])

        assert await newer.receipts(session().room) == {"ada": read()}
        assert len(await newer.page(session().room, None, 10)) == 1


async def test_newer_schema_is_refused(archive: PostgresArchive, postgres_server: str, psql: Psql) -> None:
    """A database that a newer version migrated is left alone, with an error that says so."""
    await archive.probe()
    psql(postgres_server, "insert into trio_chat_migrations values (9999, '9999_from_the_future.sql')")

    with pytest.raises(Misconfigured, match="version 9999"):
        async with open_postgres_archive(postgres_server):
            pass


async def test_failed_migration_leaves_nothing(postgres_server: str, psql: Psql) -> None:
    """If a table of somebody else's is in the way, we say so and change nothing."""
    psql(postgres_server, "create table messages (theirs text)")

    with pytest.raises(Misconfigured, match=r"messages.*a database of its own"):
        async with open_postgres_archive(postgres_server):
            pass
    assert psql(postgres_server, r"select count(*) from pg_tables where schemaname = 'public'") == "1"


async def test_role_that_may_not_migrate_can_use_a_migrated_schema(
    archive: PostgresArchive, postgres_server: str, psql: Psql
) -> None:
    """The right to read and write is enough once somebody else made the schema."""
    await archive.probe()
    psql(
        postgres_server,
        "create role clerk login; grant select, insert, update on all tables in schema public to clerk",
    )
    try:
        async with open_postgres_archive(postgres_server.replace("postgres@", "clerk@")) as theirs:
            assert await theirs.write([batch(session(), posted(1), receipts={"ada": read()})]) == 1
    finally:
        psql(postgres_server, "drop owned by clerk; drop role clerk")


# -- when it is away --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (("/test_", "/no_such_test_"), "3D000"),
        (("postgres@", "nobody@"), "28000"),
        (("postgresql:", "gopher:"), "invalid DSN"),
    ],
    ids=["database", "role", "scheme"],
)
async def test_wrong_url_is_said_at_once(postgres_server: str, change: tuple[str, str], word: str) -> None:
    """What waiting will not mend is `Misconfigured`."""
    with pytest.raises(Misconfigured, match=word):
        async with open_postgres_archive(postgres_server.replace(*change)):
            pass


async def test_missing_permission_is_misconfigured(
    archive: PostgresArchive, postgres_server: str, psql: Psql
) -> None:
    """A role that may not read the archive is told so."""
    await archive.probe()
    psql(postgres_server, "create role stranger login")
    try:
        with pytest.raises(Misconfigured, match="permission denied"):
            async with open_postgres_archive(postgres_server.replace("postgres@", "stranger@")):
                pass
    finally:
        psql(postgres_server, "drop role stranger")


async def test_server_that_is_away_is_unavailable(free_port: int) -> None:
    """Nobody listening is a temporary error, at once."""
    with trio.fail_after(2), pytest.raises(Unavailable):
        async with open_postgres_archive(f"postgresql://postgres@127.0.0.1:{free_port}/postgres"):
            pass


async def test_not_required_server_may_come_later(own_postgres: EmbeddedPostgres) -> None:
    """Opened with `require=False`, the archive is unhealthy until Postgres is there, and then makes its schema."""
    own_postgres.stop()
    async with open_postgres_archive(own_postgres.url, require=False) as archive:
        assert not archive.healthy
        with pytest.raises(Unavailable):
            await archive.write([batch(session(), posted(1))])

        own_postgres.start()
        assert await archive.write([batch(session(), posted(1))]) == 1
        assert archive.healthy


async def probe_on(archive: PostgresArchive) -> None:
    """Probe until it fails: what a Postgres has started notices its end a little later."""
    while True:
        await archive.probe()


async def test_restarted_server_is_used_again(own_postgres: EmbeddedPostgres) -> None:
    """After a crash of Postgres calls fail until it is back, and then succeed with what was stored before."""
    where = session()
    async with open_postgres_archive(own_postgres.url, connections=2) as archive:
        await archive.write([batch(where, posted(1, "before"))])
        own_postgres.kill()
        with trio.fail_after(10), pytest.raises(Unavailable):
            await probe_on(archive)
        assert not archive.healthy

        own_postgres.start()
        await archive.write([batch(where, posted(2, "after"))])
        assert contents(await archive.page(where.room, None, 10)) == ["before", "after"]


async def test_killed_backends_never_cost_a_row(postgres_server: str, psql: Psql) -> None:
    """With its backend terminated at twenty moments of a write, repeating gets each row stored exactly once."""
    where = session()
    failures = 0
    async with open_postgres_archive(postgres_server, connections=1) as archive:
        for moment in range(20):
            batches = [batch(where, *(posted(seq) for seq in range(1 + 100 * moment, 101 + 100 * moment)))]
            [pid] = psql(postgres_server, BACKENDS + " and datname = current_database()").split()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_terminate_after, int(pid), moment * 0.0004)
                while True:
                    try:
                        await archive.write(batches)
                        break
                    except Unavailable:
                        failures += 1
            with suppress(Unavailable):
                await archive.probe()  # which meets the signal if it came too late for the write
            await archive.probe()

    assert failures
    assert psql(postgres_server, "select count(*), max(seq) from messages") == "2000|2000"


async def _terminate_after(pid: int, delay: float) -> None:
    await trio.sleep(delay)
    os.kill(pid, signal.SIGTERM)


# -- when it is frozen ------------------------------------------------------------------------------------------


async def test_frozen_backend_costs_one_timeout(own_postgres: EmbeddedPostgres, psql: Psql) -> None:
    """A call on a connection whose backend is frozen fails by the archive's timeout, and the next is served."""
    async with open_postgres_archive(own_postgres.url, timeout=0.5, connections=1) as archive:
        with frozen(psql(own_postgres.url, BACKENDS)):
            began = time.monotonic()
            with pytest.raises(Unavailable, match="no answer"):
                await archive.write([batch(session(), posted(1))])
            assert time.monotonic() - began < 3
            assert not archive.healthy

            assert await archive.write([batch(session(), posted(1))]) == 1
            assert archive.healthy


async def test_frozen_backend_does_not_hold_a_deadline(own_postgres: EmbeddedPostgres, psql: Psql) -> None:
    """The caller's own, shorter deadline is kept, and the connection is not lost to the pool."""
    async with open_postgres_archive(own_postgres.url, timeout=30, connections=1) as archive:
        with frozen(psql(own_postgres.url, BACKENDS)):
            began = time.monotonic()
            with trio.move_on_after(0.2) as scope:
                await archive.page("room", None, 10)

            assert scope.cancelled_caught
            assert time.monotonic() - began < 3
            with trio.fail_after(5):
                assert await archive.page("room", None, 10) == []


async def test_frozen_server_does_not_hold_shutdown(own_postgres: EmbeddedPostgres, psql: Psql) -> None:
    """With every process of the server frozen, in use or idle, leaving takes less than three seconds."""
    async with open_postgres_archive(own_postgres.url, timeout=30) as archive, trio.open_nursery() as nursery:
        await archive.probe()
        everyone = f"{own_postgres.pid} {psql(own_postgres.url, BACKENDS)}"
        with frozen(everyone):
            for _ in range(3):
                nursery.start_soon(archive.probe)
            await trio.testing.wait_all_tasks_blocked(0.1)
            began = time.monotonic()
            nursery.cancel_scope.cancel()
    assert time.monotonic() - began < 3


async def test_server_stops_waiting_when_we_do(
    archive: PostgresArchive, postgres_server: str, psql: Psql
) -> None:
    """A statement that waits for a lock ends on the server, too, once its caller has given up."""
    where = session()
    await archive.write([batch(where, posted(1))])
    with locked_messages(postgres_server):
        async with open_postgres_archive(postgres_server, timeout=0.3) as hasty:
            with pytest.raises(Unavailable):
                await hasty.write([batch(where, edited(1, 2))])

        waiting = BACKENDS + " and datname = current_database() and wait_event_type = 'Lock'"
        with trio.fail_after(5):
            while True:
                await trio.sleep(0.02)
                if not psql(postgres_server, waiting):
                    break


# -- the object -------------------------------------------------------------------------------------------------


async def test_statistics_count(archive: PostgresArchive) -> None:
    """Reads, writes and failures are counted, for operators and tests alike."""
    await archive.write([batch(session(), posted(1), posted(2))])
    await archive.page("room", Position(session().epoch, 1), 1)
    with pytest.raises(Refused):
        await archive.write([batch(session(), posted(1, "\x00"))])
    statistics = archive.statistics()

    assert (statistics.writes, statistics.rows, statistics.pages, statistics.failures) == (1, 2, 1, 1)
    assert repr(archive) == "<PostgresArchive healthy writes=1 rows=2 failures=1>"


async def test_large_write_lets_others_run(archive: PostgresArchive) -> None:
    """While thousands of rows are written, other tasks get their turn again and again."""
    batches = [batch(session(), *(posted(seq, "x" * 200) for seq in range(1, 5001)))]
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count)
        await archive.write(batches)
        nursery.cancel_scope.cancel()

    assert turns >= 20
