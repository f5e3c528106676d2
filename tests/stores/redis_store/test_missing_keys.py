"""Keys that are gone, all or some."""

from __future__ import annotations

from functools import partial

import pytest

from tests.stores.hot_contract.house import EPOCH, NEWER, NOON, ROOM, SESSION, posts, seqs, written
from trio_chat.message import Receipt
from trio_chat.stores.base import Conflict, Session
from trio_chat.stores.redis import RedisHotStore

from .house import KINDS, Keys, spoil


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
