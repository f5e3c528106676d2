"""Tokens that are accepted, and what they say; insecure mode, where a name will do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jwt
import pytest

from trio_chat.clients.auth import LEEWAY_SECONDS, REFUSED, Authenticator, Identity
from trio_chat.errors import BadRequest, ReplyCode
from trio_chat.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

from .house import ED25519, HS256, NOW, RSA, SECRET, SOUND, claims, clock, expect_refused, forge, public_pem

# --- Tokens that are accepted


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


# --- Insecure mode


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
