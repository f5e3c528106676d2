"""Joining and leaving: histories, offsets, limits, rooms that end."""

from __future__ import annotations

import weakref
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from trio.testing import wait_all_tasks_blocked

from trio_chat.errors import ReplyCode, Unavailable
from trio_chat.mail import Join, Mail

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


from .house import LISTS, Gate, House, in_a_room


async def test_joining_again_sends_the_history_again(house: House) -> None:
    """A front end that starts over asks for it; nobody else notices."""
    ada, bob = await in_a_room(house)

    ada.emit("room:join", "r", ack=1)

    answer = await ada.expect_ack(1, ok=True, recovered=False, seq=1)
    messages, about, _ = await ada.expect("messages:history")
    assert [message["id"] for message in messages] == ["m"]
    assert about == {"teamId": "r", "epoch": answer["epoch"], "seq": 1}
    for name in LISTS:
        await ada.expect(name)
    assert house.members_of("r") == 2
    await bob.expect_nothing()


async def test_history_is_not_sent_to_who_does_not_read(house: House) -> None:
    """Joining again and again fills nobody's memory."""
    ada, _ = await in_a_room(house)
    ada.link.behind = True

    ada.emit("room:join", "r", ack=1)

    await ada.expect_refused(1, ReplyCode.OVERLOADED)


async def test_only_so_many_joins_wait_for_a_room(house: House) -> None:
    """Each may bring a whole history. When the room has answered there is room for more."""
    ada, bob = await in_a_room(house)
    gate = Gate(house.hot, "append")
    bob.emit("message:send", {"teamId": "r", "content": "c"})
    await wait_all_tasks_blocked()
    for _ in range(4):
        ada.emit("room:join", "r")

    ada.emit("room:join", "r", ack=1)
    await ada.expect_refused(1, ReplyCode.OVERLOADED)
    ada.emit("room:join", "s")
    gate.open()

    names = [name for name, _ in await ada.hear()]
    assert names.count("messages:history") == 5
    await ada.join("r")


async def test_a_token_opens_its_rooms_only(guarded: House) -> None:
    """Whether or not the others exist."""
    client = await guarded.call({"token": guarded.token(rooms=("r",))}).connect()
    client.emit("room:join", "s", ack=1)

    await client.expect_refused(1, ReplyCode.FORBIDDEN)
    await client.join("r")


async def test_a_client_may_be_in_so_many_rooms(build: Callable[..., Awaitable[House]]) -> None:
    """Joining one again is not one more."""
    house = await build(max_rooms_per_connection=2)
    client = await house.connect("ada", "r", "s")
    client.emit("room:join", "t", ack=1)

    await client.expect_refused(1, ReplyCode.TOO_MANY_ROOMS)
    await client.join("s")


async def test_the_offset_has_every_room(house: House) -> None:
    """What any room says leaves the places in the others as they were."""
    ada = await house.connect("ada", "r", "s")
    assert ada.places == {"r": 0, "s": 0}

    await house.post("one", "two", room="r")
    await ada.hear()
    assert ada.places == {"r": 2, "s": 0}
    await house.post("one", room="s")
    await ada.hear()

    assert ada.places == {"r": 2, "s": 1}


async def test_the_offset_has_what_was_heard_before_another_room_was_joined(house: House) -> None:
    """In the first room the client is where its last message was, and not where it came in."""
    ada = await house.connect("ada", "r")
    await house.post("one", "two", room="r")
    await ada.hear()

    await ada.join("s")

    assert ada.places == {"r": 2, "s": 0}
    await house.post("three", room="r")
    await ada.hear()
    assert ada.places == {"r": 3, "s": 0}


@pytest.mark.parametrize("put_out", [False, True])
async def test_who_has_left_keeps_nothing_of_the_room(house: House, put_out: bool) -> None:
    """Its voice has the whole window encoded, and a client may stay connected for days without a room."""
    ada = await house.connect("ada", "r")
    await house.post("one")
    room = house.lobby.rooms["r"]
    [member] = room.audience
    voice = weakref.ref(room.audience.add(member, datetime.now(UTC))[0])
    assert voice() is not None

    if put_out:
        room.close("closed")
    else:
        ada.emit("room:leave", "r")
    await ada.hear()

    assert voice() is None


async def test_who_disconnects_hears_nothing_of_a_message_on_its_way(house: House) -> None:
    """To its client the namespace is closed, although the room has yet to hear of it."""
    ada, bob = await in_a_room(house)
    await house.post("heard")
    assert await ada.texts() == ["heard"]
    gate = Gate(house.hot, "append")
    bob.emit("message:send", {"teamId": "r", "content": "on its way"})
    await wait_all_tasks_blocked()

    ada.say("1")
    gate.open()

    assert await bob.texts() == ["heard", "on its way"]
    await ada.expect_nothing()


async def test_after_leaving_the_offset_has_the_others(house: House) -> None:
    """And in no room it is that of somebody who has left them all."""
    ada = await house.connect("ada", "r", "s")
    await house.post("one", room="s")
    await ada.hear()

    ada.emit("room:leave", "r")
    await ada.expect("room:left", {"teamId": "r"})
    assert ada.places == {"s": 1}
    ada.emit("room:leave", "s", ack=1)
    await ada.expect("room:left", {"teamId": "s"}, "-")

    await ada.expect_ack(1, ok=True)


async def test_in_one_room_all_get_the_same_bytes(house: House) -> None:
    """Encoding a message costs the same for two clients and for two thousand; who is in two rooms is told more."""
    ada, bob, eve = (
        await house.connect("ada", "r"),
        await house.connect("bob", "r"),
        await house.connect("eve", "r", "s"),
    )
    for client in (ada, bob, eve):
        await client.hear()

    await house.post("hi", user="dan")

    said = [(await client.hear())[1] for client in (ada, bob, eve)]
    assert said[0] == said[1] == said[2]
    assert ada.offset == bob.offset != eve.offset
    assert eve.places == ada.places | {"s": 0}


async def test_leaving_and_joining_at_once_ends_inside(house: House) -> None:
    """Requests to a room are carried out in order."""
    ada = await house.connect("ada", "r", "s")
    ada.emit("room:leave", "r")
    ada.emit("room:join", "r")

    assert [name for name, _ in await ada.hear()] == ["room:left", "messages:history", *LISTS]
    assert ada.places == {"r": 0, "s": 0}
    await house.post("hi")
    assert await ada.texts() == ["hi"]


async def test_joining_and_leaving_at_once_ends_outside(house: House) -> None:
    """The offset does not name the room."""
    ada = await house.connect("ada")
    ada.emit("room:join", "r")
    ada.emit("room:leave", "r")
    await ada.hear()

    assert ada.offset == "-"
    assert house.users_in("r") == set()


async def test_a_room_that_is_closed_puts_its_members_out(house: House) -> None:
    """They are told why, and may join again; who comes back is put into the rooms that are left."""
    ada = await house.connect("ada", "r", "s")
    house.lobby.rooms["r"].close("it failed")

    text, detail, _ = await ada.expect("room:error")
    assert (text, detail) == ("it failed", {"code": "room_closed", "temporary": True, "teamId": "r"})
    assert [name for name, _ in await ada.recover()] == LISTS
    assert house.users_in("s") == {"ada"}
    assert house.users_in("r") == set()
    await ada.join("r")


def lose_first_join(house: House, monkeypatch: pytest.MonkeyPatch) -> deque[Join]:
    """Keep the first join from its room, as the crash of a room does that concerns one mail. Returns where it is."""
    deliver, lost = house.lobby.mail, deque[Join]()

    def mail(room: str, mail: Mail) -> None:
        if isinstance(mail, Join) and not lost:
            lost.append(mail)
        else:
            deliver(room, mail)

    # Nothing else makes a room fail on one mail.
    monkeypatch.setattr(house.lobby, "mail", mail)
    return lost


@pytest.mark.parametrize("again", [["room:join"], ["room:leave", "room:join"]])
async def test_a_join_that_fails_before_another_leaves_no_ghost(
    house: House, monkeypatch: pytest.MonkeyPatch, again: list[str]
) -> None:
    """A room may fail on the first and carry out the second: the client is in, and leaves when it goes."""
    lost = lose_first_join(house, monkeypatch)
    ada = await house.connect()
    ada.emit("room:join", "r", ack=1)
    for name in again:
        ada.emit(name, "r")
    lost[0].answer(Unavailable("the room failed on this request"))
    await ada.hear()

    ada.emit("message:send", {"teamId": "r", "content": "c"}, ack=2)
    await ada.expect("message:new")
    await ada.expect_ack(2, ok=True)
    await ada.hang_up()

    assert house.users_in("r") == set()
