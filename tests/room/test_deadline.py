"""When a session ends, and what comes behind it; when a room retires, finishes and closes."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.rooms import NOON, heard, seqs
from trio_chat.errors import ReplyCode, RoomRetired, Unavailable
from trio_chat.mail import Accepted, Changed, Closed, Edit, Expired, Join, Leave, Look, Post, Touch, Type
from trio_chat.seat import Seat, ask, ignore

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio.testing import MockClock


from .house import EXPIRY, open_scene

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
