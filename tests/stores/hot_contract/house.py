"""What the facts are told with: messages, events and appends, and what a test module must tell of its store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import trio

from trio_chat.message import Deleted, Edited, Event, Message, Posted, new_epoch
from trio_chat.stores.base import Append, Session

if TYPE_CHECKING:
    from trio_chat.stores.base import HotStore, Submitted

NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)
ROOM = "team-42/general"
OLDER, EPOCH, NEWER = (new_epoch(NOON + timedelta(hours=hours)) for hours in range(3))
SESSION = Session(ROOM, EPOCH)
HOSTILE = ["a b", "*", "{x}", "a:b", "é…😀", "' OR 1=1", "-0", "e", "\\u0000", "1 2", "\u2028", "x" * 128]


def message(seq: int, rev: int | None = None, **changes: Any) -> Message:
    """Make the message that was posted as event `seq`."""
    fields: dict[str, Any] = {
        "id": f"m{seq}",
        "role": "user",
        "content": f"text {seq}",
        "timestamp": NOON + timedelta(seconds=min(seq, 10**6)),
        "metadata": {},
        "user_id": "u1",
    }
    return Message(**(fields | changes), seq=seq, rev=rev or seq)


def post(seq: int, **changes: Any) -> Posted:
    """Make the event that posts message `seq`."""
    return Posted(message(seq, **changes))


def edit(seq: int, of: int) -> Edited:
    """Make event `seq`, which edits message `of`."""
    return Edited(message(of, seq, content=f"text {of}, edited"), NOON + timedelta(seconds=seq))


def delete(seq: int, of: int) -> Deleted:
    """Make event `seq`, which deletes message `of`."""
    return Deleted(message(of, seq, content=""), NOON + timedelta(seconds=seq))


def write(*events: Event, session: Session = SESSION, expect: int = 0, **changes: Any) -> Append:
    """Make an append of some events, with everything else as simple as it can be."""
    top = events[-1].seq if events else expect
    fields: dict[str, Any] = {"expect": expect, "top": top, "first": 1, "floor": 0, "token": f"t{top}"}
    return Append(session=session, events=events, **(fields | changes))


def posts(low: int, high: int, **changes: Any) -> Append:
    """Make an append of the messages `low` to `high`."""
    fields: dict[str, Any] = {"expect": low - 1}
    return write(*map(post, range(low, high + 1)), **(fields | changes))


async def seqs(hot: HotStore, room: str = ROOM) -> list[int]:
    """Return the seqs in the log of the room's current session."""
    stored = await hot.load(room)
    return [event.seq for event in stored.events] if stored else []


async def written(hot: HotStore, first: Append, *more: Append) -> None:
    """Append and see that it worked."""
    for each in (first, *more):
        assert await hot.append(each) is None


class Submission:
    """What is told of one submission."""

    def __init__(self) -> None:
        self.outcomes: list[Submitted] = []
        self._told = trio.Event()

    def note(self, outcome: Submitted) -> None:
        """Take what became of it."""
        self.outcomes.append(outcome)
        self._told.set()

    async def outcome(self) -> Submitted:
        """Return what became of it, which is told once."""
        with trio.fail_after(5):
            await self._told.wait()
        [outcome] = self.outcomes
        return outcome


def submitted(hot: HotStore, append: Append) -> Submission:
    """Submit an append."""
    submission = Submission()
    assert hot.submit(append, submission.note)
    return submission


class Hooks:
    """How the facts look behind the store's back. The test module's class says how."""

    def expires(self, hot: HotStore, session: Session) -> bool:
        """Whether the session would go by itself if nobody touched it any more."""
        raise NotImplementedError

    def set_aside(self, hot: HotStore, room: str) -> int:
        """How many entries of the room are in quarantine."""
        raise NotImplementedError
