"""What every archive must do, whatever it is made of. A test module inherits this and has a fixture `archive`."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import trio

from trio_chat.message import Deleted, Edited, Message, Position, Posted, Receipt, new_epoch
from trio_chat.stores.base import OUTLIVING_RECEIPTS, Batch, Refused, Session

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trio_chat.message import Event
    from trio_chat.stores.base import Archive, Archived

NOON = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)

HOSTILE = [
    "'; drop table messages; --",
    'back\\slash \\N \\. \\x00 \\u0000 %s $1 {} "quoted"',
    "tab\tnewline\nreturn\rfeed\x0cbell\x07delete\x7f",
    "\ufeffbom \u2028line \u200dzero \u202eright to left \ufffd \uffff",
    "e\u0301 is not \u00e9, and \U0001f469\u200d\U0001f4bb is one of \U0010ffff",
    " leading and trailing ",
    "x" * 65536,
]


def session(room: str = "team-42/general", hour: int = 0) -> Session:
    """Make a session that began so many hours after noon."""
    return Session(room, new_epoch(NOON + timedelta(hours=hour)))


def posted(seq: int, content: str = "hello", **changes: Any) -> Posted:
    """Make the event that posts message number `seq`."""
    fields = {"id": f"m{seq}", "role": "user", "metadata": {}, "user_id": "ada"}
    timestamp = NOON + timedelta(seconds=seq)
    return Posted(
        Message(**fields | {"content": content, "timestamp": timestamp, "seq": seq, "rev": seq} | changes)
    )


def edited(seq: int, rev: int, content: str = "edited") -> Edited:
    """Make the event that edits message number `seq`."""
    return Edited(posted(seq, content, rev=rev).message, NOON + timedelta(hours=1, seconds=rev))


def deleted(seq: int, rev: int) -> Deleted:
    """Make the event that deletes message number `seq`."""
    return Deleted(posted(seq, "", rev=rev).message, NOON + timedelta(hours=2, seconds=rev))


def read(message_id: str = "m1", seconds: float = 0) -> Receipt:
    """Make a read mark of so many seconds after noon."""
    return Receipt(message_id, NOON + timedelta(seconds=seconds))


def batch(
    where: Session,
    *events: Event,
    top: int | None = None,
    ended: datetime | None = None,
    receipts: Mapping[str, Receipt] | None = None,
) -> Batch:
    """Make a batch of one session."""
    highest = max((event.seq for event in events), default=0)
    return Batch(where, highest if top is None else top, events, ended, receipts or {})


def contents(page: Sequence[Archived]) -> list[str]:
    """Return the texts of a page."""
    return [archived.message.content for archived in page]


class ArchiveContract:
    """The facts. `archive` is empty and well at the beginning of each."""

    async def test_what_was_written_comes_back_oldest_first(self, archive: Archive) -> None:
        """A page holds the messages as they were written, in order, with their epoch."""
        where = session()
        events = [
            posted(1, "one"),
            posted(2, "two", role="assistant", metadata={"model": "x"}),
            posted(3, "three"),
        ]

        assert await archive.write([batch(where, *events)]) == 3
        page = await archive.page(where.room, None, 10)
        assert [one.message for one in page] == [event.message for event in events]
        assert {one.epoch for one in page} == {where.epoch}

    async def test_replay_changes_nothing(self, archive: Archive) -> None:
        """Writing the same batches again reports no change and makes none."""
        where = session()
        batches = [batch(where, posted(1), posted(2), edited(1, 3), ended=NOON)]
        await archive.write(batches)
        before = await archive.page(where.room, None, 10)

        assert await archive.write(batches) == 0
        assert await archive.page(where.room, None, 10) == before

    async def test_overlap_counts_once(self, archive: Archive) -> None:
        """Only what was not there before is counted."""
        where = session()
        await archive.write([batch(where, posted(1), posted(2))])

        assert await archive.write([batch(where, posted(2), posted(3))]) == 1

    async def test_events_of_one_message_count_once(self, archive: Archive) -> None:
        """However many events a batch has of a message, it is one message that is new."""
        where = session()

        assert await archive.write([batch(where, posted(1), edited(1, 2), edited(1, 3, "last"))]) == 1
        assert contents(await archive.page(where.room, None, 10)) == ["last"]

    @pytest.mark.parametrize("order", list(itertools.permutations((1, 2, 3))), ids=str)
    async def test_order_of_arrival_does_not_matter(self, archive: Archive, order: tuple[int, ...]) -> None:
        """The state with the highest rev stays, whichever event comes first."""
        events = {1: posted(1, "first"), 2: edited(1, 2, "second"), 3: edited(1, 3, "third")}
        where = session()
        for number in order:
            await archive.write([batch(where, events[number])])

        assert contents(await archive.page(where.room, None, 10)) == ["third"]

    async def test_edit_keeps_place_and_time(self, archive: Archive) -> None:
        """An edited message stays where it was posted, with the time it was posted."""
        where = session()
        await archive.write([batch(where, posted(1), posted(2))])

        assert await archive.write([batch(where, edited(1, 3, "better"))]) == 1
        page = await archive.page(where.room, None, 10)
        assert contents(page) == ["better", "hello"]
        assert page[0].message == posted(1, "better", rev=3).message

    async def test_deleted_message_is_gone(self, archive: Archive) -> None:
        """A deleted message is on no page."""
        where = session()
        await archive.write([batch(where, posted(1), posted(2, "kept"))])

        assert await archive.write([batch(where, deleted(1, 3))]) == 1
        assert contents(await archive.page(where.room, None, 10)) == ["kept"]

    async def test_delete_may_arrive_before_its_post(self, archive: Archive) -> None:
        """A message whose deletion was archived first never appears."""
        where = session()
        await archive.write([batch(where, deleted(1, 5))])

        assert await archive.write([batch(where, posted(1), edited(1, 2))]) == 0
        assert await archive.page(where.room, None, 10) == []

    async def test_paging_crosses_sessions(self, archive: Archive) -> None:
        """Walking back page by page meets every message of the room once, in order."""
        sessions = [session(hour=hour) for hour in range(3)]
        await archive.write(
            [
                batch(where, *(posted(seq, f"{where.epoch} {seq}") for seq in range(1, 6)))
                for where in sessions
            ]
        )
        walked: list[Archived] = []
        before = None
        while page := await archive.page(sessions[0].room, before, 4):
            assert len(page) == 4 or len(walked) == 12
            walked = page + walked
            before = Position(page[0].epoch, page[0].message.seq)

        assert contents(walked) == [f"{where.epoch} {seq}" for where in sessions for seq in range(1, 6)]

    async def test_page_ends_below_its_position(self, archive: Archive) -> None:
        """`before` is excluded, and so is everything newer."""
        where = session()
        await archive.write([batch(where, *(posted(seq, str(seq)) for seq in range(1, 10)))])

        assert contents(await archive.page(where.room, Position(where.epoch, 5), 2)) == ["3", "4"]
        assert await archive.page(where.room, Position(where.epoch, 1), 2) == []

    async def test_unknown_room_is_empty(self, archive: Archive) -> None:
        """A room nobody wrote to has an empty page."""
        assert await archive.page("nobody/here", None, 10) == []

    async def test_rooms_are_isolated(self, archive: Archive) -> None:
        """A room sees its own messages, however alike the ids are."""
        rooms = ["a_b", "axb", "a", "a_b/", "A_B", "a:b", "a:b:c"]
        await archive.write([batch(session(room), posted(1, room)) for room in rooms])

        for room in rooms:
            assert contents(await archive.page(room, None, 10)) == [room]

    @pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
    async def test_text_is_kept_byte_for_byte(self, archive: Archive, text: str) -> None:
        """Whatever a text holds, it comes back unchanged, in content, ids and metadata."""
        where = session()
        event = posted(1, text, id=text[:128], user_id=text[:128], metadata={text[:64]: [text]})
        await archive.write([batch(where, event)])

        [archived] = await archive.page(where.room, None, 10)
        assert archived.message == event.message

    async def test_metadata_is_kept(self, archive: Archive) -> None:
        """Numbers at the edges, nesting, null and booleans come back equal."""
        deep: Any = "end"
        for _ in range(30):
            deep = [deep]
        numbers = [
            0,
            -0.0,
            0.1,
            -1.5,
            2**53 - 1,
            1 - 2**53,
            1e16,
            1e22,
            1e23,
            1e300,
            -1.7976931348623157e308,
            5e-324,
        ]
        metadata = {
            "numbers": numbers,
            "deep": deep,
            "": None,
            "flags": [True, False],
            "nested": {"a": {"b": {}}},
        }
        where = session()
        await archive.write([batch(where, posted(1, metadata=metadata))])

        [archived] = await archive.page(where.room, None, 10)
        assert archived.message.metadata == metadata

    async def test_read_marks_come_back(self, archive: Archive) -> None:
        """They are the room's, written with events or without, and are no messages."""
        where = session()

        assert await archive.write([batch(where, posted(1), receipts={"ada": read("m1")})]) == 1
        assert await archive.write([batch(where, top=1, receipts={"bob": read("m1", 1e-6)})]) == 0
        assert await archive.receipts(where.room) == {"ada": read("m1"), "bob": read("m1", 1e-6)}
        assert len(await archive.page(where.room, None, 10)) == 1

    async def test_room_without_read_marks(self, archive: Archive) -> None:
        """There are none of a room nobody read in."""
        await archive.write([batch(session(), posted(1))])

        assert await archive.receipts(session().room) == {}
        assert await archive.receipts("nobody/here") == {}

    @pytest.mark.parametrize("order", list(itertools.permutations((1, 2, 3))), ids=str)
    async def test_newest_read_mark_stays(self, archive: Archive, order: tuple[int, ...]) -> None:
        """Whichever comes first, and whatever session it was made in: later ones replace earlier ones."""
        for number in order:
            where = session(hour=number % 2)
            await archive.write([batch(where, top=1, receipts={"ada": read(f"m{number}", number)})])

        assert await archive.receipts(session().room) == {"ada": read("m3", 3)}

    async def test_read_marks_in_two_batches(self, archive: Archive) -> None:
        """Batches of one write may be about the same user in the same room."""
        receipts = [
            {"ada": read("m2", 2), "bob": read("m1", 1)},
            {"ada": read("m1", 1), "bob": read("m2", 2)},
        ]
        await archive.write([batch(session(hour=hour), top=1, receipts=receipts[hour]) for hour in range(2)])

        assert await archive.receipts(session().room) == {"ada": read("m2", 2), "bob": read("m2", 2)}

    async def test_replayed_read_mark_changes_nothing(self, archive: Archive) -> None:
        """Of two marks of the same moment the first stays, so that a repetition cannot bring one back."""
        where = session()
        for message_id in ("m1", "m2", "m1"):
            await archive.write([batch(where, top=2, receipts={"ada": read(message_id)})])

        assert await archive.receipts(where.room) == {"ada": read("m1")}

    async def test_read_marks_of_rooms_are_isolated(self, archive: Archive) -> None:
        """A room sees its own, however alike the names are."""
        rooms = ["a_b", "axb", "a", "a_b/", "A_B", "a:b", "a:b:c"]
        await archive.write([batch(session(room), top=1, receipts={"ada": read(room)}) for room in rooms])

        for room in rooms:
            assert await archive.receipts(room) == {"ada": read(room)}

    async def test_read_marks_are_kept_byte_for_byte(self, archive: Archive) -> None:
        """Whatever users and ids hold, it comes back unchanged."""
        receipts = {text[:128]: read(text[:128]) for text in HOSTILE}
        await archive.write([batch(session(), top=1, receipts=receipts)])

        assert await archive.receipts(session().room) == receipts

    async def test_newest_read_marks_of_a_crowd(self, archive: Archive) -> None:
        """A room that was read by very many does not hand them all to every session to come."""
        receipts = {f"u{number}": read("m1", number) for number in range(OUTLIVING_RECEIPTS + 2)}
        await archive.write([batch(session(), top=1, receipts=receipts)])
        del receipts["u0"], receipts["u1"]

        assert await archive.receipts(session().room) == receipts

    async def test_highest_top_is_kept(self, archive: Archive) -> None:
        """The archive knows how far each session has come, and nothing of others."""
        where = session()
        await archive.write([batch(where, posted(1), top=7)])
        await archive.write([batch(where, posted(2))])

        assert await archive.top(where) == 7
        assert await archive.top(session(hour=1)) == 0

    @pytest.mark.parametrize("rev", [1, 2], ids=["at the same rev", "at a higher rev"])
    async def test_another_message_at_the_same_place_is_refused(self, archive: Archive, rev: int) -> None:
        """The first stays as it is, and the archive is well; nothing of the batch is stored."""
        where = session()
        await archive.write([batch(where, posted(1))])
        with pytest.raises(Refused, match="another message has its place"):
            await archive.write([batch(where, posted(1, "stranger", id="x1", rev=rev), posted(2))])

        assert contents(await archive.page(where.room, None, 10)) == ["hello"]
        assert archive.healthy

    async def test_two_messages_that_claim_one_place_are_refused(self, archive: Archive) -> None:
        """Neither of one batch is chosen silently."""
        where = session()
        with pytest.raises(Refused, match="another message has its place"):
            await archive.write(
                [batch(where, posted(1)), batch(where, posted(1, "stranger", id="x1", rev=2))]
            )

        assert await archive.page(where.room, None, 10) == []

    async def test_writing_nothing(self, archive: Archive) -> None:
        """No batches, and batches without events, are no changes."""
        where = session()

        assert await archive.write([]) == 0
        assert await archive.write([batch(where, top=7), batch(where, top=7, ended=NOON)]) == 0
        assert await archive.page(where.room, None, 10) == []

    async def test_ended_session_may_still_be_written(self, archive: Archive) -> None:
        """Events that are archived after the session's end are kept like others."""
        where = session()
        await archive.write([batch(where, posted(1, "one"), top=2, ended=NOON)])
        await archive.write([batch(where, posted(2, "two"))])

        assert contents(await archive.page(where.room, None, 10)) == ["one", "two"]

    async def test_one_session_in_two_batches(self, archive: Archive) -> None:
        """Batches of one write may be about the same session, and even the same message."""
        where = session()
        batches = [batch(where, edited(1, 3, "newer")), batch(where, posted(1), posted(2, "other"))]

        assert await archive.write(batches) == 2
        assert contents(await archive.page(where.room, None, 10)) == ["newer", "other"]

    async def test_writers_at_the_same_time_agree(self, archive: Archive) -> None:
        """Of several that write the same messages at once, together each message is counted once."""
        sessions = [session(f"room-{number}") for number in range(5)]
        batches = [batch(where, *(posted(seq) for seq in range(1, 21))) for where in sessions]
        counts: list[int] = []

        async def write(order: Sequence[Batch]) -> None:
            counts.append(await archive.write(order))

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                for order in (batches, batches[::-1], batches[2:] + batches[:2]):
                    nursery.start_soon(write, order)

        assert sum(counts) == 100

    async def test_cancelled_write_can_be_repeated(self, archive: Archive) -> None:
        """After a cancel the archive is as usable as before, and writing again stores everything."""
        where = session()
        batches = [batch(where, *(posted(seq) for seq in range(1, 501)))]
        for wait in (0.0, 0.001, 0.005):
            with trio.move_on_after(wait):
                await archive.write(batches)

        await archive.write(batches)
        assert len(await archive.page(where.room, None, 1000)) == 500

    async def test_latest_epoch(self, archive: Archive) -> None:
        """It is the highest that was written, of whatever room and in whatever order."""
        first, second, third = (session(f"room-{hour}", hour) for hour in range(3))
        assert await archive.latest() == ""
        await archive.write([batch(second, posted(1)), batch(first, posted(1))])
        assert await archive.latest() == second.epoch
        await archive.write([batch(third, posted(1))])
        await archive.write([batch(second, posted(2))])

        assert await archive.latest() == third.epoch

    async def test_probe_finds_it_healthy(self, archive: Archive) -> None:
        """After a probe that succeeded the archive is healthy."""
        await archive.probe()

        assert archive.healthy
