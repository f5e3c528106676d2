"""A client of each wire."""

from __future__ import annotations

from collections.abc import Callable

from .carriers import Polling, WebSocket
from .client import Client
from .native import Native
from .socketio import SocketIO

CLIENTS: dict[str, Callable[[str, str, str], Client]] = {
    "native": lambda user, port, token: Native(user, f"ws://127.0.0.1:{port}/ws", token, WebSocket.open),
    "socketio": lambda user, port, token: SocketIO(
        user, f"ws://127.0.0.1:{port}/socket.io/?EIO=4&transport=websocket", token, WebSocket.open
    ),
    "polling": lambda user, port, token: SocketIO(
        user, f"http://127.0.0.1:{port}/socket.io/", token, Polling.open
    ),
}
"""What makes a client, by wire: of a user, a port and a token."""
