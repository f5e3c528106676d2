"""A client that says anything, however wrong, over a blocking socket. It shares no code with the server."""

from __future__ import annotations

import json
import os
import socket
import struct
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

ANSWER = 1.0
"""Seconds within which the server must answer."""

PATHS = {"native": "/ws", "socketio": "/socket.io/?EIO=4&transport=websocket"}
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
HEADERS = {
    "Host": "server",
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": KEY,
}

TEXT, BINARY, CLOSE, PING, PONG = 0x81, 0x82, 0x88, 0x89, 0x8A


def handshake(
    path: str = "/ws", line: str = "GET {} HTTP/1.1", body: bytes = b"", **headers: str | None
) -> bytes:
    """Return a proper handshake with some headers changed or added (underscores stand for hyphens) or left out (None)."""
    changed = {**HEADERS, **{name.replace("_", "-"): value for name, value in headers.items()}}
    lines = [
        line.replace("{}", path),
        *(f"{name}: {value}" for name, value in changed.items() if value is not None),
    ]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def frame(first: int, payload: bytes = b"", *, mask: bytes | None = b"\x0f\x1e\x2d\x3c") -> bytes:
    """Return one frame of a client; `first` is FIN, reserved bits and opcode."""
    size, flag = len(payload), 0 if mask is None else 0x80
    if size < 126:
        head = struct.pack("!BB", first, flag | size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", first, flag | 126, size)
    else:
        head = struct.pack("!BBQ", first, flag | 127, size)
    if mask is None:
        return head + payload
    return head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


def text(said: str | bytes | Mapping[str, Any]) -> bytes:
    """Return a text message in one frame; an object as JSON."""
    if isinstance(said, Mapping):
        said = json.dumps(said)
    return frame(TEXT, said.encode() if isinstance(said, str) else said)


@dataclass(frozen=True)
class Closed:
    """The server has closed. `code` is None if its Close frame has none, 1006 if there was no such frame."""

    code: int | None
    reason: str = ""


class Peer:
    """One connection. Lives as long as its block; what it waits for must come within `ANSWER`."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._held = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Send as much as the server takes."""
        with suppress(ConnectionError):
            self._socket.sendall(data)

    def send_eof(self) -> None:
        """Say that nothing more will come."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def _receive(self, deadline: float) -> bytes:
        """Return the next bytes, b"" at the end."""
        self._socket.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            return self._socket.recv(65_536)
        except ConnectionError:
            return b""

    def rest(self, within: float = ANSWER) -> bytes:
        """Return everything up to the end."""
        deadline = time.monotonic() + within
        while data := self._receive(deadline):
            self._held += data
        held, self._held = self._held, b""
        return held

    def status(self, within: float = ANSWER) -> int:
        """Return the status of the one HTTP response that comes; 0 if the connection ends without any."""
        deadline = time.monotonic() + within
        while b"\r\n\r\n" not in self._held:
            data = self._receive(deadline)
            if not data:
                assert not self._held
                return 0
            self._held += data
        head = self.head()
        assert head.startswith(b"HTTP/1.1 "), head
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        if fields.get(b"connection") == b"close":
            assert len(self.rest(within)) == int(fields[b"content-length"])
        return int(head[9:12])

    def head(self, within: float = ANSWER) -> bytes:
        """Return the head of a response."""
        deadline = time.monotonic() + within
        while b"\r\n\r\n" not in self._held:
            data = self._receive(deadline)
            assert data, self._held
            self._held += data
        head, _, self._held = self._held.partition(b"\r\n\r\n")
        return head

    def hear(self, within: float = ANSWER) -> bytes | Closed:
        """Return the next text, or how the connection was closed, which is answered. Pings and pongs are passed over."""
        deadline = time.monotonic() + within
        while (found := self._frame()) is None or found[0] in {PING, PONG}:
            if found is None:
                data = self._receive(deadline)
                if not data:
                    return Closed(1006)
                self._held += data
        first, payload = found
        if first == TEXT:
            return payload
        assert first == CLOSE, found
        self.send(frame(CLOSE, payload))
        if not payload:
            return Closed(None)
        return Closed(int.from_bytes(payload[:2], "big"), payload[2:].decode())

    def _frame(self) -> tuple[int, bytes] | None:
        start = 2
        if len(self._held) < start:
            return None
        size = self._held[1]
        assert size < 128, "servers do not mask"
        if size > 125:
            start = 4 if size == 126 else 10
            if len(self._held) < start:
                return None
            size = int.from_bytes(self._held[2:start], "big")
        if len(self._held) < start + size:
            return None
        first, payload = self._held[0], self._held[start : start + size]
        self._held = self._held[start + size :]
        return first, payload

    def hear_all(self, within: float = ANSWER) -> Iterator[bytes | Closed]:
        """Yield everything up to the end, that included."""
        while True:
            heard = self.hear(within)
            yield heard
            if isinstance(heard, Closed):
                return

    def end(self, within: float = ANSWER) -> Closed:
        """Return how the connection was closed, whatever is said before, and see the stream end."""
        *_, closed = self.hear_all(within)
        assert isinstance(closed, Closed)
        if closed.code != 1006:
            assert self.rest(within) == b"", "the server spoke after its Close"
        return closed

    def shake_hands(self, path: str, **headers: str | None) -> None:
        """Open the WebSocket."""
        self.send(handshake(path, **headers))
        head = self.head()
        assert head.startswith(b"HTTP/1.1 101 "), head

    def say(self, said: str | bytes | Mapping[str, Any]) -> None:
        """Send a text."""
        self.send(text(said))


class Native(Peer):
    """A client of the native wire."""

    def enter(self, token: str, *rooms: str) -> None:
        """Shake hands, say hello, join rooms."""
        self.shake_hands(PATHS["native"])
        self.say({"type": "hello", "token": token})
        self.expect("welcome")
        for room in rooms:
            self.say({"type": "room:join", "room": room})
            self.expect("presence:list")

    def next(self) -> dict[str, Any]:
        """Return the next object. Who comes and goes is passed over: there is no telling when the others hear it."""
        while True:
            heard = self.hear()
            assert isinstance(heard, bytes), heard
            said: dict[str, Any] = json.loads(heard)
            if said["type"] != "presence:update":
                return said

    def expect(self, kind: str) -> dict[str, Any]:
        """Return the next object of this type, whatever comes before."""
        while (said := self.next())["type"] != kind:
            pass
        return said

    def echo(self) -> None:
        """Ask whether the server is there, and expect nothing but the answer."""
        ref = os.urandom(4).hex()
        self.say({"type": "heartbeat", "ref": ref})

        assert self.next() == {"type": "heartbeat", "ref": ref}


class SocketIO(Peer):
    """A client of the Socket.IO wire, over a WebSocket."""

    def open(self) -> None:
        """Shake hands and hear the terms."""
        self.shake_hands(PATHS["socketio"])
        heard = self.hear()
        assert isinstance(heard, bytes), heard
        assert heard.startswith(b"0{"), heard

    def enter(self, token: str, *rooms: str) -> None:
        """Open a session, connect, join rooms."""
        self.open()
        self.say("40" + json.dumps({"token": token}))
        self.expect("welcome")
        for room in rooms:
            self.say("42" + json.dumps(["room:join", room]))
            self.expect("presence:list")

    def packet(self) -> str:
        """Return the next packet. Pings are answered; who comes and goes is passed over."""
        while True:
            heard = self.hear()
            assert isinstance(heard, bytes), heard
            if heard == b"2":
                self.say("3")
            elif not heard.startswith(b'42["presence:update"'):
                return heard.decode()

    def expect(self, name: str) -> list[Any]:
        """Return the arguments of the next event of this name, whatever comes before."""
        while True:
            packet = self.packet()
            if packet.startswith("42["):
                event, *args = json.loads(packet[2:])
                if event == name:
                    return args

    def answer(self, number: int) -> dict[str, Any]:
        """Return an acknowledgement, whatever comes before."""
        mark = f"43{number}"
        while not (packet := self.packet()).startswith(mark):
            pass
        (answer,) = json.loads(packet[len(mark) :])
        assert isinstance(answer, dict)
        return answer

    def echo(self) -> None:
        """Ask whether the server is there, and expect nothing but the answer."""
        self.say('42["heartbeat"]')

        assert self.packet().startswith('42["heartbeat"')


PEERS: dict[str, type[Native | SocketIO]] = {"native": Native, "socketio": SocketIO}
