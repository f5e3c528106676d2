"""What is known of each event, from everybody who saw it: agreement, phantoms, duplicates, and the model of a session.

A session that goes on after a process has ended that alone had its newest events (`log.Forgot`) may use their seqs
again. So it has *generations*: what was seen in one holds for the next only up to where it goes on.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec
from typing_extensions import override

from trio_chat.testing.model import Model
from trio_chat.testing.verdict.log import Invoke, Row, Seen

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from trio_chat.stores.base import Session
    from trio_chat.testing.verdict.findings import Kind

What = Literal["post", "edit", "delete"]


class Known(msgspec.Struct, frozen=True):
    """What is known of one event; None for what is not."""

    id: str
    what: What | None = None
    content: str | None = None
    user: str | None = None

    def meet(self, other: Known) -> Known | None:
        """Return both together, or None if they contradict each other."""
        fields = [_meet(one, two) for one, two in zip(_fields(self), _fields(other), strict=True)]
        return None if _CLASH in fields else Known(*fields)


_CLASH = object()


def _fields(known: Known) -> tuple[object, ...]:
    return known.id, known.what, known.content, known.user


def _meet(one: Any, two: Any) -> Any:
    if one is None or one == two:
        return two
    return one if two is None else _CLASH


Telling: TypeAlias = "Iterator[tuple[int, Known]]"


def of_message(message: Seen) -> Telling:
    """Yield what a message tells: of the event that posted it, and of the one that changed it last."""
    if message.seq == message.rev:
        yield message.seq, Known(message.id, "post", message.content, message.user)
    else:
        yield message.seq, Known(message.id, "post", None, message.user)
        yield message.rev, Known(message.id, "edit", message.content, message.user)


def of_row(row: Row) -> Telling:
    """Yield what a stored message tells."""
    message = row.message
    if row.deleted:
        yield message.seq, Known(message.id, "post", None, message.user)
        yield message.rev, Known(message.id, "delete")
    else:
        yield from of_message(message)


class Generation:
    """The events of one session, as far as they are known. Lives as long as its verdict.

    Attributes:
        session: which.
        events: what is known, by seq.
        above: the seq above which the next generation begins; None for the last one.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.events: dict[int, Known] = {}
        self.above: int | None = None
        self._model: Model | None = None
        self._shown: dict[int, tuple[Seen, ...]] = {}

    @override
    def __repr__(self) -> str:
        return f"<Generation of {self.session} events={len(self.events)}>"

    def learn(self, seq: int, known: Known) -> str | None:
        """Take in what somebody saw. Returns what contradicts it, if anything does."""
        before = self.events.get(seq)
        both = known if before is None else before.meet(known)
        if both is None:
            return f"event {seq} of {self.session} is {before} to some and {known} to others"
        self.events[seq] = both
        return None

    def end(self, above: int) -> Generation:
        """Return the next generation, which goes on above a seq."""
        self.above = above
        following = Generation(self.session)
        following.events = {seq: known for seq, known in self.events.items() if seq <= above}
        return following

    def share(self, seq: int, shown: tuple[Seen, ...]) -> tuple[Seen, ...]:
        """Return this window, as the same object for all who show the same at this seq."""
        known = self._shown.setdefault(seq, shown)
        return known if known == shown else shown

    def posts(self) -> Iterator[tuple[int, Known]]:
        """Yield the events that posted something."""
        return ((seq, known) for seq, known in self.events.items() if known.what == "post")

    def holes(self) -> int:
        """Return how many events nobody knows anything of, below those that somebody does."""
        return max(self.events, default=0) - len(self.events)

    def model(self, limit: int) -> Model:
        """Return the model of the session, as far as its events are known without a hole. To be asked at the end."""
        if self._model is None:
            self._model = Model(limit)
            while (known := self.events.get(self._model.top + 1)) is not None and _tell(self._model, known):
                pass
        return self._model


def _tell(model: Model, known: Known) -> bool:
    """Let an event happen to the model. False if it is not known well enough, or is about no message it has."""
    if known.what == "post" and known.user is not None:
        model.post(known.id, known.user, "user", known.content or "?", {})
        return True
    if known.what is None or model.find(known.id) is None:
        return False
    if known.what == "edit":
        model.edit(known.id, known.content or "?", None)
    else:
        model.delete(known.id)
    return True


def shown(model: Model, seq: int) -> tuple[Seen, ...]:
    """Return the window of a model as it was at a seq."""
    return tuple(Seen(line.id, line.user, line.content, line.seq, line.rev) for line in model.windows[seq])


class Asked:
    """What clients asked for, and who asked. Lives as long as its verdict."""

    def __init__(self) -> None:
        self._texts: dict[str, list[Invoke]] = defaultdict(list)
        self._deletes: dict[tuple[str, str], list[Invoke]] = defaultdict(list)
        self._failed: set[int] = set()

    @override
    def __repr__(self) -> str:
        return f"<Asked texts={len(self._texts)} failed={len(self._failed)}>"

    def note(self, invoke: Invoke) -> None:
        """Note a request."""
        if invoke.content is not None:
            self._texts[invoke.content].append(invoke)
        elif invoke.act == "delete" and invoke.id is not None:
            self._deletes[invoke.room, invoke.id].append(invoke)

    def fail(self, op: int) -> None:
        """Note that a request was refused."""
        self._failed.add(op)

    def times(self, room: str, content: str) -> int:
        """Return how often a content may have been posted in a room."""
        return len(self._alive(one for one in self._texts.get(content, ()) if one.room == room))

    def judge(self, room: str, known: Known) -> tuple[Kind, str] | None:
        """Return the kind of mistake that an event is, and why; None if somebody asked for it."""
        if known.what == "delete":
            wanted = self._alive(self._deletes.get((room, known.id), ()))
            return None if wanted else ("phantom", f"nobody asked to delete {known.id!r} in {room}")
        if known.content is None:
            return None
        alike = self._texts.get(known.content, [])
        if alike and all(one.room != room for one in alike):
            return "isolation", f"{known} is in {room}, meant for {alike[0].room}"
        wanted = self._alive(one for one in alike if one.room == room and _fits(one, known))
        return None if wanted else ("phantom", f"nobody asked for {known} in {room}")

    def _alive(self, invokes: Iterable[Invoke]) -> list[Invoke]:
        return [one for one in invokes if one.op not in self._failed]


def _fits(invoke: Invoke, known: Known) -> bool:
    if invoke.act == "edit":
        return known.what in {"edit", None} and invoke.id == known.id
    own = invoke.id is None or invoke.id == known.id
    return known.what in {"post", None} and own and known.user in {invoke.user, None}
