"""What can go wrong, split by who is to blame and what to do next.

1. `BadRequest`: the peer's fault. Answer it with its code; nothing else happened.
2. `Unavailable`: ours, and temporary. The same request may succeed later.
3. `RoomRetired`: the caller held a room that has ended. Ask the lobby again.
4. `SettingsError`: the operator's fault, found at start.

Two tables carry the meanings over the wire: `ReplyCode` for answers, `CloseCode` for ended connections.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum


class ReplyCode(StrEnum):
    """The codes of an `error` reply. Texts explain to people; codes tell programs what to do."""

    BAD_REQUEST = "bad_request"
    """The request is malformed. Do not repeat it as it is."""
    UNAUTHORIZED = "unauthorized"
    """The token was not accepted. One text for every reason."""
    FORBIDDEN = "forbidden"
    """This user may not do that in this room, whether or not the room exists."""
    NOT_JOINED = "not_joined"
    """Join the room first."""
    ALREADY_JOINED = "already_joined"
    """This connection is in that room."""
    NOT_FOUND = "not_found"
    """No such message in the room's window."""
    CONFLICT = "conflict"
    """The id belongs to somebody else's message."""
    TOO_MANY_ROOMS = "too_many_rooms"
    """Leave a room before joining another."""
    TOO_MANY_CONNECTIONS = "too_many_connections"
    """This user has as many connections as allowed. End one, or wait."""
    RATE_LIMITED = "rate_limited"
    """Too fast. Wait, then repeat."""
    OVERLOADED = "overloaded"
    """The room or the server has more to do than it can hold. Wait, then repeat."""
    UNAVAILABLE = "unavailable"
    """The outcome is unknown or the service is away for a moment. Repeat with the same id."""
    ROOM_CLOSED = "room_closed"
    """The room failed too often and was closed. Join again later."""

    @property
    def temporary(self) -> bool:
        """Whether the same request may succeed later."""
        return self in _TEMPORARY


_TEMPORARY = frozenset(
    {
        ReplyCode.TOO_MANY_CONNECTIONS,
        ReplyCode.RATE_LIMITED,
        ReplyCode.OVERLOADED,
        ReplyCode.UNAVAILABLE,
        ReplyCode.ROOM_CLOSED,
    }
)


class CloseCode(IntEnum):
    """Why a connection ended. 4000-4499: come back and resume. 4500-4999: do not come back as you are."""

    NORMAL = 1000
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    INVALID_UTF8 = 1007
    TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    """The server stops or restarts. Come back and resume."""
    HELLO_TIMEOUT = 4400
    """No `hello` came in time."""
    TOKEN_EXPIRED = 4401
    """Come back with a fresh token and resume."""
    TOO_SLOW = 4408
    """The client did not read fast enough. Come back and resume."""
    RATE_LIMITED = 4429
    """The client kept sending above its rate, or hundreds of pings or pongs at once. Wait, come back, resume."""
    BAD_REQUESTS = 4500
    """Too many malformed requests in a short time."""
    UNAUTHORIZED = 4501
    """The token is not accepted, or not any more: it is wrong, it has expired, or access was withdrawn. Get another."""
    TOO_MANY_CONNECTIONS = 4529
    """This user has as many connections as allowed."""


class TrioChatError(Exception):
    """The root of everything trio-chat raises on purpose."""


class BadRequest(TrioChatError):
    """The peer asked for something it cannot have.

    Args:
        text: what was wrong, what was expected, what to do next. It is sent to the peer, so it must
            hold no secret and nothing of other people's messages.
        code: the reply code.
    """

    def __init__(self, text: str, code: ReplyCode = ReplyCode.BAD_REQUEST) -> None:
        super().__init__(text)
        self.code = code


class Gone(BadRequest):
    """The peer asked to change a message that was deleted."""

    def __init__(self, text: str) -> None:
        super().__init__(text, ReplyCode.NOT_FOUND)


class Unavailable(TrioChatError):
    """Something of ours is away, slow or full for now. The same call may succeed later.

    Whether the call had its effect is unknown: repeat it with the same ids.
    """

    def __init__(self, text: str, code: ReplyCode = ReplyCode.UNAVAILABLE) -> None:
        super().__init__(text)
        self.code = code


class Misconfigured(TrioChatError):
    """A store answers, but not to us: wrong credentials, a missing permission, a wrong type of server.

    At start this ends the process with one line; later it degrades like `Unavailable`.
    """


class RoomRetired(TrioChatError):
    """The room behind this handle has ended or was closed. Ask the lobby again."""


class SettingsError(TrioChatError):
    """One or more settings cannot be used.

    Args:
        problems: one sentence each, ``NAME=value: what was expected``.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def code_of(failure: TrioChatError) -> ReplyCode:
    """Return the code of a failure; what has none is ours."""
    return failure.code if isinstance(failure, (BadRequest, Unavailable)) else ReplyCode.UNAVAILABLE
