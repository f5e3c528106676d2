"""Reading a request: its path, its query and its body, each in one way only.

1. A path is taken apart as it was sent, before anything in it is decoded: a room id holds slashes, which come as ``%2F``,
   so that ``/rooms/a%2Fmessages`` and ``/rooms/a/messages`` are two things.
2. Whatever is not expected is refused: a field or a parameter that is unknown or given twice, a body where there is none,
   a text that is not UTF-8.
3. A body costs no more than a message on a WebSocket does: the same size, depth and time.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import parse_qsl, unquote_to_bytes

import msgspec
import trio
from starlette.requests import ClientDisconnect

from trio_chat.clients.native_requests import brief, complaint, doubled
from trio_chat.errors import BadRequest
from trio_chat.web.api.problems import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.datastructures import Headers
    from starlette.requests import Request

T = TypeVar("T")

_KIND: Final = re.compile(r'application/json[ \t]*(?:;[ \t]*charset="?utf-8"?[ \t]*)?', re.IGNORECASE)
_BROKEN: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_PARAMETERS: Final = 8


def split_path(raw: bytes) -> Sequence[str] | None:
    """Return the parts of a path, decoded; None if one of them cannot be."""
    try:
        text = raw.decode("ascii")
        return None if _BROKEN.search(text) else [unquote_to_bytes(part).decode() for part in text.split("/")]
    except UnicodeDecodeError:
        return None


def read_query(raw: bytes, kind: type[T]) -> T:
    """Return the query as a struct.

    Raises:
        Refusal: it has a parameter that is unknown, given twice or of a wrong kind.
    """
    try:
        pairs = _pairs(raw.decode("ascii"))
        if len(dict(pairs)) != len(pairs):
            raise Refusal(400, "query: the same parameter is given twice; give each once")
        return msgspec.convert(dict(pairs), kind, strict=False)
    except msgspec.ValidationError as error:
        raise Refusal(400, f"query: {brief(str(error))}") from None
    except ValueError:
        raise Refusal(400, "query: expected name=value pairs in UTF-8, percent-encoded") from None


def _pairs(text: str) -> list[tuple[str, str]]:
    if not text:
        return []
    pairs = parse_qsl(
        text, keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=_PARAMETERS
    )
    # Patterns let a newline pass at the end.
    if _BROKEN.search(text) or not all(value.isprintable() for _, value in pairs):
        raise ValueError(text)
    return pairs


async def read_body(request: Request, kind: type[T], *, limit: int, seconds: float) -> T:
    """Return the body as a struct. Cancelling is safe.

    Args:
        request: where it comes from.
        kind: what it is to be.
        limit: how many bytes it may have.
        seconds: how long it may take to arrive; 0 for any time.

    Raises:
        Refusal: it is of another kind, too large, too slow or not what was expected.
        ClientDisconnect: the client left in the middle of it.
    """
    _check_kind(request.headers)
    with trio.move_on_after(seconds or math.inf):
        return decode_body(await _collect(request, limit), kind)
    raise Refusal(408, f"body: expected all of it within {seconds:g} seconds")


def _check_kind(headers: Headers) -> None:
    if _KIND.fullmatch(headers.get("content-type", "")) is None:
        raise Refusal(
            415, "body: expected Content-Type: application/json", headers={"Accept": "application/json"}
        )
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise Refusal(415, "body: expected it as it is, not encoded", headers={"Accept-Encoding": "identity"})


async def _collect(request: Request, limit: int) -> bytes:
    """Return the bytes of a body. What is too large is refused before it was sent, if it was announced."""
    announced = request.headers.get("content-length", "")
    size = int(announced) if announced.isdigit() else 0
    body = bytearray()
    more = True
    while max(size, len(body)) <= limit:
        if not more:
            return bytes(body)
        message = await request.receive()
        if message["type"] != "http.request":
            raise ClientDisconnect
        body += message.get("body", b"")
        more = message.get("more_body", False)
    raise Refusal(413, f"body: expected at most {limit} bytes")


def decode_body(body: bytes, kind: type[T]) -> T:
    """Return what JSON says.

    Raises:
        Refusal: it says something else, is nested too deep or names a field twice.
    """
    try:
        found = msgspec.json.decode(body, type=kind)
        twice = doubled(body)
    except msgspec.MsgspecError as error:
        raise Refusal(400, f"body: {complaint(error, body)}") from None
    except BadRequest as error:
        raise Refusal(400, f"body: {brief(str(error))}") from None
    except (RecursionError, UnicodeDecodeError):
        raise Refusal(400, "body: expected a JSON object in UTF-8, not nested so deep") from None
    if twice:
        raise Refusal(400, "body: the same field is given twice; give each once")
    return found


def check_no_body(headers: Headers) -> None:
    """Refuse a body where none is expected."""
    if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
        raise Refusal(400, "body: expected none here")


def parameters(path: Sequence[str], template: Sequence[str]) -> Mapping[str, Any] | None:
    """Return what stands in a path for the names of a template; None if it is another path."""
    if len(path) != len(template):
        return None
    found: dict[str, str] = {}
    for part, expected in zip(path, template, strict=True):
        if expected.startswith("{"):
            found[expected[1:-1]] = part
        elif part != expected:
            return None
    return found
