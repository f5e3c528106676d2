"""Several writers, and a server out of memory."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import pytest
import trio
import trio.testing

from tests.stores.conftest import Console
from tests.stores.hot_contract.house import NEWER, NOON, ROOM, SESSION, post, posts, seqs, write, written
from trio_chat.errors import Unavailable
from trio_chat.message import Receipt, new_epoch
from trio_chat.stores.base import Append, Session
from trio_chat.stores.embedded import EmbeddedValkey
from trio_chat.stores.redis import RedisHotStore, open_redis

from .house import OTHER

# --- several writers


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


# --- a server out of memory


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
