"""The clients of a stage: where they are, what they ask, and that they write down what they hear.

They speak to a room's mailbox as connections do, and hear its hearings themselves, as seats do.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeAlias, assert_never

import trio
from typing_extensions import override

from trio_chat import mail
from trio_chat.errors import TrioChatError
from trio_chat.message import Position
from trio_chat.testing import script as do
from trio_chat.testing.record import Answered, Heard, PutOut, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_Move: TypeAlias = do.Join | do.Resume | do.Leave | do.Break
_Change: TypeAlias = do.Post | do.Edit | do.Delete
_Other: TypeAlias = do.Type | do.Read | do.Look
_Place: TypeAlias = tuple[str, str]
"""A client and a room."""


class _Wire:
    """The wire of all clients. `mined` holds what it will fail to tell: a room, and whether of changes."""

    def __init__(self) -> None:
        self.mined: set[tuple[str, bool]] = set()

    def voice(self, room: str) -> mail.Voice:
        return _Voice(room, self.mined)


class _Voice:
    def __init__(self, room: str, mined: set[tuple[str, bool]]) -> None:
        self._room = room
        self._mined = mined
        self._spoilt: Sequence[mail.Hearing] | None = None

    def tell(self, hearings: Sequence[mail.Hearing]) -> tuple[mail.Hearing, ...]:
        mine = self._room, isinstance(hearings[0], mail.Changed)
        if mine in self._mined:
            self._mined.remove(mine)
            self._spoilt = hearings
        if hearings is self._spoilt:
            # Ahead of the telling, and at the telling again.
            raise RuntimeError("a voice that fails")
        return tuple(hearings)

    def told(self, parcel: tuple[mail.Hearing, ...]) -> None:
        """Note nothing."""


class _Visitor:
    """A client in a room. Lives as long as one visit."""

    def __init__(self, user: str, wire: _Wire, heard: Callable[[mail.Hearing], None]) -> None:
        self.user = user
        self.wire = wire
        self.out: Callable[[], None] = lambda: None
        self._heard = heard

    def hear(self, parcel: Sequence[mail.Hearing], droppable: bool) -> None:  # noqa: ARG002 - it drops nothing
        for hearing in parcel:
            self._heard(hearing)

    def put_out(self, room: str, *, told: bool) -> None:  # noqa: ARG002 - it is in one room, and is out in any case
        self.out()


class _Poison(str):
    """An id that makes a room fail that looks at it."""

    __slots__ = ()

    @override
    def __hash__(self) -> int:
        raise RuntimeError("an id that nobody can look up")


class Clients:
    """See the module. Lives as long as its stage.

    Args:
        record: where everything is noted.
        send: brings mail to a room; may raise a `TrioChatError`, which is then the answer.
    """

    def __init__(self, record: Record, send: Callable[[str, mail.Mail], None]) -> None:
        self._record = record
        self._send = send
        self._wire = _Wire()
        self._present: dict[_Place, _Visitor] = {}
        self._positions: dict[_Place, Position] = {}
        self._posted: dict[str, list[str]] = {}

    @override
    def __repr__(self) -> str:
        return f"<Clients present={len(self._present)}>"

    def disconnect(self) -> None:
        """Lose every connection, as clients do when the process ends. Their positions they remember."""
        self._present.clear()
        self._wire.mined.clear()

    def poison(self, room: str) -> None:
        """Send a request that makes the room fail. Nobody waits for the answer."""
        self._mail(room, partial(mail.Read, "nobody", _Poison()), lambda _: None)

    def mine(self, room: str, *, changes: bool) -> None:
        """Fail the next time that the room has something to tell: of changes, or of something else."""
        self._wire.mined.add((room, changes))

    def request(self, step: int, command: do.Request) -> None:
        """Ask a room for something. The answer, which comes later, is noted under this step."""
        match command:
            case do.Join() | do.Resume() | do.Leave() | do.Break():
                self._move(step, command)
            case do.Post() | do.Edit() | do.Delete():
                self._ask(step, command, self._change(command))
            case do.Type() | do.Read() | do.Look():
                self._ask(step, command, self._other(command))
            case _:
                assert_never(command)

    def _change(self, command: _Change) -> Callable[[mail.Answering], mail.Mail]:
        user = do.user_of(command.who)
        match command:
            case do.Post():
                text, metadata, key = command.content, command.metadata, command.key
                return partial(mail.Post, user, command.role, text, metadata, key)
            case do.Edit():
                target = self._nth(command.room, command.nth)
                return partial(mail.Edit, user, command.moderator, target, command.content, command.metadata)
            case do.Delete():
                return partial(mail.Delete, user, command.moderator, self._nth(command.room, command.nth))
            case _:
                assert_never(command)

    def _other(self, command: _Other) -> Callable[[mail.Answering], mail.Mail]:
        match command:
            case do.Type():
                return partial(mail.Type, do.user_of(command.who), command.active)
            case do.Read():
                return partial(mail.Read, do.user_of(command.who), self._nth(command.room, command.nth))
            case do.Look():
                return mail.Look
            case _:
                assert_never(command)

    def _nth(self, room: str, nth: int) -> str:
        posted = self._posted.get(room, [])
        return posted[-1 - nth] if nth < len(posted) else "no such message"

    def _move(self, step: int, command: _Move) -> None:
        place = command.who, command.room
        present = self._present.get(place)
        match command:
            case do.Leave() | do.Break():
                if present is not None:
                    del self._present[place]
                    leave = partial(mail.Leave, present, isinstance(command, do.Leave))
                    self._ask(step, command, leave)
            case do.Join():
                if present is None:
                    self._enter(step, command, place, None)
            case do.Resume():
                if present is not None:
                    self._mail(command.room, partial(mail.Leave, present, True), lambda _: None)
                known = self._positions.get(place)
                back = None if known is None else Position(known.epoch, max(known.seq - command.back, 0))
                self._enter(step, command, place, back)
            case _:
                assert_never(command)

    def _enter(self, step: int, command: do.Join | do.Resume, place: _Place, resume: Position | None) -> None:
        visitor = _Visitor(do.user_of(command.who), self._wire, partial(self._hear, place, step))
        visitor.out = partial(self._forget, place, visitor, step)
        self._present[place] = visitor
        self._ask(step, command, partial(mail.Join, visitor, resume), resume)

    def _forget(self, place: _Place, visitor: _Visitor, visit: int) -> None:
        self._record.add(PutOut(trio.current_time(), *place, visit))
        if self._present.get(place) is visitor:
            del self._present[place]

    def _hear(self, place: _Place, visit: int, hearing: mail.Hearing) -> None:
        self._record.add(Heard(trio.current_time(), *place, visit, hearing))
        if isinstance(hearing, mail.Changed):
            self._positions[place] = Position(hearing.epoch, hearing.event.seq)

    def _ask(
        self,
        step: int,
        command: do.Request,
        make: Callable[[mail.Answering], mail.Mail],
        resume: Position | None = None,
    ) -> None:
        self._mail(command.room, make, partial(self._take, step, command, resume))

    def _mail(self, room: str, make: Callable[[mail.Answering], mail.Mail], answer: mail.Answering) -> None:
        try:
            self._send(room, make(answer))
        except TrioChatError as error:
            answer(error)

    def _take(self, step: int, command: do.Request, resume: Position | None, answer: mail.Answer) -> None:
        self._record.add(Answered(trio.current_time(), step, command, answer, resume))
        match command, answer:
            case do.Join() | do.Resume(), mail.Joined():
                self._positions[command.who, command.room] = Position(answer.epoch, answer.seq)
            case do.Post(), mail.Accepted(duplicate=False):
                self._posted.setdefault(command.room, []).append(answer.id)
            case _:
                pass
