"""What happens to some rooms, as data: a script is a list of commands.

1. Commands are frozen and print as the calls that make them, so that a failing example reads like a story and can
   be pasted into a test.
2. A *client* is a name. What follows an ``@`` tells one user's clients apart: ``ann`` and ``ann@phone`` are both
   the user ``ann``.
3. A message is meant by how long ago it was posted: ``nth=0`` is the newest one that was acknowledged in the room,
   ``nth=1`` the one before it. So a script means something whatever ids the rooms give.
4. A command that cannot apply (to leave a room one is not in) does nothing.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec

from trio_chat.message import Role

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOM = "den"
"""The room of a command that names none."""

StoreName = Literal["hot", "archive"]

Fate = Literal["well", "refuse", "lose answer", "late"]
"""What becomes of one call to a store: nothing special; it has no effect and fails; it has its effect and fails; it
comes back half a second late."""


class Command(msgspec.Struct, frozen=True, repr_omit_defaults=True):
    """One thing that happens."""


# --- what clients do


class Join(Command, frozen=True):
    """A client enters a room and knows nothing of it."""

    who: str
    room: str = ROOM


class Resume(Command, frozen=True):
    """A client enters a room from the last position it had there, or from `back` events before it."""

    who: str
    back: int = 0
    room: str = ROOM


class Leave(Command, frozen=True):
    """A client leaves a room."""

    who: str
    room: str = ROOM


class Break(Command, frozen=True):
    """A client's connection breaks, which is no activity of its user."""

    who: str
    room: str = ROOM


class Post(Command, frozen=True):
    """A client posts a message, in a room it is in or not. `key` is its own id for it."""

    who: str
    content: str
    key: str | None = None
    metadata: dict[str, Any] = {}
    role: Role = "user"
    room: str = ROOM


class Edit(Command, frozen=True):
    """A client edits a message. `moderator` says that it may edit anybody's."""

    who: str
    content: str
    nth: int = 0
    moderator: bool = False
    metadata: dict[str, Any] | None = None
    room: str = ROOM


class Delete(Command, frozen=True):
    """A client deletes a message."""

    who: str
    nth: int = 0
    moderator: bool = False
    room: str = ROOM


class Type(Command, frozen=True):
    """A client types, or stops."""

    who: str
    active: bool = True
    room: str = ROOM


class Read(Command, frozen=True):
    """A client has read up to a message."""

    who: str
    nth: int = 0
    room: str = ROOM


class Look(Command, frozen=True):
    """Somebody looks at the window without entering the room."""

    room: str = ROOM


Request: TypeAlias = Join | Resume | Leave | Break | Post | Edit | Delete | Type | Read | Look


class Together(Command, frozen=True):
    """Clients ask for several things before the room gets to any of them."""

    requests: tuple[Request, ...]


# --- time, and what happens to the process


class Sleep(Command, frozen=True):
    """Time passes."""

    seconds: float


class Restart(Command, frozen=True):
    """The process stops in order and another one starts. Clients' connections are gone.

    `patience` is how many seconds it is given before it is cancelled; None for as many as it needs.
    """

    patience: float | None = None


class Kill(Command, frozen=True):
    """The process is killed, as it stands, and another one starts. Clients' connections are gone."""


Place: TypeAlias = Literal["deciding", "writing", "written", "telling changes", "telling others"]
"""Where a room's actor may fail: while it decides, which it does at once; instead of the next write, or right behind
it; the next time that it tells its members of a change, or of anything else."""


class Crash(Command, frozen=True):
    """The room's actor fails on something nobody expected."""

    where: Place
    room: str = ROOM


# --- what happens to the stores


class Down(Command, frozen=True):
    """A store goes away. It keeps what it has."""

    store: StoreName


class Up(Command, frozen=True):
    """A store is back, whatever was the matter with it."""

    store: StoreName


class Freeze(Command, frozen=True):
    """A store answers no more, until `Up`: every call runs into its timeout."""

    store: StoreName


class Trouble(Command, frozen=True):
    """The next calls to a store meet these fates, one each."""

    store: StoreName
    fates: tuple[Fate, ...]


class LoseData(Command, frozen=True):
    """The hot store restarts without anything, or without the newest `tail` events of a room.

    If it is `unnoticed` its users' connections stay, as when somebody flushes it.
    """

    tail: int | None = None
    unnoticed: bool = False
    room: str = ROOM


class Mend(Command, frozen=True):
    """Both stores are well again, for as long as it takes to catch up."""


AnyCommand: TypeAlias = (
    Request | Together | Sleep | Restart | Kill | Crash | Down | Up | Freeze | Trouble | LoseData | Mend
)

Script: TypeAlias = list[AnyCommand]


def user_of(who: str) -> str:
    """Return the user a client belongs to."""
    return who.partition("@")[0]


def numbered(script: Script) -> Script:
    """Return the script with a number behind each content, so that no two messages read alike."""
    numbers = itertools.count(1)
    return [_numbered(command, numbers) for command in script]


def _numbered(command: AnyCommand, numbers: Iterator[int]) -> AnyCommand:
    if isinstance(command, Together):
        return Together(tuple(_numbered_request(request, numbers) for request in command.requests))
    if isinstance(command, Post | Edit):
        return _numbered_request(command, numbers)
    return command


def _numbered_request(request: Request, numbers: Iterator[int]) -> Request:
    if isinstance(request, Post | Edit):
        return msgspec.structs.replace(request, content=f"{request.content}{next(numbers)}")
    return request
