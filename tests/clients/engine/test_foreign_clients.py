"""Clients that share no code with us."""

from __future__ import annotations

import http.client
import importlib.util
import json
import logging
import threading
from pathlib import Path
from typing import Any

import engineio
import pytest
import trio
import trio.testing

from .house import PATH, PATIENCE


class Visitor:
    """python-engineio's client, in a thread."""

    def __init__(self, url: str, transports: list[str] | None) -> None:
        self.client = engineio.Client(logger=logging.getLogger("quiet"), handle_sigint=False)
        self.url = url
        self.transports = transports
        self.heard: list[str] = []
        self.enough = threading.Event()
        self.gone = threading.Event()
        self.client.on("message", self.hear)
        self.client.on("disconnect", lambda *_: self.gone.set())

    def hear(self, text: str) -> None:
        """Keep it."""
        self.heard.append(text)
        if len(self.heard) == 50:
            self.enough.set()

    def visit(self) -> str:
        """Come, say fifty things, hear them, go; return what carried it in the end."""
        self.client.connect(self.url, engineio_path=PATH, transports=self.transports)
        carrier: str = self.client.transport()
        for number in range(50):
            self.client.send(f"message {number}")
        assert self.enough.wait(PATIENCE), self.heard
        self.client.disconnect()
        assert self.gone.wait(PATIENCE)
        return carrier


@pytest.mark.filterwarnings(
    "ignore:unclosed <socket"
)  # the client leaves its sockets to the garbage collector
@pytest.mark.parametrize(
    ("transports", "carrier"),
    [(None, "websocket"), (["polling"], "polling"), (["websocket"], "websocket")],
    ids=["default", "polling", "websocket"],
)
async def test_python_engineio(start: Any, transports: list[str] | None, carrier: str) -> None:
    """The client everybody uses in Python comes, moves if it may, hears everything once in order, and leaves."""
    served = await start(ping_interval=0.2, ping_timeout=0.2)
    visitor = Visitor(f"http://127.0.0.1:{served.server.port}", transports)

    assert await trio.to_thread.run_sync(visitor.visit) == carrier
    assert visitor.heard == [f"message {number}" for number in range(50)]
    await served.last.expect_over()
    assert [told.closed for told in served.told] == [1]


async def test_echo_application(nursery: trio.Nursery) -> None:
    """The application for the official suite echoes texts and binary messages."""
    path = Path(__file__).parent.parent / "echo_engineio.py"
    spec = importlib.util.spec_from_file_location("echo_engineio", path)
    assert spec is not None
    assert spec.loader is not None
    echo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(echo)
    port = await nursery.start(echo.serve, echo.Echo, PATH, 0)

    def talk() -> bytes:
        client = http.client.HTTPConnection("localhost", port, timeout=PATIENCE)
        client.request("GET", f"{PATH}?EIO=4&transport=polling")
        query = f"{PATH}?EIO=4&transport=polling&sid={json.loads(client.getresponse().read()[1:])['sid']}"
        client.request("POST", query, b"4hello\x1ebAQIDBA==")
        client.getresponse().read()
        client.request("GET", query)
        body = client.getresponse().read()
        client.close()
        return body

    assert await trio.to_thread.run_sync(talk) == b"4hello\x1ebAQIDBA=="
    nursery.cancel_scope.cancel()
