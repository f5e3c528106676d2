"""The accounts of a run: what was posted, acknowledged, refused and heard, and whether that adds up. Pure.

1. Messages of a room are numbered from 1; a number is its message's name everywhere.
2. A message is *under way* until it was refused, or acknowledged and heard by every member that is still there.
3. `judge` compares what members heard afterwards, so that hearing costs little.
4. Whatever was acknowledged, or heard by anybody, must have been heard by every member, once, in one order, which is
   the order of the acknowledgements' positions. A member that was lost has missed what it did not hear.
5. Times are seconds of the caller's clock.
"""

from __future__ import annotations

from array import array
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec
from typing_extensions import override

from trio_chat.bench.latency import Latencies
from trio_chat.errors import ReplyCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# More than a session's events.
_EPOCH = 1 << 48
_NOT_YET = -1
_REFUSED = -2
_UNKNOWN = -3
"""Refused in a way that leaves open whether the message was taken."""


class Counts:
    """What all rooms of a run count together. Lives as long as the run."""

    def __init__(self) -> None:
        self.sent = 0
        self.acked: Counter[str] = Counter()
        """By the durability that the acknowledgement said."""
        self.refused: Counter[str] = Counter()
        """By code."""
        self.deliveries = 0
        self.latest = 0.0
        """When something was last heard or acknowledged."""
        self.delivery = Latencies()
        self.ack = Latencies()

    @override
    def __repr__(self) -> str:
        return f"<Counts sent={self.sent} acked={self.acked.total()} deliveries={self.deliveries}>"


class Verdict(msgspec.Struct, frozen=True):
    """What does not add up, counted; all zeros is as it should be.

    Attributes:
        unanswered: messages that were neither acknowledged nor refused.
        missing: deliveries that did not happen.
        repeated: deliveries that happened again, and messages acknowledged again.
        misplaced: places where a member heard two messages in another order than the room has.
        strange: deliveries of what nobody had posted, or what had been refused.
    """

    unanswered: int = 0
    missing: int = 0
    repeated: int = 0
    misplaced: int = 0
    strange: int = 0

    def __add__(self, other: Verdict) -> Verdict:
        """Return the verdict on both."""
        mine, others = msgspec.structs.astuple(self), msgspec.structs.astuple(other)
        return Verdict(*map(sum, zip(mine, others, strict=True)))

    @property
    def well(self) -> bool:
        """Whether everything adds up."""
        return not any(msgspec.structs.astuple(self))


class RoomTally:
    """One room's accounts. Lives as long as the run.

    Args:
        members: how many there are; they go by their place, from 0.
        counts: what is counted together with other rooms.
        on_settled: called when a message is no longer under way, with whether it was refused.
    """

    def __init__(self, members: int, counts: Counts, on_settled: Callable[[bool], None]) -> None:
        self._counts = counts
        self._on_settled = on_settled
        self._due = array("d", [0.0])
        self._sender = array("l", [_NOT_YET])
        self._place = array("q", [_NOT_YET])
        """Where each message is in the room's order, or what became of it instead."""
        self._epochs: list[str] = []
        self._heard = [array("l") for _ in range(members)]
        self._present = set(range(members))
        self._under_way: dict[int, int] = {}
        """How many members are still to hear it, and its sender to read the answer."""
        self._again = 0
        self._strange = 0

    @override
    def __repr__(self) -> str:
        return f"<RoomTally posted={self.posted} under_way={self.under_way} members={len(self._present)}>"

    @property
    def posted(self) -> int:
        """How many messages were posted."""
        return len(self._due) - 1

    @property
    def under_way(self) -> int:
        """How many messages are under way."""
        return len(self._under_way)

    def post(self, sender: int, due: float) -> int:
        """Give a message its number. `due` is when its latencies begin."""
        number = len(self._due)
        self._due.append(due)
        self._sender.append(sender)
        self._place.append(_NOT_YET)
        self._under_way[number] = len(self._present) + 1
        self._counts.sent += 1
        return number

    def ack(self, number: int, epoch: str, seq: int, durability: str, now: float) -> None:
        """Note that a message was acknowledged."""
        if not self._is_open(number):
            return
        if epoch not in self._epochs:
            self._epochs.append(epoch)
        self._place[number] = self._epochs.index(epoch) * _EPOCH + seq
        counts = self._counts
        counts.acked[durability] += 1
        counts.ack.add(now - self._due[number])
        counts.latest = now
        self._step(number)

    def refuse(self, number: int, code: str) -> None:
        """Note that a message was refused."""
        if not self._is_open(number):
            return
        self._place[number] = _UNKNOWN if code == ReplyCode.UNAVAILABLE else _REFUSED
        self._counts.refused[code] += 1
        if self._under_way.pop(number, None) is not None:
            self._on_settled(True)

    def _is_open(self, number: int) -> bool:
        """Whether the message still waits for its answer; every answer that does not belong there is counted."""
        if not 0 < number < len(self._place):
            self._strange += 1
        elif self._place[number] != _NOT_YET:
            self._again += 1
        else:
            return True
        return False

    def hear(self, member: int, number: int, now: float) -> None:
        """Note that a message has arrived at a member."""
        if not 0 < number < len(self._due):
            self._strange += 1
            return
        self._heard[member].append(number)
        counts = self._counts
        counts.deliveries += 1
        counts.delivery.add(now - self._due[number])
        counts.latest = now
        self._step(number)

    def hear_strange(self) -> None:
        """Note that something has arrived that nobody had posted here."""
        self._strange += 1

    def _step(self, number: int) -> None:
        left = self._under_way.get(number)
        if left is None:
            return
        if left > 1:
            self._under_way[number] = left - 1
            return
        del self._under_way[number]
        self._on_settled(False)

    def lose(self, member: int) -> None:
        """Note that a member is gone: nothing waits for it any longer. May be called again."""
        if member not in self._present:
            return
        self._present.discard(member)
        heard = set(self._heard[member])
        for number in list(self._under_way):
            if number not in heard:
                self._step(number)
            if self._sender[number] == member and self._place[number] == _NOT_YET:
                self._step(number)

    def judge(self) -> Verdict:
        """Return what does not add up. To be asked when nothing more is expected."""
        heard = [_once(numbers) for numbers in self._heard]
        anywhere = set[int]().union(*heard)
        expected = anywhere | {number for number, place in enumerate(self._place) if place >= 0}
        return Verdict(
            unanswered=sum(1 for place in self._place[1:] if place == _NOT_YET),
            missing=sum(len(expected) - len(numbers) for numbers in heard),
            repeated=self._again + sum(map(len, self._heard)) - sum(map(len, heard)),
            misplaced=self._misplaced(heard),
            strange=self._strange + sum(1 for number in anywhere if self._place[number] == _REFUSED),
        )

    def _misplaced(self, heard: list[dict[int, None]]) -> int:
        """Count places where the order is not that of the positions, or not that of whoever heard most."""
        longest = max(heard, key=len)
        rank = {number: place for place, number in enumerate(longest)}
        places = (self._place[number] for number in rank)
        wrong = _descents(place for place in places if place >= 0)
        for numbers in heard:
            # The usual case, at the speed of C.
            if list(numbers) != list(rank):
                wrong += _descents(rank[number] for number in numbers if number in rank)
        return wrong


def _once(numbers: Iterable[int]) -> dict[int, None]:
    """Return the numbers without repeats, in order."""
    return dict.fromkeys(numbers)


def _descents(places: Iterable[int]) -> int:
    return sum(1 for one, other in pairwise(places) if other < one)
