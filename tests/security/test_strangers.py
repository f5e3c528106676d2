"""Whoever is not let in learns nothing by it: one answer for every reason, over a real socket, and nothing is made."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.battery.bad_input.house import ORIGIN, House
from tests.battery.bad_input.peer import HEADERS, PATHS, Closed, Peer, handshake, text
from tests.clients.auth.house import HS256, segment
from tests.clients.auth.house import forge as sign

SECRET = "a secret of the house, of more than 32 bytes"
ISSUER, AUDIENCE = "https://issuer.example", "trio-chat"
REFUSED = "token: not accepted; connect with a new one"

RSA = rsa.generate_private_key(65537, 2048)
RSA_PUBLIC = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
ED = Ed25519PrivateKey.generate()
ED_PEM = ED.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def forge(header: dict[str, Any] | None = None, secret: bytes = SECRET.encode(), /, **claims: Any) -> str:
    """Sign anything by HMAC; a claim that is None is left out."""
    now = time.time()
    sound = {
        "sub": "ada",
        "exp": now + 86_400,
        "iat": int(now),
        "iss": ISSUER,
        "aud": AUDIENCE,
        "rooms": ["*"],
        **claims,
    }
    payload = {name: value for name, value in sound.items() if value is not None}
    return sign({**HS256, **(header or {})}, payload, secret)


def words(peer: Peer) -> bytes:
    """Return what is said next, which is no end."""
    said = peer.hear()
    assert isinstance(said, bytes)
    return said


def unsigned(alg: str) -> str:
    """Return a token that says it needs no signature."""
    head, body, _ = forge({"alg": alg}).split(".")
    return f"{head}.{body}."


FORGERIES = {
    "no token": "",
    "nonsense": "nonsense",
    "two dots": "..",
    "not ASCII": "é.é.é",
    "a NUL": "a.b.\0",
    "alg none": unsigned("none"),
    "alg None": unsigned("None"),
    "alg nOnE with a signature": forge({"alg": "nOnE"}),
    "no alg": forge({"alg": None}),
    "alg HS384": jwt.encode({"sub": "ada", "exp": time.time() + 600}, SECRET * 2, "HS384"),
    "alg RS256": jwt.encode(
        {"sub": "ada", "exp": time.time() + 600, "iss": ISSUER, "aud": AUDIENCE}, RSA, "RS256"
    ),
    "alg EdDSA": jwt.encode(
        {"sub": "ada", "exp": time.time() + 600, "iss": ISSUER, "aud": AUDIENCE}, ED_PEM, "EdDSA"
    ),
    "another secret": forge({}, b"another secret of more than 32 bytes"),
    "an empty secret": forge({}, b""),
    "a public key as the secret": forge({}, RSA_PUBLIC),
    "a changed claim": ".".join(
        [forge().split(".")[0], segment({"sub": "admin", "exp": 9e9}), forge().split(".")[2]]
    ),
    "no signature": forge().rpartition(".")[0] + ".",
    "kid of a file": forge({"kid": "../../../../dev/null"}, b""),
    "kid of SQL": forge({"kid": "x' union select 'a"}, b"a"),
    "its own key": forge({"jwk": {"kty": "oct", "k": segment(b"a")}}, b"a"),
    "a key set elsewhere": forge({"jku": "http://127.0.0.1:1/keys"}, b"a"),
    "a certificate elsewhere": forge({"x5u": "http://127.0.0.1:1/cert"}, b"a"),
    "a critical extension": forge({"crit": ["exp"], "exp": 1}),
    "a detached payload": forge({"b64": False, "crit": ["b64"]}),
    "no exp": forge(exp=None),
    "exp in the past": forge(exp=time.time() - 1),
    "exp as a text": forge(exp="9999999999"),
    "nbf to come": forge(nbf=time.time() + 86_400),
    "nbf as a text": forge(nbf="0"),
    "no sub": forge(sub=None),
    "sub as a number": forge(sub=7),
    "an empty sub": forge(sub=""),
    "sub with a NUL": forge(sub="a\0b"),
    "a long sub": forge(sub="x" * 129),
    "no iss": forge(iss=None),
    "another iss": forge(iss=ISSUER + ".evil.example"),
    "part of the iss": forge(iss=ISSUER[:-1]),
    "no aud": forge(aud=None),
    "another aud": forge(aud="trio"),
    "no aud in the list": forge(aud=[]),
    "rooms as a text": forge(rooms="*"),
    "roles as an object": forge(roles={"admin": True}),
    "oversize, though sound": forge(rooms=["x" * 100] * 100),
}


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    """A server that names its issuer and audience."""
    with House(
        auth_issuer=ISSUER,
        auth_audience=AUDIENCE,
        rate_limits=False,
        max_connections_per_user=0,
        allowed_origins=(ORIGIN,),
        close_timeout_seconds=0.2,
    ) as house:
        yield house


def made(house: House) -> tuple[int, int, int]:
    """Return how many rooms, users and tokens that were accepted there are."""
    app = house.app
    return house.ask(
        lambda: (
            len(app.lobby.rooms),
            app.registry.statistics().users,
            app.authenticator.statistics().accepted,
        )
    )


def say_hello(house: House, token: str) -> list[bytes | Closed]:
    """Say hello on the native wire; return everything that is answered."""
    with Peer(house.port) as peer:
        peer.send(
            handshake() + text({"type": "hello", "token": token}) + text({"type": "room:join", "room": "r"})
        )
        peer.head()
        return list(peer.hear_all())


def show_header(house: House, token: str) -> list[bytes | Closed]:
    """Show the token with the handshake; return everything that is answered."""
    with Peer(house.port) as peer:
        bearer = token.encode("utf-8").decode("latin-1").replace("\0", "")
        peer.send(handshake(Authorization=f"Bearer {bearer}"))
        peer.head()
        return list(peer.hear_all())


def connect(house: House, token: str) -> bytes | Closed:
    """Connect on the Socket.IO wire; return the answer."""
    with Peer(house.port) as peer:
        peer.send(handshake(PATHS["socketio"]) + text("40" + json.dumps({"token": token})))
        peer.head()
        peer.hear()
        return peer.hear()


@pytest.mark.parametrize("token", FORGERIES.values(), ids=FORGERIES)
def test_every_forgery_gets_the_same_answer(house: House, token: str) -> None:
    """Byte for byte, on both wires and in a header; no room, no user and no connection comes of it."""
    before = made(house)
    error = b'{"code":"unauthorized","message":"%b","temporary":false}' % REFUSED.encode()
    refusal = [b'{"type":"error",' + error[1:], Closed(4501, REFUSED)]

    assert say_hello(house, token) == refusal
    assert not token or show_header(house, token) == refusal
    assert connect(house, token) == (
        b'44{"message":"%b","data":{"code":"unauthorized","temporary":false}}' % REFUSED.encode()
    )
    assert made(house) == before
    assert house.failed() == []


def test_the_sound_token_is_accepted(house: House) -> None:
    """What the forgeries differ from by one thing each."""
    with Peer(house.port) as peer:
        peer.send(handshake() + text({"type": "hello", "token": forge()}))
        peer.head()
        heard = peer.hear()

    assert isinstance(heard, bytes)
    assert heard.startswith(b'{"type":"welcome","user":"ada"')


def test_a_public_key_is_pinned_to_its_algorithm(tmp_path: Path) -> None:
    """With an RSA key in the settings, HMAC by that very key is a forgery, whatever the header says."""
    path = tmp_path / "key.pem"
    path.write_bytes(RSA_PUBLIC)
    claims = {"sub": "ada", "exp": time.time() + 600, "rooms": ["*"]}
    with House(auth_key_file=path, auth_secret=None) as house:
        refused = say_hello(house, "x.y.z")
        for header in ({}, {"alg": "HS256"}, {"alg": "RS256"}, {"alg": "RS512"}, {"alg": "PS256"}):
            assert say_hello(house, forge(header, RSA_PUBLIC)) == refused
        with Peer(house.port) as peer:
            peer.send(handshake() + text({"type": "hello", "token": jwt.encode(claims, RSA, "RS256")}))
            peer.head()

            assert b"welcome" in words(peer)


def test_unknown_and_forbidden_rooms_answer_alike(house: House) -> None:
    """Nobody learns which rooms there are: the answers differ in the room's name only."""
    with Peer(house.port) as owner, Peer(house.port) as peer:
        owner.send(handshake() + text({"type": "hello", "token": forge(rooms=["vault"])}))
        for said in (
            {"type": "room:join", "room": "vault"},
            {"type": "message:send", "room": "vault", "content": "x"},
        ):
            owner.send(text(said))
        owner.head()
        while b'"ack"' not in words(owner):
            pass
        peer.send(handshake() + text({"type": "hello", "token": forge(sub="eve", rooms=["r"])}))
        peer.head()
        peer.hear()
        answers = []
        for room in ("vault", "never"):
            for kind in ("room:join", "room:leave", "typing:start", "history:get", "presence:heartbeat"):
                peer.say({"type": kind, "room": room})
                answers.append(words(peer).replace(room.encode(), b"ROOM"))

    assert answers[:5] == answers[5:]


ORIGINS = (
    "https://evil.example", "null", "http://chat.example.org", f"{ORIGIN}:8443", f"{ORIGIN}/", f"{ORIGIN}.evil.example",
    "https://xchat.example.org", f"{ORIGIN}@evil.example", f"{ORIGIN},https://evil.example", "https://*", "*",
)  # fmt: skip


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
@pytest.mark.parametrize("origin", ORIGINS)
def test_pages_of_other_origins_may_not_poll(house: House, origin: str, method: str) -> None:
    """They get a 403, and nothing that would let them read even that. WebSockets are among the bad handshakes."""
    path = "/socket.io/?EIO=4&transport=polling"
    headers: dict[str, str | None] = dict.fromkeys(HEADERS, None) | {"Host": "server", "Connection": "close"}
    with Peer(house.port) as peer:
        peer.send(handshake(path, f"{method} {{}} HTTP/1.1", Origin=origin, **headers))
        answer = peer.rest()

    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"access-control" not in answer.lower()


def test_a_listed_page_may_poll(house: House) -> None:
    """It is named in the answer, exactly, and no other."""
    headers: dict[str, str | None] = dict.fromkeys(HEADERS, None) | {"Host": "server", "Connection": "close"}
    with Peer(house.port) as peer:
        peer.send(handshake("/socket.io/?EIO=4&transport=polling", Origin=ORIGIN, **headers))
        answer = peer.rest().lower()

    assert answer.startswith(b"http/1.1 200 ")
    assert b"access-control-allow-origin: " + ORIGIN.encode() + b"\r\n" in answer
