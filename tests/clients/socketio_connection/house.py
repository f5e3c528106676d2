"""One Socket.IO client and the server's side of it, over a link that only takes notes.

The client's side is python-socketio's reader and what `socket.io-client` does with pid and offset. Where time passes,
it is virtual.
"""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING, Any, cast

import msgspec
import socketio.packet
import trio
from socketio.packet import Packet as TheirPacket
from trio.testing import wait_all_tasks_blocked
from typing_extensions import override

from tests.clients.lobby_house import LobbyHouse
from trio_chat.clients import packets
from trio_chat.clients.frames import text_frame
from trio_chat.clients.handshake import Request
from trio_chat.clients.offsets import read_offset
from trio_chat.clients.recovery import Recoveries
from trio_chat.clients.socketio_conversation import Hall, SocketIOConversation
from trio_chat.errors import CloseCode, ReplyCode
from trio_chat.testing.frames import unframe

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio_chat.clients.engine.server import EngineLink
    from trio_chat.clients.engine.terms import Parcel
    from trio_chat.stores.memory import Moment


LISTS = ["receipt:list", "presence:list"]
TOO_DEEP = "2" + "[" * 50 + "]" * 50


class FakeLink:
    """A session's link that takes everything, notes it, and ends the talk as the real one does: later, by a task.

    Attributes:
        websocket: whether a WebSocket carries the session, rather than polling.
    """

    websocket = True

    def __init__(self, nursery: trio.Nursery, query: str, headers: dict[bytes, bytes]) -> None:
        self.request = Request("/socket.io/", query, headers, "somebody", False)
        self.said: deque[TheirPacket] = deque()
        self.pieces = 0
        """In how many it was sent."""
        self.droppable: list[bool] = []
        self.closed: tuple[int, str] | None = None
        self.behind = False
        self.outlet = None
        self.send_frames = self._send_frames if self.websocket else None
        self.conversation: SocketIOConversation | None = None
        self._nursery = nursery
        self._tasks: set[trio.CancelScope] = set()

    def __repr__(self) -> str:
        return "<FakeLink>"

    def offer(self, parcel: Parcel, droppable: bool = False, exempt: bool = False) -> None:
        """Note what is sent."""
        assert b"".join(map(text_frame, parcel.packets)) == parcel.frames
        self.pieces += 1
        for packet in parcel.packets:
            self._note(packet, droppable)

    def _send_frames(self, frames: bytes, droppable: bool = False, exempt: bool = False) -> None:
        buffer = bytearray(frames)
        while (frame := unframe(buffer)) is not None:
            self._note(frame[1], droppable)
        assert not buffer

    def _note(self, packet: bytes, droppable: bool) -> None:
        assert packet[:1] == b"4"
        if self.closed is None:
            self.said.append(TheirPacket(encoded_packet=packet[1:].decode()))
            self.droppable.append(droppable)

    def close(self, code: int, reason: str = "") -> None:
        """Note why it ends, and end its tasks."""
        if self.closed is None:
            self.closed = (code, reason)
            for scope in self._tasks:
                scope.cancel()
            if not self._tasks:
                self._nursery.start_soon(self._tell)

    async def _tell(self) -> None:
        assert self.conversation is not None
        self.conversation.on_closed()

    def start_soon(self, fn: Callable[..., Awaitable[object]], *args: object) -> None:
        """Start a task of the session."""
        if self.closed is None:
            scope = trio.CancelScope()
            self._tasks.add(scope)
            self._nursery.start_soon(self._contain, scope, fn, args)

    async def _contain(self, scope: trio.CancelScope, fn: Any, args: tuple[object, ...]) -> None:
        with scope:
            await fn(*args)
        self._tasks.discard(scope)
        if self.closed is not None and not self._tasks:
            await self._tell()


class Client:
    """A client as `socket.io-client` is one: it keeps its pid and the last offset through reconnects.

    Everything is settled before it listens. It has *heard* what a test has taken from its link, and no more.
    """

    def __init__(self, house: House, query: str, headers: dict[bytes, bytes], auth: dict[str, Any]) -> None:
        self.auth = auth
        self.plain = False
        """Whether it is one that keeps neither pid nor offset."""
        self.pid: str | None = None
        self.offset: str | None = None
        self.recovered = False
        self._house = house
        self._query = query
        self._headers = headers
        self.dial()

    def dial(self) -> FakeLink:
        """Begin a session without a word. Returns its link; the one before is left as it is."""
        self.link = FakeLink(self._house.nursery, self._query, self._headers)
        self.conversation = SocketIOConversation(cast("EngineLink", self.link), self._house.hall)
        self.link.conversation = self.conversation
        return self.link

    def say(self, text: str) -> None:
        """Send a packet."""
        if self.link.closed is None:
            self.conversation.on_text(text.encode())

    def ask_to_connect(self) -> None:
        """Send CONNECT."""
        back = {"pid": self.pid, "offset": self.offset} if self.pid is not None else {}
        auth = {name: value for name, value in (back | self.auth).items() if value is not None}
        self.say("0" + (json.dumps(auth) if auth else ""))

    def emit(self, name: str, *args: Any, ack: int | None = None) -> None:
        """Send an event."""
        self.say(packets.event(name, *map(msgspec.json.encode, args), ack=ack).decode())

    async def next(self, packet_type: int) -> TheirPacket:
        """Return the next packet, which is of this type."""
        await wait_all_tasks_blocked()
        assert self.link.said, f"heard nothing; closed: {self.link.closed}"
        packet = self.link.said.popleft()
        assert packet.packet_type == packet_type, packet.encode()
        if packet_type == socketio.packet.EVENT and isinstance(packet.data[-1], str):
            self.offset = packet.data[-1]
        return packet

    async def expect(self, name: str, *args: Any) -> list[Any]:
        """Return the arguments of the next event, which has this name and begins with these arguments."""
        packet = await self.next(socketio.packet.EVENT)
        assert packet.data[: 1 + len(args)] == [name, *args]
        said: list[Any] = packet.data[1:]
        return said

    async def expect_ack(self, number: int, **fields: Any) -> dict[str, Any]:
        """Return what the next acknowledgement says, which has this number and these fields."""
        packet = await self.next(socketio.packet.ACK)
        assert packet.id == number
        (answer,) = packet.data
        assert {name: answer.get(name) for name in fields} == fields
        return dict(answer)

    async def expect_refused(self, number: int, code: ReplyCode) -> None:
        """Expect an acknowledgement that says no."""
        answer = await self.expect_ack(number, ok=False)
        assert answer["error"]["code"] == code
        assert answer["error"]["temporary"] is code.temporary
        assert answer["error"]["message"]

    async def expect_connected(self) -> None:
        """Expect the answer to CONNECT."""
        said = (await self.next(socketio.packet.CONNECT)).data
        if self.plain:
            assert list(said) == ["sid"]
            return
        assert said["sid"] != said["pid"]
        self.recovered = self.pid == said["pid"]
        self.pid = said["pid"]

    async def expect_connect_error(self, code: ReplyCode, namespace: str = "/") -> str:
        """Expect CONNECT to be refused; return the text."""
        packet = await self.next(socketio.packet.CONNECT_ERROR)
        assert (packet.namespace or "/") == namespace
        assert packet.data["data"] == {"code": code, "temporary": code.temporary}
        text: str = packet.data["message"]
        return text

    async def expect_nothing(self) -> None:
        """Expect silence."""
        await wait_all_tasks_blocked()
        assert [packet.data for packet in self.link.said] == []

    async def expect_closed(self, code: CloseCode) -> None:
        """Expect the session to end."""
        await wait_all_tasks_blocked()
        assert self.link.closed is not None, self.link.said
        assert self.link.closed[0] == code, self.link.closed

    async def connect(self) -> Client:
        """Connect as somebody new."""
        self.ask_to_connect()
        await self.expect_connected()
        assert not self.recovered
        await self.expect("welcome")
        return self

    async def join(self, room: str = "r") -> list[dict[str, Any]]:
        """Join and hear everything that comes with it; return the messages."""
        self.emit("room:join", room)
        messages: list[dict[str, Any]] = (await self.expect("messages:history"))[0]
        for name in LISTS:
            await self.expect(name)
        return messages

    async def hear(self) -> list[tuple[str, Any]]:
        """Hear everything there is, and return the names of events and their first arguments."""
        await wait_all_tasks_blocked()
        heard: list[tuple[str, Any]] = []
        while self.link.said:
            if self.link.said[0].packet_type == socketio.packet.EVENT:
                packet = await self.next(socketio.packet.EVENT)
                heard.append((packet.data[0], packet.data[1]))
            else:
                heard.append(("ack", self.link.said.popleft().data[0]))
        return heard

    async def texts(self) -> list[str]:
        """Hear everything there is, and return the new messages' texts."""
        return [said["content"] for name, said in await self.hear() if name == "message:new"]

    async def hang_up(self) -> None:
        """Lose the connection: what was not heard yet never arrives."""
        self.link.close(1006)
        self.link.said.clear()
        await wait_all_tasks_blocked()

    def come_back(self) -> FakeLink:
        """Ask to connect on a new session, as the client that was there before. Returns the old link."""
        old = self.link
        self.dial()
        self.ask_to_connect()
        return old

    async def recover(self) -> list[tuple[str, Any]]:
        """Lose the connection, come back, be recovered; return what was heard."""
        await self.hang_up()
        self.come_back()
        await self.expect_connected()
        assert self.recovered
        return await self.hear()

    @property
    def places(self) -> dict[str, int]:
        """Where the client is in its rooms, by its offset."""
        there = read_offset(self.offset or "")
        assert there is not None
        places = {room: place.seq for room in "arst" if (place := there.place(room)) is not None}
        assert there.names(places)
        return places


class House(LobbyHouse):
    """A server without its sockets, over memory stores that outlive it."""

    @override
    async def start(self) -> None:
        """Begin a process."""
        await super().start()
        self.recoveries = Recoveries(self.hot, self.settings.session_expiry_seconds)
        self.hall = Hall(self.lobby, self.authenticator, self.registry, self.recoveries, self.patience)

    def call(self, auth: dict[str, Any] | None = None, query: str = "", **headers: str) -> Client:
        """Begin a session without a word."""
        named = {name.lower().replace("_", "-").encode(): text.encode() for name, text in headers.items()}
        return Client(self, query, named, auth or {})

    def call_plain(self, user: str = "ada") -> Client:
        """Begin a session of a client that cannot come back."""
        client = self.call({"userId": user}, "EIO=4&recovery=0")
        client.plain = True
        return client

    async def connect(self, user: str = "ada", *rooms: str) -> Client:
        """Connect a client, and let it join rooms."""
        client = await self.call({"userId": user}).connect()
        for room in rooms:
            await client.join(room)
        return client

    async def post(self, *texts: str, room: str = "r", user: str = "bob") -> None:
        """Post messages as somebody who comes in for that and goes again."""
        async with self.lobby.join(room, user=user) as seat:
            for text in texts:
                await seat.post(text)

    def users_in(self, room: str) -> set[str]:
        """Return who is in a room."""
        found = self.lobby.rooms.get(room)
        return {member.user for member in found.audience} if found else set()

    def members_of(self, room: str) -> int:
        """Return how many members a room has."""
        return len(self.lobby.rooms[room].audience)


class Gate:
    """Lets the first call of a name to a store wait until it is opened."""

    def __init__(self, store: Any, name: str) -> None:
        self.reached = False
        self._opened = trio.Event()
        self._name: str | None = name
        store.interfere = self._interfere

    async def _interfere(self, name: str, moment: Moment) -> None:
        await trio.lowlevel.checkpoint()
        if name == self._name and moment == "before":
            self._name = None
            self.reached = True
            await self._opened.wait()

    def open(self) -> None:
        """Let it go on."""
        self._opened.set()


BAD_REQUEST = {"code": "bad_request", "temporary": False}


async def in_a_room(house: House) -> tuple[Client, Client]:
    """Return ada and bob, who are in a room with a message of ada's and have heard everything."""
    ada, bob = await house.connect("ada", "r"), await house.connect("bob", "r")
    ada.emit("message:send", {"teamId": "r", "content": "c", "id": "m"})
    await ada.hear()
    await bob.hear()
    return ada, bob


async def nobody_new(ada: Client, pid: str | None) -> None:
    """Expect to be connected as somebody new, in no room."""
    await ada.expect_connected()
    assert ada.pid != pid
    assert not ada.recovered
    await ada.expect("welcome")
    await ada.expect_nothing()
    assert ada.offset == "0"
