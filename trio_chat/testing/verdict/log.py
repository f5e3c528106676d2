"""What clients saw on the wire, on one clock, and what the stores hold in the end: all that a verdict looks at.

1. A log is a list of entries in the order of their time. Where it comes from, a simulation or real processes, is
   nobody's business here.
2. An *operation* is one request, by a number of its own. Repeating a request is another operation with the same id.
   The content of each send and of each edit must be its own: by it one knows whose it is.
3. A *client* is one connection after another; it keeps its windows and its positions in between, and resumes from them.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from trio_chat.message import Position
from trio_chat.stores.base import Durability, Session

Act = Literal["send", "edit", "delete", "join"]


class Seen(msgspec.Struct, frozen=True, gc=False):
    """A message as somebody saw it."""

    id: str
    user: str
    content: str
    seq: int
    rev: int


class _Entry(msgspec.Struct, frozen=True, tag_field="kind"):
    at: float


class Invoke(_Entry, frozen=True, tag="invoke"):
    """A client asks for something.

    Attributes:
        op: the number of the operation.
        user: who the client is.
        id: the message: the client's own id of a send, None if it has none.
        content: of a send or an edit.
        resume: where a join is to go on.
    """

    client: str
    op: int
    act: Act
    room: str
    user: str
    id: str | None = None
    content: str | None = None
    resume: Position | None = None


class Ok(_Entry, frozen=True, tag="ok"):
    """A change was acknowledged."""

    op: int
    id: str
    epoch: str
    seq: int
    durability: Durability
    duplicate: bool = False


class Fail(_Entry, frozen=True, tag="fail"):
    """An operation was refused: it changed nothing."""

    op: int
    code: str


class Unknown(_Entry, frozen=True, tag="unknown"):
    """Nobody will learn from an answer what became of an operation."""

    op: int
    why: str


class Join(_Entry, frozen=True, tag="join"):
    """A client is in a room (`room:joined`). What it shows follows. `op` is the join it answers."""

    client: str
    op: int
    room: str
    epoch: str
    seq: int
    recovered: bool
    first: int


class Window(_Entry, frozen=True, tag="window"):
    """A client is shown a whole window (`messages:history`)."""

    client: str
    room: str
    epoch: str
    seq: int
    messages: tuple[Seen, ...]


class Recv(_Entry, frozen=True, tag="recv"):
    """A client hears a change: a message as it reads now, or the id of a deleted one."""

    client: str
    room: str
    epoch: str
    seq: int
    message: Seen | None
    deleted: str | None = None


class Live(_Entry, frozen=True, tag="live"):
    """A client that has resumed has heard what it missed (`room:live`)."""

    client: str
    room: str
    epoch: str
    seq: int


class Expired(_Entry, frozen=True, tag="expired"):
    """A client hears that the session has ended."""

    client: str
    room: str
    epoch: str


class Left(_Entry, frozen=True, tag="left"):
    """A client is in a room no more: it left, or it was put out."""

    client: str
    room: str


class Close(_Entry, frozen=True, tag="close"):
    """A client's connection is over, with this close code if it is known."""

    client: str
    code: int | None = None


class Crash(_Entry, frozen=True, tag="crash"):
    """A room was loaded anew: who is in it is told how things are, not each event."""

    room: str


class Forgot(_Entry, frozen=True, tag="forgot"):
    """A process ended that alone had the events of a session above a seq, and had said so (`memory`).

    `reused` excuses that the session goes on from there, and gives the same seqs to other events.
    """

    session: Session
    above: int
    reused: bool = False


class Lost(_Entry, frozen=True, tag="lost"):
    """The hot store was made to lose the events of a session above a seq, and nobody alive has them."""

    session: Session
    above: int


class Heal(_Entry, frozen=True, tag="heal"):
    """All faults are over."""


Entry: TypeAlias = (
    Invoke
    | Ok
    | Fail
    | Unknown
    | Join
    | Window
    | Recv
    | Live
    | Expired
    | Left
    | Close
    | Crash
    | Forgot
    | Lost
    | Heal
)


class Row(msgspec.Struct, frozen=True):
    """A message as a store has it. Without content if it is deleted."""

    message: Seen
    deleted: bool = False


class Kept(msgspec.Struct, frozen=True):
    """A session as the hot store has it.

    Attributes:
        session: which.
        top: its highest seq.
        synced: its mark.
        rows: its entries.
        current: whether it is the room's current session.
        expires: whether the store will delete it by itself.
    """

    session: Session
    top: int
    synced: int
    rows: tuple[Row, ...]
    current: bool = True
    expires: bool = False


class Contents(msgspec.Struct, frozen=True):
    """What both stores hold in the end."""

    archive: dict[Session, tuple[Row, ...]] = {}
    hot: tuple[Kept, ...] = ()
