"""Waiting for replicas: on a real Valkey with a real replica, and what is refused at start.

Real servers and a real clock: synchronizing, and noticing that a replica is gone, takes a second.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import trio

from tests.waiting import wait_until
from trio_chat.errors import Misconfigured
from trio_chat.stores.base import Session, Unconfirmed
from trio_chat.stores.embedded import EmbeddedValkey
from trio_chat.stores.redis import RedisHotStore, open_redis
from trio_chat.stores.replicas import _has_follower
from trio_chat.stores.supervision import serving

from .conftest import Console
from .hot_contract.house import EPOCH, ROOM, SESSION, posts, seqs, submitted, written


@pytest.fixture(scope="module")
def primary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    """A Valkey that may have a replica."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    settings = {"repl-diskless-sync-delay": "0"}
    with serving(EmbeddedValkey(tmp_path_factory.mktemp("p"), port=port, settings=settings)) as server:
        yield server


@pytest.fixture(scope="module")
def replica(tmp_path_factory: pytest.TempPathFactory, primary: EmbeddedValkey) -> Iterator[EmbeddedValkey]:
    """Its replica, synchronized."""
    with serving(EmbeddedValkey(tmp_path_factory.mktemp("r"))) as server:
        follow(server, primary)
        yield server


def follow(replica: EmbeddedValkey, primary: EmbeddedValkey) -> None:
    """Let one be the replica of the other, and return when it is."""
    console = Console(replica)
    console("REPLICAOF", "127.0.0.1", primary.port or 0)
    wait_until(lambda: b"master_link_status:up" in console("INFO", "replication"))


@asynccontextmanager
async def opened(server: EmbeddedValkey, prefix: str) -> AsyncIterator[RedisHotStore]:
    """Open a store that waits for replicas."""
    async with open_redis(server.url, prefix=prefix, replica_timeout=0.5, timeout=2.0) as hot:
        yield hot


@pytest.fixture
async def hot(primary: EmbeddedValkey, replica: EmbeddedValkey, prefix: str) -> AsyncIterator[RedisHotStore]:
    """A store on a server with a replica."""
    async with opened(primary, prefix) as hot:
        yield hot


async def test_what_is_appended_is_on_the_replica(hot: RedisHotStore, replica: EmbeddedValkey) -> None:
    """When the append returns, whichever way it was asked for."""
    console = Console(replica)
    assert (hot.durability, hot.promise) == ("replicated", "replicated")
    await written(hot, posts(1, 1))
    tops = [console("HGET", meta_of(hot), "top")]
    submission = submitted(hot, posts(2, 2))

    assert await submission.outcome() is None
    assert [*tops, console("HGET", meta_of(hot), "top")] == [b"1", b"2"]


def meta_of(hot: RedisHotStore) -> str:
    return hot._names.session(SESSION)[1]


async def test_submissions_share_a_confirmation(hot: RedisHotStore, primary: EmbeddedValkey) -> None:
    """However many rooms append at once, they wait for two confirmations at most: the first one's, and all others'."""
    sessions = [Session(f"{ROOM}{number}", EPOCH) for number in range(100)]
    for session in sessions:
        await written(hot, posts(1, 1, session=session))
    before = waits(primary)
    submissions = [submitted(hot, posts(2, 2, session=session)) for session in sessions]
    outcomes = [await submission.outcome() for submission in submissions]

    assert outcomes == [None] * 100
    assert waits(primary) - before == 2


def waits(server: EmbeddedValkey) -> int:
    """Return how often the server was asked to wait."""
    stats = Console(server)("INFO", "commandstats").decode()
    return int(stats.partition("cmdstat_wait:calls=")[2].partition(",")[0])


async def test_replica_that_is_gone_costs_one_timeout(
    hot: RedisHotStore, replica: EmbeddedValkey, caplog: pytest.LogCaptureFixture
) -> None:
    """What it does not confirm in time is written all the same, and says so; when it is back it confirms again."""
    sessions = [Session(f"{ROOM}{number}", EPOCH) for number in range(20)]
    for session in sessions:
        await written(hot, posts(1, 1, session=session))
    replica.pause()
    try:
        since = trio.current_time()
        submissions = [submitted(hot, posts(2, 2, session=session)) for session in sessions]
        outcomes = [await submission.outcome() for submission in submissions]
        outcomes.append(await hot.append(posts(3, 3, session=sessions[0])))
        took = trio.current_time() - since
        gone = hot.promise
    finally:
        replica.resume()
    with trio.fail_after(10):
        top = 3
        while isinstance(last := await hot.append(posts(top + 1, top + 1, session=sessions[0])), Unconfirmed):
            top += 1
            await trio.sleep(0.1)

    assert outcomes == [Unconfirmed()] * 21
    assert 0.4 < took < 1.5
    assert (gone, last, hot.promise) == ("redis", None, "replicated")
    assert await seqs(hot, sessions[0].room) == [*range(1, top + 2)]
    assert "no replica of Redis confirms in time" in caplog.text


async def test_server_without_a_replica_is_warned_about(
    own_valkey: EmbeddedValkey, caplog: pytest.LogCaptureFixture
) -> None:
    """At start; appends do not wait, and say how far they came."""
    async with opened(own_valkey, "tc") as hot:
        since = trio.current_time()
        outcomes = [await hot.append(posts(1, 1)), await submitted(hot, posts(2, 2)).outcome()]
        took = trio.current_time() - since
        promise = hot.promise

    assert (outcomes, promise) == ([Unconfirmed()] * 2, "redis")
    assert took < 0.4
    [warning] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "this Redis has no replica" in warning.message


async def test_conflict_is_a_conflict(hot: RedisHotStore) -> None:
    """What was not written is not confirmed either."""
    await written(hot, posts(1, 1))
    outcomes = [await hot.append(posts(5, 5)), await submitted(hot, posts(5, 5)).outcome()]

    assert [getattr(outcome, "top", None) for outcome in outcomes] == [1, 1]


async def test_server_that_may_not_be_waited_on(own_valkey: EmbeddedValkey, own_console: Console) -> None:
    """The start ends with a line that names the setting."""
    own_console("ACL", "SETUSER", "ann", "on", ">pw", "~*", "+@all", "-wait")
    with pytest.raises(Misconfigured, match="DURABILITY=replicated: Redis refuses WAIT"):
        async with open_redis(f"unix://ann:pw@{own_valkey.socket}", replica_timeout=0.5):
            pass


async def test_submissions_on_a_server_that_dies(own_valkey: EmbeddedValkey) -> None:
    """Each is told, those too that waited for their turn."""
    async with opened(own_valkey, "tc") as hot:
        assert hot._replicas is not None
        sessions = [Session(f"{ROOM}{number}", EPOCH) for number in range(5)]
        for session in sessions:
            await hot.append(posts(1, 1, session=session))
        hot._replicas.follow = True
        own_valkey.pause()
        submissions = [submitted(hot, posts(2, 2, session=session)) for session in sessions]
        own_valkey.kill()
        outcomes = [await submission.outcome() for submission in submissions]

    assert [type(outcome).__name__ for outcome in outcomes] == ["Unavailable"] * 5


@pytest.mark.parametrize(
    ("line", "follows"),
    [
        ("slave0:ip=127.0.0.1,port=1,state=online,offset=5,lag=0,type=replica", True),
        ("slave1:ip=127.0.0.1,port=1,state=online,offset=5,lag=1", True),
        ("slave0:ip=127.0.0.1,port=1,state=online,offset=5,lag=2", False),
        ("slave0:ip=127.0.0.1,port=1,state=wait_bgsave,offset=0,lag=0", False),
        ("connected_slaves:1", False),
        ("", False),
    ],
)
def test_who_follows(line: str, follows: bool) -> None:
    """A replica that is online and was heard of a moment ago."""
    assert _has_follower(f"role:master\r\n{line}\r\nmaster_failover_state:no-failover\r\n") is follows
