"""Several wires in one room."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from tests.wires.client import Client
from tests.wires.clients import CLIENTS

from .house import Site, send_all

PAIRS = pytest.mark.parametrize(
    ("wire", "other"), [("native", "socketio"), ("socketio", "native"), ("native", "polling")]
)


async def pair(site: Site, room: str, other: str) -> tuple[Client, Client]:
    """Return two members of a room, one of them on another wire."""
    (ada,) = await site.members(room, "ada")
    (bob,) = await site.members(room, "bob", wire=other)
    await ada.expect_presence(room, "bob")
    return ada, bob


@pytest.mark.parametrize("wire", ["native"])
async def test_all_wires_hear_the_same_in_the_same_order(site: Site, room: str) -> None:
    """Six clients that talk at once."""
    clients = [await site.connect(f"{wire} {number}", wire=wire) for wire in CLIENTS for number in range(2)]
    for client in clients:
        await client.join(room)
    async with trio.open_nursery() as nursery:
        for client in clients:
            nursery.start_soon(send_all, client, room, [f"{client.user} {number}" for number in range(10)])
    heard: list[list[tuple[Any, ...]]] = []
    for client in clients:
        await client.heartbeat()
        told = [one.about for one in client.heard if one.kind == "message"]
        heard.append([(one["id"], one["content"], one["user"], one["timestamp"]) for one in told])
    shown = [client.shown(room) for client in clients]

    assert len(heard[0]) == 60
    assert heard == [heard[0]] * 6
    assert shown == [shown[0]] * 6


@PAIRS
async def test_changes_cross_the_wires(site: Site, room: str, other: str) -> None:
    """Messages with all their parts, edits and deletions."""
    ada, bob = await pair(site, room, other)
    await ada.send(room, "hello", id="m-1", metadata={"mood": "good"})
    await ada.edit(room, "m-1", "hello, all")
    await ada.delete(room, "m-1")
    heard = [await client.expect_message(room, "hello") for client in (ada, bob)]
    for client in (ada, bob):
        await client.expect_update(room, "m-1", "hello, all", metadata={"mood": "good"})
        await client.expect_delete(room, "m-1")

    for one in heard:
        one.pop("seq", None)
    assert heard[0] == heard[1]


@PAIRS
async def test_typing_crosses_the_wires(site: Site, room: str, other: str) -> None:
    """Both that it starts and that it stops."""
    ada, bob = await pair(site, room, other)
    await ada.type(room)
    await ada.type(room, active=False)
    await bob.expect_typing(room, "ada")

    await bob.expect_typing(room, "ada", active=False)


@PAIRS
async def test_presence_crosses_the_wires(site: Site, room: str, other: str) -> None:
    """And two tabs on two wires are one user."""
    ada, bob = await pair(site, room, other)
    (tab,) = await site.members(room, "ada", wire=other)
    await ada.touch(room)
    seen = await bob.expect_presence(room, "ada")
    await ada.close()
    await bob.expect_nothing()
    entered = await (await site.connect("eve")).join(room)
    await tab.close()
    await bob.expect_presence(room, "eve")
    await bob.expect_presence(room, "ada", active=False)

    assert sorted(entered.members) == ["ada", "bob", "eve"]
    assert entered.presence is not None
    assert entered.presence["ada"]["last_active"] == seen


@PAIRS
async def test_read_marks_cross_the_wires(site: Site, room: str, other: str) -> None:
    """To all members, and into the list of who comes later."""
    ada, bob = await pair(site, room, other)
    (message,) = await send_all(ada, room, ["hello"])
    await ada.read(room, message)
    marks: list[dict[str, Any]] = []
    for client in (ada, bob):
        await client.expect_message(room, "hello")
        marks.append(await client.expect_receipt(room, "ada", message))
    entered = await (await site.connect("eve", wire=other)).join(room)

    assert marks[0] == marks[1]
    assert entered.receipts == {"ada": marks[0]}
