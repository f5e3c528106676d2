"""What tests of rooms have in common: their wall clock, what a seat has heard, and a bug to plant."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import trio

from trio_chat.history import History
from trio_chat.mail import Changed
from trio_chat.message import Message, Posted, new_epoch
from trio_chat.stores.base import Append, Session

if TYPE_CHECKING:
    import pytest

    from trio_chat.mail import Hearing
    from trio_chat.seat import Seat
    from trio_chat.stores.memory import MemoryArchive

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def now() -> datetime:
    """Tell the wall clock of these tests, which follows the virtual one."""
    return NOON + timedelta(seconds=trio.current_time())


def heard(seat: Seat) -> list[Hearing]:
    """Take everything a seat has heard and not read yet."""
    found: list[Hearing] = []
    while seat._hearings.statistics().current_buffer_used:
        found.append(seat._hearings.receive_nowait())
    return found


def seqs(hearings: list[Hearing]) -> list[int]:
    """Return the seqs of the changes among the hearings."""
    return [hearing.event.seq for hearing in hearings if isinstance(hearing, Changed)]


def crash_at(monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    """Plant a bug: deciding a post of this content raises."""
    post = History.post

    def crash(self: History, **fields: Any) -> Any:
        if fields["content"] == content:
            raise RuntimeError("a planted bug")
        return post(self, **fields)

    monkeypatch.setattr(History, "post", crash)


def archived(archive: MemoryArchive) -> list[str]:
    """Return the texts of everything in an archive, in order."""
    return [
        event.message.content
        for session in sorted(archive.sessions)
        for _, event in sorted(archive.rows(session).items())
    ]


def an_opening(room: str, count: int, now: datetime) -> Append:
    """Make the write that opens a session with so many messages."""
    epoch = new_epoch(now)
    events = tuple(
        Posted(
            Message(
                id=f"m{seq}",
                role="user",
                content="c",
                timestamp=now,
                metadata={},
                user_id="ada",
                seq=seq,
                rev=seq,
            )
        )
        for seq in range(1, count + 1)
    )
    return Append(Session(room, epoch), 0, count, 1, 0, events)
