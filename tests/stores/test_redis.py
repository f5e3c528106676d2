"""The hot store on a real server: the contract, the layout of its keys, and what strangers can do to them.

A real clock; each test has a key prefix, or a server, of its own.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import timedelta
from functools import partial
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing
from typing_extensions import override

from trio_chat.errors import Misconfigured, Unavailable
from trio_chat.message import Receipt, new_epoch
from trio_chat.stores.base import Append, Conflict, HotStore, Session
from trio_chat.stores.behind import Behind
from trio_chat.stores.embedded import EmbeddedValkey
from trio_chat.stores.redis import RedisHotStore, open_redis
from trio_chat.stores.redis_checks import check_server
from trio_chat.stores.redis_records import Names
from trio_chat.stores.resp_connect import Server

from .conftest import Console
from .hot_contract import (
    EPOCH,
    NEWER,
    NOON,
    ROOM,
    SESSION,
    HotStoreContract,
    post,
    posts,
    seqs,
    write,
    written,
)

KINDS = ["now", "meta", "log", "keys", "read", "pending", "dirty", "quarantine"]
OTHER = Session("other", EPOCH)


class Keys:
    """The keys of a test's session, by kind, and a way to look at them."""

    def __init__(self, console: Console, prefix: str) -> None:
        self.console = console
        self.prefix = prefix
        self.names = dict(zip(KINDS, Names(prefix).session(SESSION), strict=True))

    def __getitem__(self, kind: str) -> str:
        return self.names[kind]

    def quarantine(self) -> list[tuple[dict[str, str], bytes]]:
        """Return what was set aside: who says why, and the entry."""
        items = [item.split(b"\n", 1) for item in self.console("LRANGE", self["quarantine"], 0, -1)]
        return [(json.loads(header), entry) for header, entry in items]


@pytest.fixture
def keys(console: Console, prefix: str) -> Keys:
    """The keys of this test."""
    return Keys(console, prefix)


@pytest.fixture
async def hot(valkey_process: EmbeddedValkey, prefix: str) -> AsyncIterator[RedisHotStore]:
    """A store on the session's server, with a prefix of its own."""
    async with open_redis(valkey_process.url, prefix=prefix) as store:
        yield store


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


# The layout, and what lives how long.


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


# Trust.


async def test_other_incarnation_is_not_trusted_until_it_is_written_to(
    valkey_process: EmbeddedValkey, keys: Keys
) -> None:
    """A session last written to on another server may lack its tail; the writer who knows it settles that."""
    opened = partial(open_redis, valkey_process.url, prefix=keys.prefix)
    async with opened(incarnation="one") as one, opened(incarnation=lambda: "two") as two:
        await written(one, posts(1, 1))
        before = await two.load(ROOM)
        await written(two, posts(2, 2))
        after = await two.load(ROOM)

        assert before is not None
        assert not before.trusted
        assert after is not None
        assert after.trusted


async def test_no_session_is_trusted_after_a_process_that_died_behind(
    valkey_process: EmbeddedValkey, keys: Keys, tmp_path: Path
) -> None:
    """Nor by the process after that one, until they are written to; with or without a word of the server's own."""
    for incarnation in (None, "one", lambda: "one"):
        opened = partial(open_redis, valkey_process.url, prefix=keys.prefix, incarnation=incarnation)
        async with opened(behind=Behind(tmp_path)) as hot:
            await written(hot, posts(1, 1))
            dead = Behind(tmp_path)
            dead.note(OTHER, True)
        async with opened(behind=Behind(tmp_path)) as hot:
            assert not await trusts(hot)
        async with opened(behind=Behind(tmp_path)) as hot:
            assert not await trusts(hot)
            await written(hot, posts(2, 2))
        async with opened(behind=Behind(tmp_path)) as hot:
            assert await trusts(hot)
            assert await hot.end(SESSION, 2, 0)
            await hot.mark_synced([(SESSION, 2)])


async def test_only_what_is_behind_is_not_trusted_after_a_process_that_ended_in_order(
    valkey_process: EmbeddedValkey, keys: Keys, tmp_path: Path
) -> None:
    """Until the store has another one in its place."""
    opened = partial(open_redis, valkey_process.url, prefix=keys.prefix)
    with closing(Behind(tmp_path)) as behind:
        async with opened(behind=behind) as hot:
            await written(hot, posts(1, 1))
            await written(hot, write(post(1), session=OTHER))
            hot.note_behind(SESSION, True)
    with closing(Behind(tmp_path)) as behind:
        async with opened(behind=behind) as hot:
            assert not await trusts(hot)
            assert await trusts(hot, OTHER.room)
            await written(hot, write(post(1), session=Session(ROOM, NEWER)))
            assert await trusts(hot)

    assert not (tmp_path / "tc.behind").exists()


async def test_write_that_was_in_flight_when_the_process_ended_is_not_trusted(
    valkey_process: EmbeddedValkey, keys: Keys, tmp_path: Path
) -> None:
    """The store may say that it has no session, and apply the one's first write only then."""
    opened = partial(open_redis, valkey_process.url, prefix=keys.prefix)
    ended = Behind(tmp_path)
    ended.note(SESSION, True)
    ended.close()
    with closing(Behind(tmp_path)) as behind:
        async with opened(behind=behind) as hot:
            assert await hot.load(ROOM) is None
    with closing(Behind(tmp_path)) as behind:
        async with opened(behind=behind) as hot, opened() as dead:
            assert await hot.load(ROOM) is None
            await written(dead, posts(1, 1))
            assert not await trusts(hot)
            assert await hot.end(SESSION, 1, 0)


async def trusts(hot: RedisHotStore, room: str = ROOM) -> bool:
    stored = await hot.load(room)
    assert stored is not None
    return stored.trusted


async def test_restarted_server_has_everything_and_is_not_trusted(
    own_valkey: EmbeddedValkey, own_console: Console
) -> None:
    """After a kill what was acknowledged is still there; whether all of it is, nobody knows."""
    async with open_redis(own_valkey.url) as hot:
        for seq in range(1, 51):
            await written(hot, posts(seq, seq))
        own_valkey.kill()
        with trio.fail_after(2):
            await hot.wait_health(False)
        with pytest.raises(Unavailable):
            await hot.append(posts(51, 51))
        own_valkey.start()
        with trio.fail_after(5):
            await hot.wait_health(True)
        stored = await hot.load(ROOM)

        assert stored is not None
        assert (stored.top, len(stored.events), stored.trusted) == (50, 50, False)


# Entries that cannot be read.

JUNK = {
    "bad JSON": (b"e", b"{nonsense"),
    "not an event": (b"e", b"{}"),
    "wrong field": (b"f", msgspec.json.encode(post(2))),
    "two fields": (b"e", b"{}", b"f", b"x"),
    "bad first byte": (b"e", b"\x07secret"),
    "bad zlib": (b"e", b"\x01secret"),
    "empty": (b"e", b""),
    "other number": (b"e", msgspec.json.encode(post(9))),
}


@pytest.mark.parametrize("fields", JUNK.values(), ids=JUNK.keys())
async def test_unreadable_entry_is_set_aside(
    hot: RedisHotStore, keys: Keys, fields: tuple[bytes, ...], caplog: pytest.LogCaptureFixture
) -> None:
    """It is skipped, counted, logged without its content, and kept for a person; the next load does not meet it."""
    await written(hot, write(post(1), top=1))
    keys.console("XADD", keys["log"], "2-0", *fields)
    await written(hot, write(post(3), expect=1))

    first, second = await hot.load(ROOM), await hot.load(ROOM)

    assert first is not None
    assert ([event.seq for event in first.events], first.top, first.unreadable) == ([1, 3], 3, 1)
    assert second is not None
    assert (len(second.events), second.unreadable) == (2, 0)
    [(header, entry)] = keys.quarantine()
    assert (header["epoch"], header["id"]) == (EPOCH, "2-0")
    assert entry == b"\n".join(fields)
    assert hot.statistics().unreadable == 1
    assert "1 unreadable" in caplog.text
    assert "secret" not in caplog.text


async def test_unreadable_entry_does_not_stop_the_archive(hot: RedisHotStore, keys: Keys) -> None:
    """The syncer gets the others, and the mark passes over it."""
    await written(hot, posts(1, 1))
    keys.console("XADD", keys["log"], "2-0", "e", "junk")
    await written(hot, write(post(3), expect=1))

    first = await hot.unsynced(SESSION, 2)
    assert first is not None
    assert ([event.seq for event in first.events], first.unreadable, first.upto) == ([1], 1, 2)

    await hot.mark_synced([(SESSION, first.upto)])
    second = await hot.unsynced(SESSION, 2)
    assert second is not None
    assert ([event.seq for event in second.events], second.unreadable, second.upto) == ([3], 0, 3)


async def test_quarantine_is_bounded(hot: RedisHotStore, keys: Keys) -> None:
    """The oldest go when there are more than a thousand."""
    await written(hot, posts(1, 1))
    junk = "for seq = 2, 1011 do redis.call('XADD', KEYS[1], seq .. '-0', 'e', 'junk') end"
    keys.console("EVAL", junk, 1, keys["log"])
    stored = await hot.load(ROOM)

    assert stored is not None
    assert stored.unreadable == 1010
    assert keys.console("LLEN", keys["quarantine"]) == 1000
    assert keys.quarantine()[-1][0]["id"] == "1011-0"


@pytest.mark.parametrize("name", ["*", "7-5", "5-1", f"{2**63}-1", "7-0"])
async def test_room_goes_on_behind_a_stranger_s_entry(hot: RedisHotStore, keys: Keys, name: str) -> None:
    """An entry that somebody else added does not stand in the way of the next, wherever it stands."""
    await written(hot, posts(3, 5, expect=0))
    keys.console("XADD", keys["log"], name, "e", "stranger")
    await written(hot, posts(6, 6), write(post(7), expect=6), posts(8, 8))

    assert await seqs(hot) == [3, 4, 5, 6, 7, 8]
    assert [entry for _, entry in keys.quarantine()] == [b"e\nstranger"]


async def test_stranger_s_entry_stays_out_after_it_was_set_aside(hot: RedisHotStore, keys: Keys) -> None:
    """A log remembers the highest id it ever had; the next event is added all the same."""
    await written(hot, posts(1, 1))
    keys.console("XADD", keys["log"], "*", "e", "stranger")
    await hot.load(ROOM)
    await written(hot, posts(2, 2))

    assert await seqs(hot) == [1, 2]
    assert len(keys.quarantine()) == 1


# Keys that cannot be used.


def spoil(keys: Keys, kind: str) -> None:
    """Put something of another type where a key should be."""
    keys.console("DEL", keys[kind])
    if kind == "now":
        keys.console("RPUSH", keys[kind], "junk")
    else:
        keys.console("SET", keys[kind], "junk")


@pytest.mark.parametrize("kind", KINDS)
async def test_key_of_the_wrong_type_is_set_aside(hot: RedisHotStore, keys: Keys, kind: str) -> None:
    """The room opens, its writer brings back what is missing, and no other room notices."""
    await written(hot, posts(1, 3, keys=(("m1", 1),)), posts(1, 2, session=OTHER))
    spoil(keys, kind)
    await hot.load(ROOM)
    conflict = await hot.append(posts(4, 4, keys=(("m4", 4),), receipts={"u": Receipt("m4", NOON)}))
    if conflict is not None:
        assert conflict == Conflict(None, 0, "")
        refill = write(
            *map(post, range(1, 5)), keys=(("m1", 1), ("m4", 4)), receipts={"u": Receipt("m4", NOON)}
        )
        await written(hot, refill)
    await hot.quarantine(SESSION, 99, "not there")

    stored = await hot.load(ROOM)

    assert stored is not None
    assert stored.top == 4
    assert 4 in [event.seq for event in stored.events]
    assert stored.keys["m4"] == 4
    assert await seqs(hot, "other") == [1, 2]
    assert SESSION in await hot.dirty()
    # Whichever call met it first set it aside, for a week.
    if kind != "quarantine":
        [aside] = keys.console.keys(f"{keys[kind]}:aside:*".replace("{", "?").replace("}", "?"))
        assert 0 < keys.console("PTTL", aside) <= 7 * 24 * 3600 * 1000


@pytest.mark.parametrize("kind", KINDS)
async def test_every_call_survives_a_key_of_the_wrong_type(hot: RedisHotStore, keys: Keys, kind: str) -> None:
    """None of them fails, whoever comes first."""
    calls = [
        partial(hot.load, ROOM),
        partial(hot.append, posts(3, 3, keys=(("k", 3),), receipts={"u": Receipt("m", NOON)})),
        partial(hot.unsynced, SESSION, 10),
        partial(hot.mark_synced, [(OTHER, 1), (SESSION, 1)]),
        partial(hot.end, SESSION, 2, 0),
        partial(hot.quarantine, SESSION, 2, "refused"),
        hot.dirty,
    ]
    await trio.lowlevel.checkpoint()
    for call in calls:
        for name in keys.console.keys(f"{keys.prefix}*"):
            keys.console("DEL", name)
        await written(hot, posts(1, 2), posts(1, 2, session=OTHER))
        spoil(keys, kind)

        await call()
        assert await seqs(hot, "other") == [1, 2]


@pytest.mark.parametrize("kind", ["keys", "read", "pending", "dirty"])
async def test_append_stops_before_its_first_write(hot: RedisHotStore, keys: Keys, kind: str) -> None:
    """An append that meets a key of the wrong type has written nothing, so it can be made again."""
    await written(hot, posts(1, 2))
    spoil(keys, kind)
    await written(hot, posts(3, 3, keys=(("m3", 3),), receipts={"u": Receipt("m3", NOON)}))

    stored = await hot.load(ROOM)

    assert stored is not None
    assert stored.events[-1] == post(3)
    assert (stored.top, stored.keys, stored.receipts) == (3, {"m3": 3}, {"u": Receipt("m3", NOON)})
    assert await hot.dirty() == [SESSION]


@pytest.mark.parametrize("synced", [0, 2])
@pytest.mark.parametrize("receipts", [{}, {"u": Receipt("m3", NOON)}])
async def test_append_to_a_session_without_its_log(
    hot: RedisHotStore, keys: Keys, synced: int, receipts: dict[str, Receipt]
) -> None:
    """It writes nothing, whichever way it goes: who has the events is to bring them all."""
    await written(hot, posts(1, 2))
    await hot.mark_synced([(SESSION, synced)])
    spoil(keys, "log")
    outcomes = [await hot.append(posts(3, 3, receipts=receipts)) for _ in range(2)]
    await written(hot, posts(1, 3, expect=0, receipts=receipts))
    stored = await hot.load(ROOM)

    assert outcomes == [Conflict(None, 0, "")] * 2
    assert stored is not None
    assert (stored.top, stored.trusted, await seqs(hot)) == (3, True, [1, 2, 3])
    assert await hot.dirty() == [SESSION]


async def test_session_whose_newest_entry_was_set_aside_is_whole(hot: RedisHotStore, keys: Keys) -> None:
    """The log has come to its top all the same, also where it was brought anew without that entry."""
    await written(hot, posts(1, 3))
    await hot.quarantine(SESSION, 3, "refused")
    trusted = [await trusts(hot)]
    keys.console("DEL", keys["log"])
    await written(hot, write(*posts(1, 2).events, top=3, expect=0))
    trusted.append(await trusts(hot))
    await written(hot, posts(4, 4))

    assert trusted == [True, True]
    assert await seqs(hot) == [1, 2, 4]


async def test_new_session_stops_before_its_first_write_too(hot: RedisHotStore, keys: Keys) -> None:
    """It opens whatever somebody did to the one before it, which is then as dirty as its numbers say."""
    await written(hot, posts(1, 2))
    spoil(keys, "pending")
    newer = Session(ROOM, NEWER)
    await written(hot, posts(1, 1, session=newer))

    assert set(await hot.dirty()) == {SESSION, newer}
    assert await seqs(hot) == [1]


async def test_unreadable_pending_receipts_go(hot: RedisHotStore, keys: Keys) -> None:
    """What nobody could ever say is archived does not keep a session dirty for ever."""
    await written(hot, posts(1, 1, receipts={"u": Receipt("m1", NOON)}))
    for user, text in (
        ("a", "junk"),
        ("b", '{"lastReadMessageId":"m","timestamp":"2025-01-01T00:00:00"}'),
        ("c", '{"lastReadMessageId": "m", "timestamp": "2025-01-01T00:00:00+00:00"}'),
        (b"\xff", msgspec.json.encode(Receipt("m1", NOON))),
    ):
        keys.console("HSET", keys["pending"], user, text)

    rest = await hot.unsynced(SESSION, 10)

    assert rest is not None
    assert rest.receipts["u"] == Receipt("m1", NOON)
    await hot.mark_synced([(SESSION, 1)], {SESSION: rest.receipts})
    assert await hot.dirty() == []
    assert not keys.console("EXISTS", keys["pending"])


async def test_lost_list_of_dirty_sessions_is_found_again(hot: RedisHotStore, keys: Keys) -> None:
    """If the set of dirty sessions is spoilt, all sessions count as dirty until they are looked at."""
    await written(hot, posts(1, 2), posts(1, 2, session=OTHER))
    await hot.end(OTHER, 2, 0)
    spoil(keys, "dirty")

    assert set(await hot.dirty()) == {SESSION, OTHER}


async def test_strange_members_of_the_dirty_set_are_dropped(hot: RedisHotStore, keys: Keys) -> None:
    """What names no session is nothing the archive could lack."""
    await written(hot, posts(1, 1))
    for member in (b"", b"junk", b"a b", b"\xff\xfe x", f" {EPOCH}".encode()):
        keys.console("ZADD", keys["dirty"], 0, member)

    assert await hot.dirty() == [SESSION]
    assert keys.console("ZCARD", keys["dirty"]) == 1


async def test_dirty_member_without_a_session_is_dropped_when_it_is_looked_at(
    hot: RedisHotStore, keys: Keys
) -> None:
    """The set may have more than there is, but not for ever."""
    keys.console("ZADD", keys["dirty"], 0, f"{ROOM} {EPOCH}")
    assert await hot.unsynced(SESSION, 10) is None

    assert await hot.dirty() == []


@pytest.mark.parametrize("field", ["top", "synced", "floor", "first", "active"])
@pytest.mark.parametrize("value", ["", "x", "-1", "1.5", "1e3", " 1", "9" * 17, "٣", None])
async def test_broken_number_costs_nothing_but_trust(
    hot: RedisHotStore, keys: Keys, field: str, value: str | None
) -> None:
    """Whatever number of a session is broken: its events are there, and the archive gets them all."""
    await written(hot, posts(1, 5, first=1))
    if value is None:
        keys.console("HDEL", keys["meta"], field)
    else:
        keys.console("HSET", keys["meta"], field, value)

    stored = await hot.load(ROOM)
    rest = await hot.unsynced(SESSION, 10)

    assert stored is not None
    assert (stored.top, len(stored.events), stored.trusted) == (5, 5, False)
    assert rest is not None
    assert (rest.top, len(rest.events)) == (5, 5)
    assert await hot.dirty() == [SESSION]


async def test_broken_meta_of_the_other_session_does_not_stop_a_new_one(
    hot: RedisHotStore, keys: Keys
) -> None:
    """A new session opens over one that is beyond recognition, which stays for the archive."""
    await written(hot, posts(1, 5))
    keys.console("HSET", keys["meta"], "top", "junk")
    await written(hot, posts(1, 1, session=Session(ROOM, NEWER)))

    rest = await hot.unsynced(SESSION, 10)

    assert rest is not None
    assert len(rest.events) == 5


async def test_writer_of_a_session_with_a_broken_number_goes_on(hot: RedisHotStore, keys: Keys) -> None:
    """What is broken is read off the log, before anybody is told that there is no session."""
    await written(hot, posts(1, 5))
    keys.console("HSET", keys["meta"], "top", "junk")

    await written(hot, posts(6, 6))


async def test_guessed_top_is_nobodys_own_write(hot: RedisHotStore, keys: Keys) -> None:
    """A stranger's entry may be taken for the newest; the writer must not believe that it was its own that arrived."""
    await written(hot, posts(1, 5))
    keys.console("XADD", keys["log"], "*", "e", "{}")
    keys.console("HSET", keys["meta"], "top", "many")

    conflict = await hot.append(posts(6, 6))

    assert conflict is not None
    assert conflict.top > 6
    assert conflict.token == ""


async def test_broken_mark_makes_a_session_dirty_for_good(hot: RedisHotStore, keys: Keys) -> None:
    """If nobody knows what the archive has, it gets everything, and the session stays until then."""
    await written(hot, posts(1, 5))
    await hot.mark_synced([(SESSION, 5)])
    keys.console("HSET", keys["meta"], "synced", "junk")
    await hot.load(ROOM)

    assert await hot.dirty() == [SESSION]
    assert {keys.console("PTTL", name) for name in keys.console.keys(f"{keys.prefix}*")} == {-1}


async def test_clean_session_stays_clean_when_it_is_mended(hot: RedisHotStore, keys: Keys) -> None:
    """What is known to be archived is not archived again."""
    await written(hot, posts(1, 5))
    await hot.mark_synced([(SESSION, 5)])
    keys.console("HSET", keys["meta"], "floor", "junk")
    await hot.load(ROOM)

    assert await hot.dirty() == []
    assert keys.console("PTTL", keys["meta"]) > 0


@pytest.mark.parametrize("synced", [3, 5])
async def test_mending_another_key_costs_no_trust(hot: RedisHotStore, keys: Keys, synced: int) -> None:
    """Numbers that are sound stay as they are."""
    await written(hot, posts(1, 5))
    await hot.mark_synced([(SESSION, synced)])
    spoil(keys, "read")

    stored = await hot.load(ROOM)

    assert stored is not None
    assert (stored.synced, stored.trusted) == (synced, True)


async def test_session_missing_from_the_dirty_set_comes_back(hot: RedisHotStore, keys: Keys) -> None:
    """Whoever touches a dirty session sees to it that the set has it."""
    newer = Session(ROOM, NEWER)
    touches = [
        partial(hot.append, posts(3, 3)),
        partial(hot.mark_synced, [(SESSION, 1)]),
        partial(hot.end, SESSION, 3, 0),
    ]
    await written(hot, posts(1, 2))
    for touch in touches:
        keys.console("DEL", keys["dirty"])
        await touch()
        assert await hot.dirty() == [SESSION]

    await written(hot, posts(1, 4, expect=0))
    keys.console("DEL", keys["dirty"])
    await written(hot, posts(1, 1, session=newer))
    assert set(await hot.dirty()) == {SESSION, newer}


async def test_end_of_a_session_whose_keys_are_gone(hot: RedisHotStore, keys: Keys) -> None:
    """Nothing is left of it afterwards."""
    await written(hot, posts(1, 2))
    for kind in ("meta", "log", "dirty"):
        keys.console("DEL", keys[kind])

    assert await hot.end(SESSION, 2, 0)
    assert keys.console.keys(f"{keys.prefix}*") == []


async def test_end_of_a_clean_session_while_the_dirty_set_is_spoilt(hot: RedisHotStore, keys: Keys) -> None:
    """The session goes whole, not in part."""
    await written(hot, posts(1, 2))
    await hot.mark_synced([(SESSION, 2)])
    spoil(keys, "dirty")

    assert await hot.end(SESSION, 2, 0)
    assert await hot.dirty() == []
    assert keys.console.keys(f"{keys.prefix}:?{ROOM}*") == []


async def test_mark_above_the_top_in_meta(hot: RedisHotStore, keys: Keys) -> None:
    """Nobody believes that the archive has what was never written: it gets everything again."""
    await written(hot, posts(1, 5))
    keys.console("HSET", keys["meta"], "synced", 99)

    rest = await hot.unsynced(SESSION, 10)

    assert rest is not None
    assert (rest.synced, len(rest.events)) == (0, 5)


async def test_log_without_meta(hot: RedisHotStore, keys: Keys) -> None:
    """There is no session; the log is set aside for a person."""
    await written(hot, posts(1, 3))
    keys.console("DEL", keys["meta"])

    assert await hot.load(ROOM) is None
    assert keys.console.keys(f"{keys.prefix}:*:now") == []
    assert len(keys.console.keys(f"{keys.prefix}:*:aside:*")) == 1
    await written(hot, posts(1, 1))


async def test_empty_log_without_meta(hot: RedisHotStore, keys: Keys) -> None:
    """Not even an empty key is left behind for ever."""
    await written(hot, posts(1, 1))
    keys.console("XDEL", keys["log"], "1-0")
    keys.console("DEL", keys["meta"])

    assert await hot.unsynced(SESSION, 10) is None
    assert not keys.console("EXISTS", keys["log"])


async def test_meta_without_log(hot: RedisHotStore, keys: Keys) -> None:
    """The session opens without its events, and is not trusted to have had none."""
    await written(hot, posts(1, 3))
    keys.console("DEL", keys["log"])

    stored = await hot.load(ROOM)

    assert stored is not None
    assert (stored.top, stored.events, stored.trusted) == (3, (), False)
    assert await hot.append(posts(4, 4)) == Conflict(None, 0, "")
    await written(hot, posts(1, 4, expect=0))
    assert await seqs(hot) == [1, 2, 3, 4]


@pytest.mark.parametrize("value", ["", "junk", "x" * 36, b"\xff", NEWER, "*"])
async def test_current_session_that_is_none(hot: RedisHotStore, keys: Keys, value: str | bytes) -> None:
    """If the name of the current session leads nowhere, there is none, and a new one can be opened."""
    await written(hot, posts(1, 3))
    keys.console("SET", keys["now"], value)

    assert await hot.append(posts(4, 4)) == Conflict(None, 0, "")
    assert await hot.load(ROOM) is None
    assert not keys.console("EXISTS", keys["now"])
    await written(hot, posts(1, 4, expect=0))
    assert await seqs(hot) == [1, 2, 3, 4]


async def test_unreadable_keys_and_receipts_are_left_out(hot: RedisHotStore, keys: Keys) -> None:
    """What is beside the log is not worth failing for."""
    await written(hot, posts(1, 1, keys=(("m1", 1),), receipts={"u": Receipt("m1", NOON)}))
    for text in ("junk", "x m2", " m3", "7", b"\xff", "-1 m4"):
        keys.console("RPUSH", keys["keys"], text)
    for user, text in (
        ("a", "junk"),
        ("b", "{}"),
        ("c", '{"lastReadMessageId":"m","timestamp":"2025-01-01T00:00:00"}'),
    ):
        keys.console("HSET", keys["read"], user, text)

    stored = await hot.load(ROOM)

    assert stored is not None
    assert stored.keys == {"m1": 1}
    assert stored.receipts == {"u": Receipt("m1", NOON)}


@pytest.mark.parametrize("kind", [*KINDS, None])
async def test_deleted_keys_are_written_anew(hot: RedisHotStore, keys: Keys, kind: str | None) -> None:
    """Whichever key of a live room is deleted, or all: the next append works, or says that it starts from nothing."""
    await written(hot, posts(1, 3))
    for name in keys.names.values() if kind is None else [keys[kind]]:
        keys.console("DEL", name)

    conflict = await hot.append(posts(4, 4))
    if conflict is not None:
        assert conflict == Conflict(None, 0, "")
        await written(hot, posts(1, 4, expect=0))

    stored = await hot.load(ROOM)
    assert stored is not None
    assert stored.top == 4
    assert await hot.dirty() == [SESSION]


async def test_clean_session_reopened_from_its_ruins_never_expires(hot: RedisHotStore, keys: Keys) -> None:
    """Keys that were to expire do not while the archive lacks something, whatever was deleted between."""
    receipts = {"u": Receipt("m1", NOON)}
    await written(hot, posts(1, 3, keys=(("m1", 1),), receipts=receipts))
    await hot.mark_synced([(SESSION, 3)], {SESSION: receipts})
    keys.console("DEL", keys["meta"])
    await written(hot, posts(1, 4, expect=0))

    assert {keys.console("PTTL", name) for name in keys.console.keys(f"{keys.prefix}*")} == {-1}


async def test_forgotten_scripts(hot: RedisHotStore, keys: Keys) -> None:
    """A server that forgets the scripts again and again is no trouble at all."""
    for seq in range(1, 6):
        keys.console("SCRIPT", "FLUSH")
        await written(hot, posts(seq, seq))

    assert await seqs(hot) == [1, 2, 3, 4, 5]
    assert hot.healthy


async def test_reopening_an_ended_session_below_its_top(hot: RedisHotStore) -> None:
    """A writer that missed the session's last events is told of them, though the session is not current."""
    await written(hot, posts(1, 4))
    await hot.end(SESSION, 4, 0)

    assert await hot.append(posts(1, 3)) == Conflict(EPOCH, 4, "t4")
    await written(hot, posts(1, 4, expect=0))
    assert await seqs(hot) == [1, 2, 3, 4]


# Several writers.


async def test_two_stores_write_one_order(valkey_process: EmbeddedValkey, prefix: str) -> None:
    """Of writers that expect the same top exactly one succeeds, and the others learn who it was."""
    wins: dict[int, str] = {}

    async def race(store: RedisHotStore, name: str) -> None:
        await trio.lowlevel.checkpoint()
        top = 0
        while top < 60:
            conflict = await store.append(posts(top + 1, top + 1, token=name, user_id=name))
            if conflict is None:
                top += 1
                assert wins.setdefault(top, name) == name
            else:
                top = conflict.top

    def posts(low: int, high: int, *, token: str, user_id: str) -> Append:
        return write(
            *(post(seq, user_id=user_id) for seq in range(low, high + 1)), expect=low - 1, token=token
        )

    opened = partial(open_redis, valkey_process.url, prefix=prefix)
    async with opened() as one, opened() as two:
        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(race, one, f"one-{number}")
                nursery.start_soon(race, two, f"two-{number}")
        stored = await one.load(ROOM)

    assert stored is not None
    assert [event.seq for event in stored.events] == list(range(1, 61))
    assert {event.seq: event.message.user_id for event in stored.events} == wins


async def test_loads_see_one_moment(valkey_process: EmbeddedValkey, prefix: str) -> None:
    """While sessions follow one another, each load returns all of one of them."""
    epochs = [new_epoch(NOON + timedelta(seconds=number)) for number in range(40)]
    opened = partial(open_redis, valkey_process.url, prefix=prefix)
    async with opened() as writer, opened() as reader, trio.open_nursery() as nursery:
        done = trio.Event()

        async def change() -> None:
            await trio.lowlevel.checkpoint()
            for number, epoch in enumerate(epochs, 1):
                session = Session(ROOM, epoch)
                await written(writer, posts(1, number, session=session, keys=((epoch, number),)))
                await writer.mark_synced([(session, number)])
                await trio.sleep(0.002)
            done.set()

        nursery.start_soon(change)
        while not done.is_set():
            stored = await reader.load(ROOM)
            if stored is not None:
                number = epochs.index(stored.epoch) + 1
                assert (stored.top, len(stored.events), stored.keys) == (
                    number,
                    number,
                    {stored.epoch: number},
                )


# A server out of memory.


async def test_full_server_writes_nothing_half(own_valkey: EmbeddedValkey, own_console: Console) -> None:
    """A refused append leaves everything as it was, also one that would end another session; reads go on."""
    async with open_redis(own_valkey.url) as hot:
        await written(hot, posts(1, 3), posts(1, 1, session=OTHER))
        await hot.mark_synced([(OTHER, 1)])
        marked = partial(write, session=OTHER, expect=1)
        own_console("CONFIG", "SET", "maxmemory", 1)
        before = dump(own_console)
        for append in (
            posts(4, 4),
            posts(1, 1, session=Session("other", NEWER)),
            write(expect=3, token="t"),
            marked(receipts={"u": Receipt("m1", NOON)}),
        ):
            with pytest.raises(Unavailable, match="OOM"):
                await hot.append(append)

        assert dump(own_console) == before
        assert await seqs(hot) == [1, 2, 3]


async def test_full_server_can_be_emptied(own_valkey: EmbeddedValkey, own_console: Console) -> None:
    """Marking, setting aside and ending free memory, so they work when there is none."""
    receipts = {"u": Receipt("m1", NOON)}
    async with open_redis(own_valkey.url) as hot:
        await written(hot, posts(1, 3, first=3, receipts=receipts), posts(1, 2, session=OTHER))
        await written(hot, posts(1, 1, session=Session(ROOM, NEWER)))
        own_console("CONFIG", "SET", "maxmemory", 1)
        rest = await hot.unsynced(SESSION, 10)
        assert rest is not None
        await hot.mark_synced([(SESSION, 2), (OTHER, 2)])
        await hot.mark_synced([(SESSION, 3)], {SESSION: receipts})
        assert await hot.end(OTHER, 2, 0)
        assert await hot.end(Session(ROOM, NEWER), 1, 0)

        assert await hot.dirty() == [Session(ROOM, NEWER)]


def dump(console: Console) -> dict[str, bytes]:
    """Return all there is."""
    return {name: console("DUMP", name) for name in console.keys("*")}


# Opening.


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
