"""Rooms: who may be in them, and what one may do there."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from trio.testing import wait_all_tasks_blocked

from trio_chat.clients.native import NativeVoice
from trio_chat.clients.registry import RegistryStatistics
from trio_chat.errors import CloseCode, ReplyCode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio.testing import MockClock


from .house import House, block


async def test_nothing_can_be_asked_of_a_room_that_is_not_joined(house: House) -> None:
    """Being somebody is not enough; each request needs the membership."""
    client = await house.greet()
    where = {"room": "r", "ref": 1}

    for kind, fields in [
        ("room:leave", {}),
        ("message:send", {"content": "c"}),
        ("message:edit", {"id": "m", "content": "c"}),
        ("message:delete", {"id": "m"}),
        ("typing:start", {}),
        ("typing:stop", {}),
        ("receipt:update", {"lastReadMessageId": "m"}),
        ("history:get", {}),
    ]:
        client.say(kind, **where, **fields)
        await client.expect_refused(ReplyCode.NOT_JOINED, ref=1, room="r")
    assert not house.lobby.rooms


async def test_a_room_that_was_left_is_not_joined(house: House) -> None:
    """After leaving, nothing is heard and nothing can be said."""
    ada, bob = await house.greet("ada"), await house.greet("bob")
    await ada.join()
    await bob.join()
    ada.say("room:leave", room="r")
    await ada.skip()

    await bob.skip()
    await bob.send()
    ada.say("message:send", room="r", content="c")

    await ada.expect_refused(ReplyCode.NOT_JOINED)
    await ada.expect_nothing()


async def test_a_room_is_joined_once(house: House) -> None:
    """A second join is refused, even before the first is answered."""
    client = await house.greet()

    client.say("room:join", room="r", ref=1)
    client.say("room:join", room="r", ref=2)

    await client.expect_refused(ReplyCode.ALREADY_JOINED, ref=2)
    await client.expect("room:joined", ref=1)


async def test_join_leave_and_join_in_one_breath(autojump_clock: MockClock, house: House) -> None:
    """Requests that were sent together are carried out in order: in the end one is in, once."""
    client = await house.greet()

    client.say("room:join", room="r", ref=1)
    client.say("room:leave", room="r", ref=2)
    client.say("room:join", room="r", ref=3)
    await wait_all_tasks_blocked()
    answers = [said["ref"] for said in client.link.heard if "ref" in said]
    client.link.heard.clear()

    assert answers == [1, 2, 3]
    assert house.lobby.rooms["r"].statistics().members == 1
    await client.send()


async def test_join_and_leave_in_one_breath(autojump_clock: MockClock, house: House) -> None:
    """Who leaves right after joining is out."""
    client = await house.greet()

    client.say("room:join", room="r")
    client.say("room:leave", room="r")
    await wait_all_tasks_blocked()

    assert house.lobby.rooms["r"].statistics().members == 0


async def test_join_and_hang_up_in_one_breath(autojump_clock: MockClock, house: House) -> None:
    """A connection that breaks while its join is on the way leaves nobody behind."""
    client = await house.greet()

    client.say("room:join", room="r")
    client.hang_up()
    await wait_all_tasks_blocked()

    assert house.lobby.rooms["r"].statistics().members == 0


async def test_a_connection_is_in_as_many_rooms_as_allowed(build: Callable[..., Awaitable[House]]) -> None:
    """One more is refused until one is left."""
    house = await build(max_rooms_per_connection=2)
    client = await house.greet()
    await client.join("a")
    await client.join("b")

    client.say("room:join", room="c", ref=1)
    await client.expect_refused(ReplyCode.TOO_MANY_ROOMS, ref=1, room="c")
    client.say("room:leave", room="a")
    await client.expect("room:left")

    await client.join("c")


async def test_a_token_opens_its_rooms_only(guarded: House) -> None:
    """A foreign room is refused alike, whether or not it exists."""
    somebody = await guarded.greet_with_token(user="bob")
    await somebody.join("other/here")
    client = await guarded.greet_with_token(rooms=("team/*",))

    for room in ("other/here", "other/nowhere"):
        client.say("room:join", room=room, ref=1)
        refusal = await client.expect_refused(ReplyCode.FORBIDDEN, ref=1, room=room)
        assert refusal["message"] == "room: not yours to join"
    await client.join("team/general")
    assert set(guarded.lobby.rooms) == {"other/here", "team/general"}


@pytest.mark.parametrize(
    ("roles", "role", "allowed"),
    [
        ((), "user", True),
        ((), "assistant", False),
        ((), "system", False),
        (("assistant",), "assistant", True),
        (("assistant",), "system", False),
        (("system",), "system", True),
        (("admin", "moderator"), "assistant", False),
    ],
)
async def test_a_token_says_as_what_one_may_speak(
    guarded: House, roles: tuple[str, ...], role: str, allowed: bool
) -> None:
    """Everybody is a user; assistants and systems need the role."""
    client = await guarded.greet_with_token(roles=roles)
    await client.join()

    client.say("message:send", room="r", content="c", role=role, ref=1)

    if allowed:
        new = await client.expect("message:new")
        assert new["message"]["role"] == role
    else:
        await client.expect_refused(ReplyCode.FORBIDDEN, ref=1)


async def test_only_moderators_touch_other_peoples_messages(guarded: House) -> None:
    """The author and a moderator may edit and delete; nobody else."""
    author = await guarded.greet_with_token(user="ada")
    other = await guarded.greet_with_token(user="bob", roles=["admin", "assistant"])
    moderator = await guarded.greet_with_token(user="eve", roles=["moderator"])
    for client in (author, other, moderator):
        await client.join()
    await author.skip()
    ack = await author.send()
    await other.skip()
    await moderator.skip()

    other.say("message:edit", room="r", id=ack["id"], content="d")
    await other.expect_refused(ReplyCode.FORBIDDEN)
    other.say("message:delete", room="r", id=ack["id"])
    await other.expect_refused(ReplyCode.FORBIDDEN)
    moderator.say("message:edit", room="r", id=ack["id"], content="d")
    update = await moderator.expect("message:update")
    await moderator.expect("ack", seq=2)
    moderator.say("message:delete", room="r", id=ack["id"])
    await moderator.expect("message:delete", id=ack["id"])

    assert (update["message"]["userId"], update["message"]["content"]) == ("ada", "d")


async def test_a_full_room_refuses_for_now(build: Callable[..., Awaitable[House]]) -> None:
    """One message is taken at once and two may wait; what is more is refused as temporary, with its ref."""
    house = await build(mailbox_limit=2)
    client = await house.greet()
    await client.join()

    for ref in range(5):
        client.say("message:send", room="r", content="c", ref=ref)

    await client.expect_refused(ReplyCode.OVERLOADED, ref=3, room="r")
    await client.expect_refused(ReplyCode.OVERLOADED, ref=4, room="r")


async def test_a_closed_room_puts_its_members_out(house: House) -> None:
    """They are told once, and may join again later."""
    client = await house.greet()
    await client.join()

    house.lobby.rooms["r"].close("it failed")
    await client.expect_refused(ReplyCode.ROOM_CLOSED, room="r")
    client.say("message:send", room="r", content="c")
    await client.expect_refused(ReplyCode.NOT_JOINED)

    await client.join()


async def test_who_cannot_be_told_that_a_room_is_closed_is_disconnected(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A client that would believe itself in the room for ever has to come back."""
    client = await house.greet()
    await client.join()

    with monkeypatch.context() as patched, caplog.at_level(logging.ERROR):
        patched.setattr(NativeVoice, "tell", _fail)
        house.lobby.rooms["r"].close("it failed")

    assert "come back and resume" in await client.expect_closed(CloseCode.INTERNAL_ERROR)
    assert "could not be told" in caplog.text


def _fail(*_: object) -> None:
    raise RuntimeError("a voice that fails")


async def test_a_join_that_fails_is_no_membership(autojump_clock: MockClock, house: House) -> None:
    """The room may be joined again after the error."""
    client = await house.greet()
    house.hot.interfere = block
    client.say("room:join", room="r", ref=1)
    await wait_all_tasks_blocked()

    house.lobby.rooms["r"].close("it failed")
    await client.expect_refused(ReplyCode.ROOM_CLOSED, ref=1, room="r")
    house.hot.interfere = None

    await client.join()


async def test_a_leave_that_meets_the_end_of_its_room_is_answered(
    autojump_clock: MockClock, house: House
) -> None:
    """With the error: one is out either way."""
    client = await house.greet()
    await client.join()
    house.hot.interfere = block
    client.say("message:send", room="r", content="c")
    await wait_all_tasks_blocked()

    client.say("room:leave", room="r", ref=1)
    house.lobby.rooms["r"].close("it failed")

    await client.expect_refused(ReplyCode.ROOM_CLOSED)
    await client.expect_refused(ReplyCode.ROOM_CLOSED, ref=1, room="r")


async def test_who_is_gone_has_left_every_room(house: House) -> None:
    """The others learn it, the registry forgets it, and nothing is heard any more."""
    ada, bob = await house.greet("ada"), await house.greet("bob")
    for room in ("a", "b"):
        await ada.join(room)
        await bob.join(room)
        await ada.skip()

    ada.hang_up()

    left = [await bob.expect("presence:update", userId="ada", isActive=False) for _ in range(2)]
    assert {said["room"] for said in left} == {"a", "b"}
    assert house.registry.statistics() == RegistryStatistics(users=1, connections=1)
    assert {room.statistics().members for room in house.lobby.rooms.values()} == {1}
