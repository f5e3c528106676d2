"""What is refused, and how HTTP says so: one shape, `Problem`, and the status that fits its code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trio_chat.errors import BadRequest, Gone, ReplyCode, TrioChatError, code_of
from trio_chat.web.api.shapes import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

STATUSES: Final[Mapping[ReplyCode, int]] = {
    ReplyCode.UNAUTHORIZED: 401,
    ReplyCode.FORBIDDEN: 403,
    ReplyCode.NOT_FOUND: 404,
    ReplyCode.CONFLICT: 409,
    ReplyCode.RATE_LIMITED: 429,
    ReplyCode.OVERLOADED: 503,
    ReplyCode.UNAVAILABLE: 503,
    ReplyCode.ROOM_CLOSED: 503,
}
"""The status of a code; 400 of any other."""
_RETRY: Final = {"Retry-After": "1"}
_CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="trio-chat"'}


class Refusal(Exception):
    """A request is answered with a `Problem`.

    Args:
        status: the HTTP status.
        text: what was expected. It is sent to the client.
        code: what programs read.
        headers: what else to send.
    """

    def __init__(
        self,
        status: int,
        text: str,
        code: ReplyCode = ReplyCode.BAD_REQUEST,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, text)
        self.status = status
        self.problem = Problem(code, text, code.temporary)
        self.headers = headers or {}


def refusal_of(error: TrioChatError) -> Refusal:
    """Return how HTTP says an error."""
    code = code_of(error)
    status = 410 if isinstance(error, Gone) else STATUSES.get(code, 400)
    text = str(error) if isinstance(error, BadRequest) or code is not ReplyCode.UNAVAILABLE else _AWAY
    return Refusal(status, text, code, _RETRY if status == STATUSES[ReplyCode.UNAVAILABLE] else None)


# A store's own words may name hosts and roles.
_AWAY: Final = (
    "the outcome is unknown, or something is away for the moment: repeat the request, with the same id"
)


def unauthorized(text: str, *, given: bool) -> Refusal:
    """Return the refusal of somebody without a token, or with one that is not accepted (RFC 6750, section 3)."""
    challenge = {
        name: f'{value}, error="invalid_token"' if given else value for name, value in _CHALLENGE.items()
    }
    return Refusal(401, text, ReplyCode.UNAUTHORIZED, challenge)


def unavailable(text: str) -> Refusal:
    """Return the refusal of what cannot be done at the moment."""
    return Refusal(503, text, ReplyCode.UNAVAILABLE, _RETRY)


def forbidden(text: str) -> Refusal:
    """Return the refusal of somebody who may not do that."""
    return Refusal(403, text, ReplyCode.FORBIDDEN)


def not_found(text: str) -> Refusal:
    """Return the refusal of what is not there."""
    return Refusal(404, text, ReplyCode.NOT_FOUND)


def too_fast(rate: float, seconds: int) -> Refusal:
    """Return the refusal of somebody who has to slow down for some seconds."""
    text = f"at most {rate:g} requests a second; wait, then repeat"
    return Refusal(429, text, ReplyCode.RATE_LIMITED, {"Retry-After": str(seconds)})


def failed() -> Refusal:
    """Return the answer to a request on which the server failed."""
    return Refusal(500, "the server failed on this request", ReplyCode.UNAVAILABLE)
