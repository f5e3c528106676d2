"""A Socket.IO server that echoes, on our transport and codec, for the protocol's official test suite.

Not part of the product. Run it with ``python tests/clients/echo_socketio.py`` and the suite against it; see
`docs/socketio.md`. The suite wants a second namespace and events with binary attachments; the product refuses both, so
they are added here.
"""

from __future__ import annotations

import re
import secrets

import msgspec
import trio
from echo_engineio import binary_parcel, main

from trio_chat.clients import packets
from trio_chat.clients.engine.server import EngineLink, parcel
from trio_chat.errors import BadRequest, CloseCode

NAMESPACES = {"/", "/custom"}
CONNECT_TIMEOUT = 1.0

_ATTACHED = re.compile(rb"5(\d{1,2})-(.*)", re.DOTALL)
_encode = msgspec.json.Encoder().encode


class SocketEcho:
    """Lets clients into two namespaces and says back what it hears there."""

    def __init__(self, link: EngineLink) -> None:
        self.link = link
        self.joined: set[str] = set()
        self.pending: bytes | None = None
        self.missing = 0
        self.attachments: list[bytes] = []
        link.start_soon(self.expect_connect)

    async def expect_connect(self) -> None:
        """End the session of a client that enters no namespace."""
        await trio.sleep(CONNECT_TIMEOUT)
        if not self.joined:
            self.link.close(CloseCode.HELLO_TIMEOUT)

    def on_text(self, payload: bytes) -> None:
        """Take a packet; one that is none ends the session."""
        attached = _ATTACHED.fullmatch(payload)
        try:
            if attached is None:
                self.take(packets.decode(payload))
            else:
                self.pending, self.missing = b"2" + attached[2], int(attached[1])
        except BadRequest as error:
            self.link.close(CloseCode.PROTOCOL_ERROR, str(error))

    def on_binary(self, payload: bytes) -> None:
        """Take an attachment of the event before."""
        self.attachments.append(payload)
        if self.pending is not None and len(self.attachments) == self.missing:
            self.take(packets.decode(self.pending))
            self.pending = None
            self.attachments = []

    def on_closed(self) -> None:
        """Do nothing."""

    def take(self, packet: packets.Packet) -> None:
        """Answer a packet."""
        match packet:
            case packets.Connect(namespace=namespace) if namespace not in NAMESPACES:
                self.link.offer(parcel([packets.connect_error(namespace, "Invalid namespace")]))
            case packets.Connect(namespace=namespace, auth=auth):
                self.joined.add(namespace)
                self.say(namespace, packets.connect(secrets.token_urlsafe(15)))
                self.say(namespace, packets.event("auth", _encode(auth or {})))
            case packets.Disconnect(namespace=namespace):
                self.joined.discard(namespace)
            case packets.Event(name="message", args=args, namespace=namespace):
                self.say(namespace, packets.event("message-back", *map(_encode, args)))
            case packets.Event(name="message-with-ack", args=args, ack=int(ack), namespace=namespace):
                self.say(namespace, packets.ack(ack, *map(_encode, args)))
            case _:
                pass

    def say(self, namespace: str, packet: bytes) -> None:
        """Send a packet in a namespace, and with it the attachments that came."""
        kind, rest = packet[:1], packet[1:]
        if self.attachments:
            kind = b"%d%d-" % (int(kind) + 3, len(self.attachments))
        where = b"" if namespace == packets.MAIN else namespace.encode() + b","
        self.link.offer(parcel([kind + where + rest]))
        for attachment in self.attachments:
            self.link.offer(binary_parcel(attachment))


if __name__ == "__main__":
    main(SocketEcho, "/socket.io/")
