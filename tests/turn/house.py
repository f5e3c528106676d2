"""A room's ledger and audience, and one diary of everything that leaves a turn, in order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from trio_chat.audience import Audience
from trio_chat.ledger import Ledger
from trio_chat.mail import Answer, Delete, Edit, Hearing, Join, Leave, Mail, Post, Read, Touch, Type
from trio_chat.message import Position
from trio_chat.seat import PlainWire
from trio_chat.settings import Settings
from trio_chat.stores.memory import MemoryHotStore
from trio_chat.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(minutes=1)
WIRE = PlainWire()


class Scene:
    """A room's ledger and audience, and one diary of everything that leaves a turn, in order."""

    def __init__(self, **settings: Any) -> None:
        self.settings = Settings(**{"max_messages_per_session": 3, **settings})
        self.hot = MemoryHotStore(durability="redis")
        self.ledger = Ledger("r", self.hot, self.settings, lambda: NOON)
        self.audience = Audience("r")
        self.diary: list[tuple[str, Answer | Hearing]] = []

    def turn(self, *mails: Mail, now: datetime = NOON, clock: float = 0.0) -> Turn:
        """Decide mail, and keep everything back."""
        limit = self.settings.backlog_limit
        turn = Turn(mails, self.ledger, self.audience, now=now, clock=clock, backlog_limit=limit)
        turn.decide()
        return turn

    async def play(
        self, *mails: Mail, now: datetime = NOON, clock: float = 0.0
    ) -> list[tuple[str, Answer | Hearing]]:
        """Decide, write and let out a turn. Returns what left it."""
        turn = self.turn(*mails, now=now, clock=clock)
        await self.ledger.write()
        self.diary.clear()
        turn.release()
        return list(self.diary)

    def to(self, whom: str) -> Callable[[Answer], None]:
        """Make an answer that goes to the diary."""
        return lambda answer: self.diary.append((whom, answer))

    def member(self, user: str) -> AMember:
        """Make somebody whose hearings go to the diary."""
        return AMember(user, self.diary)

    def post(self, content: str = "hi", key: str | None = None, user: str = "ann") -> Post:
        """Make a post, answered to its user."""
        return Post(user, "user", content, {}, key, self.to(user))

    def edit(self, name: str, content: str, user: str = "ann", *, moderator: bool = False) -> Edit:
        """Make an edit."""
        return Edit(user, moderator, name, content, None, self.to(user))

    def delete(self, name: str, user: str = "ann", *, moderator: bool = False) -> Delete:
        """Make a deletion."""
        return Delete(user, moderator, name, self.to(user))

    def join(self, member: AMember, resume: Position | None = None) -> Join:
        """Make a join."""
        return Join(member, resume, self.to(member.user))

    def leave(self, member: AMember) -> Leave:
        """Make a leave."""
        return Leave(member, True, self.to(member.user))

    def type(self, user: str, active: bool = True) -> Type:
        """Make somebody type, or stop."""
        return Type(user, active, self.to(user))

    def touch(self, user: str) -> Touch:
        """Make somebody say that they are active."""
        return Touch(user, self.to(user))

    def read(self, user: str, message_id: str) -> Read:
        """Make a read mark."""
        return Read(user, message_id, self.to(user))


class AMember:
    """A member whose diary is the scene's."""

    def __init__(self, user: str, diary: list[tuple[str, Answer | Hearing]]) -> None:
        self.user = user
        self.diary = diary
        self.dropped: list[bool] = []
        self.failing = False

    @property
    def wire(self) -> PlainWire:
        """Hear hearings as they are."""
        return WIRE

    def hear(self, parcel: Sequence[Hearing], droppable: bool) -> None:
        """Write it down."""
        if self.failing:
            raise RuntimeError("no more")
        self.dropped.append(droppable)
        self.diary.extend((self.user, hearing) for hearing in parcel)

    def put_out(self, room: str, *, told: bool) -> None:
        """Nothing."""


def kinds(diary: list[tuple[str, Answer | Hearing]]) -> list[tuple[str, type]]:
    return [(whom, type(what)) for whom, what in diary]
