"""The snapshot that the dashboard is drawn from: what it tells, and whom."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock

from tests.chat_client import connect
from trio_chat.app import App, open_app
from trio_chat.clients.auth import Authenticator, Identity, make_token
from trio_chat.clients.registry import Registry
from trio_chat.lobby import open_lobby
from trio_chat.mail import Post
from trio_chat.settings import Settings
from trio_chat.stores.memory import MemoryArchive, MemoryHotStore
from trio_chat.web.api.calls import Call, Server
from trio_chat.web.api.overview import Listing, Overview, overview
from trio_chat.web.moment import Moment

from .test_app import ask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from trio_chat.lobby import Lobby
    from trio_chat.room import Room

SECRET = "a secret of thirty-two bytes, or more"


@pytest.fixture
def settings(tmp_path: Path, valkey_server: str, postgres_server: str) -> Settings:
    """Those of a server on the session's stores that lets anybody in, and has an operator."""
    return Settings(
        redis_url=valkey_server,
        redis_prefix="overview",
        database_url=postgres_server,
        data_dir=tmp_path,
        port=0,
        auth_mode="insecure",
        auth_secret=SECRET,
        max_messages_per_session=10,
    )


async def look(app: App, query: str = "", roles: Iterable[str] = ("admin",)) -> tuple[int, dict[str, Any]]:
    """Ask for the snapshot."""
    token = make_token(app.settings, "ops", [], roles)
    answer = await ask(app, f"/api/v1/overview{query}", authorization=f"Bearer {token}")
    found: dict[str, Any] = json.loads(answer.body)
    return answer.status, found


async def test_it_tells_what_the_server_does(settings: Settings) -> None:
    """Who is there and over which wire, what came in and went out, how full the windows are, and that all is well."""
    async with open_app(settings) as app:
        async with connect(app.url, user="ada") as ada, connect(app.url, user="bob") as bob:
            for one in (ada, bob):
                await one.join("a/b")
            acks = await ada.send_many("a/b", ["hello"] * 12)
            status, found = await look(app)

    assert status == 200
    counts = {name: found[name] for name in ("rooms", "members", "users", "events", "deliveries", "matching")}
    assert counts == {"rooms": 1, "members": 2, "users": 2, "events": 12, "deliveries": 24, "matching": 1}
    assert found["connections"] == {"native": 2, "socketio": 0, "polling": 0}
    assert (found["messages"], found["window"]) == (10, 10)
    assert found["redis"]["healthy"]
    assert found["archive"]["healthy"]
    assert sum(found["redis"]["latency"]["counts"]) > 0
    [room] = found["active"]
    assert (room["room"], room["top"], room["epoch"]) == ("a/b", 12, acks[0]["epoch"])


async def test_it_does_not_tell_what_is_said(settings: Settings) -> None:
    """Nor who is in which room: neither is in the snapshot at all."""
    async with open_app(settings) as app, connect(app.url, user="ada-lovelace") as ada:
        await ada.join("a/b")
        await ada.send("a/b", "a secret", metadata={"a": "riddle"})
        _, found = await look(app)

    assert not any(word in json.dumps(found) for word in ("secret", "riddle", "lovelace"))


@pytest.mark.parametrize("roles", [[], ["moderator", "assistant", "system"]], ids=["none", "others"])
async def test_only_operators_are_told(settings: Settings, roles: list[str]) -> None:
    """Whatever rooms and other roles somebody has."""
    async with open_app(settings) as app:
        status, found = await look(app, roles=roles)
        nobody = await ask(app, "/api/v1/overview")

    assert (status, found["code"]) == (403, "forbidden")
    assert nobody.status == 401


async def test_rooms_can_be_searched(settings: Settings) -> None:
    """In any case; the totals are those of the server all the same."""
    async with open_app(settings) as app, connect(app.url, user="ada") as ada:
        for room in ("Team/one", "team/two", "other"):
            await ada.join(room)
        _, found = await look(app, "?search=TEAM&limit=1")
        status, _ = await look(app, "?limit=501")

    assert (found["rooms"], found["matching"], len(found["active"])) == (3, 2, 1)
    assert status == 400


async def snapshot(lobby: Lobby, **asked: Any) -> Overview:
    """Return that of a lobby without a server."""

    async def moment(see: Callable[[Room], None]) -> Moment:
        return Moment(
            lobby=await lobby.survey(see),
            turns=lobby.counts.statistics(),
            sync=lobby.syncer.statistics(),
            longest_lag=900.0,
            hot_healthy=lobby.hot.healthy,
            archive_healthy=lobby.archive.healthy,
            redis=None,
            postgres=None,
            clients=None,
        )

    server = Server(lobby, Authenticator(Settings(auth_mode="insecure")), Registry(0), moment, 0.0)
    reply = await overview(Call(server, Identity(user="ops"), {}, Listing(**asked), None))
    assert isinstance(reply.content, Overview)
    return reply.content


async def test_degraded_rooms_come_first_then_the_last_active(autojump_clock: MockClock) -> None:
    """However many there are, those that matter are among the few that are listed."""
    hot = MemoryHotStore()
    async with open_lobby(hot=hot, archive=MemoryArchive()) as lobby:
        for room in ("old", "poor", "new"):
            hot.set_healthy(room != "poor")
            async with lobby.join(room, user="ada") as seat:
                await seat.post("hello")
            if room == "poor":
                poor = await snapshot(lobby)
            await trio.sleep(0.01)
        found = await snapshot(lobby, limit=2)
        lobby.rooms["poor"].ledger.degraded = True
        degraded = await snapshot(lobby, limit=2)
        lobby.rooms["poor"].ledger.degraded = False

    assert (poor.degraded, poor.redis.healthy, poor.redis.latency) == (1, False, None)
    assert [room.room for room in found.active] == ["new", "poor"]
    assert [room.room for room in degraded.active] == ["poor", "new"]


async def test_many_rooms_keep_nobody_waiting(autojump_clock: MockClock) -> None:
    """Whoever counts them lets others go on in between, and counts what there is. A thousand rooms take a moment."""
    async with (
        open_lobby(hot=MemoryHotStore(), archive=MemoryArchive()) as lobby,
        trio.open_nursery() as nursery,
    ):
        for number in range(1000):
            lobby.mail(f"room-{number}", Post("ada", "user", "hello", {}, None, lambda _: None))
        await trio.testing.wait_all_tasks_blocked()
        turns = 0

        async def meanwhile() -> None:
            nonlocal turns
            while True:
                await trio.lowlevel.checkpoint()
                turns += 1

        nursery.start_soon(meanwhile)
        found = await lobby.survey()
        nursery.cancel_scope.cancel()

        assert turns >= 3
        assert found == lobby.statistics()
        assert (found.rooms, found.dirty, found.unsynced) == (1000, 1000, 1000)
