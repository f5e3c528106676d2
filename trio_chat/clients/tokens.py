"""Making tokens, and the secret of a data directory that signs them. `auth` checks what is made here."""

from __future__ import annotations

import os
import secrets
import tempfile
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jwt

from trio_chat.clients.identity import check_pattern, check_token_role, check_user
from trio_chat.clients.keys import make_key
from trio_chat.errors import BadRequest, SettingsError
from trio_chat.settings import MIN_SECRET_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from trio_chat.settings import Settings

MAX_TOKEN_BYTES = 8192
MAX_TOKEN_SECONDS = 10 * 366 * 86400
SECRET_FILE = "auth-secret"  # noqa: S105  # a file name


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
        make_key("HS256", secret.encode())
    except OSError as error:
        raise SettingsError(
            [
                f"DATA_DIR={data_dir}: expected to keep a secret there ({error.strerror}); name a directory that can be written"
            ]
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
        raise BadRequest(
            f"expires_in={expires_in:g}: expected a number of seconds, above 0 and at most {MAX_TOKEN_SECONDS}"
        )
    check_user(user)
    now = clock()
    claims: dict[str, Any] = {
        "sub": user,
        "iat": int(now),
        "exp": round(now + expires_in, 3),
        "rooms": [check_pattern(pattern) for pattern in rooms],
        "roles": [check_token_role(role) for role in roles],
    }
    if settings.auth_issuer is not None:
        claims["iss"] = settings.auth_issuer
    if settings.auth_audience is not None:
        claims["aud"] = settings.auth_audience
    token = jwt.encode(claims, settings.auth_secret, "HS256")
    if len(token) > MAX_TOKEN_BYTES:
        raise BadRequest(f"rooms: a token holds {MAX_TOKEN_BYTES} bytes at most; name fewer, or use patterns")
    return token
