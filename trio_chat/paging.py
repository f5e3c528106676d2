"""Reading a room backwards across the seam: the window, then what waits for the archive, then the archive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from trio_chat.message import Deleted, Event, Position
from trio_chat.stores.base import Archive, Archived, HotStore, Session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio_chat.mail import View

Source = Literal["window", "archive", "window+archive"]

MAX_PAGE = 200
_WAITING = 10_000


class Page(msgspec.Struct, frozen=True):
    """Messages of a room, oldest first.

    Attributes:
        messages: each with the epoch of its session.
        source: where they came from.
        more: whether there are older ones.
        before: the position to ask for next; None if there is nothing older.
    """

    messages: tuple[Archived, ...]
    source: Source
    more: bool
    before: Position | None


async def read_page(
    room: str, view: View, before: Position | None, limit: int, *, hot: HotStore, archive: Archive
) -> Page:
    """Return the newest `limit` (at most 200) messages below `before`, or the newest of all.

    Cancelling is safe.

    Raises:
        Unavailable: the page reaches behind the window, and what is needed for that is away.
    """
    limit = max(1, min(limit, MAX_PAGE))
    recent = _below([Archived(view.epoch, message) for message in view.messages], before)
    if len(recent) > limit:
        return _page(recent, limit, "window")
    oldest = Position(view.epoch, view.messages[0].seq if view.messages else view.seq + 1)
    edge = oldest if before is None or _key(before) > _key(oldest) else before
    # Read before the archive, or what is archived in between would be in neither.
    waiting = view.waiting if view.complete else await _waiting(room, view.epoch, hot)
    gone = sum(isinstance(event, Deleted) for event in waiting)
    # One more than is asked for tells whether there is more; the archive may still have what is deleted.
    older = await archive.page(room, edge, limit + 1 - len(recent) + gone)
    older = _merge(older, view.epoch, waiting, edge)
    source: Source = "window+archive" if recent and older else "archive" if older else "window"
    return _page([*older, *recent], limit, source)


def _key(position: Position) -> tuple[str, int]:
    return position.epoch, position.seq


def _below(found: list[Archived], before: Position | None) -> list[Archived]:
    if before is None:
        return found
    return [one for one in found if (one.epoch, one.message.seq) < _key(before)]


async def _waiting(room: str, epoch: str, hot: HotStore) -> tuple[Event, ...]:
    """Return what the archive does not have yet of the session, from the hot store."""
    found = await hot.unsynced(Session(room, epoch), _WAITING)
    return () if found is None else found.events


def _merge(older: list[Archived], epoch: str, waiting: Sequence[Event], edge: Position) -> list[Archived]:
    """Put the newer states over the archived ones."""
    known = {(one.epoch, one.message.seq): one for one in older}
    for event in waiting:
        key = (epoch, event.message.seq)
        if isinstance(event, Deleted):
            known.pop(key, None)
        else:
            known[key] = Archived(epoch, event.message)
    return _below([known[key] for key in sorted(known)], edge)


def _page(found: list[Archived], limit: int, source: Source) -> Page:
    more = len(found) > limit
    messages = tuple(found[-limit:])
    before = Position(messages[0].epoch, messages[0].message.seq) if more else None
    return Page(messages, source, more, before)
