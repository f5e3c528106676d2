"""Tokens to identities, identities to rooms.

1. A token is a JWT (RFC 7519) with `sub` and `exp`, and what it allows: `rooms`, patterns in which ``*`` stands
   for any run of characters, ``/`` included, and `roles`. Without `rooms` it opens no room.
2. The configuration decides which key checks a token and by which algorithm. A token can only choose among
   configured keys, by `kid`; whatever else its header says about keys and algorithms is never followed
   (RFC 8725, sections 3.1 and 3.2).
3. Whoever is refused reads one text, whatever the reason. The reason is logged, the token never is.
4. Here are decisions only: nothing waits, and nothing reads a file after the `Authenticator` is built.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import tempfile
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jwt
import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from msgspec import UNSET, UnsetType
from typing_extensions import override

from trio_chat.errors import BadRequest, ReplyCode, SettingsError
from trio_chat.message import check_id, check_text
from trio_chat.settings import MIN_SECRET_BYTES, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

log = logging.getLogger(__name__)

REFUSED = "token: not accepted; connect with a new one"
"""All that anybody who is refused gets to read."""

MAX_TOKEN_BYTES = 8192
MAX_TOKEN_SECONDS = 10 * 366 * 86400
LEEWAY_SECONDS = 5.0
"""How far `nbf` may lie ahead, for issuers whose clock is fast. `exp` has no leeway."""

TOKEN_ROLES = frozenset({"assistant", "system", "moderator", "admin"})
MIN_RSA_BITS = 2048
_PATTERN = re.compile(r"[A-Za-z0-9_.:/@*-]{1,128}")
SECRET_FILE = "auth-secret"  # noqa: S105  # a file name


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Who somebody is and what they may do. Lives as long as the connection, or until `expires_at`.

    Attributes:
        user: the user id.
        rooms: patterns of the rooms they may join.
        roles: of `TOKEN_ROLES`. None implies another.
        expires_at: Unix seconds at which this ends; None in insecure mode.
    """

    user: str
    rooms: tuple[str, ...] = ()
    roles: frozenset[str] = frozenset()
    expires_at: float | None = None

    def may_join(self, room: str) -> bool:
        """Whether some pattern matches the room id, which the caller has checked to be one."""
        return any(_matches(pattern, room) for pattern in self.rooms)

    def may_post_as(self, role: str) -> bool:
        """Whether messages may carry this role: everybody's may be a user's."""
        return role == "user" or (role in {"assistant", "system"} and role in self.roles)

    @property
    def may_moderate(self) -> bool:
        """Whether they may edit and delete other people's messages."""
        return "moderator" in self.roles

    @property
    def may_administer(self) -> bool:
        """Whether they may see and steer the whole server."""
        return "admin" in self.roles


def _matches(pattern: str, room: str) -> bool:
    """Match without backtracking, so that no pattern is slow: the leftmost place for each part is the best one."""
    head, *rest = pattern.split("*")
    if not rest:
        return pattern == room
    *middle, tail = rest
    start, end = len(head), len(room) - len(tail)
    if start > end or not (room.startswith(head) and room.endswith(tail)):
        return False
    for part in middle:
        found = room.find(part, start, end)
        if found < 0:
            return False
        start = found + len(part)
    return True


class _Refused(Exception):
    """Why a token is not accepted, in words of ours: nothing in it was written by the client."""


class _Key(msgspec.Struct, frozen=True):
    algorithm: str
    material: Any


class _KeyRing(msgspec.Struct, frozen=True):
    """The configured keys. `only` is the one for tokens without a kid; if no key has one, for every token."""

    by_kid: dict[str, _Key] = {}
    only: _Key | None = None

    def find(self, kid: str | None) -> _Key | None:
        """Return the key a token of this kid is to be checked with."""
        return self.by_kid.get(kid) if self.by_kid and kid is not None else self.only


class _Claims(msgspec.Struct, frozen=True):
    """The claims we read, each of the one type it may have; a null is not the same as none."""

    sub: str
    exp: float
    nbf: float | UnsetType = UNSET
    iat: float | UnsetType = UNSET
    iss: str | UnsetType = UNSET
    aud: str | list[str] | UnsetType = UNSET
    rooms: list[str] = []
    roles: list[str] = []


class AuthStatistics(msgspec.Struct, frozen=True):
    """How many tokens were accepted and refused."""

    accepted: int
    refused: int


class Authenticator:
    """Tells who a client is. Lives as long as the server; one object for all connections.

    Args:
        settings: say the mode and where the keys are. Key files are read once, now.
        clock: the wall clock, Unix seconds.

    Raises:
        SettingsError: a key cannot be used, or there is none in token mode (see `with_secret`).
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self._mode = settings.auth_mode
        self._issuer = settings.auth_issuer
        self._audience = settings.auth_audience
        self._keys = _configured_keys(settings)
        self._clock = clock
        # Nothing but these is even known to the verifier.
        self._jws = jwt.PyJWS(algorithms=["HS256", "RS256", "EdDSA"])
        self._claims = msgspec.json.Decoder(_Claims)
        self._accepted = 0
        self._refused = 0

    @override
    def __repr__(self) -> str:
        return f"<Authenticator {self._mode} accepted={self._accepted} refused={self._refused}>"

    def statistics(self) -> AuthStatistics:
        """Return the counts so far."""
        return AuthStatistics(self._accepted, self._refused)

    def authenticate(self, token: str) -> Identity:
        """Return who the token says this is.

        Raises:
            BadRequest: with `UNAUTHORIZED` and one text for every reason.
        """
        try:
            identity = self._verify(token)
        except _Refused as reason:
            self._refused += 1
            log.info("a token was refused: %s", reason)
            raise _unauthorized() from None
        self._accepted += 1
        return identity

    def insecure(self, user: str) -> Identity:
        """Return an identity for a name that nobody checked: all rooms, every role but admin.

        Raises:
            BadRequest: the name is no user id; or, with `UNAUTHORIZED`, the mode is not insecure.
        """
        if self._mode != "insecure":
            self._refused += 1
            log.info("a client without a token was refused")
            raise _unauthorized()
        _check_user(user)
        self._accepted += 1
        return Identity(user=user, rooms=("*",), roles=TOKEN_ROLES - {"admin"})

    def _verify(self, token: str) -> Identity:
        if len(token) > MAX_TOKEN_BYTES or not token.isascii():
            raise _Refused("it is too long or not ASCII")
        claims = self._signed_claims(token)
        self._check_time(claims)
        self._check_parties(claims)
        try:
            _check_user(claims.sub)
        except BadRequest:
            raise _Refused("sub is no user id") from None
        return Identity(
            user=claims.sub,
            rooms=tuple(claims.rooms),
            roles=TOKEN_ROLES.intersection(claims.roles),
            expires_at=claims.exp,
        )

    def _signed_claims(self, token: str) -> _Claims:
        try:
            header = self._jws.get_unverified_header(token)
            key = self._find_key(header)
            signed = self._jws.decode_complete(token, key.material, algorithms=[key.algorithm])
            return self._claims.decode(signed["payload"])
        except jwt.InvalidSignatureError:
            raise _Refused("the signature is wrong") from None
        except msgspec.MsgspecError:
            raise _Refused("a claim is missing or of a wrong type") from None
        # The library's own errors, and what json raises on texts made to break it.
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            raise _Refused(f"it is malformed ({type(error).__name__})") from None

    def _find_key(self, header: dict[str, Any]) -> _Key:
        # We know no extension, so none may be critical (RFC 7515, section 4.1.11).
        if "crit" in header or "b64" in header:
            raise _Refused("it needs an extension")
        key = self._keys.find(header.get("kid"))
        if key is None:
            raise _Refused("no key fits its kid")
        if header.get("alg") != key.algorithm:
            raise _Refused("its algorithm is not the key's")
        return key

    def _check_time(self, claims: _Claims) -> None:
        now = self._clock()
        if claims.exp <= now:
            raise _Refused("it has expired")
        if claims.nbf is not UNSET and claims.nbf > now + LEEWAY_SECONDS:
            raise _Refused("it is not valid yet")

    def _check_parties(self, claims: _Claims) -> None:
        if self._issuer is not None and claims.iss != self._issuer:
            raise _Refused("iss is not AUTH_ISSUER")
        # A token that names audiences is for nobody else (RFC 7519, section 4.1.3).
        if claims.aud is UNSET:
            if self._audience is not None:
                raise _Refused("aud is missing")
        elif self._audience not in ([claims.aud] if isinstance(claims.aud, str) else claims.aud):
            raise _Refused("aud does not hold AUTH_AUDIENCE")


def _unauthorized() -> BadRequest:
    return BadRequest(REFUSED, ReplyCode.UNAUTHORIZED)


def _check_user(user: str) -> None:
    check_id("user", user)
    check_text("user", user)


def _configured_keys(settings: Settings) -> _KeyRing:
    if settings.auth_secret is not None:
        return _KeyRing(only=_secret_key(settings.auth_secret))
    if settings.auth_key_file is not None:
        return _KeyRing(only=_pem_key(settings.auth_key_file))
    if settings.auth_jwks_file is not None:
        return _jwks_keys(settings.auth_jwks_file)
    if settings.auth_mode == "insecure":
        return _KeyRing()
    raise SettingsError(["AUTH_SECRET: expected it, AUTH_KEY_FILE or AUTH_JWKS_FILE, to check tokens with"])


def _secret_key(secret: str) -> _Key:
    if not secret.lstrip().startswith(("{", "-----BEGIN", "ssh-")):
        with suppress(ValueError):
            return _key("HS256", secret.encode())
    raise SettingsError(["AUTH_SECRET=***: expected a secret; public keys go into AUTH_KEY_FILE"])


def _pem_key(path: Path) -> _Key:
    try:
        material = load_pem_public_key(path.read_bytes())
        return _key("EdDSA" if isinstance(material, Ed25519PublicKey) else "RS256", material)
    except (OSError, ValueError, UnsupportedAlgorithm):
        raise SettingsError(
            [
                f"AUTH_KEY_FILE={path}: expected a PEM file with a public key, RSA of {MIN_RSA_BITS} bits or Ed25519"
            ]
        ) from None


def _key(algorithm: str, material: object) -> _Key:
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
    return _Key(algorithm, material)


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


def _jwks_keys(path: Path) -> _KeyRing:
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
    return _KeyRing(by_kid, found[0][1] if len(found) == 1 else None)


def _read_jwk(number: int, entry: dict[str, Any]) -> tuple[str | None, _Key] | None:
    try:
        jwk = msgspec.convert(entry, _Jwk)
        algorithm = jwk.signs_with()
        if algorithm is not None:
            return jwk.kid, _key(algorithm, jwt.PyJWK.from_dict(entry, algorithm).key)
    # The errors' own texts may hold the key.
    except (msgspec.MsgspecError, jwt.PyJWTError, UnsupportedAlgorithm, KeyError, TypeError, ValueError):
        pass
    log.warning("AUTH_JWKS_FILE: key %d is not one we can use and was skipped", number + 1)
    return None


def with_secret(settings: Settings) -> Settings:
    """Return the settings with the secret of the data directory, if they need one and name none.

    `serve` and `token` both ask here, so that the tokens of one are accepted by the other.

    Raises:
        SettingsError: the secret can neither be read nor made.
    """
    sources = (settings.auth_secret, settings.auth_key_file, settings.auth_jwks_file)
    if settings.auth_mode != "token" or any(source is not None for source in sources):
        return settings
    return replace(settings, auth_secret=load_or_make_secret(settings.data_dir))


def load_or_make_secret(data_dir: Path) -> str:
    """Return the secret kept in the data directory; the first caller makes it, readable by this account alone.

    Raises:
        SettingsError: it can neither be read nor made.
    """
    path = data_dir / SECRET_FILE
    try:
        if not path.exists():
            _make_secret(path)
        secret = path.read_text("utf-8").strip()
        _key("HS256", secret.encode())
    except OSError as error:
        raise SettingsError(
            [f"DATA_DIR={data_dir}: expected to keep a secret there ({error.strerror})"]
        ) from error
    except ValueError:
        text = f"{path}: expected at least {MIN_SECRET_BYTES} bytes; delete it for a new one, which ends all tokens"
        raise SettingsError([text]) from None
    return secret


def _make_secret(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{SECRET_FILE}-")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(f"{secrets.token_urlsafe(48)}\n")
            file.flush()
            os.fsync(file.fileno())
        # A link appears whole or not at all, and of several makers the first one wins.
        with suppress(FileExistsError):
            path.hardlink_to(temporary)
    finally:
        temporary.unlink()


def make_token(
    settings: Settings,
    user: str,
    rooms: Iterable[str],
    roles: Iterable[str] = (),
    expires_in: float = 3600.0,
    *,
    clock: Callable[[], float] = time.time,
) -> str:
    """Make a token that an `Authenticator` of the same settings accepts.

    Args:
        settings: with an `auth_secret`; public keys check tokens but cannot make them.
        user: the user id.
        rooms: patterns of room ids.
        roles: of `TOKEN_ROLES`.
        expires_in: seconds from now.
        clock: the wall clock, Unix seconds.

    Raises:
        SettingsError: there is no secret.
        BadRequest: something else does not fit.
    """
    if settings.auth_secret is None:
        raise SettingsError(
            ["AUTH_SECRET: expected it; without it tokens are made by whoever has the private key"]
        )
    if not 0 < expires_in <= MAX_TOKEN_SECONDS:
        raise BadRequest(f"expires_in: expected a number of seconds, above 0 and at most {MAX_TOKEN_SECONDS}")
    _check_user(user)
    now = clock()
    claims: dict[str, Any] = {
        "sub": user,
        "iat": int(now),
        "exp": round(now + expires_in, 3),
        "rooms": [_check_pattern(pattern) for pattern in rooms],
        "roles": [_check_token_role(role) for role in roles],
    }
    if settings.auth_issuer is not None:
        claims["iss"] = settings.auth_issuer
    if settings.auth_audience is not None:
        claims["aud"] = settings.auth_audience
    token = jwt.encode(claims, settings.auth_secret, "HS256")
    if len(token) > MAX_TOKEN_BYTES:
        raise BadRequest(f"rooms: a token holds {MAX_TOKEN_BYTES} bytes at most; name fewer, or use patterns")
    return token


def _check_pattern(pattern: str) -> str:
    if _PATTERN.fullmatch(pattern) is None:
        raise BadRequest("rooms: expected 1-128 characters of A-Z a-z 0-9 _ . : / @ - and * for any of them")
    return pattern


def _check_token_role(role: str) -> str:
    if role not in TOKEN_ROLES:
        raise BadRequest(f"roles: expected any of {', '.join(sorted(TOKEN_ROLES))}")
    return role
