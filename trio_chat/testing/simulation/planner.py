"""Draw a plan from a seed: bursts of talk with pauses between them, and trouble that comes in twos and threes."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from trio_chat.testing.simulation.plan import (
    FAULTS,
    ROOMS,
    Away,
    Clock,
    Cut,
    Delete,
    Edit,
    Fail,
    Flush,
    Guest,
    Item,
    Jump,
    Kill,
    Leave,
    Plan,
    Relapse,
    Send,
    Slow,
    Stall,
    Stop,
    Trouble,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trio_chat.testing.script import Fate, StoreName

# When all is well clients have this long to be back before they talk again, and talk for so long.
_REST = 6.0
_TALK = 6.0
_CLIENTS = (2, 4)
_USERS = 3


def plan_of(seed: int) -> Plan:
    """Return the plan of a seed."""
    return _Planner(seed).plan()


class _Planner:
    """Draws one plan. Lives as long as that takes."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        # Not the numbers that the scheduler gets from the same seed.
        self._draw = random.Random(f"plan {seed}")  # noqa: S311 - no secret
        self._guests = tuple(self._guest(number) for number in range(self._draw.randint(*_CLIENTS)))

    def plan(self) -> Plan:
        draw = self._draw
        items: list[Item] = [*self._talk(0.5, FAULTS), *self._talk(FAULTS + _REST, FAULTS + _REST + _TALK)]
        # Some kinds of trouble only: together with everything else a single one has little room.
        kinds = draw.sample(self._kinds(), draw.choice((1, 2, 2, 2, 3, 4)))
        for _ in range(draw.randint(1, 6)):
            items += self._trouble_at(self._time(0.5, FAULTS - 2.0), kinds)
        return Plan(
            seed=self._seed,
            expiry=draw.choice((2, 3, 5, 10)),
            limit=draw.choice((8, 12, 20)),
            guests=self._guests,
            items=tuple(sorted(items, key=lambda item: item.at)),
        )

    def _guest(self, number: int) -> Guest:
        draw = self._draw
        # The last one is an earlier one's second device.
        return Guest(f"u{number % _USERS}", tuple(draw.sample(ROOMS, draw.randint(1, 2))))

    def _trouble_at(self, at: float, kinds: list[Callable[[float], Item]]) -> Iterator[Item]:
        """Yield something that goes wrong, and perhaps something else in the middle of it, or right behind."""
        draw = self._draw
        again = True
        while again:
            item = draw.choice(kinds)(min(round(at, 3), FAULTS - 1.0))
            yield item
            yield from self._and_worse(item)
            at += draw.choice((0.0, 0.01, 0.05, 0.5, 1.0, 2.0, 3.0))
            again = self._perhaps(0.45)

    def _and_worse(self, item: Item) -> Iterator[Item]:
        """Yield what makes trouble worse: two things that are bearable alone, or more to do meanwhile."""
        draw = self._draw
        if isinstance(item, Stall):
            yield from self._much_to_read(item)
        elif isinstance(item, Kill) and self._perhaps(0.3):
            yield self._relapse(item.at)
        elif isinstance(item, Away) and self._perhaps(0.3):
            end = min(item.at + item.seconds, FAULTS - 1.0)
            yield self._kill(round(draw.uniform(item.at, end), 3))

    def _much_to_read(self, stall: Stall) -> Iterator[Item]:
        room = self._draw.choice(self._guests[stall.client].rooms)
        others = [number for number, guest in enumerate(self._guests) if room in guest.rooms]
        for _ in range(self._draw.randint(0, 5)):
            at = round(stall.at + self._draw.uniform(0.0, stall.seconds), 3)
            yield Send(at, self._draw.choice(others), room, 2, size=4000)

    def _time(self, start: float, end: float) -> float:
        # Often at a round time, where several things fall together.
        at = self._draw.uniform(start, end)
        return round(at, self._draw.choice((0, 1, 3, 3)))

    def _talk(self, start: float, end: float) -> Iterator[Item]:
        """Yield what clients do: bursts with pauses between them, some longer than a session lives."""
        draw = self._draw
        at = start
        while at < end:
            room = draw.choice(ROOMS)
            for _ in range(draw.randint(1, 8)):
                at += draw.choice((0.0, 0.0, 0.01, 0.1, 0.3))
                yield self._act(round(at, 3), room)
            at += draw.choice((0.1, 0.5, 1.0, 1.0, 2.0, 6.0))

    def _act(self, at: float, room: str) -> Item:
        draw = self._draw
        here = [number for number, guest in enumerate(self._guests) if room in guest.rooms]
        client = draw.choice(here or range(len(self._guests)))
        nth = draw.choice((0, 0, 1, 3, 8))
        match draw.choices(("send", "edit", "delete", "leave"), (70, 13, 10, 7))[0]:
            case "send":
                # Large ones fill what is held for a slow reader; when all is well nobody shall be taken for one.
                size = 1500 if at < FAULTS and self._perhaps(0.05) else 0
                return Send(at, client, room, draw.choice((1, 1, 1, 2, 5)), self._perhaps(0.8), size)
            case "edit":
                return Edit(at, client, room, nth)
            case "delete":
                return Delete(at, client, room, nth)
            case _:
                return Leave(at, client, room, draw.choice((0.1, 1.0, 4.0)), self._perhaps(0.3))

    def _kinds(self) -> list[Callable[[float], Item]]:
        return [
            self._cut, self._stall, self._trouble, self._trouble, self._away, self._slow, self._relapse,
            Flush, self._fail, self._fail, self._kill, self._kill, self._stop, self._jump,
        ]  # fmt: skip

    def _perhaps(self, chance: float) -> bool:
        return self._draw.random() < chance

    def _client(self) -> int:
        return self._draw.randrange(len(self._guests))

    def _store(self) -> StoreName:
        return self._draw.choice(("hot", "hot", "archive"))

    def _seconds(self) -> float:
        return self._draw.choice((0.05, 0.5, 1.0, 2.0, 5.0))

    def _cut(self, at: float) -> Item:
        return Cut(at, self._client(), self._seconds(), self._draw.choice((0, 0, 1, 50, 300, 2000)))

    def _stall(self, at: float) -> Item:
        return Stall(at, self._client(), self._draw.choice((0.5, 1.5, 2.5)))

    def _trouble(self, at: float) -> Item:
        fates: tuple[Fate, ...] = ("well", "refuse", "lose answer", "lose answer", "late")
        return Trouble(at, self._store(), tuple(self._draw.choices(fates, k=self._draw.randint(1, 8))))

    def _away(self, at: float) -> Item:
        seconds = self._draw.choice((0.05, 0.5, 2.0, 5.0, 5.0))
        return Away(at, self._store(), seconds, self._perhaps(0.4))

    def _slow(self, at: float) -> Item:
        return Slow(at, self._store(), self._seconds(), self._draw.choice((0.01, 0.1, 0.3)))

    def _relapse(self, at: float) -> Item:
        return Relapse(at, self._draw.choice((0.05, 0.5, 2.0)), self._draw.choice((None, 0.0, 0.2, 1.0, 2.5)))

    def _fail(self, at: float) -> Item:
        calls: list[tuple[StoreName, str]] = [
            ("hot", "append"), ("hot", "append"), ("hot", "load"), ("hot", "unsynced"), ("hot", "mark_synced"),
            ("hot", "dirty"), ("hot", "end"), ("archive", "write"), ("archive", "top"),
        ]  # fmt: skip
        if self._perhaps(0.3):
            return Fail(at, room=self._draw.choice(ROOMS))
        store, call = self._draw.choice(calls)
        return Fail(at, call=(store, call, self._draw.choice(("before", "after"))))

    def _kill(self, at: float) -> Item:
        return Kill(at, self._draw.choice((0.05, 0.5, 2.0)))

    def _stop(self, at: float) -> Item:
        return Stop(at, self._draw.choice((0.05, 0.5, 2.0)))

    def _jump(self, at: float) -> Item:
        clock: Clock = self._draw.choice(("wall", "store", "loop"))
        if clock == "loop":
            return Jump(at, clock, self._draw.choice((0.5, 1.5)))
        return Jump(at, clock, self._draw.choice((-3600.0, -5.0, -0.5, 1.0, 30.0, 7200.0)))
