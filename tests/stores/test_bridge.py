"""The doorway to asyncio: what crosses it, and what must not."""

from __future__ import annotations

import asyncio  # noqa: TID251 - units are asyncio functions
import os
import signal
import time
from typing import TYPE_CHECKING

import asyncpg
import pytest
import trio
import trio.testing

from trio_chat.stores.bridge import Bridge, open_bridge

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from trio_chat.stores.embedded import EmbeddedPostgres


@pytest.fixture
async def bridge() -> AsyncIterator[Bridge]:
    async with open_bridge() as bridge:
        yield bridge


async def test_result_crosses(bridge: Bridge) -> None:
    """A unit's arguments go in and its result comes out."""

    async def add(one: int, two: int) -> int:
        await asyncio.sleep(0)
        return one + two

    assert await bridge.run(add, 1, 2) == 3


async def test_error_crosses(bridge: Bridge) -> None:
    """What a unit raises comes out as it is."""

    async def fail() -> None:
        await asyncio.sleep(0)
        raise KeyError("this one")

    with pytest.raises(KeyError, match="this one"):
        await bridge.run(fail)


async def test_error_of_the_block_comes_out_as_it_is() -> None:
    """An exception in the context is not wrapped in a group."""
    with pytest.raises(KeyError):
        async with open_bridge():
            raise KeyError


async def test_any_task_may_use_it() -> None:
    """A task that was started outside the context crosses as well."""
    send, receive = trio.open_memory_channel[Bridge](0)
    results: list[str] = []

    async def elsewhere() -> None:
        bridge = await receive.receive()
        results.append(await bridge.run(asyncio.sleep, 0, "done"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(elsewhere)
        async with open_bridge() as bridge:
            await send.send(bridge)
            await trio.testing.wait_all_tasks_blocked(0.01)

    assert results == ["done"]


async def test_cancel_is_seen_and_waited_for(bridge: Bridge) -> None:
    """A cancelled unit sees `CancelledError`, and has unwound when `run` returns."""
    seen: list[str] = []

    async def unit() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.append("cancelled")
            await asyncio.sleep(0)  # noqa: ASYNC102 - asyncio's world
            seen.append("unwound")
            raise

    with trio.move_on_after(0.02) as scope:
        await bridge.run(unit)

    assert scope.cancelled_caught
    assert seen == ["cancelled", "unwound"]
    assert repr(bridge) == "<Bridge running=0 units=1>"


async def test_unit_that_still_runs_ends_with_the_bridge() -> None:
    """Whoever waits for a unit when the context ends gets an error that can be contained, as do later callers."""
    seen: list[str] = []

    async def wait(bridge: Bridge) -> None:
        with pytest.raises(trio.ClosedResourceError):
            await bridge.run(asyncio.sleep, 60)
        seen.append("closed")

    with trio.fail_after(2):
        async with trio.open_nursery() as nursery:
            async with open_bridge() as bridge:
                nursery.start_soon(wait, bridge)  # noqa: ASYNC111 - the point of this test
                await trio.testing.wait_all_tasks_blocked(0.01)
            await wait(bridge)

    assert seen == ["closed", "closed"]


async def test_reported_error_is_logged_and_nothing_else(
    bridge: Bridge, caplog: pytest.LogCaptureFixture
) -> None:
    """What a library hands to its loop's exception handler does not end the run."""

    async def report() -> None:
        loop = asyncio.get_running_loop()
        loop.call_exception_handler({"message": "a library complains", "exception": ValueError("of this")})
        loop.call_soon(_fail_in_callback)
        await asyncio.sleep(0.01)

    await bridge.run(report)
    await trio.testing.wait_all_tasks_blocked(0.01)

    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    assert "a library complains" in caplog.text
    assert "ValueError at test_bridge.py:" in caplog.text
    assert await bridge.run(asyncio.sleep, 0, "still well") == "still well"


def _fail_in_callback() -> None:
    raise ValueError("in a callback")


# -- with the driver it is there for ----------------------------------------------------------------------------


async def _asleep_in(pool: asyncpg.Pool[asyncpg.Record]) -> None:
    """Sleep on the server, as a unit of work that keeps the rules: whole, and unwinding by `terminate`."""
    connection = await pool.acquire()
    try:
        await connection.execute("select pg_sleep(60)")
    except BaseException:
        connection.terminate()
        raise
    finally:
        await pool.release(connection)  # noqa: ASYNC102 - asyncio's world


async def _open_pool(url: str) -> asyncpg.Pool[asyncpg.Record]:
    return await asyncpg.create_pool(url, min_size=0, max_size=1)


async def test_cancelled_unit_leaks_no_connection(bridge: Bridge, postgres_server: str) -> None:
    """However often a unit is cancelled in mid-flight, the only connection of the pool is there for the next."""
    pool = await bridge.run(_open_pool, postgres_server)
    for wait in (0.0, 0.001, 0.003, 0.01, 0.05):
        with trio.move_on_after(wait):
            await bridge.run(_asleep_in, pool)
    with trio.fail_after(5):
        answer = await bridge.run(pool.fetchval, "select 'here'")
        await bridge.run(pool.close)

    assert answer == "here"


async def test_frozen_backend_holds_neither_deadline_nor_end(
    own_postgres: EmbeddedPostgres, psql: Callable[[str, str], str]
) -> None:
    """A unit on a frozen backend ends with its deadline, and the bridge with its context: in less than three seconds."""
    pids: list[int] = []
    began = 0.0
    try:
        async with open_bridge() as bridge:
            pool = await bridge.run(_open_pool, own_postgres.url)
            pids.append(await bridge.run(pool.fetchval, "select pg_backend_pid()"))
            os.kill(pids[0], signal.SIGSTOP)
            began = time.monotonic()
            with trio.move_on_after(0.2) as scope:
                await bridge.run(_asleep_in, pool)
            pool.terminate()
        took = time.monotonic() - began
    finally:
        os.kill(pids[0], signal.SIGCONT)

    assert scope.cancelled_caught
    assert took < 3
