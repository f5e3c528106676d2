"""One Engine.IO session that speaks Socket.IO: its packets, and the connect with which a client says who it is.

1. A session is connected to the namespace ``/`` or to none, over and over again if the client likes. Other namespaces
   do not exist.
2. Connecting is decided at once, but for a client that comes back: its rooms are looked up and joined first, and
   until then it is neither connected nor refused.
3. What breaks the protocol ends the session, as the reference server does it.

Source: the Socket.IO protocol, revision 5, "Connection to a namespace".
"""

from __future__ import annotations

import re
import secrets
from functools import partial
from typing import TYPE_CHECKING, Any, Final, assert_never
from urllib.parse import parse_qs

from typing_extensions import override

from trio_chat.clients import packets
from trio_chat.clients.bucket import Bucket
from trio_chat.clients.engine.terms import Parcel, parcel
from trio_chat.clients.offsets import FRESH, Offset, read_offset
from trio_chat.clients.socketio import PLAIN, SOCKET_IO
from trio_chat.clients.socketio_connection import SocketIOConnection
from trio_chat.errors import BadRequest, CloseCode, ReplyCode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trio_chat.clients.auth import Authenticator, Identity
    from trio_chat.clients.engine.session import EngineLink
    from trio_chat.clients.handshake import Request
    from trio_chat.clients.patience import Patience
    from trio_chat.clients.recovery import Recoveries, Recovery
    from trio_chat.clients.registry import Registry
    from trio_chat.lobby import Lobby

_SID_BYTES: Final = 15
_REFUSALS: Final = 5
# These know nothing of offsets, and hand each argument to the handler.
_WITHOUT: Final = re.compile(rb"python|dart", re.IGNORECASE)


class Hall:
    """What every conversation of this wire needs of the server. Lives as long as it."""

    def __init__(
        self,
        lobby: Lobby,
        authenticator: Authenticator,
        registry: Registry,
        recoveries: Recoveries,
        patience: Patience,
    ) -> None:
        self.lobby = lobby
        self.authenticator = authenticator
        self.registry = registry
        self.recoveries = recoveries
        self.patience = patience

    @override
    def __repr__(self) -> str:
        return f"<Hall {self.lobby!r} {self.registry!r} {self.recoveries!r}>"


class SocketIOConversation:
    """See the module. Lives as long as its link."""

    def __init__(self, link: EngineLink, hall: Hall) -> None:
        self._link = link
        self._hall = hall
        self._connection: SocketIOConnection | None = None
        self._connecting = False
        self._wire = SOCKET_IO if _recovers(link.request) else PLAIN
        self._bucket = Bucket(hall.lobby.settings.request_rate, hall.lobby.settings.request_burst)
        self._refusals = 0
        self._await_connect()

    @override
    def __repr__(self) -> str:
        state = "connecting" if self._connecting else self._connection or "not connected"
        return f"<SocketIOConversation {state} {self._link!r}>"

    # --- what the link calls

    def on_text(self, payload: bytes) -> None:
        """Take one packet."""
        try:
            self._take(packets.decode(payload))
        except packets.TooDeep as error:
            self._refuse_event(error)
        except BadRequest as error:
            self._link.close(CloseCode.PROTOCOL_ERROR, str(error))

    def on_closed(self) -> None:
        """Know that the client is gone; it may come back."""
        self._wait.done()
        if self._connection is not None:
            self._connection.lose()

    def _take(self, packet: packets.Packet) -> None:
        match packet:
            case packets.Event():
                if self._connection is None or self._connecting or packet.namespace != packets.MAIN:
                    raise BadRequest("expected a CONNECT to the namespace first")
                self._connection.on_event(packet)
            case packets.Connect():
                self._connect(packet)
            case packets.Disconnect():
                self._disconnect(packet)
            case packets.Ack():
                self._pay()  # nothing of ours asks for one
            case packets.ConnectError():
                raise BadRequest("only servers send CONNECT_ERROR")
            case _:
                assert_never(packet)

    def _refuse_event(self, error: packets.TooDeep) -> None:
        if self._connection is None or self._connecting:
            self._link.close(CloseCode.PROTOCOL_ERROR, str(error))
        else:
            self._connection.refuse_event(error.ack, error)

    # --- connecting

    def _await_connect(self) -> None:
        self._wait = self._hall.patience.begin(self._say_late)

    def _say_late(self) -> None:
        self._link.close(CloseCode.HELLO_TIMEOUT, "no CONNECT came in time")

    def _connect(self, packet: packets.Connect) -> None:
        if packet.namespace != packets.MAIN:
            self._refuse(packet.namespace, BadRequest("Invalid namespace"))
            return
        if self._connecting or self._connection is not None:
            raise BadRequest("this client is connected already")
        if not self._bucket.take():
            self._refuse(
                packets.MAIN, BadRequest("too many requests: wait, then connect", ReplyCode.RATE_LIMITED)
            )
            return
        auth = packet.auth or {}
        try:
            identity = self._authenticate(auth)
        except BadRequest as error:
            self._refuse(packets.MAIN, error)
            return
        pid, offset = auth.get("pid"), auth.get("offset")
        there = read_offset(offset) if isinstance(offset, str) else FRESH
        if self._wire.recovers and isinstance(pid, str) and there is not None:
            self._connecting = True
            self._wait.done()
            self._link.start_soon(self._come_back, identity, pid, there)
        else:
            self._begin(identity)

    def _authenticate(self, auth: Mapping[str, Any]) -> Identity:
        authenticator = self._hall.authenticator
        token, user = auth.get("token"), auth.get("userId")
        insecure = self._hall.lobby.settings.auth_mode == "insecure"
        if insecure and isinstance(user, str):
            return authenticator.insecure(user)
        if insecure and token is None:
            raise BadRequest("auth.userId: expected the user's id, a string", ReplyCode.UNAUTHORIZED)
        if not isinstance(token, str):
            token = self._link.request.bearer or ""
        return authenticator.authenticate(token)

    def _begin(self, identity: Identity) -> None:
        """Connect a client that was in no rooms, as far as is known."""
        recovery = self._hall.recoveries.begin(identity.user)
        connection = self._seat(identity, recovery)
        if connection is None:
            self._hall.recoveries.end(recovery)
            self._refuse_another()
            return
        # In one piece: a client that is cut off in between would come back under its new name from an old place.
        self._link.offer(self._greeting(recovery).then(connection.welcome()))

    async def _come_back(self, identity: Identity, pid: str, offset: Offset) -> None:
        """Look a client's rooms up and put it back into them. Cancelled when the link ends."""
        recovery = await self._hall.recoveries.find(pid, identity.user)
        if recovery is not None and recovery.holder is not None:
            recovery.holder.give_way()
        if recovery is None or not recovery.rooms:
            # With no rooms nothing can be recovered, and the client had better join as if it were new.
            if recovery is not None:
                self._hall.recoveries.end(recovery)
            self._connecting = False
            self._begin(identity)
            return
        connection = self._seat(identity, recovery)
        if connection is None:
            self._connecting = False
            self._hall.recoveries.note_away(recovery)
            self._refuse_another()
            return
        connection.come_back(identity, offset, partial(self._came_back, identity, connection))

    def _came_back(self, identity: Identity, connection: SocketIOConnection, recovered: bool) -> None:
        self._connecting = False
        if recovered:
            self._link.offer(self._greeting(connection.recovery))
            connection.catch_up()
        else:
            self._hall.recoveries.end(connection.recovery)
            self._connection = None
            self._begin(identity)

    def _seat(self, identity: Identity, recovery: Recovery) -> SocketIOConnection | None:
        """Return the client's connection; None if its user has as many as allowed."""
        hall = self._hall
        connection = SocketIOConnection(
            self._link,
            hall.lobby,
            hall.registry,
            hall.recoveries,
            recovery,
            authenticator=hall.authenticator,
            bucket=self._bucket,
            wire=self._wire,
        )
        if not connection.enter(identity):
            return None
        self._connection = connection
        self._wait.done()
        return connection

    def _greeting(self, recovery: Recovery) -> Parcel:
        pid = recovery.pid if self._wire.recovers else None
        return parcel([packets.connect(secrets.token_urlsafe(_SID_BYTES), pid)])

    def _disconnect(self, packet: packets.Disconnect) -> None:
        if packet.namespace != packets.MAIN:
            self._pay()
            return
        if self._connection is None:
            if self._connecting:
                raise BadRequest("expected no DISCONNECT before CONNECT is answered")
            return
        connection, self._connection = self._connection, None
        self._connecting = False
        connection.leave()
        self._await_connect()

    def _pay(self) -> None:
        """Let what is ignored cost as much as a request, or there could be any amount of it."""
        if not self._bucket.take() and self._bucket.broke:
            self._link.close(CloseCode.RATE_LIMITED, "too many packets: wait, come back and resume")

    # --- refusing

    def _refuse_another(self) -> None:
        if self._wait.late is None:
            # It was looked up meanwhile, and has its time to connect again.
            self._await_connect()
        text = "this user has as many connections as allowed: end one, or wait"
        self._refuse(packets.MAIN, BadRequest(text, ReplyCode.TOO_MANY_CONNECTIONS))

    def _refuse(self, namespace: str, error: BadRequest) -> None:
        detail = {"code": error.code, "temporary": error.code.temporary}
        self._link.offer(parcel([packets.connect_error(namespace, str(error), detail)]))
        self._refusals += 1
        if self._refusals == _REFUSALS:
            self._link.close(CloseCode.UNAUTHORIZED, "refused too often")


def _recovers(request: Request) -> bool:
    """Whether a client can come back: it says so, or it is of a library that can bear offsets."""
    asked = parse_qs(request.query).get("recovery")
    if asked:
        return asked[-1] not in {"0", "false"}
    return _WITHOUT.search(request.headers.get(b"user-agent", b"")) is None
