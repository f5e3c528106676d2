"""The native wire: what rooms say, and the answers to one client, one JSON object a WebSocket text frame. Pure.

1. A turn's hearings are encoded once a room and handed to every member as ready WebSocket frames.
2. A message is encoded by msgspec alone, so what was stored is what is sent, byte for byte.
3. A room's whole history is kept encoded until the room changes, so a crowd that joins gets the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, assert_never

import msgspec
from typing_extensions import override

from trio_chat.clients.frames import text_frame
from trio_chat.clients.vocabulary import Ref
from trio_chat.errors import ReplyCode, TrioChatError, code_of
from trio_chat.mail import (
    Accepted,
    Changed,
    Closed,
    Expired,
    Hearing,
    Joined,
    Presence,
    ReadMark,
    Typing,
    Voice,
)
from trio_chat.message import Deleted, Edited, Posted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio_chat.message import Message, Receipt
    from trio_chat.paging import Page

_encode = msgspec.json.Encoder().encode


class _Welcome(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag="welcome"):
    user: str
    connection: str
    durability: str
    limits: Mapping[str, float]
    ref: Ref = None


class _Joined(msgspec.Struct, frozen=True, tag_field="type", tag="room:joined"):
    ref: Ref
    room: str
    epoch: str
    seq: int
    first: int
    recovered: bool
    durability: str
    members: list[str]


class _Live(msgspec.Struct, frozen=True, tag_field="type", tag="room:live"):
    room: str
    epoch: str
    seq: int


class _Left(msgspec.Struct, frozen=True, tag_field="type", tag="room:left"):
    ref: Ref
    room: str


class _Ack(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="ack"):
    ref: Ref
    room: str
    id: str
    epoch: str
    seq: int
    durability: str
    duplicate: bool


class _Error(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag="error"):
    code: ReplyCode
    message: str
    temporary: bool
    ref: Ref = None
    room: str | None = None


def welcome(ref: Ref, user: str, connection: str, durability: str, limits: Mapping[str, float]) -> bytes:
    """Encode the answer to `hello`."""
    return text_frame(_encode(_Welcome(user, connection, durability, limits, ref)))


def ack(ref: Ref, room: str, accepted: Accepted) -> bytes:
    """Encode the answer to a change."""
    return text_frame(
        _encode(
            _Ack(
                ref, room, accepted.id, accepted.epoch, accepted.seq, accepted.durability, accepted.duplicate
            )
        )
    )


def done(ref: Ref, room: str) -> bytes:
    """Encode the answer to what is no event, `typing:start` for example."""
    return text_frame(_encode({"type": "ack", "ref": ref, "room": room}))


def refreshed(ref: Ref, expires_at: float | None) -> bytes:
    """Encode the answer to `token:refresh`."""
    return text_frame(_encode({"type": "token:refreshed", "ref": ref, "exp": expires_at}))


def left(ref: Ref, room: str) -> bytes:
    """Encode the answer to `room:leave`."""
    return text_frame(_encode(_Left(ref, room)))


def page(ref: Ref, room: str, found: Page) -> bytes:
    """Encode the answer to `history:get`. Each message says which session it is from."""
    messages = [{"epoch": one.epoch, **msgspec.to_builtins(one.message)} for one in found.messages]
    answer = {
        "type": "history:page",
        "ref": ref,
        "room": room,
        "messages": messages,
        "source": found.source,
        "more": found.more,
        "before": found.before,
    }
    return text_frame(_encode(answer))


def error(ref: Ref, room: str | None, failure: TrioChatError) -> bytes:
    """Encode a refusal or a failure."""
    code = code_of(failure)
    return text_frame(_encode(_Error(code, str(failure), code.temporary, ref, room)))


def heartbeat(ref: Ref) -> bytes:
    """Encode the answer to `heartbeat`."""
    return text_frame(_encode({"type": "heartbeat"} if ref is None else {"type": "heartbeat", "ref": ref}))


class NativeWire:
    """The wire object; there is one, `NATIVE`."""

    def voice(self, room: str) -> NativeVoice:
        """Begin to speak in a room."""
        return NativeVoice(room)


NATIVE = NativeWire()


class NativeVoice(Voice):
    """One room's encoder. Lives as long as the room has members of this wire."""

    def __init__(self, room: str) -> None:
        self._room = room
        self._name = _encode(room)
        self._history: tuple[tuple[str, int], bytes] | None = None

    @override
    def tell(self, hearings: Sequence[Hearing]) -> bytes:
        """Return ready frames, one a hearing, joined."""
        return b"".join([text_frame(self._tell(hearing)) for hearing in hearings])

    @override
    def told(self, parcel: bytes) -> None:
        """Note nothing: each frame says where it stands."""

    def _tell(self, hearing: Hearing) -> bytes:
        match hearing:
            case Changed():
                self._history = None
                return self._change(hearing)
            case Typing(user, active):
                return _encode(
                    {"type": "typing:start" if active else "typing:stop", "room": self._room, "userId": user}
                )
            case ReadMark(user, receipt):
                mark = {"userId": user, **_receipt(receipt)}
                return _encode({"type": "receipt:update", "room": self._room, **mark})
            case Presence():
                return _encode({"type": "presence:update", "room": self._room, **_presence(hearing)})
            case Expired(epoch):
                return _encode({"type": "session:expired", "room": self._room, "epoch": epoch})
            case Closed(reason):
                return _encode(_Error(ReplyCode.ROOM_CLOSED, reason, True, None, self._room))
            case _:
                assert_never(hearing)

    def _change(self, changed: Changed) -> bytes:
        event = changed.event
        message = event.message
        match event:
            case Posted():
                return self._head(b"message:new", changed) + b',"message":' + _encode(message) + b"}"
            case Edited():
                return self._head(b"message:update", changed) + b',"message":' + _encode(message) + b"}"
            case Deleted():
                return self._head(b"message:delete", changed) + b',"id":' + _encode(message.id) + b"}"
            case _:
                assert_never(event)

    def _head(self, kind: bytes, changed: Changed) -> bytes:
        return b'{"type":"%b","room":%b,"epoch":"%b","seq":%d' % (
            kind,
            self._name,
            changed.epoch.encode(),
            changed.event.seq,
        )

    def joined(self, ref: Ref, joined: Joined) -> bytes:
        """Return the answer to `room:join`: the position, the window or the changes, who is here, who has read what."""
        here = [one.user for one in joined.presence]
        head = _Joined(
            ref,
            self._room,
            joined.epoch,
            joined.seq,
            joined.first,
            joined.recovered,
            joined.durability,
            here,
        )
        past = self._missed(joined) if joined.recovered else self._window(joined)
        receipts = {user: _receipt(receipt) for user, receipt in joined.receipts.items()}
        presence = [_presence(one) for one in joined.presence]
        typing = [text_frame(self._tell(Typing(user, True))) for user in joined.typing]
        return b"".join(
            (
                text_frame(_encode(head)),
                past,
                text_frame(_encode({"type": "receipt:list", "room": self._room, "receipts": receipts})),
                text_frame(_encode({"type": "presence:list", "room": self._room, "members": presence})),
                *typing,
            )
        )

    def _missed(self, joined: Joined) -> bytes:
        changes = [text_frame(self._change(Changed(joined.epoch, event))) for event in joined.changes]
        return b"".join(changes) + text_frame(_encode(_Live(self._room, joined.epoch, joined.seq)))

    def _window(self, joined: Joined) -> bytes:
        position = joined.epoch, joined.seq
        if self._history is None or self._history[0] != position:
            self._history = (
                position,
                text_frame(_history(self._name, joined.epoch, joined.seq, joined.messages)),
            )
        return self._history[1]


def _history(name: bytes, epoch: str, seq: int, messages: Sequence[Message]) -> bytes:
    head = b'{"type":"messages:history","room":%b,"epoch":"%b","seq":%d,"messages":' % (
        name,
        epoch.encode(),
        seq,
    )
    return head + _encode(messages) + b"}"


def _receipt(receipt: Receipt) -> dict[str, Any]:
    return {"lastReadMessageId": receipt.message_id, "timestamp": receipt.timestamp}


def _presence(presence: Presence) -> dict[str, Any]:
    return {"userId": presence.user, "isActive": presence.active, "lastActiveAt": presence.last_active}
