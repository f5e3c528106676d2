"""Clients of every wire with one interface. They share no code with the server.

`Client` is what a test talks to, in words of no wire; `Native` and `SocketIO` translate. A client reads only while it
waits for something, for at most `PATIENCE`. What rooms say it hears in order, and each expectation is about the very
next thing it has heard: what a test does not expect fails it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import trio
from typing_extensions import override

from .carriers import PATIENCE, Carrier, Ended


class Refused(Exception):
    """The server has refused a request, or to let somebody in."""

    def __init__(self, code: str, text: str, temporary: bool) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text
        self.temporary = temporary


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
