"""A client that comes back whenever it is cut off, and writes down what happens to it."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import trio
from typing_extensions import override

from trio_chat.message import Position
from trio_chat.testing.battery.contents import seen_of
from trio_chat.testing.battery.wire import Gone, Wire
from trio_chat.testing.verdict.log import Close, Expired, Fail, Invoke, Join, Live, Ok, Recv, Unknown, Window

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_chat.testing.battery.journal import Journal

PATIENCE = 5.0
"""Seconds after which a client that got no answer sends again."""

_BACKOFF = (0.1, 1.0)
_PAUSE = 0.2  # before sending again what was refused for the moment


class Client:
    """A user in one room, who comes back with the last position. Lives as long as `run`.

    Attributes:
        position: up to where the room is known.
        pending: the ids that are not acknowledged, and when each was last sent; None if it is to be sent again.
        live: whether it is in the room at the moment.
        unanswered: the operations that were sent again, and of which this connection has not told what became of them.
    """

    def __init__(self, name: str, room: str, port: Callable[[], int], journal: Journal, seed: int) -> None:
        self.name = name
        self.room = room
        self.position: Position | None = None
        self.pending: dict[str, float | None] = {}
        self.live = False
        self.unanswered: set[int] = set()
        self.acks = 0
        self._port = port
        self._journal = journal
        self._random = random.Random(seed)  # noqa: S311 - no secret
        self._said = 0
        self._open: dict[int, str] = {}
        """The id of the message that each operation is about."""
        self._joining: int | None = None
        """The operation of the join that is not answered."""
        self._joined = False
        self._again = trio.Event()

    @override
    def __repr__(self) -> str:
        return (
            f"<Client {self.name} {self.room} {self.position} pending={len(self.pending)}"
            f" unanswered={len(self.unanswered)} live={self.live}>"
        )

    async def run(self) -> None:
        """Be there until cancelled."""
        delay = 0.0
        while True:
            await trio.sleep(delay * self._random.uniform(0.5, 1.0))
            code, stayed = await self._visit()
            delay = _BACKOFF[0] if stayed else min(max(2 * delay, _BACKOFF[0]), _BACKOFF[1])
            if self._joined:
                self._journal.note(Close(trio.current_time(), self.name, code))

    async def _visit(self) -> tuple[int, bool]:
        """Be connected once. Returns the close code, and whether it was in the room."""
        was_in, code, self._joined = False, 1006, False
        try:
            wire = await Wire.open(self._port())
        except Gone as gone:
            return gone.code, False
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._resend, wire)
                try:
                    await self._enter(wire)
                    while True:
                        for said in await wire.receive():
                            self._hear(said)
                        if self.live and not was_in:
                            was_in = True
                            self._again.set()
                except Gone as gone:
                    code = gone.code
                nursery.cancel_scope.cancel()
        finally:
            self.live = False
            wire.abort()
            self._give_up()
        return code, was_in

    async def _enter(self, wire: Wire) -> None:
        await wire.say("hello", user=self.name)
        op = self._joining = self._journal.next_op()
        self._journal.note(
            Invoke(trio.current_time(), self.name, op, "join", self.room, self.name, resume=self.position)
        )
        resume = {}
        if self.position is not None:
            resume = {"resume": {"epoch": self.position.epoch, "seq": self.position.seq}}
        await wire.say("room:join", room=self.room, ref=op, **resume)

    def _give_up(self) -> None:
        """Know that nothing will be answered any more."""
        if self._joining is not None:
            self._journal.note(Unknown(trio.current_time(), self._joining, "closed"))
            self._joining = None
        for op in list(self._open):
            self._doubt(op, "closed")
        self.unanswered.clear()

    async def _resend(self, wire: Wire) -> None:
        """Send whatever waits to be sent again, and again what got no answer. Runs until cancelled or gone."""
        while True:
            with trio.move_on_after(_PAUSE):
                await self._again.wait()
            self._again = trio.Event()
            now = trio.current_time()
            for op, one in list(self._open.items()):
                if now - (self.pending[one] or now) > PATIENCE:
                    self._doubt(op, "timeout")
                    self.unanswered.add(op)
            if self.live:
                for one in [one for one, sent in self.pending.items() if sent is None]:
                    await self._send(wire, one)

    def speak(self) -> None:
        """Say something new, now or as soon as the connection is back. Never waits."""
        self._said += 1
        self.pending[f"{self.name}-{self._said}"] = None
        self._again.set()

    async def _send(self, wire: Wire, one: str) -> None:
        now, op = trio.current_time(), self._journal.next_op()
        content = content_of(self.room, one)
        self.pending[one] = now
        self._open[op] = one
        self._journal.note(Invoke(now, self.name, op, "send", self.room, self.name, one, content))
        try:
            await wire.say("message:send", room=self.room, content=content, id=one, ref=op)
        except Gone:
            await trio.sleep_forever()  # whoever reads learns of it, and ends the visit

    def _hear(self, said: dict[str, Any]) -> None:
        now, note, name, room = trio.current_time(), self._journal.note, self.name, said.get("room", "")
        if said.get("ref") in self.unanswered:
            self.unanswered.remove(said["ref"])
            return  # it is there, and will be acknowledged as a repetition
        match said["type"]:
            case "message:new" | "message:update" | "message:delete":
                message = seen_of(said["message"]) if "message" in said else None
                note(Recv(now, name, room, said["epoch"], said["seq"], message, said.get("id")))
                self.position = Position(said["epoch"], said["seq"])
            case "ack" if said["ref"] in self._open:
                one = self._open.pop(said["ref"])
                del self.pending[one]
                self.acks += 1
                how = said["durability"], said["duplicate"]
                note(Ok(now, said["ref"], said["id"], said["epoch"], said["seq"], *how))
            case "room:joined":
                self._joining, self._joined = None, True
                where = said["epoch"], said["seq"], said["recovered"], said["first"]
                note(Join(now, name, said["ref"], room, *where))
            case "messages:history":
                messages = tuple(map(seen_of, said["messages"]))
                note(Window(now, name, room, said["epoch"], said["seq"], messages))
                self._be_live(said)
            case "room:live":
                note(Live(now, name, room, said["epoch"], said["seq"]))
                self._be_live(said)
            case "session:expired":
                note(Expired(now, name, room, said["epoch"]))
                self.position = None
            case "error":
                self._refused(said)
            case _:
                pass

    def _be_live(self, said: dict[str, Any]) -> None:
        self.position = Position(said["epoch"], said["seq"])
        self.live = True

    def _refused(self, said: dict[str, Any]) -> None:
        op, code = said.get("ref"), said["code"]
        if op not in self._open:
            raise Gone(1006)  # put out of the room, or not let in: come back later
        if code in {"unavailable", "room_closed"}:
            self._doubt(op, code)
        else:
            self.pending[self._open.pop(op)] = None
            self._journal.note(Fail(trio.current_time(), op, code))

    def _doubt(self, op: int, why: str) -> None:
        self.pending[self._open.pop(op)] = None
        self._journal.note(Unknown(trio.current_time(), op, why))


def content_of(room: str, one: str) -> str:
    """Return what a message of this id says. It names its room, so that a stray one is found out."""
    return f"{room}|{one}|{'lorem ipsum ' * (2000 if room.startswith('big') else len(one) % 5)}"
