"""What a room should show, told a second time and in the plainest way: lists, copied at every event.

It shares nothing with `trio_chat.history` but the words of its rules, so that a mistake there is none here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
from typing_extensions import override

from trio_chat.message import Deleted, Event, Message

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


class Line(msgspec.Struct, frozen=True):
    """A message as it reads, without its time."""

    id: str
    user: str
    role: str
    content: str
    metadata: dict[str, Any]
    seq: int
    rev: int


Window: TypeAlias = tuple[Line, ...]


def line_of(message: Message) -> Line:
    """Return how a message reads."""
    return Line(
        message.id,
        message.user_id,
        message.role,
        message.content,
        message.metadata,
        message.seq,
        message.rev,
    )


def window_of(messages: Iterable[Message]) -> Window:
    """Return how messages read."""
    return tuple(map(line_of, messages))


class Model:
    """A session of up to `limit` messages, and everything it ever showed. Lives as long as its check.

    Attributes:
        windows: the window as it was after each event; ``windows[n]`` at seq n.
        floors: the floor after each event: who has seen less cannot be told what they missed.
        lines: each event's message as it read right after it, by the event's seq; without content once deleted.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.windows: list[Window] = [()]
        self.floors = [0]
        self.lines: dict[int, Line] = {}
        self._deleted: list[int] = []

    @override
    def __repr__(self) -> str:
        return f"<Model top={self.top} messages={len(self.window)}>"

    @property
    def top(self) -> int:
        """The seq of the newest event."""
        return len(self.windows) - 1

    @property
    def window(self) -> Window:
        """The window as it is now."""
        return self.windows[-1]

    @property
    def floor(self) -> int:
        """The floor as it is now."""
        return self.floors[-1]

    @property
    def deleted(self) -> dict[str, int]:
        """The messages that are known to be deleted, and the event that did it."""
        return {self.lines[seq].id: seq for seq in self._deleted if seq > self.floor}

    def find(self, message_id: str) -> Line | None:
        """Return a message of the window."""
        return next((line for line in self.window if line.id == message_id), None)

    def post(self, message_id: str, user: str, role: str, content: str, metadata: dict[str, Any]) -> Line:
        """Post a message; when there are more than `limit`, the oldest leaves for good."""
        seq = self.top + 1
        line = Line(message_id, user, role, content, metadata, seq, seq)
        window = [*self.window, line]
        gone = window[: max(0, len(window) - self.limit)]
        return self._next(line, window[len(gone) :], [old.rev for old in gone])

    def edit(self, message_id: str, content: str, metadata: dict[str, Any] | None) -> Line:
        """Change a message of the window where it stands."""
        old = self._get(message_id)
        kept = old.metadata if metadata is None else metadata
        new = Line(old.id, old.user, old.role, content, kept, old.seq, self.top + 1)
        return self._next(new, [new if line is old else line for line in self.window], [])

    def delete(self, message_id: str) -> Line:
        """Take a message out of the window. Of the newest `limit` deletions it is known that they happened."""
        old = self._get(message_id)
        new = Line(old.id, old.user, old.role, "", {}, old.seq, self.top + 1)
        known = [seq for seq in self._deleted if seq > self.floor]
        known.append(new.rev)
        forgotten = known[: max(0, len(known) - self.limit)]
        self._deleted = known[len(forgotten) :]
        return self._next(new, [line for line in self.window if line is not old], forgotten)

    def _get(self, message_id: str) -> Line:
        found = self.find(message_id)
        if found is None:
            raise KeyError(f"no message {message_id!r} in the window")
        return found

    def _next(self, line: Line, window: Sequence[Line], forgotten: Sequence[int]) -> Line:
        self.lines[line.rev] = line
        self.windows.append(tuple(window))
        self.floors.append(max(self.floors[-1], *forgotten) if forgotten else self.floors[-1])
        return line


def caught_up(had: Window, changes: Iterable[Event], first: int) -> Window:
    """Return what a client shows that had a window and is told what has changed since."""
    lines: dict[int, Line] = {line.seq: line for line in had}
    for event in changes:
        if isinstance(event, Deleted):
            lines.pop(event.message.seq, None)
        else:
            lines[event.message.seq] = line_of(event.message)
    return _in_order(lines, first)


def _in_order(lines: Mapping[int, Line], first: int) -> Window:
    return tuple(lines[seq] for seq in sorted(lines) if seq >= first)
