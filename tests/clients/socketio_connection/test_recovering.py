"""Coming back: what was missed comes, or everything anew."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import socketio.packet
import trio
from trio.testing import wait_all_tasks_blocked

from trio_chat.clients import offsets
from trio_chat.clients.recovery import RecoveryStatistics

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio.testing import MockClock


from .house import LISTS, Gate, House, nobody_new


async def test_who_comes_back_gets_what_was_missed(house: House) -> None:
    """Once, in order, under the same pid, and everything after it too."""
    ada, bob = await house.connect("ada", "r"), await house.connect("bob", "r")
    await house.post("one")
    await ada.hear()
    await ada.hang_up()
    for text in ("two", "three"):
        bob.emit("message:send", {"teamId": "r", "content": text})
    bob.emit("message:send", {"teamId": "r", "content": "four", "id": "m"})
    bob.emit("message:edit", "m", "five")
    await bob.hear()

    ada.come_back()
    await ada.expect_connected()
    heard = await ada.hear()
    await house.post("six")

    assert ada.recovered
    assert [name for name, _ in heard] == ["message:new"] * 3 + ["message:update", *LISTS]
    assert [said["content"] for _, said in heard[:4]] == ["two", "three", "five", "five"]
    assert set(heard[-1][1]) == {"ada", "bob"}
    assert await ada.texts() == ["six"]
    assert ada.places == {"r": 6}


async def test_who_missed_nothing_gets_the_lists(house: House) -> None:
    """And no welcome, which would take the offset away."""
    ada = await house.connect("ada", "r")

    assert [name for name, _ in await ada.recover()] == LISTS
    assert [name for name, _ in await ada.recover()] == LISTS


async def test_what_was_on_its_way_comes_again(house: House) -> None:
    """What the client has not heard it has missed, whatever the server has sent."""
    ada = await house.connect("ada", "r")
    await house.post("one", "two", "three")
    await wait_all_tasks_blocked()
    while ada.offset is None or "one" not in str(ada.link.said[0].data):
        await ada.next(socketio.packet.EVENT)
    await ada.expect("message:new")

    heard = await ada.recover()

    assert [said["content"] for name, said in heard if name == "message:new"] == ["two", "three"]


async def test_a_history_that_did_not_arrive_is_sent_in_the_replay(house: House) -> None:
    """The client has joined, as far as the server knows, and has no place in the room."""
    await house.post("one")
    ada = await house.connect("ada", "s")
    ada.emit("room:join", "r")
    await wait_all_tasks_blocked()

    heard = await ada.recover()

    # Rooms answer in any order.
    assert sorted(name for name, _ in heard) == sorted(["messages:history", *LISTS, *LISTS])
    assert ada.places == {"r": 1, "s": 0}


async def test_a_join_on_its_way_is_carried_out_in_the_replay(house: House) -> None:
    """The room had not even answered when the connection was lost."""
    ada = await house.connect("ada")
    ada.emit("room:join", "r")

    heard = await ada.recover()

    assert [name for name, _ in heard] == ["messages:history", *LISTS]


@pytest.mark.parametrize("offset", [None, 7, ["0"], {}])
async def test_without_an_offset_the_history_comes(house: House, offset: Any) -> None:
    """A client that says nothing about where it is, is nowhere."""
    ada = await house.connect("ada", "r")
    await house.post("one")
    await ada.hang_up()
    ada.offset = None
    ada.auth = ada.auth | {"offset": offset}

    ada.come_back()
    await ada.expect_connected()

    assert ada.recovered
    assert [name for name, _ in await ada.hear()] == ["messages:history", *LISTS]


async def test_a_heartbeat_does_not_take_the_offset(house: House) -> None:
    """A client keeps the last text of any event, its name included."""
    ada = await house.connect("ada", "r")
    ada.emit("heartbeat")
    await ada.expect("heartbeat")

    assert [name for name, _ in await ada.recover()] == LISTS


async def test_who_comes_back_is_put_into_each_room(house: House) -> None:
    """It gets what it missed in each, and hears both from then on."""
    ada = await house.connect("ada", "r", "s")
    await ada.hang_up()
    await house.post("one", "two", room="r")
    await house.post("three", room="s")

    heard = await ada.recover()
    await house.post("four", room="r")
    await house.post("five", room="s")

    missed = [(said["teamId"], said["content"]) for name, said in heard if name == "message:new"]
    assert sorted(missed) == [("r", "one"), ("r", "two"), ("s", "three")]
    assert await ada.texts() == ["four", "five"]
    assert ada.places == {"r": 3, "s": 2}


@pytest.mark.parametrize("heard", range(9))
async def test_a_replay_of_two_rooms_may_be_cut_anywhere(house: House, heard: int) -> None:
    """Whatever part arrived, the rest comes with the next connection: nothing is missed, nothing comes twice."""
    ada = await house.connect("ada", "r", "s")
    await ada.hang_up()
    await house.post("r1", "r2", room="r")
    await house.post("s1", "s2", room="s")
    ada.come_back()
    await ada.expect_connected()
    texts: list[str] = []
    for _ in range(heard):
        if ada.link.said:
            packet = await ada.next(socketio.packet.EVENT)
            texts += [packet.data[1]["content"]] if packet.data[0] == "message:new" else []
    await ada.hang_up()
    await house.post("r3", room="r")
    await house.post("s3", room="s")

    texts += [said["content"] for name, said in await ada.recover() if name == "message:new"]

    assert sorted(texts) == ["r1", "r2", "r3", "s1", "s2", "s3"]
    assert [text for text in texts if text[0] == "r"] == ["r1", "r2", "r3"]
    assert ada.places == {"r": 3, "s": 3}


async def test_if_one_room_cannot_be_recovered_none_is(build: Callable[..., Awaitable[House]]) -> None:
    """Too much has happened in one of them: the client begins anew, and nobody takes it for a member."""
    house = await build(max_messages_per_session=2)
    bob = await house.connect("bob", "r", "s", "t")
    await house.post("zero", room="s")
    ada = await house.connect("ada", "r", "s", "t")
    await bob.hear()
    await ada.hang_up()
    await house.post("one", "two", "three", room="s", user="eve")
    await bob.hear()
    pid = ada.pid

    ada.come_back()

    await nobody_new(ada, pid)
    assert [house.users_in(room) for room in "rst"] == [{"bob"}] * 3
    present = {room: {"bob"} for room in "rst"}
    for name, said in await bob.hear():
        assert name == "presence:update"
        change = set.add if said["isActive"] else set.discard
        change(present[said["teamId"]], said["userId"])
    assert present == {room: {"bob"} for room in "rst"}
    assert house.recoveries.statistics() == RecoveryStatistics(held=2, away=0, unwritten=1)
    assert [message["content"] for message in await ada.join("s")] == ["two", "three"]


async def test_a_session_that_expired_cannot_be_recovered(
    autojump_clock: MockClock, build: Callable[..., Awaitable[House]]
) -> None:
    """Its messages are gone from the window: the client begins anew."""
    house = await build(session_expiry_seconds=60)
    ada = await house.connect("ada", "r")
    await house.post("one")
    await ada.hear()
    await trio.sleep(59)
    await ada.hang_up()
    await trio.sleep(30)
    pid = ada.pid

    ada.come_back()

    await nobody_new(ada, pid)
    assert await ada.join() == []


async def test_after_a_session_has_expired_its_members_are_recovered_in_the_next(
    autojump_clock: MockClock, build: Callable[..., Awaitable[House]]
) -> None:
    """Whoever was told of the end and heard a message since is in the new session."""
    house = await build(session_expiry_seconds=60)
    ada = await house.connect("ada", "r")
    await house.post("one")
    await ada.hear()
    await trio.sleep(61)
    await ada.expect("session:expired")
    await house.post("two")
    await ada.hear()
    await ada.hang_up()
    await house.post("three")

    ada.come_back()
    await ada.expect_connected()

    assert ada.recovered
    assert await ada.texts() == ["three"]


async def test_a_session_that_expires_spoils_no_other_room(
    autojump_clock: MockClock, build: Callable[..., Awaitable[House]]
) -> None:
    """Whoever was told of the end is at the beginning of the next: that room's new window comes in the replay."""
    house = await build(session_expiry_seconds=60)
    ada = await house.connect("ada", "r", "s")
    await house.post("one", room="r")
    await trio.sleep(30)
    await house.post("two", room="s")
    await ada.hear()
    await trio.sleep(31)
    (said, _) = await ada.expect("session:expired")
    assert said["teamId"] == "r"
    assert ada.places == {"r": 0, "s": 1}
    await ada.hang_up()
    await house.post("three", room="s")
    await house.post("four", room="r")

    heard = await ada.recover()

    assert sorted(name for name, _ in heard) == sorted(["message:new", "messages:history", *LISTS, *LISTS])
    assert [said["content"] for name, said in heard if name == "message:new"] == ["three"]
    assert [said[0]["content"] for name, said in heard if name == "messages:history"] == ["four"]
    assert ada.places == {"r": 1, "s": 2}


# What happened while a client was away that had the empty history of a session; and whether it still fits.
SINCE_NOTHING = [
    pytest.param([], True, id="nothing"),
    pytest.param(["post", "post"], True, id="a whole window"),
    pytest.param(["post", "post", "post"], False, id="more than a window"),
    pytest.param(["post", "edit"], False, id="an edit, of which it must learn the number"),
    pytest.param(["post", "delete"], False, id="a deletion"),
]


async def happen(house: House, changes: list[str]) -> None:
    """Let things happen in the room "r"."""
    async with house.lobby.join("r", user="eve") as seat:
        newest = ""
        for change in changes:
            if change == "post":
                newest = (await seat.post("text")).id
            elif change == "edit":
                await seat.edit(newest, "other text")
            else:
                await seat.delete(newest)


@pytest.mark.parametrize(("changes", "recovered"), SINCE_NOTHING)
async def test_who_was_at_the_beginning_is_recovered_in_the_next_session_if_all_is_there(
    autojump_clock: MockClock,
    build: Callable[..., Awaitable[House]],
    changes: list[str],
    recovered: bool,
) -> None:
    """Numbers count from one: as many messages as numbers are all there ever were. Else nobody says "recovered"."""
    house = await build(session_expiry_seconds=60, max_messages_per_session=2)
    ada = await house.connect("ada", "r")
    await house.post("old")
    await ada.hear()
    await trio.sleep(61)
    await ada.expect("session:expired")
    await ada.hang_up()
    await happen(house, changes)
    pid = ada.pid

    ada.come_back()

    if recovered:
        await ada.expect_connected()
        assert ada.recovered
        (name, messages), *_ = await ada.hear()
        assert (name, len(messages)) == ("messages:history", len(changes))
    else:
        await nobody_new(ada, pid)


async def test_who_was_at_the_beginning_has_missed_more_than_a_window(
    build: Callable[..., Awaitable[House]],
) -> None:
    """In the session itself too: what was pushed out of the window meanwhile never comes."""
    house = await build(max_messages_per_session=2)
    await house.connect("bob", "r")
    ada = await house.connect("ada", "r")
    assert ada.places == {"r": 0}
    await ada.hang_up()
    await happen(house, ["post"] * 3)
    pid = ada.pid

    ada.come_back()

    await nobody_new(ada, pid)
    assert len(await ada.join("r")) == 2


async def test_who_was_at_the_beginning_gets_every_change(build: Callable[..., Awaitable[House]]) -> None:
    """In the session itself, as at any other place of it."""
    house = await build(max_messages_per_session=2)
    await house.connect("bob", "r")
    ada = await house.connect("ada", "r")
    await ada.hang_up()
    await happen(house, ["post", "edit"])

    heard = await ada.recover()

    assert [name for name, _ in heard] == ["message:new", "message:update", *LISTS]
    assert ada.places == {"r": 2}


async def test_who_is_in_too_many_rooms_begins_anew(monkeypatch: pytest.MonkeyPatch, house: House) -> None:
    """Its offset would not fit into a message: it is told so, and so it tells."""
    ada = await house.connect("ada", "r", "s")
    monkeypatch.setattr(offsets, "MAX_OFFSET", 10)
    await house.post("one")
    await ada.hear()
    await ada.hang_up()
    pid = ada.pid

    assert ada.offset == "*"
    ada.come_back()

    await nobody_new(ada, pid)


async def test_a_token_for_fewer_rooms_recovers_none(guarded: House) -> None:
    """What was allowed once is checked again."""
    ada = await guarded.call({"token": guarded.token()}).connect()
    await ada.join("r")
    await ada.join("s")
    await ada.hang_up()
    pid = ada.pid
    ada.auth = {"token": guarded.token(rooms=("r",))}

    ada.come_back()

    await nobody_new(ada, pid)
    assert guarded.users_in("r") == set()


async def test_a_room_with_too_much_mail_cannot_be_recovered(build: Callable[..., Awaitable[House]]) -> None:
    """The client begins anew, in no room, and is told so."""
    house = await build(mailbox_limit=1)
    ada = await house.connect("ada", "a", "r")
    bob = await house.connect("bob", "r")
    await ada.hang_up()
    gate = Gate(house.hot, "append")
    bob.emit("message:send", {"teamId": "r", "content": "c"})
    await wait_all_tasks_blocked()
    bob.emit("message:send", {"teamId": "r", "content": "c"})
    pid = ada.pid

    ada.come_back()

    await nobody_new(ada, pid)
    gate.open()
    await wait_all_tasks_blocked()
    assert house.users_in("a") == set()
    assert house.users_in("r") == {"bob"}


async def test_a_room_that_is_closed_meanwhile_cannot_be_recovered(house: House) -> None:
    """The answer is no history, so the client begins anew."""
    ada = await house.connect("ada", "a", "r")
    bob = await house.connect("bob", "r")
    await ada.hang_up()
    gate = Gate(house.hot, "append")
    bob.emit("message:send", {"teamId": "r", "content": "c"})
    await wait_all_tasks_blocked()
    pid = ada.pid
    ada.come_back()
    await ada.expect_nothing()

    house.lobby.rooms["r"].close("it failed")

    await nobody_new(ada, pid)
    gate.open()
    await wait_all_tasks_blocked()
    assert house.users_in("a") == set()


async def test_another_user_is_not_put_into_the_rooms(house: House) -> None:
    """Whoever knows the secret of somebody else is somebody new, and the other may still come back."""
    ada = await house.connect("ada", "r")
    await ada.hang_up()
    eve = house.call({"userId": "eve", "pid": ada.pid, "offset": ada.offset})
    eve.ask_to_connect()

    await nobody_new(eve, ada.pid)
    assert [name for name, _ in await ada.recover()] == LISTS


async def test_another_user_does_not_end_a_connection(house: House) -> None:
    """Knowing the secret takes nothing from who is connected."""
    ada = await house.connect("ada", "r")
    eve = house.call({"userId": "eve", "pid": ada.pid, "offset": ada.offset})
    eve.ask_to_connect()

    await nobody_new(eve, ada.pid)
    assert ada.link.closed is None


@pytest.mark.parametrize("pid", ["nobody", "", "*", "ä", "x" * 1000])
async def test_an_unknown_pid_is_somebody_new(house: House, pid: str) -> None:
    """Another server's, perhaps."""
    ada = house.call({"userId": "ada", "pid": pid, "offset": "xyz"})
    ada.ask_to_connect()

    await nobody_new(ada, pid)


@pytest.mark.parametrize(
    ("pid", "offset"), [(7, "0"), (None, "0"), (["x"], "0"), ("x", "heartbeat"), ("x", "")]
)
async def test_what_is_no_way_back_is_overlooked(house: House, pid: Any, offset: Any) -> None:
    """The client is somebody new, whatever it says."""
    ada = house.call()
    ada.say("0" + json.dumps({"userId": "ada", "pid": pid, "offset": offset}))

    await nobody_new(ada, pid)


async def test_who_disconnected_on_purpose_is_somebody_new(house: House) -> None:
    """And nothing is kept of it."""
    ada = await house.connect("ada", "r")
    ada.say("1")
    pid = ada.pid

    ada.come_back()

    await nobody_new(ada, pid)
    assert house.users_in("r") == set()


async def test_whose_time_is_up_is_somebody_new(
    autojump_clock: MockClock, build: Callable[..., Awaitable[House]]
) -> None:
    """Although the room's session goes on."""
    house = await build(session_expiry_seconds=60)
    ada = await house.connect("ada", "r")
    await ada.hang_up()
    for _ in range(3):
        await house.post("hi")
        await trio.sleep(20.1)
    pid = ada.pid

    ada.come_back()

    await nobody_new(ada, pid)


async def test_who_comes_back_in_no_room_is_somebody_new(house: House) -> None:
    """There is nothing to recover, and the client had better join as it does at first."""
    ada = await house.connect("ada", "r")
    ada.emit("room:leave", "r")
    await ada.hear()
    await ada.hang_up()
    pid = ada.pid

    ada.come_back()

    await nobody_new(ada, pid)


async def test_who_is_away_too_often_is_somebody_new(house: House) -> None:
    """A user may have fifty clients away, and this was the first. One that has come back is not away."""
    back = await house.connect("ada", "r")
    await back.recover()
    first = await house.connect("ada", "r")
    second = await house.connect("ada", "r")
    for client in (first, second):
        await client.hang_up()
    for _ in range(49):
        await (await house.connect("ada", "r")).hang_up()
    pid = first.pid

    first.come_back()

    await nobody_new(first, pid)
    assert house.recoveries.statistics() == RecoveryStatistics(held=2, away=50, unwritten=51)
    await second.recover()
    await back.recover()


@pytest.mark.parametrize(
    ("query", "agent", "plain"),
    [
        ("", "", False),
        ("", "Mozilla/5.0 (X11; Linux x86_64)", False),
        ("", "Python/3.12 aiohttp/3.11.0", True),
        ("", "python-requests/2.32", True),
        ("", "Dart/3.5 (dart:io)", True),
        ("recovery=0", "Mozilla/5.0", True),
        ("EIO=4&recovery=false&transport=websocket", "", True),
        ("recovery=1", "python-requests/2.32", False),
        ("recovery=1", "Dart/3.5 (dart:io)", False),
        ("recovery=1&recovery=0", "", True),
        ("recovery=", "", False),
        ("recovery", "python", True),
    ],
)
async def test_a_client_says_or_shows_whether_it_can_come_back(
    house: House, query: str, agent: str, plain: bool
) -> None:
    """What it says in the address counts more than what its library is called."""
    client = house.call({"userId": "ada"}, query, User_Agent=agent)
    client.plain = plain
    client.ask_to_connect()
    await client.expect_connected()

    said = await client.expect("welcome")

    assert said[1:] == ([] if plain else ["0"])
