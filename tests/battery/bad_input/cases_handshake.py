"""Requests that are no proper handshake, and the HTTP status each must get. Never 101.

Every case is a name, the bytes, and the status; 0 stands for an end without an answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from .house import ORIGIN
from .peer import HEADERS, KEY, PATHS, handshake

Case: TypeAlias = tuple[str, bytes, int]

METHODS = ("POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "CONNECT", "get", "FOO", "GETGET")

# Of a whole handshake, these headers make a bad one, whatever the path.
HEADER_CASES: dict[str, tuple[dict[str, str | None], int]] = {
    "no connection": ({"Connection": None}, 400),
    "empty connection": ({"Connection": ""}, 400),
    "connection keep-alive": ({"Connection": "keep-alive"}, 400),
    "connection close": ({"Connection": "close"}, 400),
    "connection of a similar name": ({"Connection": "upgraded"}, 400),
    "connection in quotes": ({"Connection": '"Upgrade"'}, 400),
    "upgrade with a version": ({"Upgrade": "websocket/13"}, 426),
    "upgrade of a similar name": ({"Upgrade": "websockets"}, 426),
    "upgrade in quotes": ({"Upgrade": '"websocket"'}, 426),
    "no key": ({"Sec-WebSocket-Key": None}, 400),
    "empty key": ({"Sec-WebSocket-Key": ""}, 400),
    "key of 15 bytes": ({"Sec-WebSocket-Key": "YWFhYWFhYWFhYWFhYWFh"}, 400),
    "key of 17 bytes": ({"Sec-WebSocket-Key": "YWFhYWFhYWFhYWFhYWFhYWE="}, 400),
    "key without padding": ({"Sec-WebSocket-Key": KEY.rstrip("=")}, 400),
    "key with padding in the middle": ({"Sec-WebSocket-Key": "dGhl=HNhbXBsZSBub25jZQ="}, 400),
    "key that is no base64": ({"Sec-WebSocket-Key": "!" * 24}, 400),
    "key in base64 for URLs": ({"Sec-WebSocket-Key": "-_-_-_-_-_-_-_-_-_-_-w=="}, 400),
    "key with a space": ({"Sec-WebSocket-Key": f"{KEY[:8]} {KEY[8:]}"}, 400),
    "two keys in one": ({"Sec-WebSocket-Key": f"{KEY}, {KEY}"}, 400),
    "two keys": ({"sec-websocket-key": KEY}, 400),
    "key of 10 kB": ({"Sec-WebSocket-Key": "A" * 10_000}, 400),
    "no version": ({"Sec-WebSocket-Version": None}, 400),
    "two versions": ({"sec-websocket-version": "13"}, 400),
    "empty version": ({"Sec-WebSocket-Version": ""}, 426),
    **{
        f"version {version}": ({"Sec-WebSocket-Version": version}, 426)
        for version in (
            "0",
            "7",
            "8",
            "14",
            "-13",
            "013",
            "13.0",
            "1 3",
            "13, 8",
            "0x0d",
            "thirteen",
            "1" * 5000,
        )
    },
    "no host": ({"Host": None}, 400),
    "empty host": ({"Host": ""}, 400),
    "two hosts": ({"host": "other"}, 400),
    "a space in the host": ({"Host": "a b"}, 400),
    "a tab in the host": ({"Host": "a\tb"}, 400),
    "a user in the host": ({"Host": "user@host"}, 400),
    "a path in the host": ({"Host": "host/path"}, 400),
    "a host with a port that is none": ({"Host": "host:http"}, 400),
    "a host with two ports": ({"Host": "host:80:80"}, 400),
    "a host with half a bracket": ({"Host": "[::1"}, 400),
    "a host in quotes": ({"Host": '"host"'}, 400),
    "a host with half an escape": ({"Host": "host%4"}, 400),
    **{
        f"non-ASCII {name}": ({name: (HEADERS.get(name) or "x") + ", \xff"}, 400)
        for name in (*HEADERS, "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions", "Sec-WebSocket-Accept")
    },
    "a NUL in a header": ({"Cookie": "a\0b"}, 400),
    "a bare carriage return in a header": ({"Cookie": "a\rb"}, 400),
    "a bare line feed in a header": ({"Cookie": "a\nb"}, 400),
    "a folded header": ({"Cookie": "a\r\n b"}, 400),
    "a header folded by a tab": ({"Cookie": "a\r\n\tb"}, 400),
    "a header line without a colon": ({"Cookie": "a\r\nno colon"}, 400),
    "a header without a name": ({"": "x"}, 400),
    "a header with a space in its name": ({"a b": "x"}, 400),
    "a space before the colon": ({"Cookie ": "x"}, 400),
    "a non-ASCII name": ({"K\xffy": "x"}, 400),
    "a NUL in a name": ({"K\0y": "x"}, 400),
    "a response in a header": ({"X": "a\r\n\r\nHTTP/1.1 200 OK"}, 101),
    "a length of 2": ({"Content-Length": "2"}, 400),
    "a length below 0": ({"Content-Length": "-1"}, 400),
    "a length with a sign": ({"Content-Length": "+0"}, 400),
    "a length that is no number": ({"Content-Length": "two"}, 400),
    "an empty length": ({"Content-Length": ""}, 400),
    "a length in hexadecimal": ({"Content-Length": "0x0"}, 400),
    "a length of 5000 digits": ({"Content-Length": "9" * 5000}, 400),
    "two lengths": ({"Content-Length": "0", "content-length": "0"}, 400),
    "two lengths that differ": ({"Content-Length": "0", "content-length": "2"}, 400),
    "two lengths in one": ({"Content-Length": "0, 0"}, 400),
    "chunks": ({"Transfer-Encoding": "chunked"}, 400),
    "chunks and a length": ({"Transfer-Encoding": "chunked", "Content-Length": "0"}, 400),
    "an unknown coding": ({"Transfer-Encoding": "gzip"}, 400),
    "a coding twice": ({"Transfer-Encoding": "chunked, chunked"}, 400),
    "a coding in disguise": ({"Transfer-Encoding": "\x0bchunked"}, 400),
    "a header of 17 kB": ({"Cookie": "x" * 17_000}, 431),
    "a name of 17 kB": ({"x" * 17_000: "x"}, 431),
    "a thousand headers": ({f"X-{number}": "x" * 10 for number in range(1000)}, 431),
    "eight thousand empty headers": ({f"{number:x}": "" for number in range(8000)}, 431),
}
del HEADER_CASES["a response in a header"]  # that is a good handshake, and a stray text behind it

LINES: dict[str, tuple[str, int]] = {
    **{f"method {method}": (f"{method} {{}} HTTP/1.1", 405) for method in METHODS},
    "HTTP/0.9": ("GET {} HTTP/0.9", 505),
    "HTTP/1.0": ("GET {} HTTP/1.0", 400),
    "HTTP/1.2": ("GET {} HTTP/1.2", 505),
    "HTTP/2.0": ("GET {} HTTP/2.0", 505),
    "HTTP/3.0": ("GET {} HTTP/3.0", 505),
    "HTTP/11": ("GET {} HTTP/11", 400),
    "HTTP/1.1.1": ("GET {} HTTP/1.1.1", 400),
    "http/1.1": ("GET {} http/1.1", 400),
    "HTPP/1.1": ("GET {} HTPP/1.1", 400),
    "no version of HTTP": ("GET {}", 400),
    "no method": ("{} HTTP/1.1", 400),
    "no target": ("GET HTTP/1.1", 400),
    "an empty target": ("GET  HTTP/1.1", 400),
    "two targets": ("GET {} {} HTTP/1.1", 400),
    "a tab for a space": ("GET\t{}\tHTTP/1.1", 400),
    "a space first": (" GET {} HTTP/1.1", 400),
    "a whole URL": ("GET http://server{} HTTP/1.1", 400),
    "a whole URL of another host": ("GET http://other{} HTTP/1.1", 400),
    "an asterisk": ("GET * HTTP/1.1", 400),
    "a relative target": ("GET .{} HTTP/1.1", 400),
    "a non-ASCII target": ("GET {}\xff HTTP/1.1", 400),
    "a NUL in the target": ("GET {}\0 HTTP/1.1", 400),
    "a carriage return in the target": ("GET {}\rx HTTP/1.1", 400),
    "a non-ASCII method": ("G\xcbT {} HTTP/1.1", 400),
    "a target of 17 kB": ("GET {}?" + "x" * 17_000 + " HTTP/1.1", 431),
    "a method of 17 kB": ("G" * 17_000 + " {} HTTP/1.1", 431),
}

NO_HTTP: dict[str, tuple[bytes, int]] = {
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)), 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "SSH": (b"SSH-2.0-OpenSSH_9.2\r\n", 408),
    "Redis": (b"*1\r\n$4\r\nPING\r\n", 408),
    "Postgres": (b"\x00\x00\x00\x08\x04\xd2\x16\x2f\r\n\r\n", 400),
    "SOCKS": (b"\x05\x01\x00\r\n\r\n", 400),
    "a frame": (b"\x81\x85\0\0\0\0hello\r\n\r\n", 400),
    "a JSON object": (b'{"type": "hello"}\r\n\r\n', 400),
    "zeros": (bytes(5000), 400),
    "ones": (b"\xff" * 5000 + b"\r\n\r\n", 400),
    "a line of 100 kB": (b"G" * 100_000, 431),
    "a response": (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 400),
    "line feeds only": (handshake().replace(b"\r\n", b"\n"), 400),
    "carriage returns only": (handshake().replace(b"\r\n", b"\r"), 400),
    "a BOM first": (b"\xef\xbb\xbf" + handshake(), 400),
}

NOWHERE = (
    "/", "/other", "/WS", "/ws/", "/ws/x", "//ws", "/./ws", "/x/../ws", "/%77s", "/ws%00", "/ws%20", "/ws;x=1",
    "/socket.io", "/socket.io//", "/socket.io/x", "/SOCKET.IO/", "/.env", "/socket.io/../ws", "/ws/../../etc/passwd",
)  # fmt: skip

ORIGINS = (
    "https://evil.example", "null", "http://chat.example.org", "https://chat.example.org:8443",
    "https://chat.example.org/", "https://chat.example.org.evil.example", "https://evil.example/chat.example.org",
    "https://xchat.example.org", "https://chat.example.org@evil.example", f"{ORIGIN}, https://evil.example",
    f"{ORIGIN} https://evil.example", "chat.example.org", "https://*", "*", "file://", "\xff", "https://chat.example.org\xa0",
)  # fmt: skip

QUERIES = (
    "", "EIO=4", "transport=websocket", "EIO=3&transport=websocket", "EIO=5&transport=websocket",
    "EIO=&transport=websocket", "EIO=4&transport=polling", "EIO=4&transport=webtransport", "EIO=4&transport=",
    "EIO=4&transport=websocket&sid=unknown", "EIO=4&transport=websocket&sid=%00", "EIO=4&transport=websocket&EIO=3",
    "EIO=4&transport=websocket&sid=" + "x" * 8000, "EIO=%34&transport=%FF", "&" * 8000,
)  # fmt: skip


def _cases() -> Iterator[Case]:
    for wire, path in PATHS.items():
        for name, (headers, status) in HEADER_CASES.items():
            yield f"{wire}: {name}", handshake(path, **headers), status
        for name, (line, status) in LINES.items():
            yield f"{wire}: {name}", handshake(path, line), status
        yield f"{wire}: a body", handshake(path, body=b"{}", Content_Length="2"), 400
        yield f"{wire}: a chunked body", handshake(path, body=b"0\r\n\r\n", Transfer_Encoding="chunked"), 400
        for origin in ORIGINS:
            yield f"{wire}: a page of {origin!a}", handshake(path, Origin=origin), 403
        twice = handshake(path, Origin=ORIGIN, origin="https://evil.example")
        yield f"{wire}: two origins", twice, 403
        yield f"{wire}: a head cut short", handshake(path)[:-2], 408
        yield f"{wire}: a line cut short", handshake(path)[:9], 408
    for name, (data, status) in NO_HTTP.items():
        yield name, data, status
    for path in NOWHERE:
        yield f"nothing at {path}", handshake(path), 404
    for name, headers in {"no upgrade": {"Upgrade": None}, "h2c": {"Upgrade": "h2c"}}.items():
        yield f"native: {name}", handshake(**headers), 426  # type: ignore[arg-type]
        yield f"socketio: {name}", handshake(PATHS["socketio"], **headers), 400  # type: ignore[arg-type]
    for number, query in enumerate(QUERIES):
        yield f"socketio: query {number} {query[:50]}", handshake(f"/socket.io/?{query}"), 400
    yield "not a word", b"", 0


CASES: list[Case] = list(_cases())
