"""Who is let in, as whom, and into which rooms."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import stat
import threading
from typing import TYPE_CHECKING, Any

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from trio_chat.clients.auth import (
    LEEWAY_SECONDS,
    MAX_TOKEN_BYTES,
    REFUSED,
    TOKEN_ROLES,
    Authenticator,
    Identity,
    load_or_make_secret,
    make_token,
    with_secret,
)
from trio_chat.errors import BadRequest, ReplyCode, SettingsError
from trio_chat.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NOW = 1_800_000_000.0
SECRET = "a-secret-of-more-than-thirty-two-bytes"
OTHER_SECRET = "another-secret-of-more-than-32-bytes!"
HS256 = {"alg": "HS256", "typ": "JWT"}

RSA = rsa.generate_private_key(65537, 2048)
OTHER_RSA = rsa.generate_private_key(65537, 2048)
ED25519 = Ed25519PrivateKey.generate()


def clock() -> float:
    return NOW


def claims(**changes: Any) -> dict[str, Any]:
    """Return sound claims with some changed; None takes one away."""
    sound = {"sub": "u1", "exp": NOW + 60, "rooms": ["team-42/*"], "roles": ["assistant"]}
    return {name: value for name, value in (sound | changes).items() if value is not None}


def segment(data: bytes | dict[str, Any]) -> str:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def forge(
    header: bytes | dict[str, Any], payload: bytes | dict[str, Any], secret: str | bytes = SECRET
) -> str:
    """Sign anything at all with HMAC-SHA256, as no library would."""
    signing_input = f"{segment(header)}.{segment(payload)}"
    key = secret if isinstance(secret, bytes) else secret.encode()
    return f"{signing_input}.{segment(hmac.digest(key, signing_input.encode(), hashlib.sha256))}"


def public_pem(key: Any) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def private_pem(key: Any) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def jwk(key: Any, kid: str | None = None, **members: Any) -> dict[str, Any]:
    """Return a key as a JSON Web Key, without the members by which libraries limit its use."""
    match key:
        case str():
            known = json.loads(jwt.algorithms.HMACAlgorithm.to_jwk(key))
        case rsa.RSAPublicKey() | rsa.RSAPrivateKey():
            known = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key))
        case ec.EllipticCurvePublicKey():
            known = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key))
        case _:
            known = json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(key))
    known.pop("key_ops", None)
    return known | ({} if kid is None else {"kid": kid}) | members


@pytest.fixture
def auth() -> Authenticator:
    return Authenticator(Settings(auth_secret=SECRET), clock)


@pytest.fixture
def pem_auth(tmp_path: Path) -> Callable[[bytes], Authenticator]:
    def build(pem: bytes) -> Authenticator:
        path = tmp_path / "key.pem"
        path.write_bytes(pem)
        return Authenticator(Settings(auth_key_file=path), clock)

    return build


@pytest.fixture
def jwks_auth(tmp_path: Path) -> Callable[..., Authenticator]:
    def build(*keys: dict[str, Any]) -> Authenticator:
        path = tmp_path / "jwks.json"
        path.write_text(json.dumps({"keys": keys}))
        return Authenticator(Settings(auth_jwks_file=path), clock)

    return build


def expect_refused(auth: Authenticator, token: str) -> None:
    """The one answer to every token that is not accepted."""
    refused = auth.statistics().refused
    with pytest.raises(BadRequest) as caught:
        auth.authenticate(token)
    assert (str(caught.value), caught.value.code) == (REFUSED, ReplyCode.UNAUTHORIZED)
    assert caught.value.__suppress_context__  # a traceback of it would tell the reason
    assert auth.statistics().refused == refused + 1


# Tokens that are accepted


def test_a_sound_token_names_user_rooms_and_roles(auth: Authenticator) -> None:
    """Everything an identity holds comes from the claims."""
    identity = auth.authenticate(forge(HS256, claims()))

    assert identity == Identity(
        user="u1", rooms=("team-42/*",), roles=frozenset({"assistant"}), expires_at=NOW + 60
    )
    assert repr(auth) == "<Authenticator token accepted=1 refused=0>"


def test_a_token_without_rooms_opens_none(auth: Authenticator) -> None:
    """Missing claims allow nothing."""
    identity = auth.authenticate(forge(HS256, claims(rooms=None, roles=None)))

    assert (identity.rooms, identity.roles) == ((), frozenset())
    assert not identity.may_join("team-42/general")


def test_roles_of_other_programs_are_left_out(auth: Authenticator) -> None:
    """An issuer may serve others too: what we do not know means nothing here."""
    identity = auth.authenticate(forge(HS256, claims(roles=["editor", "moderator", "Admin"])))

    assert identity.roles == {"moderator"}


def test_unknown_claims_and_header_fields_are_ignored(auth: Authenticator) -> None:
    """A secret has no kid, so a token may name any; nothing else in the header matters either."""
    header = HS256 | {"kid": "any", "typ": "at+jwt", "jku": "https://evil.example", "x5t": "x"}

    assert auth.authenticate(forge(header, claims(iat=NOW, jti="7", more={"deep": []}))).user == "u1"


@pytest.mark.parametrize("aud", ["chat", ["else", "chat"]])
def test_a_token_for_the_configured_parties_is_accepted(aud: object) -> None:
    """With AUTH_ISSUER and AUTH_AUDIENCE both must be there; one audience among several is enough."""
    settings = Settings(auth_secret=SECRET, auth_issuer="https://id.example", auth_audience="chat")

    token = forge(HS256, claims(iss="https://id.example", aud=aud))

    assert Authenticator(settings, clock).authenticate(token).user == "u1"


def test_an_issuer_with_a_fast_clock_is_forgiven(auth: Authenticator) -> None:
    """`nbf` may lie a few seconds ahead."""
    assert auth.authenticate(forge(HS256, claims(nbf=NOW + LEEWAY_SECONDS))).user == "u1"


@pytest.mark.parametrize(("key", "algorithm"), [(RSA, "RS256"), (ED25519, "EdDSA")])
def test_a_public_key_decides_the_algorithm(
    pem_auth: Callable[[bytes], Authenticator], key: Any, algorithm: str
) -> None:
    """An RSA key checks RS256, an Ed25519 key EdDSA."""
    auth = pem_auth(public_pem(key))

    assert auth.authenticate(jwt.encode(claims(), key, algorithm)).user == "u1"


# Tokens that are refused, all with one text


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


SOUND = forge(HS256, claims())


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


# Key sets


def test_a_key_set_finds_the_key_by_kid(jwks_auth: Callable[..., Authenticator]) -> None:
    """Several keys, each with its own algorithm, serve side by side."""
    auth = jwks_auth(jwk(RSA.public_key(), "r"), jwk(ED25519.public_key(), "e"), jwk(SECRET, "s"))

    assert auth.authenticate(jwt.encode(claims(), RSA, "RS256", {"kid": "r"})).user == "u1"
    assert auth.authenticate(jwt.encode(claims(), ED25519, "EdDSA", {"kid": "e"})).user == "u1"
    assert auth.authenticate(jwt.encode(claims(), SECRET, "HS256", {"kid": "s"})).user == "u1"


def test_a_key_set_refuses_the_wrong_key_and_the_wrong_algorithm(
    jwks_auth: Callable[..., Authenticator],
) -> None:
    """A kid chooses a key, and the key its algorithm; no other pair is accepted."""
    auth = jwks_auth(jwk(RSA.public_key(), "r"), jwk(ED25519.public_key(), "e"), jwk(SECRET, "s"))

    expect_refused(auth, jwt.encode(claims(), RSA, "RS256", {"kid": "e"}))
    expect_refused(auth, jwt.encode(claims(), RSA, "RS256", {"kid": "s"}))
    expect_refused(auth, jwt.encode(claims(), SECRET, "HS256", {"kid": "r"}))
    expect_refused(auth, jwt.encode(claims(), OTHER_RSA, "RS256", {"kid": "r"}))
    expect_refused(auth, forge(HS256 | {"kid": "r"}, claims(), public_pem(RSA)))
    expect_refused(auth, forge(HS256 | {"kid": "e"}, claims(), ED25519.public_key().public_bytes_raw()))
    expect_refused(auth, jwt.encode(claims(), SECRET, "HS256", {"kid": "unknown"}))


def test_only_a_lone_key_needs_no_kid(jwks_auth: Callable[..., Authenticator]) -> None:
    """With one key a token may leave the kid out; with two it may not; a wrong kid is always wrong."""
    token = jwt.encode(claims(), RSA, "RS256")

    assert jwks_auth(jwk(RSA.public_key(), "r")).authenticate(token).user == "u1"
    assert jwks_auth(jwk(RSA.public_key())).authenticate(token).user == "u1"
    expect_refused(jwks_auth(jwk(RSA.public_key(), "r"), jwk(SECRET, "s")), token)
    expect_refused(jwks_auth(jwk(RSA.public_key(), "r")), jwt.encode(claims(), RSA, "RS256", {"kid": "x"}))


def test_keys_for_other_things_are_skipped(
    jwks_auth: Callable[..., Authenticator], caplog: pytest.LogCaptureFixture
) -> None:
    """Providers publish keys for encryption and other algorithms too; the log says which were left out."""
    auth = jwks_auth(
        jwk(RSA.public_key(), "r"),
        jwk(OTHER_RSA.public_key(), "enc", use="enc"),
        jwk(OTHER_RSA.public_key(), "rs512", alg="RS512"),
        jwk(OTHER_RSA.public_key(), "wrap", key_ops=["wrapKey"]),
        jwk(ec.generate_private_key(ec.SECP256R1()).public_key(), "ec"),
        jwk(OTHER_SECRET[:31], "weak"),
        jwk(OTHER_RSA, "private"),
        {"kty": "RSA", "kid": "broken", "n": "!", "e": 5},
        {"kty": "oct", "kid": "empty"},
        {"kid": "typeless"},
    )

    assert auth.authenticate(jwt.encode(claims(), RSA, "RS256")).user == "u1"
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 9
    expect_refused(auth, jwt.encode(claims(), OTHER_RSA, "RS256", {"kid": "enc"}))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"keys": 5}',
        '{"keys": []}',
        '{"keys": [5]}',
        '{"keys": [{"kty": "EC"}]}',
        json.dumps({"keys": [jwk(SECRET, "same"), jwk(OTHER_SECRET, "same")]}),
        json.dumps({"keys": [jwk(SECRET, "a"), jwk(OTHER_SECRET)]}),
    ],
)
def test_a_key_set_without_a_clear_key_is_refused_at_start(tmp_path: Path, text: str) -> None:
    """No usable key, or two that a token could not tell apart, end the start with one line."""
    path = tmp_path / "jwks.json"
    path.write_text(text)

    with pytest.raises(SettingsError, match=r"^AUTH_JWKS_FILE=.*: expected ") as caught:
        Authenticator(Settings(auth_jwks_file=path))

    assert SECRET not in str(caught.value)


# Keys


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"not a key",
        private_pem(RSA),
        private_pem(ED25519),
        public_pem(ec.generate_private_key(ec.SECP256R1())),
        public_pem(rsa.generate_private_key(65537, 1024)),
    ],
    ids=["empty", "rubbish", "private-rsa", "private-ed25519", "elliptic", "weak"],
)
def test_a_key_that_cannot_serve_is_refused_at_start(
    pem_auth: Callable[[bytes], Authenticator], pem: bytes
) -> None:
    """Private, weak, unknown and broken keys end the start with one line."""
    with pytest.raises(SettingsError, match=r"^AUTH_KEY_FILE=.*: expected a PEM file with a public key"):
        pem_auth(pem)


def test_a_public_key_given_as_the_secret_is_refused_at_start() -> None:
    """What everybody may know must not be what signs."""
    with pytest.raises(SettingsError, match=r"^AUTH_SECRET=\*\*\*: expected a secret"):
        Authenticator(Settings(auth_secret=json.dumps(jwk(RSA.public_key()))))


def test_token_mode_needs_a_key() -> None:
    """Without anything to check tokens with there is no authenticator."""
    with pytest.raises(SettingsError, match=r"^AUTH_SECRET: expected it"):
        Authenticator(Settings())


def test_a_file_that_vanished_is_refused_at_start(tmp_path: Path) -> None:
    """Files may go between the settings and their use."""
    path = tmp_path / "key"
    path.touch()
    by_pem, by_set = Settings(auth_key_file=path), Settings(auth_jwks_file=path)
    path.unlink()

    with pytest.raises(SettingsError):
        Authenticator(by_pem)
    with pytest.raises(SettingsError):
        Authenticator(by_set)


# Insecure mode


def test_insecure_mode_believes_a_name() -> None:
    """All rooms, every role but admin, for ever: for development and benchmarks."""
    identity = Authenticator(Settings(auth_mode="insecure")).insecure("u1")

    assert identity.may_join("any/room")
    assert all(identity.may_post_as(role) for role in ("user", "assistant", "system"))
    assert identity.may_moderate
    assert not identity.may_administer
    assert identity.expires_at is None


@pytest.mark.parametrize("user", ["", "x" * 129, "a\nb", "\ud800"])
def test_insecure_mode_still_wants_a_user_id(user: str) -> None:
    """A name that cannot be stored is refused, and told so: there is no secret in it."""
    with pytest.raises(BadRequest) as caught:
        Authenticator(Settings(auth_mode="insecure")).insecure(user)

    assert caught.value.code is ReplyCode.BAD_REQUEST


def test_token_mode_believes_no_name(auth: Authenticator) -> None:
    """A client without a token reads what everybody reads who is refused."""
    with pytest.raises(BadRequest) as caught:
        auth.insecure("u1")

    assert (str(caught.value), caught.value.code) == (REFUSED, ReplyCode.UNAUTHORIZED)


def test_insecure_mode_without_keys_accepts_no_token() -> None:
    """Nothing can be checked without a key, so nothing passes for checked."""
    expect_refused(Authenticator(Settings(auth_mode="insecure"), clock), SOUND)


# Rooms and roles


def joins(pattern: str, room: str) -> bool:
    return Identity(user="u", rooms=(pattern,)).may_join(room)


@pytest.mark.parametrize(
    ("pattern", "room"),
    [
        ("*", "anything/at:all"),
        ("team-42/*", "team-42/a/b"),
        ("team-42/*", "team-42/"),
        ("*/general", "team-42/general"),
        ("team-*/gen*al", "team-42/general"),
        ("a**b", "ab"),
        ("a*b*b", "abb"),
        ("exact", "exact"),
    ],
)
def test_a_star_stands_for_any_characters(pattern: str, room: str) -> None:
    """None or many, slashes included; the rest is literal."""
    assert joins(pattern, room)


@pytest.mark.parametrize(
    ("pattern", "room"),
    [
        ("", "a"),
        ("team-42/*", "team-42"),
        ("team-42/*", "team-421/a"),
        ("team-42/*", "xteam-42/a"),
        ("team-42", "team-42/a"),
        ("exact", "Exact"),
        ("ab*ba", "aba"),
        ("*ab*ba*", "aba"),
        ("a*b*b", "ab"),
        ("team.42", "team-42"),
        ("team-4?/a", "team-42/a"),
        ("team-4[0-9]/a", "team-42/a"),
        ("team-{41,42}/a", "team-42/a"),
        ("team-4\\d/a", "team-42/a"),
        ("^team-42/a$", "team-42/a"),
        (".+", "team-42/a"),
        ("%", "team-42/a"),
    ],
)
def test_nothing_but_the_star_is_magic(pattern: str, room: str) -> None:
    """Signs of other pattern languages stand for themselves, and no room id has them."""
    assert not joins(pattern, room)


@pytest.mark.parametrize(
    ("pattern", "room"),
    [("a:b/*", "a/b:c"), ("a:b/*", "a:b:c"), ("a/*", "a:b/c"), ("a", "a:b"), ("a:b", "a")],
)
def test_ids_that_collide_when_joined_stay_apart(pattern: str, room: str) -> None:
    """A pattern is matched against the whole room id, never against parts put together."""
    assert not joins(pattern, room)


def reference_matches(pattern: str, room: str) -> bool:
    """The definition: a star takes nothing, or one character and goes on."""
    if not pattern:
        return not room
    if pattern[0] == "*":
        return reference_matches(pattern[1:], room) or (bool(room) and reference_matches(pattern, room[1:]))
    return bool(room) and pattern[0] == room[0] and reference_matches(pattern[1:], room[1:])


@given(
    st.lists(st.text("*ab/", max_size=8), max_size=3),
    st.text("ab/", max_size=8),
)
def test_may_join_is_the_plain_definition(patterns: list[str], room: str) -> None:
    """An identity may join what at least one pattern matches, by the naive definition of a star."""
    identity = Identity(user="u", rooms=tuple(patterns))

    assert identity.may_join(room) == any(reference_matches(pattern, room) for pattern in patterns)


def test_no_pattern_is_slow() -> None:
    """Matching does not go back: what takes a backtracking matcher for ever is done at once."""
    assert not joins("*a" * 60 + "*b", "a" * 128)


@pytest.mark.parametrize("role", sorted(TOKEN_ROLES))
def test_roles_imply_nothing_else(role: str) -> None:
    """Each role allows its own thing; everybody posts as a user and nobody as anything unknown."""
    identity = Identity(user="u", roles=frozenset({role}))

    assert identity.may_post_as("user")
    assert identity.may_post_as("assistant") == (role == "assistant")
    assert identity.may_post_as("system") == (role == "system")
    assert identity.may_moderate == (role == "moderator")
    assert identity.may_administer == (role == "admin")
    assert not identity.may_post_as("moderator")
    assert not identity.may_post_as("admin")


def test_an_identity_cannot_be_changed() -> None:
    """What somebody may do is settled when they come in."""
    identity = Identity(user="u")

    with pytest.raises(AttributeError):
        identity.rooms = ("*",)  # type: ignore[misc]
    assert msgspec.structs.replace(identity, user="v") != identity


# Making tokens


def test_a_token_we_make_is_accepted() -> None:
    """Everything asked for arrives, issuer and audience included."""
    settings = Settings(auth_secret=SECRET, auth_issuer="me", auth_audience="chat")

    token = make_token(settings, "u1", ["team-42/*"], ["moderator"], 0.5, clock=clock)

    assert Authenticator(settings, clock).authenticate(token) == Identity(
        user="u1",
        rooms=("team-42/*",),
        roles=frozenset({"moderator"}),
        expires_at=NOW + 0.5,
        issued_at=NOW,
    )


def test_tokens_are_made_with_a_secret_only() -> None:
    """A public key checks tokens and cannot make them."""
    with pytest.raises(SettingsError, match=r"^AUTH_SECRET: expected it"):
        make_token(Settings(), "u1", ["*"])


@pytest.mark.parametrize(
    "arguments",
    [
        ("", ["*"]),
        ("u1", ["a b"]),
        ("u1", ["[ab]"]),
        ("u1", [""]),
        ("u1", ["*"], ["user"]),
        ("u1", ["*"], ["root"]),
        ("u1", ["*"], [], 0),
        ("u1", ["*"], [], float("inf")),
        ("u1", ["*"], [], float("nan")),
        ("u1", ["x" * 128] * 100),
    ],
)
def test_a_token_that_nobody_would_accept_is_not_made(arguments: tuple[Any, ...]) -> None:
    """Mistakes are told where they are made."""
    with pytest.raises(BadRequest):
        make_token(Settings(auth_secret=SECRET), *arguments)


# The secret of the data directory


def test_the_first_start_makes_a_secret_and_later_ones_keep_it(tmp_path: Path) -> None:
    """It is made once, with the directory, and readable by this account alone."""
    data = tmp_path / "deep" / "data"

    first = load_or_make_secret(data)

    assert load_or_make_secret(data) == first
    assert len(first) >= 32
    assert [path.name for path in data.iterdir()] == ["auth-secret"]
    assert stat.S_IMODE((data / "auth-secret").stat().st_mode) == 0o600
    assert load_or_make_secret(tmp_path / "other") != first


def test_several_makers_agree_on_one_secret(tmp_path: Path) -> None:
    """Whoever makes it first, `serve` and `token` started together use the same one."""
    found: list[str] = []
    start = threading.Barrier(8)

    def make() -> None:
        start.wait()
        found.append(load_or_make_secret(tmp_path))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 8
    assert len(set(found)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["auth-secret"]


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 40])
def test_a_secret_that_is_no_good_is_not_used(tmp_path: Path, content: bytes) -> None:
    """A damaged file is told, not replaced: that would end all tokens unasked."""
    (tmp_path / "auth-secret").write_bytes(content)

    with pytest.raises(SettingsError, match="auth-secret: expected at least 32 bytes"):
        load_or_make_secret(tmp_path)

    assert (tmp_path / "auth-secret").read_bytes() == content


def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """The problem names the setting and the reason."""
    (tmp_path / "file").touch()

    with pytest.raises(SettingsError, match=r"^DATA_DIR=.*: expected to keep a secret there \(.+\); name"):
        load_or_make_secret(tmp_path / "file" / "data")


def test_the_secret_is_used_where_nothing_else_is_configured(tmp_path: Path) -> None:
    """`serve` and `token` get the same settings of it, and so accept each other's tokens."""
    serve, token = with_secret(Settings(data_dir=tmp_path)), with_secret(Settings(data_dir=tmp_path))

    assert Authenticator(serve).authenticate(make_token(token, "u1", ["*"])).user == "u1"


def test_the_secret_is_not_made_where_none_is_needed(tmp_path: Path) -> None:
    """Any key of the operator's own, and insecure mode, leave the directory alone."""
    path = tmp_path / "key"
    path.touch()
    for settings in (
        Settings(data_dir=tmp_path / "data", auth_secret=SECRET),
        Settings(data_dir=tmp_path / "data", auth_key_file=path),
        Settings(data_dir=tmp_path / "data", auth_jwks_file=path),
        Settings(data_dir=tmp_path / "data", auth_mode="insecure"),
    ):
        assert with_secret(settings) is settings

    assert not (tmp_path / "data").exists()
