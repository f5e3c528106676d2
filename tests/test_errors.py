"""Errors carry who is to blame and what to do next."""

from __future__ import annotations

import pytest

from trio_chat.errors import (
    BadRequest,
    CloseCode,
    Misconfigured,
    ReplyCode,
    RoomRetired,
    SettingsError,
    TrioChatError,
    Unavailable,
)


@pytest.mark.parametrize(
    "code", [ReplyCode.RATE_LIMITED, ReplyCode.OVERLOADED, ReplyCode.UNAVAILABLE, ReplyCode.ROOM_CLOSED]
)
def test_ours_are_temporary(code: ReplyCode) -> None:
    """A request that met a limit or a fault of ours may succeed later."""
    assert code.temporary


@pytest.mark.parametrize(
    "code",
    [
        ReplyCode.BAD_REQUEST,
        ReplyCode.UNAUTHORIZED,
        ReplyCode.FORBIDDEN,
        ReplyCode.NOT_JOINED,
        ReplyCode.ALREADY_JOINED,
        ReplyCode.NOT_FOUND,
        ReplyCode.CONFLICT,
        ReplyCode.TOO_MANY_ROOMS,
    ],
)
def test_theirs_are_not_temporary(code: ReplyCode) -> None:
    """A request that is wrong stays wrong."""
    assert not code.temporary


def test_codes_are_their_own_texts() -> None:
    """A reply code is the very text that goes over the wire."""
    assert str(ReplyCode.NOT_JOINED) == "not_joined"


def test_bad_request_without_a_code() -> None:
    """A `BadRequest` says `bad_request` unless told otherwise."""
    assert BadRequest("x").code is ReplyCode.BAD_REQUEST


def test_bad_request_with_a_code() -> None:
    """A `BadRequest` carries its code and its text."""
    error = BadRequest("not yours", ReplyCode.FORBIDDEN)

    assert (error.code, str(error)) == (ReplyCode.FORBIDDEN, "not yours")


def test_unavailable_without_a_code() -> None:
    """An `Unavailable` says `unavailable` unless told otherwise."""
    assert Unavailable("x").code is ReplyCode.UNAVAILABLE


def test_unavailable_with_a_code() -> None:
    """An `Unavailable` carries its code and its text."""
    error = Unavailable("full", ReplyCode.OVERLOADED)

    assert (error.code, str(error)) == (ReplyCode.OVERLOADED, "full")


@pytest.mark.parametrize("kind", [BadRequest, Unavailable, Misconfigured, RoomRetired, SettingsError])
def test_one_root(kind: type[Exception]) -> None:
    """Everything raised on purpose is a `TrioChatError`."""
    assert issubclass(kind, TrioChatError)


def test_blame_is_disjoint() -> None:
    """Who catches the peer's faults does not catch ours, nor the other way round."""
    assert not issubclass(BadRequest, Unavailable)
    assert not issubclass(Unavailable, BadRequest)


def test_settings_error_names_every_problem() -> None:
    """A `SettingsError` keeps its problems apart, and prints one a line."""
    error = SettingsError(["A=1: expected 2", "B=x: expected y"])

    assert error.problems == ["A=1: expected 2", "B=x: expected y"]
    assert str(error) == "A=1: expected 2\nB=x: expected y"


@pytest.mark.parametrize("code", [code for code in CloseCode if code >= 4000])
def test_own_close_codes_are_in_two_ranges(code: CloseCode) -> None:
    """Our close codes say "come back" below 4500 and "do not" from there on, within what RFC 6455 leaves us."""
    back = {
        CloseCode.HELLO_TIMEOUT,
        CloseCode.TOKEN_EXPIRED,
        CloseCode.TOO_SLOW,
        CloseCode.RATE_LIMITED,
    }

    assert (code < 4500) == (code in back)
    assert code < 5000
