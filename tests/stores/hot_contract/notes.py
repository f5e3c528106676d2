"""Notes: some bytes under a name, kept for some time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from trio_chat.stores.base import Session

from .house import EPOCH, posts, seqs, written

if TYPE_CHECKING:
    from trio_chat.stores.base import HotStore


class NotesContract:
    """Notes are kept byte for byte, as long as was said, apart from all sessions."""

    async def test_unknown_note(self, hot: HotStore) -> None:
        """What nobody kept is not there, and can be discarded."""
        await hot.discard("a")

        assert await hot.kept("a") is None

    async def test_notes_are_kept_byte_for_byte(self, hot: HotStore) -> None:
        """Many at once, of any bytes, each under its own name."""
        notes = {"a": bytes(range(256)), "A": b"", "a-b_1": b"\r\n$3\r\nfoo", "x" * 128: b"y" * 100_000}
        await hot.keep({name: (note, 60.0) for name, note in notes.items()})

        assert {name: await hot.kept(name) for name in notes} == notes

    async def test_keeping_nothing(self, hot: HotStore) -> None:
        """No notes are no trouble, and change nothing."""
        await hot.keep({"a": (b"old", 60.0)})
        await hot.keep({})

        assert await hot.kept("a") == b"old"

    async def test_note_replaces_the_older_one(self, hot: HotStore) -> None:
        """A name has one note, with the newer time."""
        await hot.keep({"a": (b"old", 0.05), "b": (b"other", 60.0)})
        await hot.keep({"a": (b"new", 60.0)})
        await trio.sleep(0.1)

        assert await hot.kept("a") == b"new"
        assert await hot.kept("b") == b"other"

    async def test_note_is_forgotten_in_time(self, hot: HotStore) -> None:
        """Not before its time, and not after."""
        await hot.keep({"a": (b"short", 0.05), "b": (b"long", 60.0)})
        await trio.sleep(0.1)

        assert await hot.kept("a") is None
        assert await hot.kept("b") == b"long"

    async def test_discarded_note(self, hot: HotStore) -> None:
        """It is gone, and no other is."""
        await hot.keep({"a": (b"1", 60.0), "b": (b"2", 60.0)})
        await hot.discard("a")
        await hot.discard("a")

        assert await hot.kept("a") is None
        assert await hot.kept("b") == b"2"

    @pytest.mark.parametrize("name", ["", "x" * 129, "a b", "a:b", "a\n", "é", "*", "../a"])
    async def test_names_of_notes_are_plain(self, hot: HotStore, name: str) -> None:
        """A name that would need care is a mistake of the caller; nothing is kept."""
        for call in (hot.keep({"good": (b"1", 60.0), name: (b"2", 60.0)}), hot.kept(name), hot.discard(name)):
            with pytest.raises(ValueError, match="the name of a note"):
                await call
        assert await hot.kept("good") is None

    @pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan")])
    async def test_note_must_be_kept_for_some_time(self, hot: HotStore, seconds: float) -> None:
        """A note that is to be forgotten at once is a mistake of the caller."""
        with pytest.raises(ValueError, match="the time of a note"):
            await hot.keep({"a": (b"1", seconds)})

    async def test_notes_and_sessions_do_not_touch_each_other(self, hot: HotStore) -> None:
        """A room may be called what a note is called."""
        for room in ("note", "note:a", "a", "dirty"):
            await written(hot, posts(1, 1, session=Session(room, EPOCH)))
        await hot.keep(dict.fromkeys(("a", "note", "dirty", "now"), (b"1", 60.0)))
        await hot.discard("dirty")

        assert len(await hot.dirty()) == 4
        assert await seqs(hot, "note:a") == [1]
        assert await hot.kept("a") == b"1"
