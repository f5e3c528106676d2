"""What happens in a simulation, as data: who is there, and a list of what they do and what goes wrong, with its times.

1. A plan comes from a seed and from nothing else. It can be written down, read again, and made smaller: any item may be
   left out, and the others mean the same as before.
2. `FAULTS` seconds of faults, then everything is well, and goes on until `END`.
3. An item that cannot apply (to post in a room one is not in, to kill what is down) does nothing.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from trio_chat.testing.script import Fate, StoreName

FAULTS = 30.0
END = 60.0

ROOMS = ("den", "den:x", "attic")

Clock = Literal["wall", "store", "loop"]
"""The wall clock of the process, the hot store's own, or the time that everybody else has while the process stands
still."""


class _Item(msgspec.Struct, frozen=True, tag=True, repr_omit_defaults=True, omit_defaults=True):
    at: float


# --- what clients do


class Send(_Item, frozen=True):
    """A client posts so many messages at once, each of at least so many characters.

    Those that are `keyed` have an id and are sent until they are answered.
    """

    client: int
    room: str
    count: int = 1
    keyed: bool = True
    size: int = 0


class Edit(_Item, frozen=True):
    """A client edits the `nth` newest message that it shows."""

    client: int
    room: str
    nth: int = 0


class Delete(_Item, frozen=True):
    """A client deletes the `nth` newest message that it shows."""

    client: int
    room: str
    nth: int = 0


class Leave(_Item, frozen=True):
    """A client leaves a room, and comes back after some seconds, from where it was or as somebody new."""

    client: int
    room: str
    seconds: float
    fresh: bool = False


# --- what happens to their connections


class Cut(_Item, frozen=True):
    """A client's connection breaks; of what is under way to it so many bytes arrive. It is back after some seconds."""

    client: int
    seconds: float
    arrive: int = 0


class Stall(_Item, frozen=True):
    """A client reads nothing for some seconds."""

    client: int
    seconds: float


# --- what happens to the stores


class Trouble(_Item, frozen=True):
    """The next calls to a store meet these fates, one each."""

    store: StoreName
    fates: tuple[Fate, ...]


class Away(_Item, frozen=True):
    """A store is away for some seconds: it refuses every call, or, `frozen`, answers none."""

    store: StoreName
    seconds: float
    frozen: bool = False


class Slow(_Item, frozen=True):
    """A store needs `delay` seconds for each call."""

    store: StoreName
    seconds: float
    delay: float


class Relapse(_Item, frozen=True):
    """The hot store restarts with what it had `age` seconds before, or with nothing. It is away for some seconds."""

    seconds: float
    age: float | None = None


class Flush(_Item, frozen=True):
    """Somebody empties the hot store."""


# --- what happens to the process


class Fail(_Item, frozen=True):
    """Something nobody expected: a room fails on a request, or whoever calls this next does on the answer."""

    room: str | None = None
    call: tuple[StoreName, str, Literal["before", "after"]] | None = None


class Kill(_Item, frozen=True):
    """The process is killed; the next one starts after some seconds."""

    seconds: float


class Stop(_Item, frozen=True):
    """The process stops in order; the next one starts some seconds after that."""

    seconds: float


class Jump(_Item, frozen=True):
    """A clock jumps."""

    clock: Clock
    seconds: float


Item: TypeAlias = (
    Send
    | Edit
    | Delete
    | Leave
    | Cut
    | Stall
    | Trouble
    | Away
    | Slow
    | Relapse
    | Flush
    | Fail
    | Kill
    | Stop
    | Jump
)


class Guest(msgspec.Struct, frozen=True):
    """A client: its user and the rooms it wants to be in."""

    user: str
    rooms: tuple[str, ...]


class Plan(msgspec.Struct, frozen=True):
    """Everything that decides what happens in a simulation.

    Attributes:
        seed: of the scheduler, and of whatever else is drawn while it runs.
        expiry: seconds without activity after which a session ends.
        limit: how many messages a window has.
        guests: the clients.
        items: what happens, in order of time.
    """

    seed: int
    expiry: int
    limit: int
    guests: tuple[Guest, ...]
    items: tuple[Item, ...]
