"""What is kept back, and in which order it is let out; whose fault it is if deciding fails."""

from __future__ import annotations

import pytest

from trio_chat.errors import BadRequest, Unavailable
from trio_chat.mail import Accepted, Answer, Changed, Done, Look, Mail, Post, Typing, View
from trio_chat.turn import Turn

from .house import NOON, Scene, kinds

# --- keeping back


async def test_deciding_lets_nothing_out(scene: Scene) -> None:
    """Until the release neither answers nor hearings leave."""
    await scene.play(scene.join(scene.member("bob")))
    scene.diary.clear()
    scene.turn(
        scene.post(key="k"),
        scene.edit("k", "new"),
        scene.read("ann", "k"),
        scene.type("ann"),
        scene.touch("ann"),
        scene.edit("nothing", "refused"),
        Look(scene.to("ann")),
    )

    assert scene.diary == []


async def test_members_hear_before_the_sender_is_answered(scene: Scene) -> None:
    """Changes go out first, then answers, then what may be dropped."""
    ann, bob = scene.member("ann"), scene.member("bob")
    await scene.play(scene.join(ann), scene.join(bob))
    diary = await scene.play(scene.type("ann"), scene.post(user="bob"))

    assert kinds(diary) == [
        ("ann", Changed),
        ("bob", Changed),
        ("ann", Done),
        ("bob", Accepted),
        ("bob", Typing),
    ]


async def test_answers_are_in_the_order_of_the_mail(scene: Scene) -> None:
    """Each asker is answered in turn, the refused ones too."""
    diary = await scene.play(scene.post(user="a"), scene.edit("none", "x", user="b"), scene.post(user="c"))

    assert kinds(diary) == [("a", Accepted), ("b", BadRequest), ("c", Accepted)]


async def test_a_turn_is_one_parcel(scene: Scene) -> None:
    """All changes of a turn reach a member together, in order."""
    bob = scene.member("bob")
    await scene.play(scene.join(bob))
    diary = await scene.play(*(scene.post(f"text {n}") for n in range(3)))

    heard = [what.event.seq for whom, what in diary if isinstance(what, Changed)]
    assert heard == [1, 2, 3]
    assert bob.dropped == [False]


# --- looking


async def test_look_shows_the_window_and_what_waits(scene: Scene) -> None:
    """A view has the window and every event the archive lacks, those that left the window too."""
    await scene.play(*(scene.post(key=f"k{n}") for n in range(1, 6)))
    scene.ledger.history.mark_synced(1)
    [(_, view)] = await scene.play(Look(scene.to("ann")))

    assert isinstance(view, View)
    assert (view.epoch, view.seq, view.complete) == (scene.ledger.history.epoch, 5, True)
    assert [message.id for message in view.messages] == ["k3", "k4", "k5"]
    assert [event.seq for event in view.waiting] == [2, 3, 4, 5]


# --- failing


async def test_culprit_is_the_first_undecided(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mail is taken off after it was decided: after a crash the first one did it."""

    def crash(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    mails: list[Mail] = [scene.read("ann", "none"), scene.post(), Look(scene.to("ann"))]
    turn = Turn(mails, scene.ledger, scene.audience, now=NOON, clock=0.0, backlog_limit=10)
    monkeypatch.setattr(scene.ledger.history, "post", crash)

    with pytest.raises(RuntimeError, match="a bug"):
        turn.decide()
    assert list(turn.undecided) == mails[1:]
    assert turn.decided == mails[:1]


async def test_abandoned_mail_is_answered_once(scene: Scene) -> None:
    """Everything decided is answered with the error, and there is nothing left to let out."""
    turn = scene.turn(scene.post(), scene.join(scene.member("bob")))
    error = Unavailable("unknown")
    turn.abandon(error)
    turn.abandon(error)

    assert scene.diary == [("ann", error), ("bob", error)]
    assert turn.decided == []


async def test_leaving_in_an_abandoned_turn(scene: Scene) -> None:
    """Leaving cannot be refused: it is handed back, to be done in the next turn."""
    leave = scene.leave(scene.member("ann"))

    assert scene.turn(scene.post(), leave).abandon(Unavailable("unknown")) == [leave]
    assert kinds(scene.diary) == [("ann", Unavailable)]


async def test_answer_that_raises_hurts_nobody_else(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """Who fails to take an answer fails alone."""

    def fail(_: Answer) -> None:
        raise RuntimeError("gone")

    diary = await scene.play(Post("ann", "user", "hi", {}, None, fail), scene.post(user="bob"))

    assert kinds(diary) == [("bob", Accepted)]
    assert "an answer to Post was not taken: RuntimeError at test_order.py:" in caplog.text
