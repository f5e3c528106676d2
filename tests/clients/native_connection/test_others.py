"""What others hear, and what somebody hears who comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_chat.errors import ReplyCode

if TYPE_CHECKING:
    from trio.testing import MockClock


from .house import House

EPOCH = "01890a5d-ac96-774b-bcce-b302099a8057"


# --- Among others


async def test_everybody_hears_every_change_in_one_order(autojump_clock: MockClock, house: House) -> None:
    """The sender too."""
    ada, bob = await house.greet("ada"), await house.greet("bob")
    await ada.join()
    await bob.join()
    await ada.skip()

    ada.say("message:send", room="r", content="1", id="m")
    bob.say("message:send", room="r", content="2")
    ada.say("message:edit", room="r", content="3", id="m")
    await wait_all_tasks_blocked()

    for client in (ada, bob):
        heard = [(said["type"], said["seq"]) for said in client.link.heard if said["type"] != "ack"]
        assert heard == [("message:new", 1), ("message:new", 2), ("message:update", 3)]


async def test_typing_is_told_to_the_others(house: House) -> None:
    """Who types does not hear of it, on no connection; what is told may be dropped for a slow reader."""
    ada, too, bob = await house.greet("ada"), await house.greet("ada"), await house.greet("bob")
    for client in (ada, too, bob):
        await client.join()
    for client in (ada, too, bob):
        await client.skip()

    ada.say("typing:start", room="r")
    ada.say("typing:stop", room="r")

    await bob.expect("typing:start", room="r", userId="ada")
    await bob.expect("typing:stop", room="r", userId="ada")
    assert bob.link.droppable[-2:] == [True, True]
    await ada.expect_nothing()
    await too.expect_nothing()


async def test_receipts_are_told_to_all_and_to_those_who_come(house: House) -> None:
    """How far somebody has read only ever moves forward."""
    ada, bob = await house.greet("ada"), await house.greet("bob")
    await ada.join()
    await ada.send(id="m1")
    await ada.send(id="m2")

    ada.say("receipt:update", room="r", lastReadMessageId="m2")
    mark = await ada.expect("receipt:update", room="r", userId="ada", lastReadMessageId="m2")
    ada.say("receipt:update", room="r", lastReadMessageId="m1")
    await ada.expect_nothing()
    bob.say("room:join", room="r")
    await bob.expect("room:joined")
    await bob.expect("messages:history")

    receipts = await bob.expect("receipt:list")
    assert receipts["receipts"] == {"ada": {"lastReadMessageId": "m2", "timestamp": mark["timestamp"]}}


async def test_presence_is_per_user(house: House) -> None:
    """A user comes with the first connection and is gone with the last."""
    bob = await house.greet("bob")
    await bob.join()
    one, two = await house.greet("ada"), await house.greet("ada")

    await one.join()
    await bob.expect("presence:update", userId="ada", isActive=True)
    joined = await two.join()
    await bob.expect_nothing()
    one.hang_up()
    await bob.expect_nothing()
    two.say("room:leave", room="r")

    await bob.expect("presence:update", userId="ada", isActive=False)
    assert joined["members"] == ["bob", "ada"]


# --- Coming back


async def test_who_comes_back_gets_what_changed(house: House) -> None:
    """A resume in the window brings the changes, in order, and says that they are complete."""
    ada, bob = await house.greet("ada"), await house.greet("bob")
    await ada.join()
    place = await ada.send(id="m1")
    await ada.send(id="m2")
    ada.say("message:delete", room="r", id="m1")
    await ada.skip()

    bob.say("room:join", room="r", resume={"epoch": place["epoch"], "seq": place["seq"]})

    await bob.expect("room:joined", recovered=True, seq=3)
    await bob.expect("message:new", seq=2)
    await bob.expect("message:delete", seq=3, id="m1")
    await bob.expect("room:live", epoch=place["epoch"], seq=3)


@pytest.mark.parametrize("seq", [0, 5])
async def test_a_position_of_no_session_brings_the_window(house: House, seq: int) -> None:
    """Another epoch, or more than there ever was, is no position here."""
    client = await house.greet()
    await client.join()
    ack = await client.send()
    client.say("room:leave", room="r")
    await client.skip()

    epoch = EPOCH if seq == 0 else ack["epoch"]
    client.say("room:join", room="r", resume={"epoch": epoch, "seq": seq})

    await client.expect("room:joined", recovered=False, seq=1)
    history = await client.expect("messages:history")
    assert [one["id"] for one in history["messages"]] == [ack["id"]]


async def test_a_resume_that_is_no_position_is_refused(house: House) -> None:
    """Nothing is joined."""
    client = await house.greet()

    client.say("room:join", room="r", resume={"epoch": "", "seq": 1}, ref=1)

    await client.expect_refused(ReplyCode.BAD_REQUEST, ref=1)
    assert not house.lobby.rooms


async def test_an_expired_session_is_told_and_the_next_message_begins_another(
    autojump_clock: MockClock, house: House
) -> None:
    """Twenty minutes after the last activity; heartbeats are none."""
    client = await house.greet()
    await client.join()
    first = await client.send()

    for _ in range(11):
        await trio.sleep(100)
        client.say("heartbeat")
    await client.skip()
    await trio.sleep(99)
    await client.expect_nothing()
    await trio.sleep(2)

    await client.expect("session:expired", room="r", epoch=first["epoch"])
    second = await client.send()
    assert second["seq"] == 1
    assert second["epoch"] > first["epoch"]
