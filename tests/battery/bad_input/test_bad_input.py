"""Whatever a client says, the server gives the right answer, and nobody else notices.

After each case: the answer came within a second, a second client is answered, nothing was stored, the tasks and
descriptors are what they were, and nothing has escaped.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from trio_chat.clients.auth import make_token
from trio_chat.settings import Settings

from .cases_envelopes import NATIVE, SOCKETIO
from .cases_frames import CASES as FRAMES
from .cases_frames import GOOD_CLOSES, UNFINISHED
from .cases_handshake import CASES as HANDSHAKES
from .cases_state import ANY, EXPIRED, FOREIGN, FORGED, TOKEN, Step
from .cases_state import NATIVE as NATIVE_STATES
from .cases_state import SOCKETIO as SOCKETIO_STATES
from .house import House
from .peer import PATHS, PEERS, Closed, Native, Peer, SocketIO, frame, handshake, text

SETTLED = 1.0


def named(cases: list[tuple[Any, ...]]) -> list[Any]:
    """Return cases as parameters; their names come first."""
    return [pytest.param(*rest, id=name) for name, *rest in cases]


@pytest.fixture
def untroubled(house: House, witness: Native) -> Iterator[None]:
    """Judge what a case has left behind."""
    witness.echo()
    before, stored = house.resources(), house.stored()
    yield
    witness.echo()
    deadline = time.monotonic() + SETTLED
    while (after := house.resources()) != before and time.monotonic() < deadline:
        time.sleep(0.002)

    assert after == before, "(tasks, descriptors, clients)"
    assert house.stored() == stored
    assert house.failed() == []


@pytest.mark.usefixtures("untroubled")
@pytest.mark.parametrize(("data", "status"), named(HANDSHAKES))
def test_bad_handshakes(house: House, data: bytes, status: int) -> None:
    """A request that is no proper handshake gets a status that says why, and never a WebSocket."""
    with Peer(house.port) as peer:
        peer.send(data)

        assert peer.status() == status


@pytest.fixture(params=list(PEERS))
def wire(request: pytest.FixtureRequest) -> str:
    """How the client speaks."""
    return str(request.param)


def entered(house: House, wire: str, lane: str = "fast") -> Native | SocketIO:
    """Return a client that is in the room `pit`, and off the fast lane if so asked."""
    peer = PEERS[wire](house.port)
    peer.enter(house.token(), "pit")
    if lane == "slow":
        peer.send(frame(0x01, b'{"type": "heart' if wire == "native" else b"42["))
        peer.send(frame(0x80, b'beat"}' if wire == "native" else b'"heartbeat"]'))
        peer.hear()
    return peer


@pytest.mark.usefixtures("untroubled")
@pytest.mark.parametrize("lane", ["fast", "slow"])
@pytest.mark.parametrize(("data", "code"), named(FRAMES))
def test_bad_frames(house: House, wire: str, lane: str, data: bytes, code: int) -> None:
    """A client that breaks the protocol of WebSockets is told how, in both lanes."""
    with entered(house, wire, lane) as peer:
        peer.send(data)
        end = peer.end()

        assert end.code == code
        assert "unfinished" not in end.reason, "it waited for more"


@pytest.mark.usefixtures("untroubled")
@pytest.mark.parametrize("lane", ["fast", "slow"])
@pytest.mark.parametrize(("data", "code"), named(GOOD_CLOSES))
def test_good_closes(house: House, wire: str, lane: str, data: bytes, code: int | None) -> None:
    """A client's goodbye is answered in its own words."""
    with entered(house, wire, lane) as peer:
        peer.send(data)

        assert peer.end().code == code


@pytest.mark.usefixtures("untroubled")
@pytest.mark.parametrize("lane", ["fast", "slow"])
@pytest.mark.parametrize(("data", "code"), named(UNFINISHED))
def test_unfinished_frames(house: House, wire: str, lane: str, data: bytes, code: int) -> None:
    """Who never finishes a frame is disconnected. Each takes the time a frame may take, 0.4 s."""
    with entered(house, wire, lane) as peer:
        peer.send(data)

        assert peer.end().code == code


@pytest.mark.usefixtures("untroubled")
@pytest.mark.parametrize(("said", "code"), named(NATIVE))
def test_bad_requests(house: House, said: bytes, code: str) -> None:
    """A request that is not ours is refused, once, and the next one is answered."""
    with Native(house.port) as peer:
        peer.enter(house.token(), "pit")
        peer.say(said)
        refusal = peer.next()

        assert (refusal["type"], refusal["code"]) == ("error", code)
        assert len(refusal["message"]) < 400, "it says again what it was told"
        peer.echo()


@pytest.mark.usefixtures("untroubled")
@pytest.mark.parametrize(("packet", "expected"), named(SOCKETIO))
def test_bad_events(house: House, packet: bytes, expected: str | int) -> None:
    """An event that is not ours is refused in its acknowledgement; what is no Socket.IO at all ends the connection."""
    with SocketIO(house.port) as peer:
        peer.enter(house.token(), "pit")
        peer.say(packet)
        if isinstance(expected, int):
            assert peer.end().code == expected
        else:
            answer = peer.answer(1)

            assert answer["ok"] is False
            assert answer["error"]["code"] == expected
            peer.echo()


@pytest.fixture(scope="module")
def tokens(house: House) -> dict[str, str]:
    """The tokens that conversations name."""
    made = Settings(auth_secret="another secret, of more than 32 bytes")
    return {
        TOKEN: house.token("eve", "pit", "den"),
        FOREIGN: house.token("mallory"),
        EXPIRED: house.token("eve", clock=lambda: time.time() - 7200),
        FORGED: make_token(made, "eve", ["*"]),
    }


def spoken(steps: list[Step], wire: str, tokens: dict[str, str]) -> bytes:
    """Return the bytes of a whole conversation."""
    said = [handshake(PATHS[wire])]
    for step in steps:
        whole = json.dumps(step).encode() if isinstance(step, dict) else step
        for name, token in tokens.items():
            whole = whole.replace(name.encode(), token.encode())
        said.append(whole if wire == "native" and isinstance(step, bytes) else text(whole))
    return b"".join(said)


def gist(heard: bytes | Closed) -> str | int | None:
    """Return what a conversation counts an answer as."""
    if isinstance(heard, Closed):
        return heard.code
    if not heard.startswith(b"{"):
        return _packet_gist(heard.decode())
    said = json.loads(heard)
    return str(said["code"] if said["type"] == "error" else said["type"])


def _packet_gist(packet: str) -> str:
    if packet.startswith("431"):
        (answer,) = json.loads(packet[3:])
        return str(answer["error"]["code"])
    return packet[: packet.index("{")] if packet.startswith("44") else packet[:2]


STATES = [
    pytest.param(wire, *rest, id=f"{wire}: {name}")
    for wire, cases in {"native": NATIVE_STATES, "socketio": SOCKETIO_STATES}.items()
    for name, *rest in cases
]


@pytest.mark.usefixtures("untroubled")
@pytest.mark.parametrize(("wire", "steps", "expected"), STATES)
def test_bad_times(
    house: House, tokens: dict[str, str], wire: str, steps: list[Step], expected: list[str | int]
) -> None:
    """What is said at the wrong time, or by whom it does not befit, is refused; nothing of it is done."""
    with PEERS[wire](house.port) as peer:
        peer.send(spoken(steps, wire, tokens))
        assert peer.head().startswith(b"HTTP/1.1 101 ")
        if wire == "socketio":
            assert gist(peer.hear()) == "0{"
        heard: list[str | int | None] = []
        while len(heard) < len(expected) if expected[0] != ANY else heard[-1:] != expected[-1:]:
            heard += [one for one in [gist(peer.hear())] if one != "presence:update"]

        if expected[0] != ANY:
            assert Counter(heard) == Counter(expected)
            assert heard[-1] == expected[-1] or isinstance(expected[-1], str)


HOSTILE = {
    "SQL": "'); drop table messages; --",
    "Redis": "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n",
    "Lua": "redis.call('flushall')",
    "a format": "%s %n {0} {user} ${HOME} $(id) `id`",
    "HTML": "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "JSON": '{"type": "message:new"}, "\\"] \\u0041',
    "a packet": '42["message:new",{}]\x1e4',
    "an escape sequence": "\x1b[2J\x1b]0;x\x07",
    "control characters": "".join(map(chr, range(1, 32))) + "\x7f\x80\x9f",
    "separators of lines": "a\u2028b\u2029c\x85d\r\ne",
    "from right to left": "\u202eevil\u202c\u2066\u2069\u200f",
    "invisible": "\ufeff\u200b\u200d\u2060\xad",
    "not characters": "\uffff\ufdd0\U0010ffff",
    "beyond the basic plane": "\U0001f600\U0001f469\u200d\U0001f52c",
    "a character in pieces": "e\u0301" + "\u0300" * 200,
    "long": "x" * 60_000,
    "spaces": " \t \n ",
    "a path": "../../../etc/passwd",
    "a reference": "${jndi:ldap://127.0.0.1/x}",
    "quotes": "\"'`\u201c\\",
}


@pytest.mark.parametrize("wire", list(PEERS))
@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_hostile_texts_come_back_as_they_were(house: House, witness: Native, wire: str, content: str) -> None:
    """Text is stored and returned byte for byte, to whoever hears it and to whoever comes later, on either wire."""
    room = f"hostile-{wire}-{len(house.stored())}"
    metadata = {content[:100]: [content[:1000]]}
    with PEERS[wire](house.port) as peer:
        peer.enter(house.token(), room)
        if isinstance(peer, Native):
            said = {"type": "message:send", "room": room, "content": content, "metadata": metadata}
            peer.say(said)
            heard = peer.expect("message:new")["message"]
        else:
            said = {"teamId": room, "content": content, "metadata": metadata}
            peer.say("42" + json.dumps(["message:send", said], ensure_ascii=False))
            heard = peer.expect("message:new")[0]

    with Native(house.port) as later:
        later.enter(house.token("later"))
        later.say({"type": "room:join", "room": room})
        (kept,) = later.expect("messages:history")["messages"]

    assert heard["content"] == kept["content"] == content
    assert heard["metadata"] == kept["metadata"] == metadata
    witness.echo()
    assert house.failed() == []


def test_there_are_enough_cases() -> None:
    """Every kind of bad input has its cases, each with a name of its own."""
    kinds = [HANDSHAKES, FRAMES, NATIVE, SOCKETIO, NATIVE_STATES, SOCKETIO_STATES]
    names = [(number, case[0]) for number, cases in enumerate(kinds) for case in cases]

    assert len(names) == len(set(names))
    assert len(names) >= 250
    assert all(len(cases) >= 40 for cases in kinds)
