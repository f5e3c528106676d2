"""One connection of a bench: a member of one room.

1. Everything the server says is understood where it is read, in trio-websocket's reader: one task a connection.
2. Whatever ends the connection is kept as `Member.ended`; it is for the crowd to say whether that was in order.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, cast

import trio
import trio_websocket
from typing_extensions import override

from trio_chat.errors import BadRequest
from trio_chat.lane import LaneStream
from trio_chat.place import CONNECT_SECONDS, FAILURES, Ended, dial, explain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trio_chat.bench.tally import RoomTally
    from trio_chat.bench.wire import Wire
    from trio_chat.place import Place

_GOODBYE_SECONDS = 1.0


class Member:
    """See the module. Lives as long as the run.

    Attributes:
        room: the room's id.
        present: whether messages can be sent and heard.
        ended: why not, unless it was not there yet or has left on purpose.
        limits: what the server said it allows.
    """

    def __init__(self, room: str, tally: RoomTally, number: int, wire: Wire, content: str) -> None:
        self.room = room
        self.present = False
        self.ended: Ended | None = None
        self.limits: Mapping[str, float] = {}
        self._tally = tally
        self._number = number
        self._wire = wire
        self._request = wire.sender(room, content)
        self._socket: trio_websocket.WebSocketConnection | None = None
        self._welcomed, self._joined, self._leaving = trio.Event(), trio.Event(), trio.Event()
        self._started = False
        self._scope = trio.CancelScope()
        self._said, self._to_say = trio.open_memory_channel[str](64)
        self._now = 0.0

    @override
    def __repr__(self) -> str:
        state = "present" if self.present else self.ended.text if self.ended else "not there"
        return f"<Member {self._number} of {self.room} {state}>"

    # --- what the crowd calls

    async def attend(self, place: Place, *, task_status: trio.TaskStatus[None]) -> None:
        """Connect, and stay until the connection ends or this is cancelled, which closes it. Starts when welcome.

        Never fails for anything the network or the server does: see `ended`. Whatever ends it before that also
        starts it.
        """
        try:
            with self._scope:
                await self._talk(place, task_status)
        except* FAILURES as failures:
            self._end(explain(failures))
        if not self._started:
            task_status.started()
        self._joined.set()

    def leave(self) -> None:
        """Begin to say goodbye, which takes a second at most. `attend` ends then."""
        self.present = False
        self._leaving.set()

    async def join(self) -> None:
        """Join the room. Returns when that is done, or the connection has ended. Cancelling ends the connection."""
        await self._say(self._wire.join(self.room))
        with trio.move_on_after(CONNECT_SECONDS) as scope:
            await self._joined.wait()
        if scope.cancelled_caught:
            self._end(Ended(f"no answer to the request to join within {CONNECT_SECONDS:g} s"))

    async def post(self, due: float) -> None:
        """Send a message whose latency counts from `due`. Cancelling ends the connection."""
        await self._say(self._request(self._tally.post(self._number, due)))

    async def _say(self, text: str) -> None:
        if self._socket is not None and text:
            # The reader finds out by itself, and says why.
            with suppress(trio_websocket.ConnectionClosed):
                await self._socket.send_message(text)

    # --- the connection

    async def _talk(self, place: Place, task_status: trio.TaskStatus[None]) -> None:
        with trio.fail_after(CONNECT_SECONDS):
            stream = await dial(place)
        try:
            async with trio.open_nursery() as nursery:
                with trio.fail_after(CONNECT_SECONDS):
                    # Any stream will do, though its annotation names two.
                    lane = cast("trio.SocketStream", LaneStream(stream, self._hear, self._hear_end))
                    self._socket = await trio_websocket.wrap_client_stream(
                        nursery, lane, place.name, place.resource
                    )
                    nursery.start_soon(self._read_rest, self._socket)
                    nursery.start_soon(self._say_replies)
                    await self._say(self._wire.begin())
                    await self._welcomed.wait()
                self._started = True
                task_status.started()
                await self._leaving.wait()
                with trio.move_on_after(_GOODBYE_SECONDS):
                    await self._say(self._wire.end())
                    await self._socket.aclose()
                nursery.cancel_scope.cancel()
        finally:
            await trio.aclose_forcefully(stream)

    async def _read_rest(self, socket: trio_websocket.WebSocketConnection) -> None:
        """Hear what did not take the short cut. Ends by a failure, or by leaving."""
        try:
            while True:
                text = await socket.get_message()
                self._hear([text.encode() if isinstance(text, str) else text])
        except trio_websocket.ConnectionClosed:
            if not self._leaving.is_set():
                raise

    async def _say_replies(self) -> None:
        async for text in self._to_say:
            await self._say(text)

    def _hear(self, texts: list[bytes]) -> None:
        self._now = time.perf_counter()
        try:
            for text in texts:
                self._wire.read(text, self)
        except BadRequest as error:
            self._end(Ended(str(error)))

    def _hear_end(self) -> None:
        if self._socket is None:
            self._end(Ended("the connection was cut during the handshake"))

    def _end(self, ended: Ended) -> None:
        """Note why the connection ends, and end it. The first reason counts."""
        self.ended = self.ended or ended
        self.present = False
        self._tally.lose(self._number)
        self._scope.cancel()

    # --- what the server says

    def on_welcome(self, limits: Mapping[str, float]) -> None:
        """Be connected."""
        self.limits = limits
        self._welcomed.set()

    def on_joined(self) -> None:
        """Be a member."""
        self.present = True
        self._joined.set()

    def on_message(self, room: str, number: int) -> None:
        """Count a delivery."""
        if room == self.room:
            self._tally.hear(self._number, number, self._now)
        else:
            self._tally.hear_strange()

    def on_ack(self, number: int, epoch: str, seq: int, durability: str) -> None:
        """Count an acknowledgement."""
        self._tally.ack(number, epoch, seq, durability, self._now)

    def on_refused(self, number: int, code: str, text: str) -> None:
        """Count a refusal of a message; any other ends the connection, which would be of no use."""
        if number:
            self._tally.refuse(number, code)
        else:
            self._end(Ended(text, code))

    def reply(self, text: str) -> None:
        """Have something sent."""
        with suppress(trio.WouldBlock):
            self._said.send_nowait(text)
