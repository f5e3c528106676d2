"""The contract, the layout, what lives how long, and who opens such a store."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing
from typing_extensions import override

from tests.stores.conftest import Console
from tests.stores.hot_contract.contract import HotStoreContract
from tests.stores.hot_contract.house import EPOCH, NEWER, NOON, ROOM, SESSION, post, posts, write, written
from trio_chat.errors import Misconfigured, Unavailable
from trio_chat.message import Receipt
from trio_chat.stores.base import Conflict, HotStore, Session
from trio_chat.stores.embedded import EmbeddedValkey
from trio_chat.stores.redis import RedisHotStore, open_redis
from trio_chat.stores.redis_checks import check_server
from trio_chat.stores.redis_records import Names
from trio_chat.stores.resp_connect import Server

from .house import Keys


class TestContract(HotStoreContract):
    """The store keeps the contract."""

    @pytest.fixture(autouse=True)
    def _look(self, keys: Keys) -> None:
        self.keys = keys

    @override
    def expires(self, hot: HotStore, session: Session) -> bool:
        console = self.keys.console
        names = [
            *console.keys(f"{self.keys.prefix}:*:{session.epoch}"),
            *console.keys(f"{self.keys.prefix}:*:now"),
        ]
        left = {console("PTTL", name) > 0 for name in names}
        assert len(left) == 1, "some keys of the session expire, others do not"
        return left.pop()

    @override
    def set_aside(self, hot: HotStore, room: str) -> int:
        return int(self.keys.console("LLEN", Names(self.keys.prefix).quarantine(room)))


# --- the layout, and what lives how long


async def test_layout(hot: RedisHotStore, keys: Keys) -> None:
    """The keys are where the documentation says, and hold what it says."""
    receipts, carried = {"u": Receipt("m1", NOON)}, {"v": Receipt("x", NOON)}
    await written(
        hot, write(post(1), keys=(("m1", 1),), receipts=receipts, carried=carried, floor=7, token="t")
    )
    room = f"{keys.prefix}:{{{ROOM}}}"

    assert keys.console.keys(f"{keys.prefix}*") == sorted(
        [
            f"{keys.prefix}:dirty",
            f"{room}:now",
            *(f"{room}:{kind}:{EPOCH}" for kind in ("meta", "log", "keys", "read", "pending")),
        ]
    )
    assert keys.console("GET", keys["now"]) == EPOCH.encode()
    meta = keys.console("HGETALL", keys["meta"])
    fields = dict(zip(meta[::2], meta[1::2], strict=True))
    assert abs(int(fields.pop(b"active")) / 1000 - float(keys.console("TIME")[0])) < 5
    assert fields == {
        b"top": b"1",
        b"synced": b"0",
        b"floor": b"7",
        b"first": b"1",
        b"incarnation": hot.incarnation.encode(),
        b"token": b"t",
    }
    assert keys.console("XRANGE", keys["log"], "-", "+") == [[b"1-0", [b"e", msgspec.json.encode(post(1))]]]
    assert keys.console("LRANGE", keys["keys"], 0, -1) == [b"1 m1"]
    pending = [b"u", msgspec.json.encode(Receipt("m1", NOON))]
    read = [b"v", msgspec.json.encode(Receipt("x", NOON))]
    assert keys.console("HGETALL", keys["pending"]) == pending
    assert sorted(keys.console("HGETALL", keys["read"])) == sorted(read + pending)
    assert keys.console("ZRANGE", keys["dirty"], 0, -1) == [f"{ROOM} {EPOCH}".encode()]


async def test_layout_of_notes(hot: RedisHotStore, keys: Keys) -> None:
    """A note is a key that expires by itself."""
    await hot.keep({"a": (b"1", 60.0), "b": (b"2", 0.0001)})

    assert f"{keys.prefix}:note:a" in keys.console.keys(f"{keys.prefix}*")
    assert keys.console("GET", f"{keys.prefix}:note:a") == b"1"
    assert 50_000 < keys.console("PTTL", f"{keys.prefix}:note:a") <= 60_000


async def test_note_of_the_wrong_type_is_none(hot: RedisHotStore, keys: Keys) -> None:
    """What a stranger put in its place can be replaced, or discarded."""
    keys.console("RPUSH", f"{keys.prefix}:note:a", "junk")
    assert await hot.kept("a") is None
    await hot.keep({"a": (b"1", 60.0)})

    assert await hot.kept("a") == b"1"


async def test_note_on_a_full_server_is_unavailable(own_valkey: EmbeddedValkey, own_console: Console) -> None:
    """A note that was not kept is an error; it can still be discarded."""
    async with open_redis(own_valkey.url) as hot:
        own_console("CONFIG", "SET", "maxmemory", 1)
        with pytest.raises(Unavailable, match="OOM"):
            await hot.keep({"a": (b"1", 60.0)})

        await hot.discard("a")


async def test_large_seqs(hot: RedisHotStore, keys: Keys) -> None:
    """Numbers beyond those that Lua writes plainly are kept exactly."""
    top = 2**53 - 5
    await written(hot, write(top=top - 1), write(post(top), expect=top - 1, first=top - 3))

    stored = await hot.load(ROOM)

    assert stored is not None
    assert (stored.top, stored.first, [event.seq for event in stored.events]) == (top, top - 3, [top])
    await hot.mark_synced([(SESSION, top)])
    assert await hot.end(SESSION, top, 0)


async def test_lifetime_of_a_clean_session(valkey_process: EmbeddedValkey, keys: Keys) -> None:
    """It is the expiry and the grace, from the mark on."""
    async with open_redis(valkey_process.url, prefix=keys.prefix, expiry=60, grace=30) as hot:
        await written(hot, posts(1, 1))
        await hot.mark_synced([(SESSION, 1)])

    assert 80_000 < keys.console("PTTL", keys["log"]) <= 90_000


async def test_clean_session_expires(valkey_process: EmbeddedValkey, keys: Keys) -> None:
    """Nothing is left of a clean session that nobody touched for its lifetime."""
    async with open_redis(valkey_process.url, prefix=keys.prefix, expiry=0.05, grace=0.05) as hot:
        await written(hot, posts(1, 1))
        await hot.mark_synced([(SESSION, 1)])
        await trio.sleep(0.15)

        assert await hot.load(ROOM) is None
        assert await hot.append(posts(2, 2)) == Conflict(None, 0, "")
        assert keys.console.keys(f"{keys.prefix}*") == []


async def test_nothing_is_left_of_rooms_that_ended_clean(hot: RedisHotStore, keys: Keys) -> None:
    """An idle room costs nothing."""
    receipts, newer = {"u": Receipt("m1", NOON)}, Session(ROOM, NEWER)
    full = partial(write, post(1), keys=(("k", 1),), receipts=receipts, carried={"v": Receipt("x", NOON)})
    await written(hot, full())
    await hot.end(SESSION, 1, 0)
    await written(hot, full(session=newer))
    await hot.mark_synced([(SESSION, 1), (newer, 1)], {SESSION: receipts, newer: receipts})
    await hot.end(newer, 1, 0)

    assert keys.console.keys(f"{keys.prefix}*") == []


# --- opening


def test_prefix_must_be_plain() -> None:
    """A prefix that would change what keys mean is refused."""
    for prefix in ("", "a b", "{x}", "a*", "x" * 65, "é"):
        with pytest.raises(Misconfigured, match="prefix"):
            Names(prefix)


@pytest.mark.parametrize("version", ["6.0.16", "5.0.14", "3.2.1"])
def test_server_that_is_too_old(version: str) -> None:
    """A server without the commands needed is refused, with its version."""
    with pytest.raises(Misconfigured, match="or newer is needed"):
        check_server(Server(version=version))


@pytest.mark.parametrize("mode", ["cluster", "sentinel"])
def test_server_of_another_kind(mode: str) -> None:
    """The keys of a store lie on one server."""
    with pytest.raises(Misconfigured, match=mode):
        check_server(Server(mode=mode))


@pytest.mark.parametrize(
    "server", [Server(), Server(version="7.2.4", mode="standalone"), Server(version="unstable")]
)
def test_server_that_will_do(server: Server) -> None:
    """So will one that tells nothing of itself."""
    check_server(server)


@pytest.mark.parametrize(
    ("settings", "warning"),
    [
        ({}, ""),
        ({"appendonly": "no"}, "keeps nothing on disk"),
        ({"appendonly": "no", "save": "60 1000"}, "keeps only snapshots on disk"),
        ({"maxmemory-policy": "allkeys-lru"}, "set maxmemory-policy noeviction, not allkeys-lru"),
        ({"maxmemory-policy": "volatile-ttl"}, "set maxmemory-policy noeviction, not volatile-ttl"),
    ],
)
async def test_settings_that_lose_messages(
    own_valkey: EmbeddedValkey,
    own_console: Console,
    caplog: pytest.LogCaptureFixture,
    settings: dict[str, str],
    warning: str,
) -> None:
    """The log says so at start, and says nothing about a server that keeps what it is given."""
    for name, value in settings.items():
        own_console("CONFIG", "SET", name, value)
    caplog.clear()
    async with open_redis(own_valkey.url):
        pass

    warnings = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == bool(warning)
    assert warning in "".join(warnings)


async def test_settings_we_may_not_ask_for(
    own_valkey: EmbeddedValkey, own_console: Console, caplog: pytest.LogCaptureFixture
) -> None:
    """A user without the right to ask gets a store all the same."""
    own_console("ACL", "SETUSER", "ann", "on", ">pw", "~tc:*", "+@all", "-config", "-info")
    async with open_redis(f"unix://ann:pw@{own_valkey.socket}") as hot:
        await written(hot, posts(1, 1))
        stored = await hot.load(ROOM)

    assert stored is not None
    assert stored.trusted


async def test_store_without_a_server_yet(tmp_path: Path) -> None:
    """A store that need not be there starts unhealthy and says why to whoever asks."""
    async with open_redis(f"unix://{tmp_path}/none", require=False) as hot:
        assert not hot.healthy
        with pytest.raises(Unavailable, match="no Redis"):
            await hot.probe()


async def test_representation_tells_the_counts(hot: RedisHotStore) -> None:
    """One line for people, the same counts for programs."""
    await hot.probe()

    assert "unreadable=0 mended=0" in repr(hot)
    assert (hot.statistics().unreadable, hot.statistics().mended) == (0, 0)
    assert hot.durability == "redis"
