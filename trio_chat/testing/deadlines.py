"""Check when sessions expired, given when somebody last did something.

E1: a session expires exactly `SESSION_EXPIRY_SECONDS` after its last activity. E2: whatever a client sends is activity;
that its connection breaks is none.

The check supposes one process throughout, stores that answer at once, and that all activity comes from the script.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from trio_chat.mail import Accepted, Expired, Joined, View
from trio_chat.testing import script as do
from trio_chat.testing.checker import Violation
from trio_chat.testing.record import Answered, PutOut

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trio_chat.testing.record import Entry, Record

# What floating point may lose.
_TINY = 1e-6


class _Due(NamedTuple):
    """When a session had to expire, or may have."""

    at: float
    epoch: str
    certain: bool


def check_expiry(record: Record) -> None:
    """E1, E2: see the module."""
    for room in {entry.command.room for entry, _ in record.answered(object)}:
        activity = list(_activity(record, room))
        dues = _dues(record, room, activity)
        _check_epochs(record, room, activity)
        _check_told(record, room, dues)


def _activity(record: Record, room: str) -> Iterator[float]:
    """Yield when somebody did something, and the end of the record."""
    for entry, _ in record.answered(object):
        if entry.command.room == room and not isinstance(entry.command, do.Break):
            yield entry.at
    yield record.entries[-1].at


def _positions(record: Record, room: str) -> Iterator[tuple[float, str, int]]:
    """Yield what the room said about its session, and when."""
    for entry, answer in record.answered(object):
        if entry.command.room == room and isinstance(answer, Accepted | Joined | View):
            yield entry.at, answer.epoch, answer.seq


def _dues(record: Record, room: str, activity: list[float]) -> list[_Due]:
    """Return when each session had to expire, or may have: activity at the very moment may come before or after."""
    found: list[_Due] = []
    for last, following in pairwise(activity):
        at = last + record.settings.session_expiry_seconds
        known = [(epoch, seq) for when, epoch, seq in _positions(record, room) if when <= last]
        if at > following + _TINY or not known or known[-1][1] == 0:
            continue
        epoch = known[-1][0]
        earlier = [due for due in found if due.epoch == epoch]
        if not any(due.certain for due in earlier):
            found.append(_Due(at, epoch, certain=at < following - _TINY and not earlier))
    return found


def _check_epochs(record: Record, room: str, activity: list[float]) -> None:
    """Check that a new session begins after a long pause, and only then."""
    expiry = record.settings.session_expiry_seconds
    for (one, old, seq), (other, new, _) in pairwise(_positions(record, room)):
        moments = [at for at in activity if one <= at <= other]
        longest = max((after - before for before, after in pairwise(moments)), default=0.0)
        if old != new and longest < expiry - _TINY:
            raise Violation(f"{room}: session {old} was over at {other} though somebody was active", record)
        if old == new and seq > 0 and longest > expiry + _TINY:
            raise Violation(f"{room}: session {old} went on at {other} after nobody was active", record)


def _check_told(record: Record, room: str, dues: list[_Due]) -> None:
    """Check that everybody there was told at the right time, once, and nobody at another time."""
    heard: set[tuple[int, str]] = set()
    for entry, expired in record.heard(Expired):
        if entry.room != room:
            continue
        if not any(abs(entry.at - due.at) < _TINY and due.epoch == expired.epoch for due in dues):
            raise Violation(
                f"{entry.who} hears at {entry.at} that a session expired; due were {dues}", record
            )
        if (entry.visit, expired.epoch) in heard:
            raise Violation(f"{entry.who} hears twice that a session expired", record)
        heard.add((entry.visit, expired.epoch))
    for due in dues:
        for visit in _present(record, room, due.at) if due.certain else ():
            if (visit, due.epoch) not in heard:
                raise Violation(f"visit #{visit} does not hear of {due}", record)


def _present(record: Record, room: str, at: float) -> set[int]:
    """Return the visits that were going on at a time."""
    here: dict[str, int] = {}
    for entry in record.entries:
        if entry.at < at:
            _come_and_go(here, entry, room)
    return set(here.values())


def _come_and_go(here: dict[str, int], entry: Entry, room: str) -> None:
    match entry:
        case Answered(command=do.Join() | do.Resume() as command, answer=Joined()):
            if command.room == room:
                here[command.who] = entry.step
        case Answered(command=do.Leave() | do.Break() as command):
            if command.room == room:
                here.pop(command.who, None)
        case PutOut():
            if entry.room == room:
                here.pop(entry.who, None)
        case _:
            pass
