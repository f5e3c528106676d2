"""What the server says on the native wire, as structs to describe it by. Nothing is encoded with them.

`native` puts some of it together from bytes, for every member of a room at once. A test has a server say all of this over a
WebSocket, and compares.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from trio_chat.clients.vocabulary import Ref
from trio_chat.errors import ReplyCode
from trio_chat.message import Message
from trio_chat.paging import Source
from trio_chat.stores.base import Durability
from trio_chat.web.api.shapes import Here, OldMessage


class _Said(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    pass


class _InRoom(_Said, frozen=True):
    room: str


class _Change(_InRoom, frozen=True):
    epoch: str
    seq: int


class Limits(msgspec.Struct, frozen=True, rename="camel"):
    """What a client may cost; 0 is no limit."""

    message_bytes: int
    rooms: int
    requests_per_second: float
    request_burst: int
    window: int
    session_expiry_seconds: float
    ping_interval_seconds: float


class Place(msgspec.Struct, frozen=True):
    """A position: everything up to here is known."""

    epoch: str
    seq: int


class ReadMark(msgspec.Struct, frozen=True, rename={"message_id": "lastReadMessageId"}):
    """How far a user has read, and when they said so."""

    message_id: str
    timestamp: datetime


class Welcome(_Said, frozen=True, tag="welcome"):
    """Hello to you. Has the ref of the hello, if that had one."""

    user: str
    connection: str
    durability: Durability
    limits: Limits
    ref: str | int | UnsetType = UNSET


class TokenRefreshed(_Said, frozen=True, tag="token:refreshed"):
    """The connection goes on with the new token, until `exp`."""

    ref: Ref
    exp: float | None


class RoomJoined(_Change, frozen=True, tag="room:joined"):
    """You are in the room: behind this come the window or what you missed, read marks, and who is here."""

    ref: Ref
    first: int
    recovered: bool
    durability: Durability
    members: list[str]


class MessagesHistory(_Change, frozen=True, tag="messages:history"):
    """The window, which replaces all you know of the room."""

    messages: list[Message]


class RoomLive(_Change, frozen=True, tag="room:live"):
    """That was all you missed."""


class ReceiptList(_InRoom, frozen=True, tag="receipt:list"):
    """Who has read how far, by user."""

    receipts: dict[str, ReadMark]


class PresenceListed(_InRoom, frozen=True, tag="presence:list"):
    """Who is in the room."""

    members: list[Here]


class RoomLeft(_InRoom, frozen=True, tag="room:left"):
    """You are not in the room any more."""

    ref: Ref


class Ack(_Change, frozen=True, tag="ack"):
    """A change was carried out, now or (`duplicate`) earlier."""

    ref: Ref
    id: str
    durability: Durability
    duplicate: bool


class Done(_InRoom, frozen=True, tag="ack"):
    """What is no change was done. Said only to a request with a ref."""

    ref: str | int


class MessageNew(_Change, frozen=True, tag="message:new"):
    """A message was posted."""

    message: Message


class MessageUpdate(_Change, frozen=True, tag="message:update"):
    """A message was edited."""

    message: Message


class MessageDelete(_Change, frozen=True, tag="message:delete"):
    """A message was deleted."""

    id: str


class TypingStart(_InRoom, frozen=True, tag="typing:start", rename="camel"):
    """A user types."""

    user_id: str


class TypingStop(_InRoom, frozen=True, tag="typing:stop", rename="camel"):
    """A user has stopped typing."""

    user_id: str


class ReceiptUpdate(
    _InRoom,
    frozen=True,
    tag="receipt:update",
    rename={"user_id": "userId", "message_id": "lastReadMessageId"},
):
    """A user has read up to a message."""

    user_id: str
    message_id: str
    timestamp: datetime


class PresenceUpdate(_InRoom, frozen=True, tag="presence:update", rename="camel"):
    """A user came, left, or is active."""

    user_id: str
    is_active: bool
    last_active_at: datetime


class HistoryPage(_InRoom, frozen=True, tag="history:page"):
    """Older messages, oldest first, and where the next page begins."""

    ref: Ref
    messages: list[OldMessage]
    source: Source
    more: bool
    before: Place | None


class SessionExpired(_InRoom, frozen=True, tag="session:expired"):
    """The session has ended, and its window is empty. The next message begins another one."""

    epoch: str


class Heartbeat(_Said, frozen=True, tag="heartbeat"):
    """Here I am."""

    ref: str | int | UnsetType = UNSET


class Failure(_Said, frozen=True, tag="error"):
    """A request was refused or failed, or (`room_closed`) you were put out of a room."""

    code: ReplyCode
    message: str
    temporary: bool
    ref: str | int | UnsetType = UNSET
    room: str | UnsetType = UNSET


Said: TypeAlias = type[_Said]

SAID: Final[tuple[Said, ...]] = (
    Welcome,
    TokenRefreshed,
    RoomJoined,
    MessagesHistory,
    RoomLive,
    ReceiptList,
    PresenceListed,
    RoomLeft,
    Ack,
    Done,
    MessageNew,
    MessageUpdate,
    MessageDelete,
    TypingStart,
    TypingStop,
    ReceiptUpdate,
    PresenceUpdate,
    HistoryPage,
    SessionExpired,
    Heartbeat,
    Failure,
)
