"""Redis dies, and comes back with what it had, or with nothing; alone, or together with the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from trio_chat.stores.base import Session
from trio_chat.testing.battery.fault import Fault
from trio_chat.testing.battery.processes import start

if TYPE_CHECKING:
    from trio_chat.testing.battery.scene import Scene
    from trio_chat.testing.verdict.log import Join

_AWAY = 2.0


async def killed(scene: Scene) -> None:
    """R1: kill -9 with an append-only file."""
    scene.begin()
    scene.machine.valkey.kill()
    await _come_back(scene)


async def emptied(scene: Scene) -> None:
    """R2: back without anything, while the server lives."""
    scene.begin()
    before = scene.journal.tops().keys()
    scene.machine.wipe_valkey()
    await _come_back(scene)
    after = scene.journal.tops(since=scene.over).keys()
    scene.require(after == before, "sessions have another epoch than before")
    scene.require("refilled" in scene.machine.server.said, "the server does not say that it refilled rooms")


async def _come_back(scene: Scene) -> None:
    """Let Redis be away for a while; rooms talk on meanwhile, and are as before soon after. Nobody is disconnected."""
    await trio.sleep(_AWAY)
    scene.require_talk(until=trio.current_time())
    await start(scene.machine.valkey)
    scene.heal()
    await scene.wait_normal()
    scene.require_calm()


async def emptied_with_server(scene: Scene) -> None:
    """R3: both die at once, and Redis comes back empty. What was archived must be there, and all must be told."""
    machine = scene.machine
    scene.begin()
    machine.server.kill()
    machine.wipe_valkey()
    await scene.note_loss(of_store=True)
    before = scene.journal.tops()
    joins = await _start_both(scene)
    scene.require(
        not any(join.recovered for join in joins.values()), "somebody was told that nothing is missing"
    )
    old = {join.room for join in joins.values() if Session(join.room, join.epoch) in before}
    scene.require(not old, f"lost sessions go on with their old epoch: {sorted(old)}")


async def killed_degraded(scene: Scene) -> None:
    """R3, while degraded: Redis dies, the server a second later; Redis comes back with all it had been told."""
    machine = scene.machine
    scene.begin()
    machine.valkey.kill()
    await trio.sleep(1)
    scene.require_talk(until=trio.current_time())
    machine.server.kill()
    # That is what `memory` says: it is lost if the server is killed.
    await scene.note_loss(of_store=False)
    await _start_both(scene)


async def without_persistence(scene: Scene) -> None:
    """A control: both die at once, and Redis keeps nothing on disk. What was acknowledged is lost, and must be missed."""
    scene.begin()
    scene.machine.server.kill()
    scene.machine.valkey.kill()
    await _start_both(scene)


async def _start_both(scene: Scene) -> dict[str, Join]:
    await start(scene.machine.valkey)
    await scene.machine.server.start()
    return await scene.wait_back(since=scene.heal())


REDIS_GONE = (
    Fault("R1", "Redis: kill -9 with AOF, back after 2 s", killed),
    Fault("R2", "Redis: killed, back empty after 2 s", emptied),
    Fault("R3", "Redis and server killed, Redis back empty", emptied_with_server),
    Fault("R3b", "Redis killed, then the degraded server", killed_degraded),
)
