"""The heads of requests, and the opening handshake, judged before any other library sees them. Pure.

1. Every head is read here (by h11) and judged, whatever it asks for. It must leave no doubt about where it ends,
   where its body ends and whom it is for: a proxy in between must have understood the same.
2. A request that is not a proper WebSocket handshake for one of our paths is `Refused`: an HTTP status and a text
   that tells a person what was expected. Of a proper one, trio-websocket gets to see a canonical head, with the
   client's key and nothing else of theirs: a hostile header has no code left to break.
3. Headers stay bytes. The ones that a handshake is made of must be ASCII; the others are the application's.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Collection, Mapping
from http import HTTPStatus
from typing import Final

import h11
import msgspec

_VERSION: Final = b"13"
_NONCE: Final = 16
_HTTP_VERSIONS: Final = (b"1.0", b"1.1")
_HEAD_ENDS: Final = b"\r\n\r\n"
# A line that ends with less than CRLF, or one that goes on in the next. RFC 9112 lets a server accept the first and
# asks it to refuse the second; h11 accepts both.
_LOOSE_LINES: Final = re.compile(rb"(?<!\r)\n|\r[^\n]|\n[ \t]")
# h11 keeps one of two that are equal.
_LENGTHS: Final = re.compile(rb"\ncontent-length:([^\r]*)", re.IGNORECASE)
# RFC 3986, section 3.2.2: an address in brackets, or a name; then perhaps a port.
_HOST: Final = re.compile(
    rb"(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+)(?::[0-9]*)?"
)
_JUDGED: Final = (b"host", b"connection", b"upgrade")
_PREFIX: Final = b"sec-websocket-"
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_ACCEPT: Final = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: %b\r\n\r\n"
)
_CANONICAL: Final = (
    b"GET / HTTP/1.1\r\nHost: trio-chat\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n"
)


class Request(msgspec.Struct, frozen=True):
    """How a client asked for its connection.

    Attributes:
        path: the path of the request target, as it was sent.
        query: what followed the question mark, as it was sent; "" without one.
        headers: by lower-case name; the values of a repeated header are joined by a comma.
        peer: the other end's address, for people.
        secure: whether the connection is encrypted.
    """

    path: str
    query: str
    headers: Mapping[bytes, bytes]
    peer: str
    secure: bool

    @property
    def bearer(self) -> str | None:
        """The token of an ``Authorization: Bearer`` header (RFC 6750, section 2.1); None without one."""
        header = self.headers.get(b"authorization", b"")
        return header[7:].strip().decode("latin-1") if header[:7].lower() == b"bearer " else None


class Refused(Exception):
    """A request is answered with an HTTP status instead of a WebSocket.

    Args:
        status: the HTTP status.
        text: what was expected, for a person. Sent as the body.
        headers: what else to send.
    """

    def __init__(self, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, text)
        self.status = HTTPStatus(status)
        self.text = text
        self.headers = headers or {}

    def response(self) -> bytes:
        """Return the whole HTTP response. The connection is to be closed after it."""
        body = self.text.encode() + b"\n"
        lines = [
            f"HTTP/1.1 {self.status.value} {self.status.phrase}",
            "Content-Type: text/plain; charset=utf-8",
            f"Content-Length: {len(body)}",
            "Connection: close",
            *(f"{name}: {value}" for name, value in self.headers.items()),
        ]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Head(msgspec.Struct, frozen=True):
    """The head of an HTTP request.

    Attributes:
        method: as it was sent.
        target: as it was sent.
        version: of HTTP, such as ``1.1``.
        headers: see `Request.headers`.
        repeated: the names of headers that came more than once.
        rest: what has been read beyond the head.
    """

    method: bytes
    target: bytes
    version: bytes
    headers: Mapping[bytes, bytes]
    repeated: frozenset[bytes]
    rest: bytes


class HeadReader:
    """Collects the head of one HTTP request.

    Attributes:
        received: everything that was fed so far.
    """

    def __init__(self, limit: int) -> None:
        """Read a head of at most `limit` bytes."""
        self._limit = limit
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=limit)
        self.received = b""

    def feed(self, data: bytes) -> Head | None:
        """Take the next bytes; return the head once it is complete.

        Raises:
            Refused: this is not HTTP, or a loose form of it, or too much of it.
        """
        before = len(self.received)
        self.received += data
        end = self.received.find(_HEAD_ENDS, max(0, before - len(_HEAD_ENDS) + 1))
        end = len(self.received) if end < 0 else end + len(_HEAD_ENDS)
        if _LOOSE_LINES.search(self.received, max(0, before - 1), end):
            raise Refused(400, "Expected every line of the head to end with CRLF and to be one header.")
        try:
            self._http.receive_data(data)
            event = self._http.next_event()
        except h11.RemoteProtocolError as error:
            if error.error_status_hint == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE:
                raise self._too_large() from None
            raise Refused(400, "Expected a well-formed HTTP/1.1 request.") from None
        if not isinstance(event, h11.Request):
            return None
        rest, _ = self._http.trailing_data
        if len(self.received) - len(rest) > self._limit:
            raise self._too_large()
        head = _head(event, rest)
        _check_head(head, self.received[:end])
        return head

    def _too_large(self) -> Refused:
        return Refused(431, f"Expected the head of the request to have at most {self._limit} bytes.")


def _head(request: h11.Request, rest: bytes) -> Head:
    headers: dict[bytes, bytes] = {}
    repeated: set[bytes] = set()
    for name, value in request.headers:
        if name in headers:
            repeated.add(name)
            headers[name] += b", " + value
        else:
            headers[name] = value
    return Head(request.method, request.target, request.http_version, headers, frozenset(repeated), rest)


def _check_head(head: Head, raw: bytes) -> None:
    """Refuse what h11 lets pass although two readers may understand it differently (RFC 9112, sections 3 and 6)."""
    if head.version not in _HTTP_VERSIONS:
        raise Refused(505, "Expected HTTP/1.1.")
    if not head.target.startswith(b"/"):
        raise Refused(400, "Expected a request target that begins with a slash.")
    if not head.headers.get(b"host", b"").isascii():
        raise Refused(400, "Expected the header host to be ASCII.")
    if _HOST.fullmatch(head.headers.get(b"host") or b"none") is None:
        raise Refused(400, "Expected the header Host to be a host and perhaps a port.")
    lengths = _LENGTHS.findall(raw)
    if len(lengths) > 1 or b"," in b"".join(lengths):
        raise Refused(400, "Expected one header Content-Length with one number.")
    if b"transfer-encoding" in head.headers and (lengths or head.version == b"1.0"):
        raise Refused(400, "Expected one way to tell the end of the body.")


def split_target(head: Head) -> tuple[str, str]:
    """Return path and query of the request target."""
    target = head.target.decode("ascii")  # h11 lets nothing else pass
    path, _, query = target.partition("?")
    return path, query


def wants_websocket(head: Head) -> bool:
    """Return whether this is an attempt at a WebSocket handshake, however bad."""
    return b"websocket" in head.headers.get(b"upgrade", b"").lower()


def check_upgrade(head: Head) -> None:
    """Judge whether this is a WebSocket handshake (RFC 6455, section 4.2.1).

    Raises:
        Refused: it is not.
    """
    if head.method != b"GET":
        raise Refused(405, "This is a WebSocket endpoint: expected GET.", {"Allow": "GET"})
    _check_ascii(head.headers)
    if b"websocket" not in _tokens(head, b"upgrade"):
        raise Refused(
            426,
            "This is a WebSocket endpoint: connect with a WebSocket client (a ws:// or wss:// address).",
            {"Upgrade": "websocket"},
        )
    if head.version == b"1.0":
        raise Refused(400, "This is a WebSocket endpoint: expected HTTP/1.1.")
    if b"upgrade" not in _tokens(head, b"connection"):
        raise Refused(400, "Expected the header Connection: Upgrade.")
    _check_host(head)
    _check_version(head)
    _check_key(head)
    if head.headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in head.headers:
        raise Refused(400, "Expected a handshake without a body.")


def accept(head: Head) -> bytes:
    """Return the answer to a judged handshake (RFC 6455, section 4.2.2)."""
    digest = hashlib.sha1(head.headers[b"sec-websocket-key"] + _GUID, usedforsecurity=False).digest()
    return _ACCEPT % base64.b64encode(digest)


def canonical(head: Head) -> bytes:
    """Return the handshake as trio-websocket gets to see it."""
    return _CANONICAL % head.headers[b"sec-websocket-key"]


def _tokens(head: Head, name: bytes) -> Collection[bytes]:
    return [token.strip().lower() for token in head.headers.get(name, b"").split(b",")]


def _check_ascii(headers: Mapping[bytes, bytes]) -> None:
    for name, value in headers.items():
        if (name in _JUDGED or name.startswith(_PREFIX)) and not value.isascii():
            raise Refused(400, f"Expected the header {name.decode('ascii')} to be ASCII.")


def _check_host(head: Head) -> None:
    if not head.headers.get(b"host"):
        raise Refused(400, "Expected the header Host.")


def _check_version(head: Head) -> None:
    version = head.headers.get(b"sec-websocket-version")
    if version is None or b"sec-websocket-version" in head.repeated:
        raise Refused(400, "Expected one header Sec-WebSocket-Version: 13.")
    if version != _VERSION:
        raise Refused(426, "Expected Sec-WebSocket-Version: 13.", {"Sec-WebSocket-Version": "13"})


def _check_key(head: Head) -> None:
    key = head.headers.get(b"sec-websocket-key", b"")
    try:
        nonce = binascii.a2b_base64(key, strict_mode=True)
    except binascii.Error:
        nonce = b""
    if len(nonce) != _NONCE:
        raise Refused(400, "Expected one header Sec-WebSocket-Key: 16 bytes in base64.")
