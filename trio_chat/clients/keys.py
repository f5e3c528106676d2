"""The keys that tokens are checked with, from where the settings say.

1. A key has one algorithm, given by what it is; a token can only choose among keys, by `kid`.
2. Files are read when the server starts and never again. What is wrong with one is a `SettingsError` without a
   word of what is in it.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import jwt
import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from trio_chat.errors import SettingsError
from trio_chat.settings import MIN_SECRET_BYTES

if TYPE_CHECKING:
    from pathlib import Path

    from trio_chat.settings import Settings

log = logging.getLogger(__name__)

MIN_RSA_BITS = 2048


class Key(msgspec.Struct, frozen=True):
    """A key and the one algorithm it is used with."""

    algorithm: str
    material: Any


class KeyRing(msgspec.Struct, frozen=True):
    """The configured keys. `only` is the one for tokens without a kid; if no key has one, for every token."""

    by_kid: dict[str, Key] = {}
    only: Key | None = None

    def find(self, kid: str | None) -> Key | None:
        """Return the key a token of this kid is to be checked with."""
        return self.by_kid.get(kid) if self.by_kid and kid is not None else self.only


def configured_keys(settings: Settings) -> KeyRing:
    """Return the keys of the settings.

    Raises:
        SettingsError: a key cannot be used, or there is none in token mode.
    """
    if settings.auth_secret is not None:
        return KeyRing(only=_secret_key(settings.auth_secret))
    if settings.auth_key_file is not None:
        return KeyRing(only=_pem_key(settings.auth_key_file))
    if settings.auth_jwks_file is not None:
        return _jwks_keys(settings.auth_jwks_file)
    if settings.auth_mode == "insecure":
        return KeyRing()
    raise SettingsError(["AUTH_SECRET: expected it, AUTH_KEY_FILE or AUTH_JWKS_FILE, to check tokens with"])


def _secret_key(secret: str) -> Key:
    if not secret.lstrip().startswith(("{", "-----BEGIN", "ssh-")):
        with suppress(ValueError):
            return make_key("HS256", secret.encode())
    raise SettingsError(["AUTH_SECRET=***: expected a secret; public keys go into AUTH_KEY_FILE"])


def _pem_key(path: Path) -> Key:
    try:
        material = load_pem_public_key(path.read_bytes())
        return make_key("EdDSA" if isinstance(material, Ed25519PublicKey) else "RS256", material)
    except (OSError, ValueError, UnsupportedAlgorithm):
        raise SettingsError(
            [
                f"AUTH_KEY_FILE={path}: expected a PEM file with a public key, RSA of {MIN_RSA_BITS} bits or Ed25519"
            ]
        ) from None


def make_key(algorithm: str, material: object) -> Key:
    """Return the key, or raise ValueError if it is too weak, private or not for the algorithm."""
    match material:
        case bytes():
            fits = algorithm == "HS256" and len(material) >= MIN_SECRET_BYTES
        case RSAPublicKey():
            fits = algorithm == "RS256" and material.key_size >= MIN_RSA_BITS
        case Ed25519PublicKey():
            fits = algorithm == "EdDSA"
        case _:
            fits = False
    if not fits:
        raise ValueError(algorithm)
    try:
        # Refuses as a secret what looks like a public key.
        jwt.PyJWS().get_algorithm_by_name(algorithm).prepare_key(material)
    except jwt.PyJWTError:
        raise ValueError(algorithm) from None
    return Key(algorithm, material)


class _Jwk(msgspec.Struct, frozen=True):
    """What we read of a JSON Web Key besides the key itself (RFC 7517, section 4)."""

    kty: str
    kid: str | None = None
    use: str | None = None
    alg: str | None = None
    key_ops: list[str] | None = None

    def signs_with(self) -> str | None:
        """Return the one algorithm to be used with this key; None if it is not a key for our tokens."""
        algorithm = {"RSA": "RS256", "OKP": "EdDSA", "oct": "HS256"}.get(self.kty)
        ours = self.alg in {None, algorithm} and self.use in {None, "sig"}
        return algorithm if ours and "verify" in (self.key_ops or ["verify"]) else None


class _JwkSet(msgspec.Struct, frozen=True):
    keys: list[dict[str, Any]]


def _jwks_keys(path: Path) -> KeyRing:
    """Read a key set. Keys that are not for our tokens are skipped and logged: providers publish such."""
    try:
        entries = msgspec.json.decode(path.read_bytes(), type=_JwkSet).keys
    except (OSError, ValueError, msgspec.MsgspecError):
        raise SettingsError([f"AUTH_JWKS_FILE={path}: expected a JSON Web Key Set"]) from None
    found = [pair for number, entry in enumerate(entries) if (pair := _read_jwk(number, entry))]
    by_kid = {kid: key for kid, key in found if kid is not None}
    if len(found) > 1 and len(by_kid) < len(found):
        raise SettingsError([f"AUTH_JWKS_FILE={path}: expected a kid on every key, each once"])
    if not found:
        raise SettingsError(
            [
                f"AUTH_JWKS_FILE={path}: expected a public key, RSA of {MIN_RSA_BITS} bits or Ed25519, or a secret"
            ]
        )
    return KeyRing(by_kid, found[0][1] if len(found) == 1 else None)


def _read_jwk(number: int, entry: dict[str, Any]) -> tuple[str | None, Key] | None:
    try:
        jwk = msgspec.convert(entry, _Jwk)
        algorithm = jwk.signs_with()
        if algorithm is not None:
            return jwk.kid, make_key(algorithm, jwt.PyJWK.from_dict(entry, algorithm).key)
    # The errors' own texts may hold the key.
    except (msgspec.MsgspecError, jwt.PyJWTError, UnsupportedAlgorithm, KeyError, TypeError, ValueError):
        pass
    log.warning("AUTH_JWKS_FILE: key %d is not one we can use and was skipped", number + 1)
    return None
