"""One client: authenticate, take requests, leave.

1. Every method is synchronous: a request becomes mail, its answer comes back as a callback. The reader never waits
   for a room; the one exception, reading the archive, is a task of the connection.
2. Before `hello` nothing is done for anybody, and little is read. Afterwards each request costs a token of the
   bucket; an empty bucket refuses, and who goes on regardless is disconnected.
3. A room is named in every request, and it must be one this connection has joined with its own identity.
4. A connection is one member of each of its rooms.
"""

from __future__ import annotations

import logging
import secrets
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, assert_never

import trio
from typing_extensions import override

from trio_chat.clients import native
from trio_chat.clients.bucket import Bucket
from trio_chat.clients.native import NATIVE, NativeVoice, NativeWire
from trio_chat.clients.vocabulary import (
    DeleteMessage,
    EditMessage,
    GetHistory,
    Heartbeat,
    Hello,
    JoinRoom,
    LeaveRoom,
    Ref,
    Request,
    RoomRequest,
    SendMessage,
    StartTyping,
    StopTyping,
    UpdateReceipt,
)
from trio_chat.errors import BadRequest, CloseCode, ReplyCode, TrioChatError, Unavailable
from trio_chat.mail import Accepted, Answer, Delete, Done, Edit, Join, Joined, Leave, Post, Read, Type
from trio_chat.message import check_content, check_metadata, check_role

if TYPE_CHECKING:
    from trio_chat.clients.auth import Authenticator, Identity
    from trio_chat.clients.registry import Registry
    from trio_chat.clients.transport import Link
    from trio_chat.lobby import Lobby
    from trio_chat.message import Position

logger = logging.getLogger(__name__)

_BAD_REQUESTS = 5
_BAD_SECONDS = 10.0
# A hello with the longest token, and room to spare.
_HELLO_BYTES = 16_384
# How many pages of history one connection may be reading at once.
_PAGES = 4


class Connection:
    """See the module. Lives as long as its link."""

    def __init__(self, link: Link, lobby: Lobby, authenticator: Authenticator, registry: Registry) -> None:
        self._link = link
        self._lobby = lobby
        self._authenticator = authenticator
        self._registry = registry
        self._settings = lobby.settings
        self._identity: Identity | None = None
        self._rooms: set[str] = set()
        self._bad: deque[float] = deque(maxlen=_BAD_REQUESTS)
        self._bucket = Bucket(self._settings.request_rate, self._settings.request_burst)
        self._pages = 0
        self._greeted = trio.Event()
        header = link.request.headers.get(b"authorization", b"")
        if header[:7].lower() == b"bearer ":
            self._hello(Hello(token=header[7:].strip().decode("latin-1")))
        else:
            link.start_soon(self._expect_hello)

    @override
    def __repr__(self) -> str:
        who = self._identity.user if self._identity else "nobody"
        return f"<Connection of {who} rooms={len(self._rooms)} {self._link!r}>"

    # --- what rooms see: a member

    @property
    def user(self) -> str:
        """Who this is."""
        assert self._identity is not None  # noqa: S101 - nobody joins before hello
        return self._identity.user

    @property
    def wire(self) -> NativeWire:
        """The native wire."""
        return NATIVE

    def hear(self, parcel: bytes, *, droppable: bool) -> None:
        """Send what a room says."""
        self._link.offer(parcel, droppable=droppable)

    def put_out(self, room: str) -> None:
        """Forget a room that has put this connection out."""
        self._rooms.discard(room)

    # --- what the link calls

    def on_text(self, payload: bytes) -> None:
        """Take one request."""
        if self._identity is None and len(payload) > _HELLO_BYTES:
            self._refuse(None, None, BadRequest(f"expected hello first, of at most {_HELLO_BYTES} bytes"))
            return
        try:
            request = native.decode(payload)
        except BadRequest as error:
            self._refuse(native.ref_of(payload), None, error)
            return
        try:
            self._take(request)
        except (BadRequest, Unavailable) as error:
            room = None if isinstance(request, (Hello, Heartbeat)) else request.room
            self._refuse(request.ref, room, error)

    def on_closed(self) -> None:
        """Leave every room."""
        self._greeted.set()
        for room in self._rooms:
            self._leave(room, activity=False)
        self._rooms.clear()
        if self._identity is not None:
            self._registry.leave(self._identity.user, self)

    def token_expired(self) -> None:
        """End the connection: its token has expired."""
        self._link.close(
            CloseCode.TOKEN_EXPIRED, "the token has expired: come back with a fresh one and resume"
        )

    # --- hello

    async def _expect_hello(self) -> None:
        with trio.move_on_after(self._settings.hello_timeout):
            await self._greeted.wait()
        if not self._greeted.is_set():
            self._link.close(CloseCode.HELLO_TIMEOUT, "no hello came in time")

    def _hello(self, hello: Hello) -> None:
        try:
            identity = self._authenticate(hello)
        except BadRequest as error:
            self._link.offer(native.error(hello.ref, None, error))
            self._link.close(CloseCode.UNAUTHORIZED, str(error))
            return
        if not self._registry.enter(identity.user, self, identity.expires_at):
            self._link.close(CloseCode.TOO_MANY_CONNECTIONS, "this user has as many connections as allowed")
            return
        self._identity = identity
        self._greeted.set()
        durability = self._lobby.hot.durability if self._lobby.hot.healthy else "memory"
        self._link.offer(
            native.welcome(hello.ref, identity.user, secrets.token_hex(8), durability, self._limits())
        )

    def _authenticate(self, hello: Hello) -> Identity:
        if self._settings.auth_mode == "insecure" and hello.user is not None:
            return self._authenticator.insecure(hello.user)
        return self._authenticator.authenticate(hello.token or "")

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

    # --- requests

    def _take(self, request: Request) -> None:
        if isinstance(request, Hello):
            if self._identity is not None:
                raise BadRequest("hello: this connection has said hello already")
            self._hello(request)
            return
        if self._identity is None:
            raise BadRequest("expected hello first", ReplyCode.UNAUTHORIZED)
        if not self._bucket.take():
            self._slow_down()
            return
        match request:
            case Heartbeat():
                self._link.offer(native.heartbeat(request.ref))
            case JoinRoom():
                self._join(request, self._identity)
            case _:
                if request.room not in self._rooms:
                    raise BadRequest("room: join it first", ReplyCode.NOT_JOINED)
                self._in_room(request, self._identity)

    def _slow_down(self) -> None:
        if self._bucket.broke:
            self._link.close(CloseCode.RATE_LIMITED, "too many requests: wait, come back and resume")
            return
        slower = f"at most {self._settings.request_rate:g} requests a second; wait, then repeat"
        raise Unavailable(slower, ReplyCode.RATE_LIMITED)

    def _join(self, request: JoinRoom, identity: Identity) -> None:
        room = request.room
        if room in self._rooms:
            raise BadRequest("room: this connection is in it already", ReplyCode.ALREADY_JOINED)
        if not identity.may_join(room):
            raise BadRequest("room: not yours to join", ReplyCode.FORBIDDEN)
        limit = self._settings.max_rooms_per_connection
        if limit and len(self._rooms) >= limit:
            raise BadRequest(f"room: at most {limit} rooms a connection; leave one", ReplyCode.TOO_MANY_ROOMS)
        self._check_reading()
        resume = request.resume.position() if request.resume is not None else None
        self._lobby.mail(room, Join(self, resume, partial(self._joined, request.ref, room)))
        self._rooms.add(room)

    def _joined(self, ref: Ref, room: str, answer: Answer) -> None:
        if isinstance(answer, Joined) and isinstance(answer.voice, NativeVoice):
            logger.info("history of %s sent to %s: %d messages", room, self.user, len(answer.messages))
            self._link.offer(answer.voice.joined(ref, answer), exempt=True)
        elif isinstance(answer, TrioChatError):
            self._rooms.discard(room)
            self._refuse(ref, room, answer)

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
            self._link.offer(native.left(ref, room))

    def _in_room(self, request: RoomRequest, identity: Identity) -> None:
        room, user, moderator = request.room, identity.user, identity.may_moderate
        done = partial(self._done, request.ref, room)
        match request:
            case SendMessage():
                self._send(request, identity)
            case EditMessage(id=name):
                content, metadata = self._content(request.content), self._metadata(request.metadata)
                self._lobby.mail(room, Edit(user, moderator, name, content, metadata, done))
            case DeleteMessage(id=name):
                self._lobby.mail(room, Delete(user, moderator, name, done))
            case StartTyping():
                self._lobby.mail(room, Type(user, True, done))
            case StopTyping():
                self._lobby.mail(room, Type(user, False, done))
            case UpdateReceipt():
                self._lobby.mail(room, Read(user, request.message_id, done))
            case LeaveRoom():
                self._rooms.discard(room)
                self._leave(room, activity=True, ref=request.ref)
            case GetHistory():
                self._read_page(request)
            case _:
                assert_never(request)

    def _send(self, request: SendMessage, identity: Identity) -> None:
        role = check_role(request.role)
        if not identity.may_post_as(role):
            raise BadRequest(f"role: this token may not post as {role}", ReplyCode.FORBIDDEN)
        post = Post(
            user=identity.user,
            role=role,
            content=self._content(request.content),
            metadata=self._metadata(request.metadata) or {},
            key=request.id,
            answer=partial(self._done, request.ref, request.room),
        )
        self._lobby.mail(request.room, post)

    def _content(self, content: str) -> str:
        return check_content(content, self._settings.max_message_bytes)

    def _metadata(self, metadata: dict[str, Any] | None) -> dict[str, Any] | None:
        return None if metadata is None else check_metadata(metadata, self._settings.max_message_bytes)

    def _done(self, ref: Ref, room: str, answer: Answer) -> None:
        if isinstance(answer, Accepted):
            self._link.offer(native.ack(ref, room, answer))
        elif isinstance(answer, TrioChatError):
            self._refuse(ref, room, answer)
        elif ref is not None:
            # What is no event has nothing to acknowledge but that it was done, to those who wait for that.
            self._link.offer(native.done(ref, room))

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
            self._link.offer(native.page(request.ref, request.room, found), exempt=True)
        except TrioChatError as error:
            self._refuse(request.ref, request.room, _without_places(error))
        finally:
            self._pages -= 1

    # --- refusals

    def _refuse(self, ref: Ref, room: str | None, error: TrioChatError) -> None:
        self._link.offer(native.error(ref, room, error))
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
