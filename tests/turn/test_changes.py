"""Posting, editing and deleting; and how much may be held that no store has."""

from __future__ import annotations

from trio_chat.errors import BadRequest, ReplyCode, Unavailable
from trio_chat.history import key_name
from trio_chat.mail import Accepted, Changed

from .house import LATER, NOON, Scene, kinds

# --- posting, editing, deleting


async def test_post_is_acknowledged(scene: Scene) -> None:
    """The ack names the message, its position and the step it has reached."""
    [(_, answer)] = await scene.play(scene.post(key="k"))

    assert answer == Accepted("k", scene.ledger.history.epoch, 1, "redis", False)


async def test_post_bears_the_time_of_its_turn(scene: Scene) -> None:
    """A message was posted when its turn was decided."""
    await scene.play(scene.post(), now=LATER)

    assert scene.ledger.history.snapshot()[0].timestamp == LATER


async def test_duplicate_is_acknowledged_and_told_nobody(scene: Scene) -> None:
    """The same key again gets the same ack, marked as a duplicate, and nobody hears it."""
    await scene.play(scene.join(scene.member("bob")), now=NOON)
    await scene.play(scene.post(key="k"))
    diary = await scene.play(scene.post("other text", key="k"))

    assert diary == [("ann", Accepted("k", scene.ledger.history.epoch, 1, "redis", True))]


async def test_same_key_twice_in_one_turn(scene: Scene) -> None:
    """A key that comes twice at once is one message."""
    diary = await scene.play(scene.post(key="k"), scene.post(key="k"))

    assert [answer.duplicate for _, answer in diary if isinstance(answer, Accepted)] == [False, True]


async def test_key_is_remembered_by_the_store(scene: Scene) -> None:
    """A key is written with its message; ids made here are not."""
    await scene.play(scene.post(key="k"), scene.post())
    found = await scene.hot.load("r")

    assert found is not None
    assert dict(found.keys) == {key_name("k", "ann"): 1}


async def test_edit_and_delete_are_acknowledged_and_told(scene: Scene) -> None:
    """Each change of a message is an event of its own."""
    await scene.play(scene.join(scene.member("bob")))
    await scene.play(scene.post(key="k"))
    diary = await scene.play(scene.edit("k", "new"), scene.delete("k"))

    assert kinds(diary) == [("bob", Changed), ("bob", Changed), ("ann", Accepted), ("ann", Accepted)]
    assert [what.seq for _, what in diary if isinstance(what, Accepted)] == [2, 3]


async def test_refused_change_is_answered_with_its_code(scene: Scene) -> None:
    """Somebody else's message cannot be changed, and nobody hears of the attempt."""
    await scene.play(scene.join(scene.member("cat")))
    await scene.play(scene.post(key="k", user="ann"))
    [(whom, error)] = await scene.play(scene.delete("k", user="bob"))

    assert whom == "bob"
    assert isinstance(error, BadRequest)
    assert error.code is ReplyCode.FORBIDDEN


async def test_moderator_is_passed_on(scene: Scene) -> None:
    """A moderator may change anybody's message."""
    await scene.play(scene.post(key="k", user="ann"))
    diary = await scene.play(
        scene.edit("k", "x", user="mod", moderator=True), scene.delete("k", user="mod", moderator=True)
    )

    assert kinds(diary) == [("mod", Accepted), ("mod", Accepted)]


# --- the backlog


async def test_degraded_room_says_so(scene: Scene) -> None:
    """While the store is away everybody still hears, and the ack says how far it went."""
    scene.hot.set_healthy(False)
    await scene.play(scene.join(scene.member("bob")))
    diary = await scene.play(scene.post())

    assert kinds(diary) == [("bob", Changed), ("ann", Accepted)]
    assert [what.durability for _, what in diary if isinstance(what, Accepted)] == ["memory"]


async def test_full_backlog_refuses_changes() -> None:
    """A room that holds as many events as it may, with both stores away, takes no more."""
    scene = Scene(backlog_limit=2, sync_after_events=1)
    scene.hot.set_healthy(False)
    await scene.play(scene.post(key="k"), scene.post())
    diary = await scene.play(scene.post(), scene.edit("k", "x"), scene.delete("k"))

    assert [what.code for _, what in diary if isinstance(what, Unavailable)] == [ReplyCode.OVERLOADED] * 3
    assert scene.ledger.history.top == 2


async def test_archived_backlog_makes_room() -> None:
    """What the archive has is no backlog."""
    scene = Scene(backlog_limit=2, sync_after_events=1)
    scene.hot.set_healthy(False)
    await scene.play(scene.post(), scene.post())
    scene.ledger.history.mark_synced(1)

    assert kinds(await scene.play(scene.post())) == [("ann", Accepted)]


async def test_healthy_room_takes_a_large_turn() -> None:
    """The limit is for events nobody else has; a turn about to be written is not refused for its size."""
    scene = Scene(backlog_limit=2, sync_after_events=1)
    diary = await scene.play(*(scene.post() for _ in range(4)))

    assert kinds(diary) == [("ann", Accepted)] * 4
