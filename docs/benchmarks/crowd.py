"""A light client: thousands of members in one process, who count what they hear.

1. A member is a plain socket. What comes is cut into WebSocket frames (RFC 6455, section 5.2) and otherwise not
   read: a frame with `message:new` near its beginning is a delivery. Pings are answered.
2. A message carries the moment it was *due*, not the moment it was sent. So a client or server that falls behind
   shows up in the latency, and is not left out of it.
3. All members share one process and one CPU. Where that process was busy more than about 70 % of the time, latencies
   are the client's as much as the server's; `Heard.client_busy` says how busy it was.
"""

from __future__ import annotations

import gc
import itertools
import json
import select
import socket
import struct
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness import percentile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_REQUEST = (
    "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
_MASK = b"\x37\xfa\x21\x3d"
_AT_ONCE = 50
_PATIENCE = 20
_HEAD = 2
_SHORT, _LONG = 126, 127
_TEXT, _CLOSE, _PING = 0x81, 0x88, 0x89


class Native:
    """How members speak the native wire."""

    path = "/ws"
    welcomed = b'"welcome"'
    joined = b'"room:joined"'

    def hello(self, user: str) -> bytes:
        """Return what a member says first."""
        return json.dumps({"type": "hello", "user": user}).encode()

    def join(self, room: str) -> bytes:
        """Return how a member enters a room."""
        return json.dumps({"type": "room:join", "room": room}).encode()

    def post(self, room: str, content: str) -> bytes:
        """Return how a member says something."""
        return json.dumps({"type": "message:send", "room": room, "content": content}).encode()


class SocketIO:
    """How members speak the Socket.IO wire."""

    path = "/socket.io/?EIO=4&transport=websocket"
    welcomed = b'40{"sid"'
    joined = b'"messages:history"'

    def hello(self, user: str) -> bytes:
        """Return what a member says first."""
        return b"40" + json.dumps({"userId": user}).encode()

    def join(self, room: str) -> bytes:
        """Return how a member enters a room."""
        return b"42" + json.dumps(["room:join", room]).encode()

    def post(self, room: str, content: str) -> bytes:
        """Return how a member says something."""
        return (
            b"42"
            + json.dumps(["message:send", {"teamId": room, "content": content, "type": "user"}]).encode()
        )


WIRES = {"native": Native(), "socketio": SocketIO()}


@dataclass
class Heard:
    """What a crowd heard of a load. Times are in seconds, `latencies` by the moment the message was due."""

    messages: int
    deliveries: int
    seconds: float
    client_busy: float
    latencies: list[tuple[float, float]] = field(repr=False)

    def spread(self, begin: float = float("-inf"), end: float = float("inf")) -> dict[str, float]:
        """Return p50, p99 and the longest latency, in ms, of messages that were due in a stretch of time."""
        chosen = sorted(late for due, late in self.latencies if begin <= due < end)
        if not chosen:
            return {}
        named = {"p50_ms": 0.5, "p99_ms": 0.99, "max_ms": 1.0}
        return {name: 1000 * percentile(chosen, share) for name, share in named.items()}


class Member:
    """One client, in any number of rooms."""

    def __init__(self, port: int, user: str) -> None:
        self.user = user
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rest = b""

    def say(self, payload: bytes, opcode: int = _TEXT) -> None:
        """Send one masked frame."""
        size = len(payload)
        head = (
            bytes([opcode, 0x80 | size])
            if size < _SHORT
            else struct.pack("!BBH", opcode, 0x80 | _SHORT, size)
        )
        key = (_MASK * (size // 4 + 1))[:size]
        masked = (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")
        self.socket.sendall(head + _MASK + masked)

    def frames(self, data: bytes) -> list[bytes]:
        """Return the payloads of the text frames that these bytes complete, and answer pings."""
        data, at, found = self.rest + data, 0, []
        while len(data) >= at + _HEAD:
            size, start = data[at + 1], at + _HEAD
            if size == _SHORT:
                size, start = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
            elif size == _LONG:
                size, start = int.from_bytes(data[at + 2 : at + 10], "big"), at + 10
            if len(data) < start + size:
                break
            opcode, at = data[at], start + size
            payload = data[start:at]
            if opcode == _PING:
                self.say(payload, 0x8A)
            elif opcode == _CLOSE:
                raise SystemExit(f"the server closed the connection of {self.user}: {payload[2:]!r}")
            elif payload == b"2":
                self.say(b"3")
            else:
                found.append(payload)
        self.rest = data[at:]
        return found


class Crowd:
    """Members, and what they hear. Lives as long as its sockets: until `close`.

    Args:
        port: where the server listens.
        wire: one of `WIRES`.
    """

    def __init__(self, port: int, wire: str = "native") -> None:
        self.wire: Any = WIRES[wire]
        self.members: list[Member] = []
        self._port = port
        self._poll = select.epoll()
        self._by_descriptor: dict[int, Member] = {}

    def close(self) -> None:
        """Disconnect everybody."""
        self._poll.close()
        for member in self.members:
            member.socket.close()

    def enter(self, places: Sequence[Sequence[str]]) -> None:
        """Connect one new member for each list of rooms, and let it join these. Returns when all have joined."""
        for start in range(0, len(places), _AT_ONCE):
            some = places[start : start + _AT_ONCE]
            first = len(self.members)
            members = [Member(self._port, f"u{first + number}") for number in range(len(some))]
            for member in members:
                member.socket.sendall(_REQUEST.format(path=self.wire.path).encode())
            for member in members:
                self._shake_hands(member)
            self._say_and_wait(members, lambda member: [self.wire.hello(member.user)], self.wire.welcomed)
            rooms = {member.user: where for member, where in zip(members, some, strict=True)}
            self._say_and_wait(
                members, lambda member, rooms=rooms: map(self.wire.join, rooms[member.user]), self.wire.joined
            )

    def _shake_hands(self, member: Member) -> None:
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += member.socket.recv(4096) or b"closed\r\n\r\n"
        head, _, member.rest = answer.partition(b"\r\n\r\n")
        if b" 101 " not in head:
            raise SystemExit(f"the server refused a connection: {head!r}")
        member.socket.setblocking(False)
        self.members.append(member)
        self._by_descriptor[member.socket.fileno()] = member
        self._poll.register(member.socket.fileno(), select.EPOLLIN)

    def _say_and_wait(self, members: Sequence[Member], words: Callable[..., Any], answer: bytes) -> None:
        wanted = 0
        for member in members:
            for payload in words(member):
                member.say(payload)
                wanted += 1
        found = [answer in payload[:200] for member in members for payload in member.frames(b"")]
        wanted -= sum(found)
        until = time.monotonic() + 30
        while wanted > 0:
            if time.monotonic() > until:
                raise SystemExit(f"nobody answers: {answer.decode()} is still missing {wanted} times")
            for _, payloads in self.hear(1.0):
                wanted -= sum(answer in payload[:200] for payload in payloads)

    def hear(self, patience: float) -> list[tuple[Member, list[bytes]]]:
        """Return what some members hear next, within this many seconds."""
        heard = []
        for descriptor, _ in self._poll.poll(patience, 256):
            member = self._by_descriptor[descriptor]
            data = member.socket.recv(65536)
            if not data:
                raise SystemExit(f"the server dropped the connection of {member.user}")
            heard.append((member, member.frames(data)))
        return heard

    def settle(self, seconds: float = 1.0) -> None:
        """Hear, and forget, whatever comes within this time."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.hear(left)

    def load(
        self,
        speakers: Sequence[tuple[Member, str, int]],
        rate: float,
        *,
        messages: int = 0,
        size: int = 200,
        enough: Callable[[], bool] = lambda: False,
    ) -> Heard:
        """Let speakers speak in turn, at an even rate, and return what everybody heard.

        Args:
            speakers: who says something, in which room, and how many members of that room hear it.
            rate: messages a second, over all speakers.
            messages: how many messages; 0 for as many as fit until `enough` says so.
            size: characters of a message.
            enough: asked before each message.
        """
        gc.collect()
        gc.disable()
        turns = itertools.cycle(speakers)
        latencies: list[tuple[float, float]] = []
        sent = expected = 0
        busy, began = time.process_time(), time.monotonic()
        last = began + 0.01
        while True:
            over = (messages and sent >= messages) or enough()
            now = time.monotonic()
            while not over and last <= now:
                member, room, hearers = next(turns)
                member.say(self.wire.post(room, f"@{last:.6f}@".ljust(size, "x")))
                sent, expected, last = sent + 1, expected + hearers, last + 1 / rate
                over = messages and sent >= messages
            if over and len(latencies) >= expected:
                break
            if now - last > _PATIENCE:
                raise SystemExit(f"gave up: {len(latencies)} of {expected} deliveries came in time")
            for _, payloads in self.hear(0.05 if over else max(0.0, last - time.monotonic())):
                now = time.monotonic()
                for payload in payloads:
                    if b"message:new" in payload[:40]:
                        stamp = payload.index(b'"@') + 2
                        due = float(payload[stamp : payload.index(b"@", stamp)])
                        latencies.append((due, now - due))
        seconds = time.monotonic() - began
        gc.enable()
        return Heard(sent, len(latencies), seconds, (time.process_time() - busy) / seconds, latencies)
