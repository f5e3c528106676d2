"""What became of everything in the stores: nothing lost, nothing kept wrongly, nothing let go too early."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import msgspec
from typing_extensions import override

from trio_chat.testing.verdict.events import Generation
from trio_chat.testing.verdict.log import Invoke, Ok, Row

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from trio_chat.stores.base import Session
    from trio_chat.testing.verdict.log import Contents, Kept


class Ack(msgspec.Struct, frozen=True):
    """A change that was acknowledged, and in which generation of its session."""

    invoke: Invoke
    ok: Ok
    generation: Generation

    @property
    def place(self) -> str:
        """The event, for people."""
        return f"{self.generation.session}:{self.ok.seq}"


class Ends:
    """Both stores in the end, as one. Lives as long as its verdict."""

    def __init__(self, contents: Contents) -> None:
        self.contents = contents
        self._rows: dict[Session, dict[int, Row]] = defaultdict(dict)
        for session, row in self.every_row():
            known = self._rows[session].get(row.message.seq)
            if known is None or known.message.rev < row.message.rev:
                self._rows[session][row.message.seq] = row

    @override
    def __repr__(self) -> str:
        return f"<Ends sessions={len(self._rows)}>"

    def every_row(self) -> Iterator[tuple[Session, Row]]:
        """Yield every row of either store."""
        for session, rows in self.contents.archive.items():
            yield from ((session, row) for row in rows)
        for kept in self.contents.hot:
            yield from ((kept.session, row) for row in kept.rows)

    def posted(self, session: Session) -> Mapping[int, Row]:
        """Return a session's messages, as they read now, by the seq that posted them."""
        return self._rows.get(session, {})

    def holds(self, ack: Ack) -> bool:
        """Whether an acknowledged change is there, or a later one of its message."""
        rows = self.posted(ack.generation.session)
        seq, invoke = ack.ok.seq, ack.invoke
        if invoke.act == "send":
            row = rows.get(seq)
            return row is not None and row.message.id == ack.ok.id
        row = next((row for row in rows.values() if row.message.id == ack.ok.id), None)
        if row is None or row.message.rev < seq:
            return False
        if row.message.rev > seq:
            return True
        return row.deleted if invoke.act == "delete" else row.message.content == invoke.content

    def twice(self) -> Iterator[str]:
        """Yield what the archive has twice."""
        for session, rows in self.contents.archive.items():
            for name, count in Counter(row.message.id for row in rows).items():
                if count > 1:
                    yield f"the archive has message {name!r} of {session} {count} times"

    def behind(self) -> Iterator[str]:
        """Yield the sessions that the archive does not have all of."""
        for kept in self.contents.hot:
            if kept.top > kept.synced:
                yield f"{kept.session} is at {kept.top}, and marked as archived up to {kept.synced}"

    def misled(self) -> Iterator[str]:
        """Yield what the archive lacks though the hot store has been told that it is there."""
        for kept in self.contents.hot:
            archived = {
                row.message.seq: row.message.rev for row in self.contents.archive.get(kept.session, ())
            }
            for row in kept.rows:
                seq, rev = row.message.seq, row.message.rev
                if rev <= kept.synced and archived.get(seq, 0) < rev:
                    yield f"{kept.session}:{rev} is marked as archived, and the archive does not have it"


def dangers(contents: Contents) -> Iterator[str]:
    """Yield the sessions that the hot store may let go of although the archive lacks something."""
    for kept in contents.hot:
        if kept.expires and kept.top > kept.synced:
            yield f"{kept.session} expires at {kept.top}, archived up to {kept.synced}"


def missing(kept: Kept, generation: Generation, limit: int) -> Iterator[str]:
    """Yield what the log of a session lacks: of what the archive lacks, and of what the window needs."""
    there = {row.message.rev for row in kept.rows}
    latest: dict[str, int] = {}
    for seq, known in sorted(generation.events.items()):
        if seq <= kept.top:
            latest[known.id] = seq
    for name, seq in latest.items():
        if seq > kept.synced and seq not in there:
            yield f"the hot store has dropped event {seq} of {kept.session} ({name!r}), synced={kept.synced}"
    model = generation.model(limit)
    if kept.current and model.top >= kept.top:
        for line in model.windows[kept.top]:
            if line.rev not in there:
                yield f"the hot store has dropped event {line.rev} of {kept.session}, which the window needs"
