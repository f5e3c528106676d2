"""What Socket.IO clients say, as the requests the native wire would make of it. Pure.

What front ends send besides, further arguments and fields, is overlooked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import msgspec

from trio_chat.clients.vocabulary import (
    DeleteMessage,
    EditMessage,
    GetHistory,
    Heartbeat,
    JoinRoom,
    LeaveRoom,
    Order,
    Place,
    RefreshToken,
    SendMessage,
    StartTyping,
    StopTyping,
    TouchPresence,
    UpdateReceipt,
    check,
)
from trio_chat.errors import BadRequest

if TYPE_CHECKING:
    from trio_chat.clients import packets

_T = TypeVar("_T")

Finder: TypeAlias = Callable[[str], str]
"""Returns the room a message is in, of those the client has joined; raises `BadRequest` if it is in none."""


class _Send(msgspec.Struct, frozen=True, rename="camel"):
    team_id: str
    content: str
    type: str | None = None
    metadata: dict[str, Any] | None = None
    id: str | None = None


class _ReadUpTo(msgspec.Struct, frozen=True, rename="camel"):
    team_id: str
    last_read_message_id: str


class _Get(msgspec.Struct, frozen=True, rename="camel"):
    team_id: str
    before: Place | None = None
    limit: int = 50


class UnknownEvent(BadRequest):
    """An event of another protocol than ours. Front ends may have some of their own."""


def read(event: packets.Event, find: Finder) -> Order:
    """Return the request an event makes. Its `ref` is the number of the acknowledgement the client waits for.

    Raises:
        UnknownEvent: there is no such event.
        BadRequest: its arguments are not what it takes.
    """
    reader = _READERS.get(event.name)
    if reader is None:
        name = event.name[:64].encode(errors="replace").decode()
        raise UnknownEvent(f"{name}: no such event; expected one of {', '.join(_READERS)}")
    return check(reader(event, find))


def _argument(event: packets.Event, place: int, expected: type[_T], meaning: str) -> _T:
    """Return an argument. None stands for one that is missing, as JavaScript's `undefined` does in JSON."""
    given = event.args[place] if place < len(event.args) else None
    try:
        return msgspec.convert(given, expected)
    except msgspec.ValidationError as error:
        raise BadRequest(f"{event.name}: expected {meaning}: {error}") from None
    except UnicodeEncodeError:
        raise BadRequest(
            f"{event.name}: expected {meaning}; half a character (a lone surrogate) is none"
        ) from None


def _has(event: packets.Event, place: int) -> bool:
    return place < len(event.args) and event.args[place] is not None


def _room(event: packets.Event) -> str:
    return _argument(event, 0, str, "the room's id")


def _send(event: packets.Event, _: Finder) -> Order:
    said = _argument(event, 0, _Send, "{teamId, content, type?, metadata?, id?}")
    role = "user" if said.type is None else said.type
    return SendMessage(
        ref=event.ack, room=said.team_id, content=said.content, id=said.id, role=role, metadata=said.metadata
    )


def _edit(event: packets.Event, find: Finder) -> Order:
    name = _argument(event, 0, str, "a message's id")
    content = _argument(event, 1, str, "the new content")
    metadata = _argument(event, 2, dict[str, Any], "metadata, an object") if _has(event, 2) else None
    return EditMessage(ref=event.ack, room=find(name), id=name, content=content, metadata=metadata)


def _delete(event: packets.Event, find: Finder) -> Order:
    name = _argument(event, 0, str, "a message's id")
    return DeleteMessage(ref=event.ack, room=find(name), id=name)


def _read_up_to(event: packets.Event, _: Finder) -> Order:
    mark = _argument(event, 0, _ReadUpTo, "{teamId, lastReadMessageId}")
    return UpdateReceipt(ref=event.ack, room=mark.team_id, message_id=mark.last_read_message_id)


def _get(event: packets.Event, _: Finder) -> Order:
    wanted = _argument(event, 0, _Get, "{teamId, before?, limit?}")
    return GetHistory(ref=event.ack, room=wanted.team_id, before=wanted.before, limit=wanted.limit)


_READERS: Final[Mapping[str, Callable[[packets.Event, Finder], Order]]] = {
    "room:join": lambda event, _: JoinRoom(ref=event.ack, room=_room(event)),
    "room:leave": lambda event, _: LeaveRoom(ref=event.ack, room=_room(event)),
    "message:send": _send,
    "message:edit": _edit,
    "message:delete": _delete,
    "typing:start": lambda event, _: StartTyping(ref=event.ack, room=_room(event)),
    "typing:stop": lambda event, _: StopTyping(ref=event.ack, room=_room(event)),
    "receipt:update": _read_up_to,
    "presence:heartbeat": lambda event, _: TouchPresence(ref=event.ack, room=_room(event)),
    "history:get": _get,
    "heartbeat": lambda event, _: Heartbeat(ref=event.ack),
    "token:refresh": lambda event, _: RefreshToken(
        ref=event.ack, token=_argument(event, 0, str, "the new token")
    ),
}
