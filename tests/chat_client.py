"""A chat client that shares no code with the server, and the server as a process of its own.

`connect` speaks through the sans-IO protocol of the `websockets` package over Trio. Everything a client expects must
come within `PATIENCE`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import deque
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import trio
from websockets.client import ClientProtocol
from websockets.frames import Close, Opcode
from websockets.http11 import Response
from websockets.uri import parse_uri

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Iterator, Mapping
    from pathlib import Path

PATIENCE = 10
"""Seconds after which a test that waits for the other side has failed."""


class Turned(Exception):
    """The server answered the handshake with another status."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status_code, response.body)
        self.status = response.status_code


class Chat:
    """A connected client. Lives as long as the block of `connect`."""

    def __init__(self, stream: trio.abc.Stream, url: str, headers: Mapping[str, str]) -> None:
        self._stream = stream
        self._protocol = ClientProtocol(parse_uri(url), max_size=None)
        self._headers = headers
        self._heard: deque[dict[str, Any]] = deque()
        self._response: Response | None = None
        self.closed: Close | None = None

    async def shake_hands(self) -> None:
        """Open the WebSocket."""
        request = self._protocol.connect()
        for name, text in self._headers.items():
            request.headers[name] = text
        self._protocol.send_request(request)
        await self._flush()
        with trio.fail_after(PATIENCE):
            while self._response is None:
                if self.closed is not None:
                    raise EOFError(self.closed)
                await self._receive()
        if self._protocol.handshake_exc is not None:
            raise Turned(self._response) from self._protocol.handshake_exc

    async def say(self, kind: str, **fields: Any) -> None:
        """Send a request."""
        await self.say_text(json.dumps({"type": kind, **fields}))

    async def say_text(self, text: str) -> None:
        """Send a text."""
        self._protocol.send_text(text.encode())
        await self._flush()

    async def hear(self) -> dict[str, Any]:
        """Return the next thing the server says."""
        with trio.fail_after(PATIENCE):
            while not self._heard:
                if self.closed is not None:
                    raise EOFError(self.closed)
                await self._receive()
        return self._heard.popleft()

    async def expect(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Return the next thing the server says, which has this type and these fields."""
        said = await self.hear()
        if said["type"] != kind or {name: said.get(name) for name in fields} != fields:
            raise AssertionError(f"expected {kind} with {fields}, heard {said}")
        return said

    async def until(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Return the next thing of this type and these fields, whatever else comes before it."""
        while True:
            said = await self.hear()
            if said["type"] == kind and {name: said.get(name) for name in fields} == fields:
                return said

    async def join(self, room: str, **fields: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Join a room. Returns the answer, and the window or the changes that came with it."""
        await self.say("room:join", room=room, **fields)
        joined = await self.until("room:joined", room=room)
        if joined["recovered"]:
            changes: list[dict[str, Any]] = []
            while (said := await self.hear())["type"] != "room:live":
                changes.append(said)
        else:
            changes = (await self.expect("messages:history", room=room))["messages"]
        await self.expect("receipt:list", room=room)
        await self.expect("presence:list", room=room)
        return joined, changes

    async def send(self, room: str, content: str, **fields: Any) -> dict[str, Any]:
        """Send a message and return its ack."""
        await self.say("message:send", room=room, content=content, **fields)
        return await self.until("ack")

    async def send_many(self, room: str, contents: list[str], window: int = 50) -> list[dict[str, Any]]:
        """Send messages, so many at a time, and return their acks in order."""
        acks: list[dict[str, Any]] = []
        for start in range(0, len(contents), window):
            part = contents[start : start + window]
            for content in part:
                self._protocol.send_text(
                    json.dumps({"type": "message:send", "room": room, "content": content}).encode()
                )
            await self._flush()
            acks += [await self.until("ack") for _ in part]
        return acks

    async def expect_close(self) -> Close:
        """Wait for the server to close, and return how."""
        with trio.fail_after(PATIENCE):
            while self.closed is None:
                await self._receive()
        return self.closed

    async def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                try:
                    await self._stream.send_all(data)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    return

    async def _receive(self) -> None:
        try:
            data = await self._stream.receive_some()
        except trio.BrokenResourceError:
            data = b""
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
        for event in self._protocol.events_received():
            if isinstance(event, Response):
                self._response = event
            elif event.opcode is Opcode.TEXT:
                self._heard.append(json.loads(event.data))
            elif event.opcode is Opcode.CLOSE:
                self.closed = Close.parse(event.data)
        if not data and self.closed is None:
            self.closed = Close(1006, "no close frame")
        await self._flush()


@asynccontextmanager
async def connect(
    url: str, *, headers: Mapping[str, str] | None = None, tls: ssl.SSLContext | None = None, **hello: Any
) -> AsyncIterator[Chat]:
    """Connect for as long as the block; with `token` or `user` say hello and be welcomed first."""
    place = urlsplit(url)
    assert place.hostname is not None
    stream: trio.abc.Stream = await trio.open_tcp_stream(place.hostname, place.port or 80)
    if tls is not None:
        stream = trio.SSLStream(stream, tls, server_hostname=place.hostname, https_compatible=True)
    try:
        chat = Chat(stream, url, headers or {})
        await chat.shake_hands()
        if hello:
            await chat.say("hello", **hello)
            await chat.expect("welcome")
        yield chat
    finally:
        await trio.aclose_forcefully(stream)


class Served:
    """`trio-chat serve` as a process. Lives until `stop` or `kill`; may be started again.

    Args:
        directory: for its output and, unless the settings name another one, its data.
        settings: environment variables. The port is a free one unless they name it.
    """

    def __init__(self, directory: Path, **settings: str) -> None:
        self.directory = directory
        self.environment = {
            "PATH": os.environ["PATH"],
            "DATA_DIR": str(directory),
            "PORT": "0",
            "RATE_LIMITS": "off",
            **settings,
        }
        self.url = ""
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """What it has logged since its last start."""
        return (self.directory / "stderr").read_text()

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it, and return when it listens."""
        with (self.directory / "stdout").open("wb") as out, (self.directory / "stderr").open("wb") as err:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "trio_chat", "serve"], env=self.environment, stdout=out, stderr=err
            )
        deadline = time.monotonic() + 30
        while "listens on" not in (said := (self.directory / "stdout").read_text()):
            if not self.running or time.monotonic() > deadline:
                raise AssertionError(f"it did not start: {self.log}")
            # A process has no other way to say that it listens than to print it.
            time.sleep(0.01)
        self.url = said.partition("listens on ")[2].split()[0]

    def signal_stop(self) -> None:
        """Ask it to stop, as a service manager does."""
        assert self._process is not None
        self._process.terminate()

    def wait(self) -> int:
        """Return its exit status, once it has one."""
        assert self._process is not None
        return self._process.wait(15)

    def stop(self) -> int:
        """Stop it in good order, if it runs; return its exit status."""
        self.signal_stop()
        return self.wait()

    def kill(self) -> None:
        """End it without warning."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def run(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run another command beside it, with the same settings, to its end."""
        return run(*arguments, environment={**self.environment, **settings})


@contextmanager
def started(directory: Path, **settings: str) -> Iterator[Served]:
    """Run a server for as long as the block."""
    served = Served(directory, **settings)
    try:
        served.start()
        yield served
    finally:
        if served.running:
            served.kill()


def run(*arguments: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command of trio-chat to its end."""
    return subprocess.run(
        [sys.executable, "-m", "trio_chat", *arguments],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
