"""Sessions to measure with: written into the hot store as rooms write them, a turn at a time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import trio

from trio_chat.message import Message, Posted, new_epoch
from trio_chat.stores.base import Append, HotStore, Session

if TYPE_CHECKING:
    from collections.abc import Sequence

_TURN = 50
_WRITERS = 20


def new_session(room: str) -> Session:
    """Return a session of the room that begins now."""
    return Session(room, new_epoch(datetime.now(UTC)))


def posted(session: Session, seq: int, size: int) -> Posted:
    """Return the event that posts a message of so many characters."""
    text = f"message {seq} of {session.room}, about nothing in particular; "
    message = Message(
        id=f"{session.epoch[-12:]}-{seq}",
        role="user",
        content=(text * (size // len(text) + 1))[:size],
        timestamp=datetime.now(UTC),
        metadata={},
        user_id=f"u{seq % 10}",
        seq=seq,
        rev=seq,
    )
    return Posted(message)


def turn(session: Session, first: int, last: int, size: int) -> Append:
    """Return what a room writes when it has taken the messages `first` to `last` in one turn."""
    events = tuple(posted(session, seq, size) for seq in range(first, last + 1))
    return Append(session, first - 1, last, 1, 0, events, token=f"{session.epoch}:{last}")


async def fill(hot: HotStore, sessions: Sequence[Session], messages: int, size: int) -> None:
    """Write so many messages into each session. All of them are dirty then. Cancelling leaves it half done."""
    waiting = list(reversed(sessions))

    async def write_some() -> None:
        while waiting:
            session = waiting.pop()
            for first in range(1, messages + 1, _TURN):
                last = min(first + _TURN - 1, messages)
                if (conflict := await hot.append(turn(session, first, last, size))) is not None:
                    raise RuntimeError(f"somebody else writes to {session}: {conflict}")

    async with trio.open_nursery() as nursery:
        for _ in range(_WRITERS):
            nursery.start_soon(write_some)
