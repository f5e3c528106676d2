"""What all clients of a run note, on one clock (`trio_chat.testing.verdict.log`), and what can be read from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import msgspec
from typing_extensions import override

from trio_chat.stores.base import Durability, Session
from trio_chat.testing.verdict.log import Invoke, Ok

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trio_chat.testing.verdict import Entry

Kind = TypeVar("Kind")

EVER = float("inf")


class Acked(msgspec.Struct, frozen=True):
    """A message that was acknowledged.

    Attributes:
        at: when.
        took: seconds since it was first sent, however often that was.
        id: the message.
        session: where it is,
        seq: as which event,
        durability: and how far it had got then.
    """

    at: float
    took: float
    id: str
    session: Session
    seq: int
    durability: Durability

    @property
    def room(self) -> str:
        """Its room."""
        return self.session.room

    @property
    def since(self) -> float:
        """When it was first sent."""
        return self.at - self.took


class Journal:
    """See the module. Lives as long as a load.

    Attributes:
        entries: everything, in order.
        acked: the messages that were acknowledged, in order.
    """

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.acked: list[Acked] = []
        self._open: dict[int, Invoke] = {}
        self._first: dict[str, float] = {}
        self._ops = 0

    @override
    def __repr__(self) -> str:
        return f"<Journal entries={len(self.entries)} acked={len(self.acked)}>"

    def next_op(self) -> int:
        """Return the number of the next operation."""
        self._ops += 1
        return self._ops

    def note(self, entry: Entry) -> None:
        """Add an entry."""
        self.entries.append(entry)
        match entry:
            case Invoke(act="send", id=str(name)):
                self._open[entry.op] = entry
                self._first.setdefault(name, entry.at)
            case Ok() if entry.op in self._open:
                session = Session(self._open[entry.op].room, entry.epoch)
                took = entry.at - self._first[entry.id]
                self.acked.append(Acked(entry.at, took, entry.id, session, entry.seq, entry.durability))
            case _:
                pass

    def of(self, kind: type[Kind], *, since: float = 0.0, until: float = EVER) -> list[Kind]:
        """Return the entries of a kind within a time."""
        return [entry for entry in self.entries if isinstance(entry, kind) and since <= entry.at <= until]

    def acks(
        self, durability: Durability | None = None, *, since: float = 0.0, until: float = EVER
    ) -> list[Acked]:
        """Return what was acknowledged within a time, and said this."""
        return [
            ack
            for ack in self.acked
            if since <= ack.at <= until and (durability is None or ack.durability == durability)
        ]

    def tops(self, *, since: float = 0.0) -> dict[Session, int]:
        """Return the highest seq of each session that was acknowledged."""
        found: dict[Session, int] = {}
        for ack in self.acks(since=since):
            found[ack.session] = max(ack.seq, found.get(ack.session, 0))
        return found

    def waits(self, *, since: float = 0.0, until: float = EVER) -> list[float]:
        """Return how many seconds the acks took of what was first sent within a time."""
        return [ack.took for ack in self.acked if since <= ack.since <= until]

    def slow(self, bound: float) -> Iterator[float]:
        """Yield when acks came that took longer than so many seconds."""
        return (ack.at for ack in self.acked if ack.took > bound)


def percentile(values: list[float], share: float) -> float:
    """Return the value below which this share of the values lies; 0 if there are none."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0
