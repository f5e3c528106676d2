"""A session's history and what may happen to it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from trio_chat.history import Change, History
from trio_chat.message import Event

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = datetime(2026, 3, 1, 13, tzinfo=UTC)
EPOCH = "019ca8f8-6c00-7abc-8def-0123456789ab"


def a_history(limit: int = 3) -> History:
    return History(EPOCH, limit)


def post(history: History, content: str = "hi", *, key: str | None = None, user: str = "ann") -> Change:
    return history.post(key=key, user=user, role="user", content=content, metadata={}, now=NOON)


def post_some(history: History, count: int) -> None:
    """Post messages with the ids m1, m2, ... by the seq each one gets."""
    for _ in range(count):
        post(history, f"text {history.top + 1}", key=f"m{history.top + 1}")


def edit(
    history: History,
    message_id: str,
    content: str = "edited",
    *,
    user: str = "ann",
    moderator: bool = False,
    metadata: dict[str, Any] | None = None,
) -> Change:
    return history.edit(
        message_id, user=user, moderator=moderator, content=content, metadata=metadata, now=LATER
    )


def delete(history: History, message_id: str, *, user: str = "ann", moderator: bool = False) -> Change:
    return history.delete(message_id, user=user, moderator=moderator, now=LATER)


def ids(history: History) -> list[str]:
    return [message.id for message in history.snapshot()]


def seqs(events: tuple[Event, ...]) -> list[int]:
    return [event.seq for event in events]


def the_quiet(history: History) -> None:
    post_some(history, 3)


def the_busy(history: History) -> None:
    post_some(history, 11)


def the_emptied(history: History) -> None:
    post_some(history, 3)
    for name in ("m2", "m3", "m1"):
        delete(history, name)


def the_emptied_often(history: History) -> None:
    for _ in range(6):
        change = post(history)
        delete(history, change.id)


def the_edited(history: History) -> None:
    post_some(history, 4)
    edit(history, "m2", "a")
    edit(history, "m4", "b")
    edit(history, "m2", "c")


def the_edited_and_pushed_out(history: History) -> None:
    post_some(history, 3)
    edit(history, "m1", "late")
    post_some(history, 1)
    edit(history, "m3", "later")
    post_some(history, 2)


def the_deleted_old_edited_young(history: History) -> None:
    post_some(history, 3)
    delete(history, "m1")
    edit(history, "m2", "x")
    post_some(history, 2)
    delete(history, "m6")
    post_some(history, 1)
    edit(history, "m3" if history.has("m3") else "m7", "y")


def the_posted_and_deleted(history: History) -> None:
    post_some(history, 2)
    post(history, key="gone")
    delete(history, "gone")
    post_some(history, 2)


def the_tombstone_first(history: History) -> None:
    post_some(history, 2)
    delete(history, "m1")
    delete(history, "m2")
    post_some(history, 3)


def the_nothing(history: History) -> None:
    assert history.top == 0


STORIES = [
    the_nothing,
    the_quiet,
    the_busy,
    the_emptied,
    the_emptied_often,
    the_edited,
    the_edited_and_pushed_out,
    the_deleted_old_edited_young,
    the_posted_and_deleted,
    the_tombstone_first,
]

every_story = pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
