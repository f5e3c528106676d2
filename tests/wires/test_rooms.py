"""Joining and leaving; who types, who is here, how far they have read."""

from __future__ import annotations

from typing import Any

import pytest

from .house import POLLING_TOO, Site, hear_all, numbers, send_all

# --- Joining and leaving


@POLLING_TOO
async def test_an_empty_room_has_only_oneself(site: Site, room: str) -> None:
    """It needs no creating."""
    ada = await site.connect("ada")
    entered = await ada.join(room)
    await ada.expect_nothing()

    assert (entered.seq, entered.recovered, entered.durability) == (0, False, "redis")
    assert (entered.messages, entered.members, entered.receipts) == ([], ["ada"], {})


@POLLING_TOO
async def test_who_joins_gets_the_window_as_it_reads_now(site: Site, room: str) -> None:
    """Edited, without what was deleted, and the position of all that."""
    (ada,) = await site.members(room, "ada")
    first, second, _ = await send_all(ada, room, numbers(3))
    await ada.edit(room, first, "edited")
    ack = await ada.delete(room, second)
    bob = await site.connect("bob")
    entered = await bob.join(room)
    await bob.expect_nothing()

    assert entered.contents == ["edited", "number 2"]
    assert (entered.epoch, entered.seq) == (ack["epoch"], ack["seq"]) == (ack["epoch"], 5)


@POLLING_TOO
async def test_a_message_has_the_same_parts_everywhere(site: Site, room: str) -> None:
    """Told to its sender and to others, in the window and on a page."""
    ada, bob = await site.members(room, "ada", "bob")
    await ada.send(room, "héllo \u2028", id="m-1", metadata={"mood": ["good", {"deep": None}]})
    heard = [await client.expect_message(room, "héllo \u2028") for client in (ada, bob)]
    eve = await site.connect("eve")
    (kept,) = (await eve.join(room)).messages
    (paged,) = (await eve.page(room))["messages"]
    paged.pop("epoch")

    assert heard == [kept, kept]
    assert paged == kept
    assert (kept["id"], kept["user"], kept["role"]) == ("m-1", "ada", "user")
    assert kept["metadata"] == {"mood": ["good", {"deep": None}]}


@POLLING_TOO
async def test_who_has_left_hears_nothing_more(site: Site, room: str) -> None:
    """And may come again."""
    ada, bob = await site.members(room, "ada", "bob")
    await bob.leave(room)
    await ada.expect_presence(room, "bob", active=False)
    await ada.send(room, "meanwhile")
    await bob.expect_nothing()
    entered = await bob.join(room)

    assert entered.contents == ["meanwhile"]
    assert entered.recovered is False


async def test_rooms_do_not_hear_each_other(site: Site, room: str) -> None:
    """A client in two rooms hears both, and each by its name."""
    ada, bob = await site.members(room, "ada", "bob")
    await bob.join(f"{room}/aside")
    await bob.send(f"{room}/aside", "aside")
    await ada.send(room, "general")
    await bob.expect_message(f"{room}/aside", "aside")
    await bob.expect_message(room, "general")
    await ada.expect_message(room, "general")

    await ada.expect_nothing()


# --- Typing


@POLLING_TOO
async def test_typing_is_told_to_the_others(site: Site, room: str) -> None:
    """That it starts and that it stops, but not to any tab of who types."""
    ada, bob = await site.members(room, "ada", "bob")
    (tab,) = await site.members(room, "ada")
    await ada.type(room)
    await ada.type(room, active=False)
    await bob.expect_typing(room, "ada")
    await bob.expect_typing(room, "ada", active=False)

    for client in (ada, tab, bob):
        await client.expect_nothing()


@POLLING_TOO
@pytest.mark.parametrize("end", ["posting", "leaving", "losing the connection"])
async def test_typing_stops_by_itself(site: Site, end: str, room: str) -> None:
    """When its message has come, or its author has gone. A stop that comes later is told to nobody."""
    ada, bob = await site.members(room, "ada", "bob")
    await ada.type(room)
    await bob.expect_typing(room, "ada")
    if end == "posting":
        await ada.send(room, "hello")
        await ada.type(room, active=False)
        await bob.expect_message(room, "hello")
    else:
        await (ada.leave(room) if end == "leaving" else ada.cut())
        await bob.expect_presence(room, "ada", active=False)

    await bob.expect_typing(room, "ada", active=False)
    await bob.expect_nothing()


async def test_who_comes_late_learns_who_types(site: Site, room: str) -> None:
    """Besides oneself."""
    (ada,) = await site.members(room, "ada")
    await ada.type(room)
    bob = await site.connect("bob")
    await bob.join(room)
    await bob.expect_typing(room, "ada")
    tab = await site.connect("ada")
    await tab.join(room)

    for client in (bob, tab):
        await client.expect_nothing()


# --- Presence


@POLLING_TOO
async def test_two_tabs_are_one_user(site: Site, room: str) -> None:
    """Who comes with the first and goes with the last."""
    bob, ada = await site.members(room, "bob", "ada")
    tab = await site.connect("ada")
    entered = await tab.join(room)
    await ada.close()
    await tab.send(room, "still here")
    await bob.expect_message(room, "still here")
    await tab.close()
    await bob.expect_presence(room, "ada", active=False)

    await bob.expect_nothing()
    assert sorted(entered.members) == ["ada", "bob"]


async def test_who_joins_learns_who_is_here(site: Site, room: str) -> None:
    """And when they last did something."""
    ada, _ = await site.members(room, "ada", "bob")
    await ada.send(room, "hello")
    said = await ada.expect_message(room, "hello")
    eve = await site.connect("eve")
    entered = await eve.join(room)

    assert sorted(entered.members) == ["ada", "bob", "eve"]
    assert entered.presence is not None
    assert {user: one["active"] for user, one in entered.presence.items()} == dict.fromkeys(
        entered.members, True
    )
    assert entered.presence["ada"]["last_active"] == said["timestamp"]
    assert entered.presence["bob"]["last_active"] < said["timestamp"]


async def test_a_presence_heartbeat_says_that_somebody_is_still_here(site: Site, room: str) -> None:
    """The others hear when; who joins later learns it too."""
    ada, bob = await site.members(room, "ada", "bob")
    await ada.touch(room)
    first = await bob.expect_presence(room, "ada")
    await ada.touch(room)
    second = await bob.expect_presence(room, "ada")
    await ada.expect_nothing()
    eve = await site.connect("eve")
    entered = await eve.join(room)

    assert first < second
    assert entered.presence is not None
    assert entered.presence["ada"]["last_active"] == second


# --- Read marks


@POLLING_TOO
async def test_read_marks_are_told_to_all_and_kept(site: Site, room: str) -> None:
    """To their owner too; who joins later gets a list."""
    ada, bob = await site.members(room, "ada", "bob")
    (first,) = await send_all(ada, room, ["hello"])
    await bob.read(room, first)
    marks: list[dict[str, Any]] = []
    for client in (ada, bob):
        await client.expect_message(room, "hello")
        marks.append(await client.expect_receipt(room, "bob", first))
    eve = await site.connect("eve")
    entered = await eve.join(room)

    assert marks[0] == marks[1]
    assert entered.receipts == {"bob": marks[0]}


async def test_read_marks_never_go_back(site: Site, room: str) -> None:
    """Such a one is taken, and told to nobody."""
    (ada,) = await site.members(room, "ada")
    first, second = await send_all(ada, room, numbers(2))
    await hear_all(ada, room, numbers(2))
    await ada.read(room, second)
    await ada.read(room, first)
    await ada.read(room, second)
    await ada.expect_receipt(room, "ada", second)

    await ada.expect_nothing()
