"""The native wire: what is read, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trio_chat.clients.native_requests import decode, ref_of
from trio_chat.clients.vocabulary import Heartbeat
from trio_chat.errors import BadRequest, ReplyCode

EPOCH = "01890a5d-ac96-774b-bcce-b302099a8057"


BAD: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"hello",
    "half of it": b'{"type":"heartbeat"',
    "too much of it": b'{"type":"heartbeat"}{}',
    "a trailing comma": b'{"type":"heartbeat",}',
    "a comment": b'{"type":"heartbeat"}//',
    "a byte order mark": b'\xef\xbb\xbf{"type":"heartbeat"}',
    "an array": b"[]",
    "a text": b'"heartbeat"',
    "null": b"null",
    "no type": b'{"ref":1}',
    "no such type": b'{"type":"message:new"}',
    "a type that is no text": b'{"type":1}',
    "an unknown field": b'{"type":"heartbeat","x":1}',
    "a field of the server's": b'{"type":"message:send","room":"r","content":"c","seq":1}',
    "a missing field": b'{"type":"message:send","room":"r"}',
    "a wrong type": b'{"type":"message:send","room":"r","content":1}',
    "null for a text": b'{"type":"message:send","room":"r","content":null}',
    "metadata that are no object": b'{"type":"message:send","room":"r","content":"c","metadata":[]}',
    "a fraction for a ref": b'{"type":"heartbeat","ref":1.5}',
    "a switch for a ref": b'{"type":"heartbeat","ref":true}',
    "a ref beyond 53 bits": b'{"type":"heartbeat","ref":9007199254740992}',
    "a ref of 5000 digits": b'{"type":"heartbeat","ref":' + b"9" * 5000 + b"}",
    "NaN": b'{"type":"message:send","room":"r","content":"c","metadata":{"a":NaN}}',
    "Infinity": b'{"type":"message:send","room":"r","content":"c","metadata":{"a":-Infinity}}',
    "a number that is none": b'{"type":"message:send","room":"r","content":"c","metadata":{"a":1e999}}',
    "a leading zero": b'{"type":"heartbeat","ref":01}',
    "a NUL": b'{"type":"heartbeat","ref":"\x00"}',
    "a NUL behind it": b'{"type":"heartbeat"}\x00',
    "a high surrogate alone": b'{"type":"heartbeat","ref":"\\ud83d"}',
    "a low surrogate alone": b'{"type":"heartbeat","ref":"\\ude00"}',
    "surrogates the wrong way round": b'{"type":"heartbeat","ref":"\\ude00\\ud83d"}',
    "half a pair and a letter": b'{"type":"heartbeat","ref":"\\ud83dabcdef"}',
    "no UTF-8": b'{"type":"heartbeat","ref":"\xff"}',
    "an encoded surrogate": b'{"type":"heartbeat","ref":"\xed\xa0\x80"}',
    "a field twice": b'{"type":"heartbeat","ref":1,"ref":1}',
    "a type twice": b'{"type":"heartbeat","type":"heartbeat"}',
    "a field twice in disguise": b'{"type":"heartbeat","ref":1,"r\\u0065f":1}',
    "a field twice, deep down": (
        b'{"type":"message:send","room":"r","content":"c","metadata":{"a":[{"b":1,"b":1}]}}'
    ),
    "a field twice beside a disguised quotation mark": (
        b'{"type":"message:send","room":"r","content":"\\u0022\\u0022","metadata":{"a":1,"a":2}}'
    ),
    "33 levels": b'{"type":"message:send","room":"r","content":"c","metadata":{"a":%b}}'
    % (b"[" * 33 + b"]" * 33),
    "900 levels": b'{"type":"message:send","room":"r","content":"c","metadata":{"a":%b}}'
    % (b"[" * 900 + b"]" * 900),
    "20000 levels": b'{"type":"message:send","room":"r","content":"c","metadata":{"a":%b}}'
    % (b"[" * 20000 + b"]" * 20000),
    "20000 levels and no end": b'{"x":' * 20000,
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD.keys())
def test_what_is_not_ours_is_refused(text: bytes) -> None:
    """Every kind of bad JSON gets the one error that says so, and nothing else comes out."""
    with pytest.raises(BadRequest) as refused:
        decode(text)

    assert refused.value.code is ReplyCode.BAD_REQUEST


@pytest.mark.parametrize(
    "half", [r"\ud83d", r"\ude00", r"\ude00\ud83d", r"\uD83Dx", r"\ud83d\n", r"\"\ud83d"]
)
def test_half_a_character_is_called_that(half: str) -> None:
    """Wherever it is; what only looks like it, or is cut short, is called something else."""
    for text in (
        '{"type":"message:send","room":"r","content":"HALF"}',
        '{"type":"message:send","room":"r","content":"c","metadata":{"HALF":1}}',
    ):
        with pytest.raises(BadRequest, match="half a character"):
            decode(text.replace("HALF", half).encode())
    for text in (
        r'{"type":"message:send","room":"r","content":"\\ud83d"',
        r'{"type":"message:send","room":"r","content":"\ud83',
    ):
        with pytest.raises(BadRequest, match="truncated"):
            decode(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        b' {"type" : "heartbeat"}\r\n',
        b'{"ref":"\\ud83d\\ude00","type":"heartbeat"}',
        b'{"ty\\u0070e":"heartbeat","ref":"\\"\\u0022\\\\u0022\\\\"}',
        b'{"type":"heartbeat","ref":null}',
    ],
)
def test_any_way_to_write_a_request_is_read(text: bytes) -> None:
    """White space, order and escapes are the client's choice."""
    request = decode(text)

    assert request == Heartbeat(ref=json.loads(text).get("ref"))


def test_the_error_says_where() -> None:
    """Whoever writes a client learns which field was wrong."""
    with pytest.raises(BadRequest, match=r"Expected `str`, got `int` - at `\$\.content`"):
        decode(b'{"type":"message:send","room":"r","content":1}')


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        (b'{"type":"nonsense","ref":7}', 7),
        (b'{"ref":"a","x":[1e999]}', "a"),
        (b'{"ref":"a","x":[1]}', "a"),
        (b'{"ref":1.5}', None),
        (b'{"ref":"%b"}' % (b"a" * 129), None),
        (b'{"ref":9007199254740992}', None),
        (b'{"ref":%b}' % (b"9" * 5000), None),
        (b'{"ref":1,"x":%b}' % (b"[" * 20000), None),
        (b"[1]", None),
        (b"\xff", None),
    ],
)
def test_a_refused_request_has_a_ref_if_that_can_be_read(text: bytes, ref: Any) -> None:
    """A ref that is outside its own limits is not sent back."""
    assert ref_of(text) == ref


# Reading, beside a slow decoder that was written from the protocol's table


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("twice")
    return dict(pairs)


def _finite(text: str) -> float:
    if abs(number := float(text)) == float("inf"):
        raise ValueError("too large")
    return number


def _never(text: str) -> None:
    raise ValueError(text)


def _levels(value: Any) -> int:
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    return 1 + max(map(_levels, inner), default=-1 if isinstance(value, str) else 0)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_room(value: Any) -> bool:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:/@-"
    return _is_text(value) and 0 < len(value) <= 128 and set(value) <= set(letters)


def _is_id(value: Any) -> bool:
    # What controls a terminal, and what ends a line to some who read logs.
    forbidden = {*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029}
    return _is_text(value) and 0 < len(value) <= 128 and forbidden.isdisjoint(map(ord, value))


def _is_ref(value: Any) -> bool:
    if _is_text(value):
        return len(value) <= 128
    return value is None or (_is_whole(value) and abs(value) < 2**53)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_place(value: Any) -> bool:
    return (
        _is_object(value)
        and set(value) == {"epoch", "seq"}
        and _is_text(value["epoch"])
        and _is_whole(value["seq"])
    )


def _or_null(fits: Any) -> Any:
    return lambda value: value is None or fits(value)


# By type: what must be there, what may be.
SHAPES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "hello": ({}, {"token": _or_null(_is_text), "user": _or_null(_is_text)}),
    "room:join": ({"room": _is_room}, {"resume": _or_null(_is_place)}),
    "room:leave": ({"room": _is_room}, {}),
    "message:send": (
        {"room": _is_room, "content": _is_text},
        {"id": _or_null(_is_id), "role": _is_text, "metadata": _or_null(_is_object)},
    ),
    "message:edit": (
        {"room": _is_room, "id": _is_id, "content": _is_text},
        {"metadata": _or_null(_is_object)},
    ),
    "message:delete": ({"room": _is_room, "id": _is_id}, {}),
    "typing:start": ({"room": _is_room}, {}),
    "typing:stop": ({"room": _is_room}, {}),
    "receipt:update": ({"room": _is_room, "lastReadMessageId": _is_id}, {}),
    "presence:heartbeat": ({"room": _is_room}, {}),
    "history:get": (
        {"room": _is_room},
        {"before": _or_null(_is_place), "limit": lambda value: _is_whole(value) and 1 <= value <= 200},
    ),
    "heartbeat": ({}, {}),
}


def reference(text: bytes) -> dict[str, Any] | None:
    """Return what the text says if it is a request, or None."""
    try:
        value = json.loads(
            text.decode(), object_pairs_hook=_unique, parse_constant=_never, parse_float=_finite
        )
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    if not _is_object(value) or not _is_text(value.get("type")) or value["type"] not in SHAPES:
        return None
    must, may = SHAPES[value["type"]]
    known = must | may | {"ref": _is_ref, "type": _is_text}
    if not set(must) <= set(value) <= set(known) or _levels(value) > 32:
        return None
    return value if all(known[name](part) for name, part in value.items()) else None


def fields_of(request: Any) -> dict[str, Any]:
    """Return a request as it would be written, without what was not given."""
    return {name: part for name, part in msgspec.to_builtins(request).items() if part is not None}


leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from(["r", "team-42/general", "", "a" * 128, "a" * 129, "m\n", "ä", "\ud83d"]) | st.text(
    max_size=4
)
places = st.fixed_dictionaries({"epoch": st.just(EPOCH) | names, "seq": st.integers(-1, 9) | leaves})
FITTING: dict[Any, Any] = {"metadata": st.dictionaries(st.text(max_size=3), values, max_size=3) | st.none()}
FITTING |= dict.fromkeys(["resume", "before"], places | st.none())
FITTING |= dict.fromkeys(["room", "id"], st.sampled_from(["r", "team-42/general", "a" * 128]) | names)
FITTING |= {"seq": st.integers(0, 9), "limit": st.integers(-1, 300)}
FITTING |= {"ref": st.integers(-(2**53), 2**53) | names | st.none()}


@st.composite
def envelopes(draw: Any) -> bytes:
    """Texts that are requests, or nearly: a field too few, too many, twice or of another type; a byte changed."""
    kind = draw(st.sampled_from([*SHAPES, "message:new", ""]))
    must, may = SHAPES.get(kind, ({}, {}))
    chosen = [*must, *draw(st.lists(st.sampled_from([*may, "ref"]), unique=True))]
    pairs: list[tuple[str, Any]] = [("type", kind)]
    pairs += [(name, draw(FITTING.get(name, names))) for name in chosen]
    match draw(
        st.sampled_from(["as it is", "as it is", "another value", "one less", "one more", "one twice"])
    ):
        case "another value":
            at = draw(st.integers(0, len(pairs) - 1))
            pairs[at] = (pairs[at][0], draw(values))
        case "one less":
            del pairs[draw(st.integers(0, len(pairs) - 1))]
        case "one more":
            pairs.append((draw(st.sampled_from(["room", "id", "seq", "userId"]) | names), draw(values)))
        case "one twice" if pairs:
            pairs.append(draw(st.sampled_from(pairs)))
        case _:
            pass
    ascii_only = draw(st.booleans())
    members = [
        f"{json.dumps(name, ensure_ascii=ascii_only)}:{json.dumps(value, ensure_ascii=ascii_only)}"
        for name, value in draw(st.permutations(pairs))
    ]
    text = ("{" + ",".join(members) + "}").encode(errors="surrogatepass")
    if draw(st.integers(0, 3)):
        return text
    at = draw(st.integers(0, len(text)))
    put = draw(
        st.sampled_from([b"", b'"', b"\\", b",", b"\\u0022", b"}", b"\x00", b"\xff", b" ", b"0", b"e9"])
    )
    return text[:at] + put + text[at + draw(st.integers(0, 1)) :]


@given(envelopes())
@example('{"type":"message:delete","room":"r","id":"\x80"}'.encode())
@example('{"type":"message:delete","room":"r","id":"\u2028"}'.encode())
@example(b'{"type":"heartbeat","ref":"\\u0022"}')
@example(b'{"type":"heartbeat","\\u0022":1,"\\"":1}')
def test_exactly_the_protocol_is_accepted(text: bytes) -> None:
    """What is taken, and as what, is what a slow decoder takes that was written from the protocol's table."""
    expected = reference(text)
    try:
        request = decode(text)
    except BadRequest:
        assert expected is None, "a proper request was refused"
        return

    assert expected is not None, "an improper request was accepted"
    given = {name: part for name, part in expected.items() if part is not None}
    assert {name: part for name, part in fields_of(request).items() if name in given} == given


@given(
    st.binary(max_size=60) | st.text(alphabet='{}[]":,\\u0022typeherbat 01-.e', max_size=60).map(str.encode)
)
def test_any_bytes_are_a_request_or_refused(text: bytes) -> None:
    """Nothing else ever comes out of the decoder, nor of the search for a ref in what it refused."""
    taken = True
    try:
        decode(text)
    except BadRequest:
        taken = False
    ref_of(text)

    assert taken == (reference(text) is not None)
