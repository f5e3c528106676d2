"""What is told of a failure."""

from __future__ import annotations

import socket
from contextlib import suppress

import pytest

from trio_chat.errors import Unavailable
from trio_chat.failures import describe, explain, why_unreachable


def fail(failure: Exception) -> None:
    raise failure


def failed(failure: Exception) -> Exception:
    with suppress(type(failure)):
        fail(failure)
    return failure


def test_kind_and_places_are_told_and_the_message_is_not() -> None:
    """The innermost place comes first, with its file, line and function."""
    text = describe(failed(ValueError("canary")))

    assert text.startswith("ValueError at test_failures.py:")
    assert " fail < test_failures.py:" in text
    assert text.endswith(" failed")
    assert "canary" not in text


def test_failure_that_was_never_raised() -> None:
    """It has no place."""
    assert describe(ValueError("canary")) == "ValueError"


def test_failures_of_a_group_are_told_one_by_one() -> None:
    """However deep they lie, and the same one once."""
    inner = ExceptionGroup("canary", [KeyError("canary"), OSError("canary"), OSError("canary")])

    assert (
        describe(ExceptionGroup("canary", [inner, ValueError("canary")])) == "KeyError, OSError, ValueError"
    )


def test_what_led_to_a_failure_is_told_too() -> None:
    """Whether it was named or only there; unless it is to be left out."""
    texts: list[str] = []
    for cause in (KeyError("canary"), None):
        try:
            try:
                fail(OSError("canary"))
            except OSError:
                raise ValueError("canary") from cause
        except ValueError as failure:
            texts.append(describe(failure))
    try:
        try:
            fail(OSError("canary"))
        finally:
            fail(ValueError("canary"))
    except ValueError as failure:
        texts.append(describe(failure))

    assert [" from KeyError" in texts[0], " from " in texts[1], " from OSError at " in texts[2]] == [
        True,
        False,
        True,
    ]
    assert "canary" not in "".join(texts)


def test_only_the_innermost_places_of_many_are_told() -> None:
    """A line stays one that can be read."""

    def deep(levels: int) -> None:
        if levels == 0:
            raise ValueError
        deep(levels - 1)

    with suppress(ValueError):
        deep(0)
    try:
        deep(100)
    except ValueError as failure:
        text = describe(failure)

    assert text.count(" deep") == 8


def test_what_our_own_errors_say_is_told() -> None:
    """They are worded here; others may quote somebody."""
    assert [explain(Unavailable("away")), explain(ValueError("canary"))] == ["away", "ValueError"]


REFUSED = OSError(111, "Error connecting to ('127.0.0.1', 1): Connection refused")
TRIED = OSError("all attempts to connect to 127.0.0.1:1 failed")
TRIED.__cause__ = ExceptionGroup("multiple connection attempts failed", [REFUSED])


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (TRIED, "Connection refused"),
        (socket.gaierror(-2, "Name or service not known"), "Name or service not known"),
        (ValueError("port is too large"), "port is too large"),
        (TimeoutError(), "TimeoutError"),
    ],
)
def test_the_reason_for_having_no_connection_is_the_systems(failure: Exception, said: str) -> None:
    """Not that all attempts have failed, which one sees."""
    assert why_unreachable(failure) == said
