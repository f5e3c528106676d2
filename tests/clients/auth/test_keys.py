"""Key sets, and keys that cannot serve."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from trio_chat.clients.auth import Authenticator
from trio_chat.errors import SettingsError
from trio_chat.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

from .house import (
    ED25519,
    HS256,
    OTHER_RSA,
    OTHER_SECRET,
    RSA,
    SECRET,
    claims,
    clock,
    expect_refused,
    forge,
    jwk,
    public_pem,
)


def private_pem(key: Any) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.fixture
def jwks_auth(tmp_path: Path) -> Callable[..., Authenticator]:
    def build(*keys: dict[str, Any]) -> Authenticator:
        path = tmp_path / "jwks.json"
        path.write_text(json.dumps({"keys": keys}))
        return Authenticator(Settings(auth_jwks_file=path), clock)

    return build


# --- Key sets


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


# --- Keys


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
