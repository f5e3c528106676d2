"""Socket.IO packets: what is read, what is refused, and what is written. Judged by python-socketio too.

A property takes up to half a second, for a hundred examples of nested JSON.
"""

from __future__ import annotations

import contextlib
import json
from typing import Any

import msgspec
import pytest
import socketio.packet
from hypothesis import given
from hypothesis import strategies as st
from socketio.packet import Packet as TheirPacket

from trio_chat.clients import packets
from trio_chat.clients.packets import Ack, Connect, ConnectError, Disconnect, Event, Packet, TooDeep
from trio_chat.errors import BadRequest
from trio_chat.message import MAX_DEPTH, MAX_INTEGER, check_metadata

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-MAX_INTEGER, MAX_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text,
    lambda values: st.lists(values, max_size=3) | st.dictionaries(text, values, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(text, json_values, max_size=3)
arguments = st.lists(json_values, max_size=3).map(tuple)
names = text.filter(lambda name: name not in packets.RESERVED)
ids = st.integers(0, MAX_INTEGER)
# Theirs cuts a namespace at a question mark, ours does not, and neither does the reference.
namespaces = st.just("/") | st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters=",?"), max_size=20
).map("/{}".format)


def pieces(values: tuple[Any, ...]) -> list[bytes]:
    return [msgspec.json.encode(value) for value in values]


def written(packet: Packet) -> str:
    """Return what python-socketio writes for one of our packets."""
    match packet:
        case Connect(namespace, auth):
            theirs = TheirPacket(socketio.packet.CONNECT, auth, namespace)
        case Disconnect(namespace):
            theirs = TheirPacket(socketio.packet.DISCONNECT, None, namespace)
        case Event(name, args, ack, namespace):
            theirs = TheirPacket(socketio.packet.EVENT, [name, *args], namespace, ack)
        case Ack(number, args, namespace):
            theirs = TheirPacket(socketio.packet.ACK, list(args), namespace, number)
        case ConnectError(data, namespace):
            theirs = TheirPacket(socketio.packet.CONNECT_ERROR, data, namespace)
    encoded = theirs.encode()
    assert isinstance(encoded, str)
    return encoded


def read(encoded: bytes) -> tuple[int, str | None, int | None, Any]:
    """Return what python-socketio reads: type, namespace, id, data."""
    theirs = TheirPacket(encoded_packet=encoded.decode())
    assert theirs.attachment_count == 0
    return theirs.packet_type, theirs.namespace, theirs.id, theirs.data


# Reading


@pytest.mark.parametrize(
    ("encoded", "packet"),
    [
        pytest.param("0", Connect(), id="connect"),
        pytest.param('0{"token":"123"}', Connect(auth={"token": "123"}), id="connect with auth"),
        pytest.param("0/custom,", Connect("/custom"), id="connect elsewhere"),
        pytest.param("0/random", Connect("/random"), id="connect elsewhere, without the comma"),
        pytest.param('0/admin,{"token":"abc"}', Connect("/admin", {"token": "abc"}), id="with auth"),
        pytest.param("0/", Connect(), id="the main namespace by its name"),
        pytest.param("0/,{}", Connect(auth={}), id="the main namespace by its name, with auth"),
        pytest.param('0/a?b={"c"', Connect('/a?b={"c"'), id="a namespace without an end goes to the end"),
        pytest.param("0/\u00e9t\u00e9,", Connect("/\u00e9t\u00e9"), id="a namespace beyond ASCII"),
        pytest.param("1", Disconnect(), id="disconnect"),
        pytest.param("1/admin,", Disconnect("/admin"), id="disconnect elsewhere"),
        pytest.param('2["foo"]', Event("foo"), id="event"),
        pytest.param('2["message",1,"2",{"3":[true]}]', Event("message", (1, "2", {"3": [True]})), id="args"),
        pytest.param('2/admin,["bar"]', Event("bar", namespace="/admin"), id="event elsewhere"),
        pytest.param('212["foo"]', Event("foo", ack=12), id="event with an id"),
        pytest.param('20["foo"]', Event("foo", ack=0), id="event with the id 0"),
        pytest.param('2007["foo"]', Event("foo", ack=7), id="event with zeros before the id"),
        pytest.param('2/admin,1["tellme"]', Event("tellme", ack=1, namespace="/admin"), id="both"),
        pytest.param('2[""]', Event(""), id="an event with an empty name"),
        pytest.param('2["-1/x,"]', Event("-1/x,"), id="an event whose name looks like a head"),
        pytest.param('3/admin,13["bar"]', Ack(13, ("bar",), "/admin"), id="ack"),
        pytest.param("312[]", Ack(12), id="empty ack"),
        pytest.param(
            '4{"message":"Not authorized"}', ConnectError({"message": "Not authorized"}), id="error"
        ),
        pytest.param('4"Unauthorized"', ConnectError("Unauthorized"), id="error as a text"),
    ],
)
def test_the_protocol_s_examples_are_read(encoded: str, packet: Packet) -> None:
    """Each packet of the protocol's text and test suites is what they say it is."""
    assert packets.decode(encoded.encode()) == packet


BAD: dict[str, bytes] = {
    "nothing": b"",
    "the test suite's invalid handshake": b"abc",
    "the test suite's invalid payload": b"2{}",
    "the test suite's invalid ack id": b'2abc["message-with-ack",1,"2",{"3":[false]}]',
    "the parser's: an error without an end": b'442["some","data"',
    "the parser's: a text in a connect": b'0/admin,"invalid"',
    "the parser's: an array in a connect": b"0[]",
    "the parser's: a payload in a disconnect": b"1/admin,{}",
    "the parser's: a text without an end": b'2/admin,"invalid',
    "the parser's: an object in an event": b"2/admin,{}",
    "the parser's: an object as name": b'2[{"toString":"foo"}]',
    "the parser's: a boolean as name": b'2[true,"foo"]',
    "the parser's: null as name": b'2[null,"bar"]',
    "the parser's: a bad binary packet": b"5",
    "the parser's: no dash": b"51",
    "the parser's: a letter for a count": b"5a-",
    "the parser's: a broken count": b"51.23-",
    "the parser's: an unknown type": b"999",
    "a binary event": b'51-["baz",{"_placeholder":true,"num":0}]',
    "a binary ack": b'61-15["bar",{"_placeholder":true,"num":0}]',
    "a binary event without attachments": b'50-["baz"]',
    "a blank before the type": b' 2["a"]',
    "a digit of another script": "\u0662".encode(),
    "a number as name": b'2[1,"a",{}]',
    "an event without payload": b"2",
    "an event without payload but with an id": b"21",
    "an event without name": b"2[]",
    "an event that is null": b"2null",
    "an event without an end": b'2["a"',
    "two payloads": b'2["a"]["b"]',
    "a negative id": b'2-1["a"]',
    "an id that is no integer": b'21.5["a"]',
    "an id beyond 53 bits": b'2%d["a"]' % (MAX_INTEGER + 1),
    "an endless id": b"2" + b"1" * 60_000,
    "an endless id of zeros": b"2" + b"0" * 60_000 + b'["a"]',
    "an ack without id": b'3["a"]',
    "an ack without payload": b"312",
    "an ack that is an object": b"312{}",
    "a connect with an id": b"012",
    "a connect with an id and auth": b"012{}",
    "a connect whose auth is null": b"0null",
    "a disconnect with an id": b"11",
    "a disconnect with a payload": b"1{}",
    "an error without payload": b"4",
    "an error that is an array": b"4[]",
    "a namespace that is too long": b"0/" + b"a" * packets.MAX_NAMESPACE,
    "a namespace with a record separator": b"0/a\x1e4b,",
    "a namespace with NUL": b"0/a\x00,",
    "a namespace that is no UTF-8": b"0/\xff,",
    "JSON that is no UTF-8": b'2["\xff"]',
    "a lone surrogate in JSON that is none": b'2["\\ud800",NaN]',
    "a lone surrogate where no text belongs": b'2{"\\ud800":1}',
    "a number that is not one": b'2["a",NaN]',
    "an infinite number": b'2["a",1e999]',
    "an endless number": b'2["a",' + b"1" * 60_000 + b"]",
    "a trailing comma": b'2["a",]',
    "a byte order mark": b'2\xef\xbb\xbf["a"]',
    "depth without an end": b"2" + b"[" * 60_000,
    "auth without an end": b"0" + b'{"":' * 10_000,
}


@pytest.mark.parametrize("encoded", BAD.values(), ids=BAD)
def test_what_is_no_packet_is_refused(encoded: bytes) -> None:
    """A malformed packet is a bad request and nothing else."""
    with pytest.raises(BadRequest):
        packets.decode(encoded)


@pytest.mark.parametrize("name", sorted(packets.RESERVED))
def test_reserved_names_are_no_events(name: str) -> None:
    """What the libraries raise themselves cannot be sent, but may be an argument."""
    with pytest.raises(BadRequest, match="reserved"):
        packets.decode(b'2["%b","123"]' % name.encode())
    assert packets.decode(b'31["%b"]' % name.encode()) == Ack(1, (name,))


@pytest.mark.parametrize("encoded", [b"5", b'51-["a"]', b'61-1["a"]'])
def test_binary_is_refused_as_what_it_is(encoded: bytes) -> None:
    """Who sends binary is told that it is not supported, not that it is unknown."""
    with pytest.raises(BadRequest, match="binary events and acks are not supported"):
        packets.decode(encoded)


def test_ids_reach_to_53_bits() -> None:
    """The largest id is the largest integer that JavaScript counts exactly."""
    assert packets.decode(b'2%d["a"]' % MAX_INTEGER) == Event("a", ack=MAX_INTEGER)


def test_namespaces_are_limited_to_the_byte() -> None:
    """The longest namespace passes, with the slash it begins with."""
    name = "/" + "a" * (packets.MAX_NAMESPACE - 1)

    assert packets.decode(f"0{name},".encode()) == Connect(name)


def nested(levels: int) -> dict[str, Any]:
    """Return metadata with a value that many levels below them."""
    value: Any = True
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return {"a": value}


def test_an_argument_nests_as_deep_as_metadata_may() -> None:
    """The deepest metadata that can be stored can be sent within an object; one level more cannot."""
    deepest, deeper = nested(MAX_DEPTH - 2), nested(MAX_DEPTH - 1)
    check_metadata(deepest, 10_000)
    with pytest.raises(BadRequest):
        check_metadata(deeper, 10_000)

    packets.decode(b'2["message:send",%b]' % msgspec.json.encode({"metadata": deepest}))
    with pytest.raises(TooDeep, match="nested"):
        packets.decode(b'2["message:send",%b]' % msgspec.json.encode({"metadata": deeper}))


@pytest.mark.parametrize("depth", [2 * MAX_DEPTH, 30_000])
@pytest.mark.parametrize(("head", "ack"), [(b"2", None), (b"20", 0), (b"2/,12", 12)])
def test_what_is_too_deep_has_the_number_of_who_waits(depth: int, head: bytes, ack: int | None) -> None:
    """Whether the decoder gives up on it or it is looked at afterwards."""
    with pytest.raises(TooDeep) as caught:
        packets.decode(head + b'["a",' + b"[" * depth + b"]" * depth + b"]")

    assert caught.value.ack == ack


@pytest.mark.parametrize("head", [b'0{"a":', b"31[", b'4{"a":'])
def test_in_other_packets_nobody_waits(head: bytes) -> None:
    """They are too deep, and that is all."""
    close = b"]" if head.endswith(b"[") else b"}"

    with pytest.raises(TooDeep) as caught:
        packets.decode(head + b"[" * MAX_DEPTH * 2 + b"]" * MAX_DEPTH * 2 + close)

    assert caught.value.ack is None


def test_many_brackets_are_no_depth() -> None:
    """A wide value passes however wide it is, and so does a text of brackets."""
    wide = [{"a": [[]]}] * 100
    packet = packets.decode(b'2["a",%b,"%b"]' % (msgspec.json.encode(wide), b"[" * 100))

    assert packet == Event("a", (wide, "[" * 100))


@given(st.binary(max_size=40) | st.from_regex(rb"[0-7](/[^,]{0,9},?)?[0-9]{0,3}[\[{].{0,20}", fullmatch=True))
def test_any_bytes_are_a_packet_or_a_bad_request(encoded: bytes) -> None:
    """Nothing but `BadRequest` comes out of reading, whatever goes in."""
    with contextlib.suppress(BadRequest):
        packets.decode(encoded)


# Writing


@given(names, arguments, st.none() | ids)
def test_an_event_reads_as_it_was_written(name: str, args: tuple[Any, ...], number: int | None) -> None:
    """Name, arguments and id of an event come back."""
    assert packets.decode(packets.event(name, *pieces(args), ack=number)) == Event(name, args, number)


def test_pieces_are_embedded_as_they_are() -> None:
    """An argument goes out byte for byte as it was encoded."""
    assert packets.event("message:new", b'{ "a" : 1.0 }', b"2") == b'2["message:new",{ "a" : 1.0 },2]'


@given(ids, arguments)
def test_an_ack_reads_as_it_was_written(number: int, args: tuple[Any, ...]) -> None:
    """Id and arguments of an ACK come back."""
    assert packets.decode(packets.ack(number, *pieces(args))) == Ack(number, args)


@given(namespaces, text, st.none() | json_values)
def test_a_connect_error_reads_as_it_was_written(namespace: str, message: str, data: Any) -> None:
    """The refusal of a namespace names it, and says why to people and to programs."""
    said = {"message": message} if data is None else {"message": message, "data": data}

    assert packets.decode(packets.connect_error(namespace, message, data)) == ConnectError(said, namespace)


def test_an_unknown_namespace_is_refused_as_the_test_suite_wants_it() -> None:
    """The refusal is, to the byte, what the protocol's test suite expects."""
    asked = packets.decode(b"0/random")

    assert packets.connect_error(asked.namespace, "Invalid namespace") == (
        b'4/random,{"message":"Invalid namespace"}'
    )


def test_connect_carries_the_ids() -> None:
    """A connection's public id goes out, and its private one only if there is one."""
    assert packets.connect("abc") == b'0{"sid":"abc"}'
    assert packets.connect("abc", "def") == b'0{"sid":"abc","pid":"def"}'


def test_disconnect_is_a_digit() -> None:
    """The end of a connection reads as such."""
    assert packets.decode(packets.disconnect()) == Disconnect()


@given(names, arguments)
def test_no_packet_holds_a_record_separator(name: str, args: tuple[Any, ...]) -> None:
    """What is encoded here can be joined with others in the body of a poll."""
    assert b"\x1e" not in packets.event(name, *pieces((*args, "\x1e")))


# Against python-socketio

any_packet = (
    st.builds(Connect, namespaces, st.none() | objects)
    | st.builds(Disconnect, namespaces)
    | st.builds(Event, names, arguments, st.none() | ids, namespaces)
    | st.builds(Ack, ids, arguments, namespaces)
    | st.builds(ConnectError, objects | text, namespaces)
)


@given(any_packet)
def test_what_they_write_we_read(packet: Packet) -> None:
    """Each packet that python-socketio encodes is decoded to the same, in any namespace."""
    assert packets.decode(written(packet).encode()) == packet


@given(any_packet.map(written))
def test_what_we_read_they_read_alike(encoded: str) -> None:
    """Reading a packet and having it written again by python-socketio changes nothing."""
    assert written(packets.decode(encoded.encode())) == encoded


@given(names, arguments, st.none() | ids)
def test_they_read_our_events(name: str, args: tuple[Any, ...], number: int | None) -> None:
    """python-socketio finds name, arguments and id where we put them."""
    assert read(packets.event(name, *pieces(args), ack=number)) == (
        socketio.packet.EVENT,
        None,
        number,
        [name, *args],
    )


@given(ids, arguments)
def test_they_read_our_acks(number: int, args: tuple[Any, ...]) -> None:
    """python-socketio finds id and arguments where we put them."""
    assert read(packets.ack(number, *pieces(args))) == (socketio.packet.ACK, None, number, list(args))


@given(namespaces.filter(lambda name: name != "/"), text, json_values.filter(lambda data: data is not None))
def test_they_read_our_connect_errors(namespace: str, message: str, data: Any) -> None:
    """python-socketio finds namespace, message and data where we put them."""
    assert read(packets.connect_error(namespace, message, data)) == (
        socketio.packet.CONNECT_ERROR,
        namespace,
        None,
        {"message": message, "data": data},
    )


def test_they_read_how_a_connection_begins_and_ends() -> None:
    """python-socketio reads our CONNECT and DISCONNECT."""
    assert read(packets.connect("abc", "def")) == (0, None, None, {"sid": "abc", "pid": "def"})
    assert read(packets.disconnect()) == (1, None, None, None)


def test_json_of_any_writer_is_read() -> None:
    """Blanks and escapes that another encoder puts in make no difference."""
    encoded = json.dumps(["say", {"a": "\u20ac"}], indent=1)

    assert packets.decode(f"2{encoded}".encode()) == Event("say", ({"a": "\u20ac"},))
