"""An echo over the real transport, for the Autobahn|Testsuite. `docs/testing.md` says how to run it.

    python tests/battery/bad_input/autobahn_echo.py PORT [--slow-lane] [--binary]

`--slow-lane` keeps texts off the fast lane, so that trio-websocket reads everything. The server refuses binary messages
(1003) before anything reads them; `--binary` takes that one judgement away and echoes them, for the suite's few binary
cases.
"""

from __future__ import annotations

import argparse
import logging
from typing import Any

import trio
import trio_websocket

from trio_chat.clients import frames
from trio_chat.clients.frames import text_frame
from trio_chat.clients.server import serve_clients
from trio_chat.clients.transport import Link


class Echo:
    """A conversation that says again what it hears."""

    def __init__(self, link: Link, *, fast: bool) -> None:
        self._link = link
        link.scanner.fast = fast

    def on_text(self, payload: bytes) -> None:
        """Say it again."""
        self._link.offer(text_frame(payload))

    def on_closed(self) -> None:
        """Nothing is to be let go."""


def echo_binary() -> None:
    """Let binary messages pass, and echo them where trio-websocket has read them."""
    refuse_others, read_message = frames._judge, trio_websocket.WebSocketConnection.get_message

    def judge(first: int, second: int, length: int) -> None:
        refuse_others(first & ~3 | 1 if first & 0x7F == 2 else first, second, length)

    async def get_message(websocket: Any) -> Any:
        while not isinstance(message := await read_message(websocket), str):
            await websocket.send_message(message)
        return message

    frames._judge = judge
    trio_websocket.WebSocketConnection.get_message = get_message  # type: ignore[method-assign]


async def main(port: int, *, fast: bool) -> None:
    """Serve until interrupted."""
    listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
    await serve_clients(listeners, {"/": lambda link: Echo(link, fast=fast)})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("port", type=int)
    parser.add_argument("--slow-lane", action="store_true")
    parser.add_argument("--binary", action="store_true")
    options = parser.parse_args()
    logging.basicConfig()
    if options.binary:
        echo_binary()
    trio.run(lambda: main(options.port, fast=not options.slow_lane))
