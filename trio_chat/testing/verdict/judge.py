"""Read a log once, in order, and then look at what is known altogether."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Literal, TypeAlias, assert_never

import msgspec
from typing_extensions import override

from trio_chat.message import MAX_INTEGER
from trio_chat.stores.base import Session
from trio_chat.testing.verdict import log as it
from trio_chat.testing.verdict.events import Asked, Generation, Known, of_message, of_row, shown
from trio_chat.testing.verdict.stores import Ack, Ends, missing
from trio_chat.testing.verdict.visits import Place

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Kind: TypeAlias = Literal[
    "lost", "phantom", "duplicate", "agreement", "order", "isolation", "window", "liveness"
]


class Finding(msgspec.Struct, frozen=True):
    """Something that must not be. `at` is when it was seen, or the end of the log."""

    kind: Kind
    at: float
    what: str

    @override
    def __str__(self) -> str:
        return f"{self.at:8.3f} {self.kind}: {self.what}"


class Verdict(msgspec.Struct, frozen=True):
    """What was found, and how much was looked at: a verdict on nothing is no verdict.

    Attributes:
        findings: what is wrong; empty if all is well.
        looked: how many there were: acks, heard changes, windows compared, windows that could not be.
    """

    findings: tuple[Finding, ...]
    looked: dict[str, int]

    def kinds(self) -> set[Kind]:
        """Return the kinds of what is wrong."""
        return {finding.kind for finding in self.findings}


def judge(
    log: Iterable[it.Entry],
    contents: it.Contents,
    *,
    limit: int,
    patience: float = 5.0,
    settled: bool = True,
) -> Verdict:
    """Judge a log and what the stores hold behind it.

    Args:
        log: what clients saw, in order.
        contents: what the stores hold.
        limit: how many messages a window has.
        patience: how many seconds an operation may take, and how long after `log.Heal` all must be well.
        settled: whether the archive has had the time to catch up.
    """
    bench = _Bench(limit, patience)
    for entry in log:
        bench.read(entry)
    bench.conclude(contents, settled=settled)
    return Verdict(tuple(bench.findings), dict(bench.looked))


class _Bench:
    """What is known so far. Lives as long as one verdict."""

    def __init__(self, limit: int, patience: float) -> None:
        self.findings: list[Finding] = []
        self.looked: Counter[str] = Counter()
        self._limit = limit
        # And what floating point may lose.
        self._patience = patience + 1e-6
        self._now = 0.0
        self._healed: float | None = None
        self._invokes: dict[int, it.Invoke] = {}
        self._open: dict[int, it.Invoke] = {}
        self._unknown: Counter[str] = Counter()
        self._asked = Asked()
        self._generations: dict[Session, list[Generation]] = {}
        self._places: defaultdict[tuple[str, str], Place] = defaultdict(lambda: Place(limit))
        self._acks: list[Ack] = []
        self._told: list[tuple[float, str, Known]] = []
        """What somebody saw: it must have been asked for, which may turn out later."""
        self._lost: defaultdict[Session, list[tuple[int, int]]] = defaultdict(list)
        """By session: how many acks there were when the hot store lost what was above a seq."""
        self._forgotten: defaultdict[Session, int] = defaultdict(lambda: MAX_INTEGER)
        """By session: the seq above which events that nobody but a process had are gone with it."""

    @override
    def __repr__(self) -> str:
        return f"<Bench at={self._now} findings={len(self.findings)}>"

    def _find(self, kind: Kind, what: str | None) -> None:
        if what is not None:
            self.findings.append(Finding(kind, self._now, what))

    def _generation(self, session: Session, place: Place | None = None) -> Generation:
        """Return the generation of a session that somebody sees now."""
        if place is not None and session in place.pins:
            return place.pins[session]
        if session not in self._generations:
            self._generations[session] = [Generation(session)]
        return self._generations[session][-1]

    # --- reading

    def read(self, entry: it.Entry) -> None:  # noqa: C901, PLR0912 - one case a kind of entry
        """Take in an entry."""
        self._now = entry.at
        match entry:
            case it.Invoke():
                self._invokes[entry.op] = self._open[entry.op] = entry
                self._asked.note(entry)
            case it.Ok() | it.Fail() | it.Unknown():
                self._resolve(entry)
            case it.Join() | it.Window() | it.Recv() | it.Live() | it.Expired():
                self._tell(entry)
            case it.Left():
                self._places[entry.client, entry.room].leave()
            case it.Close():
                for place in self._of(client=entry.client):
                    place.leave()
            case it.Crash():
                for place in self._of(room=entry.room):
                    if place.visit is not None:
                        place.visit.anew = True
            case it.Forgot():
                self._forget(entry)
            case it.Lost():
                self._lost[entry.session].append((len(self._acks), entry.above))
            case it.Heal():
                self._healed = entry.at
            case _:
                assert_never(entry)

    def _of(self, *, client: str | None = None, room: str | None = None) -> Iterator[Place]:
        for (who, where), place in self._places.items():
            if client in {who, None} and room in {where, None}:
                yield place

    def _resolve(self, entry: it.Ok | it.Fail | it.Unknown) -> None:
        invoke = self._open.pop(entry.op, None)
        if invoke is None:
            self._find("liveness", f"operation {entry.op} is resolved without being open: {entry}")
            return
        took = entry.at - invoke.at
        if took > self._patience:
            self._find("liveness", f"{invoke} took {took:.3f} s: {entry}")
        match entry:
            case it.Ok():
                self._acknowledge(invoke, entry)
            case it.Fail():
                self._asked.fail(entry.op)
                self._want_well(invoke, entry, well=invoke.act not in {"send", "join"})
            case it.Unknown():
                self._unknown[invoke.room] += 1
                self._want_well(invoke, entry, well=False)

    def _want_well(self, invoke: it.Invoke, outcome: object, *, well: bool) -> None:
        if self._healed is not None and invoke.at > self._healed + self._patience and not well:
            self._find("liveness", f"all is well since {self._healed}, but {invoke} came to {outcome}")

    def _acknowledge(self, invoke: it.Invoke, ok: it.Ok) -> None:
        self.looked["acks"] += 1
        place = self._places[invoke.client, invoke.room]
        generation = self._generation(Session(invoke.room, ok.epoch), place)
        self._want_well(invoke, ok, well=ok.durability != "memory")
        known = _known(invoke, ok)
        self._find("agreement", generation.learn(ok.seq, known))
        self._acks.append(Ack(invoke, ok, generation))
        if place.visit is None or not place.visit.live or ok.duplicate:
            return
        position = place.position
        if position is None or (position.epoch, position.seq) < (ok.epoch, ok.seq):
            self._find("order", f"{invoke.client} is acknowledged {ok} and has not heard of it")

    def _tell(self, entry: it.Join | it.Window | it.Recv | it.Live | it.Expired) -> None:
        place = self._places[entry.client, entry.room]
        generation = self._generation(Session(entry.room, entry.epoch), place)
        match entry:
            case it.Join():
                self._find("order", self._joined(place, entry))
            case it.Window():
                self._find("order", place.window(entry, generation))
                for message in entry.messages:
                    self._learn(generation, of_message(message))
            case it.Live():
                self._find("order", place.live(entry, generation))
            case it.Expired():
                self._find("order", place.expired(entry))
            case it.Recv():
                self._hear(place, entry, generation)
            case _:
                assert_never(entry)

    def _joined(self, place: Place, join: it.Join) -> str | None:
        invoke = self._open.pop(join.op, None)
        if invoke is None or (invoke.act, invoke.client, invoke.room) != ("join", join.client, join.room):
            return f"{join} answers no request"
        if join.at - invoke.at > self._patience:
            self._find("liveness", f"{invoke} took {join.at - invoke.at:.3f} s")
        return place.join(join, invoke.resume)

    def _hear(self, place: Place, recv: it.Recv, generation: Generation) -> None:
        self.looked["heard"] += 1
        if place.visit is None:
            self._find("isolation", f"{recv.client} is not in {recv.room}, and hears {recv}")
            return
        name = recv.message.id if recv.message is not None else recv.deleted or ""
        self._find("order", place.recv(recv, generation, name))
        if recv.message is None:
            self._learn(generation, iter([(recv.seq, Known(name, "delete"))]))
        elif recv.message.rev == recv.seq:
            self._learn(generation, of_message(recv.message))
        else:
            self._find("agreement", f"{recv} carries another event's message")

    def _learn(self, generation: Generation, telling: Iterator[tuple[int, Known]]) -> None:
        for seq, known in telling:
            if generation.events.get(seq) == known:
                continue  # seen before
            self._find("agreement", generation.learn(seq, known))
            self._told.append((self._now, generation.session.room, known))

    def _forget(self, forgot: it.Forgot) -> None:
        session, former = forgot.session, self._generation(forgot.session)
        self._forgotten[session] = min(self._forgotten[session], forgot.above)
        if not forgot.reused:
            return
        self._generations[session].append(former.end(forgot.above))
        for place in self._of(room=session.room):
            place.forget(session, forgot.above)
            if place.visit is not None:
                # What it hears from now on was said before.
                place.pins.setdefault(session, former)

    # --- concluding

    def conclude(self, contents: it.Contents, *, settled: bool) -> None:
        """Look at everything together."""
        for invoke in self._open.values():
            self._find("liveness", f"{invoke} was never resolved")
        ends = Ends(contents)
        for session, row in ends.every_row():
            self._learn(self._generation(session), of_row(row))
        self._check_told()
        self._check_acks(ends)
        self._check_once(ends)
        self._check_places()
        self._check_stores(ends, settled=settled)

    def _check_told(self) -> None:
        for at, room, known in self._told:
            wrong = self._asked.judge(room, known)
            if wrong is not None:
                kind, why = wrong
                self.findings.append(Finding("isolation" if kind == "isolation" else "phantom", at, why))

    def _check_acks(self, ends: Ends) -> None:
        for number, ack in enumerate(self._acks):
            if ends.holds(ack):
                continue
            seq, session = ack.ok.seq, ack.generation.session
            taken = any(before > number and seq > low for before, low in self._lost[session])
            forgotten = ack.ok.durability == "memory" and seq > self._forgotten[session]
            if not taken and not forgotten:
                self._find("lost", f"{ack.ok} of {ack.invoke}, the stores have {_about(ends, ack)}")

    def _check_once(self, ends: Ends) -> None:
        self._find_all("duplicate", ends.twice())
        first: dict[tuple[Generation, str], int] = {}
        places: defaultdict[tuple[str, str], set[tuple[Session, int]]] = defaultdict(set)
        for generation in self._every_generation():
            for seq, known in generation.posts():
                other = first.setdefault((generation, known.id), seq)
                if other != seq:
                    self._find("duplicate", f"{known.id!r} is in {generation.session} as {other} and {seq}")
                if known.content is not None:
                    places[generation.session.room, known.content].add((generation.session, seq))
        for (room, content), found in places.items():
            if len(found) > max(1, self._asked.times(room, content)):
                self._find("duplicate", f"{content!r} is in {room} as {found}, asked for less often")
        self._check_fresh()

    def _check_fresh(self) -> None:
        done: dict[tuple[Generation, int], it.Ok] = {}
        for ack in self._acks:
            if not ack.ok.duplicate:
                other = done.setdefault((ack.generation, ack.ok.seq), ack.ok)
                if other is not ack.ok:
                    self._find("duplicate", f"{ack.place} was carried out for {other} and for {ack.ok}")

    def _every_generation(self) -> Iterator[Generation]:
        return (generation for found in self._generations.values() for generation in found)

    def _check_places(self) -> None:
        for place in self._places.values():
            for gap in place.gaps:
                if not gap.visit.makes_up(gap.generation, gap.seq, MAX_INTEGER):
                    self._find("order", f"{gap.visit} never learns of {gap.generation.session}:{gap.seq}")
            for shot in place.shots:
                model = shot.generation.model(self._limit)
                if shot.seq > model.top:
                    self.looked["windows not known"] += 1
                    continue
                if any(gap.spoils(shot) for gap in place.gaps):
                    continue
                self.looked["windows"] += 1
                expected = shown(model, shot.seq)
                if shot.shown != expected:
                    where = f"{shot.client} at {shot.generation.session}:{shot.seq}"
                    what = f"{where} shows {_brief(shot.shown)}, expected {_brief(expected)}"
                    self.findings.append(Finding("window", shot.at, what))

    def _check_stores(self, ends: Ends, *, settled: bool) -> None:
        self._find_all("window", ends.dangers())
        for kept in ends.contents.hot:
            self._find_all("window", missing(kept, self._generation(kept.session), self._limit))
        if settled:
            self._find_all("liveness", ends.behind())
        for room in {session.room for session in self._generations}:
            own = [found[-1] for session, found in self._generations.items() if session.room == room]
            holes = sum(one.holes() for one in own)
            if holes > self._unknown[room]:
                self._find("order", f"{holes} seqs of {room} went to nobody")

    def _find_all(self, kind: Kind, found: Iterable[str]) -> None:
        for what in found:
            self._find(kind, what)


def _known(invoke: it.Invoke, ok: it.Ok) -> Known:
    """Return what an ack tells of its event."""
    if invoke.act == "delete":
        return Known(ok.id, "delete")
    if invoke.act == "edit":
        # An edit that changed nothing is answered with the event that made the message read so.
        return Known(ok.id, None if ok.duplicate else "edit", invoke.content)
    return Known(ok.id, "post", invoke.content, invoke.user)


def _about(ends: Ends, ack: Ack) -> list[it.Row]:
    rows = ends.posted(ack.generation.session).items()
    return [row for seq, row in rows if row.message.id == ack.ok.id or ack.ok.seq in {seq, row.message.rev}]


def _brief(messages: tuple[it.Seen, ...]) -> list[str]:
    return [f"{one.seq}/{one.rev} {one.content!r}" for one in messages]
