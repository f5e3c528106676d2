"""Redis with a replica: what becomes of rooms when another Redis, with less, takes its place.

Whole servers as processes and real replication. Each test takes a few seconds: servers start, synchronize and are
noticed missing in real time.
"""

from __future__ import annotations

import socket
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import redis
import trio

from trio_chat.stores.embedded import EmbeddedValkey
from trio_chat.stores.supervision import serving

from .chat_client import Chat, Served, connect, started
from .waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Psql = Callable[[str, str], str]

ADDRESS = "127.0.0.1"


class Pair:
    """A Valkey with a replica. The one at `port` is where the server looks for it."""

    def __init__(self, primary: EmbeddedValkey, replica: EmbeddedValkey, port: int) -> None:
        self.primary = primary
        self.replica = replica
        self.port = port

    @contextmanager
    def console(self, server: EmbeddedValkey) -> Iterator[Any]:
        """Talk to one of them for as long as the block, however it is reached from elsewhere."""
        with redis.Redis(unix_socket_path=str(server.socket)) as client:
            yield client

    def replicate(self) -> None:
        """Make the replica one, and return when it has everything."""
        with self.console(self.replica) as replica:
            replica.replicaof(ADDRESS, self.port)
            wait_until(lambda: replica.info("replication")["master_link_status"] == "up")

    def catch_up(self) -> None:
        """Return when the replica has everything that is written by now."""
        with self.console(self.primary) as primary, self.console(self.replica) as replica:
            written = primary.info("replication")["master_repl_offset"]
            wait_until(lambda: replica.info("replication")["slave_repl_offset"] >= written)

    def part(self) -> None:
        """Let the replica hear no more; it keeps what it has."""
        with self.console(self.replica) as replica:
            replica.replicaof("NO", "ONE")

    def take_over(self) -> None:
        """Let the replica be found where the primary was. Call it when that is gone."""
        with self.console(self.replica) as replica:
            replica.config_set("port", str(self.port))


@pytest.fixture
def pair(tmp_path: Path, free_port: int) -> Iterator[Pair]:
    """A Valkey and its replica, synchronized."""
    with ExitStack() as stack:
        servers = [
            EmbeddedValkey(tmp_path / "one", port=free_port, settings={"repl-diskless-sync-delay": "0"}),
            EmbeddedValkey(tmp_path / "two", settings={"repl-diskless-sync-delay": "0"}),
        ]
        for server in servers:
            stack.enter_context(serving(server))
        pair = Pair(servers[0], servers[1], free_port)
        pair.replicate()
        yield pair


@contextmanager
def serving_on(directory: Path, pair: Pair, archive: str, **settings: str) -> Iterator[Served]:
    """Run a server on the pair for as long as the block."""
    stores = {"REDIS_URL": f"redis://{ADDRESS}:{pair.port}", "DATABASE_URL": archive}
    with started(directory, AUTH_MODE="insecure", **stores, **settings) as served:
        yield served


async def say(chat: Chat, word: str, count: int) -> list[dict[str, Any]]:
    """Say something so many times, and return the acks."""
    return [await chat.send("room", f"{word} {number}") for number in range(count)]


def position(ack: dict[str, Any]) -> dict[str, Any]:
    return {"epoch": ack["epoch"], "seq": ack["seq"]}


async def until_written(chat: Chat) -> dict[str, Any]:
    """Go on until the store has what is said, and return the last ack."""
    with trio.fail_after(10):
        ack = await chat.send("room", "again 0")
        while ack["durability"] == "memory":
            await trio.lowlevel.checkpoint()
            ack = await chat.send("room", "again 0")
    return ack


async def test_rooms_refill_a_replica_that_takes_over_with_less(
    tmp_path: Path, pair: Pair, postgres_server: str, psql: Psql
) -> None:
    """The server lives: nobody is disconnected, the session goes on, and the new primary gets what it lacks."""
    with serving_on(tmp_path, pair, postgres_server) as server:
        async with connect(server.url, user="ada") as ada:
            await ada.join("room")
            before = await say(ada, "both have", 10)
            pair.catch_up()
            pair.part()
            before += await say(ada, "one has", 5)
            pair.primary.kill()
            during = await say(ada, "nobody has", 3)
            pair.take_over()
            after = await until_written(ada)
            async with connect(server.url, user="bob") as bob:
                joined, changes = await bob.join("room", resume=position(before[11]))
        status = await trio.to_thread.run_sync(server.stop)
        log = server.log

    acks = [*before, *during, after]
    assert [ack["durability"] for ack in before] == ["redis"] * 15
    assert during[-1]["durability"] == "memory"
    assert len({ack["epoch"] for ack in acks}) == 1
    assert (joined["recovered"], [one["seq"] for one in changes]) == (True, [*range(13, after["seq"] + 1)])
    assert status == 0, log
    seqs = psql(postgres_server, "select seq from messages order by seq").split()
    assert [int(seq) for seq in seqs] == [*range(1, after["seq"] + 1)]


@pytest.mark.parametrize("who", ["the replica", "the primary, which had to learn from it"])
async def test_no_session_is_continued_from_a_store_that_has_less(
    tmp_path: Path, pair: Pair, postgres_server: str, psql: Psql, who: str
) -> None:
    """The server is killed meanwhile: the next one begins a new session, and archives what is left of the old one.

    So it is even if the same process answers that did before, with the data of the other.
    """
    with serving_on(tmp_path, pair, postgres_server) as server:
        async with connect(server.url, user="ada") as ada:
            await ada.join("room")
            told = await say(ada, "both have", 10)
            pair.catch_up()
            pair.part()
            told += await say(ada, "one has", 5)
            server.kill()
        if who == "the replica":
            pair.primary.kill()
            pair.take_over()
        else:
            relearn(pair)
        await trio.to_thread.run_sync(server.start)
        async with connect(server.url, user="ada") as ada:
            joined, window = await ada.join("room", resume=position(told[-1]))
            new = await say(ada, "new", 7)
            await trio.to_thread.run_sync(server.run, "sync")
        server.kill()
        await trio.to_thread.run_sync(server.start)
        async with connect(server.url, user="ada") as ada:
            again, _ = await ada.join("room", resume=position(new[-1]))

    assert {ack["durability"] for ack in told} == {"redis"}
    assert (joined["recovered"], joined["seq"], window) == (False, 0, [])
    assert joined["epoch"] > told[-1]["epoch"]
    assert (again["recovered"], again["epoch"]) == (True, joined["epoch"])
    rows = psql(postgres_server, "select content from messages order by epoch, seq").split("\n")
    assert rows == [*(f"both have {n}" for n in range(10)), *(f"new {n}" for n in range(7))]


def relearn(pair: Pair) -> None:
    """Let the primary take over the data of its former replica, and be a primary again."""
    with pair.console(pair.replica) as replica, pair.console(pair.primary) as primary:
        with socket.socket() as probe:
            probe.bind((ADDRESS, 0))
            port = probe.getsockname()[1]
        replica.config_set("port", str(port))
        primary.replicaof(ADDRESS, port)
        wait_until(lambda: primary.info("replication")["master_link_status"] == "up")
        primary.replicaof("NO", "ONE")


async def test_acks_say_whether_a_replica_has_it(tmp_path: Path, pair: Pair, postgres_server: str) -> None:
    """While the replica is gone they come all the same, as redis: one of them late, once; then as replicated again."""
    settings = {"DURABILITY": "replicated", "REPLICA_TIMEOUT": "0.4"}
    with serving_on(tmp_path, pair, postgres_server, **settings) as server:
        async with connect(server.url, user="ada") as ada:
            joined, _ = await ada.join("room")
            with_it = await say(ada, "with", 5)
            pair.replica.pause()
            since = trio.current_time()
            first = await say(ada, "first", 1)
            late = trio.current_time() - since
            together = await ada.send_many("room", [f"together {number}" for number in range(200)])
            took = trio.current_time() - since
            pair.replica.resume()
            with trio.fail_after(10):
                last = first[0]
                while last["durability"] != "replicated":
                    last = await ada.send("room", "again")
            with pair.console(pair.replica) as replica:
                [log] = replica.keys("*:log:*")
                replicated_upto = replica.xinfo_stream(log)["last-generated-id"]

    assert joined["durability"] == "replicated"
    assert {ack["durability"] for ack in with_it} == {"replicated"}
    assert {ack["durability"] for ack in [*first, *together]} == {"redis"}
    assert 0.4 <= late < 1
    assert took < 2  # a replica that has just gone may be taken for one that is back, once or twice
    assert replicated_upto == f"{last['seq']}-0".encode()
    assert "no replica of Redis confirms in time" in server.log
