"""Nothing crosses rooms or users, however their names are made to look like one another, or like keys of a store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.wires.client import Client
from tests.wires.clients import CLIENTS
from trio_chat.app import App, open_app
from trio_chat.clients.auth import make_token
from trio_chat.settings import Settings

ROOMS = (
    "a", "b", "a:b", "a:b:c", "b:c", "a::b", "a:", ":a", ":", "a/b", "a/b/", "/a/b", ".", "..", "-", "@", "_",
    "a:meta", "a:meta:x", "a:log:x", "a:keys", "dirty", "note", "isolation", "isolation:a", "A", "a.b", "a-b", "a_b",
)  # fmt: skip
USERS = (
    "a",
    "b",
    "a:b",
    "b:c",
    "*",
    "?",
    "[ab]",
    "{a}",
    "}a{",
    "a b",
    "%00",
    "\u202ea",
    "A",
    "\uff21",
    "a/../b",
    "'--",
)


@pytest.fixture
async def app(tmp_path: Path, valkey_server: str, postgres_server: str) -> AsyncIterator[App]:
    """A server on real stores."""
    settings = Settings(
        port=0,
        data_dir=tmp_path,
        redis_url=valkey_server,
        redis_prefix="isolation",
        database_url=postgres_server,
        auth_secret="a secret for the tests of isolation",
        rate_limits=False,
        max_rooms_per_connection=0,
        max_connections_per_user=0,
    )
    async with open_app(settings) as app:
        yield app


async def connected(app: App, user: str, *rooms: str, wire: str = "native") -> Client:
    """Return a client whose token opens these rooms."""
    client = CLIENTS[wire](user, str(app.port), make_token(app.settings, user, rooms))
    await client.connect()
    return client


async def test_names_that_collide_when_joined_stay_apart(app: App) -> None:
    """Each room has its own window, its own archive, its own marks; in Redis, in Postgres and on the way to clients."""
    everybody = await connected(app, "everybody", *ROOMS)
    sent = {}
    for room in ROOMS:
        await everybody.join(room)
        sent[room] = (await everybody.send(room, f"in {room}", id="the same id everywhere"))["epoch"]
        await everybody.expect_message(room, f"in {room}")
        await everybody.read(room, "the same id everywhere")
        await everybody.expect_receipt(room, "everybody", "the same id everywhere")
    await app.lobby.syncer.sync_all()

    assert len(set(sent.values())) == len(ROOMS)
    for room in ROOMS:
        somebody = await connected(app, "somebody", room)
        entered = await somebody.join(room)
        page = await somebody.page(room)
        assert entered.contents == [f"in {room}"]
        assert [message["content"] for message in page["messages"]] == [f"in {room}"]
        assert list(entered.receipts or {}) == ["everybody"]
        for other in {"a", "a:b", "dirty", "isolation"} - {room}:
            await somebody.expect_refused("forbidden", somebody.join(other))
        somebody.drop()
    everybody.drop()


async def test_users_whose_names_look_alike_are_others(app: App) -> None:
    """Nobody can change what somebody of a similar name has said; each is listed, with a mark of their own."""
    here = {user: await connected(app, user, "room") for user in USERS}
    for user, client in here.items():
        await client.join("room")
        await client.send("room", "mine", id=f"by {user}")
        await client.read("room", f"by {user}")
    for user, client in here.items():
        for other in USERS:
            if other != user:
                await client.expect_refused("forbidden", client.edit("room", f"by {other}", "stolen"))
    witness = await connected(app, "witness", "room")
    entered = await witness.join("room")

    assert {message["user"] for message in entered.messages} == set(USERS)
    assert set(entered.members) == {*USERS, "witness"}
    assert {user: mark["id"] for user, mark in (entered.receipts or {}).items()} == {
        user: f"by {user}" for user in USERS
    }
    for client in (*here.values(), witness):
        client.drop()


async def test_a_way_back_is_its_users_alone(app: App) -> None:
    """Whoever knows the secret of somebody else's way back, but not the token, comes back as nobody."""
    ada: Any = await connected(app, "ada", "room", wire="socketio")
    await ada.join("room")
    mallory: Any = await connected(app, "mallory", "room", wire="socketio")
    mallory._pid, mallory._offset = ada._pid, ada._offset
    mallory.rooms = []
    await mallory.come_back()

    assert mallory._pid != ada._pid
    await mallory.expect_refused("not_joined", mallory.send("room", "hello"))
    await ada.send("room", "not disturbed")
    for client in (ada, mallory):
        client.drop()
