"""One client in its rooms, whatever its wire: takes requests, mails them to rooms, and has the answers said.

1. Every method is synchronous: a request becomes mail, its answer comes back as a callback. The reader never waits
   for a room; the one exception, reading the archive, is a task of the connection.
2. A wire decodes what its client says, calls `_take`, and says the answers: `native_connection` and
   `socketio_connection` do nothing else to a room.
3. Each request costs a token of the bucket; an empty bucket refuses, and who goes on regardless is disconnected.
4. A room is named in every request, and it must be one this connection has joined with its own identity.
5. A connection is one member of each of its rooms.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import Counter, deque
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Generic, Protocol, TypeVar

import trio
from typing_extensions import override

from trio_chat.clients.bucket import Bucket
from trio_chat.clients.letters import mail_of
from trio_chat.clients.vocabulary import (
    GetHistory,
    Heartbeat,
    JoinRoom,
    LeaveRoom,
    Order,
    Ref,
    RefreshToken,
    RoomRequest,
)
from trio_chat.errors import BadRequest, CloseCode, ReplyCode, TrioChatError, Unavailable
from trio_chat.mail import Accepted, Answer, Done, Join, Joined, Leave

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio_chat.clients.auth import Authenticator, Identity
    from trio_chat.clients.registry import Registry
    from trio_chat.lobby import Lobby
    from trio_chat.mail import Hear, Outlet, Wire
    from trio_chat.message import Position
    from trio_chat.paging import Page

logger = logging.getLogger(__name__)

_BAD_REQUESTS = 5
_BAD_SECONDS = 10.0
# How many pages of history one connection may be reading at once.
_PAGES = 4
# How many joins of one room may wait for an answer.
_JOINS = 4


class AnyLink(Protocol):
    """What every kind of link can do. None of it waits."""

    @property
    def behind(self) -> bool:
        """Whether the client has yet to take much of the histories it has asked for."""
        ...

    @property
    def outlet(self) -> Outlet | None:
        """What sends several things in one piece; None if there is nothing to gain."""
        ...

    def close(self, code: int, reason: str = "") -> None:
        """Begin to end the connection."""
        ...

    def start_soon(self, fn: Callable[..., Awaitable[object]], *args: object) -> None:
        """Start a task that ends with the connection."""
        ...


L = TypeVar("L", bound=AnyLink)


class Connection(ABC, Generic[L]):
    """See the module. Lives as long as its link."""

    may_join_again: ClassVar[bool] = False
    """Whether joining a room one is in gets its history once more, rather than an error."""

    acknowledges_all: ClassVar[bool] = False
    """Whether also those messages are acknowledged that bear no `ref`."""

    def __init__(self, link: L, lobby: Lobby, authenticator: Authenticator, registry: Registry) -> None:
        self._link = link
        self._lobby = lobby
        self._authenticator = authenticator
        self._registry = registry
        self._settings = lobby.settings
        self._identity: Identity | None = None
        self._rooms: dict[str, object] = {}
        """Where it is or is about to be, and its newest request to join."""
        self._bad: deque[float] = deque(maxlen=_BAD_REQUESTS)
        self._bucket = Bucket(self._settings.request_rate, self._settings.request_burst)
        self._pages = 0
        self._joining: Counter[str] = Counter()
        """Joins that wait for an answer: each may bring a whole history."""

    @override
    def __repr__(self) -> str:
        who = self._identity.user if self._identity else "nobody"
        return f"<{type(self).__name__} of {who} rooms={len(self._rooms)} {self._link!r}>"

    # --- what rooms see: a member

    @property
    def user(self) -> str:
        """Who this is."""
        assert self._identity is not None  # noqa: S101 - nobody joins without an identity
        return self._identity.user

    @property
    @abstractmethod
    def wire(self) -> Wire:
        """How this client is spoken to."""

    @property
    @abstractmethod
    def hear(self) -> Hear:
        """What sends what a room says."""

    def put_out(self, room: str, *, told: bool) -> None:
        """Forget a room that has put this connection out. A client that knows nothing of it has to come back."""
        self._rooms.pop(room, None)
        self._rooms_changed()
        if not told:
            self._link.close(
                CloseCode.INTERNAL_ERROR, "not all that a room said could be sent: come back and resume"
            )

    def _rooms_changed(self) -> None:
        """Know that the client has joined or left a room. Most wires need not."""

    # --- what the registry calls

    def token_expired(self) -> None:
        """End the connection: its token has expired."""
        self._link.close(
            CloseCode.TOKEN_EXPIRED, "the token has expired: come back with a fresh one and resume"
        )

    def token_revoked(self) -> None:
        """End the connection: its user was revoked."""
        self._link.close(CloseCode.UNAUTHORIZED, "access was withdrawn: tokens made until now are void")

    # --- what a wire says

    @abstractmethod
    def _say_joined(self, ref: Ref, room: str, joined: Joined) -> None: ...

    @abstractmethod
    def _say_left(self, ref: Ref, room: str) -> None: ...

    @abstractmethod
    def _say_accepted(self, ref: Ref, room: str, accepted: Accepted) -> None: ...

    @abstractmethod
    def _say_done(self, ref: Ref, room: str) -> None: ...

    @abstractmethod
    def _say_page(self, ref: Ref, room: str, page: Page) -> None: ...

    @abstractmethod
    def _say_heartbeat(self, ref: Ref) -> None: ...

    @abstractmethod
    def _say_refreshed(self, ref: Ref, identity: Identity) -> None: ...

    @abstractmethod
    def _say_refused(self, ref: Ref, room: str | None, error: TrioChatError) -> None: ...

    # --- coming and going

    def _enter(self, identity: Identity) -> bool:
        """Become somebody; False, and nothing has changed, if the user has as many connections as allowed."""
        if not self._registry.enter(identity.user, self, identity.expires_at, self._bucket):
            return False
        self._identity = identity
        if self._authenticator.is_revoked(identity):
            # Between showing the token and entering, somebody may have waited for a store.
            self.token_revoked()
        return True

    def _depart(self, *, activity: bool) -> None:
        """Leave every room, for good. May be called again."""
        for room in list(self._rooms):
            self._leave(room, activity=activity)
        self._rooms.clear()
        if self._identity is not None:
            self._registry.leave(self._identity.user, self)

    def _promise(self) -> str:
        return self._lobby.hot.promise

    def _limits(self) -> dict[str, float]:
        settings = self._settings
        return {
            "messageBytes": settings.max_message_bytes,
            "rooms": settings.max_rooms_per_connection,
            "requestsPerSecond": settings.request_rate,
            "requestBurst": settings.request_burst,
            "window": settings.max_messages_per_session,
            "sessionExpirySeconds": settings.session_expiry_seconds,
            "pingIntervalSeconds": settings.ping_interval_seconds,
        }

    # --- going on with another token

    def _refresh(self, request: RefreshToken, user: str) -> None:
        """Become what a new token says. It must be the same user's; rooms it does not open are left."""
        identity = self._authenticator.authenticate(request.token, user)
        self._identity = identity
        self._registry.renew(user, self, identity.expires_at)
        self._say_refreshed(request.ref, identity)
        for room in [room for room in self._rooms if not identity.may_join(room)]:
            text = "room: the new token does not open it, so this connection has left it"
            self._say_refused(None, room, BadRequest(text, ReplyCode.FORBIDDEN))
            self._rooms.pop(room, None)
            self._leave(room, activity=False)
        self._rooms_changed()

    # --- requests

    def _take(self, request: Order, identity: Identity) -> None:
        """Do what the client asks.

        Raises:
            BadRequest: it may not, or asked in a wrong way.
            Unavailable: not now.
        """
        match request:
            case Heartbeat():
                self._say_heartbeat(request.ref)
            case JoinRoom():
                self._join(request, identity)
            case RefreshToken():
                self._refresh(request, identity.user)
            case _:
                if request.room not in self._rooms:
                    raise BadRequest("room: join it first", ReplyCode.NOT_JOINED)
                self._in_room(request, identity)

    def _afford(self) -> bool:
        """Pay for a request. False if the connection is over, since the client does not slow down.

        Raises:
            Unavailable: the client has to slow down.
        """
        if self._bucket.take():
            return True
        if self._bucket.broke:
            self._link.close(CloseCode.RATE_LIMITED, "too many requests: wait, come back and resume")
            return False
        slower = f"at most {self._settings.request_rate:g} requests a second; wait, then repeat"
        raise Unavailable(slower, ReplyCode.RATE_LIMITED)

    def _join(self, request: JoinRoom, identity: Identity) -> None:
        room = request.room
        again = room in self._rooms
        if again and not self.may_join_again:
            raise BadRequest("room: this connection is in it already", ReplyCode.ALREADY_JOINED)
        if not identity.may_join(room):
            raise BadRequest("room: not yours to join", ReplyCode.FORBIDDEN)
        limit = self._settings.max_rooms_per_connection
        if limit and len(self._rooms) >= limit and not again:
            raise BadRequest(f"room: at most {limit} rooms a connection; leave one", ReplyCode.TOO_MANY_ROOMS)
        self._check_reading()
        resume = request.resume.position() if request.resume is not None else None
        if self._joining[room] >= _JOINS:
            raise Unavailable("the room has yet to answer; wait for it", ReplyCode.OVERLOADED)
        token = object()
        self._joining[room] += 1
        # First, since the answer may come at once.
        self._rooms[room] = token
        try:
            self._lobby.mail(room, Join(self, resume, partial(self._joined, request.ref, room, token)))
        except (BadRequest, Unavailable):
            self._note_answer(room)
            if not again:
                del self._rooms[room]
            raise
        self._rooms_changed()

    def _note_answer(self, room: str) -> None:
        self._joining[room] -= 1
        if not self._joining[room]:
            del self._joining[room]

    def _joined(self, ref: Ref, room: str, token: object, answer: Answer) -> None:
        self._note_answer(room)
        if isinstance(answer, Joined):
            if not answer.recovered:
                logger.debug("history of %s sent to %s: %d messages", room, self.user, len(answer.messages))
            self._say_joined(ref, room, answer)
        elif isinstance(answer, TrioChatError):
            # A later request may yet succeed, and who was in already still is.
            if self._rooms.get(room) is token and not self._is_in(room):
                del self._rooms[room]
                self._rooms_changed()
            self._refuse(ref, room, answer)

    def _is_in(self, room: str) -> bool:
        found = self._lobby.rooms.get(room)
        return found is not None and self in found.audience

    def _leave(self, room: str, *, activity: bool, ref: Ref = None) -> None:
        answer = partial(self._left, ref, room)
        if (found := self._lobby.rooms.get(room)) is not None:
            found.mail(Leave(self, activity, answer))
        else:
            answer(Done())

    def _left(self, ref: Ref, room: str, answer: Answer) -> None:
        if isinstance(answer, TrioChatError):
            self._refuse(ref, room, answer)
        else:
            self._say_left(ref, room)

    def _in_room(self, request: RoomRequest, identity: Identity) -> None:
        room = request.room
        match request:
            case LeaveRoom():
                del self._rooms[room]
                self._rooms_changed()
                self._leave(room, activity=True, ref=request.ref)
            case GetHistory():
                self._read_page(request)
            case _:
                limit = self._settings.max_message_bytes
                outlet = self._link.outlet if self.acknowledges_all or request.ref is not None else None
                done = partial(self._done, request.ref, room)
                self._lobby.mail(room, mail_of(request, identity, limit, done, outlet))

    def _done(self, ref: Ref, room: str, answer: Answer) -> None:
        if isinstance(answer, Accepted):
            self._say_accepted(ref, room, answer)
        elif isinstance(answer, TrioChatError):
            self._refuse(ref, room, answer)
        elif ref is not None:
            # What is no event has nothing to acknowledge but that it was done, to those who wait for that.
            self._say_done(ref, room)

    def _check_reading(self) -> None:
        """Refuse more history to a client that has not read what it got, so that it cannot fill the memory."""
        if self._link.behind:
            raise Unavailable("read the history you have asked for first, then repeat", ReplyCode.OVERLOADED)

    def _read_page(self, request: GetHistory) -> None:
        before = request.before.position() if request.before is not None else None
        if self._pages >= _PAGES:
            raise Unavailable(f"at most {_PAGES} pages at a time; wait for one", ReplyCode.OVERLOADED)
        self._check_reading()
        self._pages += 1
        self._link.start_soon(self._page, request, before)

    async def _page(self, request: GetHistory, before: Position | None) -> None:
        try:
            found = await self._lobby.history(request.room, before, request.limit)
            self._say_page(request.ref, request.room, found)
        except TrioChatError as error:
            self._refuse(request.ref, request.room, _without_places(error))
        finally:
            self._pages -= 1

    # --- refusals

    def _refuse(self, ref: Ref, room: str | None, error: TrioChatError) -> None:
        self._say_refused(ref, room, error)
        malformed = isinstance(error, BadRequest) and error.code is ReplyCode.BAD_REQUEST
        if malformed or self._identity is None:
            now = trio.current_time()
            self._bad.append(now)
            if len(self._bad) == _BAD_REQUESTS and now - self._bad[0] <= _BAD_SECONDS:
                self._link.close(CloseCode.BAD_REQUESTS, "too many malformed requests: mend the client")


def _without_places(error: TrioChatError) -> TrioChatError:
    """Return what a client may read of a failure: a store's own words may name hosts and roles."""
    if isinstance(error, BadRequest) or getattr(error, "code", None) is ReplyCode.OVERLOADED:
        return error
    logger.warning("a page of history could not be read: %s", error)
    return Unavailable("older messages cannot be read at the moment; try again shortly")
