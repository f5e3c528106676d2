"""What a client asks for, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from trio_chat.errors import CloseCode, ReplyCode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio.testing import MockClock


from .house import BAD_REQUEST, LISTS, TOO_DEEP, House, in_a_room

REQUESTS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("room:join", ("r",), {"seq": 1, "recovered": False, "durability": "redis", "members": ["ada", "bob"]}),
    ("room:leave", ("r",), {}),
    (
        "message:send",
        ({"teamId": "r", "content": "c", "id": "n"},),
        {"id": "n", "seq": 2, "duplicate": False},
    ),
    ("message:edit", ("m", "new"), {"id": "m", "seq": 2, "durability": "redis", "duplicate": False}),
    ("message:delete", ("m",), {"id": "m", "seq": 2, "durability": "redis", "duplicate": False}),
    ("typing:start", ("r",), {}),
    ("typing:stop", ("r",), {}),
    ("receipt:update", ({"teamId": "r", "lastReadMessageId": "m"},), {}),
    ("presence:heartbeat", ("r",), {}),
    ("history:get", ({"teamId": "r"},), {"teamId": "r", "source": "window", "more": False, "before": None}),
    ("heartbeat", (), {}),
]

ANSWERS: dict[str, list[str]] = {
    "room:join": ["messages:history", *LISTS],
    "room:leave": ["room:left"],
    "message:send": ["message:new"],
    "message:edit": ["message:update"],
    "message:delete": ["message:delete"],
    "receipt:update": ["receipt:update"],
}

OTHERS: dict[str, list[str]] = {
    "room:leave": ["presence:update"],
    "message:send": ["message:new"],
    "message:edit": ["message:update"],
    "message:delete": ["message:delete"],
    "typing:start": ["typing:start"],
    "receipt:update": ["receipt:update"],
    "presence:heartbeat": ["presence:update"],
}


@pytest.mark.parametrize(("name", "args", "answer"), REQUESTS)
async def test_each_event_is_carried_out_and_acknowledged(
    house: House, name: str, args: tuple[Any, ...], answer: dict[str, Any]
) -> None:
    """With an acknowledgement, if the client waits for one; everybody hears what concerns them."""
    ada, bob = await in_a_room(house)

    ada.emit(name, *args, ack=0)

    heard = await ada.hear()
    (given,) = [said for kind, said in heard if kind == "ack"]
    assert given["ok"] is True
    assert {field: given[field] for field in answer} == answer
    assert [kind for kind, _ in heard if kind != "ack"] == ANSWERS.get(name, [])
    assert [kind for kind, _ in await bob.hear()] == OTHERS.get(name, [])


@pytest.mark.parametrize(("name", "args", "answer"), REQUESTS)
async def test_each_event_is_carried_out_without_an_acknowledgement(
    house: House, name: str, args: tuple[Any, ...], answer: dict[str, Any]
) -> None:
    """A client that does not wait for one gets events only."""
    ada, bob = await in_a_room(house)

    ada.emit(name, *args)

    heard = [kind for kind, _ in await ada.hear()]
    assert heard == ANSWERS.get(
        name, {"heartbeat": ["heartbeat"], "history:get": ["history:page"]}.get(name, [])
    )
    assert [kind for kind, _ in await bob.hear()] == OTHERS.get(name, [])


@pytest.mark.parametrize(
    ("name", "args", "code"),
    [
        ("room:join", ("ä",), ReplyCode.BAD_REQUEST),
        ("room:leave", ("s",), ReplyCode.NOT_JOINED),
        ("message:send", ({"teamId": "s", "content": "c"},), ReplyCode.NOT_JOINED),
        ("message:send", ({"teamId": "r", "content": ""},), ReplyCode.BAD_REQUEST),
        ("message:send", ({"teamId": "r", "content": "c", "type": "robot"},), ReplyCode.BAD_REQUEST),
        ("message:edit", ("x", "c"), ReplyCode.NOT_FOUND),
        ("message:delete", ("x",), ReplyCode.NOT_FOUND),
        ("receipt:update", ({"teamId": "r", "lastReadMessageId": "x"},), ReplyCode.NOT_FOUND),
        ("presence:heartbeat", ("s",), ReplyCode.NOT_JOINED),
        ("history:get", ({"teamId": "r", "before": {"epoch": "x", "seq": 1}},), ReplyCode.BAD_REQUEST),
    ],
)
async def test_what_cannot_be_granted_is_refused(
    house: House, name: str, args: tuple[Any, ...], code: ReplyCode
) -> None:
    """In the acknowledgement, or in an event that says in which room if that could be read."""
    ada, bob = await in_a_room(house)

    ada.emit(name, *args, ack=1)
    await ada.expect_refused(1, code)
    ada.emit(name, *args)
    text, detail = await ada.expect("room:error")

    assert text
    assert (detail["code"], detail["temporary"]) == (code, code.temporary)
    await ada.expect_nothing()
    await bob.expect_nothing()


async def test_a_refusal_names_the_room(house: House) -> None:
    """A front end with several of them knows where to show it."""
    ada, _ = await in_a_room(house)

    ada.emit("message:send", {"teamId": "r", "content": ""})

    _, detail = await ada.expect("room:error")
    assert detail == {"code": "bad_request", "temporary": False, "teamId": "r"}


async def test_an_event_of_another_protocol_is_none_of_ours(house: House) -> None:
    """Nothing is said about it, and however many there are, nobody is disconnected."""
    client = await house.connect()

    for _ in range(20):
        client.emit("agent:status", {"busy": True})

    await client.expect_nothing()
    assert client.link.closed is None


async def test_who_waits_for_an_unknown_event_is_told(house: House) -> None:
    """And told again, without being disconnected."""
    client = await house.connect()

    for number in range(20):
        client.emit("agent:status", ack=number)
        await client.expect_refused(number, ReplyCode.BAD_REQUEST)

    assert client.link.closed is None


async def test_who_keeps_sending_nonsense_is_disconnected(house: House) -> None:
    """Five malformed requests are enough."""
    client = await house.connect("ada", "r")

    for _ in range(5):
        client.emit("message:send", "r", "c")

    await client.expect_closed(CloseCode.BAD_REQUESTS)


async def test_an_event_that_is_too_deep_is_refused(house: House) -> None:
    """It is well-formed, and its sender learns what was wrong; nobody else does."""
    ada, bob = await in_a_room(house)

    ada.say(TOO_DEEP.replace("2", "27"))
    await ada.expect_refused(7, ReplyCode.BAD_REQUEST)
    ada.say(TOO_DEEP)
    await ada.expect("room:error", "expected JSON nested at most 33 levels", BAD_REQUEST)

    ada.emit("heartbeat", ack=8)
    await ada.expect_ack(8, ok=True)
    await bob.expect_nothing()


@pytest.mark.parametrize(("seconds", "ends"), [(2.4, True), (2.6, False)])
async def test_who_keeps_sending_what_is_too_deep_is_disconnected(
    autojump_clock: MockClock, house: House, seconds: float, ends: bool
) -> None:
    """Five within ten seconds are malformed requests like others."""
    client = await house.connect("ada", "r")

    for number in range(5):
        assert client.link.closed is None
        client.say(TOO_DEEP)
        await client.expect("room:error")
        await trio.sleep(seconds if number < 4 else 0)

    assert (client.link.closed is not None) is ends
    if ends:
        await client.expect_closed(CloseCode.BAD_REQUESTS)


async def test_who_is_too_fast_is_refused_then_disconnected(
    autojump_clock: MockClock, build: Callable[..., Awaitable[House]]
) -> None:
    """Events of any name cost the same."""
    house = await build(rate_limits=True, requests_per_second=1, request_burst=3)
    client = await house.connect()
    client.emit("agent:status")
    client.emit("heartbeat", ack=0)
    await client.expect_ack(0, ok=True)

    client.emit("heartbeat", ack=1)
    await client.expect_refused(1, ReplyCode.RATE_LIMITED)
    for _ in range(50):
        client.emit("agent:status")

    await client.expect_closed(CloseCode.RATE_LIMITED)


@pytest.mark.parametrize("packet", ["37[]", "1/other,"], ids=["acknowledgement", "disconnect elsewhere"])
async def test_what_is_ignored_costs_as_much(
    autojump_clock: MockClock, build: Callable[..., Awaitable[House]], packet: str
) -> None:
    """Who keeps sending packets that mean nothing is disconnected."""
    house = await build(rate_limits=True, requests_per_second=1, request_burst=3)
    client = await house.connect()
    for _ in range(6):
        client.say(packet)

    await client.expect_closed(CloseCode.RATE_LIMITED)


async def test_connecting_again_does_not_make_one_faster(
    autojump_clock: MockClock, build: Callable[..., Awaitable[House]]
) -> None:
    """A CONNECT costs as much as an event, and what was spent before it stays spent."""
    house = await build(rate_limits=True, requests_per_second=1, request_burst=6)
    client = await house.connect()
    for number in range(4):
        client.emit("heartbeat", ack=number)
        await client.expect_ack(number, ok=True)
    client.say("1")
    client.pid = client.offset = None
    await client.connect()
    client.emit("heartbeat", ack=5)
    await client.expect_refused(5, ReplyCode.RATE_LIMITED)
    client.say("1")

    client.ask_to_connect()
    await client.expect_connect_error(ReplyCode.RATE_LIMITED)

    await trio.sleep(4)
    client.pid = None
    await client.connect()


@pytest.mark.parametrize("extra", [None, {"mood": "good"}])
async def test_an_edit_may_change_metadata(house: House, extra: dict[str, Any] | None) -> None:
    """Without any they stay."""
    ada, _ = await in_a_room(house)
    ada.emit("message:edit", "m", "new", {"tag": 1})
    await ada.expect("message:update", {"id": "m", "content": "new", "metadata": {"tag": 1}, "teamId": "r"})

    ada.emit("message:edit", "m", "newer", extra)

    (said, _) = await ada.expect("message:update")
    assert said["metadata"] == ({"tag": 1} if extra is None else extra)


async def test_an_edit_finds_its_room(house: House) -> None:
    """The message is in one of those the client has joined, and only that one hears of it."""
    ada = await house.connect("ada", "r", "s", "t")
    ada.emit("message:send", {"teamId": "s", "content": "c", "id": "m"})
    await ada.hear()

    ada.emit("message:edit", "m", "new")
    (said, _) = await ada.expect("message:update")
    ada.emit("message:delete", "m")

    assert said["teamId"] == "s"
    assert await ada.expect("message:delete", "m")
    assert ada.places == {"r": 0, "s": 3, "t": 0}


async def test_an_edit_finds_no_message_of_other_rooms(house: House) -> None:
    """Whoever has not joined the room cannot even learn that it is there."""
    ada, _ = await in_a_room(house)
    eve = await house.connect("ada", "s")

    eve.emit("message:edit", "m", "new", ack=1)

    await eve.expect_refused(1, ReplyCode.NOT_FOUND)
    await ada.expect_nothing()


async def test_an_id_in_two_rooms_is_ambiguous(house: House) -> None:
    """Nothing is changed on a guess; having left one of them it is clear."""
    ada = await house.connect("ada", "r", "s")
    for room in ("r", "s"):
        ada.emit("message:send", {"teamId": room, "content": "c", "id": "m"})
    await ada.hear()

    ada.emit("message:delete", "m", ack=1)
    await ada.expect_refused(1, ReplyCode.CONFLICT)
    ada.emit("room:leave", "r")
    await ada.expect("room:left")
    ada.emit("message:delete", "m")

    await ada.expect("message:delete", "m")
    assert ada.places == {"s": 2}


async def test_deleting_twice_is_acknowledged_twice(house: House) -> None:
    """A client that got no answer asks again, and the answer is the same."""
    ada, bob = await in_a_room(house)

    ada.emit("message:delete", "m", ack=1)
    await ada.expect("message:delete")
    first = await ada.expect_ack(1, ok=True, duplicate=False)
    ada.emit("message:delete", "m", ack=2)

    assert await ada.expect_ack(2) == first | {"duplicate": True}
    assert len(await bob.hear()) == 1


async def test_sending_twice_under_one_id_is_one_message(house: House) -> None:
    """The second acknowledgement says so."""
    ada, bob = await in_a_room(house)

    ada.emit("message:send", {"teamId": "r", "content": "c", "id": "m"}, ack=1)

    await ada.expect_ack(1, ok=True, id="m", seq=1, duplicate=True)
    await bob.expect_nothing()


async def test_somebody_elses_message_is_not_ones_own_to_change(guarded: House) -> None:
    """Nor to delete, without a moderator's token."""
    bob = await guarded.call({"token": guarded.token("bob")}).connect()
    await bob.join("r")
    async with guarded.lobby.join("r", user="ada") as seat:
        await seat.post("c", key="m")
    await bob.hear()

    bob.emit("message:edit", "m", "new", ack=1)
    await bob.expect_refused(1, ReplyCode.FORBIDDEN)
    bob.emit("message:delete", "m", ack=2)

    await bob.expect_refused(2, ReplyCode.FORBIDDEN)


async def test_typing_stops_by_itself(autojump_clock: MockClock, house: House) -> None:
    """After thirty seconds, for the others; who joins meanwhile is told."""
    ada, bob = await in_a_room(house)
    ada.emit("typing:start", "r")
    await bob.expect("typing:start")
    eve = await house.connect("eve", "r")
    (said, _) = await eve.expect("typing:start")
    await bob.hear()

    await trio.sleep(31)

    assert (said["userId"], said["teamId"]) == ("ada", "r")
    await bob.expect("typing:stop")
    await eve.expect("typing:stop")
    assert "typing:stop" not in [name for name, _ in await ada.hear()]
