"""The Socket.IO wire: what rooms say, as Socket.IO events. Pure.

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
from trio_chat.errors import ReplyCode
from trio_chat.mail import (
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

    from trio_chat.message import Event, Message, Receipt

_encode = msgspec.json.Encoder().encode


class RoomParcel(msgspec.Struct, frozen=True, gc=False):
    """What a room says, for every client of this wire.

    Attributes:
        voice: whose it is.
        room: which room.
        place: where a client is in the room once it has all of this.
        shared: ready for whoever is in this room only.
        events: each event without its end, and where a client is that has it.
    """

    voice: SocketIOVoice
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
        return parcel([b'%b,"%b"]' % event for event in events])
    return parcel([ended(event, offset_of(others, place)) for event, place in events])


def _plain(events: Sequence[tuple[bytes, bytes]]) -> Parcel:
    """Give each event its end without an offset."""
    return parcel([event + b"]" for event, _ in events])


def ended(event: bytes, offset: bytes) -> bytes:
    """Give an event its end: an offset."""
    return b'%b,"%b"]' % (event, offset)


def begun(name: str, *pieces: bytes) -> bytes:
    """Encode an event up to where its offset goes."""
    return packets.event(name, *pieces)[:-1]


_NEW: Final = begun("message:new", b"")
"""Encoded once: it is what rooms say most."""


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


def known(room: str, message: Message) -> _Message:
    """Return a message as front ends know it."""
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
    """One room's encoder. Lives as long as the room has members of this wire.

    Attributes:
        place: where its members are in the room.
    """

    def __init__(self, room: str, *, recovers: bool) -> None:
        self._room = room
        self._recovers = recovers
        # Not heard by anybody: who comes first joins first.
        self.place = NOWHERE
        self._history: tuple[bytes, bytes, Parcel] | None = None
        """The window as it was at a place: the event without its end, and ready."""

    @override
    def tell(self, hearings: Sequence[Hearing]) -> RoomParcel:
        """Return everything of a turn, once for all."""
        place = self.place
        events: list[tuple[bytes, bytes]] = []
        for hearing in hearings:
            event, place = self._tell(hearing, place)
            events.append((event, place))
        return RoomParcel(self, self._room, place, self._ready(events, b""), tuple(events))

    @override
    def told(self, parcel: RoomParcel) -> None:
        """Know where the members are from now on."""
        self.place = parcel.place

    def _tell(self, hearing: Hearing, place: bytes) -> tuple[bytes, bytes]:
        """Return an event without its end, and where somebody is who was at `place` and has heard it."""
        match hearing:
            case Changed(epoch, event):
                return self._change(event), place_of(self._room, epoch, event.seq)
            case Typing(user, active):
                said = {"userId": user, "teamId": self._room, "timestamp": _now()}
                return begun("typing:start" if active else "typing:stop", _encode(said)), place
            case ReadMark(user, receipt):
                mark = {"userId": user, "teamId": self._room, **_receipt(receipt)}
                return begun("receipt:update", _encode(mark)), place
            case Presence(user):
                here = {"userId": user, "teamId": self._room, **_presence(hearing)}
                return begun("presence:update", _encode(here)), place
            case Expired(epoch):
                # Whoever hears this has all there was, and nothing yet of the session to come.
                said = {"teamId": self._room, "epoch": epoch}
                return begun("session:expired", _encode(said)), place_of(self._room, epoch, 0)
            case Closed(reason):
                code = ReplyCode.ROOM_CLOSED
                detail = {"code": code, "temporary": code.temporary, "teamId": self._room}
                return self._list("room:error", _encode(reason), _encode(detail)), place
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
                return begun("message:delete", _encode(message.id))
            case _:
                assert_never(event)

    def _new(self, message: Message) -> bytes:
        return _NEW + _encode(known(self._room, message))

    def _update(self, message: Message) -> bytes:
        changed = {
            "id": message.id,
            "content": message.content,
            "metadata": message.metadata,
            "teamId": self._room,
        }
        return begun("message:update", _encode(changed))

    def _ready(self, events: Sequence[tuple[bytes, bytes]], others: bytes) -> Parcel:
        return _ready(events, others) if self._recovers else _plain(events)

    def stand_at(self, epoch: str, seq: int) -> bytes:
        """Know where the members are, and return it. To be called when the room lets somebody in."""
        self.place = place_of(self._room, epoch, seq)
        return self.place

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
        return past.then(lists)

    def _past(self, joined: Joined, place: bytes, others: bytes, since: int) -> Parcel:
        if joined.recovered:
            return self._ready(self._missed(joined, since), others)
        if self._history is None or self._history[0] != place:
            about = {"teamId": self._room, "epoch": joined.epoch, "seq": joined.seq}
            messages = [known(self._room, message) for message in joined.messages]
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
            *[begun("typing:start", _encode(one)) for one in typing],
        ]

    def _list(self, name: str, listed: bytes, about: bytes) -> bytes:
        """Begin an event that says by a second argument what it is about."""
        return begun(name, listed, about) if self._recovers else begun(name, listed)


def _receipt(receipt: Receipt) -> dict[str, Any]:
    return {"lastReadMessageId": receipt.message_id, "timestamp": receipt.timestamp}


def _presence(presence: Presence) -> dict[str, Any]:
    return {"isActive": presence.active, "lastActiveAt": presence.last_active}


def _now() -> datetime:
    return datetime.now(UTC)
