"""Who is here, since when, and how far they have read."""

from __future__ import annotations

from trio_chat.errors import BadRequest, ReplyCode
from trio_chat.mail import Accepted, Changed, Done, Joined, Presence, ReadMark
from trio_chat.message import Position, Receipt

from .house import LATER, NOON, Scene, kinds

# --- presence


async def test_others_hear_who_comes(scene: Scene) -> None:
    """Those who are here hear of a new user, who does not hear of itself; it may be dropped."""
    bob = scene.member("bob")
    await scene.play(scene.join(bob))
    diary = await scene.play(scene.join(scene.member("ann")), now=LATER)

    assert kinds(diary) == [("ann", Joined), ("bob", Presence)]
    assert diary[1][1] == Presence("ann", True, LATER)
    assert bob.dropped == [True]


async def test_second_connection_of_a_user_is_no_news(scene: Scene) -> None:
    """Presence is per user."""
    await scene.play(scene.join(scene.member("bob")), scene.join(scene.member("ann")))

    assert kinds(await scene.play(scene.join(scene.member("ann")))) == [("ann", Joined)]


async def test_others_hear_who_leaves(scene: Scene) -> None:
    """Those who stay hear of it when a user's last connection leaves, with the time of the last activity."""
    one, two, bob = scene.member("ann"), scene.member("ann"), scene.member("bob")
    await scene.play(scene.join(one), scene.join(two), scene.join(bob))

    assert kinds(await scene.play(scene.leave(one), now=LATER)) == [("ann", Done)]
    assert await scene.play(scene.leave(two), now=LATER) == [
        ("ann", Done()),
        ("bob", Presence("ann", False, NOON)),
    ]


async def test_leaving_twice(scene: Scene) -> None:
    """Who is not here leaves without a sound."""
    ann = scene.member("ann")
    await scene.play(scene.join(ann), scene.join(scene.member("bob")))
    await scene.play(scene.leave(ann))

    assert await scene.play(scene.leave(ann)) == [("ann", Done())]


async def test_leaving_right_behind_the_join(scene: Scene) -> None:
    """A leave that comes in the turn of its join takes back that join: nobody stays who has left."""
    ann = scene.member("ann")
    diary = await scene.play(scene.join(ann), scene.leave(ann))

    assert ann not in scene.audience
    assert kinds(diary)[-1] == ("ann", Done)


async def test_joining_right_behind_the_leave(scene: Scene) -> None:
    """A join that comes in the turn of a leave counts: the order of the mail is the order of things."""
    ann = scene.member("ann")
    await scene.play(scene.join(ann))
    await scene.play(scene.leave(ann), scene.join(ann))

    assert ann in scene.audience
    assert [presence.user for presence in scene.audience.presence()] == ["ann"]


async def test_others_hear_of_leaving_and_joining_in_order(scene: Scene) -> None:
    """Who leaves and is back in one turn is here in the end, for whoever heard it."""
    ann = scene.member("ann")
    await scene.play(scene.join(ann), scene.join(scene.member("bob")))
    diary = await scene.play(scene.leave(ann), scene.join(ann))

    assert [what.active for whom, what in diary if whom == "bob" and isinstance(what, Presence)] == [
        False,
        True,
    ]
    assert [what.active for whom, what in diary if whom == "ann" and isinstance(what, Presence)] == []


async def test_joining_twice(scene: Scene) -> None:
    """A member that is here already is answered afresh, and nothing else happens: nobody hears of it."""
    ann, bob = scene.member("ann"), scene.member("bob")
    await scene.play(scene.join(bob), scene.join(ann), scene.post(key="k1"), scene.post(key="k2"))
    [(whom, joined)] = await scene.play(scene.join(ann), now=LATER)

    assert whom == "ann"
    assert isinstance(joined, Joined)
    assert ([message.id for message in joined.messages], joined.seq) == (["k1", "k2"], 2)
    assert joined.presence == (Presence("bob", True, NOON), Presence("ann", True, NOON))
    assert kinds(await scene.play(scene.leave(ann))) == [("ann", Done), ("bob", Presence)]


async def test_resuming_twice(scene: Scene) -> None:
    """A member that is here already gets what has changed since its position, if it names one."""
    ann = scene.member("ann")
    await scene.play(scene.join(ann))
    await scene.play(scene.post(key="k1"), scene.post(key="k2"))
    [(_, joined)] = await scene.play(scene.join(ann, Position(scene.ledger.history.epoch, 1)))

    assert isinstance(joined, Joined)
    assert joined.recovered
    assert [event.message.id for event in joined.changes] == ["k2"]


async def test_member_that_left_hears_nothing_more(scene: Scene) -> None:
    """Whatever is decided in a later turn does not reach who left."""
    ann = scene.member("ann")
    await scene.play(scene.join(ann))
    await scene.play(scene.leave(ann))

    assert kinds(await scene.play(scene.post(user="bob"))) == [("bob", Accepted)]


async def test_posting_is_being_active(scene: Scene) -> None:
    """Who says something, types or reads was active then."""
    await scene.play(
        scene.join(scene.member("a")), scene.join(scene.member("b")), scene.join(scene.member("c"))
    )
    await scene.play(scene.post(key="k", user="a"), scene.type("b"), scene.read("c", "k"), now=LATER)

    assert {presence.last_active for presence in scene.audience.presence()} == {LATER}


# --- being here


async def test_touch_goes_to_the_others(scene: Scene) -> None:
    """The others hear that a user is active and since when, the user on no connection; it may be dropped."""
    bob = scene.member("bob")
    await scene.play(scene.join(bob), scene.join(scene.member("ann")), scene.join(scene.member("ann")))
    bob.dropped.clear()

    assert await scene.play(scene.touch("ann"), now=LATER) == [
        ("ann", Done()),
        ("bob", Presence("ann", True, LATER)),
    ]
    assert bob.dropped == [True]
    assert Presence("ann", True, LATER) in scene.audience.presence()


async def test_touch_of_somebody_who_is_not_here(scene: Scene) -> None:
    """Nobody hears that somebody is here who is not, or has left in the same turn."""
    ann = scene.member("ann")
    await scene.play(scene.join(scene.member("bob")))

    assert await scene.play(scene.touch("ann")) == [("ann", Done())]
    await scene.play(scene.join(ann))
    diary = await scene.play(scene.touch("ann"), scene.leave(ann), scene.touch("ann"))
    assert [what.active for _, what in diary if isinstance(what, Presence)] == [False]


async def test_touch_behind_a_join(scene: Scene) -> None:
    """A touch in the turn of its join counts: the order of the mail is the order of things."""
    await scene.play(scene.join(scene.member("bob")))
    diary = await scene.play(scene.join(scene.member("ann")), scene.touch("ann"))

    assert kinds(diary)[1:] == [("ann", Done), ("bob", Presence), ("bob", Presence)]


async def test_nobody_is_here_who_was_put_out_meanwhile(scene: Scene) -> None:
    """Who fails at what is told before their own presence is gone for the others, and stays so."""
    ann = scene.member("ann")
    await scene.play(scene.join(scene.member("bob")), scene.join(ann), scene.post(key="k"))
    ann.failing = True
    diary = await scene.play(scene.read("bob", "k"), scene.touch("ann"))

    assert [what.active for _, what in diary if isinstance(what, Presence)] == [False]


# --- read marks


async def test_read_mark_goes_to_everybody(scene: Scene) -> None:
    """Everybody hears how far somebody has read, that user too, and nobody may drop it."""
    bob = scene.member("bob")
    await scene.play(scene.join(scene.member("ann")), scene.join(bob))
    await scene.play(scene.post(key="k"))
    bob.dropped.clear()
    diary = await scene.play(scene.read("ann", "k"), now=LATER)
    mark = ReadMark("ann", Receipt("k", LATER))

    assert diary == [("ann", Done()), ("ann", mark), ("bob", mark)]
    assert bob.dropped == [False]


async def test_read_mark_in_the_turn_of_its_message(scene: Scene) -> None:
    """A message can be read as soon as it is decided; its mark is heard behind it."""
    await scene.play(scene.join(scene.member("bob")))
    diary = await scene.play(scene.post(key="k"), scene.read("bob", "k"))

    assert kinds(diary) == [("bob", Changed), ("ann", Accepted), ("bob", Done), ("bob", ReadMark)]


async def test_read_marks_go_forward_only(scene: Scene) -> None:
    """An older message, or the same one again, does not move the mark, and nobody hears it."""
    await scene.play(scene.post(key="k"), scene.post(key="l"))
    await scene.play(scene.read("ann", "l"))
    diary = await scene.play(scene.read("ann", "k"), scene.read("ann", "l"), now=LATER)

    assert diary == [("ann", Done()), ("ann", Done())]
    assert scene.ledger.receipts == {"ann": Receipt("l", NOON)}


async def test_read_mark_of_a_message_that_left(scene: Scene) -> None:
    """A mark whose message left the window moves on to any that is there."""
    await scene.play(scene.post(key="k1"))
    await scene.play(scene.read("ann", "k1"))
    await scene.play(*(scene.post(key=f"k{n}") for n in range(2, 6)))
    await scene.play(scene.read("ann", "k3"), now=LATER)

    assert scene.ledger.receipts == {"ann": Receipt("k3", LATER)}


async def test_reading_an_unknown_message(scene: Scene) -> None:
    """Only a message of the window can be read up to."""
    [(_, error)] = await scene.play(scene.read("ann", "none"))

    assert isinstance(error, BadRequest)
    assert error.code is ReplyCode.NOT_FOUND
