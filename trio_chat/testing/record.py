"""What happened while a script was performed: everything asked, answered and heard, in order, with its time.

A record is what checks look at. It holds no opinion of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, TypeVar

import msgspec
from typing_extensions import override

from trio_chat.errors import ReplyCode, Unavailable
from trio_chat.mail import Accepted, Answer, Changed, Hearing, Joined, View
from trio_chat.message import Deleted, Edited, Event, Position, Posted
from trio_chat.stores.base import Session
from trio_chat.testing.script import AnyCommand, Command, Delete, Edit, Post, Request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trio_chat.settings import Settings
    from trio_chat.stores.memory import MemoryArchive, MemoryHotStore

A = TypeVar("A")
C = TypeVar("C", bound=Command)


class Asked(msgspec.Struct, frozen=True):
    """A command was begun. `step` is its number; a join's is also the number of the *visit* it begins."""

    at: float
    step: int
    command: AnyCommand


class Answered(msgspec.Struct, frozen=True):
    """The answer to a command came, or the error. `resume` is where a join was to go on."""

    at: float
    step: int
    command: Request
    answer: Answer
    resume: Position | None = None


class Heard(msgspec.Struct, frozen=True):
    """A client heard something during a visit."""

    at: float
    who: str
    room: str
    visit: int
    hearing: Hearing


class PutOut(msgspec.Struct, frozen=True):
    """A client learnt that its room has put it out, which ends a visit."""

    at: float
    who: str
    room: str
    visit: int


class Ended(msgspec.Struct, frozen=True):
    """A process ended.

    Attributes:
        at: when.
        killed: whether it was killed.
        took: how many seconds it needed to stop.
        tasks: how many tasks it left behind.
        unsaved: what `Lobby.unsaved` said at the end.
    """

    at: float
    killed: bool
    took: float
    tasks: int
    unsaved: dict[str, int]


class Vanished(msgspec.Struct, frozen=True):
    """The hot store let go of a session, and not by accident.

    Attributes:
        at: when.
        session: which.
        top: its highest seq when it was last seen there.
        archived: the highest seq the archive had everything up to.
    """

    at: float
    session: Session
    top: int
    archived: int


class Mended(msgspec.Struct, frozen=True):
    """Everything had been well for long enough to catch up.

    Attributes:
        at: when.
        dirty: sessions with events or read marks that the archive still lacked.
        unsaved: what `Lobby.unsaved` said.
    """

    at: float
    dirty: list[Session]
    unsaved: dict[str, int]


Entry: TypeAlias = Asked | Answered | Heard | PutOut | Ended | Vanished | Mended


class Record:
    """What happened while a script was performed. Lives as long as somebody looks at it.

    Attributes:
        settings: what the rooms ran with.
        hot: the hot store, as it was left.
        archive: the archive, as it was left.
        entries: what happened, in order.
    """

    def __init__(self, settings: Settings, hot: MemoryHotStore, archive: MemoryArchive) -> None:
        self.settings = settings
        self.hot = hot
        self.archive = archive
        self.entries: list[Entry] = []

    @override
    def __repr__(self) -> str:
        return f"<Record entries={len(self.entries)}>"

    def add(self, entry: Entry) -> None:
        """Note what happened."""
        self.entries.append(entry)

    def asked(self, kind: type[C]) -> Iterator[tuple[Asked, C]]:
        """Yield the commands of a kind."""
        for entry in self.entries:
            if isinstance(entry, Asked) and isinstance(entry.command, kind):
                yield entry, entry.command

    def answered(self, *kinds: type[A]) -> Iterator[tuple[Answered, A]]:
        """Yield the answers of these kinds: `Accepted`, `Joined`, `View`, `Done`, or an error."""
        for entry in self.entries:
            if isinstance(entry, Answered) and isinstance(entry.answer, kinds):
                yield entry, entry.answer

    def windows(self) -> Iterator[tuple[Answered, Joined | View]]:
        """Yield the answers that show a window."""
        for entry, answer in self.answered(object):
            if isinstance(answer, Joined | View):
                yield entry, answer

    def heard(self, kind: type[A]) -> Iterator[tuple[Heard, A]]:
        """Yield what was heard of a kind: `Changed`, `Expired`, `Closed`, ..."""
        for entry in self.entries:
            if isinstance(entry, Heard) and isinstance(entry.hearing, kind):
                yield entry, entry.hearing

    def visits(self) -> dict[int, list[Answered | Heard]]:
        """Return what each visit was told, in order: the answer to its join, then what it heard."""
        found: dict[int, list[Answered | Heard]] = {}
        for entry in self.entries:
            if isinstance(entry, Answered) and isinstance(entry.answer, Joined):
                found.setdefault(entry.step, []).append(entry)
            elif isinstance(entry, Heard):
                found.setdefault(entry.visit, []).append(entry)
        return found

    def unknown(self) -> list[Asked]:
        """Return the changes that were asked for and never answered, or so that it is open what happened."""
        known = {entry.step for entry, answer in self.answered(object) if not is_unknown(answer)}
        return [
            entry
            for entry in self.entries
            if isinstance(entry, Asked)
            and isinstance(entry.command, Post | Edit | Delete)
            and entry.step not in known
        ]

    def story(self) -> str:
        """Return everything as lines for people."""
        return "\n".join(map(_line, self.entries))


def is_unknown(answer: object) -> bool:
    """Whether an answer leaves open if the command was carried out."""
    return isinstance(answer, Unavailable) and answer.code is not ReplyCode.OVERLOADED


def _line(entry: Entry) -> str:
    match entry:
        case Asked():
            text = f"#{entry.step} {entry.command}"
        case Answered():
            text = f"    #{entry.step} -> {_brief(entry.answer)}"
        case Heard():
            text = f"    {entry.who} in {entry.room} hears {_brief(entry.hearing)}"
        case PutOut():
            text = f"    {entry.who} is put out of {entry.room}"
        case _:
            text = repr(entry)
    return f"{entry.at:8.2f} {text}"


_EVENTS: dict[type[Event], str] = {Posted: "post", Edited: "edit", Deleted: "delete"}


def _brief(said: Answer | Hearing) -> str:
    match said:
        case Joined():
            how = f"changes={[event.seq for event in said.changes]}" if said.recovered else "from nothing"
            window = [message.seq for message in said.messages]
            return f"Joined {said.epoch[-4:]}:{said.seq} first={said.first} {how} window={window}"
        case View():
            return f"View {said.epoch[-4:]}:{said.seq} window={[message.seq for message in said.messages]}"
        case Changed():
            return (
                f"{_EVENTS[type(said.event)]} {said.event.message.id!r} at {said.epoch[-4:]}:{said.event.seq}"
            )
        case Accepted():
            again = " duplicate" if said.duplicate else ""
            return f"Accepted {said.id!r} {said.epoch[-4:]}:{said.seq} {said.durability}{again}"
        case Exception():
            return f"{type(said).__name__}({said})"
        case _:
            return repr(said)
