"""Redis goes away, and comes back with everything, with less or empty."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.chat_client import connect, started
from trio_chat.stores.embedded import EmbeddedPostgres, EmbeddedValkey
from trio_chat.stores.supervision import serving

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Psql = Callable[[str, str], str]

from .house import archived


class Talker:
    """Says something 50 times a second, and fails if it is ever disconnected or refused."""

    def __init__(self, name: str) -> None:
        self.acks: list[dict[str, Any]] = []
        self._name = name
        self._acknowledged = trio.Event()

    async def talk(self, url: str, task_status: trio.TaskStatus[None]) -> None:
        """Talk until cancelled."""
        async with connect(url, user=self._name) as chat:
            await chat.join("room")
            task_status.started()
            while True:
                self.acks.append(await chat.send("room", f"{self._name} {len(self.acks)}"))
                self._acknowledged.set()
                self._acknowledged = trio.Event()
                await trio.sleep(0.02)

    async def wait_for(self, durability: str) -> None:
        """Return when the newest ack says this."""
        with trio.fail_after(10):
            while not self.acks or self.acks[-1]["durability"] != durability:
                await self._acknowledged.wait()


async def test_redis_may_go_and_come_back_even_empty(
    tmp_path: Path, free_port: int, postgres_server: str, psql: Psql
) -> None:
    """Nobody is disconnected, messages flow and say "memory"; afterwards nothing is missing anywhere."""
    talkers = [Talker("ada"), Talker("bob")]
    with serving(EmbeddedValkey(tmp_path, port=free_port)) as valkey:
        stores = {"REDIS_URL": valkey.url, "DATABASE_URL": postgres_server}
        with started(tmp_path, AUTH_MODE="insecure", **stores) as server:
            async with trio.open_nursery() as talking:
                for talker in talkers:
                    await talking.start(talker.talk, server.url)
                for wipe in (False, True):
                    await _all_hear(talkers, "redis")
                    valkey.kill()
                    await _all_hear(talkers, "memory")
                    await trio.sleep(1.5)
                    if wipe:
                        shutil.rmtree(valkey.directory / "appendonlydir")
                    # Blocking, and in this thread: a server dies with the thread that started it.
                    valkey.start()
                    await _all_hear(talkers, "redis")
                talking.cancel_scope.cancel()
            async with connect(server.url, user="eve") as eve:
                _, window = await eve.join("room")
            status = await trio.to_thread.run_sync(server.stop)

        acks = [ack for talker in talkers for ack in talker.acks]
        kept = psql(postgres_server, "select seq from messages order by seq").splitlines()
        seen = {one["seq"]: one["id"] for one in window}
        assert status == 0, server.log
        assert {ack["durability"] for ack in acks} >= {"redis", "memory"}
        assert len({ack["epoch"] for ack in acks}) == 1
        assert len({ack["seq"] for ack in acks}) == len(acks)
        assert {ack["seq"]: ack["id"] for ack in acks}.items() <= seen.items()
        assert list(map(int, kept)) == sorted(seen)
        assert "refilled" in server.log


async def _all_hear(talkers: list[Talker], durability: str) -> None:
    for talker in talkers:
        await talker.wait_for(durability)


async def test_no_number_is_given_out_twice_after_a_kill_while_redis_was_away(
    tmp_path: Path, free_port: int, postgres_server: str, psql: Psql
) -> None:
    """The very Redis comes back, and does not have what members were told: the room begins a new session.

    So the next process says to those who come back; everything that Redis had is archived, and nothing is refused.
    """
    with serving(EmbeddedValkey(tmp_path, port=free_port)) as valkey:
        stores = {"REDIS_URL": valkey.url, "DATABASE_URL": postgres_server, "REDIS_TIMEOUT": "0.2"}
        with started(tmp_path, AUTH_MODE="insecure", **stores) as server:
            async with connect(server.url, user="ada") as ada:
                await ada.join("room")
                kept = [await ada.send("room", f"kept {number}") for number in range(10)]
                valkey.pause()
                told = [await ada.send("room", f"told {number}") for number in range(5)]
                server.kill()
            valkey.resume()
            await trio.to_thread.run_sync(server.start)
            complaint = server.log
            async with connect(server.url, user="ada") as ada:
                position = {"epoch": told[-1]["epoch"], "seq": told[-1]["seq"]}
                joined, window = await ada.join("room", resume=position)
                new = [await ada.send("room", f"new {number}") for number in range(7)]
                server.kill()
            await trio.to_thread.run_sync(server.start)
            async with connect(server.url, user="ada") as ada:
                position = {"epoch": new[-1]["epoch"], "seq": new[-1]["seq"]}
                again, _ = await ada.join("room", resume=position)
            status = await trio.to_thread.run_sync(server.stop)

    assert [ack["durability"] for ack in (kept[-1], told[0])] == ["redis", "memory"]
    assert "died while Redis was away" in complaint
    assert (joined["recovered"], joined["seq"], window) == (False, 0, [])
    assert joined["epoch"] > told[-1]["epoch"]
    assert {(ack["epoch"], ack["seq"]) for ack in told}.isdisjoint((ack["epoch"], ack["seq"]) for ack in new)
    assert (again["recovered"], again["epoch"]) == (True, joined["epoch"])
    assert status == 0, server.log
    assert archived(psql, postgres_server, "room") == [
        *(f"kept {number}" for number in range(10)),
        "told 0",  # was on its way when Redis was paused
        *(f"new {number}" for number in range(7)),
    ]


async def test_a_kill_after_redis_had_caught_up_costs_no_session(
    tmp_path: Path, free_port: int, postgres_server: str
) -> None:
    """Once Redis has everything again, the next process continues where this one was."""
    with serving(EmbeddedValkey(tmp_path, port=free_port)) as valkey:
        stores = {"REDIS_URL": valkey.url, "DATABASE_URL": postgres_server, "REDIS_TIMEOUT": "0.2"}
        with started(tmp_path, AUTH_MODE="insecure", **stores) as server:
            talker = Talker("bob")
            async with trio.open_nursery() as talking:
                await talking.start(talker.talk, server.url)
                valkey.pause()
                await talker.wait_for("memory")
                valkey.resume()
                await talker.wait_for("redis")
                talking.cancel_scope.cancel()
            async with connect(server.url, user="ada") as ada:
                await ada.join("room")
                last = await ada.send("room", "last")
            server.kill()
            await trio.to_thread.run_sync(server.start)
            async with connect(server.url, user="ada") as ada:
                position = {"epoch": last["epoch"], "seq": last["seq"]}
                joined, changes = await ada.join("room", resume=position)

    assert (joined["recovered"], joined["seq"], changes) == (True, last["seq"], [])


@pytest.mark.parametrize("archive", ["there", "away"])
async def test_a_stop_while_redis_is_away_costs_the_sessions_that_were_behind_and_no_other(
    tmp_path: Path, free_port: int, own_postgres: EmbeddedPostgres, psql: Psql, archive: str
) -> None:
    """What was on its way is acknowledged and archived; its numbers are not given out again. Another room goes on.

    So it is whether or not the archive is there at the next start: nothing else than the file says what was behind.
    """
    with serving(EmbeddedValkey(tmp_path, port=free_port)) as valkey:
        stores = {"REDIS_URL": valkey.url, "DATABASE_URL": own_postgres.url, "REDIS_TIMEOUT": "0.5"}
        with started(tmp_path, AUTH_MODE="insecure", **stores) as server:
            async with connect(server.url, user="ada") as ada:
                for room in ("quiet", "busy"):
                    await ada.join(room)
                quiet = await ada.send("quiet", "q", id="q1")
                await ada.send("busy", "before")
                valkey.pause()
                for number in range(3):
                    await ada.say("message:send", room="busy", content=f"last {number}", id=f"b{number}")
                await trio.sleep(0.1)
                server.signal_stop()
                last = [await ada.until("ack") for _ in range(3)]
                close = await ada.expect_close()
            status = await trio.to_thread.run_sync(server.wait)
            if archive == "away":
                own_postgres.pause()
            valkey.resume()
            await trio.to_thread.run_sync(server.start)
            complaint = server.log
            async with connect(server.url, user="ada") as ada:
                position = {"epoch": quiet["epoch"], "seq": quiet["seq"]}
                gone_on, _ = await ada.join("quiet", resume=position)
                again = await ada.send("quiet", "q", id="q1")
                position = {"epoch": last[-1]["epoch"], "seq": last[-1]["seq"]}
                begun, _ = await ada.join("busy", resume=position)
                new = [await ada.send("busy", f"new {number}") for number in range(5)]
            if archive == "away":
                own_postgres.resume()
            ended = await trio.to_thread.run_sync(server.stop)

    assert (close.code, status, ended) == (1012, 0, 0), server.log
    assert [ack["durability"] for ack in last] == ["memory"] * 3
    assert "rooms that begin a new session: 1" in complaint
    assert (gone_on["recovered"], again["duplicate"], again["seq"]) == (True, True, quiet["seq"])
    assert (begun["recovered"], begun["epoch"] > last[-1]["epoch"]) == (False, True)
    assert {(ack["epoch"], ack["seq"]) for ack in last}.isdisjoint((ack["epoch"], ack["seq"]) for ack in new)
    assert not (tmp_path / "tc.behind").exists()
    assert archived(psql, own_postgres.url, "busy") == [
        "before",
        *(f"last {number}" for number in range(3)),
        *(f"new {number}" for number in range(5)),
    ]
