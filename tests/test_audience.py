"""The members of one room: told once per wire, counted by user, put out when they fail."""

from __future__ import annotations

import logging
import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from trio_chat.audience import CROWD, PRESENCE_SECONDS, TYPING_SECONDS, Audience
from trio_chat.mail import Expired, Hearing, Presence, Typing

if TYPE_CHECKING:
    from collections.abc import Sequence

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(minutes=1)
SOMETHING = Expired("e1")


class AWire:
    """A wire that notes what it was asked to wrap; its own voice."""

    def __init__(self, name: str = "plain") -> None:
        self.name = name
        self.rooms: list[str] = []
        self.wrapped: list[tuple[Hearing, ...]] = []
        self.told_last: object = None
        self.broken = False

    def voice(self, room: str) -> AWire:
        """Begin to speak."""
        self.rooms.append(room)
        return self

    def tell(self, hearings: Sequence[Hearing]) -> object:
        """Wrap hearings."""
        if self.broken:
            raise RuntimeError("cannot be wrapped")
        self.wrapped.append(tuple(hearings))
        return [self.name, *hearings]

    def told(self, parcel: object) -> None:
        """Note what was told."""
        self.told_last = parcel


class AMember:
    """A member that keeps what it hears, or fails at it."""

    def __init__(self, user: str, wire: AWire, *, failing: bool = False) -> None:
        self.user = user
        self.wire = wire
        self.failing = failing
        self.heard: list[tuple[Any, bool]] = []
        self.put_out_of: list[tuple[str, bool]] = []

    def hear(self, parcel: Any, droppable: bool) -> None:
        """Take a parcel."""
        if self.failing:
            raise RuntimeError("no more")
        self.heard.append((parcel, droppable))

    def put_out(self, room: str, *, told: bool) -> None:
        """Know that it is out."""
        self.put_out_of.append((room, told))


# --- coming and going


def test_first_of_a_user_is_new() -> None:
    """The first member of a user brings the user."""
    _, new = Audience("r").add(AMember("ann", AWire()), NOON)

    assert new


def test_second_of_a_user_is_not() -> None:
    """Presence is per user: a second connection brings nobody."""
    audience, wire = Audience("r"), AWire()
    audience.add(AMember("ann", wire), NOON)
    _, new = audience.add(AMember("ann", wire), NOON)

    assert not new
    assert [presence.user for presence in audience.presence()] == ["ann"]


def test_adding_a_member_twice() -> None:
    """A member that is in already gets its voice again, and counts once."""
    audience, wire = Audience("r"), AWire()
    member = AMember("ann", wire)
    audience.add(member, NOON)
    voice, new = audience.add(member, LATER)

    assert (voice, new) == (wire, False)
    assert (len(audience), wire.rooms) == (1, ["r"])
    assert audience.presence() == (Presence("ann", True, NOON),)
    assert audience.remove(member)


def test_user_is_here_as_long_as_a_member() -> None:
    """Who has come is here, who has left is not."""
    audience, member = Audience("r"), AMember("ann", AWire())

    assert not audience.is_here("ann")
    audience.add(member, NOON)
    assert audience.is_here("ann")
    audience.remove(member)
    assert not audience.is_here("ann")


def test_user_is_gone_with_the_last_member() -> None:
    """A user is here until the last connection has left."""
    audience = Audience("r")
    one, other = AMember("ann", AWire()), AMember("ann", AWire("other"))
    audience.add(one, NOON)
    audience.add(other, NOON)

    assert not audience.remove(one)
    assert audience.remove(other)
    assert audience.presence() == ()


def test_removing_a_stranger() -> None:
    """Whoever is not here cannot leave."""
    audience, wire = Audience("r"), AWire()
    audience.add(AMember("ann", wire), NOON)

    assert not audience.remove(AMember("ann", wire))
    assert not audience.remove(AMember("ann", AWire("unheard of")))
    assert len(audience) == 1


def test_removing_twice() -> None:
    """Whoever has left cannot leave again."""
    audience = Audience("r")
    member = AMember("ann", AWire())
    audience.add(member, NOON)
    audience.remove(member)

    assert not audience.remove(member)


def test_members_are_counted_and_found() -> None:
    """Length, membership and iteration go over all wires."""
    audience = Audience("r")
    members = [AMember("ann", AWire()), AMember("bob", AWire("other"))]
    for member in members:
        audience.add(member, NOON)

    assert len(audience) == 2
    assert list(audience) == members
    assert all(member in audience for member in members)
    assert AMember("ann", members[0].wire) not in audience
    assert AMember("ann", AWire()) not in audience


def test_members_may_leave_while_counted() -> None:
    """Going over the members does not mind that some leave meanwhile."""
    audience, wire = Audience("r"), AWire()
    for name in ("ann", "bob", "cat"):
        audience.add(AMember(name, wire), NOON)
    for member in audience:
        audience.remove(member)

    assert len(audience) == 0


def test_clear_lets_everybody_out() -> None:
    """After `clear` nobody is here."""
    audience = Audience("r")
    member = AMember("ann", AWire())
    audience.add(member, NOON)
    audience.clear(told=True)

    assert (len(audience), audience.presence()) == (0, ())
    assert not audience.remove(member)


def test_clear_tells_everybody_that_they_are_out() -> None:
    """Each member learns once that the room has put it out, and of which room."""
    audience = Audience("r")
    members = [AMember("ann", AWire()), AMember("bob", AWire("other"))]
    for member in members:
        audience.add(member, NOON)
    audience.clear(told=True)

    assert [member.put_out_of for member in members] == [[("r", True)], [("r", True)]]


def test_leaving_is_not_being_put_out() -> None:
    """Who leaves knows that already."""
    audience = Audience("r")
    member = AMember("ann", AWire())
    audience.add(member, NOON)
    audience.remove(member)

    assert member.put_out_of == []


# --- voices


def test_one_voice_a_wire() -> None:
    """Members of one wire share its voice, which speaks in this room."""
    audience, wire = Audience("r"), AWire()
    first, _ = audience.add(AMember("ann", wire), NOON)
    second, _ = audience.add(AMember("bob", wire), NOON)

    assert first is second
    assert wire.rooms == ["r"]


def test_voice_lives_as_long_as_its_members() -> None:
    """When the last member of a wire has left its voice is forgotten."""
    audience, wire = Audience("r"), AWire()
    member = AMember("ann", wire)
    audience.add(member, NOON)
    audience.remove(member)
    audience.tell([SOMETHING])
    audience.add(member, NOON)

    assert wire.rooms == ["r", "r"]
    assert wire.wrapped == []


# --- telling


def test_parcel_is_wrapped_once_a_wire() -> None:
    """Every member of a wire gets the same parcel."""
    audience = Audience("r")
    plain, other = AWire(), AWire("other")
    members = [AMember(name, wire) for name in ("ann", "bob") for wire in (plain, other)]
    for member in members:
        audience.add(member, NOON)
    audience.tell([SOMETHING])

    assert (len(plain.wrapped), len(other.wrapped)) == (1, 1)
    assert members[0].heard == [(["plain", SOMETHING], False)]
    assert members[1].heard == [(["other", SOMETHING], False)]
    assert members[0].heard[0][0] is members[2].heard[0][0]


def test_hearings_stay_together_and_in_order() -> None:
    """Several hearings are one parcel."""
    audience = Audience("r")
    member = AMember("ann", AWire())
    audience.add(member, NOON)
    audience.tell([Expired("e1"), Expired("e2")])

    assert member.heard == [(["plain", Expired("e1"), Expired("e2")], False)]


def test_droppable_is_passed_on() -> None:
    """A member is told what it may drop."""
    audience = Audience("r")
    member = AMember("ann", AWire())
    audience.add(member, NOON)
    audience.tell([Typing("bob", True)], droppable=True)

    assert [droppable for _, droppable in member.heard] == [True]


def test_besides_leaves_out_every_member_of_the_user() -> None:
    """Whoever types need not be told, on no connection."""
    audience = Audience("r")
    ann, ann_too, bob = AMember("ann", AWire()), AMember("ann", AWire("other")), AMember("bob", AWire())
    for member in (ann, ann_too, bob):
        audience.add(member, NOON)
    audience.tell([Typing("ann", True)], besides="ann")

    assert (len(ann.heard), len(ann_too.heard), len(bob.heard)) == (0, 0, 1)


def test_telling_nobody() -> None:
    """For a room that everybody has left no wire is asked to wrap anything."""
    audience, wire = Audience("r"), AWire()
    ann = AMember("ann", wire)
    audience.add(ann, NOON)
    audience.remove(ann)
    audience.tell([SOMETHING])

    assert wire.wrapped == []


def test_failing_member_is_out(caplog: pytest.LogCaptureFixture) -> None:
    """A member that raises is put out, and the others do not notice."""
    audience, wire = Audience("r"), AWire()
    bad, good = AMember("bad", wire, failing=True), AMember("good", wire)
    audience.add(bad, NOON)
    audience.add(good, NOON)
    with caplog.at_level(logging.ERROR):
        audience.tell([SOMETHING])
        audience.tell([SOMETHING])

    assert bad not in audience
    assert (bad.put_out_of, good.put_out_of) == ([("r", False)], [])
    assert good.heard[0] == good.heard[-1] == (["plain", SOMETHING], False)
    [said] = [record.getMessage() for record in caplog.records]
    assert said.startswith(
        "room r: a member of user bad failed to take a message and is out: RuntimeError at test_audience.py:"
    )


def test_others_hear_that_a_failing_member_is_gone(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody stays on the list of those who are here after having been put out."""
    audience, wire = Audience("r"), AWire()
    bad, good = AMember("bad", wire, failing=True), AMember("good", wire)
    audience.add(bad, NOON)
    audience.add(good, NOON)
    with caplog.at_level(logging.CRITICAL):
        audience.tell([SOMETHING])

    assert good.heard[-1][0] == ["plain", Presence("bad", False, NOON)]


def test_last_member_fails(caplog: pytest.LogCaptureFixture) -> None:
    """A wire whose only member fails goes with it."""
    audience = Audience("r")
    audience.add(AMember("bad", AWire(), failing=True), NOON)
    with caplog.at_level(logging.CRITICAL):
        audience.tell([SOMETHING])

    assert len(audience) == 0


def test_what_was_prepared_is_told_as_it_is() -> None:
    """It is wrapped while there is time, once, and nobody hears it before it is told; what comes in between is."""
    audience, wire = Audience("r"), AWire()
    member = AMember("ann", wire)
    audience.add(member, NOON)
    changes = [Typing("bob", True)]

    audience.prepare(changes)
    audience.tell([Typing("eve", True)], droppable=True)
    audience.tell(changes)

    assert wire.wrapped == [(Typing("bob", True),), (Typing("eve", True),)]
    assert [parcel[1] for parcel, _ in member.heard] == [Typing("eve", True), Typing("bob", True)]
    assert wire.told_last == member.heard[-1][0]


def test_what_was_prepared_reaches_those_who_are_left() -> None:
    """A wire whose last member is gone by then is not told."""
    audience, wire, other = Audience("r"), AWire(), AWire("other")
    member, gone = AMember("ann", wire), AMember("bob", other)
    audience.add(gone, NOON)
    audience.add(member, NOON)
    changes = [Typing("eve", True)]

    audience.prepare(changes)
    audience.remove(gone)
    audience.tell(changes)

    assert (gone.heard, other.told_last) == ([], None)
    assert [parcel for parcel, _ in member.heard] == [["plain", Typing("eve", True)]]


def test_what_was_prepared_is_not_kept() -> None:
    """It is large. Whatever else is told for good in its place, it was given up, and is wrapped anew if it comes."""
    audience, wire = Audience("r"), AWire()
    audience.add(AMember("ann", wire), NOON)
    changes = [SOMETHING]

    audience.prepare(changes)
    audience.tell([Typing("eve", True)], droppable=True)
    audience.tell([Expired("e2")])
    audience.tell(changes)

    assert wire.wrapped.count((SOMETHING,)) == 2


def test_what_was_prepared_is_told_to_a_wire_that_is_new() -> None:
    """Also if another one is gone, so that there are as many."""
    audience, wire, other = Audience("r"), AWire(), AWire("other")
    gone, new = AMember("ann", wire), AMember("bob", other)
    audience.add(gone, NOON)
    changes = [SOMETHING]

    audience.prepare(changes)
    audience.remove(gone)
    audience.add(new, NOON)
    audience.tell(changes)

    assert [parcel for parcel, _ in new.heard] == [["other", SOMETHING]]


def test_who_comes_is_heard_of_before_what_was_prepared() -> None:
    """Nobody is heard who is not here yet, whenever it was wrapped."""
    audience, wire = Audience("r"), AWire()
    member = AMember("ann", wire)
    audience.add(member, NOON)
    changes = [Typing("eve", True)]
    crowd = [Presence(f"u{number}", True, NOON) for number in range(CROWD + 1)]

    audience.prepare(changes)
    for presence in crowd:
        audience.announce(presence, 0.0)
    audience.tell(changes)

    assert member.heard[-1][0][1:] == [crowd[-1], *changes]


def test_wire_that_cannot_wrap() -> None:
    """All wires are wrapped before anybody is told: nobody has heard half of it."""
    audience = Audience("r")
    plain, broken = AWire(), AWire("broken")
    broken.broken = True
    ann = AMember("ann", plain)
    audience.add(ann, NOON)
    audience.add(AMember("bob", broken), NOON)

    with pytest.raises(RuntimeError, match="cannot be wrapped"):
        audience.tell([SOMETHING])
    assert ann.heard == []


# --- typing


def ann_types(*, bob_fails: bool = False) -> tuple[Audience, AMember, AMember]:
    """Make an audience of ann, who types since 0, and bob."""
    audience, wire = Audience("r"), AWire()
    ann, bob = AMember("ann", wire), AMember("bob", wire, failing=bob_fails)
    audience.add(ann, NOON)
    audience.add(bob, NOON)
    audience.start_typing("ann", 0.0)
    return audience, ann, bob


STOPPED = [(["plain", Typing("ann", False)], True)]


def test_typing_ends_after_its_time() -> None:
    """At the deadline the others are told, once, droppably; the user is not."""
    audience, ann, bob = ann_types()

    assert audience.typing_due == TYPING_SECONDS
    audience.end_typing(TYPING_SECONDS - 0.001)
    assert bob.heard == []
    audience.end_typing(TYPING_SECONDS)
    audience.end_typing(TYPING_SECONDS)
    assert (bob.heard, ann.heard) == (STOPPED, [])
    assert audience.typing_due == math.inf


def test_typing_again_moves_its_end() -> None:
    """Who goes on typing has all the time again."""
    audience, _, bob = ann_types()
    audience.start_typing("ann", 20.0)
    audience.end_typing(TYPING_SECONDS)

    assert bob.heard == []
    assert audience.typing_due == 20.0 + TYPING_SECONDS


def test_each_user_types_alone() -> None:
    """The end of one user's typing is not another's; the earliest is due first."""
    audience, _, bob = ann_types()
    audience.start_typing("cat", 10.0)
    audience.start_typing("dan", -10.0)

    assert audience.typing_due == TYPING_SECONDS - 10.0
    audience.end_typing(TYPING_SECONDS)
    assert [parcel[1].user for parcel, _ in bob.heard] == ["ann", "dan"]
    assert audience.typing_due == TYPING_SECONDS + 10.0


def test_stopping_is_due_at_once() -> None:
    """Who stops has stopped for everybody who asks from then on; the others are told by the next call."""
    audience, _, bob = ann_types()
    audience.stop_typing("ann")

    assert audience.typing(0.0, besides="bob") == ()
    assert bob.heard == []
    audience.end_typing(0.0)
    assert bob.heard == STOPPED


def test_stopping_without_typing() -> None:
    """Nobody is told that somebody stopped who did not type."""
    audience, _, bob = ann_types()
    audience.stop_typing("cat")
    audience.end_typing(0.0)

    assert bob.heard == []


def test_who_types() -> None:
    """Whoever comes learns who types, on other connections than their own user's."""
    audience, _, _ = ann_types()
    audience.start_typing("bob", 10.0)

    assert audience.typing(0.0, besides="cat") == ("ann", "bob")
    assert audience.typing(0.0, besides="ann") == ("bob",)
    assert audience.typing(TYPING_SECONDS, besides="cat") == ("bob",)


def test_leaving_ends_typing() -> None:
    """A user whose last member has left does not type."""
    audience, ann, bob = ann_types()
    ann_too = AMember("ann", ann.wire)
    audience.add(ann_too, NOON)
    audience.remove(ann)
    audience.end_typing(0.0)
    assert bob.heard == []
    audience.remove(ann_too)
    audience.end_typing(0.0)

    assert bob.heard == STOPPED


def test_being_put_out_ends_typing(caplog: pytest.LogCaptureFixture) -> None:
    """A user whose last member failed does not type, though that is found out while others' typing ends."""
    audience, _, _ = ann_types(bob_fails=True)
    cat = AMember("cat", AWire())
    audience.add(cat, NOON)
    audience.start_typing("bob", 10.0)
    with caplog.at_level(logging.CRITICAL):
        audience.end_typing(TYPING_SECONDS)

    assert [parcel[1] for parcel, _ in cat.heard] == [
        Typing("ann", False),
        Presence("bob", False, NOON),
        Typing("bob", False),
    ]
    assert audience.typing_due == math.inf


def test_stranger_does_not_type_for_ever() -> None:
    """Who is no member may type, and stops like everybody."""
    audience, _, bob = ann_types()
    audience.start_typing("stranger", 0.0)
    audience.end_typing(TYPING_SECONDS)

    assert [parcel[1].user for parcel, _ in bob.heard] == ["ann", "stranger"]


def test_end_of_typing_that_could_not_be_told() -> None:
    """What could not be told is told by the next call."""
    audience, ann, bob = ann_types()
    ann.wire.broken = True
    with pytest.raises(RuntimeError, match="cannot be wrapped"):
        audience.end_typing(TYPING_SECONDS)
    ann.wire.broken = False
    audience.end_typing(TYPING_SECONDS)

    assert bob.heard == STOPPED


def test_clear_ends_typing() -> None:
    """Where nobody is nobody types."""
    audience, _, _ = ann_types()
    audience.clear(told=True)

    assert audience.typing_due == math.inf


# --- presence


def test_presence_says_when_somebody_came() -> None:
    """Coming is doing something."""
    audience = Audience("r")
    audience.add(AMember("ann", AWire()), NOON)

    assert audience.presence() == (Presence("ann", True, NOON),)


def test_touch_moves_the_last_activity() -> None:
    """A user that did something was active then."""
    audience = Audience("r")
    audience.add(AMember("ann", AWire()), NOON)
    audience.touch("ann", LATER)

    assert audience.presence_of("ann", LATER) == Presence("ann", True, LATER)


def test_touch_of_a_stranger() -> None:
    """Who is not here leaves no trace."""
    audience = Audience("r")
    audience.touch("ann", NOON)

    assert audience.presence() == ()
    assert audience.presence_of("ann", LATER) == Presence("ann", False, LATER)


def test_presence_of_somebody_who_left() -> None:
    """Who left was active when they last did something, and is then forgotten."""
    audience = Audience("r")
    member = AMember("ann", AWire())
    audience.add(member, NOON)
    audience.remove(member)

    assert audience.presence_of("ann", LATER) == Presence("ann", False, NOON)
    assert audience.presence_of("ann", LATER) == Presence("ann", False, LATER)


def test_repr_counts() -> None:
    """The one-line form counts members and users."""
    audience, wire = Audience("r"), AWire()
    for name in ("ann", "ann", "bob"):
        audience.add(AMember(name, wire), NOON)

    assert repr(audience) == "<Audience of r members=3 users=2>"


# --- crowds


def test_a_few_who_come_are_told_at_once() -> None:
    """The others hear of each in the same step, and nobody of themselves."""
    audience, wire = Audience("r"), AWire()
    ann = AMember("ann", wire)
    audience.add(ann, NOON)
    for number in range(CROWD):
        audience.announce(Presence(f"u{number}", True, NOON), 0.0)

    assert [told for [_, told], _ in ann.heard] == [Presence(f"u{n}", True, NOON) for n in range(CROWD)]
    assert audience.due == math.inf


def test_a_crowd_is_told_together() -> None:
    """What is too much for one second waits a moment; the last state of each user counts."""
    audience, wire = Audience("r"), AWire()
    ann = AMember("ann", wire)
    audience.add(ann, NOON)
    for number in range(CROWD + 3):
        audience.announce(Presence(f"u{number}", True, NOON), 0.0)
    audience.announce(Presence("u11", False, NOON), 0.05)
    ann.heard.clear()

    assert audience.due == PRESENCE_SECONDS
    audience.tell_due(PRESENCE_SECONDS)
    audience.tell_due(PRESENCE_SECONDS)

    news = [Presence("u10", True, NOON), Presence("u11", False, NOON), Presence("u12", True, NOON)]
    assert ann.heard == [(["plain", *news], True)]
    assert audience.due == math.inf


def test_nobody_of_a_crowd_is_heard_before_they_are_announced() -> None:
    """What may not be dropped brings the news along, and nothing is told twice."""
    audience, wire = Audience("r"), AWire()
    ann = AMember("ann", wire)
    audience.add(ann, NOON)
    for number in range(CROWD + 1):
        audience.announce(Presence(f"u{number}", True, NOON), 0.0)
    ann.heard.clear()
    audience.tell([SOMETHING])
    audience.tell_due(PRESENCE_SECONDS)

    assert ann.heard == [(["plain", Presence("u10", True, NOON), SOMETHING], False)]
