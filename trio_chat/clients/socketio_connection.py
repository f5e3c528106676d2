"""A client of the Socket.IO wire, from its connect to its end.

1. It knows where its client is in each of its rooms (its *places*), which make the offset of what it says.
2. A client that comes back is put into all of its rooms or into none. Until the last one has answered, what rooms
   say is held; then each room's past is said, and what was held behind it.
3. When it is over it says nothing more, whatever rooms still answer.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from trio_chat.clients import socketio_replies
from trio_chat.clients.connection import Connection
from trio_chat.clients.offsets import LEFT, NOWHERE, join_places, place_of
from trio_chat.clients.socketio import PLAIN, RoomParcel, SocketIOVoice, SocketIOWire
from trio_chat.clients.socketio_requests import UnknownEvent, read
from trio_chat.clients.vocabulary import room_of
from trio_chat.errors import BadRequest, CloseCode, ReplyCode, TrioChatError, Unavailable
from trio_chat.mail import Join, Joined

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_chat.clients.auth import Authenticator, Identity
    from trio_chat.clients.bucket import Bucket
    from trio_chat.clients.engine.session import EngineLink
    from trio_chat.clients.engine.terms import Parcel
    from trio_chat.clients.offsets import Offset
    from trio_chat.clients.outbox import Offer
    from trio_chat.clients.packets import Event
    from trio_chat.clients.recovery import Recoveries, Recovery
    from trio_chat.clients.registry import Registry
    from trio_chat.clients.vocabulary import Ref
    from trio_chat.lobby import Lobby
    from trio_chat.mail import Accepted, Answer, Hear
    from trio_chat.message import Position
    from trio_chat.paging import Page


class SocketIOConnection(Connection["EngineLink"]):
    """See the module.

    Args:
        link: how the client is reached.
        lobby: the rooms.
        registry: who is connected.
        recoveries: where the client's rooms are noted.
        recovery: the client's.
        authenticator: judges further tokens.
        bucket: its session's, which a client that connects over and over does not fill by that.
        wire: `SOCKET_IO`, or `PLAIN` if the client cannot come back.

    Attributes:
        recovery: the client's way back.
    """

    may_join_again: ClassVar[bool] = True

    def __init__(
        self,
        link: EngineLink,
        lobby: Lobby,
        registry: Registry,
        recoveries: Recoveries,
        recovery: Recovery,
        *,
        authenticator: Authenticator,
        bucket: Bucket,
        wire: SocketIOWire,
    ) -> None:
        super().__init__(link, lobby, authenticator, registry)
        self._bucket = bucket
        self._wire = wire
        self.recovery = recovery
        self._recoveries = recoveries
        self._places: dict[str, bytes] = {}
        """Where the client is in each of its rooms; but in its only room `_alone` knows."""
        self._shortcut: Offer | None = None
        """What sends nearly every parcel, while nothing else is to be minded; None if something may be."""
        self._alone: SocketIOVoice | None = None
        """The voice of the room whose parcels take that way; of one of them, if the client keeps no offset."""
        self._return: _Return | None = None
        self._over = False

    @property
    @override
    def wire(self) -> SocketIOWire:
        """The Socket.IO wire, with offsets if the client keeps them."""
        return self._wire

    @property
    @override
    def hear(self) -> Hear:
        """See `_hear`."""
        return self._hear

    def _hear(self, parcel: RoomParcel, droppable: bool) -> None:
        """Send a parcel, behind the places of the other rooms if there are any."""
        if (send := self._shortcut) is not None:
            # By position, and not through the session: this is done for nearly every delivery.
            send(parcel.shared.frames, droppable)
        elif self._return is not None:
            self._return.held.append((parcel, droppable))
        elif not self._over:
            self._places[parcel.room] = parcel.place
            if len(self._places) == 1 or not self._wire.recovers:
                self._link.offer(parcel.shared, droppable)
                if (shortcut := self._link.send_frames) is not None:
                    self._shortcut, self._alone = shortcut, parcel.voice
            else:
                self._link.offer(parcel.behind(self._places_besides(parcel.room)), droppable)

    def _mind(self) -> None:
        """Look at each parcel again: the client is about to enter or leave a room, or to hear nothing any more."""
        if self._alone is not None:
            self._places = dict.fromkeys(self._places, self._alone.place)
        self._shortcut = self._alone = None

    def _forget_place(self, room: str) -> None:
        # Else the voice of a room that is no more would be kept, and all it has encoded.
        self._mind()
        self._places.pop(room, None)

    def _places_besides(self, room: str) -> bytes:
        return join_places([place for other, place in self._places.items() if other != room])

    @override
    def put_out(self, room: str, *, told: bool) -> None:
        super().put_out(room, told=told)
        self._forget_place(room)

    @override
    def _rooms_changed(self) -> None:
        if self._wire.recovers and not self._over:
            self._recoveries.note_rooms(self.recovery, frozenset(self._rooms))

    # --- coming and going

    def enter(self, identity: Identity) -> bool:
        """Become somebody, and hold the way back; False if the user has as many connections as allowed."""
        if not self._enter(identity):
            return False
        self._recoveries.note_back(self.recovery, self)
        return True

    def welcome(self) -> Parcel:
        """Return what tells the client what to expect. Its offsets of earlier connections are void once it has it."""
        offset = NOWHERE if self._wire.recovers else None
        return socketio_replies.welcome(self.user, self._promise(), self._limits(), offset)

    def on_event(self, event: Event) -> None:
        """Take one event."""
        request = None
        try:
            if self._identity is not None and self._afford():
                request = read(event, self._find_room)
                self._take(request, self._identity)
        except UnknownEvent as error:
            # None of our business, and no mistake; but whoever waits for an answer gets one.
            if event.ack is not None:
                self._say_refused(event.ack, None, error)
        except (BadRequest, Unavailable) as error:
            self._refuse(event.ack, None if request is None else room_of(request), error)

    def refuse_event(self, ack: int | None, error: BadRequest) -> None:
        """Refuse an event that could not be read."""
        self._refuse(ack, None, error)

    def _find_room(self, message: str) -> str:
        rooms = self._lobby.rooms
        found = [name for name in self._rooms if name in rooms and rooms[name].ledger.history.knows(message)]
        if not found and len(self._rooms) == 1:
            # It may be in the mail, just sent. The room will know.
            return next(iter(self._rooms))
        if not found:
            text = "messageId: no such message among the newest of the rooms you have joined"
            raise BadRequest(text, ReplyCode.NOT_FOUND)
        if len(found) > 1:
            raise BadRequest(
                "messageId: several of your rooms have this message; leave one", ReplyCode.CONFLICT
            )
        return found[0]

    def give_way(self) -> None:
        """End: the client has come back on another connection. The rooms are left once the link has ended."""
        self._fall_silent()
        self._registry.leave(self.user, self)
        self._link.close(CloseCode.NORMAL, "you have come back on another connection")

    def lose(self) -> None:
        """End: the connection is gone. The client may come back."""
        if not self._over:
            self._fall_silent()
            self._recoveries.note_away(self.recovery)
        self._depart(activity=False)

    def leave(self) -> None:
        """End: the client disconnects on purpose, and will not be put back."""
        self._fall_silent()
        self._recoveries.end(self.recovery)
        self._depart(activity=True)

    def _fall_silent(self) -> None:
        self._mind()
        self._over = True

    # --- coming back

    def come_back(self, identity: Identity, offset: Offset, done: Callable[[bool], None]) -> None:
        """Join the rooms the client was in, from its places on.

        Args:
            identity: whose rooms; each must still be theirs to join.
            offset: where the client is. A room it has no place in is one whose history never reached it.
            done: called once, with whether it worked. If it did, `catch_up` is to follow; else this is over.
        """
        rooms = sorted(self.recovery.rooms)
        self._return = coming = _Return(len(rooms), offset, done)
        for room in rooms:
            if (place := offset.place(room)) is not None:
                self._places[room] = place_of(room, place.epoch, place.seq)
        if not self.recovery.fits(offset) or not all(map(identity.may_join, rooms)):
            self._give_up(coming)
            return
        try:
            for room in rooms:
                # First, since the answer may come at once.
                self._rooms[room] = coming
                self._lobby.mail(room, Join(self, offset.place(room), partial(self._returned, room)))
                if self._over:
                    return
        except Unavailable:
            self._give_up(coming)

    def _returned(self, room: str, answer: Answer) -> None:
        coming = self._return
        if coming is None or self._over:
            return
        if not isinstance(answer, Joined) or not _tells_all(answer, coming.offset.place(room)):
            self._give_up(coming)
            return
        if isinstance(answer.voice, SocketIOVoice):
            answer.voice.stand_at(answer.epoch, answer.seq)
        coming.answers[room] = answer
        if len(coming.answers) == coming.expected:
            coming.done(True)

    def _give_up(self, coming: _Return) -> None:
        self._fall_silent()
        self._depart(activity=False)
        coming.done(False)

    def catch_up(self) -> None:
        """Tell a client that has come back what it has missed."""
        coming, self._return = self._return, None
        if coming is None:
            return
        self.recovery.exact = True
        for room, answer in coming.answers.items():
            place = coming.offset.place(room)
            self._say_past(room, answer, 0 if place is None else place.seq)
        for parcel, droppable in coming.held:
            self._hear(parcel, droppable)

    # --- answers

    def _say_past(self, room: str, joined: Joined, since: int) -> None:
        if isinstance(joined.voice, SocketIOVoice):
            self._mind()
            self._places[room] = place_of(room, joined.epoch, joined.seq)
            self._link.offer(joined.voice.joined(joined, self._places_besides(room), since), exempt=True)

    @override
    def _say_joined(self, ref: Ref, room: str, joined: Joined) -> None:
        if self._over or not isinstance(joined.voice, SocketIOVoice):
            return
        joined.voice.stand_at(joined.epoch, joined.seq)
        if isinstance(ref, int):
            self._link.offer(socketio_replies.joined(ref, joined))
        self._say_past(room, joined, 0)

    @override
    def _say_left(self, ref: Ref, room: str) -> None:
        if not self._over:
            self._forget_place(room)
            offset = (join_places(self._places.values()) or LEFT) if self._wire.recovers else None
            self._link.offer(socketio_replies.left(room, offset))
            self._say_done(ref, room)

    @override
    def _say_accepted(self, ref: Ref, room: str, accepted: Accepted) -> None:
        if ref is not None:
            self._acknowledge(ref, lambda number: socketio_replies.accepted(number, accepted))

    @override
    def _say_done(self, ref: Ref, room: str) -> None:
        self._acknowledge(ref, socketio_replies.done)

    def _acknowledge(self, ref: Ref, encode: Callable[[int], Parcel]) -> None:
        if isinstance(ref, int) and not self._over:
            self._link.offer(encode(ref))

    @override
    def _say_page(self, ref: Ref, room: str, page: Page) -> None:
        if not self._over:
            self._link.offer(socketio_replies.page(_number(ref), room, page), exempt=True)

    @override
    def _say_heartbeat(self, ref: Ref) -> None:
        self._link.offer(socketio_replies.heartbeat(_number(ref)))

    @override
    def _say_refreshed(self, ref: Ref, identity: Identity) -> None:
        self._say_done(ref, "")

    @override
    def _say_refused(self, ref: Ref, room: str | None, error: TrioChatError) -> None:
        if not self._over:
            self._link.offer(socketio_replies.refusal(_number(ref), room, error, plain=self._wire is PLAIN))


class _Return:
    """A client's coming back, until the last room has answered."""

    __slots__ = ("answers", "done", "expected", "held", "offset")

    def __init__(self, expected: int, offset: Offset, done: Callable[[bool], None]) -> None:
        self.expected = expected
        self.offset = offset
        self.done = done
        self.answers: dict[str, Joined] = {}
        self.held: list[tuple[RoomParcel, bool]] = []


def _tells_all(joined: Joined, place: Position | None) -> bool:
    """Whether a client at this place gets everything it has missed.

    A client without a place has had no history, and gets it. At 0 it had an empty one, perhaps of a session that is
    over: today's window will do if nothing has ever left it.
    """
    if place is None or joined.recovered:
        return True
    return place.seq == 0 and len(joined.messages) == joined.seq


def _number(ref: Ref) -> int | None:
    return ref if isinstance(ref, int) else None
