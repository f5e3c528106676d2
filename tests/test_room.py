"""The room actor: turns, the output gate, the deadline, crashes, retiring."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_chat.errors import BadRequest, ReplyCode, RoomRetired, Unavailable
from trio_chat.gathering import Gathering
from trio_chat.history import History
from trio_chat.mail import (
    Accepted,
    Answer,
    Changed,
    Closed,
    Delete,
    Edit,
    Expired,
    Hearing,
    Join,
    Joined,
    Leave,
    Look,
    Post,
    Presence,
    Touch,
    Type,
    Typing,
    View,
)
from trio_chat.message import Position
from trio_chat.room import Room
from trio_chat.seat import PlainWire, Seat, ask, ignore
from trio_chat.settings import Settings
from trio_chat.stores.base import Session
from trio_chat.stores.memory import MemoryHotStore

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from trio.testing import MockClock

    from trio_chat.mail import Mail
    from trio_chat.stores.memory import Moment

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
EXPIRY = 1200.0


def now() -> datetime:
    """Tell the wall clock of these tests, which follows the virtual one."""
    return NOON + timedelta(seconds=trio.current_time())


class AnArchiver:
    """Who archives: keeps what it was asked, and takes its time if told to."""

    def __init__(self) -> None:
        self.kicked: list[Session] = []
        self.flushed: list[tuple[Session, datetime | None]] = []
        self.takes = 0.0

    def kick(self, session: Session) -> None:
        """Archive soon."""
        self.kicked.append(session)

    async def flush(self, session: Session, *, ended: datetime | None = None) -> bool:
        """Archive now."""
        self.flushed.append((session, ended))
        await trio.sleep(self.takes)
        return True


class AStore(MemoryHotStore):
    """A hot store with a gate before and a gate behind every append, and one switch that makes them fail."""

    def __init__(self) -> None:
        super().__init__(durability="redis", interfere=self._meet)
        self.appends = 0
        self.failing = False
        self.gates: dict[Moment, trio.Event] = {}

    async def _meet(self, call: str, moment: Moment) -> None:
        if call != "append":
            return
        self.appends += moment == "before"
        if moment in self.gates:
            await self.gates[moment].wait()
        if self.failing and moment == "before":
            raise Unavailable("the store takes nothing")

    def shut(self, moment: Moment = "before") -> trio.Event:
        """Let appends wait at a moment, until the event is set."""
        self.gates[moment] = trio.Event()
        return self.gates[moment]


class Scene:
    """A room that runs, its stores, and people who talk to it."""

    def __init__(self, nursery: trio.Nursery, hot: AStore, settings: Settings) -> None:
        self.hot = hot
        self.archiver = AnArchiver()
        self.settings = settings
        self.nursery = nursery
        self.gathering = Gathering()
        self.forgotten: list[Room] = []
        self.room = self.another()
        self.ended: list[Room] = []
        self.over = trio.Event()

    def another(self) -> Room:
        """Make a room of the same name over the same stores."""
        return Room(
            "r",
            hot=self.hot,
            archiver=self.archiver,
            settings=self.settings,
            now=now,
            forget=self.forgotten.append,
            gathering=self.gathering,
        )

    async def run(self, room: Room) -> None:
        """Run a room, and note that it ended and when."""
        await room.run()
        self.ended.append(room)
        self.over.set()

    async def seat(self, user: str, resume: Position | None = None) -> Seat:
        """Take a seat."""
        seat = Seat("r", user, self.room.mail, self.settings)
        await seat.take(resume)
        return seat

    def post(self, content: str = "hi", key: str | None = None, user: str = "ann") -> list[Answer]:
        """Mail a post and return the list its answer will be in."""
        answers: list[Answer] = []
        self.room.mail(Post(user, "user", content, {}, key, answers.append))
        return answers

    @property
    def session(self) -> Session:
        """The room's current session."""
        return self.room.ledger.session

    async def stored(self) -> list[int]:
        """Return the seqs the hot store has of the current session."""
        return [event.seq for event in self.hot.log(self.session)]


@asynccontextmanager
async def open_scene(hot: AStore | None = None, **settings: Any) -> AsyncGenerator[Scene, None]:
    """Run a room for the length of the block."""
    async with trio.open_nursery() as nursery:
        chosen = Settings(**{"max_messages_per_session": 10, **settings})
        scene = Scene(nursery, hot or AStore(), chosen)
        nursery.start_soon(scene.run, scene.room)
        yield scene
        nursery.cancel_scope.cancel()


def heard(seat: Seat) -> list[Hearing]:
    """Take everything a seat has heard and not read yet."""
    found: list[Hearing] = []
    while seat._hearings.statistics().current_buffer_used:
        found.append(seat._hearings.receive_nowait())
    return found


def seqs(hearings: list[Hearing]) -> list[int]:
    """Return the seqs of the changes among the hearings."""
    return [hearing.event.seq for hearing in hearings if isinstance(hearing, Changed)]


# --- the output gate


async def test_nothing_leaves_before_the_store_has_it() -> None:
    """While the append is on its way neither the sender's ack nor anybody's hearing leaves the room."""
    async with open_scene() as scene:
        bob = await scene.seat("bob")
        gate = scene.hot.shut("after")
        answers = scene.post()
        await wait_all_tasks_blocked()

        assert await scene.stored() == [1]
        assert (answers, heard(bob)) == ([], [])
        gate.set()
        await wait_all_tasks_blocked()
        assert [type(answer) for answer in answers] == [Accepted]
        assert seqs(heard(bob)) == [1]


async def test_new_mail_becomes_one_next_turn() -> None:
    """Whatever comes while a write is on its way is one turn and one append, however much it is."""
    async with open_scene() as scene:
        gate = scene.hot.shut()
        first = scene.post()
        await wait_all_tasks_blocked()
        waiting = [scene.post(f"text {n}") for n in range(50)]
        await wait_all_tasks_blocked()

        assert (scene.hot.appends, scene.room.statistics().waiting) == (1, 50)
        gate.set()
        await wait_all_tasks_blocked()
        assert scene.hot.appends == 2
        assert [answers[0].seq for answers in [first, *waiting] if isinstance(answers[0], Accepted)] == [
            *range(1, 52)
        ]


async def test_mail_that_is_gathered_becomes_one_turn() -> None:
    """It is decided when all of it is there, and before anybody waits."""
    async with open_scene() as scene:
        scene.post()
        await wait_all_tasks_blocked()
        scene.gathering.begin()
        answers = [scene.post(f"text {n}") for n in range(3)]
        assert scene.room.statistics().waiting == 3
        scene.gathering.end()
        assert scene.room.statistics().waiting == 0
        await wait_all_tasks_blocked()

    assert scene.hot.appends == 2
    assert all(isinstance(answer, Accepted) for [answer] in answers)


async def test_long_texts_are_several_turns() -> None:
    """A turn ends before it becomes a parcel nobody can take at once."""
    async with open_scene() as scene:
        gate = scene.hot.shut()
        scene.post()
        await wait_all_tasks_blocked()
        for _ in range(6):
            scene.post("x" * 60_000)
        gate.set()
        await wait_all_tasks_blocked()

        assert scene.hot.appends == 3
        assert scene.room.ledger.history.top == 7


async def test_refusals_wait_for_their_turn_too() -> None:
    """An answer that needs no event still waits for the events decided before it."""
    async with open_scene() as scene:
        gate = scene.hot.shut("after")
        scene.post(key="k")
        answers: list[Answer] = []
        scene.room.mail(Delete("bob", False, "k", answers.append))
        await wait_all_tasks_blocked()

        assert answers == []
        gate.set()
        await wait_all_tasks_blocked()
        assert [type(answer) for answer in answers] == [BadRequest]


async def test_view_waits_for_its_turn_too() -> None:
    """Nobody sees an event in a view before it is written."""
    async with open_scene() as scene:
        gate = scene.hot.shut("after")
        scene.post()
        answers: list[Answer] = []
        scene.room.mail(Look(answers.append))
        await wait_all_tasks_blocked()

        assert answers == []
        gate.set()
        await wait_all_tasks_blocked()
        [view] = answers
        assert isinstance(view, View)
        assert view.seq == 1


# --- joining


async def test_join_and_a_pipelined_post() -> None:
    """A post right behind a join is heard by who joined, and is not in the snapshot."""
    async with open_scene() as scene:
        seat = Seat("r", "ann", scene.room.mail, scene.settings)
        answers: list[Answer] = []
        scene.post(key="before")
        scene.room.mail(Join(seat, None, answers.append))
        scene.post(key="behind")
        await wait_all_tasks_blocked()
        [joined] = answers

        assert isinstance(joined, Joined)
        assert ([message.id for message in joined.messages], joined.seq) == (["before"], 1)
        assert seqs(heard(seat)) == [2]


async def test_snapshot_and_membership_are_one_step() -> None:
    """However joins fall between posts, what the answer shows and what is heard then make one run without a hole."""
    async with open_scene() as scene:
        gate = scene.hot.shut()
        seats: list[Seat] = []
        answers: list[Answer] = []
        scene.post()
        await wait_all_tasks_blocked()
        for number in range(9):
            seats.append(Seat("r", f"u{number}", scene.room.mail, scene.settings))
            scene.room.mail(Join(seats[-1], None, answers.append))
            for _ in range(number % 3):
                scene.post()
        gate.set()
        await wait_all_tasks_blocked()

        for seat, joined in zip(seats, answers, strict=True):
            assert isinstance(joined, Joined)
            assert seqs(heard(seat)) == [*range(joined.seq + 1, 11)]


async def test_join_while_a_write_is_on_its_way() -> None:
    """Who joins then sees the event that is being written, once."""
    async with open_scene() as scene:
        gate = scene.hot.shut("after")
        scene.post()
        await wait_all_tasks_blocked()
        scene.nursery.start_soon(trio.lowlevel.checkpoint)
        seat = Seat("r", "ann", scene.room.mail, scene.settings)
        scene.nursery.start_soon(seat.take, None)
        await wait_all_tasks_blocked()
        gate.set()
        await wait_all_tasks_blocked()

        assert [message.seq for message in seat.messages] == [1]
        assert seqs(heard(seat)) == []


async def test_resume_over_a_restart() -> None:
    """A position survives the actor: the next one tells exactly what was missed."""
    hot = AStore()
    async with open_scene(hot) as scene:
        ann = await scene.seat("ann")
        await ann.post("one", key="k1")
        position = Position(scene.session.epoch, 1)
        await ann.post("two", key="k2")
        await ann.edit("k1", "uno")
    async with open_scene(hot) as scene:
        seat = await scene.seat("ann", position)

        assert seat.joined.recovered
        assert [(event.seq, event.message.content) for event in seat.joined.changes] == [
            (2, "two"),
            (3, "uno"),
        ]


# --- the mailbox


async def test_full_mailbox_refuses() -> None:
    """A room with too much to do says so at once, and takes mail again later."""
    async with open_scene(mailbox_limit=3) as scene:
        gate = scene.hot.shut()
        scene.post()
        await wait_all_tasks_blocked()
        for _ in range(3):
            scene.post()

        with pytest.raises(Unavailable, match="too many requests") as caught:
            scene.post()
        assert caught.value.code is ReplyCode.OVERLOADED
        gate.set()
        await wait_all_tasks_blocked()
        scene.post()
        await wait_all_tasks_blocked()
        assert scene.room.ledger.history.top == 5


async def test_leaving_a_full_room() -> None:
    """Leaving is never refused, or nobody would ever be gone."""
    async with open_scene(mailbox_limit=2) as scene:
        ann = await scene.seat("ann")
        gate = scene.hot.shut()
        scene.post()
        await wait_all_tasks_blocked()
        scene.post()
        scene.post()
        scene.room.mail(Leave(ann, True, ignore))
        gate.set()
        await wait_all_tasks_blocked()

        assert len(scene.room.audience) == 0


# --- degraded


async def test_degraded_room_goes_on() -> None:
    """With the store away everybody hears, and acks say that it is in memory."""
    async with open_scene() as scene:
        bob, ann = await scene.seat("bob"), await scene.seat("ann")
        scene.hot.set_healthy(False)
        accepted = await ann.post("hi")

        assert accepted.durability == "memory"
        assert seqs(heard(bob)) == [1]
        assert scene.room.statistics().degraded


async def test_degraded_room_heals_by_itself(autojump_clock: MockClock) -> None:
    """Once the store is back the events are there within a second, in order, though nobody speaks."""
    async with open_scene() as scene:
        ann = await scene.seat("ann")
        scene.hot.set_healthy(False)
        for _ in range(3):
            await ann.post("hi")
        scene.hot.set_healthy(True)
        await trio.sleep(1)
        await wait_all_tasks_blocked()

        assert await scene.stored() == [1, 2, 3]
        assert not scene.room.statistics().degraded
        assert (await ann.post("hi")).durability == "redis"


async def test_room_that_began_degraded_finds_its_session(autojump_clock: MockClock) -> None:
    """A room opened while the store is away, in which nothing was said, shows the stored session when it is back."""
    hot = AStore()
    async with open_scene(hot) as scene:
        for number in range(1, 4):
            await (await scene.seat("ann")).post(f"text {number}", key=f"k{number}")
        epoch = scene.session.epoch
    hot.set_healthy(False)
    async with open_scene(hot) as scene:
        seat = await scene.seat("bob")
        hot.set_healthy(True)
        await trio.sleep(1)
        await wait_all_tasks_blocked()

        assert scene.session.epoch == epoch
        assert seqs(heard(seat)) == [1, 2, 3]


async def test_room_that_began_degraded_tells_no_part_of_a_window(autojump_clock: MockClock) -> None:
    """If events alone cannot tell the window, who joined then is put out, to come back for all of it."""
    hot = AStore()
    async with open_scene(hot, max_messages_per_session=3) as scene:
        ann = await scene.seat("ann")
        for number in range(1, 4):
            await ann.post(f"text {number}", key=f"k{number}")
        await ann.edit("k1", "late")
        await ann.post("text 5", key="k5")
    hot.set_healthy(False)
    async with open_scene(hot, max_messages_per_session=3) as scene:
        seat = await scene.seat("bob")
        hot.set_healthy(True)
        await trio.sleep(1)
        await wait_all_tasks_blocked()
        again = await scene.seat("bob")

        assert [type(hearing) for hearing in heard(seat)] == [Closed]
        assert [message.id for message in again.messages] == ["k2", "k3", "k5"]


async def test_doubtful_room_looks_after_its_session() -> None:
    """A room that is told to doubt writes its session anew if the store lost it, though nobody speaks."""
    async with open_scene() as scene:
        ann = await scene.seat("ann")
        await ann.post("hi")
        scene.hot.lose_everything()
        scene.room.doubt()
        await wait_all_tasks_blocked()

        assert await scene.stored() == [1]


async def test_unsynced_holds_back_what_is_not_let_out() -> None:
    """The archive is never given an event that the room may still have to take back."""
    async with open_scene() as scene:
        await (await scene.seat("ann")).post("hi")
        gate = scene.hot.shut()
        scene.post()
        await wait_all_tasks_blocked()
        batch = scene.room.unsynced()

        assert scene.room.ledger.history.top == 2
        assert batch is not None
        assert (batch.top, [event.seq for event in batch.events]) == (1, [1])
        gate.set()


# --- the syncer


async def test_room_that_runs_ahead_kicks_the_syncer() -> None:
    """At so many unsynced events, not before, the archive is to get them sooner."""
    async with open_scene(sync_after_events=3) as scene:
        ann = await scene.seat("ann")
        await ann.post("hi")
        await ann.post("hi")
        assert scene.archiver.kicked == []
        await ann.post("hi")

        assert scene.archiver.kicked == [scene.session]


# --- the deadline


async def test_session_expires_exactly(autojump_clock: MockClock) -> None:
    """A session ends at its time after the last activity, neither earlier nor later."""
    async with open_scene() as scene:
        ann = await scene.seat("ann")
        await trio.sleep(10)
        await ann.post("hi")
        await trio.sleep(EXPIRY - 0.001)
        assert heard(ann)[-1] == Changed(scene.session.epoch, scene.room.ledger.history.entries(0)[0])
        epoch = scene.session.epoch
        await trio.sleep(0.001)
        await wait_all_tasks_blocked()

        assert heard(ann) == [Expired(epoch)]


@pytest.mark.parametrize(
    "activity",
    [
        lambda seat: Post("ann", "user", "hi", {}, None, ignore),
        lambda seat: Edit("ann", False, "none", "x", None, ignore),
        lambda seat: Type("ann", True, ignore),
        lambda seat: Touch("ann", ignore),
        lambda seat: Look(ignore),
        lambda seat: Join(seat, None, ignore),
        lambda seat: Leave(seat, True, ignore),
    ],
    ids=["post", "refused edit", "typing", "touch", "look", "join", "leave"],
)
async def test_any_activity_moves_the_deadline(
    autojump_clock: MockClock, activity: Callable[[Seat], Any]
) -> None:
    """Whatever a client does moves the deadline, whether it succeeds or not."""
    async with open_scene() as scene:
        bob = await scene.seat("bob")
        await bob.post("hi")
        await trio.sleep(1000)
        scene.room.mail(activity(Seat("r", "ann", scene.room.mail, scene.settings)))
        await trio.sleep(EXPIRY - 1)
        assert not any(isinstance(hearing, Expired) for hearing in heard(bob))
        await trio.sleep(1)
        await wait_all_tasks_blocked()

        assert any(isinstance(hearing, Expired) for hearing in heard(bob))


async def test_broken_connection_is_no_activity(autojump_clock: MockClock) -> None:
    """A leave because the connection broke does not move the deadline."""
    async with open_scene() as scene:
        ann, bob = await scene.seat("ann"), await scene.seat("bob")
        await bob.post("hi")
        await trio.sleep(1000)
        scene.room.mail(Leave(ann, False, ignore))
        await trio.sleep(EXPIRY - 1000)
        await wait_all_tasks_blocked()

        assert any(isinstance(hearing, Expired) for hearing in heard(bob))


async def test_expiry_flushes_first(autojump_clock: MockClock) -> None:
    """The archive gets the session, with the time of its end, before anybody is told that it ended."""
    async with open_scene() as scene:
        ann = await scene.seat("ann")
        await ann.post("hi")
        heard(ann)
        ended = scene.session
        scene.archiver.takes = 3
        await trio.sleep(EXPIRY + 1)
        assert scene.archiver.flushed == [(ended, NOON + timedelta(seconds=EXPIRY))]
        assert heard(ann) == []
        await trio.sleep(2)
        await wait_all_tasks_blocked()

        assert heard(ann) == [Expired(ended.epoch)]


async def test_next_message_starts_a_new_session(autojump_clock: MockClock) -> None:
    """After the expiry a member's next message is the first of a session behind the old one."""
    async with open_scene() as scene:
        ann = await scene.seat("ann")
        await ann.post("hi")
        old = scene.session.epoch
        await trio.sleep(EXPIRY + 1)
        accepted = await ann.post("again")

        assert accepted.epoch > old
        assert accepted.seq == 1


async def test_mail_that_comes_during_the_flush(autojump_clock: MockClock) -> None:
    """Whatever comes after the deadline belongs to the next session, and is answered."""
    async with open_scene() as scene:
        ann = await scene.seat("ann")
        await ann.post("hi")
        old = scene.session.epoch
        scene.archiver.takes = 3
        await trio.sleep(EXPIRY + 1)
        accepted = await ann.post("late")

        assert accepted.epoch > old
        assert [type(hearing) for hearing in heard(ann)] == [Changed, Expired, Changed]


async def test_leave_during_the_flush(autojump_clock: MockClock) -> None:
    """A room whose last member leaves while the session ends retires in the end."""
    async with open_scene() as scene:
        ann = await scene.seat("ann")
        await ann.post("hi")
        scene.archiver.takes = 3
        await trio.sleep(EXPIRY + 1)
        scene.room.mail(Leave(ann, False, ignore))
        await trio.sleep(EXPIRY + 10)

        assert scene.forgotten == [scene.room]


async def test_empty_session_expires_without_a_word(autojump_clock: MockClock) -> None:
    """Members of a room in which nothing was said are not told that nothing ended, and stay."""
    async with open_scene() as scene:
        ann = await scene.seat("ann")
        await trio.sleep(3 * EXPIRY + 1)

        assert (heard(ann), scene.archiver.flushed) == ([], [])
        assert ann in scene.room.audience


async def test_members_stay_over_the_expiry(autojump_clock: MockClock) -> None:
    """Who is in a room stays there when a session ends, and hears the next one."""
    async with open_scene() as scene:
        ann, bob = await scene.seat("ann"), await scene.seat("bob")
        await ann.post("hi")
        await trio.sleep(EXPIRY + 1)
        heard(bob)
        await ann.post("again")

        assert seqs(heard(bob)) == [1]


async def test_session_that_nobody_else_has_lives_on(autojump_clock: MockClock) -> None:
    """With events that neither store has, a session does not end; it does when they have found a place."""
    async with open_scene(session_expiry_seconds=30) as scene:
        ann = await scene.seat("ann")
        scene.hot.set_healthy(False)
        await ann.post("hi")
        heard(ann)
        session = scene.session
        await trio.sleep(60)
        assert (scene.session, heard(ann)) == (session, [])
        scene.hot.set_healthy(True)
        await trio.sleep(3)

        assert scene.hot.sessions()[session] == (1, 0)
        assert heard(ann) == [Expired(session.epoch)]


async def test_long_outage_does_not_keep_the_room_busy(autojump_clock: MockClock) -> None:
    """A session that cannot end is looked at once a second, no more."""
    async with open_scene(session_expiry_seconds=30) as scene:
        ann = await scene.seat("ann")
        scene.hot.set_healthy(False)
        await ann.post("hi")
        await trio.sleep(130)

        assert 95 <= len(scene.archiver.flushed) <= 105


# --- typing


async def said_of_typing(seat: Seat, until: float) -> list[tuple[float, str, bool]]:
    """Listen until a time. Returns who started or stopped typing, and when that was heard."""
    found: list[tuple[float, str, bool]] = []
    with trio.move_on_at(until):
        async for hearing in seat.events():
            match hearing:
                case Typing(user, active):
                    found.append((trio.current_time(), user, active))
                case _:
                    pass
    return found


async def test_typing_ends_by_itself(autojump_clock: MockClock) -> None:
    """30 s after somebody typed last the others hear that they have stopped, once, and the user does not."""
    async with open_scene() as scene:
        ann, bob = await scene.seat("ann"), await scene.seat("bob")
        heard(ann)
        await trio.sleep(5)
        await ann.typing()

        assert await said_of_typing(bob, 200) == [(5, "ann", True), (35, "ann", False)]
        assert heard(ann) == []


async def test_typing_goes_on_while_it_is_said(autojump_clock: MockClock) -> None:
    """Each time somebody says that they type they have 30 s more, whatever others do."""
    async with open_scene() as scene:
        ann, bob, cat = [await scene.seat(user) for user in ("ann", "bob", "cat")]
        await ann.typing()
        await trio.sleep(15)
        await bob.typing()
        await trio.sleep(10)
        await ann.typing()
        await bob.post("hi")

        assert await said_of_typing(cat, 200) == [
            (25, "ann", True),
            (25, "bob", True),
            (25, "ann", True),
            (25, "bob", False),
            (55, "ann", False),
        ]


async def test_stranger_stops_typing(autojump_clock: MockClock) -> None:
    """Somebody who types without being in the room stops as members do."""
    async with open_scene() as scene:
        bob = await scene.seat("bob")
        scene.room.mail(Type("ann", True, ignore))

        assert await said_of_typing(bob, 200) == [(0, "ann", True), (30, "ann", False)]


async def test_end_of_typing_is_no_activity(autojump_clock: MockClock) -> None:
    """A session ends its time after the last mail, though typing ends later than that mail."""
    async with open_scene() as scene:
        ann = await scene.seat("ann")
        await ann.post("hi")
        await trio.sleep(100)
        await ann.typing()
        await trio.sleep(EXPIRY - 1)
        assert not any(isinstance(hearing, Expired) for hearing in heard(ann))
        await trio.sleep(1)
        await wait_all_tasks_blocked()

        assert any(isinstance(hearing, Expired) for hearing in heard(ann))


async def test_typing_keeps_no_session_and_no_room(autojump_clock: MockClock) -> None:
    """A session that ends before somebody's typing ends in time, and a room where nobody is retires then."""
    async with open_scene(session_expiry_seconds=20) as scene:
        scene.post()
        scene.room.mail(Type("ann", True, ignore))
        await scene.over.wait()

        assert trio.current_time() == 20
        assert scene.forgotten == [scene.room]


async def test_typing_over_the_end_of_a_session(autojump_clock: MockClock) -> None:
    """Members who stay over the end of a session hear that somebody has stopped, in time."""
    async with open_scene(session_expiry_seconds=20) as scene:
        bob = await scene.seat("bob")
        scene.post()
        scene.room.mail(Type("ann", True, ignore))

        assert await said_of_typing(bob, 200) == [(0, "ann", True), (30, "ann", False)]


async def test_end_of_typing_waits_for_work(autojump_clock: MockClock) -> None:
    """A write on its way is not disturbed; whoever said meanwhile that they still type, does."""
    async with open_scene() as scene:
        ann, bob, cat = [await scene.seat(user) for user in ("ann", "bob", "cat")]
        await ann.typing()
        await cat.typing()
        heard(bob)
        await trio.sleep(29)
        gate = scene.hot.shut()
        answers = scene.post(user="bob")
        await trio.sleep(0.5)
        scene.room.mail(Type("cat", True, ignore))
        await trio.sleep(0.7)
        assert heard(bob) == []
        gate.set()
        await wait_all_tasks_blocked()

        assert [type(answer) for answer in answers] == [Accepted]
        # The turn with cat's mail was decided at 30.2.
        assert await said_of_typing(bob, 200) == [
            (30.2, "cat", True),
            (30.2, "ann", False),
            (60.2, "cat", False),
        ]


async def test_typing_in_a_degraded_room(autojump_clock: MockClock) -> None:
    """A room without its store ends typing in time."""
    async with open_scene() as scene:
        ann, bob = await scene.seat("ann"), await scene.seat("bob")
        scene.hot.set_healthy(False)
        await ann.post("hi")
        await trio.sleep(0.25)
        await ann.typing()

        assert await said_of_typing(bob, 200) == [(0.25, "ann", True), (30.25, "ann", False)]


async def test_member_put_out_has_stopped_typing(autojump_clock: MockClock) -> None:
    """Who is put out has stopped at once, though no mail comes: here they cannot be told that a session ended."""
    async with open_scene(session_expiry_seconds=20) as scene:
        ann, bob = await scene.seat("ann"), await scene.seat("bob")
        await ann.post("hi")
        await ann.typing()
        ann._heard.close()  # so that it can hear nothing

        assert await said_of_typing(bob, 200) == [(0, "ann", True), (20, "ann", False)]
        assert ann not in scene.room.audience


async def test_touch_moves_the_last_activity(autojump_clock: MockClock) -> None:
    """A touch is told with its time, and whoever joins then learns it."""
    async with open_scene() as scene:
        ann, bob = await scene.seat("ann"), await scene.seat("bob")
        await trio.sleep(7)
        await ann.touch()

        assert heard(bob) == [Presence("ann", True, NOON + timedelta(seconds=7))]
        assert (await scene.seat("cat")).joined.presence[0] == Presence(
            "ann", True, NOON + timedelta(seconds=7)
        )


async def test_joining_twice() -> None:
    """A seat that joins again is answered again, and hears everything once."""
    async with open_scene() as scene:
        ann, bob = await scene.seat("ann"), await scene.seat("bob")
        await ann.post("one")
        heard(ann), heard(bob)
        await ann.take(None)
        await bob.post("two")

        assert [message.content for message in ann.messages] == ["one"]
        assert (seqs(heard(ann)), len(heard(bob))) == ([2], 1)
        assert scene.room.statistics().members == 2


# --- retiring


async def test_idle_room_retires(autojump_clock: MockClock) -> None:
    """At its deadline a room without members is forgotten, and its task ends."""
    async with open_scene() as scene:
        ann = await scene.seat("ann")
        await ann.post("hi")
        await trio.sleep(5)
        scene.room.mail(Leave(ann, True, ignore))
        await scene.over.wait()

        assert trio.current_time() == 5 + EXPIRY
        assert scene.forgotten == [scene.room]
        assert scene.room.retired


async def test_retired_room_takes_no_mail(autojump_clock: MockClock) -> None:
    """Who still holds a room that has retired must ask the lobby again."""
    async with open_scene() as scene:
        scene.room.mail(Look(ignore))
        await scene.over.wait()

        with pytest.raises(RoomRetired):
            scene.post()


async def test_retired_room_leaves_a_dirty_session(autojump_clock: MockClock) -> None:
    """What the archive lacks is still in the hot store, as a session that ended."""
    async with open_scene() as scene:
        session = scene.session
        await ask(scene.room.mail, partial(Post, "ann", "user", "hi", {}, None), Accepted)
        session = scene.session
        await scene.over.wait()

        assert await scene.hot.load("r") is None
        assert await scene.hot.dirty() == [session]


async def test_member_who_left_behind_its_join_is_not_kept(autojump_clock: MockClock) -> None:
    """A room in which nobody sits retires, though the last one left in the very turn of the join."""
    async with open_scene() as scene:
        ann = Seat("r", "ann", scene.room.mail, scene.settings)
        scene.room.mail(Join(ann, None, ignore))
        scene.room.mail(Leave(ann, False, ignore))
        await trio.sleep(EXPIRY + 1)

        assert scene.forgotten == [scene.room]


# --- finishing and closing


async def test_finishing_answers_what_waits() -> None:
    """A room that is to finish answers the mail it has, ends, and leaves its session in the store."""
    async with open_scene() as scene:
        gate = scene.hot.shut()
        answers = [scene.post(), scene.post()]
        await wait_all_tasks_blocked()
        answers.append(scene.post())
        scene.room.finish()
        gate.set()
        await wait_all_tasks_blocked()

        assert [type(answer) for [answer] in answers] == [Accepted] * 3
        assert scene.ended == [scene.room]
        assert not scene.room.retired
        assert await scene.stored() == [1, 2, 3]


async def test_finishing_an_idle_room() -> None:
    """A room that waits ends at once."""
    async with open_scene() as scene:
        await scene.seat("ann")
        scene.room.finish()
        await wait_all_tasks_blocked()

        assert scene.ended == [scene.room]


async def test_closing_puts_everybody_out() -> None:
    """A closed room tells its members why, answers what waits, and is forgotten."""
    async with open_scene() as scene:
        ann = await scene.seat("ann")
        gate = scene.hot.shut()
        answers = [scene.post()]
        await wait_all_tasks_blocked()
        answers.append(scene.post())
        scene.room.close("enough")
        gate.set()
        await wait_all_tasks_blocked()

        assert heard(ann) == [Closed("enough")]
        assert [answer.code for [answer] in answers if isinstance(answer, Unavailable)] == [
            ReplyCode.ROOM_CLOSED
        ] * 2
        assert (scene.forgotten, scene.ended, len(scene.room.audience)) == ([scene.room], [scene.room], 0)


async def test_closing_twice() -> None:
    """Everybody is told goodbye once."""
    async with open_scene() as scene:
        ann = await scene.seat("ann")
        scene.room.close("enough")
        scene.room.close("enough")

        assert heard(ann) == [Closed("enough")]
        assert scene.forgotten == [scene.room]


# --- crashing


@pytest.fixture
def crash_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Plant a bug: deciding a post of this content raises."""

    def plant(content: str) -> None:
        post = History.post

        def crash(self: History, **fields: Any) -> Any:
            if fields["content"] == content:
                raise RuntimeError("a planted bug")
            return post(self, **fields)

        monkeypatch.setattr(History, "post", crash)

    return plant


async def crash_once(room: Room) -> None:
    """Run a room until it crashes, then again, as its supervisor does."""
    try:
        await room.run()
    except RuntimeError:
        room.recover(Unavailable("it crashed"))
    await room.run()


@asynccontextmanager
async def open_crashing(hot: AStore | None = None) -> AsyncGenerator[Scene, None]:
    """Run a room that is started again after its first crash."""
    async with trio.open_nursery() as nursery:
        scene = Scene(nursery, hot or AStore(), Settings())
        nursery.start_soon(crash_once, scene.room)
        yield scene
        nursery.cancel_scope.cancel()


async def test_crash_is_answered_and_the_rest_carried_out(crash_at: Callable[[str], None]) -> None:
    """The mail that crashes the room is answered with an error; what came with it, before and behind, is done."""
    crash_at("bad")
    async with open_crashing() as scene:
        ann = await scene.seat("ann")
        answers = [scene.post(content) for content in ("one", "two", "bad", "three")]
        await wait_all_tasks_blocked()

        assert [type(answer) for [answer] in answers] == [Accepted, Accepted, Unavailable, Accepted]
        assert [message.content for message in scene.room.ledger.history.snapshot()] == [
            "one",
            "two",
            "three",
        ]
        assert seqs(heard(ann)) == [1, 2, 3]


async def test_members_stay_over_a_crash(crash_at: Callable[[str], None]) -> None:
    """Members hear one run of events over a crash, without hole or repeat."""
    crash_at("bad")
    async with open_crashing() as scene:
        ann = await scene.seat("ann")
        await ann.post("one")
        with pytest.raises(Unavailable):
            await ann.post("bad")
        await ann.post("two")

        assert seqs(heard(ann)) == [1, 2]
        assert await scene.stored() == [1, 2]


async def test_join_in_the_turn_of_a_crash(crash_at: Callable[[str], None]) -> None:
    """Who joins in that turn is in the room afterwards, once."""
    crash_at("bad")
    async with open_crashing() as scene:
        seat = Seat("r", "ann", scene.room.mail, scene.settings)
        answers: list[Answer] = []
        scene.post("bad")
        scene.room.mail(Join(seat, None, answers.append))
        await wait_all_tasks_blocked()
        scene.post("one")
        await wait_all_tasks_blocked()

        assert [type(answer) for answer in answers] == [Joined]
        assert seqs(heard(seat)) == [1]


async def test_leave_in_the_turn_of_a_crash(crash_at: Callable[[str], None]) -> None:
    """Who leaves in that turn is gone afterwards, and the others hear it."""
    crash_at("bad")
    async with open_crashing() as scene:
        ann, bob = await scene.seat("ann"), await scene.seat("bob")
        await bob.post("hi")
        heard(bob)
        scene.room.mail(Leave(ann, True, ignore))
        scene.post("bad")
        await wait_all_tasks_blocked()

        assert ann not in scene.room.audience
        assert [hearing.user for hearing in heard(bob) if isinstance(hearing, Presence)] == ["ann"]


async def test_typing_over_a_crash(autojump_clock: MockClock, crash_at: Callable[[str], None]) -> None:
    """Who types when the room crashes stops when they would have stopped."""
    crash_at("bad")
    async with open_crashing() as scene:
        ann, bob = await scene.seat("ann"), await scene.seat("bob")
        await ann.typing()
        await trio.sleep(20)
        with pytest.raises(Unavailable):
            await bob.post("bad")
        heard(bob)

        assert (await scene.seat("cat")).joined.typing == ("ann",)
        assert await said_of_typing(bob, 200) == [(30, "ann", False)]


@pytest.mark.parametrize("end", [Type("ann", False, ignore), Post("ann", "user", "hi", {}, None, ignore)])
async def test_end_of_typing_that_crashes(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, end: Mail
) -> None:
    """If telling that somebody has stopped crashes the room, it is told after the restart."""
    tell = PlainWire.tell

    def fail_once(self: PlainWire, hearings: Sequence[Hearing]) -> Any:
        if hearings == [Typing("ann", False)]:
            monkeypatch.setattr(PlainWire, "tell", tell)
            raise RuntimeError("a planted bug")
        return tell(self, hearings)

    monkeypatch.setattr(PlainWire, "tell", fail_once)
    async with open_crashing() as scene:
        bob = await scene.seat("bob")
        await scene.seat("ann")
        scene.room.mail(Type("ann", True, ignore))
        await trio.sleep(10)
        scene.room.mail(end)
        await trio.sleep(1)
        stopped = [hearing for hearing in heard(bob) if isinstance(hearing, Typing)]

        assert stopped == [Typing("ann", True), Typing("ann", False)]
        assert PlainWire.tell is tell


async def test_deadline_of_typing_that_crashes(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So is the end of typing that nobody asked for."""
    tell = PlainWire.tell

    def fail_once(self: PlainWire, hearings: Sequence[Hearing]) -> Any:
        if hearings == [Typing("ann", False)]:
            monkeypatch.setattr(PlainWire, "tell", tell)
            raise RuntimeError("a planted bug")
        return tell(self, hearings)

    async with open_crashing() as scene:
        bob = await scene.seat("bob")
        scene.room.mail(Type("ann", True, ignore))
        monkeypatch.setattr(PlainWire, "tell", fail_once)

        assert await said_of_typing(bob, 200) == [(0, "ann", True), (30, "ann", False)]
        assert PlainWire.tell is tell


async def test_crash_while_the_store_is_away(crash_at: Callable[[str], None]) -> None:
    """A degraded room keeps what it holds over a crash."""
    crash_at("bad")
    async with open_crashing() as scene:
        ann = await scene.seat("ann")
        await ann.post("one")
        scene.hot.set_healthy(False)
        await ann.post("two")
        answers = [scene.post("three"), scene.post("bad"), scene.post("four")]
        await wait_all_tasks_blocked()

        assert [type(answer) for [answer] in answers] == [Accepted, Unavailable, Accepted]
        assert seqs(heard(ann)) == [1, 2, 3, 4]


async def test_crash_while_the_store_takes_nothing(
    autojump_clock: MockClock, crash_at: Callable[[str], None]
) -> None:
    """A store that can be read and not written to does not make a crash lose what only the room has."""
    crash_at("bad")
    async with open_crashing() as scene:
        ann = await scene.seat("ann")
        await ann.post("one")
        scene.hot.failing = True
        await ann.post("two")
        with pytest.raises(Unavailable):
            await ann.post("bad")
        scene.hot.failing = False
        await trio.sleep(1)
        await ann.post("three")

        assert seqs(heard(ann)) == [1, 2, 3]
        assert await scene.stored() == [1, 2, 3]


async def test_failing_append_of_an_unforeseen_kind() -> None:
    """If writing itself crashes, everybody of that turn is told that the outcome is unknown, and the room goes on."""
    hot = AStore()
    async with open_crashing(hot) as scene:
        ann = await scene.seat("ann")
        await ann.post("one")
        meet = hot.interfere

        async def crash(call: str, moment: Moment) -> None:
            hot.interfere = meet
            raise RuntimeError("a planted bug")

        hot.interfere = crash
        with pytest.raises(Unavailable, match="it crashed"):
            await ann.post("two")
        await ann.post("three")

        assert seqs(heard(ann)) == [1, 2]
        assert [message.content for message in scene.room.ledger.history.snapshot()] == ["one", "three"]


async def test_output_gate_holds_over_a_crash() -> None:
    """What a crash left unwritten is not told to anybody before the store has it."""
    hot = AStore()
    async with open_crashing(hot) as scene:
        ann = await scene.seat("ann")
        meet = hot.interfere

        async def crash(call: str, moment: Moment) -> None:
            hot.interfere = meet
            raise RuntimeError("a planted bug")

        hot.interfere = crash
        gate = hot.shut("after")
        scene.post("one")
        await wait_all_tasks_blocked()

        assert heard(ann) == []
        gate.set()


async def test_session_that_cannot_be_continued_after_a_crash() -> None:
    """If a restarted room may not go on with the session, its members hear that it ended, and the next one begins."""
    hot = AStore()
    async with open_crashing(hot) as scene:
        ann = await scene.seat("ann")
        old = (await ann.post("one")).epoch
        hot.distrust()
        meet = hot.interfere

        async def crash(call: str, moment: Moment) -> None:
            hot.interfere = meet
            raise RuntimeError("a planted bug")

        hot.interfere = crash
        with pytest.raises(Unavailable, match="it crashed"):
            await ann.post("two")
        accepted = await ann.post("three")

        assert [type(hearing) for hearing in heard(ann)] == [Changed, Expired, Changed]
        assert (accepted.seq, accepted.epoch > old) == (1, True)


async def test_store_that_is_older_than_what_was_told() -> None:
    """A restarted room that finds less than it knows itself keeps what it knows, and the store gets it back."""
    hot = AStore()
    async with open_crashing(hot) as scene:
        ann = await scene.seat("ann")
        await ann.post("one")
        await ann.post("two")
        trusted = {*hot._trusted}
        hot.lose_tail("r", 1)
        hot._trusted = trusted
        meet = hot.interfere

        async def crash(call: str, moment: Moment) -> None:
            hot.interfere = meet
            raise RuntimeError("a planted bug")

        hot.interfere = crash
        with pytest.raises(Unavailable, match="it crashed"):
            await ann.post("three")
        await wait_all_tasks_blocked()

        assert ann in scene.room.audience
        assert [event.message.content for event in hot.log(scene.room.ledger.session)] == [
            "one",
            "two",
            "three",
        ]


async def test_leave_in_the_turn_of_a_failing_append(autojump_clock: MockClock) -> None:
    """Who leaves in that turn is gone afterwards, and the others hear it."""
    hot = AStore()
    async with open_crashing(hot) as scene:
        ann, bob = await scene.seat("ann"), await scene.seat("bob")
        meet = hot.interfere

        async def crash(call: str, moment: Moment) -> None:
            hot.interfere = meet
            raise RuntimeError("a planted bug")

        hot.interfere = crash
        scene.post()
        scene.room.mail(Leave(ann, False, ignore))
        await wait_all_tasks_blocked()

        assert [member.user for member in scene.room.audience] == ["bob"]
        assert heard(bob)[-1] == Presence("ann", False, now())


async def test_append_that_arrives_and_then_crashes() -> None:
    """Events that were written, though nobody could be told, are told after the restart."""
    hot = AStore()
    async with open_crashing(hot) as scene:
        ann = await scene.seat("ann")
        meet = hot.interfere

        async def crash(call: str, moment: Moment) -> None:
            if moment == "after":
                hot.interfere = meet
                raise RuntimeError("a planted bug")

        hot.interfere = crash
        with pytest.raises(Unavailable, match="it crashed"):
            await ann.post("one", key="k")
        again = await ann.post("one", key="k")

        assert again.duplicate
        assert seqs(heard(ann)) == [1]


async def test_closing_after_a_crash(crash_at: Callable[[str], None]) -> None:
    """A room that is closed instead of started again answers everything that was in the crashed turn, once."""
    crash_at("bad")
    async with trio.open_nursery() as nursery:
        scene = Scene(nursery, AStore(), Settings())
        answers = [scene.post(content) for content in ("one", "bad", "two")]
        with pytest.raises(RuntimeError, match="a planted bug"):
            await scene.room.run()
        scene.room.close("failed too often")
        scene.room.recover(Unavailable("once more"))

        assert [str(answer) for [answer] in answers] == ["failed too often"] * 3


# --- counting


async def test_statistics_count() -> None:
    """Statistics say how a room is."""
    async with open_scene() as scene:
        ann = await scene.seat("ann")
        await ann.post("hi")
        scene.room.ledger.history.mark_synced(1)
        statistics = scene.room.statistics()

        assert (statistics.members, statistics.messages, statistics.top, statistics.synced) == (1, 1, 1, 1)
        assert (statistics.waiting, statistics.degraded) == (0, False)


async def test_idle_counts_from_the_last_activity(autojump_clock: MockClock) -> None:
    """Idle is the time since the last activity, in seconds."""
    async with open_scene() as scene:
        await scene.seat("ann")
        await trio.sleep(7)

        assert scene.room.statistics().idle == 7


async def test_repr_counts() -> None:
    """The one-line form has the counts an operator asks for."""
    async with open_scene() as scene:
        await (await scene.seat("ann")).post("hi")

        assert repr(scene.room).startswith("<Room r members=1 waiting=0 <Ledger r written written=1 ")


async def test_expiry_is_logged_without_content(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """An operator reads that a session expired; nobody reads in a log what was said."""
    with caplog.at_level(logging.DEBUG):
        async with open_scene() as scene:
            await (await scene.seat("ann")).post("a secret text")
            await trio.sleep(EXPIRY + 1)

    assert "expired after 1 events" in caplog.text
    assert "a secret text" not in caplog.text
