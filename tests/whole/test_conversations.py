"""Long talk, crashes, stops and expiry: what clients are told, and what is kept."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import redis
import trio

from tests.chat_client import Chat, Served, connect, started

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Psql = Callable[[str, str], str]

from .house import archive_of, archived, token_of

HOSTILE = "'); drop table messages; -- \"\\ \\u0000 %s {0} \u202e\ufeff\u2028\U0001f600 \x1b[2J e\u0301 </script>\ttab"


# --- a long conversation


async def test_who_comes_sees_the_newest_thousand_and_who_comes_back_what_has_changed(served: Served) -> None:
    """Two talk, 50 messages at a time; a third sees all of the window, a fourth exactly what has changed since."""
    room = "long/talk"
    async with AsyncExitStack() as stack:
        ada, bob, eve, dan = [
            await stack.enter_async_context(connect(served.url, token=token_of(served, name)))
            for name in ("ada", "bob", "eve", "dan")
        ]
        await ada.join(room)
        await bob.join(room)
        said: dict[int, str] = {}
        async with trio.open_nursery() as nursery:
            for name, chat in (("ada", ada), ("bob", bob)):
                nursery.start_soon(_say_much, chat, room, name, said)
        joined, window = await eve.join(room)

        assert sorted(said) == list(range(1, 1101))
        assert (joined["seq"], joined["recovered"]) == (1100, False)
        assert [(one["seq"], one["content"]) for one in window] == [
            (seq, said[seq]) for seq in range(101, 1101)
        ]

        mine = [one for one in window if one["userId"] == "ada"]
        await ada.say("message:edit", room=room, id=mine[200]["id"], content="on second thoughts")
        await ada.say("message:delete", room=room, id=mine[100]["id"])
        await ada.send_many(room, [f"more {number}" for number in range(10)])
        joined, changes = await dan.join(room, resume={"epoch": joined["epoch"], "seq": 1100})
        late = await stack.enter_async_context(connect(served.url, token=token_of(served, "late")))
        _, fresh = await late.join(room)

        assert (joined["recovered"], joined["seq"]) == (True, 1112)
        assert [(one["type"], one["seq"]) for one in changes] == [
            ("message:update", 1101),
            ("message:delete", 1102),
            *(("message:new", seq) for seq in range(1103, 1113)),
        ]
        assert _applied(window, changes, joined["first"]) == fresh


async def _say_much(chat: Chat, room: str, name: str, said: dict[int, str]) -> None:
    contents = [f"{name} {number}" for number in range(550)]
    acks = await chat.send_many(room, contents)
    assert {ack["durability"] for ack in acks} == {"redis"}
    said.update(zip((ack["seq"] for ack in acks), contents, strict=True))


def _applied(window: list[dict[str, Any]], changes: list[dict[str, Any]], first: int) -> list[dict[str, Any]]:
    """Bring a window up to date, as the protocol tells clients to."""
    messages = {one["id"]: one for one in window}
    for change in changes:
        if change["type"] == "message:delete":
            del messages[change["id"]]
        else:
            messages[change["message"]["id"]] = change["message"]
    return [one for one in messages.values() if one["seq"] >= first]


# --- crashes


async def test_a_killed_server_has_kept_everything_it_acknowledged(served: Served, psql: Psql) -> None:
    """The next process on the same data has the same session, and archives it: each message exactly once."""
    room, contents = "killed", [f"number {number}" for number in range(60)]
    async with connect(served.url, token=token_of(served, "ada")) as ada:
        await ada.join(room)
        acks = await ada.send_many(room, contents)
        await ada.say("message:edit", room=room, id=acks[0]["id"], content="edited")
        last = await ada.until("ack")
        served.kill()
        assert (await ada.expect_close()).code == 1006

    await trio.to_thread.run_sync(served.start)
    async with connect(served.url, token=token_of(served, "ada")) as ada:
        joined, changes = await ada.join(room, resume={"epoch": last["epoch"], "seq": last["seq"]})
        assert (joined["recovered"], changes, joined["epoch"]) == (True, [], last["epoch"])
        async with connect(served.url, token=token_of(served, "bob")) as bob:
            _, window = await bob.join(room)
            assert [one["content"] for one in window] == ["edited", *contents[1:]]
        await ada.send(room, "afterwards")

        done = await trio.to_thread.run_sync(served.run, "sync")
        assert done.returncode == 0, done.stderr
        assert archived(psql, archive_of(served), room) == ["edited", *contents[1:], "afterwards"]


async def test_a_stopped_server_tells_its_clients_and_has_archived_everything(
    tmp_path: Path, valkey_server: str, postgres_server: str, psql: Psql
) -> None:
    """SIGTERM: close code 1012, a last sync, exit status 0; nothing is archived before it is time."""
    stores = {"REDIS_URL": valkey_server, "DATABASE_URL": postgres_server, "REDIS_PREFIX": "stop"}
    with started(tmp_path, AUTH_MODE="insecure", **stores) as server:
        async with connect(server.url, user="ada") as ada:
            await ada.join("stop")
            await ada.send_many("stop", ["one", "two", "three"])
            before = archived(psql, postgres_server, "stop")
            server.signal_stop()
            close = await ada.expect_close()
        status = await trio.to_thread.run_sync(server.wait)

        assert close.code == 1012
        assert status == 0, server.log
        assert before == []
        assert archived(psql, postgres_server, "stop") == ["one", "two", "three"]


# --- expiry


async def test_a_session_expires_on_time_and_the_next_message_begins_another(
    tmp_path: Path, valkey_server: str, postgres_server: str, psql: Psql
) -> None:
    """Two seconds after the last activity: told, archived, gone from Redis; pages read back over both.

    What people write comes back as it was, however hostile.
    """
    stores = {"REDIS_URL": valkey_server, "DATABASE_URL": postgres_server, "REDIS_PREFIX": "expiry"}
    with started(tmp_path, AUTH_MODE="insecure", SESSION_EXPIRY_SECONDS="2", **stores) as server:
        async with connect(server.url, user="ada") as ada:
            await ada.join("room")
            hostile = {"content": HOSTILE, "metadata": {HOSTILE: [HOSTILE, 1e300, -0.5, None]}}
            old = [await ada.send("room", "old 0"), await ada.send("room", **hostile)]
            old.append(await ada.send("room", "old 2"))
            since = time.monotonic()
            await ada.until("session:expired", room="room", epoch=old[0]["epoch"])
            took = time.monotonic() - since
            with redis.Redis.from_url(valkey_server) as hot:
                # What a server notes of itself is of no room.
                left = [key for key in hot.keys("expiry*") if b":note:server" not in key]
            rows = archived(psql, postgres_server, "room")
            new = await ada.send("room", "new")
            await ada.say("history:get", room="room", limit=2)
            first = await ada.until("history:page")
            await ada.say("history:get", room="room", limit=2, before=first["before"])
            second = await ada.until("history:page")

        assert 1.9 < took < 3
        assert left == []
        assert rows == ["old 0", HOSTILE, "old 2"]
        assert (new["seq"], new["epoch"] > old[0]["epoch"]) == (1, True)
        assert [[one["content"] for one in page["messages"]] for page in (first, second)] == [
            ["old 2", "new"],
            ["old 0", HOSTILE],
        ]
        assert second["messages"][1]["metadata"] == hostile["metadata"]
        assert [(page["source"], page["more"]) for page in (first, second)] == [
            ("window+archive", True),
            ("archive", False),
        ]
