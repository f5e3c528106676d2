"""Scripts are data that read like stories."""

from __future__ import annotations

from trio_chat.testing import Edit, Join, Kill, Post, Sleep, Together
from trio_chat.testing.script import numbered, user_of


def test_commands_print_as_the_calls_that_make_them() -> None:
    """What is as by default is left out, so a failing example can be pasted into a test."""
    script = [Join("ann"), Post("ann", "x", key="k"), Sleep(0.5), Kill()]

    assert (
        repr(script) == "[Join(who='ann'), Post(who='ann', content='x', key='k'), Sleep(seconds=0.5), Kill()]"
    )
    assert eval(repr(script)) == script


def test_clients_of_one_user_are_told_apart_behind_an_at() -> None:
    """`ann@phone` is `ann`."""
    assert [user_of("ann"), user_of("ann@phone")] == ["ann", "ann"]


def test_numbered_contents_differ() -> None:
    """Each post and edit gets the next number, those of requests at once too."""
    script = numbered(
        [Post("ann", "a"), Together((Post("bob", "a"), Edit("ann", "b"))), Kill(), Post("ann", "a")]
    )

    assert script == [
        Post("ann", "a1"),
        Together((Post("bob", "a2"), Edit("ann", "b3"))),
        Kill(),
        Post("ann", "a4"),
    ]
