"""What a history keeps for the stores: entries until the archive has them, and no more than it may."""

from __future__ import annotations

from .house import a_history, delete, edit, ids, post, post_some, seqs

# --- entries, left over, synced


def test_entries_hold_what_left_the_window() -> None:
    """Until the archive has them, messages that left the window are still entries, in order."""
    history = a_history(limit=2)
    post_some(history, 5)

    assert seqs(history.entries(0)) == [1, 2, 3, 4, 5]


def test_entries_above() -> None:
    """Only what is above the given seq."""
    history = a_history(limit=2)
    post_some(history, 5)

    assert seqs(history.entries(2)) == [3, 4, 5]
    assert seqs(history.entries(3)) == [4, 5]
    assert seqs(history.entries(5)) == []


def test_entries_leave_out_the_superseded() -> None:
    """The latest event of a message says everything."""
    history = a_history()
    post_some(history, 2)
    edit(history, "m1")

    assert seqs(history.entries(0)) == [2, 3]


def test_find_what_is_an_entry() -> None:
    """What is in the log or left over is found by its seq, not what was superseded, let go of, or never was."""
    history = a_history(limit=2)
    post_some(history, 6)
    edit(history, "m6")
    history.forget(7, 2)
    found = [history.find(seq) for seq in range(9)]

    assert tuple(event for event in found if event is not None) == history.entries(0)
    assert [seq for seq, event in enumerate(found) if event is not None] == [3, 4, 5, 7]


def test_entries_hold_tombstones_that_left() -> None:
    """A deletion the archive does not know stays an entry, though its tombstone is gone."""
    history = a_history(limit=1)
    for _ in range(3):
        change = post(history)
        delete(history, change.id)

    assert seqs(history.entries(0)) == [2, 4, 6]


def test_mark_synced_lets_go_of_what_is_left_over() -> None:
    """What the archive has need not be kept for it."""
    history = a_history(limit=2)
    post_some(history, 5)
    history.mark_synced(2)

    assert seqs(history.entries(0)) == [3, 4, 5]
    assert history.unsynced == 3


def test_mark_synced_never_falls() -> None:
    """A late mark changes nothing."""
    history = a_history()
    post_some(history, 3)
    history.mark_synced(3)
    history.mark_synced(1)

    assert history.synced == 3


def test_mark_synced_stays_below_the_top() -> None:
    """A mark above the top is the top."""
    history = a_history()
    post_some(history, 2)
    history.mark_synced(99)

    assert history.synced == 2


def test_what_is_synced_is_not_left_over() -> None:
    """A message the archive has leaves the window without a trace."""
    history = a_history(limit=2)
    post_some(history, 2)
    history.mark_synced(2)
    post_some(history, 2)

    assert history.statistics().left_over == 0


def test_mark_synced_leaves_the_window_alone() -> None:
    """The window is for those who join, whatever the archive has."""
    history = a_history(limit=2)
    post_some(history, 3)
    history.mark_synced(3)

    assert ids(history) == ["m2", "m3"]


# --- forget and complete


def test_new_history_is_complete() -> None:
    """As long as nothing is forgotten, everything unsynced is here."""
    history = a_history(limit=1)
    post_some(history, 5)

    assert history.complete


def test_forget_lets_go_of_the_oldest_written() -> None:
    """Beyond the newest few, left over events that the hot store has are forgotten, the oldest first."""
    history = a_history(limit=1)
    post_some(history, 6)
    history.forget(written=6, keep=2)

    assert seqs(history.entries(0)) == [4, 5, 6]
    assert not history.complete


def test_forget_keeps_what_is_not_written() -> None:
    """What nobody else has is never forgotten."""
    history = a_history(limit=1)
    post_some(history, 6)
    history.forget(written=1, keep=0)

    assert seqs(history.entries(0)) == [2, 3, 4, 5, 6]


def test_forget_lets_go_of_many_at_once() -> None:
    """Of a large number a sixteenth more may stay, so that not each message costs a look at all of them."""
    history = a_history(limit=1)
    post_some(history, 35)
    history.forget(written=35, keep=32)
    assert history.statistics().left_over == 34

    post(history)
    history.forget(written=36, keep=32)

    assert history.statistics().left_over == 32


def test_forget_within_bounds() -> None:
    """Few left over events are all kept."""
    history = a_history(limit=1)
    post_some(history, 4)
    history.forget(written=4, keep=3)

    assert history.complete
    assert seqs(history.entries(0)) == [1, 2, 3, 4]


def test_complete_again_after_a_sync() -> None:
    """Once the archive has what was forgotten, the rest is complete again."""
    history = a_history(limit=1)
    post_some(history, 6)
    history.forget(written=6, keep=2)
    history.mark_synced(2)

    assert not history.complete
    history.mark_synced(3)
    assert history.complete


# --- superseded


def test_superseded_seqs_are_told_once() -> None:
    """A store is told once which entries it need not keep."""
    history = a_history()
    post_some(history, 2)
    edit(history, "m1")
    edit(history, "m1", "again")
    delete(history, "m2")

    assert history.superseded == [1, 3, 2]
    assert history.take_superseded() == (1, 3, 2)
    assert history.take_superseded() == ()


def test_leaving_the_window_supersedes_nothing() -> None:
    """What left is still for the archive."""
    history = a_history(limit=1)
    post_some(history, 3)

    assert history.take_superseded() == ()
