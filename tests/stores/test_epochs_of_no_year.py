"""A session in Redis whose name says that it began after the year 9999: it stops neither its room nor the others."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from trio_chat.lobby import open_lobby
from trio_chat.message import is_epoch
from trio_chat.settings import Settings
from trio_chat.stores.memory import MemoryArchive
from trio_chat.stores.redis import open_redis

if TYPE_CHECKING:
    from .conftest import Console

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NEVER = "ffffffff-ffff-7fff-bfff-ffffffffffff"


async def test_room_whose_current_session_is_of_no_year(
    valkey_server: str, console: Console, prefix: str
) -> None:
    """It begins another one, and what can be archived is."""
    meta = f"{prefix}:{{r}}:meta:{NEVER}"
    console("SET", f"{prefix}:{{r}}:now", NEVER)
    console("HSET", meta, "top", 1, "synced", 0, "floor", 0, "first", 1, "active", 1, "incarnation", "x")
    console("ZADD", f"{prefix}:dirty", 0, f"r {NEVER}")
    archive = MemoryArchive()
    async with open_redis(valkey_server, prefix=prefix) as hot:
        async with open_lobby(hot=hot, archive=archive, settings=Settings(), now=lambda: NOON) as lobby:
            async with lobby.join("r", user="ann") as ann, lobby.join("other", user="ann") as other:
                here, there = await ann.post("one"), await other.post("two")

    assert is_epoch(here.epoch)
    assert here.durability == there.durability == "redis"
    assert {session.epoch for session in archive.sessions} == {here.epoch, there.epoch}
    # Nothing is thrown away: somebody may want to look at it.
    assert console.keys(f"{prefix}:{{r}}:now:aside:*")
