"""What the API takes and gives, as structs: decoded by them, encoded by them, and described from them. Pure.

A struct says what JSON can say; what it cannot (the size of a text in bytes, how deep metadata are nested) the checks of
`message` refuse, as on every wire.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, TypeAlias

import msgspec
from msgspec import Meta

from trio_chat.errors import ReplyCode
from trio_chat.message import MAX_ID, Message, Position, Role
from trio_chat.paging import MAX_PAGE, Source

MAX_ROOMS: Final = 1000
MAX_SESSIONS: Final = 50
_STORABLE: Final = r"^[^\u0000]*$"
# Not `$`, which some engines let match before a newline at the end.
EPOCH: Final = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"

JSON_VALUE: Final[dict[str, Any]] = {
    "description": "A JSON value of a client's own: nested at most 32 levels, without U+0000, integers, written as such, within 53 bits.",
    "anyOf": [
        {"type": ["null", "boolean"]},
        {"type": "string", "pattern": _STORABLE},
        {"type": "number"},
        {"type": "array", "items": {"$ref": "#/components/schemas/JsonValue"}},
        {
            "type": "object",
            "propertyNames": {"pattern": _STORABLE},
            "additionalProperties": {"$ref": "#/components/schemas/JsonValue"},
        },
    ],
}
"""The schema `JsonValue`, which no type of Python can say."""
_METADATA: Final = {
    "propertyNames": {"pattern": _STORABLE},
    "additionalProperties": {"$ref": "#/components/schemas/JsonValue"},
}

RoomId: TypeAlias = Annotated[
    str,
    Meta(pattern=r"^[A-Za-z0-9_.:/@-]+$", min_length=1, max_length=MAX_ID, examples=["team-42/general"]),
]
Id: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]+$",
        min_length=1,
        max_length=MAX_ID,
        examples=["m-1"],
    ),
]
Content: TypeAlias = Annotated[
    str, Meta(pattern=r"^[^\u0000]+$", min_length=1, description="At most MAX_MESSAGE_BYTES bytes of UTF-8.")
]
Metadata: TypeAlias = Annotated[
    dict[str, Any], Meta(extra_json_schema=_METADATA, description="Any JSON object of the client's own.")
]
Cursor: TypeAlias = Annotated[
    str,
    Meta(
        pattern=rf"^{EPOCH}:(0|[1-9][0-9]{{0,14}})$",
        description="A position, `epoch:seq`.",
        examples=["01a2040e-2752-7451-8379-c1deda24b42e:3"],
    ),
]
Epoch: TypeAlias = Annotated[
    str, Meta(pattern=rf"^{EPOCH}$", examples=["01a2040e-2752-7451-8379-c1deda24b42e"])
]
Number: TypeAlias = Annotated[int, Meta(ge=0)]

# --- what is asked


class NewMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A message to be posted. With an `id` it is safe to send again."""

    content: Content
    id: Id | None = None
    role: Role = "user"
    metadata: Metadata | None = None


class NewContent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a message is to say from now on. Its metadata stay unless given."""

    content: Content
    metadata: Metadata | None = None


class Before(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which messages: the newest `limit` that are older than `before`, or of all."""

    before: Cursor | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE)] = 50


class SessionsBefore(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which sessions: the newest `limit` before the one of the epoch `before`, or of all."""

    before: Epoch | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_SESSIONS)] = 20


class After(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which rooms: the first `limit` whose ids sort behind `after`."""

    after: RoomId | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_ROOMS)] = 100


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """There is nothing to be said in the query."""


# --- what is answered


class Problem(msgspec.Struct, frozen=True):
    """A refusal or a failure. `code` is for programs, `message` for people; `temporary`: ask again later."""

    code: ReplyCode
    message: str
    temporary: bool


class OldMessage(Message, frozen=True, kw_only=True, gc=False):
    """A message as it reads now, and the session it was posted in."""

    epoch: str


class MessagePage(msgspec.Struct, frozen=True):
    """Messages, oldest first. `before` is the cursor of the next older page; null if there is none."""

    messages: list[OldMessage]
    source: Source
    more: bool
    before: Cursor | None


class RoomSession(msgspec.Struct, frozen=True, rename="camel"):
    """A session of a room. It is read back with `end` as the `before` of its messages; `active`: it has not ended."""

    epoch: str
    started_at: datetime
    last_message_at: datetime
    active: bool
    end: Cursor


class SessionList(msgspec.Struct, frozen=True):
    """Sessions, newest first. `before` is where the next page begins; null if there is none."""

    sessions: list[RoomSession]
    before: Epoch | None


class Here(msgspec.Struct, frozen=True, rename="camel"):
    """A user who is in a room, and when they last did something there."""

    user_id: str
    is_active: bool
    last_active_at: datetime


class PresenceList(msgspec.Struct, frozen=True):
    """Who is in a room over a connection."""

    members: list[Here]


class LiveRoom(msgspec.Struct, frozen=True, rename="camel"):
    """A room in memory and its session.

    `top` is the number of its last event, `synced` that of the last one in the archive. While it is `degraded` the
    newest ones are in memory only.
    """

    room: str
    members: Number
    messages: Number
    epoch: str
    top: Number
    synced: Number
    waiting: Annotated[int, Meta(ge=0, description="Requests that wait for the room.")]
    degraded: bool
    idle_seconds: Annotated[float, Meta(ge=0)]


class RoomList(msgspec.Struct, frozen=True):
    """Rooms in the order of their ids. `after` is where the next page begins; null if there is none."""

    rooms: list[LiveRoom]
    after: RoomId | None


class Disconnected(msgspec.Struct, frozen=True):
    """How many connections of a user were ended."""

    connections: Number


class RoomClosed(msgspec.Struct, frozen=True):
    """How many connections were put out of a room."""

    members: Number


class Synced(msgspec.Struct, frozen=True):
    """The archive has everything. The counts are since the start of the server."""

    rounds: Number
    messages: Number
    refused: Annotated[
        int, Meta(ge=0, description="Rows that the archive did not take and that were set aside.")
    ]


def read_cursor(text: str) -> Position:
    """Return the position of a cursor, which was found to be one."""
    epoch, _, seq = text.partition(":")
    return Position(epoch, int(seq))


def write_cursor(position: Position) -> str:
    """Return the cursor of a position."""
    return f"{position.epoch}:{position.seq}"
