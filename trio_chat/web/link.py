"""The links that `trio-chat serve` prints: its pages, and where nothing has to be kept from anybody else, a way in."""

from __future__ import annotations

import getpass
import ipaddress
from typing import TYPE_CHECKING, Final

from trio_chat.clients.auth import make_token, with_secret
from trio_chat.clients.identity import check_user
from trio_chat.errors import BadRequest

if TYPE_CHECKING:
    from trio_chat.settings import Settings

ROOM: Final = "team-42/general"
_SECONDS: Final = 86_400.0
_NOBODY: Final = "me"


def page_link(settings: Settings, page: str) -> str:
    """Return the address of the page, which opens in a room.

    With everything at its defaults it holds a token of the account that runs the server, for a day. It is in the
    fragment, which a browser sends to nobody.

    Args:
        settings: as they were given, not yet completed `with_secret`.
        page: where the page is.
    """
    token = f"token={_token(settings)}&" if _at_home(settings) else ""
    return f"{page}#{token}room={ROOM}"


def dashboard_link(settings: Settings, page: str) -> str:
    """Return the address of the dashboard; see `page_link`. The token in it is an operator's."""
    token = f"#token={_token(settings, 'admin')}" if _at_home(settings) else ""
    return f"{page}admin{token}"


def _token(settings: Settings, *roles: str) -> str:
    return make_token(with_secret(settings), _account(), ["*"], roles, _SECONDS)


def _at_home(settings: Settings) -> bool:
    """Whether whoever reads this server's output may as well have a token of it.

    That is so if only this machine can connect, the stores are private, and the secret of tokens is the one in the data
    directory, made by this very account. Anything else may be a deployment, whose output is kept somewhere.
    """
    given = (
        settings.redis_url,
        settings.database_url,
        settings.auth_secret,
        settings.auth_key_file,
        settings.auth_jwks_file,
    )
    return settings.auth_mode == "token" and is_loopback(settings.host) and all(one is None for one in given)


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is that of this very machine."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    # An IPv4 client of a socket that takes both (RFC 4291, section 2.5.5.2).
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _account() -> str:
    """Return the name of the account that runs this, as far as it has one that can be a user id."""
    try:
        name = getpass.getuser()
        check_user(name)
    except (OSError, KeyError, ImportError, BadRequest):
        return _NOBODY
    return name
