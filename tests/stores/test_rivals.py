"""Two servers on one prefix are noticed; one that was killed and started again is not taken for two."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock

from tests.waiting import wait_for
from trio_chat.app import open_app
from trio_chat.clients import recovery
from trio_chat.settings import Settings
from trio_chat.stores import rivals
from trio_chat.stores.memory import MemoryHotStore
from trio_chat.stores.rivals import Rivals, is_served

if TYPE_CHECKING:
    from pathlib import Path

LONG = 60.0


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def said_of_others(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [line for line in warnings_of(caplog) if "another server" in line]


async def be_a_server(hot: MemoryHotStore, seconds: float = LONG) -> None:
    with trio.move_on_after(seconds):
        await Rivals(hot, "tc").run()


async def be_killed(hot: MemoryHotStore, seconds: float) -> None:
    """Be a server that does not take its note away."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Rivals(hot, "tc").run)
        await trio.sleep(seconds)
        hot.set_healthy(False)
        nursery.cancel_scope.cancel()
    hot.set_healthy(True)


async def test_each_of_two_servers_says_so_within_a_minute(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """One line each: what was seen, what is expected, what to do."""
    hot = MemoryHotStore()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(be_a_server, hot)
        nursery.start_soon(be_a_server, hot)

    found = warnings_of(caplog)
    assert len(found) == 2
    for line in found:
        assert "another server uses this Redis with REDIS_PREFIX=tc: process " in line
        assert "Expected one server" in line
        assert "Stop one of them" in line


async def test_the_second_one_says_so_soon_after_its_start(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The first is well known by then."""
    hot = MemoryHotStore()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(be_a_server, hot)
        await trio.sleep(30)
        assert not warnings_of(caplog)
        await be_a_server(hot, 20)
        nursery.cancel_scope.cancel()

    assert warnings_of(caplog)


async def test_it_is_said_again_now_and_then(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """An hour of two servers is a dozen lines of each."""
    hot = MemoryHotStore()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(be_a_server, hot, 3600)
        nursery.start_soon(be_a_server, hot, 3600)

    assert 2 * 10 <= len(warnings_of(caplog)) <= 2 * 12


async def test_three_servers_are_noticed_as_two_are(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever of the others wrote last."""
    hot = MemoryHotStore()
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(be_a_server, hot, 2 * LONG)

    assert len(warnings_of(caplog)) == 3


async def test_a_server_that_was_killed_and_started_again_is_alone(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Its note is still there, and again after the next kill; but nobody renews it."""
    hot = MemoryHotStore()
    for seconds in (17, 3, 1, 6, LONG):
        await be_killed(hot, seconds)

    assert not warnings_of(caplog)


async def test_a_server_that_ends_in_order_leaves_no_note(autojump_clock: MockClock) -> None:
    """Nor does it take away that of another one."""
    hot = MemoryHotStore()
    await be_a_server(hot, 20)
    assert await hot.kept(rivals._NAME) is None

    async with trio.open_nursery() as nursery:
        nursery.start_soon(be_a_server, hot, 18)
        await trio.sleep(1)
        await hot.keep({rivals._NAME: (b"somebody else's", 100)})
        await trio.sleep(0.5)
        nursery.cancel_scope.cancel()

    assert await hot.kept(rivals._NAME) == b"somebody else's"


def test_no_client_can_ask_for_the_note() -> None:
    """Those of clients have shorter names."""
    assert recovery._PID.fullmatch(rivals._NAME) is None
    assert recovery._PID.fullmatch(rivals._NAME[:64]) is not None


@pytest.mark.parametrize(
    "note", [b"", b"\xff", b"[]", b"{}", b'{"name":"0123456789abcdef","host":"a\\nb","pid":1,"beat":1}']
)
async def test_what_is_no_note_of_a_server_is_nobody(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, note: bytes
) -> None:
    """And a host's name cannot begin a line of the log."""
    hot = MemoryHotStore()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(be_a_server, hot)
        for number in range(5):
            await trio.sleep(3)
            await hot.keep({rivals._NAME: (note.replace(b'"beat":1', b'"beat":%d' % number), 100)})

    assert not warnings_of(caplog)


async def test_a_store_that_is_away_is_asked_later(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Meanwhile there is nothing to say, and afterwards there is."""
    hot = MemoryHotStore()
    hot.set_healthy(False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(be_a_server, hot)
        nursery.start_soon(be_a_server, hot)
        await trio.sleep(LONG / 2)
        assert not warnings_of(caplog)
        hot.set_healthy(True)

    assert len(warnings_of(caplog)) == 2


async def test_two_whole_servers_over_one_redis_notice_each_other(
    tmp_path: Path,
    valkey_server: str,
    postgres_server: str,
    prefix: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They run as always. Takes as long as two servers need to start and to end."""
    monkeypatch.setattr(rivals, "_BEAT_SECONDS", 0.05)
    one = Settings(
        port=0,
        data_dir=tmp_path / "one",
        redis_url=valkey_server,
        redis_prefix=prefix,
        database_url=postgres_server,
        auth_mode="insecure",
    )
    async with open_app(one), open_app(replace(one, data_dir=tmp_path / "two")):
        await wait_for(lambda: len(said_of_others(caplog)) == 2, seconds=10)

    lines = said_of_others(caplog)
    assert all(f"REDIS_PREFIX={prefix}:" in line for line in lines)


async def test_whether_there_is_a_server(autojump_clock: MockClock) -> None:
    """From its start to its end; one that was killed is taken for a server for half a minute."""
    hot = MemoryHotStore()
    assert not await is_served(hot)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(be_a_server, hot, 100)
        for _ in range(9):
            await trio.sleep(10)
            assert await is_served(hot)
    assert not await is_served(hot)

    await be_killed(hot, 100)
    assert await is_served(hot)
    await trio.sleep(31)
    assert not await is_served(hot)
