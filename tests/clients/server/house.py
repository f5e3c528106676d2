"""Handshakes as bytes, proper and changed, and the answer to a proper one."""

from __future__ import annotations

from typing import Any

import trio

PROPER = {
    "Host": "server",
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def handshake(line: str = "GET /ws HTTP/1.1", /, **changes: str | None) -> bytes:
    """A proper handshake with some headers changed (underscores stand for hyphens) or left out (None)."""
    headers = PROPER | {name.replace("_", "-"): value for name, value in changes.items()}
    lines = [line, *(f"{name}: {value}" for name, value in headers.items() if value is not None)]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


async def accepted(wire: Any) -> None:
    """Expect the answer to a handshake and nothing else."""
    with trio.fail_after(5):
        data = await wire.stream.receive_some()

    assert data.startswith(b"HTTP/1.1 101 "), data
    assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in data
    assert data.endswith(b"\r\n\r\n")
