"""Coming back while something else goes on: the old connection, another return, a restart, a store that is away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import socketio.packet
import trio
from trio.testing import wait_all_tasks_blocked

from trio_chat.clients.recovery import RecoveryStatistics
from trio_chat.errors import CloseCode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio.testing import MockClock


from .house import LISTS, TOO_DEEP, Client, Gate, House, nobody_new


async def test_who_comes_back_takes_the_place_of_its_old_connection(house: House) -> None:
    """The old link ends, the others see no coming and going, and there is one member of it."""
    bob = await house.connect("bob", "r")
    ada = await house.connect("ada", "r")
    await bob.hear()
    await house.post("one")
    await bob.hear()

    old = ada.come_back()
    await ada.expect_connected()
    heard = await ada.hear()

    assert ada.recovered
    assert [name for name, _ in heard] == ["message:new", *LISTS]
    assert old.closed == (CloseCode.NORMAL, "you have come back on another connection")
    await bob.expect_nothing()
    assert house.members_of("r") == 2
    assert house.recoveries.statistics().held == 2


async def test_an_old_connection_says_nothing_more(house: House) -> None:
    """And takes nothing with it when it ends."""
    ada = await house.connect("ada", "r")
    old = ada.come_back()
    await ada.expect_connected()
    await ada.hear()
    old.said.clear()

    await house.post("one")

    assert await ada.texts() == ["one"]
    assert not old.said
    assert [name for name, _ in await ada.recover()] == LISTS


async def test_coming_back_needs_no_further_connection(build: Callable[..., Awaitable[House]]) -> None:
    """The old one counts no longer."""
    house = await build(max_connections_per_user=1)
    ada = await house.connect("ada", "r")

    ada.come_back()
    await ada.expect_connected()

    assert ada.recovered
    await wait_all_tasks_blocked()
    assert house.registry.statistics().connections == 1


async def test_coming_back_in_no_room_needs_no_further_connection(
    build: Callable[..., Awaitable[House]],
) -> None:
    """Although nothing is recovered, the old connection is known to be gone."""
    house = await build(max_connections_per_user=1)
    ada = await house.connect("ada")
    pid = ada.pid

    old = ada.come_back()

    await nobody_new(ada, pid)
    assert old.closed is not None
    assert house.registry.statistics().connections == 1
    assert house.recoveries.statistics() == RecoveryStatistics(held=1, away=0, unwritten=0)


async def test_who_comes_back_twice_at_once_is_there_once(house: House) -> None:
    """The last connection is the client's, although it has not heard what the one before was told."""
    bob = await house.connect("bob", "r")
    ada = await house.connect("ada", "r")
    await bob.hear()
    first = ada.come_back()
    await wait_all_tasks_blocked()
    second = ada.come_back()

    await ada.expect_connected()
    await ada.hear()

    assert first.closed is not None
    assert second.closed is not None
    assert ada.recovered
    assert house.members_of("r") == 2
    await bob.expect_nothing()
    await house.post("one")
    assert await ada.texts() == ["one"]


async def test_who_comes_back_while_coming_back_is_there_once(house: House) -> None:
    """A connection that waits for its rooms gives way as any other does."""
    ada, bob = await house.connect("ada", "a", "r"), await house.connect("bob", "r")
    await ada.hang_up()
    gate = Gate(house.hot, "append")
    bob.emit("message:send", {"teamId": "r", "content": "c"})
    await wait_all_tasks_blocked()
    ada.come_back()
    await ada.expect_nothing()
    first = ada.come_back()
    await ada.expect_nothing()

    gate.open()
    await ada.expect_connected()

    assert ada.recovered
    assert first.closed is not None
    assert not first.said
    assert await ada.texts() == ["c"]
    assert house.members_of("a") == 1
    assert house.members_of("r") == 2


async def waiting(house: House) -> tuple[Client, Gate]:
    """Return ada, who comes back to "a", which has answered, and to "r", which has not."""
    ada = await house.connect("ada", "a", "r")
    bob = await house.connect("bob", "r")
    await ada.hear()
    await ada.hang_up()
    await house.post("a1", room="a", user="eve")
    gate = Gate(house.hot, "append")
    bob.emit("message:send", {"teamId": "r", "content": "r1"})
    await wait_all_tasks_blocked()
    ada.come_back()
    await ada.expect_nothing()
    return ada, gate


async def test_what_is_said_until_the_last_room_answers_comes_behind_it(house: House) -> None:
    """Neither lost nor twice, and in the order of each room."""
    ada, gate = await waiting(house)
    await house.post("a2", "a3", room="a", user="eve")
    await ada.expect_nothing()

    gate.open()
    await ada.expect_connected()
    heard = await ada.hear()
    await house.post("r2", user="eve")
    await house.post("a4", room="a", user="eve")

    assert ada.recovered
    texts = [said["content"] for name, said in heard if name == "message:new"]
    assert texts == ["a1", "r1", "a2", "a3"]
    assert await ada.texts() == ["r2", "a4"]
    assert ada.places == {"a": 4, "r": 2}


@pytest.mark.parametrize("count", range(12))
async def test_what_was_held_may_be_cut_anywhere(house: House, count: int) -> None:
    """Each event's offset says what has arrived, of what was missed and of what was held."""
    ada, gate = await waiting(house)
    await house.post("a2", "a3", room="a", user="eve")
    gate.open()
    await ada.expect_connected()
    texts: list[str] = []
    for _ in range(min(count, len(ada.link.said))):
        packet = await ada.next(socketio.packet.EVENT)
        texts += [packet.data[1]["content"]] if packet.data[0] == "message:new" else []

    texts += [said["content"] for name, said in await ada.recover() if name == "message:new"]

    assert sorted(texts) == ["a1", "a2", "a3", "r1"]


async def test_who_hangs_up_while_coming_back_may_come_back(house: House) -> None:
    """It has been told nothing, so it has missed nothing more."""
    ada, gate = await waiting(house)
    await ada.hang_up()
    gate.open()
    await wait_all_tasks_blocked()
    assert house.users_in("a") == set()

    ada.come_back()
    await ada.expect_connected()

    assert ada.recovered
    assert sorted(await ada.texts()) == ["a1", "r1"]


@pytest.mark.parametrize("event", ['2["heartbeat"]', TOO_DEEP])
async def test_an_event_before_the_answer_ends_the_session(house: House, event: str) -> None:
    """A client that comes back is not connected until it is told so."""
    ada, gate = await waiting(house)
    ada.say(event)

    await ada.expect_closed(CloseCode.PROTOCOL_ERROR)
    gate.open()
    await wait_all_tasks_blocked()
    assert house.users_in("a") == set()


async def test_who_disconnects_while_coming_back_is_gone(house: House) -> None:
    """On purpose: it is told nothing, and is nobody when it comes back."""
    ada, gate = await waiting(house)
    ada.say("1")
    gate.open()
    await ada.expect_nothing()
    pid = ada.pid

    ada.come_back()

    await nobody_new(ada, pid)
    assert house.users_in("a") == set()
    assert house.users_in("r") == {"bob"}


async def test_a_room_that_puts_one_out_while_coming_back_is_told_of(house: House) -> None:
    """The client hears that it is out, and the offset of what follows does not matter there."""
    ada, gate = await waiting(house)
    house.lobby.rooms["a"].close("it failed")
    gate.open()
    await ada.expect_connected()
    heard = await ada.hear()

    assert ada.recovered
    assert ("room:error", "it failed") in heard
    assert [name for name, _ in await ada.recover()] == LISTS
    assert house.users_in("r") == {"ada", "bob"}


async def test_an_empty_room_does_not_keep_one_from_the_others(
    autojump_clock: MockClock, house: House
) -> None:
    """No store knows a session without a message: after a restart it is another one, whose history comes."""
    house.nursery.start_soon(house.recoveries.run)
    await trio.sleep(1)
    ada = await house.connect("ada", "r", "s")
    await house.post("one")
    await ada.hear()
    await house.restart()
    await house.post("two")
    await house.post("three", room="s")

    ada.come_back()
    await ada.expect_connected()
    heard = await ada.hear()

    assert ada.recovered
    assert sorted(name for name, _ in heard) == sorted(["message:new", "messages:history", *LISTS, *LISTS])
    assert [said["content"] for name, said in heard if name == "message:new"] == ["two"]
    assert [said[0]["content"] for name, said in heard if name == "messages:history"] == ["three"]
    assert ada.places == {"r": 2, "s": 1}


async def test_who_comes_back_after_a_restart_is_recovered(autojump_clock: MockClock, house: House) -> None:
    """The rooms are noted in the hot store: what was missed comes once, as if nothing had happened."""
    house.nursery.start_soon(house.recoveries.run)
    await trio.sleep(1)
    ada = await house.connect("ada", "r", "s")
    await house.post("one", room="r")
    await house.post("two", room="s")
    await ada.hear()
    await house.restart()
    await house.post("three", room="r")
    await house.post("four", room="s")

    ada.come_back()
    await ada.expect_connected()

    assert ada.recovered
    assert sorted(await ada.texts()) == ["four", "three"]
    await house.post("five")
    assert await ada.texts() == ["five"]
    assert ada.places == {"r": 3, "s": 2}


async def test_who_has_no_offset_after_a_restart_gets_the_history(
    autojump_clock: MockClock, house: House
) -> None:
    """Nothing has reached it, so there is nothing that the note could be older than."""
    house.nursery.start_soon(house.recoveries.run)
    await trio.sleep(1)
    ada = await house.connect("ada", "r")
    await house.post("one")
    await ada.hear()
    await house.restart()
    ada.offset = None

    ada.come_back()
    await ada.expect_connected()

    assert ada.recovered
    assert [name for name, _ in await ada.hear()] == ["messages:history", *LISTS]


async def test_who_left_its_rooms_is_not_put_back_by_an_old_note(
    autojump_clock: MockClock, house: House
) -> None:
    """The server was killed before the note was replaced: the client knows better."""
    house.nursery.start_soon(house.recoveries.run)
    await trio.sleep(1)
    ada = await house.connect("ada", "r")
    await ada.hear()
    gate = Gate(house.hot, "keep")
    ada.emit("room:leave", "r")
    await ada.expect("room:left")
    await house.restart()
    pid = ada.pid

    ada.come_back()

    await nobody_new(ada, pid)
    assert house.users_in("r") == set()
    gate.open()


async def test_while_the_store_is_asked_nobody_is_connected(autojump_clock: MockClock, house: House) -> None:
    """A second CONNECT or an event ends the session, as at any time."""
    gate = Gate(house.hot, "kept")
    ada = house.call({"userId": "ada", "pid": "somebody"})
    ada.ask_to_connect()
    await ada.expect_nothing()
    ada.ask_to_connect()
    await ada.expect_closed(CloseCode.PROTOCOL_ERROR)
    gate.open()

    await wait_all_tasks_blocked()
    assert house.registry.statistics().connections == 0


async def test_who_disconnects_while_the_store_is_asked_is_not_connected(
    autojump_clock: MockClock, house: House
) -> None:
    """There is nothing to disconnect yet: that breaks the protocol, and nobody stays behind."""
    gate = Gate(house.hot, "kept")
    ada = house.call({"userId": "ada", "pid": "somebody"})
    ada.ask_to_connect()
    await ada.expect_nothing()
    ada.say("1")
    gate.open()

    await ada.expect_closed(CloseCode.PROTOCOL_ERROR)
    assert house.registry.statistics().connections == 0


async def test_a_store_that_hangs_is_waited_for_a_second(autojump_clock: MockClock, house: House) -> None:
    """Then the client is somebody new."""
    Gate(house.hot, "kept")
    ada = house.call({"userId": "ada", "pid": "somebody"})
    ada.ask_to_connect()
    await ada.expect_nothing()

    await trio.sleep(1.1)

    await nobody_new(ada, "somebody")


async def test_while_the_store_is_away_coming_back_works_here(house: House) -> None:
    """Rooms go on in memory, and so do ways back."""
    ada = await house.connect("ada", "r")
    house.hot.set_healthy(False)
    await house.post("one")
    await ada.hang_up()
    await house.post("two")

    ada.come_back()
    await ada.expect_connected()

    assert ada.recovered
    assert await ada.texts() == ["one", "two"]
