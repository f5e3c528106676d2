"""The programs of docs/examples do what docs/embedding.md says of them."""

from __future__ import annotations

import importlib.util
import io
import runpy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream

from trio_chat import (
    Changed,
    Expired,
    Lobby,
    MemoryArchive,
    MemoryHotStore,
    Message,
    Posted,
    Seat,
    open_lobby,
)

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"
PATIENCE = 5
ROOM = "team-42/general"


def load(name: str) -> Any:
    """Import an example as a module of its own."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(name: str) -> None:
    """Run an example as a program."""
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")


# --- a chat in the terminal


def test_the_terminal_chat_prints_what_everybody_says(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two people are typed for, and the room shows both, in order."""
    monkeypatch.setattr("sys.stdin", io.StringIO("ada: hello, bob\nbob: hello, ada\n"))
    run("terminal_chat")

    assert capsys.readouterr().out.splitlines() == [
        "-- ada is here",
        "ada: hello, bob",
        "-- bob is here",
        "bob: hello, ada",
        "-- bob has left",
        "-- ada has left",
    ]


def test_the_terminal_chat_goes_on_after_a_mistake(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line that cannot be said is answered by the reason; the next one is said."""
    monkeypatch.setattr("sys.stdin", io.StringIO("ada:\nada: now\n"))
    run("terminal_chat")

    printed = capsys.readouterr().out
    assert "-- content: expected a text, got an empty one" in printed
    assert printed.endswith("ada: now\n-- ada has left\n")


# --- a bot


async def next_heard(seat: Seat, kind: type[Any]) -> Any:
    """Return the next hearing of this kind."""
    async for one in seat.events():
        if isinstance(one, kind):
            return one
    raise AssertionError("the room said no more")


async def next_message(seat: Seat) -> Message:
    """Return the next message that is posted."""
    changed = await next_heard(seat, Changed)

    assert isinstance(changed.event, Posted)
    return changed.event.message


@pytest.fixture
async def lobby() -> AsyncIterator[Lobby]:
    """A lobby on the test's clock."""
    async with open_lobby(hot=MemoryHotStore(), archive=MemoryArchive()) as opened:
        yield opened


def test_the_bot_shows_itself(capsys: pytest.CaptureFixture[str]) -> None:
    """Run as a program, it is asked once and answers once."""
    run("echo_bot")

    assert capsys.readouterr().out.splitlines() == [
        "ada: hello, everybody",
        "ada: @echo is there an echo in here?",
        "echo-bot: is there an echo in here?",
    ]


async def test_the_bot_answers_as_an_assistant_and_says_what(
    autojump_clock: MockClock, lobby: Lobby, nursery: trio.Nursery
) -> None:
    """Its messages have the role and name the message they answer."""
    nursery.start_soon(load("echo_bot").run_bot, lobby, ROOM)
    async with lobby.join(ROOM, user="ada") as seat:
        asked = await seat.post("@echo one")
        await next_message(seat)
        answer = await next_message(seat)

    assert (answer.user_id, answer.role, answer.content) == ("echo-bot", "assistant", "one")
    assert answer.metadata == {"inReplyTo": asked.id}


async def test_the_bot_survives_the_expiry_of_its_session(
    autojump_clock: MockClock, lobby: Lobby, nursery: trio.Nursery
) -> None:
    """What is asked in the next session is answered in the next session."""
    nursery.start_soon(load("echo_bot").run_bot, lobby, ROOM)
    async with lobby.join(ROOM, user="ada") as seat:
        await seat.post("@echo before")
        await trio.sleep(lobby.settings.session_expiry_seconds + 1)
        expired = await next_heard(seat, Expired)
        after = await seat.post("@echo after")
        await next_message(seat)

        assert (await next_message(seat)).content == "after"
        assert after.epoch > expired.epoch


async def test_the_bot_does_not_answer_assistants(
    autojump_clock: MockClock, lobby: Lobby, nursery: trio.Nursery
) -> None:
    """Neither itself nor another one, or two bots would never be silent again."""
    nursery.start_soon(load("echo_bot").run_bot, lobby, ROOM)
    async with lobby.join(ROOM, user="ada") as seat:
        await seat.post("@echo @echo twice")
        await seat.post("@echo said a machine", role="assistant")
        await seat.post("@echo last")
        said = [(await next_message(seat)).content for _ in range(5)]

    assert sorted(said) == ["@echo @echo twice", "@echo last", "@echo said a machine", "@echo twice", "last"]


async def test_a_bot_started_anew_answers_what_it_missed_once(
    autojump_clock: MockClock, lobby: Lobby, nursery: trio.Nursery
) -> None:
    """Answers have keys: those it gave before are not given again."""
    bot = load("echo_bot")
    async with lobby.join(ROOM, user="ada") as seat:
        await seat.post("@echo one")
        with trio.move_on_after(5):
            await bot.run_bot(lobby, ROOM)
        await seat.post("@echo two")
        with trio.move_on_after(5):
            await bot.run_bot(lobby, ROOM)
        said = [(await next_message(seat)).content for _ in range(4)]

        assert said == ["@echo one", "one", "@echo two", "two"]
        assert (await lobby.history(ROOM)).messages[-1].message.content == "two"


async def test_a_key_that_somebody_took_does_not_stop_the_bot(
    autojump_clock: MockClock, lobby: Lobby, nursery: trio.Nursery, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who guesses a key can keep the bot from that one answer, and from no other."""
    nursery.start_soon(load("echo_bot").run_bot, lobby, ROOM)
    async with lobby.join(ROOM, user="ada") as seat:
        await seat.post("mine", key=f"echo-bot:{seat.joined.epoch}:2")
        await seat.post("@echo no answer to this")
        await seat.post("@echo but to this")
        said = [(await next_message(seat)).content for _ in range(4)]

    assert said[-1] == "but to this"
    assert "another user's message" in capsys.readouterr().out


# --- a server of one's own


@pytest.fixture
async def own_server(nursery: trio.Nursery) -> AsyncIterator[int]:
    """The port of a running example."""
    yield await nursery.start(partial(load("own_server").main, port=0))
    nursery.cancel_scope.cancel()


@asynccontextmanager
async def client(port: int, path: str) -> AsyncIterator[WebSocketConnection]:
    """Connect with trio-websocket's client, over a stream of ours: its own leaves sockets open now and then."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream, trio.open_nursery() as nursery:
        socket = await wrap_client_stream(nursery, stream, "127.0.0.1", path)
        yield socket
        await socket.aclose()


async def hear(socket: WebSocketConnection) -> str:
    """Return the next text."""
    return str(await socket.get_message())


async def test_clients_of_ones_own_server_talk_in_a_room(own_server: int) -> None:
    """What one says reaches the other, and a late comer sees it too."""
    with trio.fail_after(PATIENCE):
        async with client(own_server, "/team/ada") as ada:
            await ada.send_message("hello")

            assert await hear(ada) == "ada: hello"
            async with client(own_server, "/team/bob") as bob:
                assert await hear(bob) == "ada: hello"
                await bob.send_message("hello yourself")

                assert await hear(ada) == "bob: hello yourself"


async def test_rooms_of_ones_own_server_are_apart(own_server: int) -> None:
    """Nobody hears another room."""
    with trio.fail_after(PATIENCE):
        async with client(own_server, "/red/ada") as ada, client(own_server, "/blue/bob") as bob:
            await ada.send_message("red")
            await hear(ada)
            await bob.send_message("blue")

            assert await hear(bob) == "bob: blue"


@pytest.mark.parametrize("path", ["/a%20room/ada", "/nobody/"])
async def test_who_cannot_be_seated_is_told_why(own_server: int, path: str) -> None:
    """A room or a name that cannot be one ends that connection; the server goes on."""
    with trio.fail_after(PATIENCE):
        async with client(own_server, path) as refused:
            with pytest.raises(ConnectionClosed) as closed:
                await refused.get_message()
        async with client(own_server, "/team/ada") as ada:
            await ada.send_message("still here")

            assert await hear(ada) == "ada: still here"
    assert closed.value.reason is not None
    assert closed.value.reason.code == 1011
    assert "expected 1-128 characters" in str(closed.value.reason.reason)


async def test_what_cannot_be_posted_ends_the_connection_with_the_reason(own_server: int) -> None:
    """An empty text is no message."""
    with trio.fail_after(PATIENCE):
        async with client(own_server, "/team/ada") as ada:
            await ada.send_message("")
            with pytest.raises(ConnectionClosed) as closed:
                await ada.get_message()
    assert closed.value.reason is not None
    assert "content: expected a text" in str(closed.value.reason.reason)


# --- real stores


async def test_the_same_room_lives_on_real_stores(
    valkey_server: str,
    postgres_server: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What one run of the program has posted, the next one finds. Two servers take part, started for the session."""
    monkeypatch.setenv("REDIS_URL", valkey_server)
    monkeypatch.setenv("DATABASE_URL", postgres_server)
    monkeypatch.setenv("REDIS_PREFIX", "real-stores")
    with trio.fail_after(PATIENCE):
        await load("real_stores").main()
        await load("real_stores").main()

    assert capsys.readouterr().out.splitlines() == [
        "0 messages in the window",
        "message 1 is in redis",
        "ada: kept",
        "1 messages in the window",
        "message 2 is in redis",
        "ada: kept",
        "ada: kept",
    ]
