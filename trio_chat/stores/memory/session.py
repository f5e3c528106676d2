"""One session as the hot store in memory keeps it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trio_chat.message import Event, Receipt
    from trio_chat.stores.base import Append, Session


class KeptSession:
    """See the module. `active` is the time of the last append, in seconds."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.top = self.synced = self.floor = self.first = 0
        self.active = 0.0
        self.token = ""
        self.log: dict[int, Event] = {}
        self.keys: dict[str, int] = {}
        self.receipts: dict[str, Receipt] = {}
        self.pending: dict[str, Receipt] = {}

    @property
    def clean(self) -> bool:
        """Whether the archive has all of it."""
        return self.top <= self.synced and not self.pending

    def add(self, write: Append, now: float) -> None:
        """Take everything of a write, which was found to fit."""
        self.top, self.first, self.floor = write.top, write.first, write.floor
        self.token, self.active = write.token, now
        self.log.update((event.seq, event) for event in write.events)
        for seq in write.superseded:
            self.log.pop(seq, None)
        self.keys.update(write.keys)
        for _ in range(len(self.keys) - write.remember):
            del self.keys[next(iter(self.keys))]
        self.receipts.update(write.carried)
        self.receipts.update(write.receipts)
        self.pending.update(write.receipts)
        self.trim()

    def mark(self, seq: int, archived: Mapping[str, Receipt]) -> None:
        """Know what the archive has: everything up to `seq`, and these read marks."""
        self.synced = max(self.synced, min(seq, self.top))
        for user, receipt in archived.items():
            if self.pending.get(user) == receipt:
                del self.pending[user]
        self.trim()

    def trim(self) -> None:
        """Let go of what nobody needs: below the window and below the mark."""
        keep = self.synced + 1 if self.first == 0 else min(self.first, self.synced + 1)
        for seq in [seq for seq in self.log if seq < keep]:
            del self.log[seq]
