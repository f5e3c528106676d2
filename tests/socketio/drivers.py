"""Socket.IO clients that share no code with the server, in processes that do what a test tells them.

A line is a JSON object. The test says ``{"ref", "client", "deed", "args"}`` and is answered ``{"ref", "answer"}``, an
`ask` when the server has acknowledged. What a client hears comes as ``{"client", "event", "args"}``; among that are
what every client says of itself: `connect`, with its state, `connect_error`, `disconnect` and `upgrade`.
"""

from __future__ import annotations

import json
import subprocess
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Sequence

PATIENCE = 20
"""Seconds after which a test that waits for a client has failed. Clients wait for up to 7 before they try again."""


class Heard(NamedTuple):
    """What a client has heard."""

    event: str
    args: list[Any]

    @property
    def about(self) -> Any:
        """The first argument."""
        return self.args[0] if self.args else None

    def says(self, event: str, about: object, fields: dict[str, Any]) -> bool:
        """Whether it is this event, about this or about an object with these fields."""
        if self.event != event or (about is not None and self.about != about):
            return False
        return not fields or {name: self.about.get(name) for name in fields} == fields


class Client:
    """A client as the test sees it.

    Attributes:
        heard: everything, in order, since it was opened.
    """

    def __init__(self, driver: Driver, name: str) -> None:
        self.name = name
        self.heard: list[Heard] = []
        self._driver = driver
        self._looked_at = 0

    def __repr__(self) -> str:
        newest = "".join(f"\n  {one.event} {one.args}"[:300] for one in self.heard[-12:])
        return f"<{self.name} has heard {len(self.heard)}, {self._looked_at} of them looked at:{newest}>"

    async def open(self, url: str, transports: list[str] | None = None, **auth: str) -> Heard:
        """Connect for the first time; return the `connect` or the `connect_error`."""
        await self._do("open", url, auth, transports)
        return await self.until("connect", or_else="connect_error")

    async def emit(self, event: str, *args: Any) -> None:
        """Emit an event without an ack."""
        await self._do("emit", event, *args)

    async def ask(self, event: str, *args: Any) -> dict[str, Any]:
        """Emit an event and return what the server acknowledges it with."""
        (answer,) = await self._do("ask", event, *args)
        assert isinstance(answer, dict)
        return answer

    async def state(self) -> dict[str, Any]:
        """Return what the client says of itself."""
        state: dict[str, Any] = await self._do("state")
        return state

    async def close(self) -> None:
        """Disconnect on purpose."""
        await self._do("close")

    async def reopen(self) -> Heard:
        """Connect after `close`; return the `connect`."""
        await self._do("reopen")
        return await self.until("connect")

    async def join(self, room: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Join a room; return the answer and the history."""
        answer = await self.ask("room:join", room)
        assert answer["ok"], answer
        history = await self.until("messages:history")
        await self.until("presence:list")
        assert len(history.args) == 1 or history.args[1]["teamId"] == room
        return answer, history.about

    async def send(self, room: str, content: str, **fields: Any) -> dict[str, Any]:
        """Send a message and return its ack."""
        return await self.ask("message:send", {"teamId": room, "content": content, **fields})

    async def send_many(self, room: str, contents: Iterable[str]) -> list[dict[str, Any]]:
        """Send messages without waiting in between, and return their acks in order."""
        asked = [("message:send", {"teamId": room, "content": content}) for content in contents]
        return [answer for (answer,) in await self._driver.perform_all(self.name, "ask", asked)]

    async def until(self, event: str, about: object = None, *, or_else: str = "", **fields: Any) -> Heard:
        """Return the next event of this kind, whatever else comes before it."""
        with patience(self, event, about, fields):
            while True:
                while self._looked_at < len(self.heard):
                    one = self.heard[self._looked_at]
                    self._looked_at += 1
                    if one.says(event, about, fields) or one.event == or_else:
                        return one
                await self._driver.wait_for_more()

    async def first(self, event: str, **fields: Any) -> Heard:
        """Return the first event of this kind, which may have been heard and looked at long ago."""
        with patience(self, event, fields):
            while not (found := self.all(event, **fields)):
                await self._driver.wait_for_more()
        return found[0]

    async def until_told(self, room: str, content: str) -> Heard:
        """Return the next message with this content."""
        return await self.until("message:new", teamId=room, content=content)

    async def settled(self) -> None:
        """Return when everything the server has said by now is in `heard`."""
        await self.ask("heartbeat")

    def all(self, event: str, about: object = None, **fields: Any) -> list[Heard]:
        """Return all events of this kind that it has heard."""
        return [one for one in self.heard if one.says(event, about, fields)]

    def told(self, room: str) -> list[str]:
        """Return the contents of the new messages it was told, in order."""
        return [one.about["content"] for one in self.all("message:new", teamId=room)]

    async def _do(self, deed: str, *args: Any) -> Any:
        (answer,) = await self._driver.perform_all(self.name, deed, [args])
        return answer


@contextmanager
def patience(*waiting: object) -> Iterator[None]:
    """Fail, and say who waited for what, when it takes too long."""
    try:
        with trio.fail_after(PATIENCE):
            yield
    except trio.TooSlowError:
        raise AssertionError(f"waited {PATIENCE} s: {waiting}") from None


class Driver:
    """A process with clients in it. Lives as long as the block of `driving`."""

    def __init__(self, process: trio.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._to, self._from = process.stdin, process.stdout
        self._clients: dict[str, Client] = {}
        self._answers: dict[int, Any] = {}
        self._refs = 0
        self._more = trio.Event()
        self._speaking = trio.Lock()

    def client(self, name: str) -> Client:
        """Return a new client, to be opened."""
        assert name not in self._clients
        self._clients[name] = Client(self, name)
        return self._clients[name]

    async def perform_all(self, client: str, deed: str, many: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Have a client do something several times without waiting in between; return the answers."""
        refs = range(self._refs, self._refs + len(many))
        self._refs += len(many)
        lines = [
            json.dumps({"ref": ref, "client": client, "deed": deed, "args": args}) + "\n"
            for ref, args in zip(refs, many, strict=True)
        ]
        async with self._speaking:
            await self._to.send_all("".join(lines).encode())
        with patience(self._clients[client], deed, many[:3]):
            while not self._answers.keys() >= set(refs):
                await self.wait_for_more()
        return [self._answers.pop(ref) for ref in refs]

    async def wait_for_more(self) -> None:
        """Return when a client or the process has said something."""
        await self._more.wait()

    async def aclose(self) -> None:
        """Close our ends of the pipes."""
        await trio.aclose_forcefully(self._to)
        await trio.aclose_forcefully(self._from)

    async def listen(self) -> None:
        """Take in what the process says, until it says no more."""
        rest = b""
        async for part in self._from:
            *lines, rest = (rest + part).split(b"\n")
            for line in lines:
                self._take(json.loads(line))
            self._more.set()
            self._more = trio.Event()
        raise EOFError("the driver has ended; what it printed says why")

    def _take(self, said: dict[str, Any]) -> None:
        if "ref" in said:
            self._answers[said["ref"]] = said["answer"]
        else:
            self._clients[said["client"]].heard.append(Heard(said["event"], said["args"]))


@asynccontextmanager
async def driving(*command: str) -> AsyncIterator[Driver]:
    """Run a driver for as long as the block. Its clients vanish with it, as those of a closed page do."""
    process = await trio.lowlevel.open_process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    driver = Driver(process)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(driver.listen)
            yield driver
            nursery.cancel_scope.cancel()
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
        await driver.aclose()
