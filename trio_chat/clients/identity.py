"""Who somebody is, and what that allows. Pure."""

from __future__ import annotations

import re

import msgspec

from trio_chat.errors import BadRequest
from trio_chat.message import check_id, check_text

TOKEN_ROLES = frozenset({"assistant", "system", "moderator", "admin"})
_PATTERN = re.compile(r"[A-Za-z0-9_.:/@*-]{1,128}")


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Who somebody is and what they may do. Lives as long as the connection, or until `expires_at`.

    Attributes:
        user: the user id.
        rooms: patterns of the rooms they may join.
        roles: of `TOKEN_ROLES`. None implies another.
        expires_at: Unix seconds at which this ends; None in insecure mode.
        issued_at: Unix seconds at which the token was made; None if it does not say.
    """

    user: str
    rooms: tuple[str, ...] = ()
    roles: frozenset[str] = frozenset()
    expires_at: float | None = None
    issued_at: float | None = None

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


def check_user(user: str) -> None:
    """Refuse what is no user id."""
    check_id("user", user)
    check_text("user", user)


def check_pattern(pattern: str) -> str:
    """Return the pattern, or refuse it."""
    if _PATTERN.fullmatch(pattern) is None:
        raise BadRequest("rooms: expected 1-128 characters of A-Z a-z 0-9 _ . : / @ - and * for any of them")
    return pattern


def check_token_role(role: str) -> str:
    """Return the role, or refuse it."""
    if role not in TOKEN_ROLES:
        raise BadRequest(f"roles: expected any of {', '.join(sorted(TOKEN_ROLES))}")
    return role
