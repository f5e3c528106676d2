"""Entries that cannot be read."""

from __future__ import annotations

import msgspec
import pytest

from tests.stores.hot_contract.house import EPOCH, ROOM, SESSION, post, posts, seqs, write, written
from trio_chat.stores.redis import RedisHotStore

from .house import Keys

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
