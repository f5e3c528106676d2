"""Who types and who has stopped."""

from __future__ import annotations

import math

from trio_chat.audience import TYPING_SECONDS
from trio_chat.errors import BadRequest, Unavailable
from trio_chat.mail import Accepted, Changed, Done, Joined, Presence, Typing

from .house import NOON, Scene, kinds


async def test_typing_goes_to_the_others(scene: Scene) -> None:
    """The others hear who types or has stopped, the user on no connection; it may be dropped."""
    bob = scene.member("bob")
    await scene.play(scene.join(bob), scene.join(scene.member("ann")), scene.join(scene.member("ann")))
    bob.dropped.clear()

    assert await scene.play(scene.type("ann")) == [("ann", Done()), ("bob", Typing("ann", True))]
    assert await scene.play(scene.type("ann", False)) == [("ann", Done()), ("bob", Typing("ann", False))]
    assert bob.dropped == [True, True]


async def test_stop_of_somebody_who_does_not_type(scene: Scene) -> None:
    """A stop that stops nothing is told to nobody, the first one and the second."""
    await scene.play(scene.join(scene.member("bob")))

    assert await scene.play(scene.type("ann", False)) == [("ann", Done())]
    await scene.play(scene.type("ann"), scene.type("ann", False))
    assert await scene.play(scene.type("ann", False)) == [("ann", Done())]


async def test_typing_starts_with_its_turn(scene: Scene) -> None:
    """The time that somebody types is counted from the turn that said so last."""
    await scene.play(scene.type("ann"), clock=100.0)
    await scene.play(scene.type("ann"), clock=120.0)

    assert scene.audience.typing_due == 120.0 + TYPING_SECONDS


async def test_busy_room_ends_typing(scene: Scene) -> None:
    """A room whose turns follow each other ends typing with the first turn behind the deadline."""
    await scene.play(scene.join(scene.member("bob")), scene.type("ann"))

    assert len(await scene.play(scene.read("bob", "none"), clock=TYPING_SECONDS - 1)) == 1
    [_, last] = await scene.play(scene.read("bob", "none"), clock=TYPING_SECONDS)
    assert last == ("bob", Typing("ann", False))


async def test_post_ends_typing(scene: Scene) -> None:
    """Who posts has stopped typing, which the others hear behind the message."""
    await scene.play(scene.join(scene.member("bob")), scene.type("ann"), scene.type("cat"))
    diary = await scene.play(scene.post(user="ann"))

    assert kinds(diary) == [("bob", Changed), ("ann", Accepted), ("bob", Typing)]
    assert diary[-1] == ("bob", Typing("ann", False))
    assert kinds(await scene.play(scene.post(user="ann"))) == [("bob", Changed), ("ann", Accepted)]


async def test_post_that_posts_nothing_ends_no_typing(scene: Scene) -> None:
    """A message that was there before, or is refused, says nothing about what its user types now."""
    await scene.play(scene.join(scene.member("bob")), scene.post(key="k"), scene.post(key="l", user="cat"))
    await scene.play(scene.type("ann"))
    diary = await scene.play(scene.post(key="k"), scene.edit("k", "x"), scene.edit("l", "x"))

    assert kinds(diary) == [
        ("bob", Changed),
        ("ann", Accepted),
        ("ann", Accepted),
        ("ann", BadRequest),
    ]


async def test_typing_behind_a_post(scene: Scene) -> None:
    """Who types on behind a post of the same turn types."""
    await scene.play(scene.join(scene.member("bob")), scene.type("ann"))
    diary = await scene.play(scene.post(user="ann"), scene.type("ann"))

    assert [what for _, what in diary if isinstance(what, Typing)] == [Typing("ann", True)]
    assert scene.audience.typing(0.0, besides="bob") == ("ann",)


async def test_leaving_ends_typing_in_its_turn(scene: Scene) -> None:
    """The others hear that who left has stopped typing, but not before the last connection has gone."""
    ann, ann_too = scene.member("ann"), scene.member("ann")
    await scene.play(scene.join(scene.member("bob")), scene.join(ann), scene.join(ann_too), scene.type("ann"))

    assert kinds(await scene.play(scene.leave(ann))) == [("ann", Done)]
    assert await scene.play(scene.leave(ann_too)) == [
        ("ann", Done()),
        ("bob", Presence("ann", False, NOON)),
        ("bob", Typing("ann", False)),
    ]


async def test_who_joins_learns_who_types(scene: Scene) -> None:
    """The answer to a join has who types at that point of the mail, besides one's own user."""
    answers = await scene.play(
        scene.join(scene.member("a")),
        scene.type("ann"),
        scene.join(scene.member("b")),
        scene.join(scene.member("ann")),
        scene.type("bob"),
        scene.join(scene.member("c")),
        scene.type("ann", False),
        scene.join(scene.member("d")),
    )

    assert {whom: what.typing for whom, what in answers if isinstance(what, Joined)} == {
        "a": (),
        "b": ("ann",),
        "ann": (),
        "c": ("ann", "bob"),
        "d": ("bob",),
    }


async def test_typing_of_an_abandoned_turn(scene: Scene) -> None:
    """Whose typing was never let out does not type."""
    scene.turn(scene.type("ann")).abandon(Unavailable("unknown"))

    assert scene.audience.typing_due == math.inf
