"""How a session ends, and what outlives it."""

from __future__ import annotations

import logging

import pytest

from trio_chat.stores.base import OUTLIVING_RECEIPTS

from .house import AStore, a_session, append_elsewhere, post, read, stored


async def test_end_of_a_clean_session(hot: AStore, caplog: pytest.LogCaptureFixture) -> None:
    """A session the archive has is gone from the store when it ends, and nobody is warned."""
    ledger = await a_session(hot)
    await hot.mark_synced([(ledger.session, 2)])
    with caplog.at_level(logging.WARNING):
        await ledger.end()

    assert hot.sessions() == {}
    assert not caplog.messages


async def test_end_of_a_dirty_session(hot: AStore) -> None:
    """A session the archive lacks stays in the store, as one that has ended."""
    ledger = await a_session(hot)
    await ledger.end()

    assert await hot.load("r") is None
    assert await hot.dirty() == [ledger.session]


async def test_end_of_a_session_somebody_else_writes_to(
    hot: AStore, caplog: pytest.LogCaptureFixture
) -> None:
    """A session that goes on elsewhere is not ended."""
    ledger = await a_session(hot)
    await append_elsewhere(hot, ledger.history.epoch, 2, 3)
    with caplog.at_level(logging.WARNING):
        await ledger.end()

    assert await hot.load("r") is not None
    assert "does not hold session" in caplog.text


async def test_end_without_the_store(hot: AStore, caplog: pytest.LogCaptureFixture) -> None:
    """A session may end while the store is away."""
    ledger = await a_session(hot)
    hot.set_healthy(False)
    with caplog.at_level(logging.WARNING):
        await ledger.end()

    assert "ends without the hot store" in caplog.text


async def test_begin_anew(hot: AStore) -> None:
    """The next session is empty, behind the old one, and has no keys."""
    ledger = await a_session(hot)
    old = ledger.history.epoch
    ledger.begin_anew()

    assert ledger.history.epoch > old
    assert (ledger.history.top, ledger.written) == (0, 0)
    assert post(ledger, key="k1").event is not None


async def test_read_marks_outlive_their_session(hot: AStore) -> None:
    """They go with the next session, do not open it, and what the archive lacks of them is not its business."""
    ledger = await a_session(hot)
    ledger.mark_read("bob", read())
    await ledger.write()
    old = ledger.session
    await ledger.end()
    ledger.begin_anew()
    await ledger.write()
    assert (ledger.receipts, len(hot.appended)) == ({"bob": read()}, 2)

    post(ledger)
    await ledger.write()
    assert (await stored(hot)).receipts == {"bob": read()}
    assert (hot.pending(old), hot.pending(ledger.session)) == ({"bob": read()}, {})


async def test_read_mark_that_reached_no_store_waits_for_the_next_session(hot: AStore) -> None:
    """It is written with that session's first event, and the archive lacks it until then."""
    ledger = await a_session(hot)
    hot.set_healthy(False)
    ledger.mark_read("bob", read())
    await ledger.write()
    ledger.begin_anew()
    hot.set_healthy(True)
    await ledger.write()
    assert len(hot.appended) == 1

    post(ledger)
    await ledger.write()
    assert hot.pending(ledger.session) == {"bob": read()}


async def test_newest_read_marks_of_a_crowd_outlive_their_session(hot: AStore) -> None:
    """A room that never rests does not gather the marks of everybody who was ever here."""
    ledger = await a_session(hot)
    for number in range(OUTLIVING_RECEIPTS + 1):
        ledger.mark_read(f"u{number}", read("k1", number))
    await ledger.write()
    ledger.begin_anew()

    assert len(ledger.receipts) == OUTLIVING_RECEIPTS
    assert "u0" not in ledger.receipts


async def test_session_begun_anew_is_written(hot: AStore) -> None:
    """The first event of the next session opens it in the store."""
    ledger = await a_session(hot)
    await ledger.end()
    ledger.begin_anew()
    post(ledger)
    await ledger.write()

    assert (await stored(hot)).epoch == ledger.history.epoch
