"""Check what became of everything that was acknowledged, and how processes ended.

S1: whatever the order of crashes, cancellations and outages, every acknowledged event reaches the archive exactly once.
An ack that says "memory" promises less: a process that ends with such events must say so, or be killed.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from trio_chat.mail import Closed
from trio_chat.message import Deleted, Posted
from trio_chat.testing import script as do
from trio_chat.testing.checker import Violation, acknowledged
from trio_chat.testing.record import Ended, Mended, Vanished

if TYPE_CHECKING:
    from trio_chat.mail import Accepted
    from trio_chat.message import Event
    from trio_chat.stores.base import Session
    from trio_chat.testing.checker import Change
    from trio_chat.testing.record import Answered, Record

# A process in order: its rooms have 5 s for the mail they have, then the syncer 5 s for its last round.
LONGEST_STOP = 10.0


def check_archived(record: Record) -> None:
    """S1: see the module. The record must end with `Mend`, and nothing after it."""
    if not any(isinstance(entry, Mended) for entry in record.entries):
        raise ValueError("a script that is checked for what was archived ends with Mend()")
    for entry in record.entries:
        if isinstance(entry, Mended) and (entry.dirty or entry.unsaved):
            raise Violation(f"the archive lacks something though all was well for long: {entry}", record)
    for session, entry, command, ack in acknowledged(record):
        row = _row(record, session, ack.id)
        if not _holds(row, command, ack) and not _may_be_lost(record, entry, ack):
            raise Violation(f"{command} was acknowledged as {ack}, the archive has {row}", record)
    _check_once(record)


def _row(record: Record, session: Session, message_id: str) -> Event | None:
    rows = record.archive.rows(session).values()
    return next((row for row in rows if row.message.id == message_id), None)


def _may_be_lost(record: Record, entry: Answered, ack: Accepted) -> bool:
    later = record.entries[record.entries.index(entry) :]
    ends = [end for end in later if isinstance(end, Ended)]
    return ack.durability == "memory" and any(end.killed or entry.command.room in end.unsaved for end in ends)


def _holds(row: Event | None, command: Change, ack: Accepted) -> bool:
    """Whether a row is what this change made of its message, or a later one."""
    if row is None or row.seq != ack.seq:
        return row is not None and row.seq > ack.seq
    if isinstance(command, do.Delete):
        return isinstance(row, Deleted)
    return not isinstance(row, Deleted) and row.message.content == command.content


def _check_once(record: Record) -> None:
    """Check that no row is there that nobody asked for, or twice. Only contents that were asked for once tell."""
    asked: Counter[tuple[str, str]] = Counter()
    for _, post in record.asked(do.Post):
        asked[post.room, post.content] += 1
    found: Counter[tuple[str, str]] = Counter()
    for session in record.archive.sessions:
        rows = record.archive.rows(session).values()
        found.update((session.room, row.message.content) for row in rows if isinstance(row, Posted))
        ids = Counter(row.message.id for row in rows)
        if ids and max(ids.values()) > 1:
            raise Violation(f"{session} has a message twice: {ids}", record)
    for place, count in found.items():
        if count > asked[place]:
            raise Violation(
                f"{place} is in the archive {count} times, asked for {asked[place]} times", record
            )


def check_dirty_kept(record: Record) -> None:
    """E3: the hot store lets go of no session before the archive has all of it."""
    for entry in record.entries:
        if isinstance(entry, Vanished) and entry.archived < entry.top:
            raise Violation(f"a dirty session was deleted: {entry}", record)


def check_ends(record: Record) -> None:
    """N1: a process ends in time and leaves no task behind; each visit is told goodbye at most once, and last."""
    for entry in record.entries:
        if isinstance(entry, Ended) and entry.tasks:
            raise Violation(f"a process left {entry.tasks} tasks behind", record)
        if isinstance(entry, Ended) and entry.took > LONGEST_STOP + 1e-6:
            raise Violation(f"a process took {entry.took} s to stop", record)
    gone: set[int] = set()
    for heard, hearing in record.heard(object):
        if heard.visit in gone:
            raise Violation(f"{heard.who} hears {hearing} after goodbye", record)
        if isinstance(hearing, Closed):
            gone.add(heard.visit)
