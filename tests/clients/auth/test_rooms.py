"""Into which rooms somebody is let, and what a role allows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_chat.clients.auth import TOKEN_ROLES, Identity


def joins(pattern: str, room: str) -> bool:
    return Identity(user="u", rooms=(pattern,)).may_join(room)


@pytest.mark.parametrize(
    ("pattern", "room"),
    [
        ("*", "anything/at:all"),
        ("team-42/*", "team-42/a/b"),
        ("team-42/*", "team-42/"),
        ("*/general", "team-42/general"),
        ("team-*/gen*al", "team-42/general"),
        ("a**b", "ab"),
        ("a*b*b", "abb"),
        ("exact", "exact"),
    ],
)
def test_a_star_stands_for_any_characters(pattern: str, room: str) -> None:
    """None or many, slashes included; the rest is literal."""
    assert joins(pattern, room)


@pytest.mark.parametrize(
    ("pattern", "room"),
    [
        ("", "a"),
        ("team-42/*", "team-42"),
        ("team-42/*", "team-421/a"),
        ("team-42/*", "xteam-42/a"),
        ("team-42", "team-42/a"),
        ("exact", "Exact"),
        ("ab*ba", "aba"),
        ("*ab*ba*", "aba"),
        ("a*b*b", "ab"),
        ("team.42", "team-42"),
        ("team-4?/a", "team-42/a"),
        ("team-4[0-9]/a", "team-42/a"),
        ("team-{41,42}/a", "team-42/a"),
        ("team-4\\d/a", "team-42/a"),
        ("^team-42/a$", "team-42/a"),
        (".+", "team-42/a"),
        ("%", "team-42/a"),
    ],
)
def test_nothing_but_the_star_is_magic(pattern: str, room: str) -> None:
    """Signs of other pattern languages stand for themselves, and no room id has them."""
    assert not joins(pattern, room)


@pytest.mark.parametrize(
    ("pattern", "room"),
    [("a:b/*", "a/b:c"), ("a:b/*", "a:b:c"), ("a/*", "a:b/c"), ("a", "a:b"), ("a:b", "a")],
)
def test_ids_that_collide_when_joined_stay_apart(pattern: str, room: str) -> None:
    """A pattern is matched against the whole room id, never against parts put together."""
    assert not joins(pattern, room)


def reference_matches(pattern: str, room: str) -> bool:
    """The definition: a star takes nothing, or one character and goes on."""
    if not pattern:
        return not room
    if pattern[0] == "*":
        return reference_matches(pattern[1:], room) or (bool(room) and reference_matches(pattern, room[1:]))
    return bool(room) and pattern[0] == room[0] and reference_matches(pattern[1:], room[1:])


@given(
    st.lists(st.text("*ab/", max_size=8), max_size=3),
    st.text("ab/", max_size=8),
)
def test_may_join_is_the_plain_definition(patterns: list[str], room: str) -> None:
    """An identity may join what at least one pattern matches, by the naive definition of a star."""
    identity = Identity(user="u", rooms=tuple(patterns))

    assert identity.may_join(room) == any(reference_matches(pattern, room) for pattern in patterns)


def test_no_pattern_is_slow() -> None:
    """Matching does not go back: what takes a backtracking matcher for ever is done at once."""
    assert not joins("*a" * 60 + "*b", "a" * 128)


@pytest.mark.parametrize("role", sorted(TOKEN_ROLES))
def test_roles_imply_nothing_else(role: str) -> None:
    """Each role allows its own thing; everybody posts as a user and nobody as anything unknown."""
    identity = Identity(user="u", roles=frozenset({role}))

    assert identity.may_post_as("user")
    assert identity.may_post_as("assistant") == (role == "assistant")
    assert identity.may_post_as("system") == (role == "system")
    assert identity.may_moderate == (role == "moderator")
    assert identity.may_administer == (role == "admin")
    assert not identity.may_post_as("moderator")
    assert not identity.may_post_as("admin")


def test_an_identity_cannot_be_changed() -> None:
    """What somebody may do is settled when they come in."""
    identity = Identity(user="u")

    for name in Identity.__struct_fields__:
        with pytest.raises(AttributeError, match="immutable"):
            setattr(identity, name, None)
