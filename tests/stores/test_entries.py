"""Entries of a log."""

from __future__ import annotations

import zlib
from datetime import datetime

import msgspec
import pytest

from trio_chat.message import Deleted, Edited, Event, Posted
from trio_chat.stores.entries import _ENVELOPE, COMPRESS_ABOVE, MAX_INFLATED, Unreadable, decode, encode

from .hot_contract.house import HOSTILE, NOON, delete, edit, message, post

NAIVE = datetime(2025, 3, 1, 12)  # noqa: DTZ001 - what a sloppy writer would store
WRITTEN = (
    "01787dd14946e823a43fd7108fe52119a90a85a599c9d90a4945f9e5790a69f9150a59a5b905c50af965a9450a2540e99cc4"
    "aa4a8594fc743d8551c5a3a1319a364673ca6851305a300eb36a026b7bc018d41e303402b7070cd11a02280d0c500d8bdec2"
    "00007067b077"
)
LONG = "The quick brown fox jumps over the lazy dog. " * 40


def deflated(plain: bytes, dictionary: bytes = _ENVELOPE) -> bytes:
    """Compress as `encode` does, whatever it is."""
    deflate = zlib.compressobj(zdict=dictionary)
    return b"\x01" + deflate.compress(plain) + deflate.flush()


@pytest.mark.parametrize(
    "event", [post(1), edit(7, of=3), delete(9, of=3), post(5, metadata={"a": [1.5, None]})]
)
def test_event_survives(event: Event) -> None:
    """What is decoded equals what was encoded, for every kind of event."""
    assert decode(encode(event), event.seq) == event


@pytest.mark.parametrize("content", [*HOSTILE, LONG, "\x01\x1f" * 5000, "😀" * 3000])
def test_content_survives(content: str) -> None:
    """Any text comes back byte for byte."""
    event = post(1, content=content)

    assert decode(encode(event), 1) == event


def test_short_event_is_json() -> None:
    """An entry of up to 512 bytes can be read by anybody."""
    entry = encode(post(1))

    assert msgspec.json.decode(entry)["kind"] == "post"


def test_long_event_is_compressed() -> None:
    """A longer entry is marked by its first byte, and smaller."""
    event = post(1, content=LONG)
    plain = msgspec.json.encode(event)
    entry = encode(event)

    assert len(plain) > COMPRESS_ABOVE
    assert entry[:1] == b"\x01"
    assert len(entry) < len(plain) / 5


def test_event_too_large_to_inflate_is_stored_plain() -> None:
    """What the limit on inflating would refuse is not compressed in the first place."""
    event = post(1, content="x" * (MAX_INFLATED + 1))
    entry = encode(event)

    assert entry[:1] == b"{"
    assert decode(entry, 1) == event


def test_dictionary_is_part_of_the_format() -> None:
    """Entries written by any version can be read by this one."""
    written = bytes.fromhex(WRITTEN)

    assert decode(written, 1) == post(1, content=LONG)


PLAIN = msgspec.json.encode(post(1))


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x00", id="unknown first byte"),
        pytest.param(b"\x02" + PLAIN, id="an encoding of tomorrow"),
        pytest.param(b" " + PLAIN, id="not where it begins"),
        pytest.param(b"{", id="cut JSON"),
        pytest.param(PLAIN[:-1], id="cut event"),
        pytest.param(PLAIN + b"x", id="more than an event"),
        pytest.param(b"{}", id="no kind"),
        pytest.param(PLAIN.replace(b"post", b"poke"), id="unknown kind"),
        pytest.param(PLAIN.replace(b'"seq":1', b'"seq":"1"'), id="wrong type"),
        pytest.param(PLAIN.replace(b'"seq":1', b'"seq":1e400'), id="infinite"),
        pytest.param(PLAIN.replace(b'"role":"user"', b'"role":"root"'), id="unknown role"),
        pytest.param(PLAIN.replace(b"text", b"\xff\xfe"), id="not UTF-8"),
        pytest.param(PLAIN.replace(b"text", b"\\ud800"), id="lone surrogate"),
        pytest.param(PLAIN.replace(b"{}", b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}"), id="nested too deep"),
        pytest.param(b"\x01", id="nothing compressed"),
        pytest.param(b"\x01" + b"junk" * 9, id="not zlib"),
        pytest.param(deflated(PLAIN, b"another dictionary"), id="compressed with another dictionary"),
        pytest.param(deflated(PLAIN)[:-1], id="cut compression"),
        pytest.param(deflated(b""), id="nothing inside"),
        pytest.param(deflated(b"{" * (MAX_INFLATED + 2)), id="bomb"),
        pytest.param(msgspec.json.encode(Posted(message(1, rev=2))), id="another number"),
        pytest.param(msgspec.json.encode(post(2)), id="event of another place"),
        pytest.param(msgspec.json.encode(Posted(message(1, timestamp=NAIVE))), id="no time zone"),
    ],
)
def test_unreadable_entry(entry: bytes) -> None:
    """Whatever is wrong with an entry is one exception, which quotes nothing of it."""
    with pytest.raises(Unreadable) as caught:
        decode(entry, 1)

    assert "text" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "event",
    [
        Edited(message(3, rev=3), NOON),
        Deleted(message(5, rev=3), NOON),
        Edited(message(-1, rev=3), NOON),
        Edited(message(1, rev=3), NAIVE),
    ],
)
def test_contradicting_event_is_unreadable(event: Event) -> None:
    """An event that changes a message before it was posted is none."""
    with pytest.raises(Unreadable):
        decode(msgspec.json.encode(event), 3)
