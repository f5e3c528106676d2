"""Who is connected, how often, and for how long."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from trio_chat.clients.bucket import Bucket
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


def spend(registry: Registry, times: int) -> list[int]:
    """Let ada come so many times, ask until refused, and leave; return how often each time she could."""
    spent: list[int] = []
    for _ in range(times):
        guest, bucket = Guest(registry, "ada"), Bucket(10, 5)
        assert registry.enter("ada", guest, None, bucket)
        spent.append(0)
        while bucket.take():
            spent[-1] += 1
        registry.leave("ada", guest)
    return spent


async def test_coming_back_makes_nobody_faster(autojump_clock: MockClock) -> None:
    """However often a user comes, there is no more to spend than as many connections as allowed have."""
    registry = Registry(3)

    assert spend(registry, 10) == [5, 5, 5, *[0] * 7]
    assert spend(Registry(0), 10) == [5] * 10  # who may have any number of connections needs no trick


async def test_what_was_spent_comes_back_with_time(autojump_clock: MockClock) -> None:
    """At the rate of the connections that have ended; then nothing is left of them."""
    registry = Registry(2)
    spend(registry, 4)
    await trio.sleep(0.35)
    # Each owed one when it ended.
    assert spend(registry, 3) == [2, 2, 0]
    await trio.sleep(5)

    assert spend(registry, 3) == [5, 5, 0]


async def test_a_connection_goes_on_with_the_fullest_of_those_that_ended(autojump_clock: MockClock) -> None:
    """And only if there is no place that nobody has spent anything of."""
    registry = Registry(2)
    for takes in (1, 4):
        guest, bucket = Guest(registry, "ada"), Bucket(10, 5)
        registry.enter("ada", guest, None, bucket)
        for _ in range(takes):
            bucket.take()
        registry.leave("ada", guest)
    first, second, elsewhere = Bucket(10, 5), Bucket(10, 5), Bucket(10, 5)
    registry.enter("bob", Guest(registry, "bob"), None, elsewhere)
    registry.enter("ada", Guest(registry, "ada"), None, first)
    registry.enter("ada", Guest(registry, "ada"), None, second)

    assert [bucket.level for bucket in (first, second, elsewhere)] == [4, 1, 5]


async def test_who_enters_again_on_the_same_line_takes_one_place(autojump_clock: MockClock) -> None:
    """What it has spent stays spent, and counts once."""
    registry = Registry(2)
    bucket, guest = Bucket(10, 5), Guest(registry, "ada")
    for _ in range(4):
        registry.enter("ada", guest, None, bucket)
        bucket.take()
        registry.leave("ada", guest)
    other = Bucket(10, 5)
    registry.enter("ada", guest, None, other)

    assert (bucket.level, other.level) == (1, 5)


async def test_nothing_is_left_of_what_was_spent(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Once it has come back, also of users who do not."""
    registry = Registry(2)
    spend(registry, 4)
    assert registry._spent
    nursery.start_soon(registry.watch)

    await trio.sleep(5.1)

    assert not registry._spent
    nursery.cancel_scope.cancel()
