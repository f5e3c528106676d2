"""Where entries go that nobody can read, or that the archive refuses: out of the log, for a person to look at."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import msgspec
from typing_extensions import override

from trio_chat.stores.redis_mending import Mender, session_script

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio_chat.stores.base import Session
    from trio_chat.stores.redis_records import Entries
    from trio_chat.stores.resp import Argument

_QUARANTINE: Final = session_script("quarantine.lua")
_KEPT: Final = 1000
"""How many entries of a room it holds: the newest."""
_log = logging.getLogger("trio_chat.stores.redis")


class Quarantine:
    """See the module. Lives as long as its store. Every method is safe to cancel and to repeat.

    Attributes:
        unreadable: how many entries could not be read.
    """

    def __init__(self, mender: Mender) -> None:
        self._mender = mender
        self.unreadable = 0

    @override
    def __repr__(self) -> str:
        return f"<Quarantine unreadable={self.unreadable}>"

    async def take_unreadable(self, session: Session, entries: Entries) -> None:
        """Take what could not be read of a session, if there is such."""
        if entries.unreadable:
            count = len(entries.unreadable)
            self.unreadable += count
            _log.warning("%d unreadable entries of room %s go to quarantine", count, session.room)
            await self.take(session, entries.unreadable)

    async def take(self, session: Session, entries: Sequence[tuple[bytes, str]]) -> None:
        """Take entries, given by their ids and why."""
        arguments: list[Argument] = [_KEPT]
        for name, why in entries:
            header = {"epoch": session.epoch, "id": name.decode(errors="replace"), "why": why}
            arguments += (name, msgspec.json.encode(header))
        await self._mender.run(_QUARANTINE, session, lambda: arguments)
