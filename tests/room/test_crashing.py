"""A room that crashes and is started again."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.rooms import crash_at, heard, now, seqs
from trio_chat.errors import Unavailable
from trio_chat.mail import (
    Accepted,
    Answer,
    Changed,
    Expired,
    Hearing,
    Join,
    Joined,
    Leave,
    Post,
    Presence,
    Type,
    Typing,
)
from trio_chat.room import Room
from trio_chat.seat import PlainWire, Seat, ignore
from trio_chat.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from trio.testing import MockClock

    from trio_chat.mail import Mail

from .house import AStore, Scene, said_of_typing


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


async def test_crash_is_answered_and_the_rest_carried_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mail that crashes the room is answered with an error; what came with it, before and behind, is done."""
    crash_at(monkeypatch, "bad")
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


async def test_members_stay_over_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    """Members hear one run of events over a crash, without hole or repeat."""
    crash_at(monkeypatch, "bad")
    async with open_crashing() as scene:
        ann = await scene.seat("ann")
        await ann.post("one")
        with pytest.raises(Unavailable):
            await ann.post("bad")
        await ann.post("two")

        assert seqs(heard(ann)) == [1, 2]
        assert await scene.stored() == [1, 2]


async def test_join_in_the_turn_of_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who joins in that turn is in the room afterwards, once."""
    crash_at(monkeypatch, "bad")
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


async def test_leave_in_the_turn_of_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who leaves in that turn is gone afterwards, and the others hear it."""
    crash_at(monkeypatch, "bad")
    async with open_crashing() as scene:
        ann, bob = await scene.seat("ann"), await scene.seat("bob")
        await bob.post("hi")
        heard(bob)
        scene.room.mail(Leave(ann, True, ignore))
        scene.post("bad")
        await wait_all_tasks_blocked()

        assert ann not in scene.room.audience
        assert [hearing.user for hearing in heard(bob) if isinstance(hearing, Presence)] == ["ann"]


async def test_typing_over_a_crash(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who types when the room crashes stops when they would have stopped."""
    crash_at(monkeypatch, "bad")
    async with open_crashing() as scene:
        ann, bob = await scene.seat("ann"), await scene.seat("bob")
        await ann.typing()
        await trio.sleep(20)
        with pytest.raises(Unavailable):
            await bob.post("bad")
        heard(bob)

        assert (await scene.seat("cat")).joined.typing == ("ann",)
        assert await said_of_typing(bob, 200) == [(30, "ann", False)]


def fail_to_tell(monkeypatch: pytest.MonkeyPatch, what: Hearing) -> trio.Event:
    """Plant a bug: telling this raises, once. The event is set when it has."""
    tell = PlainWire.tell
    failed = trio.Event()

    def fail_once(self: PlainWire, hearings: Sequence[Hearing]) -> Any:
        if hearings == [what] and not failed.is_set():
            failed.set()
            raise RuntimeError("a planted bug")
        return tell(self, hearings)

    monkeypatch.setattr(PlainWire, "tell", fail_once)
    return failed


@pytest.mark.parametrize("end", [Type("ann", False, ignore), Post("ann", "user", "hi", {}, None, ignore)])
async def test_end_of_typing_that_crashes(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, end: Mail
) -> None:
    """If telling that somebody has stopped crashes the room, it is told after the restart."""
    failed = fail_to_tell(monkeypatch, Typing("ann", False))
    async with open_crashing() as scene:
        bob = await scene.seat("bob")
        await scene.seat("ann")
        scene.room.mail(Type("ann", True, ignore))
        await trio.sleep(10)
        scene.room.mail(end)
        await trio.sleep(1)
        stopped = [hearing for hearing in heard(bob) if isinstance(hearing, Typing)]

        assert stopped == [Typing("ann", True), Typing("ann", False)]
        assert failed.is_set()


async def test_deadline_of_typing_that_crashes(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So is the end of typing that nobody asked for."""
    async with open_crashing() as scene:
        bob = await scene.seat("bob")
        scene.room.mail(Type("ann", True, ignore))
        failed = fail_to_tell(monkeypatch, Typing("ann", False))

        assert await said_of_typing(bob, 200) == [(0, "ann", True), (30, "ann", False)]
        assert failed.is_set()


async def test_crash_while_the_store_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """A degraded room keeps what it holds over a crash."""
    crash_at(monkeypatch, "bad")
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
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that can be read and not written to does not make a crash lose what only the room has."""
    crash_at(monkeypatch, "bad")
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
        hot.crash_once()
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
        hot.crash_once()
        gate = hot.shut("after")
        scene.post("one")
        await wait_all_tasks_blocked()

        assert heard(ann) == []
        gate.set()
        await wait_all_tasks_blocked()
        assert seqs(heard(ann)) == [1]


async def test_session_that_cannot_be_continued_after_a_crash() -> None:
    """If a restarted room may not go on with the session, its members hear that it ended, and the next one begins."""
    hot = AStore()
    async with open_crashing(hot) as scene:
        ann = await scene.seat("ann")
        old = (await ann.post("one")).epoch
        hot.distrust()
        hot.crash_once()
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
        hot.crash_once()
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
        hot.crash_once()
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
        hot.crash_once("after")
        with pytest.raises(Unavailable, match="it crashed"):
            await ann.post("one", key="k")
        again = await ann.post("one", key="k")

        assert again.duplicate
        assert seqs(heard(ann)) == [1]


async def test_closing_after_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    """A room that is closed instead of started again answers everything that was in the crashed turn, once."""
    crash_at(monkeypatch, "bad")
    async with trio.open_nursery() as nursery:
        scene = Scene(nursery, AStore(), Settings())
        answers = [scene.post(content) for content in ("one", "bad", "two")]
        with pytest.raises(RuntimeError, match="a planted bug"):
            await scene.room.run()
        scene.room.close("failed too often")
        scene.room.recover(Unavailable("once more"))

        assert [str(answer) for [answer] in answers] == ["failed too often"] * 3


@pytest.mark.parametrize("failing", [{1}, {1, 2}, {2}], ids=["ahead", "ahead and telling", "the next"])
async def test_voice_that_fails_while_the_store_writes(
    failing: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Members hear one run of events, and whoever posted has one answer, whether it could be told then or not."""
    calls = 0
    wrap = PlainWire.tell

    def tell(self: PlainWire, hearings: Sequence[Hearing]) -> tuple[Hearing, ...]:
        nonlocal calls
        calls += isinstance(hearings[0], Changed)
        if calls in failing and isinstance(hearings[0], Changed):
            raise RuntimeError("a voice that fails")
        return wrap(self, hearings)

    async with open_crashing() as scene:
        ann = await scene.seat("ann")
        await ann.post("one")
        monkeypatch.setattr(PlainWire, "tell", tell)
        gate = scene.hot.shut()
        first = scene.post("two")
        second = scene.post("three")
        gate.set()
        await wait_all_tasks_blocked()
        await ann.post("four")

        assert [type(answer) for answer in first] == [Unavailable if failing == {1, 2} else Accepted]
        assert [type(answer) for answer in second] == [Accepted]
        assert seqs(heard(ann)) == [1, 2, 3, 4]
        assert await scene.stored() == [1, 2, 3, 4]
