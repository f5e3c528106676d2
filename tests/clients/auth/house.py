"""Tokens of every kind, made as no library would, and who checks them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from trio_chat.clients.auth import REFUSED, Authenticator
from trio_chat.errors import BadRequest, ReplyCode

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


def expect_refused(auth: Authenticator, token: str) -> None:
    """The one answer to every token that is not accepted."""
    refused = auth.statistics().refused
    with pytest.raises(BadRequest) as caught:
        auth.authenticate(token)
    assert (str(caught.value), caught.value.code) == (REFUSED, ReplyCode.UNAUTHORIZED)
    assert caught.value.__suppress_context__  # a traceback of it would tell the reason
    assert auth.statistics().refused == refused + 1


SOUND = forge(HS256, claims())
