"""A connection of a bench, with servers that are no chat, or chats of an unusual kind."""

from __future__ import annotations

import io
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio_websocket
import trustme
from rich.console import Console

from trio_chat.bench import member
from trio_chat.bench.plan import Plan
from trio_chat.bench.run import measure
from trio_chat.bench.wire import RESOURCES
from trio_chat.errors import BadRequest
from trio_chat.place import Ended, Place, explain
from trio_chat.screen import Screen

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from trio_chat.app import App
    from trio_chat.bench.report import Report
    from trio_chat.bench.wire import WireName

PATIENCE = 20


async def run(url: str) -> Report:
    plan = Plan(url=url, hello=lambda _: {"user": "ada"}, rooms=1, members=1, window=1, messages=1)
    with trio.fail_after(PATIENCE), Screen(Console(file=io.StringIO())) as screen:
        return await measure(plan, screen)


async def refusal(url: str) -> str:
    with pytest.raises(BadRequest) as refused:
        await run(url)
    return str(refused.value).removeprefix(f"{url}: ")


@asynccontextmanager
async def listening(handle: Callable[[trio.SocketStream], Awaitable[Any]]) -> AsyncIterator[str]:
    """Have something answer at a URL for as long as the block."""
    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        await nursery.start(trio.serve_listeners, handle, [listener])
        yield f"ws://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


async def stay_silent(stream: trio.SocketStream) -> None:
    async for _ in stream:
        pass


async def accept_and_stay_silent(stream: trio.SocketStream) -> None:
    async with trio.open_nursery() as nursery:
        request = await trio_websocket.wrap_server_stream(nursery, stream)
        socket = await request.accept()
        await socket.get_message()


def fragments(*texts: bytes) -> bytes:
    """Return each text as a message of two fragments."""
    return b"".join(b"\x01\x01%b\x80%c%b" % (text[:1], len(text) - 1, text[1:]) for text in texts)


async def chat_in_fragments(stream: trio.SocketStream) -> None:
    """Be a chat with one member and one message."""
    async with trio.open_nursery() as nursery:
        request = await trio_websocket.wrap_server_stream(nursery, stream)
        socket = await request.accept()
        await socket.get_message()
        await stream.send_all(fragments(b'{"type":"welcome"}'))
        room = (await socket.get_message()).partition('"room": "')[2].partition('"')[0].encode()
        await stream.send_all(fragments(b'{"type":"room:joined"}'))
        await socket.get_message()
        new = b'{"type":"message:new","room":"%b","message":{"id":"1"}}' % room
        await stream.send_all(
            fragments(new, b'{"type":"ack","ref":1,"epoch":"e","seq":1,"durability":"redis"}')
        )
        with pytest.raises(trio_websocket.ConnectionClosed):
            await socket.get_message()


async def test_messages_may_come_in_fragments() -> None:
    """A proxy may cut them; they are heard all the same."""
    async with listening(chat_in_fragments) as url:
        report = await run(url)

    assert report.passed
    assert report.deliveries == 1


@pytest.mark.parametrize("handle", [stay_silent, accept_and_stay_silent])
async def test_a_server_that_does_not_answer_is_given_up(
    monkeypatch: pytest.MonkeyPatch, handle: Callable[[trio.SocketStream], Awaitable[Any]]
) -> None:
    """Whether it speaks WebSocket or not."""
    monkeypatch.setattr(member, "CONNECT_SECONDS", 0.05)
    async with listening(handle) as url:
        assert await refusal(url) == "no answer within 10 s"


async def test_a_server_that_does_not_let_anybody_join_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be waited for for ever. Takes half a second: on a busy machine, too, they have shaken hands by then."""

    async def welcome(stream: trio.SocketStream) -> None:
        async with trio.open_nursery() as nursery:
            request = await trio_websocket.wrap_server_stream(nursery, stream)
            socket = await request.accept()
            await socket.send_message('{"type":"welcome"}')
            await socket.get_message()
            await socket.get_message()
            with pytest.raises(trio_websocket.ConnectionClosed):
                await socket.get_message()

    monkeypatch.setattr(member, "CONNECT_SECONDS", 0.5)
    async with listening(welcome) as url:
        assert await refusal(url) == "no answer to the request to join within 0.5 s"


@pytest.mark.parametrize("politely", [True, False])
async def test_a_server_that_hangs_up_is_said_in_a_line(politely: bool) -> None:
    """Before it has said anything: trio-websocket alone would wait for its answer."""

    async def hang_up(stream: trio.SocketStream) -> None:
        # What was not read when a socket is closed makes it a reset.
        await stream.receive_some(None if politely else 1)
        await stream.aclose()

    async with listening(hang_up) as url:
        assert await refusal(url) == "the connection was cut during the handshake"


async def test_it_speaks_tls_to_those_it_trusts(
    serving: Callable[..., AbstractAsyncContextManager[App]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the authorities of the system. Others are refused in a line."""
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    certificate.private_key_pem.write_to_path(tmp_path / "key")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert")
    authority.cert_pem.write_to_path(tmp_path / "ca")
    async with serving(tls_cert=tmp_path / "cert", tls_key=tmp_path / "key") as app:
        url = f"wss://localhost:{app.port}"
        doubt = await refusal(url)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca"))
        report = await run(url)

    assert "certificate verify failed" in doubt
    assert report.passed


@pytest.mark.parametrize("path", ["", "/", "/ws", "/socket.io/"])
@pytest.mark.parametrize(
    ("wire", "resource"), [("native", "/ws"), ("socketio", "/socket.io/?EIO=4&transport=websocket")]
)
def test_one_url_is_enough_for_both_wires(path: str, wire: WireName, resource: str) -> None:
    """The usual paths follow from the wire; any other is believed."""
    assert Place.of(f"ws://a:1{path}", RESOURCES[wire]) == Place(False, "a", 1, "a:1", resource)
    assert Place.of("https://u:p@a/chat?x=1", RESOURCES[wire]) == Place(True, "a", 443, "a", "/chat?x=1")


@pytest.mark.parametrize(
    ("failure", "ended"),
    [
        (trio_websocket.ConnectionClosed(None), Ended("the connection was cut")),
        (
            trio_websocket.ConnectionClosed(trio_websocket.CloseReason(1012, "")),
            Ended("closed by the server with 1012: SERVICE_RESTART"),
        ),
        (
            trio_websocket.ConnectionClosed(trio_websocket.CloseReason(4529, "too many")),
            Ended("closed by the server with 4529: too many", "too_many_connections"),
        ),
        (
            trio_websocket.ConnectionRejected(502, [], b"<h1>\x1b[31mBad\r\ngateway"),
            Ended("the server answered with HTTP status 502: <h1> [31mBad  gateway"),
        ),
        (
            ExceptionGroup("", [OSError(24, "Too many open files")]),
            Ended("cannot be reached: Too many open files"),
        ),
        (trio.BrokenResourceError(), Ended("cannot be reached: BrokenResourceError")),
    ],
)
def test_each_end_of_a_connection_has_its_line(failure: BaseException, ended: Ended) -> None:
    """Fit for a terminal, with the code that says which advice fits."""
    assert explain(failure) == ended
