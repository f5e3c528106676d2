"""Numbers of a session that are broken, or that nobody can believe."""

from __future__ import annotations

import pytest

from tests.stores.hot_contract.house import NEWER, ROOM, SESSION, posts, written
from trio_chat.stores.base import Session
from trio_chat.stores.redis import RedisHotStore

from .house import Keys, spoil


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
