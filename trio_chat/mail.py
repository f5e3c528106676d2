"""What a room is asked, what it answers, and what its members hear. Data only.

1. A *mail* is a request to a room. Each carries `answer`, called exactly once with the result or with the
   error; it must not raise and must not wait.
2. A *hearing* is something members are told. Durable ones (`Changed`) reach every member in one order; the
   others may be dropped for a member that reads too slowly.
3. A *member* hears parcels. What a parcel is, its *wire* decides: a room asks each wire's *voice* once per turn
   to wrap the hearings, and hands the same parcel to every member of that wire.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeAlias

import msgspec

from trio_chat.errors import TrioChatError
from trio_chat.message import Event, Message, Position, Receipt, Role
from trio_chat.stores.base import Durability

# --- what members hear


class Changed(msgspec.Struct, frozen=True, gc=False):
    """A durable event happened in the session `epoch`."""

    epoch: str
    event: Event

    @property
    def position(self) -> Position:
        """The position of somebody who has heard this."""
        return Position(self.epoch, self.event.seq)


class Typing(msgspec.Struct, frozen=True, gc=False):
    """A user types, or has stopped: said so, posted, left, or was not heard of for 30 s."""

    user: str
    active: bool


class ReadMark(msgspec.Struct, frozen=True, gc=False):
    """A user has read up to a message."""

    user: str
    receipt: Receipt


class Presence(msgspec.Struct, frozen=True, gc=False):
    """A user is here (`active`: came, or was touched) or has left; when they last did something."""

    user: str
    active: bool
    last_active: datetime


class Expired(msgspec.Struct, frozen=True, gc=False):
    """The session ended after its time without activity. The next message starts a new one."""

    epoch: str


class Closed(msgspec.Struct, frozen=True, gc=False):
    """The room was closed; the member is out. `reason` is for people."""

    reason: str


Hearing: TypeAlias = Changed | Typing | ReadMark | Presence | Expired | Closed


class Voice(Protocol):
    """One wire's way of speaking in one room. Lives as long as the room has members of that wire."""

    def tell(self, hearings: Sequence[Hearing]) -> Any:
        """Return hearings wrapped into one parcel for every member of the wire. Nobody hears anything yet."""
        ...

    def told(self, parcel: Any) -> None:
        """Know that every member of the wire hears a parcel now. Must not raise."""
        ...


class Wire(Protocol):
    """A client protocol. There is one object a protocol; members with the same object share parcels."""

    def voice(self, room: str) -> Voice:
        """Begin to speak in a room."""
        ...


class Hear(Protocol):
    """Takes what a room tells a member."""

    def __call__(self, parcel: Any, droppable: bool, /) -> None:
        """Take a parcel. Must not wait; a member that raises is put out of the room."""
        ...


class Member(Protocol):
    """Somebody who hears a room. Compared by identity."""

    @property
    def user(self) -> str:
        """Who."""
        ...

    @property
    def wire(self) -> Wire:
        """How."""
        ...

    @property
    def hear(self) -> Hear:
        """What takes parcels, the same as long as the member is in the room."""
        ...

    def put_out(self, room: str, *, told: bool) -> None:
        """Know that the room has put this member out. Must neither wait nor raise.

        Args:
            room: the room.
            told: whether it has heard why (`Closed`). If not, it has missed something of what the room said.
        """
        ...


# --- what a room answers


class Accepted(msgspec.Struct, frozen=True, gc=False):
    """A change was carried out, now or (`duplicate`) earlier under the same id.

    Attributes:
        id: the message.
        epoch: the session.
        seq: the number of the event.
        durability: the step of the ladder it has reached: "memory", "redis", "replicated" or "archive".
        duplicate: whether this request changed nothing because it had been carried out before.
    """

    id: str
    epoch: str
    seq: int
    durability: Durability
    duplicate: bool


class Joined(msgspec.Struct, frozen=True):
    """A member is in the room; everything after `seq` will reach it.

    Attributes:
        epoch: the session.
        seq: the number of its newest event; with `epoch` the position of the answer.
        recovered: whether `changes` are complete since the position the member resumed at.
        first: the oldest seq the window needs; a recovered member drops what it has below it.
        changes: what happened since, if recovered; else empty.
        messages: the window, if not recovered; else empty.
        presence: who is here.
        receipts: read marks by user.
        durability: what an ack of this room can promise at the moment.
        voice: the voice of the member's wire in this room.
        typing: who types now, besides the member's own user.
    """

    epoch: str
    seq: int
    recovered: bool
    first: int
    changes: tuple[Event, ...]
    messages: tuple[Message, ...]
    presence: tuple[Presence, ...]
    receipts: Mapping[str, Receipt]
    durability: Durability
    voice: Voice
    typing: tuple[str, ...] = ()


class View(msgspec.Struct, frozen=True):
    """The window as it reads now, and the events the archive lacks; not all of them unless `complete`."""

    epoch: str
    seq: int
    messages: tuple[Message, ...]
    waiting: tuple[Event, ...]
    complete: bool


class Done(msgspec.Struct, frozen=True):
    """It was carried out; nothing more to say."""


Answer: TypeAlias = Accepted | Joined | View | Done | TrioChatError
Answering: TypeAlias = Callable[[Answer], None]

# --- what a room is asked


class Outlet(Protocol):
    """A way to a client that can send several things in one piece. Neither call waits or raises."""

    def hold(self) -> None:
        """Keep what is said from now on."""
        ...

    def let_go(self) -> None:
        """Send what was kept. Does nothing if it is not held."""
        ...


class Post(msgspec.Struct, frozen=True, gc=False):
    """Post a message. `key` is the client's own id for it, or None.

    `outlet` is held while the message and the answer are let out: it is the way to who gets both. None if nobody does.
    """

    user: str
    role: Role
    content: str
    metadata: dict[str, Any]
    key: str | None
    answer: Answering
    outlet: Outlet | None = None


class Edit(msgspec.Struct, frozen=True, gc=False):
    """Edit a message; metadata None leaves it as it is. A moderator may edit anybody's."""

    user: str
    moderator: bool
    id: str
    content: str
    metadata: dict[str, Any] | None
    answer: Answering


class Delete(msgspec.Struct, frozen=True, gc=False):
    """Delete a message. A moderator may delete anybody's."""

    user: str
    moderator: bool
    id: str
    answer: Answering


class Join(msgspec.Struct, frozen=True):
    """Become a member, from a position on if one is given. Answered with `Joined`.

    Who is a member already is answered afresh, and nothing else changes.
    """

    member: Member
    resume: Position | None
    answer: Answering


class Leave(msgspec.Struct, frozen=True):
    """Stop being a member. `activity` is False when the connection broke rather than the user left."""

    member: Member
    activity: bool
    answer: Answering


class Type(msgspec.Struct, frozen=True):
    """Tell the others that a user types, or has stopped.

    Who types says so at least every 30 s, or has stopped. A stop of somebody who does not type is told to nobody.
    """

    user: str
    active: bool
    answer: Answering


class Touch(msgspec.Struct, frozen=True):
    """Tell the others that a user is still here and active."""

    user: str
    answer: Answering


class Read(msgspec.Struct, frozen=True):
    """Note how far a user has read."""

    user: str
    message_id: str
    answer: Answering


class Look(msgspec.Struct, frozen=True):
    """Look at the window. Answered with a `View`."""

    answer: Answering


Mail: TypeAlias = Post | Edit | Delete | Join | Leave | Type | Touch | Read | Look
