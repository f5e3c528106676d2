"""The server is killed or stopped, and comes back."""

from __future__ import annotations

from collections import Counter
from signal import SIGTERM
from typing import TYPE_CHECKING

import trio

from trio_chat.testing.battery.contents import read_tops
from trio_chat.testing.battery.fault import Fault
from trio_chat.testing.battery.processes import freeze_postgres
from trio_chat.testing.verdict.log import Close, Forgot

if TYPE_CHECKING:
    from collections.abc import Collection

    from trio_chat.stores.base import Session
    from trio_chat.testing.battery.scene import Scene

_RESTART = 1012
# Redis is paused for so long when the server is told to stop: what was said meanwhile has no answer yet (REDIS_TIMEOUT).
_PAUSED = 0.5
# Long enough for acks that say `memory`.
_DEGRADED = 2.0


async def killed(scene: Scene) -> None:
    """S1: kill -9 under load, and a new process at once."""
    began = scene.begin()
    scene.machine.server.kill()
    await _come_back(scene, since=began)


async def stopped(scene: Scene) -> None:
    """S2: SIGTERM under load. The archive has everything when the process is gone."""
    scene.begin()
    await _stop(scene, 10)
    scene.require(scene.machine.server.code == 0, f"exit status {scene.machine.server.code}")
    tops = await read_tops(scene.machine)
    late = [ack for ack in scene.journal.acked if ack.seq > tops.get(ack.session, 0)]
    scene.require(not late, f"{len(late)} acknowledged messages were not archived by the last sync")
    await _come_back(scene)


async def stopped_without_redis(scene: Scene) -> None:
    """S2: SIGTERM, with Redis paused. All that it could not be told is in the archive, and nothing twice.

    Only sessions that were behind are not continued.
    """
    scene.begin()
    scene.machine.valkey.pause()
    await trio.sleep(_PAUSED)
    await _stop(scene, 15)
    scene.require(scene.machine.server.code == 0, f"exit status {scene.machine.server.code}")
    behind = {ack.session for ack in scene.journal.acks("memory")}
    scene.note(f"{len(behind)} sessions behind")
    scene.machine.valkey.resume()
    await _come_back(scene, besides=behind)


async def stopped_without_stores(scene: Scene) -> None:
    """S2: SIGTERM, with Redis paused and Postgres frozen, and rooms that are degraded. What is lost with it is named."""
    scene.begin()
    freeze_postgres(scene.machine.postgres)
    scene.machine.valkey.pause()
    await trio.sleep(_DEGRADED)
    await _stop(scene, 15)
    scene.require(bool(scene.machine.server.code), "it exits with 0, and has lost messages")
    freeze_postgres(scene.machine.postgres, thaw=True)
    await _require_named(scene)
    scene.machine.valkey.resume()
    await _come_back(scene, besides=scene.journal.tops())


async def _require_named(scene: Scene) -> None:
    """Complain about what is in neither store, unless the server said so; and note that these sessions are broken off.

    Nobody can vouch for what Redis has of them, so the next ones are new.
    """
    code, said = scene.machine.server.code, scene.machine.server.said.rpartition("stopping")[2]
    scene.note(f"exit status {code}")
    tops = await read_tops(scene.machine)
    memory = [ack for ack in scene.journal.acks("memory") if ack.seq > tops.get(ack.session, 0)]
    scene.require(
        code != 0 or not memory, f"{len(memory)} messages are in neither store, and it exits with 0"
    )
    unnamed = {ack.room for ack in memory if f"room {ack.room}: " not in said}
    scene.require(not unnamed, f"rooms with lost messages are not named: {sorted(unnamed)}")
    for session in scene.journal.tops():
        scene.journal.note(Forgot(trio.current_time(), session, tops.get(session, 0)))


async def stopped_without_postgres(scene: Scene) -> None:
    """S2: SIGTERM, with Postgres frozen. Redis has everything, so the exit status says that all is well."""
    scene.begin()
    freeze_postgres(scene.machine.postgres)
    await _stop(scene, 15)
    code = scene.machine.server.code
    scene.note(f"exit status {code}")
    scene.require(code == 0, f"exit status {code}, though Redis has everything")
    freeze_postgres(scene.machine.postgres, thaw=True)
    await _come_back(scene)


async def _stop(scene: Scene, patience: float) -> None:
    """Stop the server while everybody talks, and see that they are told to come back."""
    began = trio.current_time()
    server = scene.machine.server
    server.send(SIGTERM)
    await scene.ended(patience)
    took = trio.current_time() - began
    scene.note(f"stopped after {took:.1f} s")
    await trio.sleep(0.1)
    codes = dict(Counter(close.code for close in scene.journal.of(Close, since=began)))
    expected = {_RESTART: len(scene.load.clients)}
    scene.require(codes == expected, f"close codes {codes}, expected {expected}")


async def _come_back(scene: Scene, *, besides: Collection[Session] = (), since: float | None = None) -> None:
    """Start the server, and complain unless everybody is back in time and was told that nothing is missing.

    Besides those who are in rooms of these sessions.
    """
    rooms = {session.room for session in besides}
    await scene.machine.server.start()
    up = scene.heal()
    joins = (await scene.wait_back(since=up if since is None else since)).values()
    anew = [join for join in joins if not join.recovered]
    scene.note(f"{len(anew)} of them anew")
    odd = [join for join in anew if join.room not in rooms]
    starving = not besides and await scene.bear_starving()
    scene.require(not odd, f"{len(odd)} came back without `recovered: true`", late=starving)


SERVER_GONE = (
    Fault("S1", "server: kill -9 with 200 clients", killed),
    Fault("S2", "server: SIGTERM under load", stopped),
    Fault(
        "S2b",
        "server: SIGTERM with Redis paused",
        stopped_without_redis,
        settings={"shutdown-timeout-seconds": "14"},
    ),
    Fault(
        "S2c",
        "server: SIGTERM with Postgres frozen",
        stopped_without_postgres,
        settings={"shutdown-timeout-seconds": "14"},
    ),
    Fault(
        "S2d",
        "server: SIGTERM with both stores away",
        stopped_without_stores,
        settings={"shutdown-timeout-seconds": "14"},
    ),
)
