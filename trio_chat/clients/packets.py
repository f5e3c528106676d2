"""Socket.IO 5: events, their acknowledgements and who is connected, as bytes. Pure.

1. A packet is ``<type>[<namespace>,][<ack id>][<JSON>]`` and travels in an Engine.IO message.
2. `decode` is stricter than the reference where the reference guesses: an event needs its array, an ACK its id, and
   only those two have one. Binary packets are refused by name.
3. Only the namespace ``/`` is served. Others are read, so that `connect_error` can answer in them, and written nowhere
   else.
4. Encoders take arguments as JSON that is ready, so that a message encoded once is embedded and never read again.

Source: the Socket.IO protocol, revision 5 (socketio/socket.io, docs/socket.io-protocol/v5-current.md).
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, TypeAlias, TypeVar, cast

import msgspec

from trio_chat.errors import BadRequest
from trio_chat.message import MAX_DEPTH, MAX_ID, MAX_INTEGER

MAIN: Final = "/"
"""The namespace of a packet that names none."""

MAX_NAMESPACE: Final = MAX_ID
"""The size of a namespace in bytes."""

RESERVED: Final = frozenset(
    {"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"}
)
"""What no event may be called: the reference's libraries raise these themselves."""

# One more than a native request: there an argument is the outermost value, here it stands in an array.
_MAX_DEPTH: Final = MAX_DEPTH + 1

# A namespace goes to the first comma or, as in `0/admin`, to the end.
_HEAD: Final = re.compile(rb"([0-4])(?:(/[^,]*),?)?([0-9]*)")
_CONTROL: Final = re.compile(rb"[\x00-\x1f\x7f]")

_T = TypeVar("_T")
_encode = msgspec.json.Encoder().encode
_array = msgspec.json.Decoder(tuple[Any, ...])
_object = msgspec.json.Decoder(dict[str, Any])
_reason: msgspec.json.Decoder[dict[str, Any] | str] = msgspec.json.Decoder(dict[str, Any] | str)


class TooDeep(BadRequest):
    """An event is well-formed and nested too deep: no reason to end the connection.

    Args:
        ack: the number of the acknowledgement the client waits for.
    """

    def __init__(self, ack: int | None = None) -> None:
        super().__init__(_TOO_DEEP)
        self.ack = ack


class Connect(msgspec.Struct, frozen=True):
    """Ask to enter a namespace; `auth` is what the client says about itself, if anything."""

    namespace: str = MAIN
    auth: dict[str, Any] | None = None


class Disconnect(msgspec.Struct, frozen=True, gc=False):
    """Leave a namespace."""

    namespace: str = MAIN


class Event(msgspec.Struct, frozen=True):
    """Something happened; if `ack` is set, the sender waits for an `Ack` with that id."""

    name: str
    args: tuple[Any, ...] = ()
    ack: int | None = None
    namespace: str = MAIN


class Ack(msgspec.Struct, frozen=True):
    """The answer to the event that asked with this id."""

    id: int
    args: tuple[Any, ...] = ()
    namespace: str = MAIN


class ConnectError(msgspec.Struct, frozen=True):
    """A namespace was not entered. Only servers send it."""

    data: dict[str, Any] | str
    namespace: str = MAIN


Packet: TypeAlias = Connect | Disconnect | Event | Ack | ConnectError


def decode(data: bytes) -> Packet:
    """Return the packet in the payload of an Engine.IO message.

    JSON may name a member twice (the last one counts); texts in it may hold NUL, integers may be of any size.

    Raises:
        BadRequest: it is no packet, a binary one, nested too deep, or over a limit. The protocol wants the
            connection closed.
    """
    head = _HEAD.match(data)
    if head is None:
        raise BadRequest(_no_packet(data))
    namespace = MAIN if head[2] is None else _namespace(head[2])
    ack, payload = _number(head[3]) if head[3] else None, data[head.end() :]
    match head[1]:
        case b"2":
            return _event(namespace, ack, payload)
        case b"3":
            return _ack(namespace, ack, payload)
        case _ if ack is not None:
            raise BadRequest("only an EVENT or an ACK has an id")
        case b"0":
            return _connect(namespace, payload)
        case b"1":
            return _disconnect(namespace, payload)
        case _:
            return _connect_error(namespace, payload)


def _no_packet(data: bytes) -> str:
    if data[:1] in {b"5", b"6"}:
        return "binary events and acks are not supported; send JSON"
    return "unknown Socket.IO packet type; expected a digit from 0 to 4"


def _namespace(text: bytes) -> str:
    if len(text) > MAX_NAMESPACE or _CONTROL.search(text):
        raise BadRequest(f"namespace: expected at most {MAX_NAMESPACE} bytes without control characters")
    try:
        return text.decode()
    except UnicodeDecodeError:
        raise BadRequest("namespace: expected UTF-8") from None


def _number(digits: bytes) -> int:
    # The length first: reading a million digits takes its time.
    if len(digits) > len(str(MAX_INTEGER)) or int(digits) > MAX_INTEGER:
        raise BadRequest(f"ack id: expected an integer of at most {MAX_INTEGER}")
    return int(digits)


def _event(namespace: str, ack: int | None, payload: bytes) -> Event:
    try:
        values = _parse(_array, payload, "a JSON array in an EVENT")
    except TooDeep:
        raise TooDeep(ack) from None
    if not values or not isinstance(values[0], str):
        raise BadRequest("an EVENT begins with its name, a string")
    if values[0] in RESERVED:
        raise BadRequest(f"{values[0]}: this event name is reserved; choose another")
    return Event(values[0], values[1:], ack, namespace)


def _ack(namespace: str, ack: int | None, payload: bytes) -> Ack:
    if ack is None:
        raise BadRequest("an ACK has the id of the event it answers")
    return Ack(ack, _parse(_array, payload, "a JSON array in an ACK"), namespace)


def _connect(namespace: str, payload: bytes) -> Connect:
    return Connect(
        namespace, _parse(_object, payload, "nothing or a JSON object in a CONNECT") if payload else None
    )


def _disconnect(namespace: str, payload: bytes) -> Disconnect:
    if payload:
        raise BadRequest("a DISCONNECT holds nothing but its namespace")
    return Disconnect(namespace)


def _connect_error(namespace: str, payload: bytes) -> ConnectError:
    return ConnectError(_parse(_reason, payload, "a JSON object or string in a CONNECT_ERROR"), namespace)


def _parse(decoder: msgspec.json.Decoder[_T], payload: bytes, expected: str) -> _T:
    try:
        value = _with_halves(decoder, payload) if _may_have_halves(payload) else decoder.decode(payload)
    except ValueError as error:
        raise BadRequest(f"expected {expected}: {error}") from None
    except RecursionError:
        raise TooDeep from None
    # With so few brackets in all, strings included, it cannot be too deep; nearly every packet ends here.
    if payload.count(b"[") + payload.count(b"{") > _MAX_DEPTH and _is_too_deep(value):
        raise TooDeep
    return value


def _may_have_halves(payload: bytes) -> bool:
    return b"\\ud" in payload or b"\\uD" in payload


def _with_halves(decoder: msgspec.json.Decoder[_T], payload: bytes) -> _T:
    """Decode JSON that may hold half a character, as JavaScript makes by cutting an emoji in two.

    It is for whoever looks at the texts to refuse it, and no reason to end a connection.
    """
    value: Any = json.loads(payload, parse_constant=_no_constant)
    return msgspec.convert(value, decoder.type)


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON")


_TOO_DEEP: Final = f"expected JSON nested at most {_MAX_DEPTH} levels"


def _is_too_deep(value: object) -> bool:
    """Whether something lies more than the allowed levels below `value`, level by level."""
    level: list[object] = [value]
    for _ in range(_MAX_DEPTH + 1):
        level = [part for one in level for part in _parts(one)]
    return bool(level)


def _parts(value: object) -> list[object] | tuple[object, ...]:
    if isinstance(value, dict):
        return list(cast("dict[str, object]", value).values())
    return cast("list[object] | tuple[object, ...]", value) if isinstance(value, (list, tuple)) else ()


def connect(sid: str, pid: str | None = None) -> bytes:
    """Encode the answer to a CONNECT that succeeded.

    Args:
        sid: the public name of the connection; not Engine.IO's, which is a secret.
        pid: the private one, for a client that may come back under it.
    """
    return b"0" + _encode({"sid": sid} if pid is None else {"sid": sid, "pid": pid})


def connect_error(namespace: str, message: str, data: object = None) -> bytes:
    """Encode the answer to a CONNECT that failed, in the namespace it named. `data` is for programs."""
    answer = {"message": message} if data is None else {"message": message, "data": data}
    return b"4%b%b" % (b"" if namespace == MAIN else namespace.encode() + b",", _encode(answer))


def disconnect() -> bytes:
    """Encode the end of a connection; the client will not come back by itself."""
    return b"1"


def event(name: str, *pieces: bytes, ack: int | None = None) -> bytes:
    """Encode an event.

    Args:
        name: what happened.
        pieces: the arguments, each a complete JSON value. They are not checked.
        ack: ask the client to acknowledge it under this id.
    """
    return b"2%b[%b]" % (b"" if ack is None else b"%d" % ack, b",".join((_encode(name), *pieces)))


def ack(number: int, *pieces: bytes) -> bytes:
    """Encode the answer to an event that asked for one; `pieces` as in `event`."""
    return b"3%d[%b]" % (number, b",".join(pieces))
