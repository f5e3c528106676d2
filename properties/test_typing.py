"""T1 and T2: who is said to type, and until when, on virtual time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from trio_chat.audience import TYPING_SECONDS
from trio_chat.mail import Accepted, Joined, Typing
from trio_chat.testing import (
    CLIENTS,
    Answered,
    Asked,
    Break,
    Heard,
    Join,
    Leave,
    Post,
    PutOut,
    Resume,
    Script,
    Sleep,
    Type,
    changes,
    crashes,
    pauses,
    play,
    scripts,
    together,
    visits,
)
from trio_chat.testing.script import user_of

if TYPE_CHECKING:
    from trio_chat.testing import Record

Told = tuple[float, str, bool]
"""At what time who started to type, or stopped."""

WHO = st.sampled_from(CLIENTS)
TYPES = st.builds(Type, WHO, active=st.sampled_from([True, True, False]))
GOING = st.builds(Join, WHO) | st.builds(Leave, WHO) | st.builds(Break, WHO)
# None of their sums is the time that typing takes: at the very moment anything may come first.
PAUSES = pauses(4.0, 28.0, 32.0)


class Model:
    """Who types, by the plainest rules, and what somebody must hear of it who is always there."""

    def __init__(self) -> None:
        self.until: dict[str, float] = {}
        self.here: dict[str, str] = {}
        self.told: list[Told] = []

    def take(self, entry: Answered) -> None:
        """Let something happen."""
        self.pass_to(entry.at)
        match entry.command, entry.answer:
            case Type(who, True), _:
                self.until[user_of(who)] = entry.at + TYPING_SECONDS
                self.told.append((entry.at, user_of(who), True))
            case (Type(who, False), _) | (Post(who), Accepted(duplicate=False)):
                self._stop(user_of(who), entry.at)
            case Join(who), Joined(typing=typing):
                assert {*typing} == self.until.keys() - {user_of(who)}
                self.here[who] = user_of(who)
            case (Leave(who) | Break(who), _):
                del self.here[who]
                if user_of(who) not in self.here.values():
                    self._stop(user_of(who), entry.at)
            case _:
                pass

    def pass_to(self, now: float) -> None:
        """Let time pass."""
        for user in [user for user, until in self.until.items() if until < now]:
            self._stop(user, self.until[user])

    def _stop(self, user: str, at: float) -> None:
        if self.until.pop(user, None) is not None:
            self.told.append((at, user, False))


@given(scripts(TYPES, TYPES, changes(), GOING, PAUSES))
def test_t1_typing(script: Script) -> None:
    """T1: who types has stopped 30 s after they said so last, when they post, leave, or say that they have.

    The others hear it then and once, and never of somebody who does not type; who joins learns who types.
    """
    record = play([Join("eve"), *script, Sleep(TYPING_SECONDS + 10)])
    model = Model()
    for entry, _ in record.answered(object):
        model.take(entry)
    model.pass_to(math.inf)

    heard = [(entry.at, said.user, said.active) for entry, said in record.heard(Typing) if entry.who == "eve"]
    assert by_user(heard) == by_user(model.told), record.story()


def by_user(told: list[Told]) -> list[Told]:
    """Return what was told in the order of time; of one moment, each user's by itself."""
    return sorted(told, key=lambda one: one[:2])


@given(
    scripts(
        TYPES,
        together(TYPES | changes() | visits()),
        crashes(),
        pauses(0.5, 20.0, 29.5),
        outages=("hot",),
    )
)
def test_t2_nobody_types_for_ever(script: Script) -> None:
    """T2: whatever happens to a room, soon nobody in it believes any more that somebody types."""
    record = play([Join("eve"), *script, Sleep(TYPING_SECONDS + 10)])

    for visit in lasting(record):
        assert believed(record.visits().get(visit, [])) == set(), record.story()


def lasting(record: Record) -> set[int]:
    """Return the visits that nobody has ended."""
    current: dict[str, int] = {}
    for entry in record.entries:
        match entry:
            case Asked(command=Join(who)):
                current.setdefault(who, entry.step)
            case Asked(command=Resume(who)):
                current[who] = entry.step
            case Asked(command=Leave(who) | Break(who)):
                current.pop(who, None)
            case PutOut(who=who) if current.get(who) == entry.visit:
                del current[who]
            case _:
                pass
    return {*current.values()}


def believed(visit: list[Answered | Heard]) -> set[str]:
    """Return who types, for all that a visit was told."""
    typing: set[str] = set()
    for entry in visit:
        match entry:
            case Answered(answer=Joined() as joined):
                typing.update(joined.typing)
            case Heard(hearing=Typing(user, active)):
                (typing.add if active else typing.discard)(user)
            case _:
                pass
    return typing
