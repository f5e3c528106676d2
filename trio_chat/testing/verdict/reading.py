"""Read a log once, in order: what everybody asked, was told and shows; and whatever is wrong with that by itself."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, assert_never

from typing_extensions import override

from trio_chat.message import MAX_INTEGER
from trio_chat.stores.base import Session
from trio_chat.testing.verdict import log as it
from trio_chat.testing.verdict.events import Asked, Generation, Known, of_message
from trio_chat.testing.verdict.findings import Finding, Kind
from trio_chat.testing.verdict.stores import Ack
from trio_chat.testing.verdict.visits import Place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trio_chat.testing.verdict.events import Telling


class Reading:
    """What is known so far. Lives as long as one verdict.

    Attributes:
        findings: what is wrong, as far as that is known.
        looked: how much was looked at.
        open: what is not resolved, by operation.
        unknown: how many operations nobody knows the outcome of, by room.
        asked: what clients asked for.
        generations: all that is known of the events of each session.
        places: what each client knows of each room.
        acks: what was acknowledged.
        told: what somebody saw: it must have been asked for, which may turn out later.
        lost: by session: how many acks there were when the hot store lost what was above a seq.
        forgotten: by session: the seq above which events that nobody but a process had are gone with it.
    """

    def __init__(self, limit: int, patience: float) -> None:
        self.findings: list[Finding] = []
        self.looked: Counter[str] = Counter()
        # And what floating point may lose.
        self._patience = patience + 1e-6
        self.now = 0.0
        self._healed: float | None = None
        self._invokes: dict[int, it.Invoke] = {}
        self.open: dict[int, it.Invoke] = {}
        self.unknown: Counter[str] = Counter()
        self.asked = Asked()
        self.generations: dict[Session, list[Generation]] = {}
        self.places: defaultdict[tuple[str, str], Place] = defaultdict(lambda: Place(limit))
        self.acks: list[Ack] = []
        self.told: list[tuple[float, str, Known]] = []
        self.lost: defaultdict[Session, list[tuple[int, int]]] = defaultdict(list)
        self.forgotten: defaultdict[Session, int] = defaultdict(lambda: MAX_INTEGER)

    @override
    def __repr__(self) -> str:
        return f"<Reading at={self.now} findings={len(self.findings)}>"

    def find(self, kind: Kind, what: str | None, *, late: bool = False) -> None:
        """Note a mistake, if there is one. `late`: see `Finding`."""
        if what is not None:
            self.findings.append(Finding(kind, self.now, what, late))

    def generation(self, session: Session, place: Place | None = None) -> Generation:
        """Return the generation of a session that somebody sees now."""
        if place is not None and session in place.pins:
            return place.pins[session]
        if session not in self.generations:
            self.generations[session] = [Generation(session)]
        return self.generations[session][-1]

    def read(self, entry: it.Entry) -> None:  # noqa: C901, PLR0912 - one case a kind of entry
        """Take in an entry."""
        self.now = entry.at
        match entry:
            case it.Invoke():
                self._invokes[entry.op] = self.open[entry.op] = entry
                self.asked.note(entry)
            case it.Ok() | it.Fail() | it.Unknown():
                self._resolve(entry)
            case it.Join() | it.Window() | it.Recv() | it.Live() | it.Expired():
                self._tell(entry)
            case it.Left():
                self.places[entry.client, entry.room].leave()
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
                self.lost[entry.session].append((len(self.acks), entry.above))
            case it.Heal():
                self._healed = entry.at
            case _:
                assert_never(entry)

    def _of(self, *, client: str | None = None, room: str | None = None) -> Iterator[Place]:
        for (who, where), place in self.places.items():
            if client in {who, None} and room in {where, None}:
                yield place

    def _resolve(self, entry: it.Ok | it.Fail | it.Unknown) -> None:
        invoke = self.open.pop(entry.op, None)
        if invoke is None:
            self.find("liveness", f"operation {entry.op} is resolved without being open: {entry}")
            return
        took = entry.at - invoke.at
        if took > self._patience:
            self.find("liveness", f"{invoke} took {took:.3f} s: {entry}", late=True)
        match entry:
            case it.Ok():
                self._acknowledge(invoke, entry)
            case it.Fail():
                self.asked.fail(entry.op)
                self._want_well(invoke, entry, well=invoke.act not in {"send", "join"})
            case it.Unknown():
                self.unknown[invoke.room] += 1
                self._want_well(invoke, entry, well=False)

    def _want_well(self, invoke: it.Invoke, outcome: object, *, well: bool) -> None:
        if self._healed is not None and invoke.at > self._healed + self._patience and not well:
            what = f"all is well since {self._healed}, but {invoke} came to {outcome}"
            self.find("liveness", what, late=True)

    def _acknowledge(self, invoke: it.Invoke, ok: it.Ok) -> None:
        self.looked["acks"] += 1
        place = self.places[invoke.client, invoke.room]
        generation = self.generation(Session(invoke.room, ok.epoch), place)
        self._want_well(invoke, ok, well=ok.durability != "memory")
        known = _known(invoke, ok)
        self.find("agreement", generation.learn(ok.seq, known))
        self.acks.append(Ack(invoke, ok, generation))
        if place.visit is None or not place.visit.live or ok.duplicate:
            return
        position = place.position
        if position is None or (position.epoch, position.seq) < (ok.epoch, ok.seq):
            self.find("order", f"{invoke.client} is acknowledged {ok} and has not heard of it")

    def _tell(self, entry: it.Join | it.Window | it.Recv | it.Live | it.Expired) -> None:
        place = self.places[entry.client, entry.room]
        generation = self.generation(Session(entry.room, entry.epoch), place)
        match entry:
            case it.Join():
                self.find("order", self._joined(place, entry))
            case it.Window():
                self.find("order", place.window(entry, generation))
                for message in entry.messages:
                    self.learn(generation, of_message(message))
            case it.Live():
                self.find("order", place.live(entry, generation))
            case it.Expired():
                self.find("order", place.expired(entry))
            case it.Recv():
                self._hear(place, entry, generation)
            case _:
                assert_never(entry)

    def _joined(self, place: Place, join: it.Join) -> str | None:
        invoke = self.open.pop(join.op, None)
        if invoke is None or (invoke.act, invoke.client, invoke.room) != ("join", join.client, join.room):
            return f"{join} answers no request"
        if join.at - invoke.at > self._patience:
            self.find("liveness", f"{invoke} took {join.at - invoke.at:.3f} s", late=True)
        return place.join(join, invoke.resume)

    def _hear(self, place: Place, recv: it.Recv, generation: Generation) -> None:
        self.looked["heard"] += 1
        if place.visit is None:
            self.find("isolation", f"{recv.client} is not in {recv.room}, and hears {recv}")
            return
        name = recv.message.id if recv.message is not None else recv.deleted or ""
        self.find("order", place.recv(recv, generation, name))
        if recv.message is None:
            self.learn(generation, iter([(recv.seq, Known(name, "delete"))]))
        elif recv.message.rev == recv.seq:
            self.learn(generation, of_message(recv.message))
        else:
            self.find("agreement", f"{recv} carries another event's message")

    def learn(self, generation: Generation, telling: Telling) -> None:
        """Take in what a message tells."""
        for seq, known in telling:
            if generation.events.get(seq) == known:
                continue  # seen before
            self.find("agreement", generation.learn(seq, known))
            self.told.append((self.now, generation.session.room, known))

    def _forget(self, forgot: it.Forgot) -> None:
        session, former = forgot.session, self.generation(forgot.session)
        self.forgotten[session] = min(self.forgotten[session], forgot.above)
        if not forgot.reused:
            return
        self.generations[session].append(former.end(forgot.above))
        for place in self._of(room=session.room):
            place.forget(session, forgot.above)
            if place.visit is not None:
                # What it hears from now on was said before.
                place.pins.setdefault(session, former)


def _known(invoke: it.Invoke, ok: it.Ok) -> Known:
    """Return what an ack tells of its event."""
    if invoke.act == "delete":
        return Known(ok.id, "delete")
    if invoke.act == "edit":
        # An edit that changed nothing is answered with the event that made the message read so.
        return Known(ok.id, None if ok.duplicate else "edit", invoke.content)
    return Known(ok.id, "post", invoke.content, invoke.user)
