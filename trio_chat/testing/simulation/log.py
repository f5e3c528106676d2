"""What all clients of a simulation saw, in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

if TYPE_CHECKING:
    from trio_chat.testing.verdict.log import Entry


class Log:
    """See the module. Lives as long as a simulation."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._ops = 0

    @override
    def __repr__(self) -> str:
        return f"<Log entries={len(self.entries)}>"

    def add(self, entry: Entry) -> None:
        """Note something."""
        self.entries.append(entry)

    def next_op(self) -> int:
        """Return the number of the next operation."""
        self._ops += 1
        return self._ops
