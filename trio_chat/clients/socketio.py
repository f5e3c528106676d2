"""The Socket.IO wire: what rooms say, and the answers to one client, as Socket.IO events. Pure.

1. A turn's hearings become one *parcel*, encoded once a room for everybody on this wire.
2. Each room event ends with an *offset*, a string that clients hand back when they reconnect: where they are in each
   of their rooms. It is the same for all who are in one room only, and for the others it is put behind the shared
   bytes.
3. No other event may end with a string: clients take that for an offset.

Source: the Socket.IO protocol, revision 5, and socketio/socket.io, packages/socket.io-client/lib/socket.ts.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, assert_never

import msgspec
from typing_extensions import override

from trio_chat.clients import packets
from trio_chat.clients.engine.terms import Parcel, parcel
from trio_chat.clients.offsets import NOWHERE, offset_of, place_of
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
    from collections.abc import Mapping, Sequence

    from trio_chat.message import Event, Message, Receipt
    from trio_chat.paging import Page

_encode = msgspec.json.Encoder().encode


class RoomParcel(msgspec.Struct, frozen=True, gc=False):
    """What a room says, for every client of this wire.

    Attributes:
        room: which room.
        place: where a client is in the room once it has all of this.
        shared: ready for whoever is in this room only.
        events: each event without its end, and where a client is that has it.
    """

    room: str
    place: bytes
    shared: Parcel
    events: tuple[tuple[bytes, bytes], ...]

    def behind(self, others: bytes) -> Parcel:
        """Return the same for a client that is in other rooms too, `others` being its places there."""
        return _ready(self.events, others)


def _ready(events: Sequence[tuple[bytes, bytes]], others: bytes) -> Parcel:
    """Give each event its end: the place behind those in other rooms, if there are any."""
    if not others:
        return parcel([b'%b,"%b"]' % ended for ended in events])
    return parcel([_ended(event, offset_of(others, place)) for event, place in events])


def _plain(events: Sequence[tuple[bytes, bytes]]) -> Parcel:
    """Give each event its end without an offset."""
    return parcel([event + b"]" for event, _ in events])


def _ended(event: bytes, offset: bytes) -> bytes:
    return b'%b,"%b"]' % (event, offset)


def _begun(name: str, *pieces: bytes) -> bytes:
    """Encode an event up to where its offset goes."""
    return packets.event(name, *pieces)[:-1]


_NEW: Final = _begun("message:new", b"")
"""Encoded once: it is what rooms say most."""


# --- what rooms say


class SocketIOWire:
    """How clients of this protocol are spoken to. There are two objects, `SOCKET_IO` and `PLAIN`.

    Args:
        recovers: whether its clients keep an offset. Others get the bare arguments, for some client libraries hand
            each argument to the handler, and a handler may take no more than it expects.
    """

    def __init__(self, recovers: bool) -> None:
        self.recovers = recovers

    def voice(self, room: str) -> SocketIOVoice:
        """Begin to speak in a room."""
        return SocketIOVoice(room, recovers=self.recovers)


SOCKET_IO: Final = SocketIOWire(recovers=True)
PLAIN: Final = SocketIOWire(recovers=False)


class _Message(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """A message as front ends know it. `type` is who speaks: user, assistant or system."""

    id: str
    content: str
    user_id: str
    team_id: str
    timestamp: datetime
    type: str
    metadata: dict[str, Any]


def _known(room: str, message: Message) -> _Message:
    return _Message(
        message.id,
        message.content,
        message.user_id,
        room,
        message.timestamp,
        message.role,
        message.metadata,
    )


class SocketIOVoice(Voice):
    """One room's encoder. Lives as long as the room has members of this wire."""

    def __init__(self, room: str, *, recovers: bool) -> None:
        self._room = room
        self._recovers = recovers
        # Not heard by anybody: who comes first joins first.
        self._place = NOWHERE
        self._history: tuple[bytes, bytes, Parcel] | None = None
        """The window as it was at a place: the event without its end, and ready."""

    @override
    def tell(self, hearings: Sequence[Hearing]) -> RoomParcel:
        """Return everything of a turn, once for all."""
        events = tuple([self._tell(hearing) for hearing in hearings])
        return RoomParcel(self._room, self._place, self._ready(events, b""), events)

    def _tell(self, hearing: Hearing) -> tuple[bytes, bytes]:
        match hearing:
            case Changed(epoch, event):
                self._place = place_of(self._room, epoch, event.seq)
                return self._change(event), self._place
            case Typing(user, active):
                said = {"userId": user, "teamId": self._room, "timestamp": _now()}
                return _begun("typing:start" if active else "typing:stop", _encode(said)), self._place
            case ReadMark(user, receipt):
                mark = {"userId": user, "teamId": self._room, **_receipt(receipt)}
                return _begun("receipt:update", _encode(mark)), self._place
            case Presence(user):
                here = {"userId": user, "teamId": self._room, **_presence(hearing)}
                return _begun("presence:update", _encode(here)), self._place
            case Expired(epoch):
                # Whoever hears this has all there was, and nothing yet of the session to come.
                self._place = place_of(self._room, epoch, 0)
                return _begun("session:expired", _encode({"teamId": self._room, "epoch": epoch})), self._place
            case Closed(reason):
                code = ReplyCode.ROOM_CLOSED
                detail = {"code": code, "temporary": code.temporary, "teamId": self._room}
                return self._list("room:error", _encode(reason), _encode(detail)), self._place
            case _:
                assert_never(hearing)

    def _change(self, event: Event) -> bytes:
        message = event.message
        match event:
            case Posted():
                return self._new(message)
            case Edited():
                return self._update(message)
            case Deleted():
                return _begun("message:delete", _encode(message.id))
            case _:
                assert_never(event)

    def _new(self, message: Message) -> bytes:
        return _NEW + _encode(_known(self._room, message))

    def _update(self, message: Message) -> bytes:
        changed = {
            "id": message.id,
            "content": message.content,
            "metadata": message.metadata,
            "teamId": self._room,
        }
        return _begun("message:update", _encode(changed))

    def _ready(self, events: Sequence[tuple[bytes, bytes]], others: bytes) -> Parcel:
        return _ready(events, others) if self._recovers else _plain(events)

    def stand_at(self, epoch: str, seq: int) -> bytes:
        """Know where the members are, and return it. To be called when the room lets somebody in."""
        self._place = place_of(self._room, epoch, seq)
        return self._place

    def joined(self, joined: Joined, others: bytes, since: int = 0) -> Parcel:
        """Return what somebody gets who has joined: the window or the changes, who has read what, who is here.

        It may be called some time after the room let them in.

        Args:
            joined: the room's answer.
            others: the member's places in other rooms, b"" if it is in none.
            since: the seq from which it has resumed.
        """
        place = place_of(self._room, joined.epoch, joined.seq)
        past = self._past(joined, place, others, since)
        lists = self._ready([(event, place) for event in self._lists(joined)], others)
        return Parcel(past.frames + lists.frames, past.packets + lists.packets)

    def _past(self, joined: Joined, place: bytes, others: bytes, since: int) -> Parcel:
        if joined.recovered:
            return self._ready(self._missed(joined, since), others)
        if self._history is None or self._history[0] != place:
            about = {"teamId": self._room, "epoch": joined.epoch, "seq": joined.seq}
            messages = [_known(self._room, message) for message in joined.messages]
            event = self._list("messages:history", _encode(messages), _encode(about))
            self._history = place, event, self._ready([(event, place)], b"")
        _, event, alone = self._history
        return self._ready([(event, place)], others) if others else alone

    def _missed(self, joined: Joined, since: int) -> list[tuple[bytes, bytes]]:
        """Return what has changed, in an order that may be cut anywhere.

        A message that was posted meanwhile and edited comes at its own place, as it reads now, and its update again
        at the update's: so whoever has heard a part is exactly where its offset says.
        """
        found: list[tuple[int, bytes]] = []
        for event in joined.changes:
            if isinstance(event, Edited) and event.message.seq > since:
                found.append((event.message.seq, self._new(event.message)))
            found.append((event.seq, self._change(event)))
        found.sort(key=lambda change: change[0])
        return [(event, place_of(self._room, joined.epoch, seq)) for seq, event in found]

    def _lists(self, joined: Joined) -> list[bytes]:
        about = _encode({"teamId": self._room})
        receipts = {user: _receipt(receipt) for user, receipt in joined.receipts.items()}
        here = {one.user: _presence(one) for one in joined.presence}
        typing = [{"userId": user, "teamId": self._room, "timestamp": _now()} for user in joined.typing]
        return [
            self._list("receipt:list", _encode(receipts), about),
            self._list("presence:list", _encode(here), about),
            *[_begun("typing:start", _encode(one)) for one in typing],
        ]

    def _list(self, name: str, listed: bytes, about: bytes) -> bytes:
        """Begin an event that says by a second argument what it is about."""
        return _begun(name, listed, about) if self._recovers else _begun(name, listed)


# --- what one client gets to hear


def welcome(user: str, durability: str, limits: Mapping[str, float], offset: bytes | None) -> Parcel:
    """Encode what a client may expect. With `NOWHERE` it also takes any offset of an earlier connection from it."""
    detail = {"user": user, "durability": durability, "limits": limits}
    return parcel([_closed(_begun("welcome", _encode(detail)), offset)])


def joined(ref: int, answer: Joined) -> Parcel:
    """Encode the acknowledgement of `room:join`."""
    detail = {
        "ok": True,
        "epoch": answer.epoch,
        "seq": answer.seq,
        "recovered": answer.recovered,
        "durability": answer.durability,
        "members": [one.user for one in answer.presence],
    }
    return parcel([packets.ack(ref, _encode(detail))])


def left(room: str, offset: bytes | None) -> Parcel:
    """Encode that the client has left a room, with its new offset if it keeps one."""
    return parcel([_closed(_begun("room:left", _encode({"teamId": room})), offset)])


def _closed(event: bytes, offset: bytes | None) -> bytes:
    return event + b"]" if offset is None else _ended(event, offset)


def accepted(ref: int, answer: Accepted) -> Parcel:
    """Encode the acknowledgement of a change."""
    detail = {
        "ok": True,
        "id": answer.id,
        "epoch": answer.epoch,
        "seq": answer.seq,
        "durability": answer.durability,
        "duplicate": answer.duplicate,
    }
    return parcel([packets.ack(ref, _encode(detail))])


def done(ref: int) -> Parcel:
    """Encode the acknowledgement of what is no event, `typing:start` for example."""
    return parcel([packets.ack(ref, b'{"ok":true}')])


def page(ref: int | None, room: str, found: Page) -> Parcel:
    """Encode the answer to `history:get`, as an acknowledgement if the client waits for one. The newest comes last."""
    messages = [
        {"epoch": one.epoch, **msgspec.to_builtins(_known(room, one.message))} for one in found.messages
    ]
    detail = {
        "teamId": room,
        "messages": messages,
        "source": found.source,
        "more": found.more,
        "before": found.before,
    }
    if ref is None:
        return parcel([packets.event("history:page", _encode(detail))])
    return parcel([packets.ack(ref, _encode({"ok": True, **detail}))])


def heartbeat(ref: int | None) -> Parcel:
    """Encode the answer to `heartbeat`."""
    # Not without an argument: clients would take the event's name, its last element, for an offset.
    return parcel([packets.event("heartbeat", b"{}")]) if ref is None else done(ref)


def refusal(ref: int | None, room: str | None, failure: TrioChatError, *, plain: bool = False) -> Parcel:
    """Encode a refusal or a failure: as the acknowledgement if the client waits for one, else as `room:error`.

    A `plain` client gets the text alone.
    """
    code = code_of(failure)
    if ref is not None:
        error = {"code": code, "message": str(failure), "temporary": code.temporary}
        return parcel([packets.ack(ref, _encode({"ok": False, "error": error}))])
    detail: dict[str, Any] = {"code": code, "temporary": code.temporary}
    if room is not None:
        detail["teamId"] = room
    pieces = [_encode(str(failure))] if plain else [_encode(str(failure)), _encode(detail)]
    return parcel([packets.event("room:error", *pieces)])


def _receipt(receipt: Receipt) -> dict[str, Any]:
    return {"lastReadMessageId": receipt.message_id, "timestamp": receipt.timestamp}


def _presence(presence: Presence) -> dict[str, Any]:
    return {"isActive": presence.active, "lastActiveAt": presence.last_active}


def _now() -> datetime:
    return datetime.now(UTC)
