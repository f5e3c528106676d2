"""Clients that cannot come back: no offsets, nothing kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from trio.testing import wait_all_tasks_blocked

from trio_chat.clients.recovery import RecoveryStatistics

if TYPE_CHECKING:
    from trio.testing import MockClock


from .house import LISTS, Gate, House


async def test_who_cannot_come_back_gets_bare_arguments(house: House) -> None:
    """No event ends with an offset, whatever it is about: a handler may take no more than it expects."""
    pia = await house.call_plain("pia").connect()
    for room in ("r", "s"):
        pia.emit("room:join", room)
    bob = await house.connect("bob", "r")
    pia.emit("message:send", {"teamId": "r", "content": "c", "id": "m"})
    bob.emit("typing:start", "r")
    bob.emit("receipt:update", {"teamId": "r", "lastReadMessageId": "m"})
    pia.emit("message:edit", "m", "new")
    pia.emit("message:delete", "m")
    pia.emit("room:leave", "s")
    await wait_all_tasks_blocked()

    heard = {packet.data[0]: packet.data[1:] for packet in pia.link.said}

    assert {len(args) for args in heard.values()} == {1}
    assert set(heard) == {
        *("messages:history", "receipt:list", "presence:list", "presence:update", "room:left"),
        *("message:new", "message:update", "message:delete", "typing:start", "receipt:update"),
    }


async def test_those_who_can_come_back_and_those_who_cannot_hear_the_same(house: House) -> None:
    """In one room, in one order: but for the offsets, and which room a list is about."""
    ada, pia = await house.connect("ada"), await house.call_plain("pia").connect()
    eve = await house.connect("eve", "r")
    for client, name, *args in [
        (ada, "room:join", "r"),
        (pia, "room:join", "r"),
        (eve, "message:send", {"teamId": "r", "content": "one", "id": "m"}),
        (pia, "message:send", {"teamId": "r", "content": "two"}),
        (ada, "receipt:update", {"teamId": "r", "lastReadMessageId": "m"}),
        (eve, "message:edit", "m", "new"),
        (eve, "message:delete", "m"),
        (eve, "room:leave", "r"),
    ]:
        client.emit(name, *args)
        await wait_all_tasks_blocked()

    ours, theirs = await ada.hear(), await pia.hear()

    joined = ["messages:history", *LISTS]
    changes = ["message:new", "message:new", "receipt:update", "message:update", "message:delete"]
    assert [name for name, _ in theirs] == [*joined, *changes, "presence:update"]
    # Pia came later: ada has heard of it, and her lists are without her.
    assert [name for name, _ in ours] == [*joined, "presence:update", *changes, "presence:update"]
    assert ours[4:] == theirs[3:]
    assert ours[:2] == theirs[:2]


async def test_nothing_is_kept_of_who_cannot_come_back(autojump_clock: MockClock, house: House) -> None:
    """Neither here nor in the hot store."""
    house.nursery.start_soon(house.recoveries.run)
    await trio.sleep(1)
    gate = Gate(house.hot, "keep")  # nobody goes through
    pia = await house.call_plain("pia").connect()
    pia.emit("room:join", "r")
    await pia.hear()
    assert house.recoveries.statistics() == RecoveryStatistics(held=1, away=0, unwritten=0)
    assert not gate.reached

    await pia.hang_up()

    assert house.users_in("r") == set()
    assert house.recoveries.statistics() == RecoveryStatistics(held=0, away=0, unwritten=0)


async def test_who_cannot_come_back_is_somebody_new_with_any_pid(house: House) -> None:
    """Even with a good one, which stays good for whoever can."""
    ada = await house.connect("ada", "r")
    await ada.hang_up()
    again = house.call_plain("ada")
    again.auth |= {"pid": ada.pid, "offset": ada.offset}

    await again.connect()

    assert house.users_in("r") == set()
    assert [name for name, _ in await ada.recover()] == LISTS
