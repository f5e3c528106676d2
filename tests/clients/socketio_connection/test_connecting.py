"""Who comes in, under which name, how connections end, and what breaks the protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_chat.clients.recovery import RecoveryStatistics
from trio_chat.errors import CloseCode, ReplyCode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio.testing import MockClock


from .house import TOO_DEEP, Gate, House, in_a_room


async def test_a_connect_is_answered_with_names_and_a_welcome(house: House) -> None:
    """The welcome has the user, the durability, the limits, and the offset of somebody in no room."""
    client = house.call({"userId": "ada"})

    client.ask_to_connect()
    await client.expect_connected()
    detail, offset = await client.expect("welcome")

    assert client.pid
    assert offset == "0"
    assert (detail["user"], detail["durability"]) == ("ada", "redis")
    assert detail["limits"] == {
        "messageBytes": 65536,
        "rooms": 64,
        "requestsPerSecond": 0,
        "requestBurst": 40,
        "window": 1000,
        "sessionExpirySeconds": 1200,
        "pingIntervalSeconds": 25,
    }


async def test_a_new_name_and_a_new_offset_come_in_one_piece(house: House) -> None:
    """Who is cut off has both or neither, and comes back from no place of an earlier life."""
    client = house.call({"userId": "ada"})

    client.ask_to_connect()

    await client.expect_connected()
    await client.expect("welcome")
    assert (client.link.pieces, client.offset) == (1, "0")


async def test_two_connections_have_two_names(house: House) -> None:
    """The secret one is a client's own, even for one user."""
    one, two = await house.connect(), await house.connect()

    assert one.pid != two.pid


async def test_a_token_says_who_one_is(guarded: House) -> None:
    """The user is the token's, whatever else the client says."""
    client = guarded.call({"token": guarded.token("ada"), "userId": "bob"})
    client.ask_to_connect()

    await client.expect_connected()
    assert (await client.expect("welcome"))[0]["user"] == "ada"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
async def test_a_header_may_bring_the_token(guarded: House, scheme: str) -> None:
    """For clients that cannot say it in CONNECT; still they have to connect."""
    client = guarded.call(Authorization=f"{scheme} {guarded.token('ada')}")
    await client.expect_nothing()

    await client.connect()

    assert guarded.registry.statistics().users == 1


async def test_the_token_in_connect_counts_more_than_the_header(guarded: House) -> None:
    """A proxy may add one of its own; a bad one in CONNECT is not made up for."""
    client = guarded.call({"token": "x.y.z"}, Authorization=f"Bearer {guarded.token('ada')}")
    client.ask_to_connect()

    await client.expect_connect_error(ReplyCode.UNAUTHORIZED)


@pytest.mark.parametrize(
    "auth",
    [
        {},
        {"token": ""},
        {"token": "x.y.z"},
        {"token": 1},
        {"token": ["x"]},
        {"token": {}},
        {"userId": "ada"},
        {"pid": "x", "offset": "0"},
    ],
)
async def test_without_a_good_token_nobody_comes_in(guarded: House, auth: dict[str, Any]) -> None:
    """One text for every reason, and a code for programs."""
    client = guarded.call(auth)
    client.ask_to_connect()

    text = await client.expect_connect_error(ReplyCode.UNAUTHORIZED)

    assert text == "token: not accepted; connect with a new one"
    assert guarded.registry.statistics().connections == 0
    assert guarded.recoveries.statistics().held == 0


@pytest.mark.parametrize("user", ["", "a\nb", "a" * 129])
async def test_an_insecure_server_still_checks_the_name(house: House, user: str) -> None:
    """A user id is a text that can be one."""
    client = house.call({"userId": user})
    client.ask_to_connect()

    await client.expect_connect_error(ReplyCode.BAD_REQUEST)


@pytest.mark.parametrize("auth", ["", "{}", '{"userId":1}', '{"userId":null}', '{"userId":["ada"]}'])
async def test_an_insecure_server_says_how_to_name_oneself(house: House, auth: str) -> None:
    """It wants no token: whoever tries it out learns what to say instead."""
    client = house.call()
    client.say(f"0{auth}")

    text = await client.expect_connect_error(ReplyCode.UNAUTHORIZED)

    assert text == "auth.userId: expected the user's id, a string"


async def test_a_name_counts_more_than_a_token_where_names_do(house: House) -> None:
    """A front end that always has a token, perhaps an empty one, works on an insecure server too."""
    client = house.call({"userId": "ada", "token": "x.y.z"})
    client.ask_to_connect()

    await client.expect_connected()


async def test_who_was_refused_may_try_again(guarded: House) -> None:
    """With a fresh token, on the same session."""
    client = guarded.call({"token": "x.y.z"})
    client.ask_to_connect()
    await client.expect_connect_error(ReplyCode.UNAUTHORIZED)

    client.auth = {"token": guarded.token()}

    await client.connect()


async def test_who_is_refused_five_times_is_disconnected(guarded: House) -> None:
    """Each refusal is said, the last one too."""
    client = guarded.call({"token": "x.y.z"})

    for _ in range(5):
        assert client.link.closed is None
        client.ask_to_connect()
        await client.expect_connect_error(ReplyCode.UNAUTHORIZED)

    await client.expect_closed(CloseCode.UNAUTHORIZED)


@pytest.mark.parametrize("packet", ["0/admin", "0/admin,", '0/admin,{"userId":"ada"}'])
async def test_other_namespaces_do_not_exist(house: House, packet: str) -> None:
    """That is said in the namespace, in the reference's words; the main one is not affected."""
    client = await house.connect()
    client.say(packet)

    assert await client.expect_connect_error(ReplyCode.BAD_REQUEST, "/admin") == "Invalid namespace"
    client.emit("heartbeat", ack=1)
    await client.expect_ack(1, ok=True)


async def test_a_user_may_connect_as_often_as_allowed(build: Callable[..., Awaitable[House]]) -> None:
    """One more is refused for now; when one has left there is a place again."""
    house = await build(max_connections_per_user=2)
    first = await house.connect()
    await house.connect()
    client = house.call({"userId": "ada"})
    client.ask_to_connect()
    await client.expect_connect_error(ReplyCode.TOO_MANY_CONNECTIONS)

    first.say("1")

    await client.connect()
    assert house.recoveries.statistics() == RecoveryStatistics(held=2, away=0, unwritten=0)


@pytest.mark.parametrize(
    "packet",
    [
        '2["heartbeat"]',
        '2/admin,["heartbeat"]',
        "hello",
        '51-["x",{"_placeholder":true,"num":0}]',
        "",
        "4{}",
        TOO_DEEP,
        f'0{{"a":{TOO_DEEP[1:]}}}',
    ],
)
async def test_anything_before_connect_ends_the_session(house: House, packet: str) -> None:
    """As it does with the reference server."""
    client = house.call({"userId": "ada"})
    client.say(packet)

    await client.expect_closed(CloseCode.PROTOCOL_ERROR)


@pytest.mark.parametrize(
    "packet",
    [
        "0",
        '0{"userId":"ada"}',
        '2/admin,["heartbeat"]',
        '51-["x",{"_placeholder":true,"num":0}]',
        "61-[]",
        '4{"message":"no"}',
        '2["connect"]',
        "2[]",
        "9",
    ],
)
async def test_what_breaks_the_protocol_ends_the_session(house: House, packet: str) -> None:
    """A second CONNECT, binary packets, and what is none; the user is gone from the room."""
    client = await house.connect("ada", "r")
    client.say(packet)

    await client.expect_closed(CloseCode.PROTOCOL_ERROR)
    assert house.users_in("r") == set()


async def test_an_acknowledgement_nobody_asked_for_is_overlooked(house: House) -> None:
    """Clients may answer whatever they like."""
    client = await house.connect()
    client.say("37[]")

    await client.expect_nothing()
    assert client.link.closed is None


async def test_who_does_not_connect_is_disconnected(autojump_clock: MockClock, guarded: House) -> None:
    """Five seconds, not less; refusals do not prolong them."""
    client = guarded.call({"token": "x.y.z"})
    await trio.sleep(4.9)
    client.ask_to_connect()
    await client.expect_connect_error(ReplyCode.UNAUTHORIZED)

    await trio.sleep(0.2)

    await client.expect_closed(CloseCode.HELLO_TIMEOUT)


async def test_who_is_connected_may_be_silent(autojump_clock: MockClock, house: House) -> None:
    """The time to connect ends with it."""
    client = await house.connect()

    await trio.sleep(60)

    assert client.link.closed is None


async def test_who_comes_back_one_too_many_has_to_connect_in_time(
    autojump_clock: MockClock, build: Callable[..., Awaitable[House]]
) -> None:
    """A session that is refused after its rooms were looked up is as unconnected as any."""
    house = await build(max_connections_per_user=1)
    await house.connect()
    client = house.call({"userId": "ada", "pid": "somebody"})
    client.ask_to_connect()
    await client.expect_connect_error(ReplyCode.TOO_MANY_CONNECTIONS)

    await trio.sleep(5.1)

    await client.expect_closed(CloseCode.HELLO_TIMEOUT)


async def test_a_connection_ends_with_its_token(autojump_clock: MockClock, guarded: House) -> None:
    """The client may come back with a fresh one, and is put back into its rooms."""
    client = await guarded.call({"token": guarded.token(expires_in=60)}).connect()
    await client.join()
    guarded.nursery.start_soon(guarded.registry.watch)

    await trio.sleep(66)
    await client.expect_closed(CloseCode.TOKEN_EXPIRED)
    client.auth = {"token": guarded.token()}
    client.come_back()

    await client.expect_connected()
    assert client.recovered


async def test_who_disconnects_leaves_every_room(house: House) -> None:
    """The others learn of it, and the session lives on."""
    bob = await house.connect("bob", "r")
    client = await house.connect("ada", "r", "s")
    await bob.hear()

    client.say("1")

    heard = await bob.hear()
    assert [(name, said["isActive"]) for name, said in heard] == [("presence:update", False)]
    assert house.registry.statistics().users == 1
    assert client.link.closed is None
    await client.expect_nothing()


async def test_who_disconnected_may_connect_again(house: House) -> None:
    """On the same session, as somebody new, in no room."""
    client = await house.connect("ada", "r")
    first = client.pid
    client.say("1")
    client.pid = client.offset = None

    await client.connect()

    assert client.pid != first
    await client.join()
    assert house.members_of("r") == 1


async def test_who_disconnected_and_does_not_connect_is_disconnected(
    autojump_clock: MockClock, house: House
) -> None:
    """There is as much time as in the beginning."""
    client = await house.connect()
    await trio.sleep(60)
    client.say("1")
    await trio.sleep(4.9)
    assert client.link.closed is None

    await trio.sleep(0.2)

    await client.expect_closed(CloseCode.HELLO_TIMEOUT)


async def test_after_disconnecting_nothing_is_said(house: House) -> None:
    """Neither what rooms still answer nor what they say."""
    client = await house.connect("ada", "r")
    gate = Gate(house.hot, "append")
    client.emit("message:send", {"teamId": "r", "content": "c"}, ack=1)
    await wait_all_tasks_blocked()
    client.emit("history:get", {"teamId": "r"}, ack=2)
    client.emit("room:join", "s", ack=3)

    client.say("1")
    gate.open()

    await client.expect_nothing()
    assert house.users_in("s") == set()


@pytest.mark.parametrize("packet", ["1", "1/admin,"])
async def test_leaving_where_one_is_not_changes_nothing(house: House, packet: str) -> None:
    """Somebody who is not connected cannot disconnect, and other namespaces have nobody in them."""
    client = house.call({"userId": "ada"})
    client.say(packet)
    await client.connect()
    client.say("1/admin,")

    client.emit("heartbeat", ack=1)

    await client.expect_ack(1, ok=True)


async def test_who_hangs_up_leaves_every_room(house: House) -> None:
    """The others learn of it; the client may come back."""
    bob = await house.connect("bob", "r")
    client = await house.connect("ada", "r")
    await bob.hear()

    await client.hang_up()

    heard = await bob.hear()
    assert [(name, said["isActive"]) for name, said in heard] == [("presence:update", False)]
    assert house.recoveries.statistics().away == 1


async def test_its_repr_says_who_and_where(house: House) -> None:
    """One line for whoever looks into a running server, and no secret in it."""
    client = house.call({"userId": "ada"})
    assert repr(client.conversation) == "<SocketIOConversation not connected <FakeLink>>"
    await client.connect()
    await client.join()

    assert "of ada rooms=1" in repr(client.conversation)
    assert str(client.pid) not in repr(client.conversation)


async def test_only_what_may_be_dropped_is_droppable(house: House) -> None:
    """Presence and typing are; messages and read marks are not."""
    ada, bob = await in_a_room(house)
    before = len(bob.link.droppable)
    ada.emit("typing:start", "r")
    ada.emit("message:send", {"teamId": "r", "content": "c"})
    ada.emit("receipt:update", {"teamId": "r", "lastReadMessageId": "m"})
    await wait_all_tasks_blocked()

    heard = [packet.data[0] for packet in bob.link.said]
    assert dict(zip(heard, bob.link.droppable[before:], strict=True)) == {
        "typing:start": True,
        "message:new": False,
        "receipt:update": False,
        "typing:stop": True,
    }
