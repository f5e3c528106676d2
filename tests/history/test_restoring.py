"""A history rebuilt from what it told a store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from trio_chat.history import Change, History
from trio_chat.message import Event

if TYPE_CHECKING:
    from collections.abc import Callable

from .house import EPOCH, a_history, delete, edit, every_story, ids, post, post_some, the_edited


def restored(history: History, events: tuple[Event, ...] | None = None) -> History:
    return History.restore(
        history.epoch,
        history.limit,
        top=history.top,
        synced=history.synced,
        floor=history.floor,
        first=history.first,
        events=history.entries(0) if events is None else events,
        keys=dict(history.keys()),
    )


def assert_same(one: History, other: History) -> None:
    assert one.statistics() == other.statistics()
    assert (one.epoch, one.first, one.snapshot()) == (other.epoch, other.first, other.snapshot())
    assert [one.since(n) for n in range(-1, one.top + 2)] == [other.since(n) for n in range(-1, one.top + 2)]
    assert [one.entries(n) for n in range(one.top + 1)] == [other.entries(n) for n in range(one.top + 1)]
    assert list(one.keys().items()) == list(other.keys().items())


@every_story
@pytest.mark.parametrize("synced", [0, 2, 5, 100])
def test_restored_equals_the_original(story: Callable[[History], None], synced: int) -> None:
    """A history rebuilt from what it told a store is the same history, whatever had been archived of it."""
    history = a_history()
    story(history)
    history.mark_synced(synced)

    assert_same(restored(history), history)


@every_story
def test_restored_goes_on_as_the_original(story: Callable[[History], None]) -> None:
    """What happens after a restart happens as it would have without one."""
    history = a_history()
    story(history)
    copy = restored(history)
    for one in (history, copy):
        post(one, key="after")
        post(one)
        edit(one, "after", "and edited")
        post(one)
        post(one)

    assert_same(copy, history)


@every_story
def test_restored_twice(story: Callable[[History], None]) -> None:
    """Restoring what was restored changes nothing."""
    history = a_history()
    story(history)

    assert_same(restored(restored(history)), history)


def test_restored_from_events_in_any_order() -> None:
    """A store may give the events in any order."""
    history = a_history()
    the_edited(history)

    assert_same(restored(history, history.entries(0)[::-1]), history)


def test_restored_in_spite_of_superseded_entries() -> None:
    """An entry that should have been dropped does no harm: the latest event of a message counts."""
    history = a_history()
    old = post(history, "one", key="k").event
    edit(history, "k", "two")
    gone = post(history, key="l").event
    delete(history, "l")
    assert old is not None
    assert gone is not None

    assert_same(restored(history, (old, gone, *history.entries(0))), history)


def test_restored_in_spite_of_synced_entries_that_left() -> None:
    """An entry that is neither in the window nor needed by the archive does no harm."""
    history = a_history(limit=2)
    post_some(history, 4)
    everything = history.entries(0)
    history.mark_synced(2)

    assert_same(restored(history, everything), history)


def test_restored_in_spite_of_a_floor_that_is_too_low() -> None:
    """Were the kept floor wrong, what is left over is still told to the stores, and nobody is told less than all."""
    history = a_history(limit=2)
    post_some(history, 5)
    everything = history.entries(0)

    copy = History.restore(EPOCH, 2, top=5, synced=0, floor=0, first=4, events=everything, keys={})

    assert (copy.floor, copy.entries(0), copy.entries(2)) == (3, everything, everything[2:])
    assert copy.since(1) is None


def test_restored_without_an_entry() -> None:
    """An entry that could not be read is missing, and nothing else."""
    history = a_history()
    post_some(history, 3)
    copy = restored(history, (*history.entries(0)[:1], *history.entries(0)[2:]))

    assert ids(copy) == ["m1", "m3"]
    assert post(copy).seq == 4


def test_restored_remembers_keys() -> None:
    """A retry after a restart is still the same message."""
    history = a_history(limit=1)
    post_some(history, 3)

    assert post(restored(history), key="m1") == Change("m1", 1, None)
