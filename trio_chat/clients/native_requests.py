"""What clients of the native wire say: one JSON object a text, one request each. Pure.

`decode` turns a text into a request, or refuses it with a reason; nothing it takes can harm what is behind it.
"""

from __future__ import annotations

import json
import re
from typing import Any, cast

import msgspec

from trio_chat.clients.vocabulary import Ref, Request, check, check_ref
from trio_chat.errors import BadRequest
from trio_chat.message import MAX_DEPTH

_decoder = msgspec.json.Decoder(Request)
_BRIEF = 200
_NESTED = f"nested at most {MAX_DEPTH} levels"
_MEMBER = re.compile(rb'"(?:[^"\\]|\\.)*"(\s*:)?', re.DOTALL)


def decode(text: bytes) -> Request:
    """Return the request in a text.

    Raises:
        BadRequest: it is not JSON, not one of our shapes, nested too deep, names a field twice, or holds an id
            outside its limits.
    """
    try:
        request: Request = _decoder.decode(text)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise BadRequest(
            f"expected one of the requests of the protocol as a JSON object: {complaint(error, text)}"
        ) from None
    except (RecursionError, UnicodeDecodeError):
        raise BadRequest(f"expected a JSON object in UTF-8, {_NESTED}") from None
    if doubled(text):
        raise BadRequest("the same field is given twice; give each once")
    return check(request)


def complaint(error: msgspec.MsgspecError, text: bytes) -> str:
    """Return what is wrong with a JSON text that msgspec refuses, briefly."""
    # Of half a character it says where it looked for the other half, or that the text were cut short.
    if not isinstance(error, msgspec.ValidationError) and _has_halves(text):
        return "half a character (a lone surrogate) is none; send both halves, or leave it out"
    return brief(str(error))


def _has_halves(text: bytes) -> bool:
    """Whether JSON holds half a character, as JavaScript makes by cutting an emoji in two."""
    try:
        json.dumps(json.loads(text), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    except (ValueError, RecursionError):
        pass
    return False


def brief(text: str) -> str:
    """Return the beginning and the end of a text that quotes what the client said, of whatever size that was."""
    return text if len(text) <= _BRIEF else f"{text[: _BRIEF // 2]} ... {text[-_BRIEF // 2 :]}"


class _Ref(msgspec.Struct):
    ref: str | int | None = None


def ref_of(text: bytes) -> Ref:
    """Return the ref of a request that was refused, if it has one that can be read and is within its limits."""
    try:
        return check_ref(_ref_decoder.decode(text).ref)
    except (BadRequest, ValueError, RecursionError):
        return None


_ref_decoder = msgspec.json.Decoder(_Ref)


def doubled(text: bytes) -> bool:
    """Whether a valid JSON text names a member of some object twice.

    Decoding keeps one of the two, so the text has more quotation marks than what was kept accounts for.
    """
    value: dict[str, Any] = msgspec.json.decode(text)
    if b"\\" not in text:
        # Most requests are flat and have no escapes: counted here and by no call, for every message passes.
        strings = len(value)
        for part in value.values():
            if isinstance(part, str):
                strings += 1
            elif isinstance(part, (dict, list)):
                break
        else:
            return text.count(b'"') != 2 * strings
    if b"\\u0022" in text:
        # A quotation mark in disguise spoils the count; nobody's encoder writes it.
        return sum(1 for colon in _MEMBER.findall(text) if colon) != _tally(value, 0)[0]
    _, strings, quotes = _tally(value, 0)
    return text.count(b'"') != 2 * strings + quotes


def _tally(value: Any, depth: int) -> tuple[int, int, int]:
    """Count the members, the strings and the quotation marks within strings of a JSON value.

    Raises:
        BadRequest: it is nested too deep. Metadata, one level down, have their own and sharper limit.
    """
    if isinstance(value, str):
        return 0, 1, value.count('"')
    if depth > MAX_DEPTH:
        raise BadRequest(f"expected a JSON object {_NESTED}")
    members = strings = quotes = 0
    parts: list[Any] = []
    if isinstance(value, dict):
        pairs = cast("dict[str, Any]", value)
        members = len(pairs)
        parts = [*pairs, *pairs.values()]
    elif isinstance(value, list):
        parts += value
    for part in parts:
        counts = _tally(part, depth + 1)
        members, strings, quotes = members + counts[0], strings + counts[1], quotes + counts[2]
    return members, strings, quotes
