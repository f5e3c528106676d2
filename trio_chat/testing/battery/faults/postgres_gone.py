"""Postgres is away, dies in the middle of its work, freezes, or is told the same thing twice."""

from __future__ import annotations

import random
from signal import SIGTERM
from typing import TYPE_CHECKING

import trio

from trio_chat.testing.battery.contents import read_redis, read_tops
from trio_chat.testing.battery.fault import Fault
from trio_chat.testing.battery.processes import Server, freeze_postgres, kill_tree, start
from trio_chat.testing.battery.proxy import Proxy

if TYPE_CHECKING:
    from trio_chat.testing.battery.proxy import Way
    from trio_chat.testing.battery.scene import Scene

_KILLS = 20
_BATCH_BYTES = 30_000  # about what a batch of this load has
_SYNCERS = 3
_ROUNDS = 17  # with three syncers each: 51 kills
_EXPIRY = 2.0
_SAID = 5  # by each of those who fall silent then


async def away(scene: Scene) -> None:
    """P1: down for longer than some rooms live. Who is active notices nothing; what is dirty stays in Redis."""
    machine, load = scene.machine, scene.load
    quiet = [client for number in range(10) for client in load.add(f"quiet-{number}", 1)]
    await scene.wait_until(lambda: all(client.live for client in quiet), 5, "the quiet rooms are open")
    began = scene.begin()
    kill_tree(machine.postgres)
    for client in quiet:
        for _ in range(_SAID):
            client.speak()
    await scene.wait_until(
        lambda: all(client.acks == _SAID for client in quiet), 5, "the quiet rooms are told"
    )
    await trio.sleep(3 * _EXPIRY)
    kept = await trio.to_thread.run_sync(read_redis, machine.valkey.url)
    entries = {one.session: len(one.rows) for one in kept}
    tops = scene.journal.tops(since=began)
    missing = [one for one, top in tops.items() if "quiet" in one.room and entries.get(one, 0) < top]
    scene.require(not missing, f"expired rooms have lost keys that nobody else has: {missing}")
    await start(machine.postgres)
    scene.heal()
    took = await scene.archived(10)
    scene.note(f"everything archived {took:.1f} s after it is back")
    scene.require_no_memory(since=0)
    scene.require_calm()


async def killed_in_batches(scene: Scene) -> None:
    """P2: killed in the middle of batches, twenty times: after some of a batch's bytes, at random."""
    chance = random.Random(2)  # noqa: S311 - no secret
    machine = scene.machine
    scene.begin()
    for _ in range(_KILLS):
        reached = _trip(scene, chance.randrange(_BATCH_BYTES))
        with trio.move_on_after(15) as patience:
            await reached.wait()
        scene.require(not patience.cancelled_caught, "no batch was tried for 15 s", late=True)
        kill_tree(machine.postgres)
        machine.postgres_proxy.heal()
        machine.postgres_proxy.reset_all()
        await start(machine.postgres)
        await scene.archived(10)
    scene.heal()
    scene.note(f"killed {_KILLS} times in the middle of batches")
    scene.require_calm()
    took = await scene.archived(10)
    scene.note(f"everything archived {took:.1f} s after the last kill")


def _trip(scene: Scene, after: int) -> trio.Event:
    """Let nothing more pass to Postgres after this many bytes, and say when that is."""
    reached = trio.Event()
    left = after
    proxy = scene.machine.postgres_proxy

    def watch(way: Way, data: bytes) -> None:
        nonlocal left
        if way == "requests":
            left -= len(data)
        if left <= 0:
            proxy.requests.swallow = True
            reached.set()

    proxy.watch = watch
    return reached


async def frozen(scene: Scene) -> None:
    """P2: all its processes are stopped for 15 s; then once more, and the server is to end meanwhile."""
    machine = scene.machine
    scene.begin()
    freeze_postgres(machine.postgres)
    await trio.sleep(15)
    scene.require("no answer within 1 s" in machine.server.said, "no batch failed by its own timeout")
    freeze_postgres(machine.postgres, thaw=True)
    took = await scene.archived(12)
    scene.note(f"everything archived {took:.1f} s after it goes on")
    scene.require_no_memory()
    scene.require_calm()
    freeze_postgres(machine.postgres)
    await trio.sleep(0.5)
    asked = trio.current_time()
    machine.server.send(SIGTERM)
    code = await scene.ended(3)
    scene.note(f"shutdown took {trio.current_time() - asked:.1f} s, exit status {code}")
    scene.require(code == 0, f"exit status {code}, though Redis has everything")
    freeze_postgres(machine.postgres, thaw=True)
    await machine.server.start()
    scene.heal()


async def hot_room(scene: Scene) -> None:
    """P3: 50 messages a second in one room for 60 s, with the archive down for 30 of them."""
    machine, load = scene.machine, scene.load
    talkers = load.add("hot", 10)
    await scene.wait_until(lambda: all(client.live for client in talkers), 5, "the hot room is open")
    scene.begin()
    scene.nursery.start_soon(load.talk, talkers, 50.0)
    await trio.sleep(15)
    kill_tree(machine.postgres)
    await trio.sleep(30)
    await start(machine.postgres)
    scene.heal()
    took = await scene.archived(10)
    scene.note(f"everything archived {took:.1f} s after it is back")
    await trio.sleep(max(15 - took, 0))
    said = sum(client.acks for client in talkers)
    scene.note(f"{said} messages in the hot room")
    scene.require_at_least(2900, said, "messages in the hot room")
    scene.require_calm()


async def killed_before_marking(scene: Scene) -> None:
    """P4: three `trio-chat sync` at a time, each killed after its commit and before it can tell Redis, 51 in all."""
    machine = scene.machine
    scene.begin()
    kills = 0
    for _ in range(_ROUNDS):
        async with trio.open_nursery() as nursery:
            syncers = [_Syncer(scene, number) for number in range(_SYNCERS)]
            for syncer in syncers:
                nursery.start_soon(syncer.run)
        kills += sum(syncer.killed for syncer in syncers)
    scene.heal()
    scene.note(f"{kills} syncers killed between commit and mark")
    scene.require_at_least(40, kills, "syncers that got as far as a commit")
    before = await read_tops(machine)
    await _sync(scene)
    updated = int(await machine.query("select n_tup_upd from pg_stat_user_tables where relname = 'messages'"))
    scene.require(updated == 0, f"{updated} rows were written again")
    scene.require(bool(before), "nothing was archived")
    scene.require_calm()


class _Syncer:
    """A `trio-chat sync` with a proxy of its own, killed when Postgres says that it has committed."""

    def __init__(self, scene: Scene, number: int) -> None:
        self.killed = False
        self._machine = scene.machine
        self._server = Server(scene.machine.directory / f"sync-{number}", ())
        self._proxy = Proxy(scene.machine.postgres.port or 0)
        self._committed = trio.Event()

    def _watch(self, way: Way, data: bytes) -> None:
        # The reply to migrating has it, too; a batch has rows before it.
        if way == "requests" and b"messages.rev < excluded.rev" in data:
            self._proxy.watch = self._watch_commit

    def _watch_commit(self, way: Way, data: bytes) -> None:
        if way == "replies" and b"COMMIT\0" in data:
            self._proxy.replies.swallow = True
            self._committed.set()

    async def run(self) -> None:
        """Be started, and killed at that moment, or end."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._proxy.run)
            self._proxy.watch = self._watch
            self._server.command = self._machine.command("sync", postgres=self._proxy.port)
            self._server.spawn()
            nursery.start_soon(self._kill)
            await self._server.ended(15)
            nursery.cancel_scope.cancel()
        self._server.kill()

    async def _kill(self) -> None:
        await self._committed.wait()
        self.killed = True
        self._server.kill()


async def _sync(scene: Scene) -> None:
    """Let a syncer run to its end."""
    server = Server(scene.machine.directory / "sync", scene.machine.command("sync"))
    server.spawn()
    code = await server.ended(15)
    scene.require(code == 0, f"`trio-chat sync` ends with exit status {code}: {server.said[-500:]}")


POSTGRES_GONE = (
    Fault(
        "P1",
        "Postgres: down for 6 s, rooms expire after 2 s",
        away,
        settings={"session-expiry-seconds": str(int(_EXPIRY))},
    ),
    Fault("P2", "Postgres: killed 20 times in the middle of batches", killed_in_batches),
    Fault("P2b", "Postgres: frozen for 15 s", frozen, settings={"database-timeout": "1"}),
    Fault("P3", "Postgres: down for 30 s of a hot room's 60 s", hot_room),
    Fault(
        "P4",
        "syncers killed 51 times between commit and mark",
        killed_before_marking,
        settings={"session-sync-interval-seconds": "60"},
    ),
)
