"""What somebody is told who joins or comes back."""

from __future__ import annotations

import pytest

from trio_chat.mail import Accepted, Joined, Presence
from trio_chat.message import Position, Receipt

from .house import NOON, WIRE, Scene, kinds


async def test_join_shows_the_window(scene: Scene) -> None:
    """Who joins is told the position, the window, who is here and what has been read."""
    await scene.play(scene.post(key="k"))
    await scene.play(scene.read("ann", "k"))
    [(_, joined)] = await scene.play(scene.join(scene.member("bob")))

    assert isinstance(joined, Joined)
    assert (joined.epoch, joined.seq, joined.first) == (scene.ledger.history.epoch, 1, 1)
    assert [message.id for message in joined.messages] == ["k"]
    assert (joined.recovered, joined.changes) == (False, ())
    assert joined.presence == (Presence("bob", True, NOON),)
    assert joined.receipts == {"ann": Receipt("k", NOON)}
    assert (joined.durability, joined.voice) == ("redis", WIRE)


async def test_join_of_an_empty_room_says_the_position(scene: Scene) -> None:
    """The position is told even at 0."""
    [(_, joined)] = await scene.play(scene.join(scene.member("bob")))

    assert isinstance(joined, Joined)
    assert (joined.seq, joined.messages, joined.recovered) == (0, (), False)


async def test_join_behind_a_post_sees_it_once(scene: Scene) -> None:
    """A message decided before the join, in the same turn, is in the snapshot and is not heard again."""
    diary = await scene.play(scene.post(key="k"), scene.join(scene.member("bob")))

    assert kinds(diary) == [("ann", Accepted), ("bob", Joined)]
    [_, (_, joined)] = diary
    assert isinstance(joined, Joined)
    assert [message.id for message in joined.messages] == ["k"]


async def test_join_in_a_degraded_room_is_told_so(scene: Scene) -> None:
    """The answer to a join says what an ack can promise at the moment."""
    scene.hot.set_healthy(False)
    await scene.play(scene.post())
    [(_, joined)] = await scene.play(scene.join(scene.member("bob")))

    assert isinstance(joined, Joined)
    assert joined.durability == "memory"


async def test_resume_at_the_top(scene: Scene) -> None:
    """Who has seen everything gets nothing, and it is complete."""
    await scene.play(scene.post())
    resume = Position(scene.ledger.history.epoch, 1)
    [(_, joined)] = await scene.play(scene.join(scene.member("bob"), resume))

    assert isinstance(joined, Joined)
    assert (joined.recovered, joined.changes, joined.messages) == (True, (), ())


async def test_resume_gets_the_changes(scene: Scene) -> None:
    """Who has seen some gets what happened since, in order, as it reads now."""
    await scene.play(scene.post(key="k"), scene.post(key="l"))
    resume = Position(scene.ledger.history.epoch, 1)
    await scene.play(scene.edit("k", "new"))
    [(_, joined)] = await scene.play(scene.join(scene.member("bob"), resume))

    assert isinstance(joined, Joined)
    assert joined.recovered
    assert [(event.seq, event.message.id) for event in joined.changes] == [(2, "l"), (3, "k")]


@pytest.mark.parametrize("seq", [-1, 0, 1, 6, 99])
async def test_resume_that_cannot_be_recovered(scene: Scene, seq: int) -> None:
    """Below the floor or above the top there is a gap: the whole window, and it says so."""
    await scene.play(*(scene.post(key=f"k{n}") for n in range(1, 6)))
    resume = Position(scene.ledger.history.epoch, seq)
    [(_, joined)] = await scene.play(scene.join(scene.member("bob"), resume))

    assert isinstance(joined, Joined)
    assert not joined.recovered
    assert [message.id for message in joined.messages] == ["k3", "k4", "k5"]


async def test_resume_in_another_session(scene: Scene) -> None:
    """A position of another epoch says nothing about this one."""
    await scene.play(scene.post())
    [(_, joined)] = await scene.play(scene.join(scene.member("bob"), Position("other", 1)))

    assert isinstance(joined, Joined)
    assert (joined.recovered, len(joined.messages)) == (False, 1)
