"""Who is connected, how often, and for how long."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from trio_chat.clients.registry import Registry, RegistryStatistics

if TYPE_CHECKING:
    from trio.testing import MockClock


class Guest:
    """A connection that leaves as soon as its token has expired."""

    def __init__(self, registry: Registry, user: str) -> None:
        self.registry = registry
        self.user = user
        self.expired_at: float | None = None

    def token_expired(self) -> None:
        """Note when, and leave."""
        self.expired_at = trio.current_time()
        self.registry.leave(self.user, self)


def test_a_user_has_as_many_connections_as_allowed() -> None:
    """One more is not noted, and another user is another matter."""
    registry = Registry(2)
    first, second, third = (Guest(registry, "ada") for _ in range(3))

    assert registry.enter("ada", first, None)
    assert registry.enter("ada", second, None)
    assert not registry.enter("ada", third, None)
    assert registry.enter("bob", third, None)
    assert registry.statistics() == RegistryStatistics(users=2, connections=3)


def test_who_leaves_makes_room() -> None:
    """A connection that has ended counts no more; leaving twice or never having come changes nothing."""
    registry = Registry(1)
    first, second = Guest(registry, "ada"), Guest(registry, "ada")
    registry.enter("ada", first, None)

    registry.leave("ada", second)
    assert not registry.enter("ada", second, None)
    registry.leave("ada", first)
    registry.leave("ada", first)

    assert registry.enter("ada", second, None)


def test_no_limit_is_no_limit() -> None:
    """With 0 a user may have any number of connections."""
    registry = Registry(0)

    assert all(registry.enter("ada", Guest(registry, "ada"), None) for _ in range(100))


def test_nothing_is_left_of_those_who_have_left() -> None:
    """A server that many users have visited keeps nothing of them."""
    registry = Registry(1)
    for name in map(str, range(10)):
        guest = Guest(registry, name)
        registry.enter(name, guest, None)
        registry.enter(name, Guest(registry, name), None)
        registry.leave(name, guest)

    assert registry.statistics() == RegistryStatistics(users=0, connections=0)
    assert repr(registry) == "<Registry users=0 connections=0>"


@pytest.mark.parametrize("lifetime", [0.0, 3.0, 5.0, 61.5])
async def test_a_connection_ends_within_five_seconds_of_its_token(
    nursery: trio.Nursery, autojump_clock: MockClock, lifetime: float
) -> None:
    """Each token has its own end; without one a connection stays."""
    registry = Registry(0, clock=trio.current_time)
    now = trio.current_time()
    expiring, later, lasting = (Guest(registry, "ada") for _ in range(3))
    registry.enter("ada", expiring, now + lifetime)
    registry.enter("ada", later, now + 1000)
    registry.enter("ada", lasting, None)
    nursery.start_soon(registry.watch)

    await trio.sleep(lifetime + 5.1)

    assert expiring.expired_at is not None
    assert lifetime <= expiring.expired_at - now <= lifetime + 5
    assert later.expired_at is lasting.expired_at is None
    nursery.cancel_scope.cancel()
