"""Coming back: nothing is missed, and nothing is told twice."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio

from tests.wires.client import Client
from trio_chat.app import open_app
from trio_chat.clients import registry
from trio_chat.settings import Settings

from .house import POLLING_TOO, Serve, Site, hear_all, numbers, send_all, serving


@POLLING_TOO
async def test_who_comes_back_hears_what_was_missed_once_and_in_order(site: Site, room: str) -> None:
    """Nothing of what was heard before, and everything said afterwards."""
    ada, bob = await site.members(room, "ada", "bob")
    await send_all(bob, room, numbers(3))
    await hear_all(ada, room, numbers(3))
    await ada.cut()
    await send_all(bob, room, numbers(3, 6))
    entered = (await ada.come_back())[room]
    await send_all(bob, room, numbers(6, 9))
    await hear_all(ada, room, numbers(3, 9))
    await ada.expect_nothing()

    assert entered.recovered is True
    assert sorted(entered.presence or ()) == ["ada", "bob"]


@POLLING_TOO
async def test_who_comes_back_learns_of_edits_and_deletions(site: Site, room: str) -> None:
    """Of messages that were there before and of those that came meanwhile: both show the same then."""
    ada, bob = await site.members(room, "ada", "bob")
    one, two, _ = await send_all(bob, room, numbers(3))
    await hear_all(ada, room, numbers(3))
    await ada.cut()
    four, five, six = await send_all(bob, room, numbers(3, 6))
    await bob.edit(room, one, "edited")
    await bob.delete(room, two)
    await bob.edit(room, five, "edited too")
    await bob.delete(room, four)
    await bob.read(room, six)
    await bob.edit(room, five, "edited twice")
    await bob.heartbeat()
    entered = (await ada.come_back())[room]

    assert entered.recovered is True
    assert ada.shown(room) == bob.shown(room) == ["edited", "number 2", "edited twice", "number 5"]
    assert [mark["id"] for mark in (entered.receipts or {}).values()] == [six]


@POLLING_TOO
async def test_a_client_may_be_cut_again_and_again(site: Site, room: str) -> None:
    """Each time it goes on where it was."""
    ada, bob = await site.members(room, "ada", "bob")
    for number in range(4):
        await ada.cut()
        await bob.send(room, f"number {number}")
        assert (await ada.come_back())[room].recovered is True
    await hear_all(ada, room, numbers(4))

    await ada.expect_nothing()


@pytest.mark.parametrize("wire", ["socketio", "polling"])
async def test_who_comes_back_takes_the_place_of_a_connection_that_only_seems_to_be_there(
    site: Site, room: str
) -> None:
    """Nobody hears of it, and the old connection does not keep the user in the room."""
    ada, bob = await site.members(room, "ada", "bob")
    ada.forsake()
    await bob.send(room, "meanwhile")
    await bob.expect_message(room, "meanwhile")
    entered = (await ada.come_back())[room]
    await ada.expect_message(room, "meanwhile")
    await bob.expect_nothing()
    await ada.close()
    await bob.expect_presence(room, "ada", active=False)

    assert entered.recovered is True


@POLLING_TOO
async def test_who_comes_back_is_in_all_rooms_again(site: Site, room: str) -> None:
    """What was missed in one is not mistaken for that of another."""
    ada, bob = await site.members(room, "ada", "bob")
    for client in (ada, bob):
        await client.join(f"{room}/aside")
    await ada.expect_presence(f"{room}/aside", "bob")
    for one in (room, f"{room}/aside"):
        await bob.send(one, "before")
        await ada.expect_message(one, "before")
    await ada.cut()
    await bob.send(room, "general")
    await bob.send(f"{room}/aside", "aside")
    entered = await ada.come_back()
    await bob.send(room, "the end")
    heard = [(one.room, one.about["content"]) for one in [await ada.hear() for _ in range(3)]]

    assert [entered[room].recovered for room in (room, f"{room}/aside")] == [True, True]
    assert sorted(heard[:2]) == [(room, "general"), (f"{room}/aside", "aside")]
    assert heard[2] == (room, "the end")
    assert ada.shown(f"{room}/aside") == ["before", "aside"]


@POLLING_TOO
async def test_nothing_is_lost_or_told_twice_while_others_go_on_talking(site: Site, room: str) -> None:
    """Cut and back four times, in two rooms: what is heard is what was said, in order."""
    rooms = (room, f"{room}/aside")
    ada, bob = await site.members(room, "ada", "bob")
    for client in (ada, bob):
        await client.join(rooms[1])
    said: list[tuple[str, str]] = []
    async with trio.open_nursery() as talking:
        talking.start_soon(_talk, bob, rooms, said)
        for _ in range(4):
            await ada.hear()
            await ada.cut()
            entered = await ada.come_back()
            assert [entered[one].recovered for one in rooms] == [True, True]
        talking.cancel_scope.cancel()
    await ada.heartbeat()
    heard = [(one.room, one.about["content"]) for one in ada.heard if one.kind == "message"]

    for one in rooms:
        contents = [content for where, content in said if where == one]
        assert ada.shown(one) == bob.shown(one) == contents
        told = [content for where, content in heard if where == one]
        assert told == contents[len(contents) - len(told) :]


async def _talk(client: Client, rooms: tuple[str, ...], said: list[tuple[str, str]]) -> None:
    """Go on talking until cancelled, but not in the middle of a message."""
    while True:
        for room in rooms:
            with trio.CancelScope(shield=True):
                await client.send(room, f"number {len(said)}")
            said.append((room, f"number {len(said)}"))
        await trio.lowlevel.checkpoint()


@POLLING_TOO
async def test_who_has_missed_too_much_gets_the_window(serve: Serve, room: str) -> None:
    """And is told that it is not all: there is never a silent hole."""
    async with serve(max_messages_per_session=3) as site:
        ada, bob = await site.members(room, "ada", "bob")
        await bob.send(room, "old")
        await ada.expect_message(room, "old")
        await ada.cut()
        await send_all(bob, room, numbers(5))
        entered = (await ada.come_back())[room]
        await ada.expect_nothing()

        assert entered.recovered is False
        assert entered.contents == ada.shown(room) == numbers(2, 5)


async def test_who_comes_back_after_the_session_begins_anew(serve: Serve, room: str) -> None:
    """Takes the second that a session has at least. Both wires say that nothing was recovered."""
    async with serve(session_expiry_seconds=1) as site:
        ada, bob = await site.members(room, "ada", "bob")
        await bob.send(room, "old")
        await ada.expect_message(room, "old")
        await ada.cut()
        await bob.expect_message(room, "old")
        await bob.expect_presence(room, "ada", active=False)
        await bob.expect("expired", room)
        ack = await bob.send(room, "new")
        entered = (await ada.come_back())[room]

        assert entered.recovered is False
        assert entered.epoch == ack["epoch"]
        assert ada.shown(room) == ["new"]


@POLLING_TOO
async def test_a_token_that_expires_ends_the_connection(
    serve: Serve, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Takes half a second, as the token does. The client comes back with a fresh one and has missed nothing."""
    monkeypatch.setattr(registry, "_SWEEP_SECONDS", 0.02)
    async with serve() as site:
        (bob,) = await site.members(room, "bob")
        (ada,) = await site.members(room, "ada", expires_in=0.5)
        await ada.expect_end(4401)
        await bob.send(room, "hello")
        ada.token = site.token("ada")
        entered = (await ada.come_back())[room]
        await ada.expect_message(room, "hello")

        assert entered.recovered is True


async def _serve_until(
    settings: Settings, wire: str, enough: trio.Event, task_status: trio.TaskStatus[Site]
) -> None:
    async with open_app(settings) as app:
        task_status.started(Site(settings, app.port, wire))
        await enough.wait()


@POLLING_TOO
async def test_a_server_that_stops_says_goodbye_and_the_next_one_knows_its_clients(
    settings: Settings, wire: str, free_port: int, room: str
) -> None:
    """What others say before they are back is not missed."""
    settings = replace(settings, port=free_port)
    enough = trio.Event()
    async with trio.open_nursery() as nursery:
        site: Site = await nursery.start(_serve_until, settings, wire, enough)
        (ada,) = await site.members(room, "ada")
        await ada.send(room, "before")
        await ada.expect_message(room, "before")
        enough.set()
        await ada.expect_end(1012)
    async with serving(settings, wire) as site:
        (bob,) = await site.members(room, "bob")
        await bob.send(room, "after")
        entered = (await ada.come_back())[room]
        await ada.expect_message(room, "after")
        await ada.expect_nothing()
        await ada.close()

    assert entered.recovered is True
    assert ada.shown(room) == ["before", "after"]
