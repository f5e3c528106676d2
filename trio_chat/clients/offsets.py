"""Where a Socket.IO client is in each of its rooms, as one string the client hands back. Pure.

1. An offset lists places, ``<label>=<epoch>.<seq>``: a short hash of the room's name, and the epoch's 16 bytes in
   base64. Clients do not look into it; one that was made up can claim nothing but to have seen more or less.
2. Every change of the rooms a client is in comes with an offset of its own. So `NOWHERE` means that nothing of a room
   has ever reached the client, and `LEFT` that it has left them all.
3. A client hands its offset back in one message, so it must not grow beyond all bounds: `TOO_MANY` stands for one
   that would have.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Final
from uuid import UUID

import msgspec

from trio_chat.message import MAX_INTEGER, Position, is_epoch

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

NOWHERE: Final = b"0"
LEFT: Final = b"-"
TOO_MANY: Final = b"*"
MAX_OFFSET: Final = 16_384
"""No offset has more bytes than this."""

_LABEL_BYTES: Final = 6


class Offset(msgspec.Struct, frozen=True):
    """What a client says about where it is.

    Attributes:
        places: where it is, by the labels of its rooms.
        fresh: whether nothing of a room has reached it yet.
    """

    places: dict[str, Position] = {}
    fresh: bool = False

    def place(self, room: str) -> Position | None:
        """Return where it is in a room."""
        return self.places.get(label_of(room))

    def names(self, rooms: Collection[str]) -> bool:
        """Whether it is in these rooms and no others."""
        return self.places.keys() == set(map(label_of, rooms))


FRESH: Final = Offset(fresh=True)


@lru_cache(maxsize=4096)
def label_of(room: str) -> str:
    """Return the label of a room."""
    return urlsafe_b64encode(blake2b(room.encode(), digest_size=_LABEL_BYTES).digest()).decode()


@lru_cache(maxsize=4096)
def _short(epoch: str) -> bytes:
    return urlsafe_b64encode(UUID(epoch).bytes).rstrip(b"=")


def place_of(room: str, epoch: str, seq: int) -> bytes:
    """Return how an offset says that a client is at this position of a room."""
    return b"%b=%b.%d" % (label_of(room).encode(), _short(epoch), seq)


def join_places(places: Iterable[bytes]) -> bytes:
    """Return places as a part of an offset, `TOO_MANY` if they do not fit into one."""
    joined = b",".join(places)
    return joined if len(joined) <= MAX_OFFSET else TOO_MANY


def offset_of(others: bytes, place: bytes) -> bytes:
    """Return the offset of a client that is at `place` in one room, and at `others` (`join_places`) besides."""
    if not others:
        return place
    return TOO_MANY if others == TOO_MANY else b"%b,%b" % (others, place)


def read_offset(offset: str) -> Offset | None:
    """Return what an offset says; None if it is none of ours, or was too large to be told."""
    if offset == NOWHERE.decode():
        return FRESH
    if offset == LEFT.decode():
        return Offset()
    try:
        return Offset(dict(map(_read_place, offset.split(","))))
    except ValueError:
        return None


def _read_place(place: str) -> tuple[str, Position]:
    """Return a label and the position there. Raises `ValueError` for anything that is no place."""
    label, _, position = place.partition("=")
    short, _, digits = position.partition(".")
    epoch = str(UUID(bytes=urlsafe_b64decode(f"{short}==")))
    # The length first: reading a million digits takes its time.
    seq = int(digits) if len(digits) <= len(str(MAX_INTEGER)) else -1
    if not is_epoch(epoch) or not 0 <= seq <= MAX_INTEGER:
        raise ValueError("no position")
    return label, Position(epoch, seq)
