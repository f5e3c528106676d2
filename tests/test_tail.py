"""`trio-chat tail`: a room on a console, through disconnects. Over real sockets, with stores in memory.

The tests in which it comes back wait out its pause, half a second at most.
"""

from __future__ import annotations

import io
import re
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio
from rich.console import Console

from trio_chat.clients.auth import Authenticator
from trio_chat.clients.native_connection import NativeConnection
from trio_chat.clients.patience import Patience
from trio_chat.clients.registry import Registry
from trio_chat.clients.server import ClientServer, serve_clients
from trio_chat.errors import BadRequest
from trio_chat.lobby import Lobby, open_lobby
from trio_chat.settings import Settings
from trio_chat.stores.memory import MemoryArchive, MemoryHotStore
from trio_chat.tail import follow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio_chat.clients.transport import Link
    from trio_chat.seat import Seat

PATIENCE = 10


class Paper(io.TextIOBase):
    """What a console prints on, and a way to wait for it."""

    def __init__(self) -> None:
        self.text = ""
        self._printed = trio.Event()

    def write(self, text: str) -> int:
        """Take text."""
        self.text += text
        self._printed.set()
        self._printed = trio.Event()
        return len(text)

    @property
    def lines(self) -> list[str]:
        """The messages that were printed, without the times."""
        lines = [re.sub(r"^\d\d:\d\d:\d\d ", "", line) for line in self.text.splitlines()]
        return [line for line in lines if not line.startswith("-- ")]

    @property
    def notes(self) -> list[str]:
        """Everything else that was printed."""
        return [line for line in self.text.splitlines() if line.startswith("-- ")]

    async def wait_for(self, count: int) -> list[str]:
        """Return the messages as soon as there are so many."""
        with trio.fail_after(PATIENCE):
            while len(self.lines) < count:
                await self._printed.wait()
        return self.lines

    async def wait_for_note(self, text: str) -> None:
        """Return when a note has this text."""
        with trio.fail_after(PATIENCE):
            while not any(text in note for note in self.notes):
                await self._printed.wait()


class House:
    """A lobby, and a server in front of it that can go away and come back on the same port."""

    def __init__(self, lobby: Lobby, nursery: trio.Nursery, port: int) -> None:
        self.lobby = lobby
        self.url = f"ws://127.0.0.1:{port}/ws"
        self._nursery = nursery
        self._port = port

    async def open(self, **changes: Any) -> ClientServer:
        """Let clients in."""
        settings = Settings(**{"auth_mode": "insecure"} | changes)
        authenticator, registry = Authenticator(settings), Registry(0)

        def converse(link: Link) -> NativeConnection:
            return NativeConnection(link, self.lobby, authenticator, registry, Patience(5))

        # The port may still belong to the connections of before.
        listeners = await trio.open_tcp_listeners(self._port, host="127.0.0.1")
        server: ClientServer = await self._nursery.start(partial(serve_clients, listeners, {"/ws": converse}))
        return server


@pytest.fixture
async def house(free_port: int) -> AsyncIterator[House]:
    settings = Settings(auth_mode="insecure")
    async with trio.open_nursery() as nursery:
        async with open_lobby(hot=MemoryHotStore(), archive=MemoryArchive(), settings=settings) as lobby:
            yield House(lobby, nursery, free_port)
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def tailing(house: House, room: str = "room") -> AsyncIterator[Paper]:
    """Follow a room for as long as the block."""
    paper = Paper()
    console = Console(file=paper, width=80, soft_wrap=True, highlight=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow, house.url, lambda: {"type": "hello", "user": "tail"}, room, console)
        yield paper
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def seated(house: House, room: str = "room") -> AsyncIterator[Seat]:
    async with house.lobby.join(room, user="ada") as seat:
        yield seat


async def test_it_prints_what_was_said_and_what_is_being_said(house: House) -> None:
    """A line a message, with the time, the author and the text."""
    await house.open()
    async with seated(house) as ada:
        await ada.post("before")
        async with tailing(house) as paper:
            await paper.wait_for(1)
            await ada.post("meanwhile", role="assistant")
            lines = await paper.wait_for(2)

    assert lines == ["ada before", "ada meanwhile"]
    assert paper.notes == [f"-- room at {house.url}; here: ada, tail"]
    assert re.search(r"^\d\d:\d\d:\d\d ada before$", paper.text, re.MULTILINE)


async def test_it_prints_edits_and_deletes(house: House) -> None:
    """An edited message is printed again, marked; a deleted one is a note."""
    await house.open()
    async with seated(house) as ada, tailing(house) as paper:
        said = await ada.post("first", key="m")
        await paper.wait_for(1)
        await ada.edit(said.id, "second")
        await ada.delete(said.id)
        await paper.wait_for_note("deleted")

    assert paper.lines == ["ada first", "ada (edited) second"]
    assert re.fullmatch(r"-- what ada said at \d\d:\d\d:\d\d was deleted", paper.notes[-1])


async def test_what_people_write_cannot_command_the_terminal(house: House) -> None:
    """Control characters and what turns text around are replaced; names and ids too. Markup is text."""
    await house.open()
    async with seated(house) as ada, tailing(house) as paper:
        await ada.post("\x1b[31mred\x1b]0;title\x07 \u202egnp.exe\r[bold]x[/bold] \x9b")
        [line] = await paper.wait_for(1)

    assert line == "ada \ufffd[31mred\ufffd]0;title\ufffd \ufffdgnp.exe\ufffd[bold]x[/bold] \ufffd"


async def test_a_long_message_is_one_line(house: House) -> None:
    """Whoever searches the output finds it whole, as wide as the terminal may be."""
    await house.open()
    async with seated(house) as ada, tailing(house) as paper:
        await ada.post("word " * 100)
        lines = await paper.wait_for(1)

    assert lines == ["ada " + "word " * 100]


async def test_a_window_of_many_megabytes_comes_through(house: House) -> None:
    """A whole history is one WebSocket message."""
    await house.open()
    async with seated(house) as ada:
        for number in range(40):
            await ada.post(f"{number} " + "x" * 60_000)
        async with tailing(house) as paper:
            lines = await paper.wait_for(40)

    assert [line.split()[1] for line in lines] == [str(number) for number in range(40)]


async def test_it_comes_back_and_goes_on_where_it_was(house: House) -> None:
    """After a disconnect only what was missed is printed, each line once."""
    server = await house.open()
    async with seated(house) as ada, tailing(house) as paper:
        await ada.post("one")
        await paper.wait_for(1)
        await server.aclose()
        await ada.post("two")
        await ada.post("three")
        await house.open()
        await paper.wait_for(3)
        await ada.post("four")
        lines = await paper.wait_for(4)

    assert lines == ["ada one", "ada two", "ada three", "ada four"]
    assert paper.notes[-1] == "-- connected again"


async def test_it_waits_for_a_server_that_is_not_there_yet(house: House) -> None:
    """It says so and why, in words of the system, and keeps trying."""
    async with seated(house) as ada, tailing(house) as paper:
        await ada.post("one")
        await paper.wait_for_note("trying again")
        await house.open()
        lines = await paper.wait_for(1)

    assert paper.notes[0] == f"-- {house.url}: cannot be reached: Connection refused; trying again"
    assert paper.notes[1].startswith("-- room at ")
    assert lines == ["ada one"]


async def test_a_server_that_hangs_up_is_tried_again_at_once(free_port: int) -> None:
    """trio-websocket alone would wait for the rest of the handshake, for ten seconds."""

    async def hang_up(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.aclose()

    paper = Paper()
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(trio.serve_tcp, hang_up, free_port, host="127.0.0.1"))
        url = f"ws://127.0.0.1:{free_port}"
        nursery.start_soon(follow, url, dict, "room", Console(file=paper, soft_wrap=True))
        with trio.fail_after(2):
            await paper.wait_for_note("the connection was cut during the handshake; trying again")
        nursery.cancel_scope.cancel()


async def test_it_tells_who_comes_and_goes(house: House) -> None:
    """Each user once, however often the server says that they are active."""
    await house.open()
    async with tailing(house) as paper:
        await paper.wait_for_note("here: tail")
        async with house.lobby.join("room", user="bob") as bob:
            await paper.wait_for_note("bob is here")
            await bob.touch()
        await paper.wait_for_note("bob has left")

    assert [note for note in paper.notes if "bob" in note] == ["-- bob is here", "-- bob has left"]


async def test_it_comes_back_to_a_room_that_was_closed(house: House) -> None:
    """A temporary refusal is not the end."""
    await house.open()
    async with tailing(house) as paper:
        async with seated(house) as ada:
            await ada.post("one")
            await paper.wait_for(1)
            house.lobby.rooms["room"].close("the room failed; join again later")
        async with seated(house) as ada:
            await ada.post("two")
            lines = await paper.wait_for(2)

    assert lines == ["ada one", "ada two"]
    assert f"-- {house.url}: the room failed; join again later; trying again" in paper.notes


async def _refused(house: House, url: str = "", room: str = "room", **hello: str) -> str:
    with pytest.raises(BadRequest) as refused, trio.fail_after(PATIENCE):
        await follow(url or house.url, lambda: {"type": "hello", **hello}, room, Console(file=io.StringIO()))
    return str(refused.value)


async def test_a_token_that_is_refused_is_the_end(house: House) -> None:
    """Trying again would not help."""
    await house.open(auth_mode="token", auth_secret="a-secret-of-more-than-thirty-two-bytes")

    where = f"room at {house.url}"
    assert await _refused(house, token="x.y.z") == f"{where}: token: not accepted; connect with a new one"


async def test_a_room_that_is_refused_is_the_end(house: House) -> None:
    """It says which, and what the server said."""
    await house.open()
    said = await _refused(house, room="a room", user="tail")

    assert said.startswith(f"a room at {house.url}: room: expected 1-128 characters")


async def test_a_place_that_is_no_chat_is_the_end(house: House) -> None:
    """Another path, or an address of another kind."""
    await house.open()

    assert "Nothing is here" in await _refused(house, house.url.replace("/ws", "/chat"), user="tail")
    for url in ("ftp://127.0.0.1", "ws:", "ws://", "ws://[", "ws://127.0.0.1:port/ws"):
        assert "expected ws://HOST:PORT or wss://HOST:PORT" in await _refused(house, url, user="tail")


async def test_hello_is_made_anew_for_each_connection(house: House) -> None:
    """A token that has expired meanwhile is replaced by a fresh one."""
    said: list[str] = []

    def hello() -> dict[str, str]:
        said.append(f"tail{len(said)}")
        return {"type": "hello", "user": said[-1]}

    server = await house.open()
    paper = Paper()
    async with seated(house) as ada, trio.open_nursery() as nursery:
        nursery.start_soon(follow, house.url, hello, "room", Console(file=paper, soft_wrap=True))
        await ada.post("one")
        await paper.wait_for(1)
        await server.aclose()
        await house.open()
        await ada.post("two")
        await paper.wait_for(2)
        nursery.cancel_scope.cancel()

    assert said == ["tail0", "tail1"]
