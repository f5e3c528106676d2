"""When a session is trusted to be whole, and when not."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.stores.conftest import Console
from tests.stores.hot_contract.house import NEWER, ROOM, SESSION, post, posts, write, written
from trio_chat.errors import Unavailable
from trio_chat.stores.base import Session
from trio_chat.stores.behind import Behind
from trio_chat.stores.embedded import EmbeddedValkey
from trio_chat.stores.redis import open_redis

from .house import OTHER, Keys, trusts


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
