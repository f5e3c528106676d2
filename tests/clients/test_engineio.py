"""Engine.IO packets: what is read, what is refused, and what is written. Judged by python-engineio too.

A property takes up to half a second, for a hundred examples of nested JSON.
"""

from __future__ import annotations

import contextlib
import json
from typing import Any

import msgspec
import pytest
from engineio.packet import Packet as TheirPacket
from engineio.payload import Payload as TheirPayload
from hypothesis import given
from hypothesis import strategies as st

from trio_chat.clients import engineio
from trio_chat.clients.engineio import Kind, Packet, Refusal
from trio_chat.errors import BadRequest

ROOM = 1_000_000

# What a Socket.IO packet looks like from below; theirs reads other texts as JSON at times, and then as a number.
socketio_texts = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=8), values, max_size=3),
    max_leaves=4,
).map(lambda value: f"2{msgspec.json.encode(['say', value]).decode()}")
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x1e"))
packets = st.builds(Packet, st.sampled_from(Kind), texts.map(str.encode))
carried = st.builds(Packet, st.just(Kind.MESSAGE), socketio_texts.map(str.encode)) | st.builds(
    Packet, st.sampled_from([Kind.PING, Kind.PONG]), st.sampled_from([b"", b"probe"])
)


def said(packet: TheirPacket) -> tuple[int, str]:
    """Return what their packet holds, as a text."""
    data: Any = packet.data
    return packet.packet_type, data if isinstance(data, str) else json.dumps(data)


# Reading


@pytest.mark.parametrize(
    ("text", "packet"),
    [
        pytest.param(b"2", Packet(Kind.PING), id="ping"),
        pytest.param(b"2probe", Packet(Kind.PING, b"probe"), id="probe"),
        pytest.param(b"3probe", Packet(Kind.PONG, b"probe"), id="its answer"),
        pytest.param(b"4hello", Packet(Kind.MESSAGE, b"hello"), id="message"),
        pytest.param("4\u20ac".encode(), Packet(Kind.MESSAGE, "\u20ac".encode()), id="message beyond ASCII"),
        pytest.param(b"4", Packet(Kind.MESSAGE), id="empty message"),
        pytest.param(b"5", Packet(Kind.UPGRADE), id="upgrade"),
        pytest.param(b"6", Packet(Kind.NOOP), id="noop"),
        pytest.param(b"1", Packet(Kind.CLOSE), id="close"),
        pytest.param(b"1bye", Packet(Kind.CLOSE, b"bye"), id="close with a payload that nobody asked for"),
    ],
)
def test_the_protocol_s_examples_are_read(text: bytes, packet: Packet) -> None:
    """Each packet of the protocol's text is what the text says it is, and is written the same way."""
    assert engineio.decode(text) == packet
    assert engineio.encode(packet) == text


BAD: dict[str, bytes] = {
    "nothing": b"",
    "the test suite's invalid packet": b"abc",
    "an unknown type": b"7",
    "another unknown type": b"9hello",
    "a type that is a control character": b"\x04hello",
    "a blank before the type": b" 4hello",
    "a digit of another script": "\u0664hello".encode(),
    "a binary packet in base64": b"bAQIDBA==",
    "a packet of a JSONP form": b"d=4hello",
    "no UTF-8": b"4\xff",
    "no UTF-8 from the first byte": b"\xff",
    "half a character": "4\u20ac".encode()[:-1],
    "a surrogate": b"4\xed\xa0\x80",
    "an overlong slash": b"4\xc0\xaf",
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_what_is_no_packet_is_refused(text: bytes) -> None:
    """A malformed packet is a bad request, alone and among good ones."""
    with pytest.raises(BadRequest):
        engineio.decode(text)
    with pytest.raises(BadRequest):
        engineio.decode_payload(b"4a\x1e" + text + b"\x1e4b", ROOM)


@given(st.binary(max_size=40))
def test_any_bytes_are_packets_or_a_bad_request(body: bytes) -> None:
    """Nothing but `BadRequest` comes out of reading, whatever goes in."""
    with contextlib.suppress(BadRequest):
        engineio.decode_payload(body, ROOM)


def test_a_body_is_split_at_its_separators() -> None:
    """The protocol's example of a body reads as its three packets."""
    assert engineio.decode_payload(b"4hello\x1e2\x1e4world", ROOM) == [
        Packet(Kind.MESSAGE, b"hello"),
        Packet(Kind.PING),
        Packet(Kind.MESSAGE, b"world"),
    ]


@pytest.mark.parametrize(
    "body", [b"", b"\x1e", b"4a\x1e", b"\x1e4a", b"4a\x1e\x1e4b", b"4hello\x1ebAQIDBA=="]
)
def test_empty_and_binary_records_are_refused(body: bytes) -> None:
    """No record of a body may be empty or binary, neither the first nor the last nor the only one."""
    with pytest.raises(BadRequest):
        engineio.decode_payload(body, ROOM)


def test_binary_is_refused_as_what_it_is() -> None:
    """Who sends binary is told that it is not supported, not that it is unknown."""
    with pytest.raises(BadRequest, match="binary packets are not supported"):
        engineio.decode(b"bAQIDBA==")


def test_the_size_of_a_body_is_limited_to_the_byte() -> None:
    """A body of as many bytes as the client was told passes, one byte more does not."""
    assert engineio.decode_payload(b"4hello", 6)
    with pytest.raises(BadRequest, match="at most 5 bytes"):
        engineio.decode_payload(b"4hello", 5)


def test_the_number_of_packets_in_a_body_is_limited() -> None:
    """A body holds as many packets as allowed, and none more."""
    assert len(engineio.decode_payload(b"3\x1e3", ROOM, 2)) == 2
    with pytest.raises(BadRequest, match="at most 2 packets"):
        engineio.decode_payload(b"3\x1e3\x1e3", ROOM, 2)


# Writing


def payload(them: list[Packet]) -> bytes:
    """Return the body that holds packets."""
    return engineio.join([engineio.encode(packet) for packet in them])


@given(packets)
def test_a_packet_reads_as_it_was_written(packet: Packet) -> None:
    """Decoding undoes encoding."""
    assert engineio.decode(engineio.encode(packet)) == packet


@given(st.lists(packets, min_size=1))
def test_a_body_reads_as_it_was_written(them: list[Packet]) -> None:
    """Decoding undoes encoding for whole bodies, and encoding undoes decoding."""
    body = payload(them)

    assert engineio.decode_payload(body, len(body)) == them
    assert payload(engineio.decode_payload(body, len(body))) == body


def test_a_body_without_packets_is_a_noop() -> None:
    """An empty body would be an error to the client, so a noop stands for nothing."""
    assert engineio.join([]) == b"6"


def test_the_open_packet_says_the_terms() -> None:
    """A session begins as in the protocol's example."""
    opening = engineio.open_packet("lv_VI97HAXpY6yYWAAAC", ["websocket"], 25_000, 20_000, 1_000_000)

    assert engineio.encode(opening) == (
        b'0{"sid":"lv_VI97HAXpY6yYWAAAC","upgrades":["websocket"],'
        b'"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}'
    )


@pytest.mark.parametrize(
    ("refusal", "status", "code", "message"),
    [
        (Refusal.UNKNOWN_TRANSPORT, 400, 0, "Transport unknown"),
        (Refusal.UNKNOWN_SID, 400, 1, "Session ID unknown"),
        (Refusal.BAD_HANDSHAKE_METHOD, 400, 2, "Bad handshake method"),
        (Refusal.BAD_REQUEST, 400, 3, "Bad request"),
        (Refusal.FORBIDDEN, 403, 4, "Forbidden"),
        (Refusal.UNSUPPORTED_PROTOCOL_VERSION, 400, 5, "Unsupported protocol version"),
    ],
)
def test_refusals_are_the_reference_s(refusal: Refusal, status: int, code: int, message: str) -> None:
    """Status, number and text of a refusal are those of the reference server."""
    assert refusal.status == status
    assert json.loads(refusal.body()) == {"code": code, "message": message}


def test_a_refusal_may_say_more() -> None:
    """A text of our own goes out in place of the usual one."""
    assert json.loads(Refusal.BAD_REQUEST.body("send text")) == {"code": 3, "message": "send text"}


# Against python-engineio


@given(st.sampled_from(Kind), socketio_texts | st.sampled_from(["", "probe"]))
def test_what_they_write_we_read(kind: Kind, data: str) -> None:
    """A packet that python-engineio encodes is decoded to the same kind and payload."""
    written = TheirPacket(kind.value, data).encode()

    assert engineio.decode(written.encode()) == Packet(kind, data.encode())


@given(carried)
def test_what_we_write_they_read(packet: Packet) -> None:
    """A packet that we encode is decoded by python-engineio to the same kind and payload."""
    theirs = TheirPacket(encoded_packet=engineio.encode(packet).decode())

    assert said(theirs) == (packet.kind, packet.data.decode())


def test_they_read_the_terms_of_our_open_packet() -> None:
    """Their client finds each of the session's terms where it looks for it."""
    opening = engineio.encode(engineio.open_packet("abc", [], 300, 200, 1000))

    assert TheirPacket(encoded_packet=opening.decode()).data == {
        "sid": "abc",
        "upgrades": [],
        "pingInterval": 300,
        "pingTimeout": 200,
        "maxPayload": 1000,
    }


@given(st.lists(carried, min_size=1, max_size=4))
def test_bodies_are_theirs_too(them: list[Packet]) -> None:
    """Both libraries write the same body for the same packets, and read each other's."""
    theirs = TheirPayload([TheirPacket(packet.kind.value, packet.data.decode()) for packet in them])
    body = payload(them)

    assert theirs.encode().encode() == body
    assert [said(packet) for packet in TheirPayload(encoded_payload=body.decode()).packets] == [
        (packet.kind, packet.data.decode()) for packet in them
    ]
