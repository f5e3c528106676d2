"""Whether the server says that it can do its work."""

from __future__ import annotations

import logging

import msgspec
import pytest
import trio
from trio.testing import MockClock

from trio_chat import MemoryArchive, MemoryHotStore, Settings
from trio_chat.errors import Misconfigured
from trio_chat.live_rooms import NoRooms
from trio_chat.syncer import Syncer
from trio_chat.testing.faults import Faults
from trio_chat.web.health import Readiness


class Scene:
    """A server's stores, that can fail, and what is said of them."""

    def __init__(self) -> None:
        self.hot, self.archive = MemoryHotStore(), MemoryArchive()
        self.redis, self.postgres = Faults(self.hot, timeout=10), Faults(self.archive, timeout=10)
        self.syncer = Syncer(self.hot, self.archive, Settings(), NoRooms())
        self.readiness = Readiness(self.hot, self.archive, self.syncer, 900.0)

    async def problems(self) -> set[str]:
        """Return the checks that are not well, with their words."""
        report = await self.readiness.report()
        assert report.ready is all(one.ok for one in report.checks.values())
        return {f"{name}: {one.detail}" for name, one in report.checks.items() if not one.ok}


async def test_a_server_is_ready_when_all_is_well(autojump_clock: MockClock) -> None:
    """A canary has come back, the archive has answered, and has everything."""
    scene = Scene()
    report = await scene.readiness.report()

    assert report.ready
    assert list(report.checks) == ["postgres", "redis", "sync"]
    assert (scene.redis.calls["keep"], scene.redis.calls["kept"]) == (1, 1)


async def test_whoever_asks_soon_gets_the_same_answer(autojump_clock: MockClock) -> None:
    """Nobody can make the stores work by asking."""
    scene = Scene()
    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(scene.readiness.report)
    await trio.sleep(2.9)
    await scene.readiness.report()
    asked = scene.redis.calls["keep"], scene.postgres.calls["probe"]
    await trio.sleep(0.2)
    await scene.readiness.report()

    assert asked == (1, 1)
    assert scene.redis.calls["keep"] == 2


async def test_a_redis_that_is_away_is_told(autojump_clock: MockClock) -> None:
    """And that it is back, a moment later."""
    scene = Scene()
    scene.redis.down()
    away = await scene.problems()
    scene.redis.up()
    await trio.sleep(3)

    assert away == {"redis: away"}
    assert await scene.problems() == set()


async def test_the_log_says_when_it_changes(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Once each time, however often somebody asks."""
    scene = Scene()
    with caplog.at_level(logging.INFO, "trio_chat.web.health"):
        for change in (
            scene.redis.up,
            scene.postgres.pause,
            scene.redis.up,
            scene.postgres.up,
            scene.redis.up,
        ):
            change()
            await scene.readiness.report()
            await trio.sleep(3)

    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "not ready: postgres: no answer within 2 s"),
        ("INFO", "ready again"),
    ]


async def test_nobody_waits_long(autojump_clock: MockClock) -> None:
    """A store that does not answer is given two seconds, both at once."""
    scene = Scene()
    scene.redis.pause()
    scene.postgres.pause()
    began = trio.current_time()
    found = await scene.problems()

    assert found == {"redis: no answer within 2 s", "postgres: no answer within 2 s"}
    assert trio.current_time() - began == pytest.approx(2)


async def test_what_a_store_says_is_not_repeated(autojump_clock: MockClock) -> None:
    """It may name hosts and accounts."""
    scene = Scene()
    scene.postgres.fail("probe", error=lambda: Misconfigured("role ada on db.internal"))
    report = await scene.readiness.report()

    assert not report.checks["postgres"].ok
    assert b"ada" not in msgspec.json.encode(report)


async def test_a_canary_that_comes_back_as_another_is_none(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Redis that takes writes and forgets them is of no use."""
    scene = Scene()

    async def forget(_: str) -> None:
        await trio.lowlevel.checkpoint()

    # No fault of a store's does this.
    monkeypatch.setattr(scene.hot, "kept", forget)

    assert {text.partition(":")[0] for text in await scene.problems()} == {"redis"}


async def test_an_archive_that_lags_is_told(autojump_clock: MockClock) -> None:
    """Though it answers; a complete round ends that."""
    scene = Scene()
    await trio.sleep(901)
    behind = await scene.problems()
    await scene.syncer.sync_all()
    await trio.sleep(3)

    assert behind == {"sync: the archive is more than 900 s behind"}
    assert await scene.problems() == set()


async def test_a_round_that_fails_does_not_end_the_lag(autojump_clock: MockClock) -> None:
    """Nor does one that could not see what Redis has."""
    scene = Scene()
    await trio.sleep(901)
    scene.redis.down()
    await scene.syncer.sync_all()
    blind = scene.syncer.statistics()
    scene.redis.up()
    scene.redis.fail("dirty")
    await scene.syncer.sync_all()
    failed = scene.syncer.statistics()

    assert blind.lag > 900
    assert (failed.lag > 900, failed.failed, failed.behind) == (True, 1, 1)


async def test_who_stops_asking_leaves_the_question_to_others(autojump_clock: MockClock) -> None:
    """Cancelling one request does not spoil the next."""
    scene = Scene()
    scene.redis.delay(0.6)
    with trio.move_on_after(0.5) as first:
        await scene.readiness.report()

    assert first.cancelled_caught
    assert await scene.problems() == set()
