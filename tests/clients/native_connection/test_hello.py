"""Hello: who comes in, as whom, for how long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from trio_chat.errors import CloseCode, ReplyCode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio.testing import MockClock


from .house import House


async def test_hello_is_answered_with_who_one_is_and_what_one_may(house: House) -> None:
    """A welcome names the user, the connection, the durability of acks and the limits."""
    client = house.connect()

    client.say("hello", user="ada", ref="h")
    welcome = await client.expect("welcome", ref="h", user="ada", durability="redis")

    assert welcome["connection"]
    assert welcome["limits"] == {
        "messageBytes": 65536,
        "rooms": 64,
        "requestsPerSecond": 0,
        "requestBurst": 40,
        "window": 1000,
        "sessionExpirySeconds": 1200,
        "pingIntervalSeconds": 25,
    }


async def test_two_connections_have_two_names(house: House) -> None:
    """The connection's name is its own, even for one user."""
    one, two = house.connect(), house.connect()
    one.say("hello", user="ada")
    two.say("hello", user="ada")

    first, second = await one.expect("welcome"), await two.expect("welcome")

    assert first["connection"] != second["connection"]


async def test_while_redis_is_away_the_welcome_promises_memory(house: House) -> None:
    """Whoever comes in learns what an ack is worth at the moment."""
    house.hot.set_healthy(False)
    client = house.connect()

    client.say("hello", user="ada")

    await client.expect("welcome", durability="memory")


async def test_who_says_nothing_is_disconnected_after_the_time_for_hello(
    autojump_clock: MockClock, house: House
) -> None:
    """Five seconds of silence, not less."""
    client = house.connect()

    await trio.sleep(4.9)
    assert client.link.closed is None
    await trio.sleep(0.2)

    await client.expect_closed(CloseCode.HELLO_TIMEOUT)


async def test_who_has_said_hello_may_be_silent(autojump_clock: MockClock, house: House) -> None:
    """The time for hello ends with hello."""
    client = await house.greet()

    await trio.sleep(60)

    assert client.link.closed is None


@pytest.mark.parametrize(
    "request_",
    [
        {"type": "room:join", "room": "r", "ref": 1},
        {"type": "message:send", "room": "r", "content": "c", "ref": 1},
        {"type": "history:get", "room": "r", "ref": 1},
        {"type": "heartbeat", "ref": 1},
    ],
)
async def test_before_hello_nothing_is_done(house: House, request_: dict[str, Any]) -> None:
    """Any request before hello is refused, and no room begins."""
    client = house.connect()

    client.say(request_.pop("type"), **request_)

    await client.expect_refused(ReplyCode.UNAUTHORIZED, ref=1)
    assert not house.lobby.rooms


async def test_who_goes_on_without_hello_is_disconnected(house: House) -> None:
    """Five requests that are not hello are enough."""
    client = house.connect()

    for _ in range(5):
        client.say("heartbeat")

    await client.expect_closed(CloseCode.BAD_REQUESTS)


async def test_before_hello_little_is_read(house: House) -> None:
    """Nothing larger than any hello is taken, until somebody has said who they are."""
    client = house.connect()
    before = client.link.limit

    client.say("hello", user="ada")
    await client.expect("welcome")

    assert (before, client.link.limit) == (16_384, house.lobby.settings.max_message_bytes)


async def test_hello_is_said_once(house: House) -> None:
    """A second hello is refused; the connection stays what it was."""
    client = await house.greet("ada")

    client.say("hello", user="bob", ref=2)

    await client.expect_refused(ReplyCode.BAD_REQUEST, ref=2)
    assert client.connection.user == "ada"


async def test_a_name_that_cannot_be_one_is_refused(house: House) -> None:
    """An insecure server still checks what a user id may hold."""
    client = house.connect()

    client.say("hello", user="a\nb", ref=1)

    await client.expect_refused(ReplyCode.BAD_REQUEST, ref=1)
    await client.expect_closed(CloseCode.UNAUTHORIZED)


async def test_a_token_says_who_one_is(guarded: House) -> None:
    """The user is the token's, whatever else hello says."""
    client = guarded.connect()

    client.say("hello", token=guarded.token("ada"), user="bob")

    await client.expect("welcome", user="ada")


@pytest.mark.parametrize("hello", [{}, {"token": "x.y.z"}, {"user": "ada"}, {"token": None, "user": "ada"}])
async def test_without_a_good_token_nobody_comes_in(guarded: House, hello: dict[str, Any]) -> None:
    """One text for every reason, and a close code that says: do not come back like this."""
    client = guarded.connect()

    client.say("hello", ref=1, **hello)

    refusal = await client.expect_refused(ReplyCode.UNAUTHORIZED, ref=1)
    assert refusal["message"] == "token: not accepted; connect with a new one"
    await client.expect_closed(CloseCode.UNAUTHORIZED)
    assert guarded.registry.statistics().connections == 0


async def test_an_expired_token_is_refused(autojump_clock: MockClock, guarded: House) -> None:
    """It was good once."""
    token = guarded.token(expires_in=10)
    await trio.sleep(10)
    client = guarded.connect()

    client.say("hello", token=token)

    await client.expect_refused(ReplyCode.UNAUTHORIZED)
    await client.expect_closed(CloseCode.UNAUTHORIZED)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_an_authorization_header_is_a_hello(
    autojump_clock: MockClock, guarded: House, scheme: str
) -> None:
    """Whoever brings a token in the handshake is welcome at once, and needs no hello."""
    client = guarded.connect(Authorization=f"{scheme} {guarded.token('ada')}")

    await client.expect("welcome", user="ada")
    await trio.sleep(10)

    assert client.link.closed is None


async def test_a_bad_authorization_header_is_refused_at_once(guarded: House) -> None:
    """It is not overlooked in the hope of a better hello."""
    client = guarded.connect(Authorization="Bearer x.y.z")

    await client.expect_refused(ReplyCode.UNAUTHORIZED)
    await client.expect_closed(CloseCode.UNAUTHORIZED)


async def test_another_kind_of_authorization_is_none_of_ours(guarded: House) -> None:
    """A proxy's password is not looked at; hello is awaited as usual."""
    client = guarded.connect(Authorization="Basic YWRhOmFkYQ==")

    client.say("hello", token=guarded.token("ada"))

    await client.expect("welcome", user="ada")


async def test_a_user_may_connect_as_often_as_allowed(build: Callable[..., Awaitable[House]]) -> None:
    """One more is sent away; when one has left there is a place again."""
    house = await build(max_connections_per_user=2)
    first, _ = await house.greet(), await house.greet()

    third = house.connect()
    third.say("hello", user="ada")
    await third.expect_closed(CloseCode.TOO_MANY_CONNECTIONS)
    third.connection.on_closed()
    first.hang_up()

    await house.greet()


async def test_a_connection_ends_with_its_token(
    autojump_clock: MockClock, guarded: House, nursery: trio.Nursery
) -> None:
    """The close code tells to come back with a fresh one and resume."""
    nursery.start_soon(guarded.registry.watch)
    client = await guarded.greet_with_token(expires_in=60)

    await trio.sleep(59)
    assert client.link.closed is None
    await trio.sleep(6.5)

    assert "resume" in await client.expect_closed(CloseCode.TOKEN_EXPIRED)
