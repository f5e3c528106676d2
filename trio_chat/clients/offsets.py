"""Where a Socket.IO client is in each of its rooms, as one string the client hands back. Pure.

An offset lists places, ``<room>=<epoch>.<seq>``, the epoch's 16 bytes in base64. Clients do not look into it; one
that was made up can claim nothing but to have seen more or less than it has.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from uuid import UUID

from trio_chat.message import MAX_INTEGER, Position, is_epoch

if TYPE_CHECKING:
    from collections.abc import Iterable

NOWHERE: Final = b"0"
"""The offset of a client that is in no room."""


@lru_cache(maxsize=4096)
def _short(epoch: str) -> bytes:
    return urlsafe_b64encode(UUID(epoch).bytes).rstrip(b"=")


def place_of(room: str, epoch: str, seq: int) -> bytes:
    """Return how an offset says that a client is at this position of a room."""
    return b"%b=%b.%d" % (room.encode(), _short(epoch), seq)


def offset_of(places: Iterable[bytes]) -> bytes:
    """Return the offset of a client that is at these places."""
    return b",".join(places) or NOWHERE


def read_offset(offset: str) -> dict[str, Position] | None:
    """Return where a client is, by room; None if the text is no offset of ours."""
    if offset == NOWHERE.decode():
        return {}
    try:
        return dict(map(_read_place, offset.split(",")))
    except ValueError:
        return None


def _read_place(place: str) -> tuple[str, Position]:
    """Return a room and the position in it. Raises `ValueError` for anything that is no place."""
    room, _, position = place.rpartition("=")
    short, _, digits = position.partition(".")
    epoch = str(UUID(bytes=urlsafe_b64decode(f"{short}==")))
    # The length first: reading a million digits takes its time.
    seq = int(digits) if len(digits) <= len(str(MAX_INTEGER)) else -1
    if not is_epoch(epoch) or not 0 <= seq <= MAX_INTEGER:
        raise ValueError("no position")
    return room, Position(epoch, seq)
