"""The short cut for texts: frames cut anywhere, and what is none of its business."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from trio_chat.clients.frames import close_frame, ping_frame, text_frame
from trio_chat.lane import LaneStream, Sieve

if TYPE_CHECKING:
    from collections.abc import Iterable

HEAD = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
FRAGMENT = b"\x01\x03one"
BINARY = b"\x82\x03one"


def feed(*pieces: bytes) -> tuple[list[bytes], bytes]:
    """Feed a new sieve, and return everything it gave."""
    sieve = Sieve()
    texts: list[bytes] = []
    others = b""
    for piece in pieces:
        found, rest = sieve.feed(piece)
        texts += found
        others += rest
    return texts, others


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    bounds = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[one:other] for one, other in itertools.pairwise(bounds)]


_texts = st.sampled_from([b"", b"one", b"x" * 125, b"x" * 126, b"\xc3\xa4" * 300, b"x" * 70_000])
_controls = st.sampled_from([ping_frame(), ping_frame(b"hello"), close_frame(1000, "bye")])


@given(
    st.lists(st.tuples(st.booleans(), _texts, _controls), max_size=6),
    st.lists(st.integers(0, 10**6), max_size=8),
)
def test_texts_are_taken_and_all_else_is_handed_on(
    frames: list[tuple[bool, bytes, bytes]], places: list[int]
) -> None:
    """However the stream is cut, of both nothing is lost and nothing changes places among its own."""
    stream = HEAD + b"".join(text_frame(text) if is_text else control for is_text, text, control in frames)

    texts, others = feed(*cut(stream, places))

    assert texts == [text for is_text, text, _ in frames if is_text]
    assert others == HEAD + b"".join(control for is_text, _, control in frames if not is_text)


@pytest.mark.parametrize("odd", [FRAGMENT, BINARY])
def test_other_data_ends_it_for_good(odd: bytes) -> None:
    """Or messages would come in another order."""
    texts, others = feed(HEAD + text_frame(b"a") + odd + text_frame(b"b"), text_frame(b"c"))

    assert texts == [b"a"]
    assert others == HEAD + odd + text_frame(b"b") + text_frame(b"c")


@pytest.mark.parametrize(
    "pieces", [[b"HTTP/1.1 404 Not Found\r\n\r\n", b"\x81\x01a"], [b"HT", b"TP/1.1 200", b"\r\n\r\n"]]
)
def test_an_answer_that_switches_nothing_is_handed_on_whole(pieces: list[bytes]) -> None:
    """Whatever its body looks like."""
    assert feed(*pieces) == ([], b"".join(pieces))


async def test_a_stream_gives_everything_but_texts() -> None:
    """They go to the listener; a stream of nothing else ends when the one beneath does."""
    ours, theirs = trio.testing.memory_stream_pair()
    heard: list[list[bytes]] = []
    stream = LaneStream(ours, heard.append)

    await theirs.send_all(HEAD)
    first = await stream.receive_some()
    await theirs.send_all(text_frame(b"a") + text_frame(b"b"))
    await theirs.send_all(ping_frame())
    second = await stream.receive_some()
    await theirs.send_all(text_frame(b"c"))
    await theirs.aclose()

    assert (first, second) == (HEAD, ping_frame())
    assert await stream.receive_some() == b""
    assert [text for texts in heard for text in texts] == [b"a", b"b", b"c"]
    assert repr(stream).startswith("<LaneStream <Sieve open held=0> on ")


async def test_a_stream_sends_and_closes_what_is_beneath() -> None:
    """Nothing is short about that way."""
    ours, theirs = trio.testing.memory_stream_pair()
    stream = LaneStream(ours, lambda _: None)

    await stream.wait_send_all_might_not_block()
    await stream.send_all(b"hello")
    await stream.aclose()

    assert await theirs.receive_some() == b"hello"
    assert await theirs.receive_some() == b""
