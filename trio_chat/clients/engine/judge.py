"""Who gets an Engine.IO session, by method and query, in the order of the reference server. Pure.

Whoever is turned away gets JSON: a code of `Refusal` and a text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

import msgspec
from typing_extensions import override

from trio_chat.clients.engineio import PROTOCOL, Refusal
from trio_chat.clients.handshake import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

JSON: Final = "application/json"

_TRANSPORTS: Final = ("polling", "websocket")


class EngineRefused(Refused):
    """A request is answered with a status and a `Refusal` in JSON, instead of a WebSocket or packets.

    Args:
        refusal: why.
        text: what was expected, for a person, instead of the usual text.
        status: the HTTP status, instead of the usual one.
        headers: what else to send.
    """

    def __init__(
        self,
        refusal: Refusal,
        text: str | None = None,
        *,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status or refusal.status, text or refusal.name, headers)
        self.refusal = refusal
        self.body = refusal.body(text)

    @override
    def response(self) -> bytes:
        """Return the whole HTTP response. The connection is to be closed after it."""
        lines = [
            f"HTTP/1.1 {self.status.value} {self.status.phrase}",
            f"Content-Type: {JSON}",
            f"Content-Length: {len(self.body)}",
            "Connection: close",
            *(f"{name}: {value}" for name, value in self.headers.items()),
        ]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + self.body


class Asked(msgspec.Struct, frozen=True):
    """What the query of a request says; "" for what it does not say."""

    transport: str
    protocol: str
    sid: str


def read_query(query: str) -> Asked:
    """Read a query. Of a parameter that is repeated the last one counts."""
    values = dict(parse_qsl(query))
    return Asked(values.get("transport", ""), values.get("EIO", ""), values.get("sid", ""))


def judge(asked: Asked, method: str, carrier: str | None, *, upgrade: bool) -> None:
    """Judge a request.

    Args:
        asked: its query.
        method: its method.
        carrier: what carries the session it names; None if there is none of that name.
        upgrade: whether it asks for a WebSocket.

    Raises:
        EngineRefused: it gets none of what it wants.
    """
    if asked.transport not in _TRANSPORTS:
        raise EngineRefused(Refusal.UNKNOWN_TRANSPORT)
    fits = upgrade == (asked.transport == "websocket")
    if asked.sid:
        if carrier is None:
            raise EngineRefused(Refusal.UNKNOWN_SID)
        # A WebSocket for a session that has one already is accepted and closed: that is what clients understand.
        if not fits or (not upgrade and carrier != "polling"):
            raise EngineRefused(Refusal.BAD_REQUEST)
        if method not in {"GET", "POST"}:
            raise EngineRefused(Refusal.BAD_REQUEST, "expected GET or POST")
    elif method != "GET":
        raise EngineRefused(Refusal.BAD_HANDSHAKE_METHOD)
    elif not fits:
        raise EngineRefused(Refusal.BAD_REQUEST)
    if asked.protocol != PROTOCOL:
        raise EngineRefused(Refusal.UNSUPPORTED_PROTOCOL_VERSION)
