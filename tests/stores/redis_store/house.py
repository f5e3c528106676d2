"""A Redis store, and the keys of a test's session as they lie there."""

from __future__ import annotations

import json

from tests.stores.conftest import Console
from tests.stores.hot_contract.house import EPOCH, ROOM, SESSION
from trio_chat.stores.base import Session
from trio_chat.stores.redis import RedisHotStore
from trio_chat.stores.redis_records import Names

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


async def trusts(hot: RedisHotStore, room: str = ROOM) -> bool:
    stored = await hot.load(room)
    assert stored is not None
    return stored.trusted


def spoil(keys: Keys, kind: str) -> None:
    """Put something of another type where a key should be."""
    keys.console("DEL", keys[kind])
    if kind == "now":
        keys.console("RPUSH", keys[kind], "junk")
    else:
        keys.console("SET", keys[kind], "junk")
