"""Clients of every wire with one interface. They share no code with the server.

`Client` is what a test talks to, in words of no wire; `Native` and `SocketIO` translate. A client reads only while it
waits for something, for at most `PATIENCE`. What rooms say it hears in order, and each expectation is about the very
next thing it has heard: what a test does not expect fails it.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import trio
from typing_extensions import override
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.uri import parse_uri

PATIENCE = 8
"""Seconds after which a test that waits for the other side has failed."""


class Refused(Exception):
    """The server has refused a request, or to let somebody in."""

    def __init__(self, code: str, text: str, temporary: bool) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text
        self.temporary = temporary


class Ended(Exception):
    """The server has ended the connection."""

    def __init__(self, code: int | None) -> None:
        super().__init__(code)
        self.code = code
        """The close code; None where the transport has none."""


@dataclass(frozen=True)
class Heard:
    """What a room has said. `room` is "" where the wire does not name it."""

    kind: str
    room: str
    about: dict[str, Any]


@dataclass
class Entered:
    """What somebody gets to know who joins a room, or comes back to it."""

    recovered: bool = False
    epoch: str = ""
    seq: int = 0
    durability: str = ""
    members: list[str] = field(default_factory=list)
    messages: list[dict[str, Any]] = field(default_factory=list)
    receipts: dict[str, dict[str, Any]] | None = None
    presence: dict[str, dict[str, Any]] | None = None

    @property
    def contents(self) -> list[str]:
        """The window, as texts."""
        return [message["content"] for message in self.messages]


# --- what carries texts


class WebSocket:
    """A WebSocket. Lives until either side ends it."""

    def __init__(self, stream: trio.SocketStream, url: str) -> None:
        self._stream = stream
        self._protocol = ClientProtocol(parse_uri(url), max_size=None)

    @classmethod
    async def open(cls, url: str) -> WebSocket:
        """Connect and shake hands."""
        place = urlsplit(url)
        carrier = cls(await trio.open_tcp_stream(place.hostname or "", place.port or 80), url)
        carrier._protocol.send_request(carrier._protocol.connect())
        await carrier._flush()
        await carrier.receive()
        return carrier

    async def send(self, text: str) -> None:
        """Send a text."""
        self._protocol.send_text(text.encode())
        await self._flush()

    async def receive(self) -> list[str]:
        """Return the texts that come next, if any. Raises `Ended`."""
        try:
            data = await self._stream.receive_some()
        except trio.BrokenResourceError:
            data = b""
        if data:
            self._protocol.receive_data(data)
        events = self._protocol.events_received()
        await self._flush()
        texts = [
            bytes(event.data).decode()
            for event in events
            if isinstance(event, Frame) and event.opcode is Opcode.TEXT
        ]
        # The texts first: the next call finds the end again.
        if not texts and (not data or self._protocol.close_rcvd is not None):
            close = self._protocol.close_rcvd
            raise Ended(close.code if close is not None else 1006)
        return texts

    async def cut(self) -> None:
        """Lose the connection."""
        self.drop()
        await trio.lowlevel.checkpoint()

    def drop(self) -> None:
        """Lose the connection, at once."""
        self._stream.socket.close()

    async def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            try:
                if data:
                    await self._stream.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return


class Polling:
    """Engine.IO by HTTP requests, each over a connection of its own. Lives until either side ends it."""

    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        self._host, self._port = place.hostname or "", place.port or 80
        self._target = f"{place.path}?EIO=4&transport=polling"
        self._over = False

    @classmethod
    async def open(cls, url: str) -> Polling:
        """Begin a session."""
        carrier = cls(url)
        (text,) = await carrier.receive()
        carrier._target += f"&sid={json.loads(text[1:])['sid']}"
        return carrier

    async def send(self, text: str) -> None:
        """Send a text. If it is not taken, that is the end, which `receive` raises."""
        try:
            await self._request("POST", text.encode())
        except Ended:
            self._over = True

    async def receive(self) -> list[str]:
        """Return the texts that come next. Raises `Ended`."""
        if self._over:
            raise Ended(None)
        return (await self._request("GET")).decode().split("\x1e")

    async def cut(self) -> None:
        """Lose a request in the middle, if anybody is there to take it."""
        with suppress(OSError):
            stream = await self._begin("GET")
            await trio.aclose_forcefully(stream)

    def drop(self) -> None:
        """Be gone; no request is on its way."""

    async def _begin(self, method: str, body: bytes = b"") -> trio.SocketStream:
        stream = await trio.open_tcp_stream(self._host, self._port)
        head = (
            f"{method} {self._target} HTTP/1.1\r\nHost: server\r\nConnection: close\r\n"
            f"Content-Type: text/plain;charset=UTF-8\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        await stream.send_all(head.encode() + body)
        return stream

    async def _request(self, method: str, body: bytes = b"") -> bytes:
        async with await self._begin(method, body) as stream:
            answer = b"".join([part async for part in stream])
        head, _, said = answer.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 "):
            raise Ended(None)
        return said


Carrier = WebSocket | Polling


# --- clients


class Client(ABC):
    """A client and what it knows of its rooms. Lives through reconnects.

    Args:
        user: who.
        url: where.
        token: lets it in; may be replaced by a fresh one.
        opening: makes the carrier.

    Attributes:
        heard: what rooms have said and no expectation was about yet.
        order: the kinds of everything that has arrived since the last connect, answers included.
        rooms: those it is in, from the joins to the leaves.
    """

    def __init__(
        self, user: str, url: str, token: str, opening: Callable[[str], Coroutine[Any, Any, Carrier]]
    ) -> None:
        self.user = user
        self.token = token
        self.heard: deque[Heard] = deque()
        self.order: list[str] = []
        self.rooms: list[str] = []
        self._url = url
        self._opening = opening
        self._carrier: Carrier | None = None
        self._forsaken: list[Carrier] = []
        self._shown: dict[str, dict[str, dict[str, Any]]] = {}
        self._answers: dict[int, dict[str, Any] | Refused] = {}
        self._entering: dict[str, Entered] = {}
        self._refs = 0

    @override
    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.user} heard={list(self.heard)}>"

    # --- coming and going

    @abstractmethod
    async def connect(self) -> None:
        """Connect, and be let in. Raises `Refused` or `Ended`."""

    @abstractmethod
    async def come_back(self) -> dict[str, Entered]:
        """Connect anew, and be in the same rooms again. What was missed is heard."""

    @abstractmethod
    async def close(self) -> None:
        """Go for good."""

    async def cut(self) -> None:
        """Lose the connection."""
        if self._carrier is not None:
            await self._carrier.cut()
            self._carrier = None

    def forsake(self) -> None:
        """Lose the connection in such a way that the server cannot know."""
        if self._carrier is not None:
            self._forsaken.append(self._carrier)
            self._carrier = None

    def drop(self) -> None:
        """Be gone, at once."""
        self.forsake()
        for carrier in self._forsaken:
            carrier.drop()

    async def _open(self) -> None:
        await self.cut()
        self.order.clear()
        self._carrier = await self._opening(self._url)

    # --- requests

    async def join(self, room: str) -> Entered:
        """Join a room."""
        return await self._enter(room)

    async def leave(self, room: str) -> None:
        """Leave a room."""
        await self._ask("room:leave", room=room)
        self.rooms.remove(room)

    async def send(self, room: str, content: str, **fields: Any) -> dict[str, Any]:
        """Post a message; return the ack."""
        return await self._ask("message:send", room=room, content=content, **fields)

    async def edit(self, room: str, message: str, content: str, **fields: Any) -> dict[str, Any]:
        """Edit a message; return the ack."""
        return await self._ask("message:edit", room=room, id=message, content=content, **fields)

    async def delete(self, room: str, message: str) -> dict[str, Any]:
        """Delete a message; return the ack."""
        return await self._ask("message:delete", room=room, id=message)

    async def type(self, room: str, active: bool = True) -> None:
        """Say that one types, or has stopped."""
        await self._ask("typing:start" if active else "typing:stop", room=room)

    async def read(self, room: str, message: str) -> None:
        """Say how far one has read."""
        await self._ask("receipt:update", room=room, lastReadMessageId=message)

    async def touch(self, room: str) -> None:
        """Say that one is still here."""
        await self._ask("presence:heartbeat", room=room)

    async def heartbeat(self) -> None:
        """Ask whether the server is there."""
        await self._ask("heartbeat")

    async def page(self, room: str, **fields: Any) -> dict[str, Any]:
        """Read a page of history."""
        return await self._ask("history:get", room=room, **fields)

    async def say(self, kind: str, **fields: Any) -> None:
        """Make a request without asking for an answer."""
        await self._say(kind, fields, None)

    async def _ask(self, kind: str, **fields: Any) -> dict[str, Any]:
        self._refs += 1
        ref = self._refs
        await self._say(kind, fields, ref)
        await self._until(lambda: ref in self._answers)
        answer = self._answers.pop(ref)
        if isinstance(answer, Refused):
            raise answer
        return answer

    async def _enter(self, room: str, **fields: Any) -> Entered:
        entered = self._entering[room] = Entered()
        answer = await self._ask("room:join", room=room, **fields)
        for name in ("recovered", "epoch", "seq", "durability", "members"):
            setattr(entered, name, answer[name])
        if room not in self.rooms:
            self.rooms.append(room)
        return await self._entered(room)

    async def _entered(self, room: str) -> Entered:
        entered = self._entering[room]
        await self._until(lambda: entered.presence is not None)
        return self._entering.pop(room)

    # --- what comes

    @abstractmethod
    async def _say(self, kind: str, fields: dict[str, Any], ref: int | None) -> None: ...

    @abstractmethod
    async def _take(self, text: str) -> None: ...

    async def _until(self, ready: Callable[[], bool]) -> None:
        with trio.fail_after(PATIENCE):
            while not ready():
                if self._carrier is None:
                    raise AssertionError("it is not connected")
                for text in await self._carrier.receive():
                    await self._take(text)

    def _answer(self, ref: int, answer: dict[str, Any] | Refused) -> None:
        self._answers[ref] = answer
        self.order.append("answer")

    def _hear(self, kind: str, room: str, **about: Any) -> None:
        self.heard.append(Heard(kind, room, about))
        self.order.append(kind)

    def _know(self, room: str) -> Entered:
        """Return what is being learned of a room."""
        return self._entering.setdefault(room, Entered())

    def shown(self, room: str) -> list[str]:
        """Return what a front end shows of the room."""
        return [message["content"] for message in self._shown[room].values()]

    # --- expectations

    async def hear(self) -> Heard:
        """Return the next thing a room says."""
        await self._until(lambda: bool(self.heard))
        return self.heard.popleft()

    async def expect(self, kind: str, room: str, **about: Any) -> dict[str, Any]:
        """Expect this of the room next; return all that it says about it."""
        heard = await self.hear()
        told = {name: heard.about.get(name) for name in about}
        if heard.kind != kind or heard.room not in {room, ""} or told != about:
            raise AssertionError(f"{self.user} expected {kind} in {room} with {about}, heard {heard}")
        return heard.about

    async def expect_message(self, room: str, content: str, **about: Any) -> dict[str, Any]:
        """Expect a new message."""
        return await self.expect("message", room, content=content, **about)

    async def expect_update(self, room: str, message: str, content: str, **about: Any) -> dict[str, Any]:
        """Expect an edit."""
        return await self.expect("update", room, id=message, content=content, **about)

    async def expect_delete(self, room: str, message: str) -> None:
        """Expect a deletion."""
        await self.expect("delete", room, id=message)

    async def expect_typing(self, room: str, user: str, active: bool = True) -> None:
        """Expect somebody to type, or to have stopped."""
        await self.expect("typing", room, user=user, active=active)

    async def expect_presence(self, room: str, user: str, active: bool = True) -> datetime:
        """Expect somebody to be here, or to have gone; return when they last did something."""
        last: datetime = (await self.expect("presence", room, user=user, active=active))["last_active"]
        return last

    async def expect_receipt(self, room: str, user: str, message: str) -> dict[str, Any]:
        """Expect somebody to have read up to a message."""
        return await self.expect("receipt", room, user=user, id=message)

    async def expect_nothing(self) -> None:
        """Expect that nothing has been said that is not answered for."""
        await self.heartbeat()
        if self.heard:
            raise AssertionError(f"{self.user} expected nothing, heard {list(self.heard)}")

    async def expect_refused(self, code: str, request: Coroutine[Any, Any, object]) -> Refused:
        """Expect a request to be refused."""
        try:
            answer = await request
        except Refused as refused:
            if refused.code == code:
                return refused
            raise
        raise AssertionError(f"{self.user} expected {code}, was answered {answer}")

    async def expect_end(self, code: int) -> None:
        """Expect the server to end the connection, with this close code if the transport has any."""
        found = await self._end()
        await self.cut()
        if found not in {code, None}:
            raise AssertionError(f"{self.user} expected the end with {code}, got {found}")

    async def _end(self) -> int | None:
        try:
            await self._until(lambda: False)
        except Ended as ended:
            return ended.code
        raise AssertionError("it waited for nothing")


class Native(Client):
    """A client of the native wire, following the rules of its page."""

    _positions: dict[str, dict[str, Any]]
    _firsts: dict[str, int]
    _welcomed = False

    @override
    async def connect(self) -> None:
        """See `Client`."""
        self._positions, self._firsts = {}, {}
        await self._greet()

    async def _greet(self) -> None:
        self._welcomed = False
        await self._open()
        self._refs += 1
        ref = self._refs
        await self._say("hello", {"token": self.token}, ref)
        await self._until(lambda: self._welcomed or ref in self._answers)
        answer = self._answers.pop(ref, None)
        if isinstance(answer, Refused):
            raise answer

    @override
    async def come_back(self) -> dict[str, Entered]:
        """See `Client`."""
        await self.cut()
        await self._greet()
        return {room: await self._enter(room, resume=self._positions[room]) for room in self.rooms}

    @override
    async def close(self) -> None:
        """See `Client`."""
        await self.cut()

    @override
    async def _say(self, kind: str, fields: dict[str, Any], ref: int | None) -> None:
        if self._carrier is not None:
            said = {"type": kind, **fields} if ref is None else {"type": kind, **fields, "ref": ref}
            await self._carrier.send(_json(said))

    @override
    async def _take(self, text: str) -> None:
        said = json.loads(text)
        kind, room, ref = said["type"], said.get("room", ""), said.get("ref")
        if kind == "welcome":
            self._welcomed = True
        elif kind == "error" and ref is not None:
            self._answer(ref, Refused(said["code"], said["message"], said["temporary"]))
        elif ref is not None:
            if kind == "room:joined":
                self._firsts[room] = said["first"]
            self._answer(ref, {**said, "messages": list(map(_native_message, said.get("messages", ())))})
        elif kind in {"messages:history", "room:live", "receipt:list", "presence:list"}:
            self._learn(kind, room, said)
        else:
            self._follow(kind, room, said)
        if kind in {"messages:history", "room:live", "message:new", "message:update", "message:delete"}:
            self._positions[room] = {"epoch": said["epoch"], "seq": said["seq"]}

    def _learn(self, kind: str, room: str, said: dict[str, Any]) -> None:
        known = self._know(room)
        match kind:
            case "messages:history":
                known.messages = list(map(_native_message, said["messages"]))
                self._shown[room] = {message["id"]: message for message in known.messages}
            case "room:live":
                for name, message in list(self._shown[room].items()):
                    if message["seq"] < self._firsts[room]:
                        del self._shown[room][name]
            case "receipt:list":
                known.receipts = {user: _receipt(user, one) for user, one in said["receipts"].items()}
            case _:
                known.presence = {one["userId"]: _presence(one) for one in said["members"]}

    def _follow(self, kind: str, room: str, said: dict[str, Any]) -> None:
        match kind:
            case "message:new" | "message:update":
                message = _native_message(said["message"])
                shown = {**self._shown[room], message["id"]: message}
                self._shown[room] = dict(sorted(shown.items(), key=lambda one: one[1]["seq"]))
                self._hear("message" if kind == "message:new" else "update", room, **message)
            case "message:delete":
                self._shown[room].pop(said["id"], None)
                self._hear("delete", room, id=said["id"])
            case "typing:start" | "typing:stop":
                self._hear("typing", room, user=said["userId"], active=kind == "typing:start")
            case "receipt:update":
                self._hear("receipt", room, **_receipt(said["userId"], said))
            case "presence:update":
                self._hear("presence", room, **_presence(said))
            case "session:expired":
                self._shown[room].clear()
                self._hear("expired", room, epoch=said["epoch"])
            case "error":
                self._hear("error", room, code=said["code"], temporary=said["temporary"])
            case "room:left":
                pass  # the error before it said why
            case _:
                raise AssertionError(f"{self.user} heard {said}")


class SocketIO(Client):
    """A client of the Socket.IO wire, which comes back as socket.io-client does."""

    _pid = ""
    _offset = ""
    _entry: dict[str, Any] | Refused | None = None

    @override
    async def connect(self) -> None:
        """See `Client`."""
        await self._open()
        await self._greet({})

    async def _greet(self, back: Mapping[str, str]) -> bool:
        """Connect to the namespace; return whether the server has put this client back into its rooms."""
        self._entry = None
        await self._packet(f"40{_json({'token': self.token, **back})}")
        await self._until(lambda: self._entry is not None)
        if isinstance(self._entry, Refused):
            raise self._entry
        assert self._entry is not None
        pid, self._pid = self._pid, self._entry["pid"]
        return pid == self._pid

    @override
    async def come_back(self) -> dict[str, Entered]:
        """See `Client`."""
        await self.cut()
        await self._open()
        if not await self._greet({"pid": self._pid, "offset": self._offset}):
            return {room: await self._enter(room) for room in self.rooms}
        for room in self.rooms:
            self._know(room).recovered = True
        return {room: await self._entered(room) for room in self.rooms}

    @override
    async def close(self) -> None:
        """See `Client`."""
        if self._carrier is not None:
            await self._packet("41")
            await self.cut()

    @override
    async def _say(self, kind: str, fields: dict[str, Any], ref: int | None) -> None:
        await self._packet(f"42{'' if ref is None else ref}{_json([kind, *_arguments(kind, fields)])}")

    async def _packet(self, text: str) -> None:
        if self._carrier is not None:
            await self._carrier.send(text)

    @override
    async def _take(self, text: str) -> None:
        match text[:1], text[1:2]:
            case "1", _:
                raise Ended(None)
            case "2", _:
                await self._packet("3")
            case "4", "0":
                self._entry = json.loads(text[2:])
            case "4", "4":
                error = json.loads(text[2:])
                self._entry = Refused(error["data"]["code"], error["message"], error["data"]["temporary"])
            case "4", "3":
                start = text.index("[")
                self._acknowledged(int(text[2:start]), *json.loads(text[start:]))
            case "4", "2":
                name, *args = json.loads(text[2:])
                self._event(name, args)
            case (("0" | "6"), _):
                pass
            case _:
                raise AssertionError(f"{self.user} heard {text}")

    def _acknowledged(self, ref: int, answer: dict[str, Any]) -> None:
        if answer["ok"]:
            messages = list(map(_socketio_message, answer.get("messages", ())))
            self._answer(ref, {**answer, "messages": messages})
        else:
            error = answer["error"]
            self._answer(ref, Refused(error["code"], error["message"], error["temporary"]))

    def _event(self, name: str, args: list[Any]) -> None:
        if args and isinstance(args[-1], str):
            self._offset = args.pop()
        if name in {"messages:history", "receipt:list", "presence:list"}:
            self._learn(name, args[1]["teamId"], args[0])
        elif name == "message:delete":
            for shown in self._shown.values():
                shown.pop(args[0], None)
            self._hear("delete", "", id=args[0])
        elif name == "room:error":
            detail = args[1]
            self._hear("error", detail.get("teamId", ""), code=detail["code"], temporary=detail["temporary"])
        elif name not in {"welcome", "room:left"}:
            self._follow(name, args[0]["teamId"], args[0])

    def _learn(self, name: str, room: str, about: Any) -> None:
        known = self._know(room)
        match name:
            case "messages:history":
                known.messages = list(map(_socketio_message, about))
                self._shown[room] = {message["id"]: message for message in known.messages}
            case "receipt:list":
                known.receipts = {user: _receipt(user, one) for user, one in about.items()}
            case _:
                known.presence = {user: _presence({"userId": user, **one}) for user, one in about.items()}

    def _follow(self, name: str, room: str, about: dict[str, Any]) -> None:
        match name:
            case "message:new":
                message = _socketio_message(about)
                if message["id"] in self._shown[room]:
                    raise AssertionError(f"{self.user} was told twice of {message}")
                self._shown[room][message["id"]] = message
                self._hear("message", room, **message)
            case "message:update":
                change = {name: about[name] for name in ("id", "content", "metadata")}
                self._shown[room][about["id"]] |= change
                self._hear("update", room, **change)
            case "typing:start" | "typing:stop":
                self._hear("typing", room, user=about["userId"], active=name == "typing:start")
            case "receipt:update":
                self._hear("receipt", room, **_receipt(about["userId"], about))
            case "presence:update":
                self._hear("presence", room, **_presence(about))
            case "session:expired":
                self._shown[room].clear()
                self._hear("expired", room, epoch=about["epoch"])
            case _:
                raise AssertionError(f"{self.user} heard {name} {about}")


CLIENTS: dict[str, Callable[[str, str, str], Client]] = {
    "native": lambda user, port, token: Native(user, f"ws://127.0.0.1:{port}/ws", token, WebSocket.open),
    "socketio": lambda user, port, token: SocketIO(
        user, f"ws://127.0.0.1:{port}/socket.io/?EIO=4&transport=websocket", token, WebSocket.open
    ),
    "polling": lambda user, port, token: SocketIO(
        user, f"http://127.0.0.1:{port}/socket.io/", token, Polling.open
    ),
}
"""What makes a client, by wire: of a user, a port and a token."""


# --- one form for what the wires say


def _arguments(kind: str, fields: dict[str, Any]) -> list[Any]:
    """Return what a request takes over Socket.IO."""
    named = {{"room": "teamId", "role": "type"}.get(name, name): value for name, value in fields.items()}
    match kind:
        case "message:send" | "receipt:update" | "history:get":
            return [named]
        case "message:edit":
            return [named["id"], named["content"], *([named["metadata"]] if "metadata" in named else [])]
        case "message:delete":
            return [named["id"]]
        case "heartbeat":
            return []
        case "token:refresh":
            return [named["token"]]
        case _:
            return [named["teamId"]]


def _native_message(said: dict[str, Any]) -> dict[str, Any]:
    return {**_message(said), "role": said["role"], "seq": said["seq"]}


def _socketio_message(said: dict[str, Any]) -> dict[str, Any]:
    return {**_message(said), "role": said["type"]}


def _message(said: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": said["id"],
        "content": said["content"],
        "user": said["userId"],
        "metadata": said["metadata"],
        "timestamp": _time(said["timestamp"]),
        **({"epoch": said["epoch"]} if "epoch" in said else {}),
    }


def _receipt(user: str, said: dict[str, Any]) -> dict[str, Any]:
    return {"user": user, "id": said["lastReadMessageId"], "timestamp": _time(said["timestamp"])}


def _presence(said: dict[str, Any]) -> dict[str, Any]:
    return {
        "user": said["userId"],
        "active": said["isActive"],
        "last_active": _time(said["lastActiveAt"]),
    }


_time: Callable[[str], datetime] = partial(datetime.fromisoformat)
_json: Callable[[object], str] = partial(json.dumps, ensure_ascii=False)
