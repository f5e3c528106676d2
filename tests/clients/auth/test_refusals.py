"""Tokens that are refused, all with one text."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_chat.clients.auth import LEEWAY_SECONDS, MAX_TOKEN_BYTES, REFUSED, TOKEN_ROLES, Authenticator
from trio_chat.errors import BadRequest
from trio_chat.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

from .house import (
    ED25519,
    HS256,
    NOW,
    OTHER_RSA,
    OTHER_SECRET,
    RSA,
    SECRET,
    SOUND,
    claims,
    clock,
    expect_refused,
    forge,
    jwk,
    public_pem,
)


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        "null",
        "Bearer x",
        " " + forge(HS256, claims()),
        forge(HS256, claims()) + "\n",
        forge(HS256, claims()) + ".x",
        "\udc80" * 10,
        "\u00e9" * 10,
        "\x00",
    ],
)
def test_texts_that_are_no_tokens_are_refused(auth: Authenticator, token: str) -> None:
    """Rubbish gets the same answer as a good forgery."""
    expect_refused(auth, token)


@pytest.mark.parametrize(
    "alg", ["none", "None", "NONE", "nOnE", "", 0, True, ["HS256"], {"a": 1}, "HS384", "RS256"]
)
@pytest.mark.parametrize("signed", [True, False])
def test_the_token_does_not_choose_the_algorithm(auth: Authenticator, alg: object, signed: bool) -> None:
    """Neither `none` nor anything but the configured algorithm is accepted, signed or not."""
    token = forge({"alg": alg, "typ": "JWT"}, claims())
    unsigned = token.rpartition(".")[0] + "."

    expect_refused(auth, token if signed else unsigned)


def test_a_missing_algorithm_is_refused(auth: Authenticator) -> None:
    """There is no default for `alg`."""
    expect_refused(auth, forge({"typ": "JWT"}, claims()))


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_another_hash_with_the_right_secret_is_refused(auth: Authenticator, algorithm: str) -> None:
    """The algorithm is pinned, even among those the secret could serve."""
    token = jwt.encode(claims(), SECRET.ljust(64, "!"), algorithm)
    auth_of_long_secret = Authenticator(Settings(auth_secret=SECRET.ljust(64, "!")), clock)

    expect_refused(auth_of_long_secret, token)


@pytest.mark.parametrize("key", [RSA, ED25519])
@pytest.mark.parametrize("alg", ["HS256", "RS256", "EdDSA"])
def test_a_public_key_is_no_secret(pem_auth: Callable[[bytes], Authenticator], key: Any, alg: str) -> None:
    """Whoever signs with the public key itself, by HMAC, is refused under every name of an algorithm."""
    pem = public_pem(key)
    auth = pem_auth(pem)

    expect_refused(auth, forge({"alg": alg}, claims(), pem))
    expect_refused(auth, forge({"alg": alg}, claims(), pem.strip()))


@pytest.mark.parametrize("algorithm", ["RS384", "RS512", "PS256"])
def test_other_algorithms_of_the_right_key_are_refused(
    pem_auth: Callable[[bytes], Authenticator], algorithm: str
) -> None:
    """A signature by the right key but another algorithm does not count."""
    expect_refused(pem_auth(public_pem(RSA)), jwt.encode(claims(), RSA, algorithm))


def test_another_key_is_refused(auth: Authenticator, pem_auth: Callable[[bytes], Authenticator]) -> None:
    """A sound token of somebody else's key is a forgery."""
    expect_refused(auth, forge(HS256, claims(), OTHER_SECRET))
    expect_refused(pem_auth(public_pem(RSA)), jwt.encode(claims(), OTHER_RSA, "RS256"))


@pytest.mark.parametrize(
    "members",
    [
        {"jku": "https://evil.example/jwks.json"},
        {"x5u": "https://evil.example/cert.pem"},
        {"jwk": jwk(OTHER_RSA.public_key())},
        {"kid": "../../../../dev/null"},
        {"kid": "' OR '1'='1"},
        {"kid": "| id"},
        {"kid": ""},
    ],
)
def test_a_token_does_not_bring_its_own_key(
    pem_auth: Callable[[bytes], Authenticator], members: dict[str, Any]
) -> None:
    """A header that names or holds the attacker's key changes nothing."""
    token = jwt.encode(claims(), OTHER_RSA, "RS256", headers=members)

    expect_refused(pem_auth(public_pem(RSA)), token)


@pytest.mark.parametrize("kid", [None, 1, ["a"], {"a": "b"}, True])
def test_a_kid_is_a_text(auth: Authenticator, kid: object) -> None:
    """Any other type is refused, even where no kid is needed."""
    expect_refused(auth, forge(HS256 | {"kid": kid}, claims()))


@pytest.mark.parametrize(
    "members",
    [
        {"crit": ["b64"], "b64": False},
        {"crit": ["b64"], "b64": True},
        {"b64": False},
        {"crit": []},
        {"crit": ["exp"], "exp": 1},
        {"crit": None},
    ],
)
def test_no_extension_is_understood(auth: Authenticator, members: dict[str, Any]) -> None:
    """A token that demands one is refused (RFC 7515, section 4.1.11)."""
    expect_refused(auth, forge(HS256 | members, claims()))


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": None},
        {"exp": NOW},
        {"exp": NOW - 1},
        {"exp": 0},
        {"exp": -1},
        {"exp": str(NOW + 60)},
        {"exp": True},
        {"exp": [NOW + 60]},
        {"nbf": NOW + LEEWAY_SECONDS + 1},
        {"nbf": "now"},
        {"nbf": 1e18},
        {"iat": "now"},
        {"aud": "chat"},
        {"aud": ["chat"]},
        {"aud": []},
        {"aud": 5},
        {"iss": 5},
        {"sub": None},
        {"sub": ""},
        {"sub": 42},
        {"sub": ["u1"]},
        {"sub": "x" * 129},
        {"sub": "a\nb"},
        {"sub": "a\x00b"},
        {"sub": "a\x7fb"},
        {"sub": "\ud800"},
        {"rooms": "team-42/*"},
        {"rooms": {"team-42/*": True}},
        {"rooms": [1]},
        {"rooms": [None]},
        {"rooms": True},
        {"roles": "assistant"},
        {"roles": [["assistant"]]},
        {"roles": {"assistant": True}},
    ],
)
def test_claims_that_do_not_hold_are_refused(auth: Authenticator, changes: dict[str, Any]) -> None:
    """A good signature is not enough: each claim has one type, and the times and parties must fit."""
    expect_refused(auth, forge(HS256, claims(**changes)))


@pytest.mark.parametrize("name", ["exp", "nbf", "iat", "iss", "aud", "sub", "rooms", "roles"])
def test_a_null_is_not_the_same_as_none(auth: Authenticator, name: str) -> None:
    """A claim that is there must have its type."""
    expect_refused(auth, forge(HS256, json.dumps(claims() | {name: None}).encode()))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"u1"',
        b'{"sub":"u1","exp":NaN}',
        b'{"sub":"u1","exp":Infinity}',
        b'{"sub":"u1","exp":1e999}',
        b'{"sub":"u1","exp":' + b"9" * 5000 + b"}",
        b'{"sub":"\xff","exp":9e9}',
        b"\xff\xfe",
    ],
)
def test_payloads_made_to_break_a_reader_are_refused(auth: Authenticator, payload: bytes) -> None:
    """Well signed nonsense ends in the same answer, not in an exception of some parser."""
    expect_refused(auth, forge(HS256, payload))


def test_a_claim_of_no_meaning_may_be_nested_as_deep_as_python_reads(auth: Authenticator) -> None:
    """It is skipped, or refused where that is too deep for this Python; neither is an exception of some parser."""
    deep = b'{"sub":"u1","exp":9e9,"deep":' + b"[" * 2500 + b"]" * 2500 + b"}"
    try:
        outcome = auth.authenticate(forge(HS256, deep)).user
    except BadRequest as error:
        outcome = str(error)

    assert outcome in {"u1", REFUSED}


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"5",
        b"\xff",
        b"[" * 5000,
        b'{"alg":' * 600,
        b'{"alg":' + b"9" * 5000 + b"}",
    ],
)
def test_headers_made_to_break_a_reader_are_refused(auth: Authenticator, header: bytes) -> None:
    """The header is read before anything is known to be true, so it may hold anything."""
    expect_refused(auth, forge(header, claims()))


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": None},
        {"iss": "https://id.example/"},
        {"iss": "https://evil.example"},
        {"aud": None},
        {"aud": "chat2"},
        {"aud": ["else"]},
        {"aud": []},
        {"aud": "cha"},
        {"aud": ["chat", 5]},
    ],
)
def test_tokens_of_or_for_others_are_refused(changes: dict[str, Any]) -> None:
    """Configured parties must be named exactly."""
    settings = Settings(auth_secret=SECRET, auth_issuer="https://id.example", auth_audience="chat")
    sound = claims(iss="https://id.example", aud="chat")

    token = forge(HS256, {name: value for name, value in (sound | changes).items() if value is not None})

    expect_refused(Authenticator(settings, clock), token)


def test_an_oversize_token_is_refused_though_it_is_sound(auth: Authenticator) -> None:
    """Above 8 KiB nothing is even parsed."""
    fits = forge(HS256, claims(pad="x" * 5900))
    too_long = forge(HS256, claims(pad="x" * 6100))
    assert len(fits) <= MAX_TOKEN_BYTES < len(too_long)

    assert auth.authenticate(fits).user == "u1"
    expect_refused(auth, too_long)
    expect_refused(auth, "." * 50_000_000)


def test_no_token_is_logged(auth: Authenticator, caplog: pytest.LogCaptureFixture) -> None:
    """The log says why, in words of its own: nothing the client wrote is in it."""
    caplog.set_level(logging.DEBUG)
    tokens = [
        forge(HS256, claims(sub="Mallory\n", exp=NOW + 5)),
        forge(HS256 | {"kid": ["Mallory"]}, claims()),
        forge({"alg": "Mallory"}, claims()),
        forge(HS256, claims(sub="Mallory"), OTHER_SECRET),
        "Mallory",
    ]
    for token in tokens:
        expect_refused(auth, token)

    assert len(caplog.messages) == len(tokens)
    assert "the signature is wrong" in caplog.text
    assert not any(part in caplog.text for token in tokens for part in (*token.split("."), "Mallory"))


@given(st.text())
def test_no_text_is_let_in(text: str) -> None:
    """Whatever is sent as a token, it is refused in the one way."""
    expect_refused(Authenticator(Settings(auth_secret=SECRET), clock), text)


@given(st.integers(0, len(SOUND) - 1), st.characters(codec="ascii"))
def test_a_changed_token_is_not_let_in(index: int, character: str) -> None:
    """One other character anywhere, and it is a forgery or the same token written differently."""
    auth = Authenticator(Settings(auth_secret=SECRET), clock)
    changed = SOUND[:index] + character + SOUND[index + 1 :]

    try:
        identity = auth.authenticate(changed)
    except BadRequest:
        return
    # The last character of a signature has bits that mean nothing; older verifiers do not look at them.
    assert changed == SOUND or index == len(SOUND) - 1
    assert identity == auth.authenticate(SOUND)


@given(
    st.dictionaries(
        st.sampled_from(["sub", "exp", "nbf", "iat", "iss", "aud", "rooms", "roles", "other"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
            max_leaves=5,
        ),
    )
)
def test_signed_claims_are_taken_whole_or_refused(payload: dict[str, Any]) -> None:
    """Any JSON a careless issuer signs gives a sound identity or the one answer."""
    auth = Authenticator(Settings(auth_secret=SECRET), clock)

    token = forge(HS256, claims() | payload)

    try:
        identity = auth.authenticate(token)
    except BadRequest:
        expect_refused(auth, token)
        return
    assert identity.user
    assert identity.expires_at is not None
    assert identity.expires_at > NOW
    assert identity.roles <= TOKEN_ROLES
    assert all(isinstance(pattern, str) for pattern in identity.rooms)
