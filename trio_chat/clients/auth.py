"""Tokens to identities, identities to rooms.

1. A token is a JWT (RFC 7519) with `sub` and `exp`, and what it allows: `rooms`, patterns in which ``*`` stands
   for any run of characters, ``/`` included, and `roles`. Without `rooms` it opens no room.
2. The configuration decides which key checks a token and by which algorithm. A token can only choose among
   configured keys, by `kid`; whatever else its header says about keys and algorithms is never followed
   (RFC 8725, sections 3.1 and 3.2).
3. Whoever is refused reads one text, whatever the reason. The reason is logged, the token never is.
4. A user may be *revoked*: then only tokens made afterwards are accepted. This process alone knows, until it ends.
5. Here are decisions only: nothing waits, and nothing reads a file after the `Authenticator` is built.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

import jwt
import msgspec
from msgspec import UNSET, UnsetType
from typing_extensions import override

from trio_chat.clients.identity import TOKEN_ROLES, Identity, check_user
from trio_chat.clients.keys import Key, configured_keys
from trio_chat.clients.tokens import MAX_TOKEN_BYTES, load_or_make_secret, make_token, with_secret
from trio_chat.errors import BadRequest, ReplyCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_chat.settings import Settings

__all__ = [
    "LEEWAY_SECONDS",
    "MAX_TOKEN_BYTES",
    "REFUSED",
    "TOKEN_ROLES",
    "AuthStatistics",
    "Authenticator",
    "Identity",
    "load_or_make_secret",
    "make_token",
    "with_secret",
]

log = logging.getLogger(__name__)

REFUSED = "token: not accepted; connect with a new one"
"""All that anybody who is refused gets to read."""

LEEWAY_SECONDS = 5.0
"""How far `nbf` may lie ahead, for issuers whose clock is fast. `exp` has no leeway."""


class _Refused(Exception):
    """Why a token is not accepted, in words of ours: nothing in it was written by the client."""


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
        self._keys = configured_keys(settings)
        self._clock = clock
        # Nothing but these is even known to the verifier.
        self._jws = jwt.PyJWS(algorithms=["HS256", "RS256", "EdDSA"])
        self._claims = msgspec.json.Decoder(_Claims)
        self._revoked: dict[str, float] = {}
        """When users were revoked last."""
        self._accepted = 0
        self._refused = 0

    @override
    def __repr__(self) -> str:
        return f"<Authenticator {self._mode} accepted={self._accepted} refused={self._refused}>"

    def statistics(self) -> AuthStatistics:
        """Return the counts so far."""
        return AuthStatistics(self._accepted, self._refused)

    def authenticate(self, token: str, user: str | None = None) -> Identity:
        """Return who the token says this is.

        Args:
            token: as the client sent it.
            user: who it must be; None for anybody.

        Raises:
            BadRequest: with `UNAUTHORIZED` and one text for every reason.
        """
        try:
            identity = self._verify(token, user)
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
        check_user(user)
        self._accepted += 1
        return Identity(user=user, rooms=("*",), roles=TOKEN_ROLES - {"admin"})

    def revoke(self, user: str) -> None:
        """Accept no token of this user that was made up to now, or that does not say when it was made.

        Tokens count whole seconds, so one that is made within this very second is not accepted either.
        """
        self._revoked[user] = self._clock()

    def is_revoked(self, identity: Identity) -> bool:
        """Whether this comes from a token that is not accepted any more. Who needed no token is never."""
        since = self._revoked.get(identity.user)
        if since is None or identity.expires_at is None:
            return False
        return identity.issued_at is None or identity.issued_at <= since

    def _verify(self, token: str, user: str | None) -> Identity:
        if len(token) > MAX_TOKEN_BYTES or not token.isascii():
            raise _Refused("it is too long or not ASCII")
        claims = self._signed_claims(token)
        self._check_time(claims)
        self._check_parties(claims)
        try:
            check_user(claims.sub)
        except BadRequest:
            raise _Refused("sub is no user id") from None
        identity = Identity(
            user=claims.sub,
            rooms=tuple(claims.rooms),
            roles=TOKEN_ROLES.intersection(claims.roles),
            expires_at=claims.exp,
            issued_at=None if claims.iat is UNSET else claims.iat,
        )
        if user not in {None, identity.user}:
            raise _Refused("it is another user's")
        if self.is_revoked(identity):
            raise _Refused("it was revoked")
        return identity

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

    def _find_key(self, header: dict[str, Any]) -> Key:
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
