"""How a lobby ends: everybody is answered, and what can be saved is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.rooms import heard
from trio_chat.errors import Unavailable
from trio_chat.mail import Accepted
from trio_chat.stores.base import Session

if TYPE_CHECKING:
    from trio.testing import MockClock

    from trio_chat.stores.memory import Moment

from .house import Stores, mail_post, tasks


async def test_closing_answers_what_waits(stores: Stores) -> None:
    """Mail that was taken is answered before the lobby is gone, and archived."""
    async with stores.lobby() as lobby:
        answers = [mail_post(lobby, str(number)) for number in range(3)]

    assert [type(answer).__name__ for [answer] in answers] == ["Accepted"] * 3
    assert stores.archived() == ["0", "1", "2"]


async def test_closing_leaves_live_sessions_in_the_store(stores: Stores) -> None:
    """The sessions go on where they are: the next process finds them."""
    async with stores.lobby() as lobby, lobby.join("r", user="ann") as ann:
        await ann.post("hi")

    assert stores.hot.sessions() == {Session("r", ann.joined.epoch): (1, 1)}


async def test_cancelling_makes_the_last_round_too(stores: Stores) -> None:
    """A lobby that is cancelled still archives what the hot store has."""
    with trio.CancelScope() as scope:
        async with stores.lobby() as lobby, lobby.join("r", user="ann") as ann:
            await ann.post("hi")
            scope.cancel()

    assert stores.archived() == ["hi"]


async def test_failing_program_makes_the_last_round_too(stores: Stores) -> None:
    """A program that fails inside the block loses nothing, and its exception comes out as it is, not in a group."""

    async def program() -> None:
        async with stores.lobby() as lobby, lobby.join("r", user="ann") as ann:
            await ann.post("hi")
            raise ValueError("the program's own")

    with pytest.raises(ValueError, match="the program's own"):
        await program()

    assert stores.archived() == ["hi"]


async def test_closing_is_bounded(stores: Stores, autojump_clock: MockClock) -> None:
    """With both stores hanging a lobby is gone after ten seconds, and everybody who waits is answered."""

    async def hang(call: str, moment: Moment) -> None:
        await trio.sleep_forever()

    async with stores.lobby() as lobby:
        async with lobby.join("r", user="ann") as ann:
            await ann.post("hi")
        stores.hot.interfere = stores.archive.interfere = hang
        answers = mail_post(lobby)
        await wait_all_tasks_blocked()
        began = trio.current_time()

    assert trio.current_time() - began <= 10
    assert [type(answer).__name__ for answer in answers] == ["Unavailable"]


async def test_closing_with_both_stores_away(stores: Stores, autojump_clock: MockClock) -> None:
    """What could not be saved is named."""
    async with (
        stores.lobby() as lobby,
        lobby.join("r", user="ann") as ann,
        lobby.join("fine", user="bob") as bob,
    ):
        await bob.post("hi")
        stores.both(healthy=False)
        await ann.post("one")
        await ann.post("two")

    assert lobby.unsaved() == {"r": 2}


async def test_closing_with_the_hot_store_away(stores: Stores, autojump_clock: MockClock) -> None:
    """What is in memory only goes to the archive in the last round."""
    async with stores.lobby() as lobby, lobby.join("r", user="ann") as ann:
        await ann.post("one")
        stores.hot.set_healthy(False)
        await ann.post("two")

    assert lobby.unsaved() == {}
    assert stores.archived() == ["one", "two"]


async def test_no_task_is_left(stores: Stores, autojump_clock: MockClock) -> None:
    """A lobby that is gone has left nothing running."""
    before = tasks()
    async with stores.lobby() as lobby:
        for number in range(5):
            mail_post(lobby, room=f"r{number}")

    assert tasks() == before


async def test_closed_lobby_takes_no_mail(stores: Stores) -> None:
    """Neither a new room nor one it had."""
    async with stores.lobby() as lobby:
        mail_post(lobby, room="old")

    for room in ("old", "new"):
        with pytest.raises(Unavailable, match="stopping"):
            mail_post(lobby, room=room)


async def test_finishing_waits_for_answers_and_takes_no_more_mail(
    stores: Stores, autojump_clock: MockClock
) -> None:
    """What was asked before is answered: what is on its way to the store, and what waits behind it."""
    gate = trio.Event()

    async def hold(call: str, moment: Moment) -> None:
        if call == "append" and moment == "before":
            await gate.wait()

    async with stores.lobby() as lobby:
        stores.hot.interfere = hold
        answers = mail_post(lobby, "one")
        await wait_all_tasks_blocked()
        behind = mail_post(lobby, "two")
        idle = mail_post(lobby, room="other")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lobby.finish)
            await wait_all_tasks_blocked()
            for room in ("r", "new"):
                with pytest.raises(Unavailable, match="stopping"):
                    mail_post(lobby, room=room)
            before = [*answers, *behind, *idle]
            gate.set()

        assert before == []
        assert [type(answer) for answer in (*answers, *behind, *idle)] == [Accepted] * 3
    assert stores.archived() == ["one", "two"]


async def test_finishing_with_nothing_to_answer_takes_no_time(
    stores: Stores, autojump_clock: MockClock
) -> None:
    """Members are still there, and hear nothing; finishing again changes nothing."""
    async with stores.lobby() as lobby, lobby.join("r", user="ann") as ann:
        began = trio.current_time()
        await lobby.finish()
        await lobby.finish()

        assert trio.current_time() == began
        assert (heard(ann), len(lobby.rooms["r"].audience)) == ([], 1)


async def test_finishing_without_rooms(stores: Stores) -> None:
    """There is nothing to wait for."""
    async with stores.lobby() as lobby:
        await lobby.finish()

        with pytest.raises(Unavailable, match="stopping"):
            mail_post(lobby)


async def test_finishing_may_be_given_up(stores: Stores, autojump_clock: MockClock) -> None:
    """The rooms go on with it. They have 5 s in all; what has no answer then is told so."""

    async def hang(call: str, moment: Moment) -> None:
        if call == "append" and moment == "before":
            await trio.sleep_forever()

    async with stores.lobby() as lobby:
        stores.hot.interfere = hang
        answers = mail_post(lobby)
        began = trio.current_time()
        with trio.move_on_after(2) as patience:
            await lobby.finish()
        given_up = (patience.cancelled_caught, list(answers))

    assert given_up == (True, [])
    assert [type(answer) for answer in answers] == [Unavailable]
    assert trio.current_time() == began + 5


async def test_degraded_room_finishes_and_what_it_has_is_archived(
    stores: Stores, autojump_clock: MockClock
) -> None:
    """Its session stays behind: the next process must not continue it."""
    async with stores.lobby() as lobby, lobby.join("r", user="ann") as ann:
        await ann.post("one")
        stores.hot.set_healthy(False)
        await ann.post("two")
        await lobby.finish()

    assert stores.archived() == ["one", "two"]
    assert {session.room for session in stores.hot.behind} == {"r"}


async def test_joining_a_closed_lobby(stores: Stores) -> None:
    """Nobody can take a seat any more."""
    async with stores.lobby() as lobby:
        pass

    with pytest.raises(Unavailable, match="stopping"):
        async with lobby.join("r", user="ann"):
            pytest.fail("it is closed")
