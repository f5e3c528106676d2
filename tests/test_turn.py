"""One turn of a room: decided synchronously, kept back, then let out in order."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from trio_chat.audience import TYPING_SECONDS, Audience
from trio_chat.errors import BadRequest, ReplyCode, Unavailable
from trio_chat.history import key_name
from trio_chat.ledger import Ledger
from trio_chat.mail import (
    Accepted,
    Answer,
    Changed,
    Delete,
    Done,
    Edit,
    Hearing,
    Join,
    Joined,
    Leave,
    Look,
    Mail,
    Post,
    Presence,
    Read,
    ReadMark,
    Touch,
    Type,
    Typing,
    View,
)
from trio_chat.message import Position, Receipt
from trio_chat.seat import PlainWire
from trio_chat.settings import Settings
from trio_chat.stores.memory import MemoryHotStore
from trio_chat.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(minutes=1)
WIRE = PlainWire()


class Scene:
    """A room's ledger and audience, and one diary of everything that leaves a turn, in order."""

    def __init__(self, **settings: Any) -> None:
        self.settings = Settings(**{"max_messages_per_session": 3, **settings})
        self.hot = MemoryHotStore(durability="redis")
        self.ledger = Ledger("r", self.hot, self.settings, lambda: NOON)
        self.audience = Audience("r")
        self.diary: list[tuple[str, Answer | Hearing]] = []

    def turn(self, *mails: Mail, now: datetime = NOON, clock: float = 0.0) -> Turn:
        """Decide mail, and keep everything back."""
        limit = self.settings.backlog_limit
        turn = Turn(mails, self.ledger, self.audience, now=now, clock=clock, backlog_limit=limit)
        turn.decide()
        return turn

    async def play(
        self, *mails: Mail, now: datetime = NOON, clock: float = 0.0
    ) -> list[tuple[str, Answer | Hearing]]:
        """Decide, write and let out a turn. Returns what left it."""
        turn = self.turn(*mails, now=now, clock=clock)
        await self.ledger.write()
        self.diary.clear()
        turn.release()
        return list(self.diary)

    def to(self, whom: str) -> Callable[[Answer], None]:
        """Make an answer that goes to the diary."""
        return lambda answer: self.diary.append((whom, answer))

    def member(self, user: str) -> AMember:
        """Make somebody whose hearings go to the diary."""
        return AMember(user, self.diary)

    def post(self, content: str = "hi", key: str | None = None, user: str = "ann") -> Post:
        """Make a post, answered to its user."""
        return Post(user, "user", content, {}, key, self.to(user))

    def edit(self, name: str, content: str, user: str = "ann", *, moderator: bool = False) -> Edit:
        """Make an edit."""
        return Edit(user, moderator, name, content, None, self.to(user))

    def delete(self, name: str, user: str = "ann", *, moderator: bool = False) -> Delete:
        """Make a deletion."""
        return Delete(user, moderator, name, self.to(user))

    def join(self, member: AMember, resume: Position | None = None) -> Join:
        """Make a join."""
        return Join(member, resume, self.to(member.user))

    def leave(self, member: AMember) -> Leave:
        """Make a leave."""
        return Leave(member, True, self.to(member.user))

    def type(self, user: str, active: bool = True) -> Type:
        """Make somebody type, or stop."""
        return Type(user, active, self.to(user))

    def touch(self, user: str) -> Touch:
        """Make somebody say that they are active."""
        return Touch(user, self.to(user))

    def read(self, user: str, message_id: str) -> Read:
        """Make a read mark."""
        return Read(user, message_id, self.to(user))


class AMember:
    """A member whose diary is the scene's."""

    def __init__(self, user: str, diary: list[tuple[str, Answer | Hearing]]) -> None:
        self.user = user
        self.diary = diary
        self.dropped: list[bool] = []
        self.failing = False

    @property
    def wire(self) -> PlainWire:
        """Hear hearings as they are."""
        return WIRE

    def hear(self, parcel: Sequence[Hearing], droppable: bool) -> None:
        """Write it down."""
        if self.failing:
            raise RuntimeError("no more")
        self.dropped.append(droppable)
        self.diary.extend((self.user, hearing) for hearing in parcel)

    def put_out(self, room: str, *, told: bool) -> None:
        """Nothing."""


@pytest.fixture
async def scene() -> Scene:
    return Scene()


def kinds(diary: list[tuple[str, Answer | Hearing]]) -> list[tuple[str, type]]:
    return [(whom, type(what)) for whom, what in diary]


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


# --- joining


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


# --- typing


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
    assert "an answer to Post was not taken: RuntimeError at test_turn.py:" in caplog.text
