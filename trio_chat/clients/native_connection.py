"""A client of the native wire: says hello first, then one JSON object a request.

Before `hello` nothing is done for anybody, and little is read.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from trio_chat.clients import native
from trio_chat.clients.connection import Connection
from trio_chat.clients.native import NATIVE, NativeVoice, NativeWire
from trio_chat.clients.native_requests import decode, ref_of
from trio_chat.clients.vocabulary import Hello, Ref, Request, room_of
from trio_chat.errors import BadRequest, CloseCode, ReplyCode, TrioChatError, Unavailable

if TYPE_CHECKING:
    from trio_chat.clients.auth import Authenticator, Identity
    from trio_chat.clients.patience import Patience, Wait
    from trio_chat.clients.registry import Registry
    from trio_chat.clients.transport import Link
    from trio_chat.lobby import Lobby
    from trio_chat.mail import Accepted, Hear, Joined
    from trio_chat.paging import Page

# A hello with the longest token, and room to spare.
_HELLO_BYTES = 16_384


class NativeConnection(Connection["Link"]):
    """See the module. Lives as long as its link."""

    acknowledges_all: ClassVar[bool] = True

    def __init__(
        self,
        link: Link,
        lobby: Lobby,
        authenticator: Authenticator,
        registry: Registry,
        patience: Patience,
    ) -> None:
        super().__init__(link, lobby, authenticator, registry)
        self._wait: Wait | None = None
        if (token := link.request.bearer) is not None:
            self._hello(Hello(token=token))
        else:
            link.limit_messages(_HELLO_BYTES)
            self._wait = patience.begin(self._say_late)

    @property
    @override
    def wire(self) -> NativeWire:
        """The native wire."""
        return NATIVE

    @property
    @override
    def hear(self) -> Hear:
        """The link's own way out: parcels are ready frames."""
        return self._link.offer

    # --- what the link calls

    def on_text(self, payload: bytes) -> None:
        """Take one request."""
        try:
            request = decode(payload)
        except BadRequest as error:
            self._refuse(ref_of(payload), None, error)
            return
        try:
            self._hear_request(request)
        except (BadRequest, Unavailable) as error:
            self._refuse(request.ref, room_of(request), error)

    def on_closed(self) -> None:
        """Leave every room."""
        self._stop_waiting()
        self._depart(activity=False)

    def _hear_request(self, request: Request) -> None:
        if isinstance(request, Hello):
            if self._identity is not None:
                raise BadRequest("hello: this connection has said hello already")
            self._hello(request)
        elif self._identity is None:
            raise BadRequest("expected hello first", ReplyCode.UNAUTHORIZED)
        elif self._afford():
            self._take(request, self._identity)

    # --- hello

    def _say_late(self) -> None:
        self._link.close(CloseCode.HELLO_TIMEOUT, "no hello came in time")

    def _stop_waiting(self) -> None:
        if self._wait is not None:
            self._wait.done()
            self._wait = None

    def _hello(self, hello: Hello) -> None:
        try:
            identity = self._authenticate(hello)
        except BadRequest as error:
            self._link.offer(native.error(hello.ref, None, error))
            self._link.close(CloseCode.UNAUTHORIZED, str(error))
            return
        if not self._enter(identity):
            self._link.close(CloseCode.TOO_MANY_CONNECTIONS, "this user has as many connections as allowed")
            return
        self._stop_waiting()
        self._link.limit_messages(self._settings.max_message_bytes)
        self._link.offer(
            native.welcome(hello.ref, identity.user, secrets.token_hex(8), self._promise(), self._limits())
        )

    def _authenticate(self, hello: Hello) -> Identity:
        if self._settings.auth_mode == "insecure" and hello.user is not None:
            return self._authenticator.insecure(hello.user)
        return self._authenticator.authenticate(hello.token or "")

    # --- answers

    @override
    def _say_joined(self, ref: Ref, room: str, joined: Joined) -> None:
        if isinstance(joined.voice, NativeVoice):
            self._link.offer(joined.voice.joined(ref, joined), exempt=True)

    @override
    def _say_left(self, ref: Ref, room: str) -> None:
        self._link.offer(native.left(ref, room))

    @override
    def _say_accepted(self, ref: Ref, room: str, accepted: Accepted) -> None:
        self._link.offer(native.ack(ref, room, accepted))

    @override
    def _say_done(self, ref: Ref, room: str) -> None:
        self._link.offer(native.done(ref, room))

    @override
    def _say_page(self, ref: Ref, room: str, page: Page) -> None:
        self._link.offer(native.page(ref, room, page), exempt=True)

    @override
    def _say_heartbeat(self, ref: Ref) -> None:
        self._link.offer(native.heartbeat(ref))

    @override
    def _say_refreshed(self, ref: Ref, identity: Identity) -> None:
        self._link.offer(native.refreshed(ref, identity.expires_at))

    @override
    def _say_refused(self, ref: Ref, room: str | None, error: TrioChatError) -> None:
        self._link.offer(native.error(ref, room, error))
