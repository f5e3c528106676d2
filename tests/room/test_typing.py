"""When somebody stops typing of whom nobody hears that they stop."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from trio.testing import wait_all_tasks_blocked

from tests.rooms import heard
from trio_chat.mail import Accepted, Expired, Type
from trio_chat.seat import ignore

if TYPE_CHECKING:
    from trio.testing import MockClock


from .house import EXPIRY, open_scene, said_of_typing


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
