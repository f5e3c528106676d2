"""Messages and the events that change them: frozen structs, and the limits every text must keep.

1. A `Message` is what people read. Its `seq` is the number of the event that posted it and never changes;
   its `rev` is the number of the last event that changed it.
2. An event is one durable change of a session: `Posted`, `Edited` or `Deleted`. It carries the message as it
   reads after the change, so the latest event about a message says everything there is to say about it.
3. An event's own number is `event.seq`, which equals `event.message.rev`.
4. What is outside the limits is refused here, once, with a `BadRequest` that says why. Everything behind this
   module may rely on them.
"""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias, cast, get_args

import msgspec

from trio_chat.errors import BadRequest

Role = Literal["user", "assistant", "system"]
ROLES: tuple[Role, ...] = get_args(Role)

MAX_ID = 128
MAX_DEPTH = 32
# JSON numbers every client reads alike (RFC 8259, section 6).
MAX_INTEGER = 2**53 - 1

_ROOM = re.compile(r"[A-Za-z0-9_.:/@-]{1,128}")
# Those of Unicode too: in a log they begin a line, and terminals obey them.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class Message(msgspec.Struct, frozen=True, kw_only=True, gc=False, rename={"user_id": "userId"}):
    """A message as it reads now.

    Attributes:
        id: unique in its session, 1-128 characters; also the client's idempotency key.
        role: who speaks: a user, an assistant or the system.
        content: the text; empty once deleted.
        timestamp: when it was posted, UTC.
        metadata: a JSON object of the client's own.
        user_id: the author.
        seq: the number of the event that posted it.
        rev: the number of the last event that changed it.
    """

    id: str
    role: Role
    content: str
    timestamp: datetime
    metadata: dict[str, Any]
    user_id: str
    seq: int
    rev: int


class Posted(msgspec.Struct, frozen=True, gc=False, tag_field="kind", tag="post"):
    """A message was posted; `message.seq == message.rev`."""

    message: Message

    @property
    def seq(self) -> int:
        """The number of this event in its session."""
        return self.message.rev


class Edited(msgspec.Struct, frozen=True, gc=False, tag_field="kind", tag="edit"):
    """A message was edited `at` this time; `message` is how it reads since."""

    message: Message
    at: datetime

    @property
    def seq(self) -> int:
        """The number of this event in its session."""
        return self.message.rev


class Deleted(msgspec.Struct, frozen=True, gc=False, tag_field="kind", tag="delete"):
    """A message was deleted `at` this time; `message` is what is left of it, without content and metadata."""

    message: Message
    at: datetime

    @property
    def seq(self) -> int:
        """The number of this event in its session."""
        return self.message.rev


Event: TypeAlias = Posted | Edited | Deleted


class Position(msgspec.Struct, frozen=True, gc=False):
    """An epoch and the seq of the last event seen in it: everything up to here is known."""

    epoch: str
    seq: int


class Receipt(msgspec.Struct, frozen=True, gc=False, rename={"message_id": "lastReadMessageId"}):
    """How far a user has read: the message, and when they said so."""

    message_id: str
    timestamp: datetime


def new_epoch(now: datetime, after: str | None = None) -> str:
    """Make a session id: a UUIDv7, which sorts by time (RFC 9562, section 5.7).

    Args:
        now: the wall clock.
        after: the room's previous epoch. The new one sorts behind it even if the clock went back.
    """
    milliseconds = int(now.timestamp() * 1000)
    if after is not None:
        milliseconds = max(milliseconds, int(after.replace("-", "")[:12], 16) + 1)
    noise = secrets.randbits(74)
    number = milliseconds << 80 | 0x7 << 76 | (noise >> 62) << 64 | 0b10 << 62 | noise & (1 << 62) - 1
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def epoch_started(epoch: str) -> datetime:
    """Return the time an epoch was made, from the id itself."""
    return datetime.fromtimestamp(int(epoch.replace("-", "")[:12], 16) / 1000, UTC)


def is_epoch(text: str) -> bool:
    """Whether a text has the shape of an epoch, and names a time that calendars know."""
    return _EPOCH.fullmatch(text) is not None and text < _NO_YEAR


_EPOCH = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_NO_YEAR = "e677d21f-dc00"  # the year 10000, see `epoch_started`


def check_room(room: str) -> str:
    """Return the room id, or refuse it."""
    if _ROOM.fullmatch(room) is None:
        raise BadRequest("room: expected 1-128 characters of A-Z a-z 0-9 _ . : / @ -")
    return room


def check_id(name: str, value: str) -> str:
    """Return an id (a message's, a user's), or refuse it. `name` says which in the error."""
    if not 1 <= len(value) <= MAX_ID or _CONTROL.search(value):
        raise BadRequest(f"{name}: expected 1-{MAX_ID} characters without control characters")
    check_text(name, value)
    return value


def check_role(role: str) -> Role:
    """Return the role, or refuse it."""
    for known in ROLES:
        if role == known:
            return known
    raise BadRequest(f"role: expected one of {', '.join(ROLES)}")


def check_content(content: str, limit: int) -> str:
    """Return the content, or refuse it: empty, larger than `limit` bytes, or not storable as text."""
    if not content:
        raise BadRequest("content: expected a text, got an empty one")
    check_text("content", content)
    if len(content) * 4 > limit and len(content.encode()) > limit:
        raise BadRequest(f"content: expected at most {limit} bytes of UTF-8")
    return content


def check_text(name: str, text: str) -> None:
    """Refuse a text that Postgres or a JSON reader cannot keep: NUL and lone surrogates."""
    if "\x00" in text:
        raise BadRequest(f"{name}: the character U+0000 cannot be stored; leave it out")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise BadRequest(f"{name}: a lone surrogate is not a character; leave it out") from None


def check_metadata(metadata: Mapping[str, Any], limit: int) -> dict[str, Any]:
    """Return the metadata as a plain dictionary, or refuse it.

    It must be a JSON object of at most `limit` bytes and depth 32, its texts storable, its numbers finite and
    its integers within 53 bits, so that every client reads back what was written.
    """
    if not metadata:
        return {}
    plain = cast("dict[str, Any]", _plain("metadata", metadata, 1))
    if len(msgspec.json.encode(plain)) > limit:
        raise BadRequest(f"metadata: expected at most {limit} bytes of JSON")
    return plain


def _plain(name: str, value: object, depth: int) -> object:
    """Return a copy of a JSON value as a decoder would give it, or refuse it."""
    if depth > MAX_DEPTH:
        raise BadRequest(f"{name}: nested deeper than {MAX_DEPTH} levels")
    match value:
        case None | bool():
            return value
        case str():
            check_text(name, value)
            return value
        case int() | float():
            _check_number(name, value)
            return value
        case Mapping():
            return _plain_object(name, cast("Mapping[object, object]", value), depth)
        case list() | tuple():
            return [_plain(name, item, depth + 1) for item in cast("Sequence[object]", value)]
        case _:
            raise BadRequest(f"{name}: {type(value).__name__} is not JSON")


def _check_number(name: str, value: float) -> None:
    # Integers first: one of 400 digits cannot even be asked whether it is finite.
    if isinstance(value, int):
        if abs(value) > MAX_INTEGER:
            raise BadRequest(f"{name}: integers beyond 53 bits are read differently by different clients")
    elif not math.isfinite(value):
        raise BadRequest(f"{name}: numbers must be finite")


def _plain_object(name: str, value: Mapping[object, object], depth: int) -> dict[str, object]:
    plain: dict[str, object] = {}
    for key, item in value.items():
        if not isinstance(key, str):
            raise BadRequest(f"{name}: the keys of a JSON object are texts")
        check_text(name, key)
        plain[key] = _plain(name, item, depth + 1)
    return plain
