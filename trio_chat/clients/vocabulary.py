"""What clients may ask, on any wire. Pure; each struct is also the shape of the native wire's request.

A request may carry `ref`, a string or an integer of the client's own, which comes back with the reply. Unknown and
missing fields are refused. What a field may hold beyond its type is checked by `check`.
"""

from __future__ import annotations

from typing import Any, TypeAlias, TypeVar, get_args

import msgspec

from trio_chat.errors import BadRequest
from trio_chat.message import MAX_ID, MAX_INTEGER, Position, check_id, check_room, is_epoch
from trio_chat.paging import MAX_PAGE

Ref: TypeAlias = str | int | None


class Place(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """A position as clients write it."""

    epoch: str
    seq: int

    def position(self) -> Position:
        """Return the position.

        Raises:
            BadRequest: it cannot be one.
        """
        if not is_epoch(self.epoch) or not 0 <= self.seq <= MAX_INTEGER:
            raise BadRequest("position: expected the epoch and seq of an earlier answer")
        return Position(self.epoch, self.seq)


class _Request(
    msgspec.Struct, frozen=True, gc=False, kw_only=True, forbid_unknown_fields=True, tag_field="type"
):
    ref: str | int | None = None


class Hello(_Request, frozen=True, tag="hello"):
    """Say who one is: by a token, or by a user id in insecure mode."""

    token: str | None = None
    user: str | None = None


class JoinRoom(_Request, frozen=True, tag="room:join"):
    """Enter a room, from a position on if one is given."""

    room: str
    resume: Place | None = None


class LeaveRoom(_Request, frozen=True, tag="room:leave"):
    """Leave a room."""

    room: str


class SendMessage(_Request, frozen=True, tag="message:send"):
    """Post a message. `id` makes it safe to send again."""

    room: str
    content: str
    id: str | None = None
    role: str = "user"
    metadata: dict[str, Any] | None = None


class EditMessage(_Request, frozen=True, tag="message:edit"):
    """Change a message; metadata stay unless given."""

    room: str
    id: str
    content: str
    metadata: dict[str, Any] | None = None


class DeleteMessage(_Request, frozen=True, tag="message:delete"):
    """Delete a message."""

    room: str
    id: str


class StartTyping(_Request, frozen=True, tag="typing:start"):
    """The user types."""

    room: str


class StopTyping(_Request, frozen=True, tag="typing:stop"):
    """The user has stopped typing."""

    room: str


class UpdateReceipt(_Request, frozen=True, tag="receipt:update", rename={"message_id": "lastReadMessageId"}):
    """The user has read up to a message."""

    room: str
    message_id: str


class TouchPresence(_Request, frozen=True, tag="presence:heartbeat"):
    """The user is still here and active."""

    room: str


class GetHistory(_Request, frozen=True, tag="history:get"):
    """Read backwards from a position, or from the newest message."""

    room: str
    before: Place | None = None
    limit: int = 50


class Heartbeat(_Request, frozen=True, tag="heartbeat"):
    """Ask for a heartbeat in return. No activity."""


class RefreshToken(_Request, frozen=True, tag="token:refresh"):
    """Go on with a new token of the same user. No activity."""

    token: str


RoomRequest: TypeAlias = (
    LeaveRoom
    | SendMessage
    | EditMessage
    | DeleteMessage
    | StartTyping
    | StopTyping
    | UpdateReceipt
    | TouchPresence
    | GetHistory
)
Order: TypeAlias = JoinRoom | RoomRequest | Heartbeat | RefreshToken
Request: TypeAlias = Hello | Order
REQUESTS: tuple[type, ...] = get_args(Request)


_R = TypeVar("_R", bound=Request)


def check(request: _R) -> _R:
    """Return the request, or refuse ids and refs outside their limits.

    Raises:
        BadRequest: with the field that is wrong.
    """
    check_ref(request.ref)
    if isinstance(request, (Hello, Heartbeat, RefreshToken)):
        return request
    check_room(request.room)
    match request:
        case SendMessage(id=str(name)) | EditMessage(id=name) | DeleteMessage(id=name):
            check_id("id", name)
        case GetHistory(limit=limit) if not 1 <= limit <= MAX_PAGE:
            raise BadRequest(f"limit: expected 1-{MAX_PAGE}")
        case UpdateReceipt(message_id=name):
            check_id("lastReadMessageId", name)
        case _:
            pass
    return request


def room_of(request: Request) -> str | None:
    """Return the room a request is about; None if it is about none."""
    return None if isinstance(request, (Hello, Heartbeat, RefreshToken)) else request.room


def check_ref(ref: Ref) -> Ref:
    """Return the ref, or refuse it."""
    if (isinstance(ref, str) and len(ref) > MAX_ID) or (isinstance(ref, int) and abs(ref) > MAX_INTEGER):
        raise BadRequest(f"ref: expected at most {MAX_ID} characters, or an integer of 53 bits")
    return ref
