"""The hot store is away, or lost what it had."""

from __future__ import annotations

import logging

import pytest

from tests.rooms import NOON
from trio_chat.errors import Misconfigured, Unavailable
from trio_chat.history import key_name
from trio_chat.message import Receipt

from .house import AStore, a_session, post, stored


async def test_store_that_is_known_to_be_away_is_not_asked(hot: AStore) -> None:
    """Nobody waits for a store that is down."""
    ledger = await a_session(hot)
    hot.set_healthy(False)
    hot.calls.clear()
    post(ledger)
    await ledger.write()

    assert ledger.degraded
    assert hot.calls == []


@pytest.mark.parametrize("error", [Unavailable("slow"), Misconfigured("no permission")])
async def test_store_that_fails_degrades(hot: AStore, error: Exception) -> None:
    """An append that fails leaves the events here, and says so."""
    ledger = await a_session(hot)
    hot.failing["append", "before"] = error
    change = post(ledger)
    await ledger.write()

    assert ledger.degraded
    assert (ledger.durability(change.seq), ledger.promise(), ledger.backlog) == ("memory", "memory", 1)


async def test_degrading_is_logged_once(hot: AStore, caplog: pytest.LogCaptureFixture) -> None:
    """An operator reads it once, and once when it is over."""
    ledger = await a_session(hot)
    with caplog.at_level(logging.INFO):
        hot.set_healthy(False)
        for _ in range(3):
            post(ledger)
            await ledger.write()
        hot.set_healthy(True)
        await ledger.write()

    texts = [record.getMessage() for record in caplog.records]
    assert sum("degraded" in text for text in texts) == 1
    assert sum("the hot store is back" in text for text in texts) == 1


async def test_store_that_is_back_gets_everything_in_order(hot: AStore) -> None:
    """What waited is appended in order, as one."""
    ledger = await a_session(hot)
    hot.set_healthy(False)
    for _ in range(5):
        post(ledger)
        await ledger.write()
    hot.set_healthy(True)
    await ledger.write()

    assert not ledger.degraded
    assert ledger.backlog == 0
    assert [event.seq for event in hot.log(ledger.session)] == [1, 2, 3, 4, 5, 6, 7]


async def test_store_that_is_back_empty_is_refilled(hot: AStore) -> None:
    """A store that lost everything gets the session again, under the same epoch, with keys and read marks."""
    ledger = await a_session(hot)
    ledger.mark_read("bob", Receipt("k1", NOON))
    await ledger.write()
    hot.lose_everything()
    post(ledger, key="k3")
    await ledger.write()
    found = await stored(hot)

    assert (found.epoch, found.top, ledger.degraded) == (ledger.history.epoch, 3, False)
    assert [event.message.id for event in found.events] == ["k1", "k2", "k3"]
    assert dict(found.keys) == {key_name(f"k{seq}", "ann"): seq for seq in (1, 2, 3)}
    assert found.receipts == {"bob": Receipt("k1", NOON)}


async def test_store_that_is_back_empty_gets_what_left_the_window(hot: AStore) -> None:
    """Messages that left the window and are not archived are refilled too."""
    ledger = await a_session(hot, 5)
    hot.lose_everything()
    post(ledger)
    await ledger.write()

    assert [event.seq for event in hot.log(ledger.session)] == [1, 2, 3, 4, 5, 6]


async def test_doubt_makes_sure(hot: AStore) -> None:
    """A ledger in doubt writes though nothing is owed, and so finds out that the store lost the session."""
    ledger = await a_session(hot)
    hot.lose_everything()
    ledger.doubtful = True
    await ledger.write()

    assert not ledger.doubtful
    assert [event.seq for event in hot.log(ledger.session)] == [1, 2]


async def test_doubt_about_nothing(hot: AStore) -> None:
    """A session without events cannot be lost."""
    ledger = await a_session(hot, 0)
    hot.calls.clear()
    ledger.doubtful = True
    await ledger.write()

    assert (hot.calls, ledger.doubtful) == ([], False)


async def test_store_that_lost_its_newest_entries(hot: AStore) -> None:
    """A store that went back to an older state gets the rest again."""
    ledger = await a_session(hot, 3)
    hot.lose_tail("r", 2)
    post(ledger)
    await ledger.write()

    assert [event.seq for event in hot.log(ledger.session)] == [1, 2, 3, 4]
    assert (await stored(hot)).top == 4


async def test_store_that_lost_its_newest_keys(hot: AStore) -> None:
    """The ids that clients chose come back with the entries, though their messages left the window since."""
    ledger = await a_session(hot, 3)
    kept = hot._sessions[ledger.session]
    hot.lose_tail("r", 2)
    del kept.keys[key_name("k2", "ann")], kept.keys[key_name("k3", "ann")]
    for _ in range(3):
        post(ledger)
    await ledger.write()

    assert dict((await stored(hot)).keys) == {key_name(f"k{seq}", "ann"): seq for seq in (1, 2, 3)}
