"""The accounts of a run: each fault, planted, is found. A run without a fault has none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_chat.bench.tally import Counts, RoomTally, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

EPOCH = "01990000-0000-7000-8000-000000000000"


class Room:
    """A tally of two members, and what it has settled."""

    def __init__(self, members: int = 2) -> None:
        self.counts = Counts()
        self.settled: list[bool] = []
        self.tally = RoomTally(members, self.counts, self.settled.append)

    def post(self, count: int, *, ack: bool = True) -> None:
        """Post messages and have them acknowledged in order."""
        for _ in range(count):
            number = self.tally.post(0, due=0.0)
            if ack:
                self.ack(number, seq=number)

    def ack(self, number: int, seq: int, epoch: str = EPOCH) -> None:
        self.tally.ack(number, epoch, seq, "redis", now=1.0)

    def hear(self, *heard: Sequence[int]) -> Verdict:
        """Have each member hear these messages in this order, and return the verdict."""
        for member, numbers in enumerate(heard):
            for number in numbers:
                self.tally.hear(member, number, now=2.0)
        return self.tally.judge()


@pytest.fixture
def room() -> Room:
    return Room()


@given(st.integers(1, 4), st.integers(0, 20))
def test_a_run_in_order_is_well(members: int, messages: int) -> None:
    """Everything acknowledged, everything heard, everything settled, everything counted."""
    room = Room(members)
    room.post(messages)

    verdict = room.hear(*[range(1, messages + 1)] * members)

    assert verdict == Verdict()
    assert verdict.well
    assert room.settled == [False] * messages
    assert room.tally.under_way == 0
    assert room.counts.deliveries == members * messages
    assert room.counts.acked == ({"redis": messages} if messages else {})


def test_a_missing_delivery_is_found(room: Room) -> None:
    """Of a message that was acknowledged, whether or not anybody has heard it."""
    room.post(3)

    assert room.hear([1, 3], [1, 2]) == Verdict(missing=2)
    assert room.tally.under_way == 2


def test_what_nobody_heard_is_missing_everywhere(room: Room) -> None:
    """An acknowledgement is a promise."""
    room.post(2)

    assert room.hear([1], [1]) == Verdict(missing=2)


def test_what_one_has_heard_the_others_must_hear(room: Room) -> None:
    """Even if its sender never got an answer."""
    room.post(1, ack=False)

    assert room.hear([1], []) == Verdict(unanswered=1, missing=1)


def test_a_repeated_delivery_is_found(room: Room) -> None:
    """At once or later, and it stands for no other."""
    room.post(3)

    assert room.hear([1, 1, 2, 3], [1, 2, 3, 1]) == Verdict(repeated=2)
    assert room.hear([], []).repeated == 2


def test_a_repeated_acknowledgement_is_found(room: Room) -> None:
    """It is counted, and changes nothing else."""
    room.post(1)
    room.ack(1, seq=7)

    assert room.hear([1], [1]) == Verdict(repeated=1)
    assert room.counts.acked == {"redis": 1}


def test_another_order_than_that_of_the_others_is_found(room: Room) -> None:
    """Each place where somebody heard a later message before an earlier one."""
    room.post(4)

    assert room.hear([1, 2, 3, 4], [2, 1, 4, 3]) == Verdict(misplaced=2)


def test_another_order_than_that_of_the_positions_is_found(room: Room) -> None:
    """Even if all members agree on it."""
    room.tally.post(0, 0.0)
    room.tally.post(1, 0.0)
    room.ack(1, seq=2)
    room.ack(2, seq=1)

    assert room.hear([1, 2], [1, 2]) == Verdict(misplaced=1)
    assert Room().hear([], []) == Verdict()


def test_a_new_session_goes_on_in_order(room: Room) -> None:
    """Its positions begin anew."""
    room.post(2)
    number = room.tally.post(0, 0.0)
    room.ack(number, seq=1, epoch="01990000-0000-7000-8000-000000000001")

    assert room.hear([1, 2, 3], [1, 2, 3]) == Verdict()


def test_what_nobody_posted_is_strange(room: Room) -> None:
    """A number out of range, an answer to nothing, or something of another room."""
    room.post(1)
    room.tally.hear_strange()
    room.ack(9, seq=9)

    assert room.hear([1, 0], [1, 2]) == Verdict(strange=4)


def test_a_refused_message_is_settled_and_expected_nowhere(room: Room) -> None:
    """It is counted by its code, and whoever waits for a slot knows that it was refused."""
    room.post(1, ack=False)
    room.tally.refuse(1, "rate_limited")

    assert room.hear([], []) == Verdict()
    assert room.settled == [True]
    assert room.counts.refused == {"rate_limited": 1}


def test_a_refused_message_that_arrives_is_strange(room: Room) -> None:
    """Unless the refusal left it open."""
    room.post(2, ack=False)
    room.tally.refuse(1, "overloaded")
    room.tally.refuse(2, "unavailable")

    assert room.hear([1, 2], [1, 2]) == Verdict(strange=1)


def test_nothing_waits_for_a_member_that_is_gone(room: Room) -> None:
    """Neither for what it was to hear, nor for answers to it; but it has missed what it has not heard."""
    room.post(1)
    room.tally.post(1, 0.0)
    for number in (1, 2):
        room.tally.hear(0, number, now=1.0)

    room.tally.lose(1)
    room.tally.lose(1)

    assert room.tally.under_way == 0
    assert room.tally.judge() == Verdict(unanswered=1, missing=2)


def test_what_the_gone_one_had_heard_is_not_taken_off_twice(room: Room) -> None:
    """The other member is still waited for."""
    room.post(1)
    room.tally.hear(1, 1, now=1.0)

    room.tally.lose(1)

    assert room.tally.under_way == 1
    room.post(1)
    room.tally.hear(0, 2, now=1.0)
    assert room.settled == [False]


def test_latencies_count_from_when_a_message_was_due(room: Room) -> None:
    """To its answer, and to each arrival."""
    number = room.tally.post(0, due=0.5)
    room.ack(number, seq=1)
    room.hear([1], [1])

    delivery, ack = room.counts.delivery.summary(), room.counts.ack.summary()
    assert delivery is not None
    assert ack is not None
    assert (delivery.max, ack.max) == (1500, 500)
    assert room.counts.latest == 2.0


def test_verdicts_add_up() -> None:
    """One of all rooms."""
    both = Verdict(missing=1, strange=2) + Verdict(missing=3, repeated=4)

    assert both == Verdict(missing=4, repeated=4, strange=2)
    assert not both.well


def test_they_say_in_short_what_they_are(room: Room) -> None:
    """For a debugger."""
    room.post(2)

    assert repr(room.tally) == "<RoomTally posted=2 under_way=2 members=2>"
    assert repr(room.counts) == "<Counts sent=2 acked=2 deliveries=0>"
