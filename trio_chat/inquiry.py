"""What the archive knows of one room, asked where the hot store's word may not be all.

An archive that is away is not asked, and one that is slow is waited for a second: then the hot store's word has to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import msgspec
import trio
from typing_extensions import override

from trio_chat.errors import TrioChatError
from trio_chat.message import Receipt

if TYPE_CHECKING:
    from trio_chat.stores.base import Archive, Session

_SECONDS: Final = 1.0


class Word(msgspec.Struct):
    """What the archive says before a session begins.

    Attributes:
        receipts: who had read how far.
        later: the epoch of a session of the room that the new one would not come behind; None if there is none.
    """

    receipts: Mapping[str, Receipt] = {}
    later: str | None = None


class Inquiry:
    """Asks the archive about one room. Lives as long as the room's ledger. Cancelling any call is safe."""

    def __init__(self, room: str, archive: Archive | None) -> None:
        self._room = room
        self._archive = archive
        self._asked = False
        """Whether it has said all there is to know before a session begins."""

    @override
    def __repr__(self) -> str:
        return f"<Inquiry {self._room} asked={self._asked}>"

    async def ask(self, epoch: str) -> Word:
        """Ask, until it has told once, what a session of this epoch that begins now must know."""
        word = Word()
        archive = self._archive
        if self._asked or archive is None or not archive.healthy:
            return word
        with trio.move_on_after(_SECONDS), suppress(TrioChatError):
            word.receipts = await archive.receipts(self._room)
            if epoch <= await archive.latest():
                # The clock was ahead once, though perhaps not in this room.
                newest = await archive.page(self._room, None, 1)
                if newest and newest[0].epoch >= epoch:
                    word.later = newest[0].epoch
            self._asked = True
        return word

    async def knows_more(self, session: Session, top: int) -> bool:
        """Return whether it has events of a session above `top`."""
        if self._archive is None or not self._archive.healthy:
            return False
        with trio.move_on_after(_SECONDS), suppress(TrioChatError):
            return await self._archive.top(session) > top
        return False
