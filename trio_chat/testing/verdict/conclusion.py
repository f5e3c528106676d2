"""What can be said only when the whole log is read: together with the stores, and of everybody at once."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from typing_extensions import override

from trio_chat.message import MAX_INTEGER
from trio_chat.testing.verdict.events import of_row, shown
from trio_chat.testing.verdict.findings import Finding
from trio_chat.testing.verdict.stores import Ends, dangers, missing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from trio_chat.stores.base import Session
    from trio_chat.testing.verdict import log as it
    from trio_chat.testing.verdict.events import Generation
    from trio_chat.testing.verdict.findings import Kind
    from trio_chat.testing.verdict.reading import Reading
    from trio_chat.testing.verdict.stores import Ack
    from trio_chat.testing.verdict.visits import Place, Shot


class Conclusion:
    """See the module. What is wrong is added to the findings of the reading. Lives as long as its verdict.

    Args:
        reading: the log, read to its end.
        contents: what the stores hold.
        limit: how many messages a window has.
        once: see `judge`.
    """

    def __init__(self, reading: Reading, contents: it.Contents, limit: int, *, once: bool) -> None:
        self._reading = reading
        self._ends = Ends(contents)
        self._limit = limit
        self._once = once
        self._right: dict[tuple[Generation, int], tuple[it.Seen, ...]] = {}
        """Windows that were compared and found right."""

    @override
    def __repr__(self) -> str:
        return f"<Conclusion of {self._reading!r}>"

    def draw(self, *, settled: bool) -> None:
        """Find all that is wrong. `settled`: whether the archive has had the time to catch up."""
        for invoke in self._reading.open.values():
            self._reading.find("liveness", f"{invoke} was never resolved")
        for session, row in self._ends.every_row():
            self._reading.learn(self._reading.generation(session), of_row(row))
        self._check_told()
        self._check_acks()
        self._check_once()
        self._check_places()
        self._check_stores(settled=settled)

    def _check_told(self) -> None:
        for at, room, known in self._reading.told:
            wrong = self._reading.asked.judge(room, known)
            if wrong is not None:
                self._reading.findings.append(Finding(wrong[0], at, wrong[1]))

    def _check_acks(self) -> None:
        for number, ack in enumerate(self._reading.acks):
            if self._ends.holds(ack):
                continue
            seq, session = ack.ok.seq, ack.generation.session
            taken = any(before > number and seq > low for before, low in self._reading.lost[session])
            forgotten = ack.ok.durability == "memory" and seq > self._reading.forgotten[session]
            if taken or forgotten:
                self._reading.looked["excused"] += 1
            else:
                what = f"{ack.ok} of {ack.invoke}, the stores have {_about(self._ends, ack)}"
                self._reading.find("lost", what)

    def _check_once(self) -> None:
        self._find_all("duplicate", self._ends.twice())
        first: dict[tuple[Generation, str], int] = {}
        places: defaultdict[tuple[str, str], set[tuple[Session, int]]] = defaultdict(set)
        for generation in self._every_generation():
            for seq, known in generation.posts():
                other = first.setdefault((generation, known.id), seq)
                if other != seq:
                    what = f"{known.id!r} is in {generation.session} as {other} and {seq}"
                    self._reading.find("duplicate", what)
                if known.content is not None:
                    places[generation.session.room, known.content].add((generation.session, seq))
        for (room, content), found in places.items():
            if len(found) > self._bound(room, content, {session for session, _ in found}):
                what = f"{content[:100]!r} is in {room} as {sorted(found)}, asked for less often"
                self._reading.find("duplicate", what)
            elif len(found) > 1:
                self._reading.looked["repeated"] += 1
        self._check_fresh()

    def _bound(self, room: str, content: str, sessions: set[Session]) -> int:
        """Return how often a content may be in a room."""
        times = max(1, self._reading.asked.times(room, content))
        if not self._once:
            return times
        broken = sessions & {*self._reading.lost, *self._reading.forgotten} - {max(sessions)}
        return min(times, 1 + len(broken))

    def _check_fresh(self) -> None:
        done: dict[tuple[Generation, int], it.Ok] = {}
        for ack in self._reading.acks:
            if not ack.ok.duplicate:
                other = done.setdefault((ack.generation, ack.ok.seq), ack.ok)
                if other is not ack.ok:
                    self._reading.find(
                        "duplicate", f"{ack.place} was carried out for {other} and for {ack.ok}"
                    )

    def _every_generation(self) -> Iterator[Generation]:
        return (generation for found in self._reading.generations.values() for generation in found)

    def _check_places(self) -> None:
        for place in self._reading.places.values():
            for gap in place.gaps:
                if not gap.visit.makes_up(gap.generation, gap.seq, MAX_INTEGER):
                    what = f"{gap.visit} never learns of {gap.generation.session}:{gap.seq}"
                    self._reading.find("order", what)
            for shot in place.shots:
                self._check_shot(place, shot)

    def _check_shot(self, place: Place, shot: Shot) -> None:
        model = shot.generation.model(self._limit)
        if shot.seq > model.top:
            self._reading.looked["windows not known"] += 1
            return
        if any(gap.spoils(shot) for gap in place.gaps):
            return
        self._reading.looked["windows"] += 1
        where = shot.generation, shot.seq
        if self._right.get(where) is shot.shown:
            return
        expected = shown(model, shot.seq)
        if shot.shown == expected:
            self._right[where] = shot.shown
            return
        what = f"{shot.client} at {shot.generation.session}:{shot.seq} shows "
        what += f"{_brief(shot.shown)}, expected {_brief(expected)}"
        self._reading.findings.append(Finding("window", shot.at, what))

    def _check_stores(self, *, settled: bool) -> None:
        self.check_keeping(self._ends.contents)
        self._find_all("lost", self._ends.misled())
        if settled:
            self._find_all("liveness", self._ends.behind())
        for room in {session.room for session in self._reading.generations}:
            own = [found[-1] for session, found in self._reading.generations.items() if session.room == room]
            holes = sum(one.holes() for one in own)
            if holes > self._reading.unknown[room]:
                self._reading.find("order", f"{holes} seqs of {room} went to nobody")

    def check_keeping(self, contents: it.Contents) -> None:
        """Find what the hot store lacks, or may let go of."""
        self._find_all("window", dangers(contents))
        for kept in contents.hot:
            self._find_all("window", missing(kept, self._reading.generation(kept.session), self._limit))

    def _find_all(self, kind: Kind, found: Iterable[str]) -> None:
        for what in found:
            self._reading.find(kind, what)


def _about(ends: Ends, ack: Ack) -> list[it.Row]:
    rows = ends.posted(ack.generation.session).items()
    return [row for seq, row in rows if row.message.id == ack.ok.id or ack.ok.seq in {seq, row.message.rev}]


def _brief(messages: tuple[it.Seen, ...]) -> list[str]:
    return [f"{one.seq}/{one.rev} {one.content!r}" for one in messages]
