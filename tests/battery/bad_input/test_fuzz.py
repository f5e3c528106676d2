"""Nothing escapes, whatever is said: 10,000 conversations with mistakes, and envelopes of every shape.

`TRIO_CHAT_FUZZ=100000` says how many conversations, `TRIO_CHAT_FUZZ_SEED=7` which ones. The seed is printed, and what
made a test fail. The default takes half a minute.
"""

from __future__ import annotations

import json
import os
import re
import sys
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_chat.errors import CloseCode, ReplyCode

from .cases_envelopes import EPOCH, REQUESTS, SOCKETIO_EVENTS
from .house import House
from .mutations import mutation
from .peer import Closed, Native, Peer, SocketIO

ROUNDS = 20
INPUTS = int(os.environ.get("TRIO_CHAT_FUZZ", "10000"))
SEED = int(os.environ.get("TRIO_CHAT_FUZZ_SEED", "0"))

# What stands before the JSON in a packet of Engine.IO and Socket.IO.
HEAD = re.compile(rb"^[0-6]+(?:/[^,]*,)?[0-9]*")


@pytest.mark.parametrize("number", range(ROUNDS))
def test_conversations_with_mistakes(house: House, witness: Native, number: int) -> None:
    """Each is answered in good form or dropped; a second client is answered after each; nothing escapes."""
    seed = SEED * ROUNDS + number
    sys.stdout.write(f"seed {seed}\n")
    chance = Random(seed)
    token = house.token("eve", "fuzz")
    for at in range(INPUTS // ROUNDS):
        said = mutation(token, chance)
        try:
            check_answer(said_to(house, said))
            witness.echo()
            assert house.escapes.records == []
        except Exception:
            sys.stdout.write(f"number {at} of seed {seed}: {said!r}\n")
            raise

    assert house.failed() == []


def said_to(house: House, data: bytes) -> bytes:
    """Say it, and return all that is answered."""
    with Peer(house.port) as peer:
        peer.send(data)
        peer.send_eof()
        return peer.rest(within=3)


def check_answer(answer: bytes) -> None:
    """Expect HTTP responses, or frames behind a 101, and no admission of a failure."""
    if not answer:
        return
    assert answer.startswith(b"HTTP/1.1 "), answer[:200]
    status = int(answer[9:12])
    assert status < 500 or status == 505, answer[:200]
    if status == 101:
        check_frames(answer.partition(b"\r\n\r\n")[2])


def check_frames(data: bytes) -> None:
    """Expect whole frames of a server: texts in JSON, packets, pongs, and at most one Close, as the last."""
    while data:
        first, size, start = data[0], data[1], 2
        if size > 125:
            start = 4 if size == 126 else 10
            size = int.from_bytes(data[2:start], "big")
        payload, data = data[start : start + size], data[start + size :]
        assert first in {0x81, 0x88, 0x89, 0x8A}, first
        if first == 0x81 and not payload.startswith(b"3"):  # a pong says what the ping said
            json.loads(HEAD.sub(b"", payload) or b"0")
        if first == 0x88:
            assert data == b""
            assert int.from_bytes(payload[:2], "big") != CloseCode.INTERNAL_ERROR


# --- envelopes, by a grammar

texts = st.one_of(
    st.sampled_from(
        ["pit", "den", "m", "user", EPOCH, "", "x" * 129, "\0", "\ud800", "a\nb", "*", "__proto__"]
    ),
    st.text(max_size=20),
)
quoted = st.one_of(
    texts.map(json.dumps),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20).map(
        lambda said: json.dumps(said, ensure_ascii=False)
    ),
    st.sampled_from(['"\\ud83d"', '"\\u0000"', '"\\x"', '"\t"', '"', '"\\u12"']),
)
atoms = st.one_of(
    quoted,
    st.sampled_from(
        ["null", "true", "false", "NaN", "-Infinity", "1e999", "01", "-", "9" * 400, "1.0", "-0", "1E2", ""]
    ),
    st.integers().map(str),
    st.floats().map(repr),
)


def object_of(pairs: list[tuple[str, str]]) -> str:
    """Return a JSON object, names twice if they are."""
    return "{" + ",".join(f"{name}:{value}" for name, value in pairs) + "}"


values = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda parts: f"[{','.join(parts)}]"),
        st.lists(st.tuples(quoted, inner), max_size=4).map(object_of),
    ),
    max_leaves=12,
)


@st.composite
def requests(draw: st.DrawFn) -> str:
    """A request of ours, more or less: right fields with any values, fields twice, missing, or of other requests."""
    kind = draw(st.sampled_from([*REQUESTS, "nonsense"]))
    every = sorted({name for fields in REQUESTS.values() for name in fields} | {"ref", "userId", "type"})
    pairs = [("type", json.dumps(kind))]
    for name, value in REQUESTS.get(kind, {}).items():
        if draw(st.integers(0, 9)):
            pairs.append((name, json.dumps(value) if draw(st.booleans()) else draw(values)))
    pairs += draw(st.lists(st.tuples(st.sampled_from(every), values), max_size=2))
    return object_of([(json.dumps(name), value) for name, value in draw(st.permutations(pairs))])


@st.composite
def packets(draw: st.DrawFn) -> str:
    """An event of ours, more or less."""
    name = draw(
        st.one_of(st.sampled_from([*SOCKETIO_EVENTS, "heartbeat", "connect"]).map(json.dumps), values)
    )
    number = draw(st.sampled_from(["", "0", "7", "99999999999"]))
    arguments = draw(
        st.lists(st.one_of(values, st.sampled_from(['"pit"', '{"teamId":"pit","content":"x"}'])), max_size=3)
    )
    return (
        draw(st.sampled_from(["42", "42", "42", "43", "40", "44", "4"]))
        + number
        + f"[{','.join([name, *arguments])}]"
    )


def encoded(said: str) -> bytes:
    """Return a text in UTF-8, without the surrogates it could not hold."""
    return said.encode("utf-8", "replace")


@pytest.fixture(scope="module")
def token(house: House) -> str:
    """A token for two rooms."""
    return house.token("eve", "pit", "den")


@settings(max_examples=200)
@given(said=st.lists(st.one_of(requests(), values), max_size=8))
def test_requests_of_any_shape(house: House, witness: Native, token: str, said: list[str]) -> None:
    """Whoever says them gets objects of ours and can go on, or is told to mend his client. Takes some seconds."""
    with Native(house.port) as peer:
        peer.enter(token, "pit")
        for one in said:
            peer.say(encoded(one))
        peer.say({"type": "heartbeat", "ref": "the end"})
        for heard in peer.hear_all():
            if isinstance(heard, Closed):
                assert heard.code == CloseCode.BAD_REQUESTS
                assert len(said) >= 5
                break
            answer: dict[str, Any] = json.loads(heard)
            if answer["type"] == "error":
                assert answer["code"] in list(ReplyCode)
            if answer == {"type": "heartbeat", "ref": "the end"}:
                break
    witness.echo()

    assert house.failed() == []


@settings(max_examples=200)
@given(said=st.lists(packets(), max_size=8))
def test_events_of_any_shape(house: House, witness: Native, token: str, said: list[str]) -> None:
    """Whoever says them is answered and can go on, or is told that this is no Socket.IO. Takes some seconds."""
    with SocketIO(house.port) as peer:
        peer.enter(token, "pit")
        for one in said:
            peer.say(encoded(one))
        peer.say('42123456["heartbeat"]')
        for heard in peer.hear_all():
            if isinstance(heard, Closed):
                assert heard.code in {CloseCode.PROTOCOL_ERROR, CloseCode.BAD_REQUESTS}
                break
            if heard.startswith(b"43123456["):
                break
    witness.echo()

    assert house.failed() == []
