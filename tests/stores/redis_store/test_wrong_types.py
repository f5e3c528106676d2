"""Keys of another type than they should have, and what is in them that cannot be read."""

from __future__ import annotations

from functools import partial

import msgspec
import pytest
import trio
import trio.testing

from tests.stores.hot_contract.house import (
    EPOCH,
    NEWER,
    NOON,
    ROOM,
    SESSION,
    post,
    posts,
    seqs,
    write,
    written,
)
from trio_chat.message import Receipt
from trio_chat.stores.base import Conflict, Session
from trio_chat.stores.redis import RedisHotStore

from .house import KINDS, OTHER, Keys, spoil, trusts


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
