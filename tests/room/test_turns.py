"""Turns and the output gate: what is decided together, and what leaves the room when."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.rooms import NOON, heard, seqs
from trio_chat.errors import BadRequest, ReplyCode, Unavailable
from trio_chat.mail import Accepted, Answer, Delete, Join, Joined, Leave, Look, Presence, View
from trio_chat.message import Position
from trio_chat.seat import Seat, ignore

if TYPE_CHECKING:
    from trio.testing import MockClock


from .house import AStore, open_scene

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


# --- typing


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
