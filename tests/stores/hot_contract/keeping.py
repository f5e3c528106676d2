"""Keeping: what stays of all that was appended, and comes back as it went."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trio_chat.message import Receipt

from .house import HOSTILE, NOON, ROOM, SESSION, delete, edit, post, posts, seqs, write, written

if TYPE_CHECKING:
    from trio_chat.stores.base import HotStore


class KeepingContract:
    """An entry stays while the window or the archive needs it; of keys and receipts the newest stay."""

    async def test_superseded_entries_go(self, hot: HotStore) -> None:
        """Entries that a newer one replaces are dropped; unknown ones do not matter."""
        await written(hot, posts(1, 3), write(edit(4, of=2), expect=3, superseded=(2, 77)))

        assert await seqs(hot) == [1, 3, 4]

    async def test_trimming_spares_what_the_archive_lacks(self, hot: HotStore) -> None:
        """An entry below the window stays as long as it is not archived."""
        await written(hot, posts(1, 5), write(expect=5, first=4))

        assert await seqs(hot) == [1, 2, 3, 4, 5]

    async def test_trimming_spares_the_window(self, hot: HotStore) -> None:
        """An archived entry stays as long as the window needs it."""
        await written(hot, posts(1, 5))
        await hot.mark_synced([(SESSION, 5)])

        assert await seqs(hot) == [1, 2, 3, 4, 5]

    async def test_trimming_drops_what_nobody_needs(self, hot: HotStore) -> None:
        """Entries below the window go once they are archived, with the mark or with the next append."""
        await written(hot, posts(1, 5, first=3))
        await hot.mark_synced([(SESSION, 4)])
        assert await seqs(hot) == [3, 4, 5]

        await written(hot, write(expect=5, first=5))
        assert await seqs(hot) == [5]

    async def test_empty_window_keeps_what_the_archive_lacks(self, hot: HotStore) -> None:
        """A session without messages in its window still has entries to archive."""
        await written(hot, write(post(1), delete(2, of=1), first=0))
        assert await seqs(hot) == [1, 2]

        await hot.mark_synced([(SESSION, 1)])
        assert await seqs(hot) == [2]

    async def test_newest_keys_are_remembered(self, hot: HotStore) -> None:
        """Of the clients' ids the store keeps as many as it is told, the newest."""
        await written(hot, posts(1, 2, keys=(("a", 1), ("b", 2)), remember=3))
        await written(hot, posts(3, 4, keys=(("c", 3), ("d", 4)), remember=3))

        stored = await hot.load(ROOM)

        assert stored is not None
        assert stored.keys == {"b": 2, "c": 3, "d": 4}

    async def test_last_receipt_of_a_user_counts(self, hot: HotStore) -> None:
        """A user has one read mark."""
        await written(hot, posts(1, 2, receipts={"u": Receipt("m1", NOON), "v": Receipt("m1", NOON)}))
        await written(hot, write(expect=2, receipts={"u": Receipt("m2", NOON)}))

        stored = await hot.load(ROOM)

        assert stored is not None
        assert stored.receipts == {"u": Receipt("m2", NOON), "v": Receipt("m1", NOON)}

    async def test_hostile_texts_come_back_as_they_went(self, hot: HotStore) -> None:
        """Ids, users and contents are kept byte for byte, whatever they look like."""
        events = tuple(post(seq, id=text, content=text, user_id=text) for seq, text in enumerate(HOSTILE, 1))
        keys = tuple((text, seq) for seq, text in enumerate(HOSTILE, 1))
        receipts = {text: Receipt(text, NOON) for text in HOSTILE}
        await written(hot, write(*events, keys=keys, receipts=receipts))

        stored = await hot.load(ROOM)

        assert stored is not None
        assert stored.events == events
        assert stored.keys == dict(keys)
        assert stored.receipts == receipts

    async def test_long_messages_come_back_as_they_went(self, hot: HotStore) -> None:
        """The size of a message does not matter."""
        events = (post(1, content="All work and no play. " * 3000), post(2, content="\x01\x7f\n" * 20_000))
        await written(hot, write(*events))

        stored = await hot.load(ROOM)

        assert stored is not None
        assert stored.events == events
