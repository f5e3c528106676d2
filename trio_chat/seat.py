"""A program's handle on one membership: say something, hear everything.

A seat speaks no wire: it hears the hearings themselves, in a bounded buffer of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import trio
from typing_extensions import override

from trio_chat.errors import ReplyCode, TrioChatError, Unavailable
from trio_chat.mail import (
    Accepted,
    Answer,
    Answering,
    Closed,
    Delete,
    Done,
    Edit,
    Hearing,
    Join,
    Joined,
    Mail,
    Post,
    Read,
    Touch,
    Type,
    Voice,
)
from trio_chat.message import (
    Message,
    Position,
    Receipt,
    check_content,
    check_id,
    check_metadata,
    check_role,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trio_chat.settings import Settings

T = TypeVar("T")

BUFFER = 10_000
"""How many hearings a seat keeps for its program. A seat that lets more pile up is put out of the room."""


class PlainWire:
    """The wire of seats: a parcel is the hearings themselves."""

    def voice(self, room: str) -> Voice:  # noqa: ARG002 - the same in every room
        """Return the one voice."""
        return self

    def tell(self, hearings: Sequence[Hearing]) -> tuple[Hearing, ...]:
        """Return the hearings."""
        return tuple(hearings)

    def told(self, parcel: tuple[Hearing, ...]) -> None:
        """Note nothing."""


_WIRE = PlainWire()


async def ask(send: Callable[[Mail], None], make: Callable[[Answering], Mail], kind: type[T]) -> T:
    """Send mail and wait for its answer. Cancelling leaves the outcome unknown.

    Raises:
        BadRequest: the request cannot be granted.
        Unavailable: it may or may not have been carried out; ask again with the same id.
    """
    answers: list[Answer] = []
    arrived = trio.Event()

    def answer(given: Answer) -> None:
        answers.append(given)
        arrived.set()

    send(make(answer))
    await arrived.wait()
    given = answers[0]
    if isinstance(given, TrioChatError):
        raise given
    if not isinstance(given, kind):
        raise TypeError(f"expected {kind.__name__}, got {given!r}")
    return given


class Seat:
    """A membership in a room. Made by `Lobby.join`; lives as long as that block.

    Attributes:
        room: the room id.
        user: who sits here.
        joined: what the room answered: window or changes, position, who is here.
    """

    joined: Joined

    def __init__(self, room: str, user: str, send: Callable[[Mail], None], settings: Settings) -> None:
        self.room = room
        self.user = check_id("user", user)
        self._send = send
        self._limit = settings.max_message_bytes
        self._heard, self._hearings = trio.open_memory_channel[Hearing](BUFFER)
        self._left = False

    @override
    def __repr__(self) -> str:
        waiting = self._hearings.statistics().current_buffer_used
        return f"<Seat {self.user} in {self.room} waiting={waiting}{' left' if self._left else ''}>"

    @property
    def wire(self) -> PlainWire:
        """The wire of seats."""
        return _WIRE

    @property
    def messages(self) -> tuple[Message, ...]:
        """The window as it was when the seat was taken; empty if a resume was recovered."""
        return self.joined.messages

    @property
    def position(self) -> Position:
        """The position of the answer to the join."""
        return Position(self.joined.epoch, self.joined.seq)

    def hear(self, parcel: Sequence[Hearing], droppable: bool) -> None:
        """Take hearings from the room. Called by the room; never waits."""
        if self._left:  # the room has not got that mail yet
            return
        try:
            for hearing in parcel:
                self._heard.send_nowait(hearing)
        except trio.WouldBlock:
            if not droppable:
                raise Unavailable("the seat did not read", ReplyCode.OVERLOADED) from None

    def put_out(self, room: str, *, told: bool) -> None:  # noqa: ARG002 - a seat is in one room; its hearings end in any case
        """End the hearings. Called by the room."""
        self._heard.close()

    async def take(self, resume: Position | None) -> None:
        """Join the room. Cancelling is safe: leaving undoes whatever happened."""
        self.joined = await ask(self._send, lambda answer: Join(self, resume, answer), Joined)

    def close(self) -> None:
        """End the hearings. Called by the lobby when the block ends."""
        self._left = True
        self._heard.close()

    async def post(
        self,
        content: str,
        *,
        key: str | None = None,
        role: str = "user",
        metadata: Mapping[str, Any] | None = None,
    ) -> Accepted:
        """Post a message and return once the hot store has it, or the room said that it keeps it in memory.

        Cancelling leaves the outcome unknown. With a `key` of your own it is safe to post again: the same key
        gives the same message.

        Raises:
            BadRequest: the message is outside the limits, or the key is somebody else's message.
            Unavailable: try again with the same key.
        """
        if key is not None:
            check_id("key", key)
        checked = check_metadata(metadata or {}, self._limit)
        text, speaker = check_content(content, self._limit), check_role(role)
        return await self._change(lambda answer: Post(self.user, speaker, text, checked, key, answer))

    async def edit(
        self,
        message_id: str,
        content: str,
        *,
        metadata: Mapping[str, Any] | None = None,
        moderator: bool = False,
    ) -> Accepted:
        """Edit a message of one's own, or anybody's as a moderator. Cancelling and errors as for `post`."""
        text = check_content(content, self._limit)
        checked = None if metadata is None else check_metadata(metadata, self._limit)
        return await self._change(
            lambda answer: Edit(self.user, moderator, message_id, text, checked, answer)
        )

    async def delete(self, message_id: str, *, moderator: bool = False) -> Accepted:
        """Delete a message of one's own, or anybody's as a moderator. Cancelling and errors as for `post`."""
        return await self._change(lambda answer: Delete(self.user, moderator, message_id, answer))

    async def _change(self, make: Callable[[Answering], Mail]) -> Accepted:
        return await ask(self._send, make, Accepted)

    async def typing(self, active: bool = True) -> None:
        """Tell the others that the user types, or has stopped. Who goes on typing says so at least every 30 s."""
        await ask(self._send, lambda answer: Type(self.user, active, answer), Done)

    async def touch(self) -> None:
        """Tell the others that the user is still here and active."""
        await ask(self._send, lambda answer: Touch(self.user, answer), Done)

    async def read(self, message_id: str) -> None:
        """Tell everybody how far the user has read."""
        await ask(self._send, lambda answer: Read(self.user, message_id, answer), Done)

    @property
    def receipts(self) -> Mapping[str, Receipt]:
        """Read marks by user, as they were when the seat was taken."""
        return self.joined.receipts

    def events(self) -> Events:
        """Return everything the room says after the join, in order, until the seat is left or the room closed.

        Cancelling is safe: the next call goes on where this one stopped.

        Raises:
            Unavailable: the program let too much pile up and was put out. Join again from its last position.
        """
        return Events(self, self._hearings)

    @property
    def left(self) -> bool:
        """Whether the program has left."""
        return self._left


class Events:
    """What a seat hears, as `async for` wants it. No generator: a loop over it may end with `break`."""

    def __init__(self, seat: Seat, hearings: trio.MemoryReceiveChannel[Hearing]) -> None:
        self._seat = seat
        self._hearings = hearings
        self._closed = False

    def __aiter__(self) -> Events:
        return self

    async def __anext__(self) -> Hearing:
        if self._closed:
            raise StopAsyncIteration
        try:
            hearing = await self._hearings.receive()
        except trio.EndOfChannel:
            if self._seat.left:
                raise StopAsyncIteration from None
            text = f"more than {BUFFER} hearings piled up; join again and resume"
            raise Unavailable(text, ReplyCode.OVERLOADED) from None
        self._closed = isinstance(hearing, Closed)
        return hearing

    async def aclose(self) -> None:
        """Do nothing: there is nothing to close. Here so that `contextlib.aclosing` may be used."""
        await trio.lowlevel.checkpoint()


def ignore(_: Answer) -> None:
    """Take an answer nobody waits for."""
