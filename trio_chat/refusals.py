"""Writes to the archive so that a row it refuses does not hold up the rest.

What is refused is halved until the row that does it stands alone. That one is set aside; a read mark is let go of.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec
from typing_extensions import override

from trio_chat.stores.base import Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio_chat.stores.base import Archive, Batch, HotStore

logger = logging.getLogger(__name__)


class Refusals:
    """See the module. Lives as long as its syncer.

    Attributes:
        count: how many rows were refused.
    """

    def __init__(self, hot: HotStore, archive: Archive) -> None:
        self._hot = hot
        self._archive = archive
        self.count = 0

    @override
    def __repr__(self) -> str:
        return f"<Refusals count={self.count}>"

    async def write(self, batches: Sequence[Batch]) -> int:
        """Write, and return how many messages were new or changed. Raises `Unavailable`, never `Refused`.

        Cancelling is safe: writing may be repeated.
        """
        if not batches:
            return 0
        try:
            return await self._archive.write(batches)
        except Refused as refusal:
            halves = _halve(batches)
            if halves is None:
                await self._set_aside(batches[0], refusal)
                return 0
        return await self.write(halves[0]) + await self.write(halves[1])

    async def _set_aside(self, batch: Batch, refusal: Refused) -> None:
        self.count += 1
        for event in batch.events:
            logger.error(
                "room %s: the archive refuses message %s (session %s, event %d): %s",
                batch.session.room, event.message.id, batch.session.epoch, event.seq, refusal,
            )  # fmt: skip
            if self._hot.healthy:
                await self._hot.quarantine(batch.session, event.seq, str(refusal))
        for user in batch.receipts:
            logger.error(
                "room %s: the archive refuses the read mark of %r: %s", batch.session.room, user, refusal
            )


def _halve(batches: Sequence[Batch]) -> tuple[Sequence[Batch], Sequence[Batch]] | None:
    """Split batches in two, a single batch by what is in it. None if there is nothing to split."""
    if len(batches) > 1:
        middle = len(batches) // 2
        return batches[:middle], batches[middle:]
    batch, replace = batches[0], msgspec.structs.replace
    events, receipts = batch.events, [*batch.receipts.items()]
    if events and receipts:
        return [replace(batch, receipts={})], [replace(batch, events=())]
    if len(events) > 1:
        middle = len(events) // 2
        return [replace(batch, events=events[:middle])], [replace(batch, events=events[middle:])]
    if len(receipts) > 1:
        middle = len(receipts) // 2
        one, other = dict(receipts[:middle]), dict(receipts[middle:])
        return [replace(batch, receipts=one)], [replace(batch, receipts=other)]
    return None
