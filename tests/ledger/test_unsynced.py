"""What the archive lacks and can be given from memory."""

from __future__ import annotations

from tests.rooms import NOON
from trio_chat.stores.base import Unsynced

from .house import AStore, a_forgetful_session, a_session, read


async def test_unsynced_from_memory(hot: AStore) -> None:
    """A degraded room gives the archive what was let out, and no more."""
    ledger = await a_session(hot, 5)
    found = ledger.unsynced(released=4)

    assert found is not None
    assert (found.session, found.synced, found.upto, found.top) == (ledger.session, 0, 4, 4)
    assert [event.seq for event in found.events] == [1, 2, 3, 4]


async def test_unsynced_when_the_archive_has_it(hot: AStore) -> None:
    """There is nothing to give when the archive has everything that was let out."""
    ledger = await a_session(hot)
    ledger.history.mark_synced(2)

    assert ledger.unsynced(released=2) is None


async def test_unsynced_when_some_of_it_is_elsewhere(hot: AStore) -> None:
    """What the hot store alone has cannot be given from memory; then nothing is, or a mark would hide it."""
    ledger = await a_forgetful_session(hot, 5)

    assert ledger.unsynced(released=5) is None


async def test_unsynced_partly(hot: AStore) -> None:
    """If the hot store has lost the session what is here is all there is."""
    ledger = await a_forgetful_session(hot, 5)
    found = ledger.unsynced(released=5, partly=True)

    assert found is not None
    assert (found.synced, found.upto, found.top) == (0, 5, 5)
    assert [event.seq for event in found.events] == [4, 5]


async def test_unsynced_in_pieces(hot: AStore) -> None:
    """Each piece says how far it goes, and how far there is to go."""
    ledger = await a_session(hot, 5)
    ledger.history.edit("k4", user="ann", moderator=False, content="new", metadata=None, now=NOON)
    pieces: list[tuple[int, int, list[int]]] = []
    while (found := ledger.unsynced(6, 2)) is not None:
        pieces.append((found.upto, found.top, [event.seq for event in found.events]))
        ledger.history.mark_synced(found.upto)

    assert pieces == [(2, 6, [1, 2]), (5, 6, [3, 5]), (6, 6, [6])]


async def test_unsynced_before_what_is_not_released(hot: AStore) -> None:
    """An event that one has superseded that was not let out yet is not here: nothing can be told from it on."""
    ledger = await a_session(hot, 3)
    ledger.history.edit("k2", user="ann", moderator=False, content="new", metadata=None, now=NOON)

    for taken in (False, True):
        found = ledger.unsynced(released=3)
        assert found is not None
        assert (found.upto, [event.seq for event in found.events], ledger.vouched(3)) == (1, [1], 1), taken
        hot.set_healthy(False)
        await ledger.write()  # the ledger has them from the history now
    assert ledger.vouched(4) == 4


async def test_unsynced_read_marks_from_memory(hot: AStore) -> None:
    """A degraded room gives the archive the marks that no store has, with events or alone, until one has them."""
    ledger = await a_session(hot)
    hot.set_healthy(False)
    ledger.mark_read("bob", read())
    await ledger.write()
    found = ledger.unsynced(released=2)
    assert found is not None
    assert (len(found.events), found.receipts) == (2, {"bob": read()})

    ledger.history.mark_synced(2)
    assert ledger.unsynced(released=2) == Unsynced(ledger.session, 2, 2, 2, (), receipts={"bob": read()})

    hot.set_healthy(True)
    await ledger.write()
    assert ledger.unsynced(released=2) is None


async def test_unsynced_read_marks_of_no_session(hot: AStore) -> None:
    """A session without an event is nothing to the archive."""
    ledger = await a_session(hot)
    ledger.mark_read("bob", read())
    ledger.begin_anew()

    assert ledger.unsynced(released=0) is None


async def test_unsynced_read_marks_when_events_are_elsewhere(hot: AStore) -> None:
    """Marks can be given though events cannot; the archive is told no higher mark than it has."""
    ledger = await a_forgetful_session(hot, 5)
    ledger.history.mark_synced(1)
    ledger.mark_read("bob", read())

    assert ledger.unsynced(released=5) == Unsynced(ledger.session, 1, 1, 1, (), receipts={"bob": read()})
