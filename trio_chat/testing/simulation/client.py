"""A client of the native wire, as one should be: it resumes from where it was, and asks again for what is open.

1. Whatever it asks and hears goes into the log, as it comes off the wire.
2. A connection that ends is followed by the next one. It joins the rooms it wants to be in, from its position.
3. A request whose outcome is unknown is repeated with the same id once the client is in the room; one without an id
   is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec
import trio
from typing_extensions import override

from trio_chat.errors import ReplyCode
from trio_chat.message import Position
from trio_chat.testing.frames import CLOSE, PING, PONG, TEXT, frame, unframe
from trio_chat.testing.verdict import log as it

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_chat.testing.simulation.log import Log
    from trio_chat.testing.simulation.network import Connection, Network
    from trio_chat.testing.simulation.plan import Guest

_HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: simulation\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
_SOON = 0.5
_OPEN = {ReplyCode.UNAVAILABLE, ReplyCode.ROOM_CLOSED}
"""The codes that leave open what became of a request."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Wish(msgspec.Struct, frozen=True):
    """Something a client wants done. Without an id it is asked for once."""

    act: Literal["send", "edit", "delete"]
    room: str
    id: str | None
    content: str | None = None


class _Room:
    """A room as a client knows it."""

    def __init__(self) -> None:
        self.wanted = True
        self.asked = False
        """Whether it has asked to be in, and nothing has ended that since."""
        self.live = False
        self.position: Position | None = None
        self.shown: dict[int, str] = {}
        """The ids of the messages it shows, by seq."""
        self.posted = 0


class Client:
    """See the module. Lives as long as a simulation.

    Args:
        name: what the log calls it.
        guest: who it is and where it wants to be.
    """

    def __init__(self, name: str, guest: Guest, network: Network, log: Log) -> None:
        self.name = name
        self.back = 0.0
        """When it may connect again."""
        self._user = guest.user
        self._network = network
        self._log = log
        self._rooms = {room: _Room() for room in guest.rooms}
        self._connection: Connection | None = None
        self._pending: dict[int, Wish | str] = {}
        """What it waits for, by number: a wish, or the room of a join."""
        self._wishes: list[Wish] = []
        """What is still open and is asked for again."""
        self._written = 0
        self._nursery: trio.Nursery | None = None

    @override
    def __repr__(self) -> str:
        return f"<Client {self.name} pending={len(self._pending)} wishes={len(self._wishes)}>"

    # --- what it is told to do

    def send(self, room: str, count: int, *, keyed: bool, size: int) -> None:
        """Post messages of at least so many characters, if it is in the room."""
        for _ in range(count):
            if (known := self._rooms.get(room)) is not None and known.live:
                known.posted += 1
                # The same ids in every room: they must not meet.
                name = f"{self._user}.{self.name}.{known.posted}" if keyed else None
                self._ask(Wish("send", room, name, self._text(room).ljust(size, ".")))

    def edit(self, room: str, nth: int) -> None:
        """Edit a message it shows."""
        if (name := self._nth(room, nth)) is not None:
            self._ask(Wish("edit", room, name, self._text(room)))

    def delete(self, room: str, nth: int) -> None:
        """Delete a message it shows."""
        if (name := self._nth(room, nth)) is not None:
            self._ask(Wish("delete", room, name))

    def leave(self, room: str, seconds: float, *, fresh: bool) -> None:
        """Leave a room for some seconds."""
        if (known := self._rooms.get(room)) is not None and known.live:
            known.wanted = known.live = False
            self._say({"type": "room:leave", "room": room})
            self._later(seconds, lambda: self._come_back(room, fresh=fresh))

    def _come_back(self, room: str, *, fresh: bool) -> None:
        known = self._rooms[room]
        known.wanted = True
        if fresh:
            known.position = None
        self._join(room)

    def cut(self, seconds: float, arrive: int) -> None:
        """Lose the connection, and wait some seconds before the next one."""
        if self._connection is not None:
            self.back = trio.current_time() + seconds
            self._connection.cut(arrive)

    def stall(self, seconds: float) -> None:
        """Read nothing for some seconds. What it waits for it gives up, and asks again; who joins does not stall."""
        connection = self._connection
        if connection is None or any(isinstance(one, str) for one in self._pending.values()):
            return
        self._give_up("the client stalls")
        connection.down.pause(True)
        self._later(seconds, lambda: self._go_on(connection))

    def _go_on(self, connection: Connection) -> None:
        connection.down.pause(False)
        for room in self._rooms:
            self._ask_again(room)

    # --- connections

    async def run(self) -> None:
        """Be there, until cancelled."""
        async with trio.open_nursery() as self._nursery:
            while True:
                await trio.sleep_until(self.back)
                self.back = trio.current_time() + _SOON
                if (connection := self._network.connect()) is not None:
                    await self._talk(connection)

    async def _talk(self, connection: Connection) -> None:
        self._connection = connection
        connection.up.send_nowait(_HANDSHAKE)
        self._say({"type": "hello", "user": self._user})
        for room in self._rooms:
            self._join(room)
        await self._read(connection)
        self._connection = None
        connection.close()
        self._log.add(it.Close(trio.current_time(), self.name))
        self._give_up("the connection is over")
        for known in self._rooms.values():
            known.asked = known.live = False

    async def _read(self, connection: Connection) -> None:
        held = bytearray()
        shaken = False
        while data := await connection.down.receive():
            held += data
            if not shaken:
                head, end, rest = held.partition(b"\r\n\r\n")
                if not end:
                    continue
                if not head.startswith(b"HTTP/1.1 101"):
                    return
                shaken, held = True, rest
            while (found := unframe(held)) is not None:
                opcode, payload = found
                if opcode == CLOSE:
                    return
                if opcode == PING:
                    connection.up.send_nowait(frame(payload, PONG))
                elif opcode == TEXT:
                    self._hear(_decode(payload))

    def _say(self, said: dict[str, Any]) -> None:
        if self._connection is not None:
            payload = _encode({name: value for name, value in said.items() if value is not None})
            self._connection.up.send_nowait(frame(payload))

    def _later(self, seconds: float, act: Callable[[], None]) -> None:
        async def wait() -> None:
            await trio.sleep(seconds)
            act()

        assert self._nursery is not None  # noqa: S101 - it runs
        self._nursery.start_soon(wait)

    # --- asking

    def _text(self, room: str) -> str:
        self._written += 1
        return f"{self.name} in {room}: {self._written}"

    def _nth(self, room: str, nth: int) -> str | None:
        known = self._rooms.get(room)
        if known is None or not known.live or nth >= len(known.shown):
            return None
        return known.shown[sorted(known.shown)[-1 - nth]]

    def _join(self, room: str) -> None:
        known = self._rooms[room]
        if self._connection is None or known.asked or not known.wanted:
            return
        known.asked = True
        op = self._invoke("join", Wish("send", room, None), known.position)
        self._pending[op] = room
        resume = known.position and {"epoch": known.position.epoch, "seq": known.position.seq}
        self._say({"type": "room:join", "room": room, "resume": resume, "ref": op})

    def _ask(self, wish: Wish) -> None:
        op = self._invoke(wish.act, wish, None)
        self._pending[op] = wish
        self._say(
            {
                "type": f"message:{wish.act}",
                "room": wish.room,
                "id": wish.id,
                "content": wish.content,
                "ref": op,
            }
        )

    def _invoke(self, act: it.Act, wish: Wish, resume: Position | None) -> int:
        op, now = self._log.next_op(), trio.current_time()
        self._log.add(
            it.Invoke(now, self.name, op, act, wish.room, self._user, wish.id, wish.content, resume)
        )
        return op

    def _ask_again(self, room: str) -> None:
        if (known := self._rooms.get(room)) is not None and known.live:
            again = [wish for wish in self._wishes if wish.room == room]
            self._wishes = [wish for wish in self._wishes if wish.room != room]
            for wish in again:
                self._ask(wish)

    def _give_up(self, why: str) -> None:
        pending, self._pending = self._pending, {}
        for op, wish in pending.items():
            self._log.add(it.Unknown(trio.current_time(), op, why))
            if isinstance(wish, Wish) and wish.id is not None:
                self._wishes.append(wish)

    # --- hearing

    def _hear(self, said: dict[str, Any]) -> None:
        now, kind, room = trio.current_time(), said["type"], said.get("room", "")
        known = self._rooms.get(room) or _Room()
        match kind:
            case "room:joined":
                self._pending.pop(said["ref"], None)
                where = said["epoch"], said["seq"], said["recovered"], said["first"]
                self._log.add(it.Join(now, self.name, said["ref"], room, *where))
            case "messages:history":
                messages = tuple(map(_seen, said["messages"]))
                self._log.add(it.Window(now, self.name, room, said["epoch"], said["seq"], messages))
                known.shown = {message.seq: message.id for message in messages}
                self._be_live(room, known, said)
            case "room:live":
                self._log.add(it.Live(now, self.name, room, said["epoch"], said["seq"]))
                self._be_live(room, known, said)
            case "message:new" | "message:update" | "message:delete":
                self._hear_change(now, room, known, said)
            case "session:expired":
                self._log.add(it.Expired(now, self.name, room, said["epoch"]))
                # The position goes, too: should that session come back after all, nothing of it is known any more.
                known.shown, known.position = {}, None
            case "room:left":
                self._log.add(it.Left(now, self.name, room))
                known.asked = False
                self._join(room)
            case "ack" | "error":
                self._hear_outcome(now, said)
            case _:
                pass

    def _be_live(self, room: str, known: _Room, said: dict[str, Any]) -> None:
        known.position = Position(said["epoch"], said["seq"])
        known.live = known.wanted
        self._ask_again(room)

    def _hear_change(self, now: float, room: str, known: _Room, said: dict[str, Any]) -> None:
        message = _seen(said["message"]) if "message" in said else None
        deleted = said.get("id")
        self._log.add(it.Recv(now, self.name, room, said["epoch"], said["seq"], message, deleted))
        known.position = Position(said["epoch"], said["seq"])
        if message is not None:
            known.shown[message.seq] = message.id
        else:
            known.shown = {seq: name for seq, name in known.shown.items() if name != deleted}

    def _hear_outcome(self, now: float, said: dict[str, Any]) -> None:
        op = said.get("ref")
        if op is None:
            if said.get("code") == ReplyCode.ROOM_CLOSED:
                self._be_out(now, said["room"])
            return
        wish = self._pending.pop(op, None)
        if wish is None:
            return  # it has given that up
        if said["type"] == "ack":
            how = said["epoch"], said["seq"], said["durability"], said["duplicate"]
            self._log.add(it.Ok(now, op, said["id"], *how))
            return
        opened = said["code"] in _OPEN
        self._log.add(it.Unknown(now, op, said["code"]) if opened else it.Fail(now, op, said["code"]))
        if isinstance(wish, str):
            self._rooms[wish].asked = False
            self._later(_SOON, lambda: self._join(wish))
        elif opened and wish.id is not None:
            self._wishes.append(wish)
            self._later(_SOON, lambda: self._ask_again(wish.room))

    def _be_out(self, now: float, room: str) -> None:
        self._log.add(it.Left(now, self.name, room))
        if (known := self._rooms.get(room)) is None:
            return
        known.asked = known.live = False
        self._later(_SOON, lambda: self._join(room))


def _seen(message: dict[str, Any]) -> it.Seen:
    return it.Seen(message["id"], message["userId"], message["content"], message["seq"], message["rev"])
